"""The final few of many designs: good ones that differ from each other.

What differs is told by features that the search did not climb, so that designs that only the recommender takes for
different do not pass for variety.
"""

from __future__ import annotations

import numpy as np

__all__ = ["k_dpp", "mmr"]


def mmr(values: np.ndarray, features: np.ndarray, k: int, balance: float = 0.5) -> np.ndarray:
    """Return ``k`` rows, int64 [k], by maximal marginal relevance (Carbonell & Goldstein 1998), the first chosen first.

    Each next row is the one of the highest ``balance * value - (1 - balance) * (largest cosine to a chosen row)``, the
    values being standardised over all rows. Of equals the first wins.

    Args:
        values: how good each row is, float [N].
        features: float [N, d].
        k: 1 to N.
        balance: 1: by value alone; 0: by difference alone, after the best row.
    """
    worth, alike = _standardised(values), _cosines(features)
    chosen = [int(np.argmax(worth))]
    nearest = alike[chosen[0]].copy()
    while len(chosen) < k:
        gain = balance * worth - (1 - balance) * nearest
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        nearest = np.maximum(nearest, alike[chosen[-1]])
    return np.array(chosen)


def k_dpp(values: np.ndarray, features: np.ndarray, k: int, balance: float = 0.5) -> np.ndarray:
    """Return ``k`` rows, int64 [k], that a determinantal point process makes most probable, found greedily.

    The kernel is q_i S_ij q_j (Kulesza & Taskar 2012, section 3.1), S the rows' cosines moved into [0, 1] and q the
    exponential of ``balance / (1 - balance)`` times the standardised value, halved. Greedy choice is by Cholesky
    updates (Chen et al., NeurIPS 2018). Arguments as `mmr`.
    """
    if balance >= 1:
        return np.argsort(-np.asarray(values), kind="stable")[:k]
    quality = np.exp(0.5 * balance / (1 - balance) * _standardised(values))
    # A Gram matrix of as many distinct rows as there are features at most: the ridge keeps all sets of k possible.
    likeness = (1 + _cosines(features)) / 2 + 1e-6 * np.eye(len(values))
    kernel = quality[:, None] * likeness * quality
    left = np.diag(kernel).copy()
    rows: list[np.ndarray] = []
    chosen: list[int] = []
    while len(chosen) < k:
        left[chosen] = -np.inf
        best = int(np.argmax(left))
        root = np.sqrt(max(left[best], 1e-12))
        row = kernel[best] - sum((r[best] * r for r in rows), np.zeros(len(kernel)))
        rows.append(row / root)
        left = left - rows[-1] ** 2
        chosen.append(best)
    return np.array(chosen)


def _standardised(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def _cosines(features: np.ndarray) -> np.ndarray:
    rows = np.asarray(features, dtype=np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows @ rows.T
