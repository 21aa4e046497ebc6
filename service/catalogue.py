"""What the service needs of the bundle: items by id and by page, and the catalogue's own photos."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import decode_image
from service.problems import ProblemError

__all__ = ["Catalogue", "Photo", "web_image"]

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)
_OWN_COLUMNS = ("item_id", "category", "available")


@dataclass(frozen=True)
class Photo:
    """One encoded picture, ready to be sent."""

    data: bytes
    media_type: str
    etag: str


class Catalogue:
    """The items of one bundle, looked up by id."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.digest = bundle.catalogue_digest
        self.categories: list[str] = bundle.category_names
        self.counts: np.ndarray = np.bincount(bundle.category_index, minlength=len(self.categories))
        self._rows: dict[str, int] = {item_id: row for row, item_id in enumerate(bundle.item_ids)}
        self._photo_rows = bundle.primary_images
        self._photo_digests = bundle.image_index["sha256"].to_numpy(dtype=object)
        self._photo_counts = np.bincount(bundle.image_index["item"], minlength=len(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, item_id: str) -> int | None:
        """Return an item's row; None if there is no such item."""
        return self._rows.get(item_id)

    @cached_property
    def category_set(self) -> frozenset[str]:
        """The names of the categories."""
        return frozenset(self.categories)

    def rows_from(self, category: str | None, start: int) -> np.ndarray:
        """Return the item rows from ``start`` on (of one category, if given), int64, ascending."""
        if category is None:
            return np.arange(min(start, len(self)), len(self))
        index = self.categories.index(category)
        first, last = self._category_bounds[index : index + 2]
        rows = self._rows_by_category[first:last]
        return rows[np.searchsorted(rows, start) :]

    @cached_property
    def _rows_by_category(self) -> np.ndarray:
        return np.argsort(self.bundle.category_index, kind="stable")

    @cached_property
    def _category_bounds(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.counts)])

    def has_photo(self, row: int) -> bool:
        """Return whether the item has a picture."""
        return bool(self._photo_rows[row] >= 0)

    def photo_count(self, row: int) -> int:
        """Return how many pictures the item has."""
        return int(self._photo_counts[row])

    def category_of(self, row: int) -> str:
        """Return the item's category."""
        return self.categories[self.bundle.category_index[row]]

    def item_id(self, row: int) -> str:
        """Return the item's id."""
        return str(self.bundle.item_ids[row])

    def available(self, row: int) -> bool:
        """Return whether the item can be had."""
        return bool(self.bundle.items["available"].iat[row])

    def attributes(self, row: int) -> dict[str, Any]:
        """Return the item's attribute columns as JSON values; what is missing is None."""
        values = self.bundle.items.iloc[row]
        return {str(name): _json_value(values[name]) for name in values.index if name not in _OWN_COLUMNS}

    def photo_etag(self, row: int) -> str:
        """Return the entity tag of the item's first picture (weak: it names the pixels, not the bytes).

        Raises:
            ProblemError: not-found (404), the item has no picture.
        """
        if not self.has_photo(row):
            raise ProblemError("not-found", f"item '{self.item_id(row)}' has no picture")
        return f'W/"{self._photo_digests[self._photo_rows[row]][:32]}"'

    def photo(self, row: int) -> Photo:
        """Return the item's first picture in a format that browsers show.

        Raises:
            ProblemError: as `photo_etag`.
        """
        etag = self.photo_etag(row)
        data, media_type = web_image(self.bundle.image_bytes([int(self._photo_rows[row])])[0])
        return Photo(data, media_type, etag)


def web_image(data: bytes) -> tuple[bytes, str]:
    """Return an encoded picture and its media type; what browsers do not show (TIFF, BMP) becomes a PNG."""
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return data, media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return data, "image/webp"
    out = io.BytesIO()
    decode_image(data).save(out, "PNG")
    return out.getvalue(), "image/png"


def _json_value(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_json_value(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _json_value(one) for name, one in value.items()}
    if value is None or pd.isna(value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
