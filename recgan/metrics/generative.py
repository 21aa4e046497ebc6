"""How near a set of generated images is to a set of real ones, from features of both (any extractor's).

All take float arrays [n, d] and compute in float64. Figures depend on the extractor and on n: state both beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from recgan.metrics.stats import bootstrap_counts

__all__ = [
    "Neighbourhoods",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "nearest_distances",
    "nearest_neighbours",
    "neighbourhoods",
    "resampled_inception_scores",
    "resampled_kernel_distances",
    "spread",
]

_BLOCK_VALUES = 1 << 24


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the unbiased estimate of the squared MMD under k(x, y) = (x . y / d + 1)^3: KID (Binkowski et al. 2018,
    section 3 and equation 4). 0 on average for two samples of one distribution, so it may be slightly negative.

    Args:
        real, fake: [n, d] and [m, d], n and m at least 2.
    """
    counts = [np.ones((1, len(rows))) for rows in (real, fake)]
    return float(_kernel_distances(real, fake, *counts)[0])


def resampled_kernel_distances(
    real: np.ndarray, fake: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return bootstrap replicates of `kernel_distance`, float64 [resamples]; both sets are resampled.

    A row that is drawn twice is never compared with itself: that would bias every replicate upwards.
    """
    rng = np.random.default_rng(seed)
    counts = [bootstrap_counts(len(rows), resamples, rng) for rows in (real, fake)]
    return _kernel_distances(real, fake, *counts)


def _kernel_distances(
    real: np.ndarray, fake: np.ndarray, real_counts: np.ndarray, fake_counts: np.ndarray
) -> np.ndarray:
    """Return the estimate, float64 [B], for each of B ways of counting the rows, [B, n] and [B, m]."""
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        products = x @ y.T
        products /= real.shape[1]
        products += 1
        return products**3

    def within(x: np.ndarray, counts: np.ndarray) -> np.ndarray:
        values = kernel(x, x)
        squares = counts**2
        all_pairs = ((counts @ values) * counts).sum(axis=1)
        same = squares @ np.diagonal(values)
        return (all_pairs - same) / (counts.sum(axis=1) ** 2 - squares.sum(axis=1))

    across = ((real_counts @ kernel(real, fake)) * fake_counts).sum(axis=1)
    across /= real_counts.sum(axis=1) * fake_counts.sum(axis=1)
    return within(real, real_counts) + within(fake, fake_counts) - 2 * across


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the Frechet distance of the Gaussians with the features' means and covariances (Heusel et al. 2017,
    equation 6; with Inception's features: FID). It is biased upwards, the more the fewer images.

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^1/2), where the last trace is the sum of the singular values of
    X1 X2' / sqrt((n - 1)(m - 1)) for the centred features X1 and X2: no root of a (singular) matrix is taken.

    Args:
        real, fake: [n, d] and [m, d], n and m at least 2.
    """
    sets = [np.asarray(rows, dtype=np.float64) for rows in (real, fake)]
    means = [rows.mean(axis=0) for rows in sets]
    centred = [(rows - mean) / np.sqrt(len(rows) - 1) for rows, mean in zip(sets, means)]
    traces = sum(float((rows**2).sum()) for rows in centred)
    # The triangular factors have the same products, and at most d rows.
    left, right = (scipy.linalg.qr(rows, mode="r", check_finite=False)[0][: rows.shape[1]] for rows in centred)
    shared = scipy.linalg.svdvals(left @ right.T).sum()
    return float(((means[0] - means[1]) ** 2).sum() + traces - 2 * shared)


@dataclass(frozen=True)
class Neighbourhoods:
    """Which of n real and m fake images lie in each other's neighbourhoods. Each figure is from 0, and 1 for one
    distribution (density may be larger)."""

    k: int
    holds: np.ndarray
    """bool [n, m]: the fake lies within the k-th neighbour's distance of the real image."""
    reached: np.ndarray
    """bool [n]: the real image lies within the k-th neighbour's distance of some fake."""

    @property
    def precision(self) -> float:
        """Share of fakes within the k-th neighbour's distance of some real image (Kynkaanniemi et al. 2019)."""
        return float(self.holds.any(axis=0).mean())

    @property
    def recall(self) -> float:
        """Share of real images within the k-th neighbour's distance of some fake."""
        return float(self.reached.mean())

    @property
    def density(self) -> float:
        """Real neighbourhoods that a fake lies in, over k (Naeem et al. 2020)."""
        return float(self.holds.sum(axis=0).mean() / self.k)

    @property
    def coverage(self) -> float:
        """Share of real images with a fake in their neighbourhood (Naeem et al. 2020)."""
        return float(self.holds.any(axis=1).mean())


def neighbourhoods(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Neighbourhoods:
    """Return who lies in whose neighbourhood of k nearest neighbours; real [n, d], fake [m, d], n, m > k."""
    across = _distances(real, fake)
    real_radius = np.partition(_distances(real, real), k, axis=1)[:, k]  # column 0 is the image itself
    fake_radius = np.partition(_distances(fake, fake), k, axis=1)[:, k]
    return Neighbourhoods(k=k, holds=across <= real_radius[:, None], reached=np.any(across <= fake_radius, axis=1))


def nearest_neighbours(queries: np.ndarray, among: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances, float64 [n, k], and rows, int64 [n, k], of each query's k nearest rows of ``among``, the
    nearest first; in blocks, so that queries x rows is never held at once."""
    among = np.asarray(among, dtype=np.float64)
    step = max(1, _BLOCK_VALUES // len(among))
    distances, rows = [], []
    for start in range(0, len(queries), step):
        block = _distances(queries[start : start + step], among)
        nearest = np.argpartition(block, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(block, nearest, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        distances.append(np.take_along_axis(values, order, axis=1))
        rows.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(distances), np.concatenate(rows)


def nearest_distances(queries: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return each query's distance to the nearest row of ``among``, float64 [n]."""
    return nearest_neighbours(queries, among)[0][:, 0]


def spread(features: np.ndarray, class_index: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the mean distance between two different images of each class, float64 [n_classes]; nan below 2."""
    found = np.full(n_classes, np.nan)
    for index in range(n_classes):
        of_class = features[class_index == index]
        if (n := len(of_class)) > 1:
            found[index] = _distances(of_class, of_class).sum() / (n * (n - 1))
    return found


def inception_score(probabilities: np.ndarray) -> float:
    """Return exp of the mean KL divergence of each image's class probabilities from their mean (Salimans et al. 2016,
    section 4), in one piece: 1 where all images look alike to the classifier, the number of classes at most.

    It is comparable only with scores by the same classifier on as many images.

    Args:
        probabilities: [n, K], rows sum to 1.
    """
    return float(_inception_scores(probabilities, np.ones((1, len(probabilities))))[0])


def resampled_inception_scores(probabilities: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Return bootstrap replicates of `inception_score`, float64 [resamples]."""
    counts = bootstrap_counts(len(probabilities), resamples, np.random.default_rng(seed))
    return _inception_scores(probabilities, counts)


def _inception_scores(probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, dtype=np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return np.exp(_entropies(shares @ p) - shares @ _entropies(p))


def _entropies(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    squares = left @ right.T
    squares *= -2
    squares += (left**2).sum(axis=1)[:, None]
    squares += (right**2).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0, out=squares), out=squares)
