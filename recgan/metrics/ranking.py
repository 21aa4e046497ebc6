"""Ranking metrics, exact and unsampled, as pure functions over arrays.

A *positive* is an item that a user is known to have taken and that is judged here. It is ranked among the *negatives*:
all candidates that the user is not known to have taken. Ties are settled by expectation: items of equal score count as
if put into a uniformly random order. For AUC that is the usual half; for the others it is the exact mean over all
orders, so a model cannot win or lose by the order in which the catalogue is stored.

First `rank_counts` says of each positive how many negatives score above it and how many equal it. All metrics follow
from these counts, so that users x items is never held at once, and positives may be judged in groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["RankCounts", "auc", "rank_counts", "top_k_metrics"]

_CHUNK_VALUES = 1 << 23


@dataclass(frozen=True)
class RankCounts:
    """Where n positives stand among the negatives; all arrays have length n."""

    users: np.ndarray
    """int64: the row of the score matrix."""
    scores: np.ndarray
    """float32: the positive's own score."""
    above: np.ndarray
    """int64: number of the user's negatives with a larger score."""
    ties: np.ndarray
    """int64: number of the user's negatives with the same score."""
    negatives: np.ndarray
    """int64: number of the user's negatives."""

    def where(self, mask: np.ndarray) -> RankCounts:
        """Return the positives that a mask [n] selects."""
        return RankCounts(self.users[mask], self.scores[mask], self.above[mask], self.ties[mask], self.negatives[mask])


def rank_counts(
    scores: np.ndarray,
    positive_rows: np.ndarray,
    positive_columns: np.ndarray,
    known_rows: np.ndarray,
    known_columns: np.ndarray,
    candidates: np.ndarray,
) -> RankCounts:
    """Count for each positive the negatives above it and level with it.

    Args:
        scores: float [U, I], finite.
        positive_rows: int [n], the user of each positive.
        positive_columns: int [n], its item.
        known_rows: int [m], users of all pairs that must not count as negatives (the positives among them, or not).
        known_columns: int [m], their items.
        candidates: bool [I], the items that can be negatives.

    Returns:
        Counts in the order of the positives.
    """
    positive_scores = scores[positive_rows, positive_columns]
    negative = np.where(candidates, scores, -np.inf)
    negative[known_rows, known_columns] = -np.inf
    negative[positive_rows, positive_columns] = -np.inf
    negatives_of_row = np.count_nonzero(negative > -np.inf, axis=1)
    above = np.empty(len(positive_rows), dtype=np.int64)
    ties = np.empty(len(positive_rows), dtype=np.int64)
    step = max(1, _CHUNK_VALUES // max(1, scores.shape[1]))
    for start in range(0, len(positive_rows), step):
        part = slice(start, start + step)
        against = negative[positive_rows[part]]
        own = positive_scores[part, None]
        above[part] = np.count_nonzero(against > own, axis=1)
        ties[part] = np.count_nonzero(against == own, axis=1)
    return RankCounts(
        np.asarray(positive_rows, np.int64), positive_scores, above, ties, negatives_of_row[positive_rows]
    )


def auc(counts: RankCounts, n_users: int) -> np.ndarray:
    """Return each user's AUC, float64 [n_users]: the chance that a positive scores above a negative, ties half.

    It is the mean over the user's positives; NaN for a user without a positive or without a negative.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        each = 1 - (counts.above + counts.ties / 2) / counts.negatives
        judged = np.isfinite(each)
        sums = np.bincount(counts.users[judged], weights=each[judged], minlength=n_users)
        return sums / np.bincount(counts.users[judged], minlength=n_users)


def top_k_metrics(counts: RankCounts, n_users: int, cutoffs: Sequence[int]) -> dict[str, np.ndarray]:
    """Return recall, NDCG, hit rate, reciprocal rank and average precision at each cutoff, float64 [n_users] each; NaN
    without positives.

    A user's list is made of the negatives and of the positives in ``counts``, best score first, ties in random order;
    the values are exact expectations over that order.

    - ``recall@k``: share of the user's positives among the first k.
    - ``ndcg@k``: sum of 1 / log2(rank + 1) over the positives among the first k, divided by that of the best list.
    - ``hit_rate@k``: whether a positive is among the first k.
    - ``mrr@k``: 1 / rank of the first positive, 0 where that lies beyond k.
    - ``map@k``: sum over the positives among the first k of the share of positives down to their rank, divided by that
      of the best list, min(k, number of positives).
    """
    order = np.lexsort((-counts.scores, counts.users))
    users, scores = counts.users[order], counts.scores[order]
    n_positives = np.bincount(users, minlength=n_users)
    # Positives of one user and one score form a group; those of larger scores stand above them in the list.
    first_of_user = np.concatenate([[0], np.cumsum(n_positives)])[:-1][users]
    new_group = np.ones(len(users), dtype=bool)
    new_group[1:] = (users[1:] != users[:-1]) | (scores[1:] != scores[:-1])
    group = np.cumsum(new_group) - 1
    group_start = np.flatnonzero(new_group)
    group_size = np.diff(np.append(group_start, len(users)))
    before = group_start[group] - first_of_user
    above = counts.above[order] + before
    block = counts.ties[order] + group_size[group]  # the positive's rank is uniform on above + 1 … above + block

    leaders = np.flatnonzero(new_group & (before == 0))
    metrics = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for k in cutoffs:
            discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
            inside = np.clip(k - above, 0, block)
            gains = (discounts[np.minimum(above + inside, k)] - discounts[np.minimum(above, k)]) / block
            recall = np.bincount(users, weights=inside / block, minlength=n_users)
            gain = np.bincount(users, weights=gains, minlength=n_users)
            metrics[f"recall@{k}"] = recall / n_positives
            metrics[f"ndcg@{k}"] = np.where(n_positives, gain / discounts[np.minimum(n_positives, k)], np.nan)
            precision = _precisions(above, block, before, group_size[group], k)
            precision = np.bincount(users, weights=precision, minlength=n_users)
            metrics[f"map@{k}"] = precision / np.minimum(n_positives, k)
            hit, reciprocal = _first_positive(above[leaders], block[leaders], group_size[group[leaders]], k)
            for name, value in (("hit_rate", hit), ("mrr", reciprocal)):
                of_user = np.full(n_users, np.nan)
                of_user[users[leaders]] = value
                metrics[f"{name}@{k}"] = of_user
    return metrics


def _first_positive(above: np.ndarray, block: np.ndarray, size: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return P(rank of the first positive <= k) and E[1 / that rank, if <= k], where ``size`` positives lie at random
    among the ``block`` places after the first ``above``; all arrays [n]."""
    places = np.arange(k)
    # missed[:, q]: chance that none of the positives is among the first q places of the block.
    remaining = np.maximum(block[:, None] - size[:, None] - places, 0)
    left = np.maximum(block[:, None] - places, 1)
    missed = np.concatenate([np.ones((len(above), 1)), np.cumprod(remaining / left, axis=1)], axis=1)
    rank = above[:, None] + places + 1
    first_here = (missed[:, :-1] - missed[:, 1:]) * (rank <= k)
    return first_here.sum(axis=1), (first_here / rank).sum(axis=1)


def _precisions(above: np.ndarray, block: np.ndarray, before: np.ndarray, size: np.ndarray, k: int) -> np.ndarray:
    """Return E[share of positives down to the positive's rank, if that is <= k]; all arrays [n], a row a positive.

    Its rank is uniform on above + 1 … above + block; ``before`` positives stand above, and at rank r the other
    ``size - 1`` of its block are expected to have put (size - 1) (r - above - 1) / (block - 1) in front of it.
    """
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, k + 1))])
    first, last = np.minimum(above, k), np.minimum(above + block, k)
    slope = (size - 1) / np.maximum(block - 1, 1)
    constant = before + 1 - slope * (above + 1)
    return (constant * (harmonic[last] - harmonic[first]) + slope * (last - first)) / block
