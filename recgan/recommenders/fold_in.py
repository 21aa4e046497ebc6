"""New users: the BPR objective of one user against items that stay as they are."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from recgan.errors import TrainingError

__all__ = ["fold_in_bpr"]

_NEGATIVES = 512
_STEPS = 50
_TOLERANCE = 1e-6


def fold_in_bpr(
    item_factors: np.ndarray,
    liked: np.ndarray,
    disliked: np.ndarray,
    seen: np.ndarray,
    *,
    regularisation: np.ndarray,
    start: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """Return the user vector that ranks liked items above others, and others above disliked ones.

    It minimises the mean over pairs (better, worse) of -ln sigma(v . (better - worse)) + sum_d r_d v_d^2 / 2, the
    loss that the users in training had, over v. The problem is convex, so Newton's method finds its one minimum,
    whatever the start. The others are a seeded draw from the catalogue.

    Args:
        item_factors: float32 [I, D].
        liked: float32 [n, D], factors of the liked items.
        disliked: float32 [m, D].
        seen: int [s], rows of ``item_factors`` that are never drawn as others.
        regularisation: float [D], r; infinite where v must keep its value in ``start``, such as the 1 of a bias.
        start: float [D].
        seed: of the draw.

    Raises:
        TrainingError: the problem has no finite minimum (no regularisation).
    """
    free = np.isfinite(regularisation)
    unseen = np.setdiff1d(np.arange(len(item_factors)), seen, assume_unique=False)
    rng = np.random.default_rng(seed)
    others = item_factors[rng.choice(unseen, size=min(_NEGATIVES, len(unseen)), replace=False)]
    pairs = [_differences(liked, np.concatenate([others, disliked])), _differences(others, disliked)]
    differences = np.concatenate(pairs).astype(np.float64)
    if not len(differences):  # everything there is was liked, or disliked: nothing to compare
        return np.asarray(start, dtype=np.float32).copy()
    fixed = differences[:, ~free] @ start[~free].astype(np.float64)
    differences = differences[:, free]
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in pairs if len(part)])
    weights /= max(1, sum(len(part) > 0 for part in pairs))
    penalty = np.asarray(regularisation, dtype=np.float64)[free]
    v = start[free].astype(np.float64)

    def loss(v: np.ndarray) -> float:
        return float(weights @ np.logaddexp(0, -(differences @ v + fixed)) + penalty @ (v * v) / 2)

    value = loss(v)
    for _ in range(_STEPS):
        wrong = expit(-(differences @ v + fixed))
        gradient = penalty * v - differences.T @ (weights * wrong)
        if np.abs(gradient).max(initial=0) < _TOLERANCE:
            break
        curvature = (differences * (weights * wrong * (1 - wrong))[:, None]).T @ differences
        curvature[np.diag_indices_from(curvature)] += penalty + 1e-9
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (lower := loss(v - size * step)) > value and size > 1e-6:
            size /= 2
        v = v - size * step
        value = lower
    if not np.isfinite(v).all():
        raise TrainingError("the new user's vector diverged; train the model with some regularisation")
    result = np.asarray(start, dtype=np.float32).copy()
    result[free] = v
    return result


def _differences(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    return (better[:, None, :] - worse[None, :, :]).reshape(-1, better.shape[1])
