"""`folder`: a shop's own export, images in a folder or a zip with items and interactions as CSV or Parquet.

Without a table of items every image is one, and its folder is its category (torchvision's ImageFolder layout).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recgan.config import ImportOptions
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.common import Source, find_file, table_of
from recgan.dataset.importers.matching import items_of_images, match_pictures
from recgan.dataset.importers.pictures import Gallery, Picture, open_pictures
from recgan.dataset.importers.tables import Table, text
from recgan.errors import DataError

__all__ = ["Folder"]

_TABLE_ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet")
_ITEM_COLUMNS = ("item_id", "category", "available")


class Folder(Source):
    """Images, and tables that say what they show and what was done with it."""

    label = "folder"
    licence = "the owner's"
    takes = frozenset(ImportOptions.model_fields) - {"category_names", "core"}

    def __init__(self, path: Path, options: ImportOptions) -> None:
        super().__init__(path, options)
        if not path.exists():
            raise DataError(f"'{path}' does not exist; give the folder or the zip of the images")
        self.title = path.stem if path.is_file() else path.resolve().name
        self._items = self._find_table("items", options.items)
        self._log = self._find_table("interactions", options.interactions)
        self._store = open_pictures(self._find_images())
        self._listed: dict[str, Any] = {}
        self._shown: dict[str, str] = {}
        # Columns are looked up before anything is read, so that a wrong name is told at once.
        if self._items is not None:
            self.items_file = self._items.name
            self._item_columns = self._find_item_columns(self._items)
        else:
            self.items_file = self._store.label
        if self._log is not None:
            self.interactions_file = self._log.name
            self._log_columns = self._find_log_columns(self._log)

    def items(self, writer: BundleWriter) -> pd.DataFrame:
        """One item a row of the table, with all its other columns as attributes; without a table, one an image."""
        options = self.options
        if self._items is None:
            frame = items_of_images(self._store, options.image_pattern)
            if options.image_pattern is None:
                self._shown = dict(zip(frame["item_id"][::-1], frame.index[::-1]))
            if options.default_category is None and (frame["category"] == "").all():
                raise DataError(
                    f"'{self.path}' holds no items table, and its images lie in no folders that could name their "
                    "categories; give --items FILE, or --set default_category=NAME"
                )
            return frame
        frame = self._items.read(writer.refuse, "item")
        if options.image_column is not None:
            listed = frame.pop(options.image_column)
            ids = text(frame[options.item_id_column])
            self._listed = dict(zip(ids[::-1], listed[::-1]))
        others = [column for column in _ITEM_COLUMNS if column in frame and column not in self._item_columns]
        frame = frame.rename(columns={column: f"{column}_in_source" for column in others})
        frame = frame.rename(columns=self._item_columns)
        return frame if "category" in frame else frame.assign(category="")

    def gallery(self, item_ids: Collection[str]) -> Gallery | None:
        """The images listed in the items' image column, or else those named after the item."""
        if self._shown:
            return Gallery(lambda item_id: [self._store.picture(self._shown[item_id])])
        if self.options.image_column is not None:
            return self._listed_pictures()
        return match_pictures(self._store, item_ids, self.options.image_pattern) if self._store.names else None

    def interactions(self, writer: BundleWriter) -> Iterator[pd.DataFrame]:
        """The rows of the interactions table."""
        if self._log is not None:
            for chunk in self._log.chunks(writer.refuse, "interaction", list(self._log_columns)):
                yield chunk.rename(columns=self._log_columns)

    def _find_table(self, what: str, given: str | None) -> Table | None:
        if given is not None:
            return table_of(self._locate(given, what), self.options)
        if not self.path.is_dir():
            return None
        found = [self.path / f"{what}{ending}" for ending in _TABLE_ENDINGS if (self.path / f"{what}{ending}").exists()]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise DataError(f"'{self.path}' holds {names}; say which with --{what} FILE")
        return table_of(found[0], self.options) if found else None

    def _find_images(self) -> Path:
        if self.options.images is not None:
            return self._locate(self.options.images, "images")
        if not self.path.is_dir():
            return self.path
        packed, loose = find_file(self.path, "images.zip"), find_file(self.path, "images")
        if packed and loose:
            raise DataError(f"'{self.path}' holds images.zip and images; say which with --images PATH")
        return packed or loose or self.path

    def _locate(self, given: str, option: str) -> Path:
        beside = (self.path if self.path.is_dir() else self.path.parent) / given
        for place in (beside, Path(given)):
            if place.exists():
                return place
        raise DataError(f"{option}='{given}' is neither '{beside}' nor in the working directory; give its path")

    def _find_item_columns(self, table: Table) -> dict[str, str]:
        options = self.options
        columns = {table.column(options.item_id_column, "item_id_column"): "item_id"}
        category = table.optional(options.category_column, "category", "category_column")
        if category is None and options.default_category is None:
            table.column("category", "category_column")
        available = table.optional(options.available_column, "available", "available_column")
        if options.image_column is not None:
            table.column(options.image_column, "image_column")
        return columns | {column: name for column, name in ((category, "category"), (available, "available")) if column}

    def _find_log_columns(self, log: Table) -> dict[str, str]:
        options = self.options
        item = options.interactions_item_id_column
        if item is None:
            item = options.item_id_column if options.item_id_column in log.columns else "item_id"
        columns = {
            log.column(options.user_id_column, "user_id_column"): "user_id",
            log.column(item, "interactions_item_id_column"): "item_id",
        }
        for name in ("timestamp", "event", "weight"):
            column = log.optional(getattr(options, f"{name}_column"), name, f"{name}_column")
            if column is not None:
                columns[column] = name
        unread = [column for column in log.columns if column not in columns]
        if "timestamp" not in columns.values() and unread:
            self.facts["warnings"] = [
                f"{log.name}: the interactions have no times, so users' last ones are drawn by chance; if one of its "
                f"other columns ({', '.join(unread[:8])}) tells the time, import with --set timestamp_column=COLUMN"
            ]
        return columns

    def _listed_pictures(self) -> Gallery:
        used: set[str] = set()
        pictures: dict[str, list[Picture]] = {}
        for item_id, listed in self._listed.items():
            for mention in _mentions(listed):
                name = self._store.find(mention)
                of_item = pictures.setdefault(item_id, [])
                role = "view" if of_item else "main"
                of_item.append(self._store.missing(mention) if name is None else self._store.picture(name, role))
                used.add(name or "")
        strays = [self._store.picture(name) for name in self._store.names if name not in used]
        return Gallery(lambda item_id: pictures.get(item_id, ()), strays)


def _mentions(listed: Any) -> Sequence[str]:
    """Return the image files that one cell lists: a string with separators, or a list."""
    if listed is None or isinstance(listed, float):
        return ()
    mentions = re.split(r"[|;]", listed) if isinstance(listed, str) else [str(mention) for mention in listed]
    return [mention for mention in map(str.strip, mentions) if mention]
