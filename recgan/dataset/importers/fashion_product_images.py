"""`fashion-product-images`: the Kaggle set of Param Aggarwal, ``styles.csv`` beside ``images/`` or ``images.zip``.

``styles.csv`` does not quote its product names, so that a comma in one makes the line too long.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from recgan.config import ImportOptions
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.common import Source, need_file
from recgan.dataset.importers.matching import match_pictures
from recgan.dataset.importers.pictures import Gallery, open_pictures
from recgan.dataset.importers.tables import Table

__all__ = ["FashionProductImages"]

_YEAR = re.compile(r"(\d{4}(\.0)?)?")


class FashionProductImages(Source):
    """Product photos of one shop with their types, colours and uses; no users."""

    label = "fashion-product-images"
    title = "Fashion Product Images (Small)"
    licence = "MIT as given on Kaggle; the photos are the shop's"
    takes = frozenset({"category_column", "default_category", "encoding"})

    def __init__(self, path: Path, options: ImportOptions) -> None:
        super().__init__(path, options)
        styles = need_file(path, "styles.csv")
        self._images = need_file(path, "images.zip", "images")
        self.items_file = styles.name
        self._table = Table(styles, delimiter=",", encoding=options.encoding, repair=self._join_name)
        self._id = self._table.column("id")
        self._category = self._table.column(options.category_column or "articleType", "category_column")

    def items(self, writer: BundleWriter) -> pd.DataFrame:
        """One item a line; all other columns are kept as attributes."""
        items = self._table.read(writer.refuse, "item")
        if self._table.repaired:
            self.facts["repaired_lines"] = self._table.repaired
        return items.rename(columns={self._id: "item_id", self._category: "category"})

    def gallery(self, item_ids: Collection[str]) -> Gallery:
        """The photo of item 15970 is ``15970.jpg``."""
        return match_pictures(open_pictures(self._images), item_ids, "{item_id}.*")

    def _join_name(self, fields: list[str]) -> list[str] | None:
        """Put a name that holds commas together again. It is sure that the extra commas are the name's if the name is
        the last column, and what stands before it is right where right and wrong can be told."""
        columns = self._table.columns
        if columns[-1] != "productDisplayName":
            return None
        mended = [*fields[: len(columns) - 1], ",".join(fields[len(columns) - 1 :])]
        row = dict(zip(columns, mended))
        return mended if row["id"].isdigit() and _YEAR.fullmatch(row.get("year", "")) else None
