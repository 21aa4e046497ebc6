"""Writes a dataset bundle: everything streams, so memory grows neither with the pictures nor with the log."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recgan.artifacts import sha256_file
from recgan.atomic import atomic_folder
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_format import (
    HEADER,
    IMAGE_SCHEMA,
    QUARANTINE_COLUMNS,
    ROW_GROUP,
    SCHEMA_VERSION,
    BundleHeader,
)
from recgan.dataset.bundle_tables import (
    BASE_INTERACTIONS,
    clean_interactions,
    clean_items,
    interaction_schema,
    string_array,
)
from recgan.errors import DataError, SettingsError

__all__ = ["BundleWriter"]

_PART_BYTES = 256 << 20
_GROUP_BYTES = 16 << 20
_REFUSALS_KEPT = 20_000
_QUARANTINE_SCHEMA = pa.schema([(column, pa.string()) for column in QUARANTINE_COLUMNS])


class BundleWriter:
    """Streams a bundle into being; on any error nothing is left behind.

    ::

        with BundleWriter(out, name="…", licence="…", source="…") as writer:
            writer.add_image(item_id, data, sha256=…)   # any number of times
            writer.set_items(items)                      # once
            writer.add_interactions(interactions)        # any number of times, with the same columns
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
        if "://" in str(out):
            raise SettingsError(f"'{out}': a bundle is written to a local folder only; give its path")
        self._out = Path(out)
        self._overwrite = overwrite
        self._name, self._licence, self._source, self._pseudo_users = name, licence, source, pseudo_users
        self._stack = ExitStack()
        self._open: dict[str, pq.ParquetWriter] = {}
        self._pending: list[dict[str, Any]] = []
        self._pending_bytes = 0
        self._part_bytes = 0
        self._part_count = 0
        self._image_count = 0
        self._pictured: set[str] = set()
        self._refused: list[tuple[str, str, str, str, str]] = []
        self._reasons: Counter[str] = Counter()
        self._items: pd.DataFrame | None = None
        self._interaction_schema: pa.Schema | None = None
        self._interaction_count = 0
        self._users: set[str] = set()
        self._taken: set[str] = set()
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = self._stack.enter_context(atomic_folder(self._out, overwrite=self._overwrite))
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool | None:
        try:
            if kind is None:
                self._finish()
            else:
                self._abandon()
        except BaseException:
            self._abandon()
            if not self._stack.__exit__(*sys.exc_info()):
                raise
        return self._stack.__exit__(kind, error, traceback)

    def _abandon(self) -> None:
        """Close what is open; the folder is about to be removed, so a failure to write its last bytes is no news."""
        for name in list(self._open):
            try:
                self._open.pop(name).close()
            except (OSError, pa.ArrowException):
                continue

    def _append(self, part: str, table: pa.Table, **options: Any) -> None:
        if part not in self._open:
            self._open[part] = pq.ParquetWriter(self._folder / part, table.schema, **options)
        self._open[part].write_table(table)

    def _close(self, part: str) -> None:
        if part in self._open:
            self._open.pop(part).close()

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
        self._pictured.add(item_id)
        self._image_count += 1
        self._part_bytes += len(data)
        self._pending_bytes += len(data)
        if len(self._pending) >= ROW_GROUP or self._pending_bytes >= _GROUP_BYTES:
            self._flush_images()

    def _flush_images(self) -> None:
        if self._pending:
            # Encoded images do not compress; plain storage keeps them cheap to read.
            table = pa.Table.from_pylist(self._pending, schema=IMAGE_SCHEMA)
            self._append(self._image_part, table, compression="none", use_dictionary=["role"])
            self._pending, self._pending_bytes = [], 0
        if self._part_bytes >= _PART_BYTES:
            self._close_image_part()

    @property
    def _image_part(self) -> str:
        return f"images-{self._part_count:05d}.parquet"

    def _close_image_part(self) -> None:
        if self._image_part in self._open:
            self._close(self._image_part)
            self._part_count += 1
            self._part_bytes = 0

    def link_images(self, bundle: Bundle) -> None:
        """Take over all images of another bundle, by hard link where the file system allows it."""
        self._flush_images()
        self._close_image_part()
        for part in bundle.image_parts:
            try:
                os.link(bundle.path / part, self._folder / self._image_part)
            except OSError:
                shutil.copyfile(bundle.path / part, self._folder / self._image_part)
            self._part_count += 1
        self._image_count += len(bundle.image_index)
        self._pictured.update(bundle.image_index["item_id"])

    @property
    def quarantined(self) -> dict[str, int]:
        """How much was refused so far, by reason, the most frequent first."""
        return dict(self._reasons.most_common())

    def refuse(self, kind: str, id: str, reason: str, detail: str = "", where: str = "") -> None:
        """Record one refused ``item``, ``image`` or ``interaction``; ``reason`` is a stable word."""
        self._refused.append((kind, str(id), reason, detail, where))
        self._reasons[reason] += 1
        if len(self._refused) >= _REFUSALS_KEPT:
            self._flush_refusals()

    def refuse_frame(
        self,
        kind: str,
        frame: pd.DataFrame,
        id_column: str,
        reason: str,
        where: pd.Series | str = "",
        detail: pd.Series | str = "",
    ) -> None:
        """Record every row of ``frame`` as refused for one reason."""
        places, details = (text if isinstance(text, pd.Series) else [text] * len(frame) for text in (where, detail))
        for id, about, place in zip(frame[id_column], details, places):
            self.refuse(kind, id, reason, str(about), str(place))

    def _flush_refusals(self) -> None:
        columns = zip(*self._refused) if self._refused else [()] * len(QUARANTINE_COLUMNS)
        arrays = [string_array(column) for column in columns]
        self._append("quarantine.parquet", pa.table(arrays, schema=_QUARANTINE_SCHEMA), compression="zstd")
        self._refused = []

    def set_items(self, items: pd.DataFrame) -> None:
        """Set the items: columns ``item_id``, ``category``, ``available`` (default true) and any attributes.

        Raises:
            DataError: no items, a column missing, a duplicate, missing or empty id, an empty category, or an
                ``available`` that is not boolean.
        """
        if self._items is not None:
            raise DataError("the items were set already")
        self._items = clean_items(items)

    def set_interactions(self, interactions: pd.DataFrame) -> None:
        """Set all interactions at once: `add_interactions`, for those that fit in memory.

        Raises:
            DataError: some are there already, or an id is missing.
        """
        if self._interaction_schema is not None:
            raise DataError("the interactions were set already; add more with add_interactions")
        self.add_interactions(interactions)

    def add_interactions(self, interactions: pd.DataFrame) -> None:
        """Add interactions: ``user_id``, ``item_id`` and, each with a default, ``timestamp`` (those with a time zone
        are stored in UTC), ``event``, ``weight``; further columns (``split``, ``rating``) are kept. Rows must refer
        to items that are there when the writer closes.

        Raises:
            DataError: an id is missing, or the columns differ from those added before.
        """
        frame = clean_interactions(interactions)
        if self._interaction_schema is None:
            if frame.empty:
                return  # the types of its further columns cannot be told
            self._interaction_schema = interaction_schema(frame)
        try:
            table = pa.Table.from_pandas(frame, schema=self._interaction_schema, preserve_index=False)
        except (KeyError, pa.ArrowException) as error:
            raise DataError(f"interactions were added with other columns than before: {error}") from error
        self._append("interactions.parquet", table, compression="zstd")
        self._interaction_count += len(frame)
        self._users.update(frame["user_id"].unique())
        self._taken.update(frame["item_id"].unique())

    def part_path(self, name: str) -> Path:
        """Return the path at which one further part (such as the simulation's oracle) may be written."""
        return self._folder / name

    def _finish(self) -> None:
        self._flush_images()
        self._close_image_part()
        if self._items is None:
            raise DataError("the items were never set")
        if self._interaction_schema is None:
            self._append("interactions.parquet", BASE_INTERACTIONS.empty_table(), compression="zstd")
        known = set(self._items["item_id"])
        for what, ids in (("interaction", self._taken), ("image", self._pictured)):
            if unknown := ids - known:
                raise DataError(f"{what} of unknown item '{min(unknown)}'")
        self._items.to_parquet(self._folder / "items.parquet", index=False, compression="zstd")
        self._flush_refusals()
        self._close("interactions.parquet")
        self._close("quarantine.parquet")
        header = BundleHeader(
            schema_version=SCHEMA_VERSION,
            name=self._name,
            licence=self._licence,
            source=self._source,
            counts={
                "items": len(self._items),
                "images": self._image_count,
                "interactions": self._interaction_count,
                "users": len(self._users),
                "categories": int(self._items["category"].nunique()),
            },
            quarantined=self.quarantined,
            pseudo_users=self._pseudo_users,
            facts=self.facts,
            parts={path.name: sha256_file(path) for path in sorted(self._folder.iterdir())},
        )
        (self._folder / HEADER).write_text(
            json.dumps(header.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
