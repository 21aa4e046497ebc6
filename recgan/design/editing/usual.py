"""How different two real items of a category usually look: the measure of a leash."""

from __future__ import annotations

import numpy as np

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels
from recgan.encoders.perceptual import PerceptualDistance
from recgan.errors import SettingsError

__all__ = ["UsualDistances"]

_PAIRS = 100


class UsualDistances:
    """The median perceptual distance of pairs of a category's items, measured once a category."""

    def __init__(self, bundle: Bundle, size: int, eye: PerceptualDistance, *, seed: int = 0) -> None:
        """Args: ``size`` of the pixels compared; ``seed`` of the pairs, of which there are 100 at most."""
        self._bundle, self._size, self._eye, self._seed = bundle, size, eye, seed
        self._known: dict[str, float] = {}

    def __call__(self, category: str) -> float:
        """Return the median.

        Raises:
            SettingsError: the category has fewer than two items with a picture.
        """
        if category not in self._known:
            names, first = self._bundle.items["category"].to_numpy(), self._bundle.primary_images
            rows = np.flatnonzero((names == category) & (first >= 0))
            if len(rows) < 2:
                raise SettingsError(f"category '{category}' has too few items to tell how different they look")
            rng = np.random.default_rng([self._seed, 41])
            left = rng.integers(len(rows), size=_PAIRS)
            right = (left + rng.integers(1, len(rows), size=_PAIRS)) % len(rows)  # never the same item
            left, right = np.unique(np.sort([left, right], axis=0), axis=1)  # of few items, each pair once
            pixels = load_pixels(self._bundle, self._size)
            one, other = (np.asarray(pixels[first[rows[side]]]) for side in (left, right))
            self._known[category] = float(np.median(self._eye(one, other)))
        return self._known[category]
