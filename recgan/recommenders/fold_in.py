"""New users: the objective that the users in training had, of one user against items that stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit, logsumexp

from recgan.errors import TrainingError

__all__ = ["fold_in_bpr", "fold_in_softmax"]

_NEGATIVES = 512
_SOFTMAX_NEGATIVES = 8192
_STEPS = 50
_TOLERANCE = 1e-6

_Objective = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]
"""Value, gradient [D] and curvature [D, D] of a convex function of v [D]."""


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
    others = _others(item_factors, seen, _NEGATIVES, seed)
    pairs = [_differences(liked, np.concatenate([others, disliked])), _differences(others, disliked)]
    return _lowest([_pairwise(part) for part in pairs if len(part)], regularisation, start)


def fold_in_softmax(
    item_factors: np.ndarray,
    liked: np.ndarray,
    disliked: np.ndarray,
    seen: np.ndarray,
    *,
    regularisation: np.ndarray,
    start: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """Return the user vector under which the liked items are the likeliest of all.

    It minimises the mean over liked items of -ln of their softmax probability among the items not seen, and, where
    there are disliked items, what `fold_in_bpr` does with them; arguments, regularisation and errors are the same. Of
    a large catalogue the items not seen are a seeded draw, weighed up to the whole.
    """
    few = _others(item_factors, seen, _NEGATIVES, seed)
    others = _others(item_factors, seen, _SOFTMAX_NEGATIVES, seed)
    count = len(item_factors) - len(np.unique(seen))
    parts = [_pairwise(part) for part in (_differences(np.concatenate([liked, few]), disliked),) if len(part)]
    if len(liked) and len(others):
        parts.append(_softmax(liked.astype(np.float64), others.astype(np.float64), float(np.log(count / len(others)))))
    return _lowest(parts, regularisation, start)


def _others(item_factors: np.ndarray, seen: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return the factors of a seeded draw of items not seen."""
    unseen = np.setdiff1d(np.arange(len(item_factors)), seen, assume_unique=False)
    rng = np.random.default_rng(seed)
    return item_factors[rng.choice(unseen, size=min(most, len(unseen)), replace=False)]


def _differences(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    return (better[:, None, :] - worse[None, :, :]).reshape(-1, better.shape[1])


def _pairwise(differences: np.ndarray) -> _Objective:
    """Return the mean of -ln sigma(v . difference)."""
    rows = differences.astype(np.float64)

    def objective(v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        margins = rows @ v
        wrong = expit(-margins)
        curvature = (rows * (wrong * (1 - wrong))[:, None]).T @ rows
        return float(np.logaddexp(0, -margins).mean()), -(rows.T @ wrong) / len(rows), curvature / len(rows)

    return objective


def _softmax(liked: np.ndarray, others: np.ndarray, log_weight: float) -> _Objective:
    """Return the mean over the liked items of -ln(e^(v.i) / (e^(v.i) + w sum_j e^(v.j)))."""

    def objective(v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        own, scores = liked @ v, others @ v + log_weight
        mass = logsumexp(scores)
        # The others as one item, whose factors are their mean under the softmax.
        shares = np.exp(scores - mass)
        mean = shares @ others
        differences = liked - mean
        wrong = expit(mass - own)
        spread = (others * shares[:, None]).T @ others - np.outer(mean, mean)
        curvature = wrong.sum() * spread + (differences * (wrong * (1 - wrong))[:, None]).T @ differences
        return float(np.logaddexp(0, mass - own).mean()), -(differences.T @ wrong) / len(own), curvature / len(own)

    return objective


def _lowest(parts: list[_Objective], regularisation: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return where the mean of the parts, and the regularisation, is lowest, float32 [D]: by Newton's method."""
    result = np.asarray(start, dtype=np.float32).copy()
    if not parts:  # everything there is was liked, or disliked: nothing to compare
        return result
    free = np.isfinite(regularisation)
    penalty = np.asarray(regularisation, dtype=np.float64)[free]
    v = np.asarray(start, dtype=np.float64).copy()

    def objective(v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        values, gradients, curvatures = zip(*(part(v) for part in parts))
        own = v[free]
        gradient = sum(gradients)[free] / len(parts) + penalty * own
        curvature = sum(curvatures)[np.ix_(free, free)] / len(parts)
        curvature[np.diag_indices_from(curvature)] += penalty + 1e-9
        return sum(values) / len(parts) + float(penalty @ (own * own)) / 2, gradient, curvature

    value, gradient, curvature = objective(v)
    for _ in range(_STEPS):
        if np.abs(gradient).max(initial=0) < _TOLERANCE:
            break
        step, size = np.zeros_like(v), 1.0
        step[free] = np.linalg.solve(curvature, gradient)
        while (found := objective(v - size * step))[0] > value and size > 1e-6:
            size /= 2
        v = v - size * step
        value, gradient, curvature = found
    if not np.isfinite(v).all():
        raise TrainingError("the new user's vector diverged; train the model with some regularisation")
    result[free] = v[free]
    return result
