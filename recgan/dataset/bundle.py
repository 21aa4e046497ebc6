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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from recgan.artifacts import json_digest, sha256_file
from recgan.dataset.bundle_format import (
    HEADER,
    IMAGE_SCHEMA,
    QUARANTINE_COLUMNS,
    SCHEMA_VERSION,
    BundleHeader,
)
from recgan.errors import ArtifactError, NotFoundError, nearest_id

__all__ = ["QUARANTINE_COLUMNS", "Bundle", "BundleHeader"]


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
        bundle = cls(path, header)
        for part in header.parts:
            if not (path / part).is_file():
                raise ArtifactError(f"'{path}': part '{part}' is missing; import the bundle again")
            if verify:
                bundle.check_part(part)
        return bundle

    def check_part(self, part: str) -> None:
        """Check a part's sha256. Tables are checked when they are read, images before they are decoded for training.

        Raises:
            ArtifactError: its bytes have changed, or it cannot be read.
        """
        with self._reading(part) as path:
            if sha256_file(path) != self.header.parts[part]:
                raise ArtifactError(
                    f"'{self.path}': part '{part}' does not match its checksum; import the bundle again"
                )

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
        return json_digest([self.header.parts[part] for part in self.image_parts])

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
        return self._table("items.parquet")

    @cached_property
    def interactions(self) -> pd.DataFrame:
        """The interactions, one a row: ``user_id``, ``item_id``, ``timestamp``, ``event``, ``weight`` (and ``split``
        where the source came with one)."""
        return self._table("interactions.parquet")

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """What the import refused: ``kind``, ``id``, ``reason``, ``detail``, ``where``."""
        return self._table("quarantine.parquet")

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
        known = pd.Index(self.item_ids)
        rows = known.get_indexer(np.asarray(item_ids, dtype=object))
        if (rows < 0).any():
            missing = str(np.asarray(item_ids, dtype=object)[rows < 0][0])
            raise NotFoundError(f"bundle '{self.path}' has no item '{missing}'{nearest_id(missing, known)}")
        return rows.astype(np.int64)

    @contextmanager
    def _reading(self, part: str) -> Iterator[Path]:
        try:
            yield self.path / part
        except (OSError, pa.ArrowException) as error:
            what = str(error).splitlines()[0]
            raise ArtifactError(
                f"'{self.path}': part '{part}' cannot be read ({what}); import the bundle again"
            ) from error

    def _table(self, part: str) -> pd.DataFrame:
        with self._reading(part) as path:
            table = pd.read_parquet(path)
        self.check_part(part)  # Parquet itself does not notice a changed value
        return table

    @property
    def image_parts(self) -> list[str]:
        """Names of the parts that hold the images, in order."""
        return sorted(part for part in self.header.parts if part.startswith("images-"))

    @cached_property
    def image_index(self) -> pd.DataFrame:
        """One row an image, in stored order: ``item`` (dense item index), ``position``, ``role``, ``sha256``."""
        columns = ["item_id", "position", "role", "sha256"]
        tables = [IMAGE_SCHEMA.empty_table().select(columns)]
        for part in self.image_parts:
            with self._reading(part) as path:
                tables.append(pq.read_table(path, columns=columns))
        table = pa.concat_tables(tables)
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
        for part in self.image_parts:
            with self._reading(part) as path, pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    yield from (cell.as_py() for cell in _encoded(file, group))

    def image_bytes(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Return the encoded bytes of the images at ``rows`` of `image_index`, reading only their row groups.

        Raises:
            NotFoundError: there is no such row.
        """
        wanted = np.unique(np.asarray(rows, dtype=np.int64))
        starts, places = self._row_groups
        absent = wanted[(wanted < 0) | (wanted >= starts[-1])]
        if len(absent):
            raise NotFoundError(f"bundle '{self.path}' has no image in row {absent[0]}; it has {starts[-1]:,} images")
        found: dict[int, bytes] = {}
        groups = np.searchsorted(starts, wanted, side="right") - 1
        for group in np.unique(groups).tolist():
            part, number = places[group]
            metadata = self._footers[part]
            with self._reading(part) as path, pq.ParquetFile(path, metadata=metadata) as file:
                encoded = _encoded(file, number)
            for row in wanted[groups == group].tolist():
                found[row] = encoded[row - int(starts[group])].as_py()
        return [found[int(row)] for row in rows]

    @cached_property
    def _footers(self) -> dict[str, pq.FileMetaData]:
        """The footer of each part that holds images."""
        footers = {}
        for part in self.image_parts:
            with self._reading(part) as path:
                footers[part] = pq.read_metadata(path)
        return footers

    @cached_property
    def _row_groups(self) -> tuple[np.ndarray, list[tuple[str, int]]]:
        """The row in `image_index` that each row group begins with, and after the last their number, int64 [G + 1];
        and the part and the number within it of each."""
        places = [(part, n) for part, footer in self._footers.items() for n in range(footer.num_row_groups)]
        sizes = [self._footers[part].row_group(number).num_rows for part, number in places]
        return np.cumsum([0, *sizes]), places

    @property
    def cache_folder(self) -> Path:
        """Where pixels and features of these images are cached: beside the bundle, shared by bundles with the same
        images."""
        return self.path.resolve().parent / ".recgan-cache" / self.images_digest[:16]


def _encoded(file: pq.ParquetFile, group: int) -> pa.Array:
    """Return the encoded images of one row group of an images part."""
    return file.read_row_group(group, columns=["image.bytes"]).column(0).combine_chunks().field("bytes")
