"""The figures of the proof of designs, from what judges said of each user's pictures. No files, no models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recgan.evaluation.estimates import Estimate
from recgan.metrics.generative import kernel_distance, nearest_distances, resampled_kernel_distances
from recgan.metrics.stats import bootstrap_means, interval

__all__ = [
    "Photos",
    "diversity",
    "estimate",
    "kid_at_matched_classes",
    "novelty",
    "paired",
    "preferred",
    "specificity",
    "transfer",
]

_KID_RESAMPLES = 500


@dataclass(frozen=True)
class Photos:
    """Real photos as the reader sees them: what pictures are compared with."""

    train: np.ndarray
    """float32 [n, 256]"""
    train_class: np.ndarray
    test: np.ndarray
    test_class: np.ndarray


def estimate(per_user: np.ndarray, seed: int, resamples: int = 2000) -> Estimate:
    """Return the mean over users, float [U], with its 95% bootstrap interval; of what is not known (NaN) nothing."""
    known = per_user[np.isfinite(per_user)]
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan)
    low, high = interval(bootstrap_means(known[:, None], resamples=resamples, seed=seed)[:, 0])
    return Estimate(float(known.mean()), low, high)


def preferred(scores: np.ndarray, against: np.ndarray) -> np.ndarray:
    """Return the share of each user's pictures, scores [U, D], that are liked more than ``against`` [U] or [U, D'], of
    all pairs, float [U]; ties count half."""
    other = against[:, None, None] if against.ndim == 1 else against[:, None, :]
    own = scores[:, :, None]
    return ((own > other) + 0.5 * (own == other)).mean(axis=(1, 2))


def specificity(cross: Sequence[np.ndarray]) -> np.ndarray:
    """Return, for each user that has company, the share of pairs (own picture, another user's) in which the user likes
    the own one more, float [U'].

    Args:
        cross: one array a category, float [users, users, D]: what user i thinks of the pictures made for user j.
    """
    shares = []
    for scores in cross:
        for user in range(len(scores)):
            others = np.delete(scores[user], user, axis=0).ravel()
            if len(others):
                shares.append(preferred(scores[user][user][None], others[None])[0])
    return np.array(shares)


def transfer(by_judge: np.ndarray, by_scorer: np.ndarray, seed: int, resamples: int = 2000) -> Estimate:
    """Return the mean lift by a judge over that by the scorer, float [U] each, with its 95% interval over users; NaN
    where the scorer's may be nought, of which a share means nothing."""
    drawn = bootstrap_means(np.stack([by_judge, by_scorer], axis=1), resamples=resamples, seed=seed)
    if interval(drawn[:, 1])[0] <= 0:
        return Estimate(np.nan, np.nan, np.nan)
    return Estimate(float(by_judge.mean() / by_scorer.mean()), *interval(drawn[:, 0] / drawn[:, 1]))


def kid_at_matched_classes(features: np.ndarray, class_index: np.ndarray, photos: Photos, seed: int) -> Estimate:
    """Return the KID of pictures to test photos in the same shares of classes (equally many photos for each picture),
    with its 95% interval over pictures and photos; NaN where a class has fewer test photos than pictures, or there are
    fewer than two."""
    counts = np.bincount(class_index, minlength=int(photos.test_class.max()) + 1)
    there = np.bincount(photos.test_class, minlength=len(counts))
    classes = np.flatnonzero(counts)
    each = int((there[classes] // counts[classes]).min())
    if each < 1 or len(features) < 2:
        return Estimate(np.nan, np.nan, np.nan)
    rng = np.random.default_rng([seed, 11])
    rows = [
        rng.permutation(np.flatnonzero(photos.test_class == index))[: min(each, 10) * counts[index]]
        for index in classes
    ]
    real = photos.test[np.concatenate(rows)]
    drawn = resampled_kernel_distances(real, features, resamples=_KID_RESAMPLES, seed=seed)
    drawn = drawn[np.isfinite(drawn)]  # of few pictures a resample may hold one alone, which has no distance
    return Estimate(kernel_distance(real, features), *interval(drawn))


def diversity(features: np.ndarray, class_index: np.ndarray, photos: Photos) -> dict[str, float]:
    """Return how much pictures differ, as a share of how much test photos of the same class do: ``within`` a user's and
    ``across`` users'.

    Args:
        features: [U, D, 256].
        class_index: of each user's pictures, int64 [U].
    """
    within, across = [], []
    for index in np.unique(class_index):
        real = photos.test[photos.test_class == index]
        if len(real) < 2:
            continue
        usual = _mean_distance(real)
        own = features[class_index == index]
        within += [_mean_distance(pictures) / usual for pictures in own if len(pictures) > 1]
        if len(own) > 1:
            gaps = np.linalg.norm(own[:, None, :, None] - own[None, :, None, :], axis=-1)
            others = ~np.eye(len(own), dtype=bool)
            across.append((float(gaps[others].mean()) / usual, len(own)))
    return {
        "within": float(np.mean(within)) if within else float("nan"),
        "across": float(np.average([gap for gap, _ in across], weights=[n for _, n in across]))
        if across
        else float("nan"),
    }


def novelty(features: np.ndarray, class_index: np.ndarray, photos: Photos) -> dict[str, np.ndarray]:
    """Return which pictures are ``near`` a training photo of their class, nearer than 95% of its test photos are (near
    copies), and which are ``far`` from all, farther than 95% are (nothing like them), float [n] each, NaN where a class
    has no two photos of both kinds; 5% each is usual."""
    told = {name: np.full(len(features), np.nan) for name in ("near", "far")}
    for index in np.unique(class_index):
        train, test = photos.train[photos.train_class == index], photos.test[photos.test_class == index]
        if len(train) < 2 or len(test) < 2:
            continue
        low, high = np.quantile(nearest_distances(test, train), [0.05, 0.95])
        rows = class_index == index
        own = nearest_distances(features[rows], train)
        told["near"][rows], told["far"][rows] = own < low, own > high
    return told


def paired(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], seed: int) -> dict[str, Estimate]:
    """Return by judge how much more users like the first method's pictures than the second's: the mean difference of
    their scores [U, D], in the users' units, with its interval."""
    return {name: estimate(first[name].mean(axis=1) - second[name].mean(axis=1), seed) for name in first}


def _mean_distance(rows: np.ndarray) -> float:
    gaps = np.linalg.norm(rows[:200, None] - rows[None, :200], axis=-1)
    n = len(gaps)
    return float(gaps.sum() / (n * (n - 1)))
