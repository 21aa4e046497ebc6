"""The dataset bundle: a shop's catalogue and what its users did, as one immutable folder.

::

    dataset.json             schema version, name, licence, source, counts, sha256 of each part
    items.parquet            item_id str, category str, available bool, any attribute columns
    images-00000.parquet …   item_id str, position int16, role str, sha256 str (of the decoded pixels),
                             image struct{bytes, path} (encoded bytes)
    interactions.parquet     user_id str, item_id str, timestamp datetime or null, event str, weight float32
    quarantine.parquet       kind, id, reason, detail, where: everything that was refused

Ids are the user's own strings. A bundle opens without decoding an image; `BundleWriter` streams, so memory does not
grow with the pictures. Features and pixels are cached beside the bundle (`Bundle.cache_folder`), never inside.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from recgan.artifacts import atomic_folder, json_digest, sha256_file
from recgan.errors import ArtifactError, DataError, NotFoundError, nearest_name

__all__ = ["QUARANTINE_COLUMNS", "Bundle", "BundleHeader", "BundleWriter"]

HEADER = "dataset.json"
SCHEMA_VERSION = 1
QUARANTINE_COLUMNS = ["kind", "id", "reason", "detail", "where"]
_IMAGE_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("position", pa.int16()),
        ("role", pa.string()),
        ("sha256", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ]
)
_ROW_GROUP = 256
_PART_BYTES = 256 << 20


class BundleHeader(BaseModel):
    """What ``dataset.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    name: str
    licence: str
    source: str
    counts: dict[str, int]
    quarantined: dict[str, int]
    pseudo_users: bool = False
    """Users are items (a seed article stands for a user): see `recgan.dataset.split`."""
    facts: dict[str, Any] = {}
    parts: dict[str, str]


class Bundle:
    """An opened dataset bundle; make one with `Bundle.open`."""

    def __init__(self, path: Path, header: BundleHeader) -> None:
        self.path = path
        self.header = header

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> Self:
        """Open the bundle at ``path``; ``verify`` checks each part's sha256.

        Raises:
            ArtifactError: no bundle there, an unknown schema version, a missing or damaged part.
        """
        path = Path(path)
        header_path = path / HEADER
        if not header_path.is_file():
            what = "does not exist" if not path.exists() else f"holds no {HEADER}: it is not a bundle"
            raise ArtifactError(f"'{path}' {what}; make one with 'recgan import SOURCE PATH --out BUNDLE'")
        try:
            header = BundleHeader.model_validate_json(header_path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise ArtifactError(f"'{header_path}' is damaged; import the bundle again") from error
        if header.schema_version != SCHEMA_VERSION:
            raise ArtifactError(
                f"'{path}' has bundle schema {header.schema_version}, not {SCHEMA_VERSION}; import it again"
            )
        for part, expected in header.parts.items():
            if not (path / part).is_file():
                raise ArtifactError(f"'{path}': part '{part}' is missing; import the bundle again")
            if verify and sha256_file(path / part) != expected:
                raise ArtifactError(f"'{path}': part '{part}' does not match its checksum; import the bundle again")
        return cls(path, header)

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.header.name

    @cached_property
    def digest(self) -> str:
        """Identity of the whole bundle."""
        return json_digest(self.header.parts)

    @cached_property
    def images_digest(self) -> str:
        """Identity of the images alone: which item has which picture at which position."""
        return json_digest([self.header.parts[part] for part in self._image_parts])

    @cached_property
    def catalogue_digest(self) -> str:
        """Identity of items + categories + images: what a recommender and a generator must share. Availability and
        the other attributes are left out, since they change daily."""
        hashed = hashlib.sha256(self.images_digest.encode())
        for column in ("item_id", "category"):
            hashed.update(b"\x1e" + "\x1f".join(self.items[column]).encode("utf-8", "surrogatepass"))
        return hashed.hexdigest()

    @cached_property
    def items(self) -> pd.DataFrame:
        """The items, one a row: ``item_id``, ``category``, ``available`` and the attribute columns."""
        return pd.read_parquet(self.path / "items.parquet")

    @cached_property
    def interactions(self) -> pd.DataFrame:
        """The interactions, one a row: ``user_id``, ``item_id``, ``timestamp``, ``event``, ``weight`` (and ``split``
        where the source came with one)."""
        return pd.read_parquet(self.path / "interactions.parquet")

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """What the import refused: ``kind``, ``id``, ``reason``, ``detail``, ``where``."""
        return pd.read_parquet(self.path / "quarantine.parquet")

    @cached_property
    def item_ids(self) -> np.ndarray:
        """Item ids [n_items] (object array of str) in row order: the dense item index is the row number."""
        return self.items["item_id"].to_numpy(dtype=object)

    @cached_property
    def category_names(self) -> list[str]:
        """The categories in the order that gives them their class index (sorted by name)."""
        return sorted(self.items["category"].unique())

    @cached_property
    def category_index(self) -> np.ndarray:
        """Class index of each item, int64 [n_items]."""
        lookup = {name: index for index, name in enumerate(self.category_names)}
        return self.items["category"].map(lookup).to_numpy(dtype=np.int64)

    def item_rows(self, item_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return the dense indices int64 [n] of item ids.

        Raises:
            NotFoundError: an id is not in the catalogue.
        """
        rows = pd.Index(self.item_ids).get_indexer(np.asarray(item_ids, dtype=object))
        if (rows < 0).any():
            missing = str(np.asarray(item_ids, dtype=object)[rows < 0][0])
            raise NotFoundError(
                f"bundle '{self.path}' has no item '{missing}'{nearest_name(missing, self.item_ids[:20000])}"
            )
        return rows.astype(np.int64)

    @property
    def _image_parts(self) -> list[str]:
        return sorted(part for part in self.header.parts if part.startswith("images-"))

    @cached_property
    def image_index(self) -> pd.DataFrame:
        """One row an image, in stored order: ``item`` (dense item index), ``position``, ``role``, ``sha256``."""
        columns = ["item_id", "position", "role", "sha256"]
        tables = [pq.read_table(self.path / part, columns=columns) for part in self._image_parts]
        table = pa.concat_tables(tables) if tables else _IMAGE_SCHEMA.empty_table().select(columns)
        frame = table.to_pandas()
        frame.insert(0, "item", self.item_rows(frame["item_id"].to_numpy(dtype=object)))
        return frame

    @cached_property
    def primary_images(self) -> np.ndarray:
        """Row in `image_index` of each item's first image, int64 [n_items]; -1 for an item without one."""
        rows = np.full(len(self.items), -1, dtype=np.int64)
        order = np.lexsort((self.image_index["position"].to_numpy(),))[::-1]
        rows[self.image_index["item"].to_numpy()[order]] = order
        return rows

    def iter_images(self) -> Iterator[bytes]:
        """Yield the encoded bytes of every image in `image_index` order, streaming."""
        for part in self._image_parts:
            for batch in pq.ParquetFile(self.path / part).iter_batches(batch_size=_ROW_GROUP, columns=["image"]):
                yield from (cell.as_py() for cell in batch.column(0).field("bytes"))

    def image_bytes(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Return the encoded bytes of the images at ``rows`` of `image_index`, reading only their row groups."""
        found: dict[int, bytes] = {}
        wanted = np.unique(np.asarray(rows, dtype=np.int64))
        start = 0
        for part in self._image_parts:
            file = pq.ParquetFile(self.path / part)
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                inside = wanted[(wanted >= start) & (wanted < stop)]
                if len(inside):
                    column = file.read_row_group(group, columns=["image"]).column(0).combine_chunks().field("bytes")
                    found.update({int(row): column[int(row) - start].as_py() for row in inside})
                start = stop
        return [found[int(row)] for row in rows]

    @property
    def cache_folder(self) -> Path:
        """Where pixels and features of these images are cached: beside the bundle, shared by bundles with the same
        images."""
        return self.path.resolve().parent / ".recgan-cache" / self.images_digest[:16]


class BundleWriter:
    """Streams a bundle into being; on any error nothing is left behind.

    ::

        with BundleWriter(out, name="…", licence="…", source="…") as writer:
            writer.add_image(item_id, data, sha256=…)   # any number of times
            writer.set_items(items)                      # once
            writer.set_interactions(interactions)        # once; may be left out
            writer.refuse("image", id, reason, detail, where)
    """

    def __init__(
        self,
        out: str | Path,
        *,
        name: str,
        licence: str,
        source: str,
        pseudo_users: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._out = Path(out)
        self._overwrite = overwrite
        self._about = {"name": name, "licence": licence, "source": source, "pseudo_users": pseudo_users}
        self._stack = ExitStack()
        self._pending: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self._part_bytes = 0
        self._part_count = 0
        self._image_count = 0
        self._refused: list[tuple[str, str, str, str, str]] = []
        self._items: pd.DataFrame | None = None
        self._interactions: pd.DataFrame | None = None
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = self._stack.enter_context(atomic_folder(self._out, overwrite=self._overwrite))
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool | None:
        if kind is None:
            try:
                self._finish()
            except BaseException:
                import sys

                self._stack.__exit__(*sys.exc_info())
                raise
        elif self._writer is not None:
            self._writer.close()
        return self._stack.__exit__(kind, error, traceback)

    def add_image(
        self, item_id: str, data: bytes, *, sha256: str, position: int = 0, role: str = "main", path: str = ""
    ) -> None:
        """Add one encoded image; ``sha256`` is that of its decoded pixels (`recgan.dataset.pixels.pixel_digest`)."""
        self._pending.append(
            {
                "item_id": item_id,
                "position": position,
                "role": role,
                "sha256": sha256,
                "image": {"bytes": data, "path": path},
            }
        )
        self._image_count += 1
        self._part_bytes += len(data)
        if len(self._pending) >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            if self._writer is None:
                part = self._folder / f"images-{self._part_count:05d}.parquet"
                # Encoded images do not compress; plain storage keeps them cheap to read.
                self._writer = pq.ParquetWriter(part, _IMAGE_SCHEMA, compression="none", use_dictionary=["role"])
                self._part_count += 1
            self._writer.write_table(pa.Table.from_pylist(self._pending, schema=_IMAGE_SCHEMA))
            self._pending = []
        if self._writer is not None and self._part_bytes >= _PART_BYTES:
            self._close_part()

    def _close_part(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._part_bytes = 0

    def link_images(self, bundle: Bundle) -> None:
        """Take over all images of another bundle, by hard link where the file system allows it."""
        self._flush()
        self._close_part()
        for part in bundle._image_parts:
            target = self._folder / f"images-{self._part_count:05d}.parquet"
            try:
                os.link(bundle.path / part, target)
            except OSError:
                shutil.copyfile(bundle.path / part, target)
            self._part_count += 1
        self._image_count += len(bundle.image_index)

    def refuse(self, kind: str, id: str, reason: str, detail: str = "", where: str = "") -> None:
        """Count one refused ``item``, ``image`` or ``interaction``; ``reason`` is a stable word."""
        self._refused.append((kind, str(id), reason, detail, where))

    def refuse_frame(
        self, kind: str, frame: pd.DataFrame, id_column: str, reason: str, where: pd.Series | str = ""
    ) -> None:
        """Count every row of ``frame`` as refused for one reason."""
        places = where if isinstance(where, pd.Series) else [where] * len(frame)
        self._refused.extend((kind, str(id), reason, "", str(place)) for id, place in zip(frame[id_column], places))

    def set_items(self, items: pd.DataFrame) -> None:
        """Set the items: columns ``item_id``, ``category``, ``available`` (default true) and any attributes.

        Raises:
            DataError: no items, a column missing, a duplicate or empty id, an empty category.
        """
        for column in ("item_id", "category"):
            if column not in items:
                raise DataError(f"the items have no column '{column}'")
        if items.empty:
            raise DataError("no usable item is left; nothing to import (see the reasons above)")
        items = items.reset_index(drop=True).copy()
        if items["item_id"].duplicated().any():
            twice = items.loc[items["item_id"].duplicated(), "item_id"].iloc[0]
            raise DataError(f"item id '{twice}' is there twice")
        if "available" not in items:
            items["available"] = True
        for column in ("item_id", "category"):
            items[column] = items[column].astype(str).astype(object)
            if (items[column] == "").any():
                raise DataError(f"an item has an empty {column}")
        items["available"] = items["available"].astype(bool)
        first = ["item_id", "category", "available"]
        self._items = items[first + [column for column in items if column not in first]]

    def set_interactions(self, interactions: pd.DataFrame) -> None:
        """Set the interactions: ``user_id``, ``item_id`` and, each with a default, ``timestamp``, ``event``,
        ``weight``; further columns (``split``, ``rating``) are kept. Rows must refer to items that are there."""
        frame = interactions.reset_index(drop=True).copy()
        for column in ("user_id", "item_id"):
            frame[column] = frame[column].astype(str).astype(object)
        frame["timestamp"] = (
            pd.to_datetime(frame["timestamp"]) if "timestamp" in frame else pd.Series(pd.NaT, index=frame.index)
        )
        frame["timestamp"] = frame["timestamp"].astype("datetime64[us]")
        frame["event"] = frame["event"].astype(str) if "event" in frame else "interaction"
        frame["weight"] = frame["weight"].astype(np.float32) if "weight" in frame else np.float32(1)
        first = ["user_id", "item_id", "timestamp", "event", "weight"]
        self._interactions = frame[first + [column for column in frame if column not in first]]

    def part_path(self, name: str) -> Path:
        """Return the path at which one further part (such as the simulation's oracle) may be written."""
        return self._folder / name

    def _finish(self) -> None:
        self._flush()
        self._close_part()
        if self._items is None:
            raise DataError("the items were never set")
        if self._interactions is None:
            self.set_interactions(pd.DataFrame({"user_id": [], "item_id": []}, dtype=object))
        assert self._interactions is not None
        unknown = ~self._interactions["item_id"].isin(self._items["item_id"])
        if unknown.any():
            raise DataError(f"interaction with unknown item '{self._interactions.loc[unknown, 'item_id'].iloc[0]}'")
        self._items.to_parquet(self._folder / "items.parquet", index=False, compression="zstd")
        self._interactions.to_parquet(self._folder / "interactions.parquet", index=False, compression="zstd")
        quarantine = pd.DataFrame(self._refused, columns=QUARANTINE_COLUMNS, dtype=object)
        quarantine.to_parquet(self._folder / "quarantine.parquet", index=False, compression="zstd")
        parts = {p.name: sha256_file(p) for p in sorted(self._folder.iterdir())}
        header = BundleHeader(
            schema_version=SCHEMA_VERSION,
            counts={
                "items": len(self._items),
                "images": self._image_count,
                "interactions": len(self._interactions),
                "users": int(self._interactions["user_id"].nunique()),
                "categories": int(self._items["category"].nunique()),
            },
            quarantined={str(k): int(v) for k, v in quarantine["reason"].value_counts().items()},
            facts=self.facts,
            parts=parts,
            **self._about,  # type: ignore[arg-type]
        )
        (self._folder / HEADER).write_text(
            json.dumps(header.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
