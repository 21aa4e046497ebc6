"""New users: one user's objective against items that stay as they are.

It is that of the users in training for `bpr_mf`, `vbpr` and `dvbpr` with the BPR loss. For others it is near: training
with a softmax (`vbpr_ssm`, `dvbpr`) compares with what other users took in the same step, corrected for how often that
is, and a new user is compared with all items; what learns by ranks (`warp`, `dvbpr` with its loss) is folded in by BPR;
with ``negative_power`` above 0, and in implicit's `bpr`, training draws popular items more often to compare with, and
here all are drawn alike. Training stops before it is at the minimum; `recgan.recommenders.models.factors` adds what
stands for that to the regularisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from scipy.special import expit, logsumexp

from recgan.errors import TrainingError

__all__ = ["FoldIn", "fold_in_bpr", "fold_in_softmax"]

_NEGATIVES = 512
_SOFTMAX_NEGATIVES = 8192
_STEPS = 50
_TOLERANCE = 1e-6
_FEW_LIKED = 50
"""Of so many liked items each is really left out, to see what it contributes; of more, by one step of Newton's."""

_Terms = tuple[float, np.ndarray, np.ndarray]
"""Value, gradient [D] and curvature [D, D] of a convex function of v [D]."""


class _Part(Protocol):
    """A mean over rows, the first of which may be the liked items, of a convex function of v [D]."""

    def __len__(self) -> int:
        """Return the number of rows; 0: there is nothing to compare."""

    def __call__(self, v: np.ndarray) -> _Terms:
        """Return the mean's terms."""

    def rows(self, v: np.ndarray) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
        """Return the rows' gradients [n, D], and what gives a row's curvature [D, D]."""

    def without(self, row: int) -> Self:
        """Return the mean over the other rows."""


@dataclass(frozen=True, eq=False)
class FoldIn:
    """A new user's vector v as the one minimum of a convex function: the mean of its parts + sum_d r_d v_d^2 / 2."""

    parts: Sequence[_Part]
    of_liked: Sequence[bool]
    """Whether a part's first rows are the liked items."""
    n_liked: int
    regularisation: np.ndarray
    """float [D], r; infinite where v must keep its value in ``start``, such as the 1 of a bias."""
    start: np.ndarray
    """float [D]"""

    def vector(self) -> np.ndarray:
        """Return the user's vector, float32 [D].

        Raises:
            TrainingError: there is no finite minimum (no regularisation).
        """
        return self._lowest(self.parts, self.start).astype(np.float32)

    def contributions(self) -> np.ndarray:
        """Return by how much each liked item moves the vector: it, less that without the item; float64 [n_liked, D].

        Up to 50 liked items the problem is solved anew without each of them. Of more, one step of Newton's method from
        the whole solution stands for it, with the gradient and the curvature of the problem without the item. Its error
        falls with the square of the step, which is about 1 / n: at worst a few hundredths of the largest contribution
        at 100 items, half a hundredth at 500.

        Raises:
            TrainingError: as `vector`.
        """
        whole = self._lowest(self.parts, self.start)
        if self.n_liked <= _FEW_LIKED:
            left = [self._lowest(self._parts_without(row), whole) for row in range(self.n_liked)]
            return whole - np.reshape(left, (self.n_liked, len(whole)))
        return self._by_one_step(whole)

    def _parts_without(self, row: int) -> list[_Part]:
        return [part.without(row) if liked else part for part, liked in zip(self.parts, self.of_liked)]

    def _by_one_step(self, whole: np.ndarray) -> np.ndarray:
        free = np.isfinite(self.regularisation)
        parts = [(part, liked) for part, liked in zip(self.parts, self.of_liked) if len(part)]
        curvature = self._terms([part for part, _ in parts], whole)[2]
        found = np.zeros((self.n_liked, len(whole)))
        # The gradient of the whole is 0, so that of the problem without a row is what the row's absence makes it.
        changing = [(part, part(whole), part.rows(whole)) for part, liked in parts if liked]
        for row in range(self.n_liked):
            gradient, own = np.zeros(len(whole)), curvature.copy()
            for part, (_, mean, bend), (gradients, bends) in changing:
                share = (len(part) - 1) * len(parts)
                gradient += (mean - gradients[row]) / share
                own += (bend - bends(row))[np.ix_(free, free)] / share
            found[row, free] = np.linalg.solve(own, gradient[free])
        return found

    def _terms(self, parts: Sequence[_Part], v: np.ndarray) -> _Terms:
        """Return the value at v, and the gradient and curvature of what is free in it."""
        free = np.isfinite(self.regularisation)
        penalty = np.asarray(self.regularisation, dtype=np.float64)[free]
        values, gradients, curvatures = zip(*(part(v) for part in parts))
        own = v[free]
        gradient = sum(gradients)[free] / len(parts) + penalty * own
        curvature = sum(curvatures)[np.ix_(free, free)] / len(parts)
        curvature[np.diag_indices_from(curvature)] += penalty + 1e-9
        return sum(values) / len(parts) + float(penalty @ (own * own)) / 2, gradient, curvature

    def _lowest(self, parts: Sequence[_Part], start: np.ndarray) -> np.ndarray:
        """Return where the mean of the parts, and the regularisation, is lowest, float64 [D]: by Newton's method."""
        parts = [part for part in parts if len(part)]
        if not parts:  # everything there is was liked, or disliked: nothing to compare
            return np.asarray(self.start, dtype=np.float64).copy()
        v = np.asarray(start, dtype=np.float64).copy()
        free = np.isfinite(self.regularisation)
        value, gradient, curvature = self._terms(parts, v)
        for _ in range(_STEPS):
            if np.abs(gradient).max(initial=0) < _TOLERANCE:
                break
            step, size = np.zeros_like(v), 1.0
            step[free] = np.linalg.solve(curvature, gradient)
            while (found := self._terms(parts, v - size * step))[0] > value and size > 1e-6:
                size /= 2
            v = v - size * step
            value, gradient, curvature = found
        if not np.isfinite(v).all():
            raise TrainingError("the new user's vector diverged; train the model with some regularisation")
        return v


def fold_in_bpr(
    item_factors: np.ndarray,
    liked: np.ndarray,
    disliked: np.ndarray,
    seen: np.ndarray,
    *,
    regularisation: np.ndarray,
    start: np.ndarray,
    seed: int = 0,
) -> FoldIn:
    """Return the problem whose solution ranks liked items above others, and others above disliked ones.

    It is the mean over pairs (better, worse) of -ln sigma(v . (better - worse)), the loss that the users in training
    had. The problem is convex, so Newton's method finds its one minimum, whatever the start. The others are a seeded
    draw from the catalogue.

    Args:
        item_factors: float32 [I, D].
        liked: float32 [n, D], factors of the liked items.
        disliked: float32 [m, D].
        seen: int [s], rows of ``item_factors`` that are never drawn as others.
        regularisation: float [D], see `FoldIn`.
        start: float [D].
        seed: of the draw.
    """
    others = _others(item_factors, seen, _NEGATIVES, seed)
    parts = [_Pairs.of(liked, np.concatenate([others, disliked])), _Pairs.of(others, disliked)]
    return FoldIn(parts, (True, False), len(liked), regularisation, start)


def fold_in_softmax(
    item_factors: np.ndarray,
    liked: np.ndarray,
    disliked: np.ndarray,
    seen: np.ndarray,
    *,
    regularisation: np.ndarray,
    start: np.ndarray,
    seed: int = 0,
) -> FoldIn:
    """Return the problem under whose solution the liked items are the likeliest of all.

    It is the mean over liked items of -ln of their softmax probability among the items not seen, and, where there are
    disliked items, what `fold_in_bpr` does with them; the arguments are the same. Of a large catalogue the items not
    seen are a seeded draw, weighed up to the whole.
    """
    few = _others(item_factors, seen, _NEGATIVES, seed)
    others = _others(item_factors, seen, _SOFTMAX_NEGATIVES, seed).astype(np.float64)
    count = len(item_factors) - len(np.unique(seen))
    log_weight = float(np.log(count / len(others))) if len(others) else 0.0
    parts: list[_Part] = [
        _Pairs.of(np.concatenate([liked, few]), disliked),
        _Softmax(liked.astype(np.float64), others, log_weight),
    ]
    return FoldIn(parts, (True, True), len(liked), regularisation, start)


def _others(item_factors: np.ndarray, seen: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return the factors of a seeded draw of items not seen."""
    unseen = np.setdiff1d(np.arange(len(item_factors)), seen, assume_unique=False)
    rng = np.random.default_rng(seed)
    return item_factors[rng.choice(unseen, size=min(most, len(unseen)), replace=False)]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The mean of -ln sigma(v . (better - worse)) over all pairs; a row is a better item.

    All comes from the margins [n, m] and sums over them: the differences themselves, [n, m, D], are never there.
    """

    better: np.ndarray
    """float64 [n, D]"""
    worse: np.ndarray
    """float64 [m, D]"""

    @classmethod
    def of(cls, better: np.ndarray, worse: np.ndarray) -> _Pairs:
        # Differences do not change with the origin; near it the sums below lose no digits.
        both = np.concatenate([better, worse]).astype(np.float64)
        both -= both.mean(axis=0) if len(both) else 0
        return cls(both[: len(better)], both[len(better) :])

    def __len__(self) -> int:
        return len(self.better) if len(self.worse) else 0

    def __call__(self, v: np.ndarray) -> _Terms:
        margins = self._margins(v)
        wrong = expit(-margins)
        pairs, value = margins.size, float(np.logaddexp(0, -margins, out=margins).mean())
        gradient = wrong.sum(axis=0) @ self.worse - wrong.sum(axis=1) @ self.better
        bend = np.multiply(wrong, 1 - wrong, out=wrong)
        curvature = (self.better * bend.sum(axis=1)[:, None]).T @ self.better
        curvature += (self.worse * bend.sum(axis=0)[:, None]).T @ self.worse
        across = self.better.T @ (bend @ self.worse)
        return value, gradient / pairs, (curvature - across - across.T) / pairs

    def rows(self, v: np.ndarray) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
        wrong, count = expit(-self._margins(v)), len(self.worse)
        gradients = (wrong @ self.worse - wrong.sum(axis=1)[:, None] * self.better) / count

        def curvature(row: int) -> np.ndarray:
            differences = self.better[row] - self.worse
            return (differences * (wrong[row] * (1 - wrong[row]))[:, None]).T @ differences / count

        return gradients, curvature

    def without(self, row: int) -> _Pairs:
        return _Pairs(np.delete(self.better, row, axis=0), self.worse)

    def _margins(self, v: np.ndarray) -> np.ndarray:
        return (self.better @ v)[:, None] - self.worse @ v


@dataclass(frozen=True, eq=False)
class _Softmax:
    """The mean over the liked items of -ln(e^(v.i) / (e^(v.i) + w sum_j e^(v.j)))."""

    liked: np.ndarray
    """float64 [n, D]"""
    others: np.ndarray
    """float64 [m, D]"""
    log_weight: float
    """ln w"""

    def __len__(self) -> int:
        return len(self.liked) if len(self.others) else 0

    def __call__(self, v: np.ndarray) -> _Terms:
        away, mean, spread = self._mass(v)
        differences = self.liked - mean
        wrong, n = expit(away), len(self.liked)
        curvature = wrong.sum() * spread + (differences * (wrong * (1 - wrong))[:, None]).T @ differences
        return float(np.logaddexp(0, away).mean()), -(differences.T @ wrong) / n, curvature / n

    def rows(self, v: np.ndarray) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
        away, mean, spread = self._mass(v)
        differences, wrong = self.liked - mean, expit(away)

        def curvature(row: int) -> np.ndarray:
            bend = wrong[row] * (1 - wrong[row])
            return wrong[row] * spread + bend * np.outer(differences[row], differences[row])

        return -differences * wrong[:, None], curvature

    def without(self, row: int) -> _Softmax:
        return _Softmax(np.delete(self.liked, row, axis=0), self.others, self.log_weight)

    def _mass(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return how far each liked item is below the others, which are as one item: [n]; and the mean [D] and spread
        [D, D] of their factors under the softmax."""
        scores = self.others @ v + self.log_weight
        mass = logsumexp(scores)
        shares = np.exp(scores - mass)
        mean = shares @ self.others
        return mass - self.liked @ v, mean, (self.others * shares[:, None]).T @ self.others - np.outer(mean, mean)
