"""The true taste of simulated users as a judge of designs, on the scale that reports use."""

from __future__ import annotations

import numpy as np

from recgan.dataset.bundle import Bundle
from recgan.dataset.oracle import ORACLE_PARTS, StyleOracle
from recgan.dataset.pixels import load_pixels

__all__ = ["TrueTaste"]


class TrueTaste:
    """The style oracle of a bundle with simulated users, looking at real items and designs through the same pixels."""

    def __init__(self, bundle: Bundle, size: int) -> None:
        self._oracle = StyleOracle.load(bundle)
        self._pixels = load_pixels(bundle, size)
        self._image_rows = bundle.primary_images

    @classmethod
    def of(cls, bundle: Bundle, size: int) -> TrueTaste | None:
        """Return the judge that sees images of ``size`` pixels, or None where the bundle's users are not simulated."""
        return cls(bundle, size) if ORACLE_PARTS[0] in bundle.header.parts else None

    def percentiles(self, user_id: str, category: str, images: np.ndarray, real_rows: np.ndarray) -> list[float]:
        """Return for each image uint8 [N, size, size, 3] the share, in percent, of the real items at ``real_rows`` of
        the bundle (all of ``category``, all with a picture) that the user truly likes less."""
        real = np.sort(self._taste(user_id, category, self._pixels[self._image_rows[real_rows]]))
        below = np.searchsorted(real, self._taste(user_id, category, images), side="left")
        return [100.0 * float(count) / len(real) for count in below]

    def percentiles_of_items(self, user_id: str, category: str, rows: np.ndarray, real_rows: np.ndarray) -> list[float]:
        """Return the same for the items at ``rows`` of the bundle."""
        return self.percentiles(user_id, category, self._pixels[self._image_rows[rows]], real_rows)

    def _taste(self, user_id: str, category: str, images: np.ndarray) -> np.ndarray:
        return self._oracle.taste([user_id], images, [category] * len(images))[0]
