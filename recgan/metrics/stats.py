"""How sure a figure is: bootstrap over users, Wilson's interval of a share, and Holm's correction for looking at many
differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

__all__ = ["bootstrap_counts", "bootstrap_means", "holm", "interval", "paired_p_value", "wilson"]

_CHUNK_DRAWS = 1 << 22


def bootstrap_means(values: np.ndarray, *, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Return the means of resampled rows, float64 [resamples, M].

    All columns are resampled together, so differences of columns are paired.

    Args:
        values: float [n, M], one row a user, finite.
        resamples: number of resamples of n rows with replacement.
        seed: of the resampling.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0:
        return np.full((resamples, values.shape[1]), np.nan)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    step = max(1, _CHUNK_DRAWS // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        means[start : start + rows] = _counts(n, rows, rng) @ values / n
    return means


def bootstrap_counts(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of n rows is drawn in each resample of n rows with replacement, float64 [resamples, n]."""
    return _counts(n, resamples, rng).astype(np.float64)


def _counts(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    draws = rng.integers(0, n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=resamples * n).reshape(resamples, n)


def interval(means: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval (low, high) of bootstrap means [resamples]."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p_value(differences: np.ndarray) -> float:
    """Return the two-sided bootstrap p-value of "the mean difference is 0".

    Args:
        differences: float [resamples], bootstrap means of the paired difference.

    Returns:
        Twice the smaller tail beyond 0, at least 2 / (resamples + 1) and at most 1.
    """
    resamples = len(differences)
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, 2 * (tail + 1) / (resamples + 1)))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return Holm's step-down adjusted p-values [m] (Holm 1979): reject where one is at most the level."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) of a share of n >= 1 independent trials (Wilson 1927).

    Args:
        successes: 0 to n.
        n: number of trials.
        level: that the interval is to cover.
    """
    z2 = float(ndtri((1 + level) / 2)) ** 2
    share = successes / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
