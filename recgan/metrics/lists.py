"""Metrics of the lists that users are shown, whatever the users do: how much of the catalogue they hold, how known and
how alike their items are. Pure functions over arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["catalogue_coverage", "category_diversity", "feature_diversity", "gini", "mean_novelty"]


def catalogue_coverage(recommended: np.ndarray, candidates: np.ndarray) -> float:
    """Return the share of the candidates (bool [I]) that appear in anybody's list (``recommended`` int [n], items)."""
    shown = np.zeros(len(candidates), dtype=bool)
    shown[recommended] = True
    return float((shown & candidates).sum() / max(1, candidates.sum()))


def gini(recommended: np.ndarray, candidates: np.ndarray) -> float:
    """Return the Gini coefficient of how often each candidate is recommended: 0 evenly, towards 1 always the same.

    Args:
        recommended: int [n], the items of all users' lists.
        candidates: bool [I].
    """
    counts = np.sort(np.bincount(recommended, minlength=len(candidates))[candidates].astype(np.float64))
    if not counts.sum():
        return float("nan")
    n = len(counts)
    return float(((2 * np.arange(1, n + 1) - n - 1) * counts).sum() / (n * counts.sum()))


def mean_novelty(recommended: np.ndarray, item_counts: np.ndarray, n_users: int) -> float:
    """Return the mean self-information of what is recommended, in bits: -log2 of the share of users who took the item.

    Counts are smoothed by one user, so an item that nobody took has a finite value (Zhou et al. 2010).

    Args:
        recommended: int [n], the items of all users' lists.
        item_counts: int [I], number of users in train who took each item.
        n_users: number of users in train.
    """
    if not len(recommended):
        return float("nan")
    shares = (item_counts[recommended] + 1) / (n_users + 1)
    return float(-np.log2(shares).mean())


def category_diversity(lists: Sequence[np.ndarray], category_index: np.ndarray) -> np.ndarray:
    """Return for each list the share of its pairs of items that are of two categories, float64 [len(lists)].

    It is the intra-list diversity (Ziegler et al. 2005) with the distance 0 within a category and 1 between two; NaN
    for a list of fewer than two items.

    Args:
        lists: for each user the recommended items, int.
        category_index: int [I], the category of each item.
    """
    values = np.full(len(lists), np.nan)
    for place, items in enumerate(lists):
        n = len(items)
        if n > 1:
            sizes = np.unique(category_index[items], return_counts=True)[1]
            values[place] = 1 - (sizes * (sizes - 1)).sum() / (n * (n - 1))
    return values


def feature_diversity(lists: Sequence[np.ndarray], features: np.ndarray) -> np.ndarray:
    """Return for each list the mean of 1 - cosine over its pairs of items, float64 [len(lists)]: 0 all look alike.

    It is the intra-list diversity with the cosine distance. An item whose features are all zero, as those of an item
    without a picture are, is left out; NaN for a list with fewer than two others.

    Args:
        lists: for each user the recommended items, int.
        features: float [I, d]; may be a memory map, of which the rows of one list at a time are read.
    """
    values = np.full(len(lists), np.nan)
    for place, items in enumerate(lists):
        rows = np.asarray(features[items], dtype=np.float64)
        norms = np.linalg.norm(rows, axis=1)
        n = np.count_nonzero(norms)
        if n > 1:
            total = (rows[norms > 0] / norms[norms > 0, None]).sum(axis=0)  # |sum of unit vectors|^2 = n + all cosines
            values[place] = 1 - (total @ total - n) / (n * (n - 1))
    return values
