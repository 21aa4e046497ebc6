"""How near a set of generated images is to a set of real ones, from features of both (any extractor's).

All take float arrays [n, d] and compute in float64. Figures depend on the extractor and on n: state both beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Neighbourhoods", "kernel_distance", "nearest_distances", "neighbourhoods", "spread"]


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the unbiased estimate of the squared MMD under k(x, y) = (x . y / d + 1)^3: KID (Binkowski et al. 2018,
    section 3 and equation 4). 0 on average for two samples of one distribution, so it may be slightly negative.

    Args:
        real, fake: [n, d] and [m, d], n and m at least 2.
    """
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    d, n, m = real.shape[1], len(real), len(fake)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / d + 1) ** 3

    within_real, within_fake = kernel(real, real), kernel(fake, fake)
    return float(
        (within_real.sum() - np.trace(within_real)) / (n * (n - 1))
        + (within_fake.sum() - np.trace(within_fake)) / (m * (m - 1))
        - 2 * kernel(real, fake).mean()
    )


@dataclass(frozen=True)
class Neighbourhoods:
    """Which of two sets lie in each other's neighbourhoods; each figure from 0, and 1 for one distribution (density may
    be larger)."""

    precision: float
    """Share of fakes within the k-th neighbour's distance of some real image (Kynkaanniemi et al. 2019)."""
    recall: float
    """Share of real images within the k-th neighbour's distance of some fake."""
    density: float
    """Real neighbourhoods that a fake lies in, over k (Naeem et al. 2020)."""
    coverage: float
    """Share of real images with a fake in their neighbourhood (Naeem et al. 2020)."""


def neighbourhoods(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Neighbourhoods:
    """Return precision, recall, density and coverage by k nearest neighbours; real [n, d], fake [m, d], n, m > k."""
    across = _distances(real, fake)
    real_radius = np.partition(_distances(real, real), k, axis=1)[:, k]  # column 0 is the image itself
    fake_radius = np.partition(_distances(fake, fake), k, axis=1)[:, k]
    in_real = across <= real_radius[:, None]
    return Neighbourhoods(
        precision=float(in_real.any(axis=0).mean()),
        recall=float((across <= fake_radius).any(axis=1).mean()),
        density=float(in_real.sum(axis=0).mean() / k),
        coverage=float(in_real.any(axis=1).mean()),
    )


def nearest_distances(queries: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return each query's distance to the nearest row of ``among``, float64 [n]."""
    return _distances(queries, among).min(axis=1)


def spread(features: np.ndarray, class_index: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the mean distance between two different images of each class, float64 [n_classes]; nan below 2."""
    found = np.full(n_classes, np.nan)
    for index in range(n_classes):
        of_class = features[class_index == index]
        if (n := len(of_class)) > 1:
            found[index] = _distances(of_class, of_class).sum() / (n * (n - 1))
    return found


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.sqrt(np.maximum(squares, 0))
