"""Cohorts of users who like the same looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgan.design.sight import Sight
from recgan.errors import DataError, SettingsError
from recgan.evaluation.gaps.clusters import k_means
from recgan.recommenders import UserVector

__all__ = ["TasteCohort", "taste_cohorts"]

_REFERENCE = 64
"""Items of a category at most, that users are compared by."""
_RESTARTS = 5


@dataclass(frozen=True)
class TasteCohort:
    """Users whose tastes are alike."""

    users: tuple[str, ...]
    """Ids, those nearest to the cohort's centre first."""
    taken: dict[str, int]
    """How many items of each category they took, the most first."""


def taste_cohorts(
    sight: Sight, count: int, categories: Sequence[str], *, most: int = 5000, least: int = 5, seed: int = 0
) -> list[TasteCohort]:
    """Return clusters of users by what they like to see, the largest first.

    A user is described by how a recommender says that the user likes the looks of items (at most 64 a category, drawn
    by ``seed``), standardised within each category: whoever likes the same pictures lies at the same place, however
    much of what category each takes. Those rows are clustered by k-means (five starts, the tightest is kept).

    Args:
        sight: of a visual recommender.
        count: of clusters.
        categories: whose items count.
        most: users that are clustered; of more, so many are drawn by the seed.
        least: clusters with fewer users are left out.
        seed: of all draws.

    Raises:
        SettingsError: count < 1.
        DataError: there are fewer users with a history than clusters, or no cluster is large enough.
    """
    if count < 1:
        raise SettingsError(f"cohorts={count}: ask for at least one")
    model, rng = sight.recommender, np.random.default_rng([seed, 23])
    known = [row for row in range(len(model.user_ids)) if len(model.seen[row])]
    rows = np.sort(rng.permutation(known)[:most])
    if len(rows) < count:
        raise DataError(f"there are {len(rows)} users with a history, too few for {count} cohorts; ask for fewer")
    vectors = [sight.vector(str(model.user_ids[row])) for row in rows]
    profiles = [_profile(sight, vectors, category, rng) for category in categories]
    described = np.concatenate(profiles, axis=1)
    if not described.shape[1]:
        raise DataError("no category has two items with a picture to tell tastes apart by; bring more items")
    if not described.any():
        raise DataError(f"the {model.name} likes every picture alike for all users; train it longer")
    labels, distances = _clusters(described, count, rng)
    cohorts = []
    for label in range(count):
        own = np.flatnonzero(labels == label)
        if len(own) < least:
            continue
        own = own[np.argsort(distances[own], kind="stable")]
        users = rows[own]
        names = model.items["category"].to_numpy()[np.concatenate([model.seen[int(row)] for row in users])]
        taken = {name: int(np.count_nonzero(names == name)) for name in categories}
        ordered = sorted(taken.items(), key=lambda pair: -pair[1])
        cohorts.append(TasteCohort(tuple(str(user) for user in model.user_ids[users]), dict(ordered)))
    if not cohorts:
        raise DataError(f"no cohort has {least} users or more; ask for fewer cohorts, or bring more users")
    return sorted(cohorts, key=lambda cohort: -len(cohort.users))


def _profile(sight: Sight, vectors: Sequence[UserVector], category: str, rng: np.random.Generator) -> np.ndarray:
    """Return how users like a category's reference items, standardised by user, float32 [U, m]."""
    size = len(sight.in_category(category))
    chosen = np.sort(rng.permutation(size)[:_REFERENCE])
    if len(chosen) < 2:
        return np.empty((len(vectors), 0), dtype=np.float32)
    scores = np.stack([sight.scores_of_items(vector, category)[chosen] for vector in vectors])
    spread = scores.std(axis=1, keepdims=True)
    flat = spread <= 1e-6 * np.abs(scores).max(axis=1, keepdims=True)
    told = (scores - scores.mean(axis=1, keepdims=True)) / np.where(flat, 1, spread)
    return np.where(flat, 0, told).astype(np.float32)


def _clusters(rows: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the label and the distance to its centre of each row, by the tightest of some k-means."""
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for _ in range(_RESTARTS):
        start = rows[rng.choice(len(rows), count, replace=False)]
        centres, labels = k_means(rows, start)
        distances = np.linalg.norm(rows - centres[labels], axis=1)
        tightness = float(np.square(distances).sum())
        if best is None or tightness < best[0]:
            best = tightness, labels, distances
    assert best is not None
    return best[1], best[2]
