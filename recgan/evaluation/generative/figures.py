"""The figures of a generative evaluation with their intervals, from what the eyes saw. No pictures, no networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recgan.evaluation.estimates import Estimate
from recgan.evaluation.generative.report import EXPECTED_MEMORISED, Against, Likeness
from recgan.metrics.generative import (
    Neighbourhoods,
    frechet_distance,
    inception_score,
    kernel_distance,
    neighbourhoods,
    resampled_inception_scores,
    resampled_kernel_distances,
)
from recgan.metrics.stats import bootstrap_means, interval

__all__ = ["Bootstrap", "coverage_by_class", "pairs_within", "share_by_class"]


@dataclass(frozen=True)
class Bootstrap:
    """Estimates with 95% percentile intervals."""

    resamples: int
    seed: int

    def mean(self, values: np.ndarray) -> Estimate:
        """Return the mean of values [n]."""
        return _estimate(float(np.mean(values)), self._means(values))

    def ratio(self, fake: np.ndarray, real: np.ndarray) -> Against:
        """Return the mean of values [n] over that of values [m] of other pictures."""
        return _against(
            float(np.mean(fake)), float(np.mean(real)), _over(self._means(fake), self._means(real, stream=1))
        )

    def paired_ratio(self, one: np.ndarray, other: np.ndarray) -> Against:
        """Return the mean of values [n] over that of other values [n] of the same pictures."""
        both = np.stack([one, other], axis=1)
        drawn = bootstrap_means(both, resamples=self.resamples, seed=self.seed)
        return _against(float(np.mean(one)), float(np.mean(other)), _over(*drawn.T))

    def score(self, fake: np.ndarray, real: np.ndarray) -> Against:
        """Return the Inception Score's formula of class probabilities [n, K] and [m, K]."""
        drawn = (
            resampled_inception_scores(each, resamples=self.resamples, seed=self.seed + stream)
            for stream, each in enumerate((fake, real))
        )
        return _against(inception_score(fake), inception_score(real), _over(*drawn))

    def likeness(self, real: np.ndarray, fake: np.ndarray, k: int) -> tuple[Likeness, Neighbourhoods]:
        """Return how like the real features [n, d] the fake ones [m, d] are, and who is whose neighbour."""
        near = neighbourhoods(real, fake, k)
        kid = resampled_kernel_distances(real, fake, resamples=self.resamples, seed=self.seed)
        likeness = Likeness(
            kid=_estimate(kernel_distance(real, fake), kid),
            fd=frechet_distance(real, fake),
            precision=self.mean(np.any(near.holds, axis=0)),
            recall=self.mean(near.reached),
            density=self.mean(near.holds.sum(axis=0) / near.k),
            coverage=self.mean(np.any(near.holds, axis=1)),
        )
        return likeness, near

    def memorised(self, fake: np.ndarray, real: np.ndarray) -> tuple[Estimate, float]:
        """Return the share of samples nearer to training than 1% of real photos are, and that distance.

        Args:
            fake, real: distance of each sample [n] and of each photo not trained on [m] to its nearest training photo.
        """
        threshold = np.quantile(real, EXPECTED_MEMORISED)
        rng = np.random.default_rng(self.seed)
        shares = np.empty(self.resamples)
        for number in range(self.resamples):
            limit = np.quantile(rng.choice(real, len(real)), EXPECTED_MEMORISED)
            shares[number] = (rng.choice(fake, len(fake)) < limit).mean()
        return _estimate(float((fake < threshold).mean()), shares), float(threshold)

    def _means(self, values: np.ndarray, stream: int = 0) -> np.ndarray:
        return bootstrap_means(np.asarray(values)[:, None], resamples=self.resamples, seed=self.seed + stream)[:, 0]


def coverage_by_class(
    near: Neighbourhoods, real_classes: np.ndarray, fake_classes: np.ndarray, n_classes: int
) -> np.ndarray:
    """Return the share of each class's photos that have a sample *of that class* in their neighbourhood, float64
    [n_classes]; nan for a class without a photo."""
    own = near.holds & (real_classes[:, None] == fake_classes)
    return share_by_class(own.any(axis=1), real_classes, n_classes)


def share_by_class(values: np.ndarray, class_index: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the mean of values [n] over each class, float64 [n_classes]; nan for a class that has none."""
    sums = np.bincount(class_index, weights=values, minlength=n_classes)
    return _over(sums, np.bincount(class_index, minlength=n_classes).astype(np.float64))


def pairs_within(class_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of two rows of one class, int64 [p] and [p]; no row is in two pairs, so they are independent."""
    order = np.argsort(class_index, kind="stable")
    ordered = class_index[order]
    first = np.searchsorted(ordered, ordered)  # where the row's class begins
    place = np.arange(len(order)) - first
    left = np.flatnonzero((place[:-1] % 2 == 0) & (ordered[:-1] == ordered[1:]))
    return order[left], order[left + 1]


def _estimate(value: float, replicates: np.ndarray) -> Estimate:
    return Estimate(value, *interval(replicates))


def _against(fake: float, real: float, ratios: np.ndarray) -> Against:
    return Against(fake, real, _estimate(float(_over(np.array(fake), np.array(real))), ratios))


def _over(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return one / other, nan where there is nothing to compare with."""
    return np.divide(one, other, out=np.full_like(other, np.nan), where=other != 0)
