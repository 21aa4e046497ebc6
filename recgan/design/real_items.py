"""The real items that designs are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["RealItems", "unit_rows"]


@dataclass(frozen=True)
class RealItems:
    """What a design is compared with: the category's items with a picture, in stock or not, less those the user has
    seen."""

    rows: np.ndarray
    """Their rows in the recommender's catalogue, int64 [m]."""
    item_ids: np.ndarray
    """Object array [m] of str."""
    scores: np.ndarray
    """The user's preference for each, as designs are scored, float32 [m]."""
    directions: np.ndarray
    """Their whitened features at unit length, float32 [m, width]."""

    def percentile(self, score: float) -> float:
        """Return the share, in percent, of the items that score below ``score``."""
        return 100.0 * float(np.mean(self.scores < score))

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[str, float]]:
        """Return the ``k`` items nearest to whitened ``features`` [width] by cosine distance (1 - cosine, 0 to 2)."""
        distances = 1 - self.directions @ unit_rows(features[None])[0]
        order = np.argsort(distances, kind="stable")[:k]
        return [(str(self.item_ids[row]), max(0.0, float(distances[row]))) for row in order]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows [N, d] at unit length (zeros stay zeros)."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
