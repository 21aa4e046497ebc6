"""`renttherunway`: rentals with ratings (Misra, Wan & McAuley 2018); real users, no images.

Either ``interactions.csv.gz`` (user_id, item_id, rating, category, …, review_date) or the published
``renttherunway_final_data.json.gz`` (a JSON object a line).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from recgan.config import ImportOptions
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.common import Source, need_file, table_of
from recgan.dataset.importers.interactions import parse_times
from recgan.dataset.importers.tables import text
from recgan.errors import DataError

__all__ = ["RentTheRunway"]

_FILES = (
    "interactions.csv.gz",
    "interactions.csv",
    "renttherunway_final_data.json.gz",
    "renttherunway_final_data.json",
)
_COLUMNS = ["user_id", "item_id", "category", "rating", "review_date"]


class RentTheRunway(Source):
    """Garments, and who rented them when; a rental's rating (out of 10) is kept as ``rating``."""

    label = "renttherunway"
    title = "RentTheRunway"
    licence = "published for research (cseweb.ucsd.edu/~jmcauley/datasets.html); no licence stated"
    takes = frozenset({"since", "core"})

    def __init__(self, path: Path, options: ImportOptions) -> None:
        super().__init__(path, options)
        self._file = path if path.is_file() else need_file(path, *_FILES)
        self.items_file = self.interactions_file = self._file.name
        self._rentals = pd.DataFrame()

    def items(self, writer: BundleWriter) -> pd.DataFrame:
        """One item for each that was rented, in the category that most of its rentals name."""
        if ".json" in self._file.suffixes:
            self._rentals = self._read_json(writer)
        else:
            table = table_of(self._file, self.options)
            columns = [table.column(column) for column in _COLUMNS]
            self._rentals = table.read(writer.refuse, "interaction", columns)
        outside = ~_in_core(self._rentals, self.options.core)
        if outside.any():
            self.facts["interactions_outside_core"] = int(outside.sum())
            self._rentals = self._rentals[~outside]
        if self._rentals.empty:
            raise DataError(f"'{self._file}' has no {self.options.core}-core; give a smaller --set core")
        named = self._rentals[["item_id", "category"]].apply(text)
        named = named[named["item_id"] != ""]
        counts = named[named["category"] != ""].groupby(["item_id", "category"], sort=False).size()
        # A stable sort: of categories named equally often, the one named first.
        usual = counts.sort_values(ascending=False, kind="stable").reset_index().drop_duplicates("item_id")
        several = int(counts.groupby("item_id").size().gt(1).sum())
        if several:
            self.facts["items_with_several_categories"] = several
        items = named.drop_duplicates("item_id")[["item_id"]]
        items["category"] = items["item_id"].map(usual.set_index("item_id")["category"]).fillna("")
        return items

    def interactions(self, writer: BundleWriter) -> Iterator[pd.DataFrame]:
        """``rental`` events of weight 1."""
        rentals = self._rentals
        rating = pd.to_numeric(rentals["rating"], errors="coerce").astype(np.float32)
        # The published file writes dates as "April 20, 2016".
        dates = text(rentals["review_date"])
        times = parse_times(dates)
        times = times.where(times.notna(), parse_times(dates, "%B %d, %Y"))
        yield pd.DataFrame(
            {
                "user_id": rentals["user_id"],
                "item_id": rentals["item_id"],
                "timestamp": times,
                "event": "rental",
                "rating": rating,
            }
        )

    def _read_json(self, writer: BundleWriter) -> pd.DataFrame:
        rows, places = [], []
        opener = gzip.open if self._file.suffix == ".gz" else open
        try:
            with opener(self._file, "rt", encoding="utf-8") as file:
                for place, line in enumerate(file, 1):
                    try:
                        rental = json.loads(line)
                        rows.append([rental.get(column) for column in _COLUMNS])
                        places.append(place)
                    except (json.JSONDecodeError, AttributeError) as error:
                        where = f"{self._file.name}:{place}"
                        writer.refuse("interaction", "", "malformed_line", f"{error}: {line.strip()[:200]}", where)
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise DataError(f"'{self._file}' cannot be read: {error}") from error
        return pd.DataFrame(rows, index=places, columns=_COLUMNS, dtype=object)


def _in_core(rentals: pd.DataFrame, core: int) -> pd.Series:
    """Return which rentals are of users and items that have at least ``core`` rentals with each other: bool, as
    indexed."""
    kept = rentals
    while True:
        enough = kept["user_id"].map(kept["user_id"].value_counts()).ge(core)
        enough &= kept["item_id"].map(kept["item_id"].value_counts()).ge(core)
        if core == 1 or enough.all():
            return rentals.index.to_series().isin(kept.index)
        kept = kept[enough]
