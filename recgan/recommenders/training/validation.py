"""The figure by which training chooses: exact, on the validation part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from scipy.optimize import minimize_scalar

from recgan.metrics.ranking import auc, rank_counts, top_k_metrics
from recgan.recommenders.data import TrainingData, UserRows, concatenated

__all__ = ["Criterion", "Validation", "best_cold_bias", "best_value"]

Criterion: TypeAlias = Literal["auc", "ndcg", "both"]
"""The AUC, the NDCG@20, or the sum of both."""

_CUTOFF = 20
_USERS = 2000
_SCORES = 1 << 28
"""Scores that one judgement may cost: of a large catalogue fewer users are asked, but some hundreds at least."""
_FEWEST_USERS = 500
_CHUNK_VALUES = 1 << 23
_TRIALS = 16
_COLD_BIAS_TOLERANCE = 0.05


class Validation:
    """The AUC, the NDCG@20 or both added up, of a sample of users on their validation pairs, among all candidates."""

    def __init__(self, data: TrainingData, criterion: Criterion = "auc") -> None:
        users = np.unique(data.validation.users)
        most = min(_USERS, max(_FEWEST_USERS, _SCORES // data.n_items))
        if len(users) > most:
            users = np.sort(np.random.default_rng(0).choice(users, most, replace=False))
        self.users, self.candidates, self.criterion = users, data.candidates, criterion
        """Rows of the judged users int64 [n], none without a validation part; the items ranked, bool [n_items]."""
        self._positives = UserRows.of(data.validation, data.n_users)
        judged = np.zeros(data.n_users, dtype=bool)
        judged[users] = True
        known = (part.where(judged[part.users]) for part in (data.train, data.withheld, data.validation))
        self._known = UserRows.of(concatenated(*known), data.n_users)

    @property
    def metric(self) -> str:
        """Name of the figure among a model's metrics."""
        return f"validation_{self.criterion}"

    def told(self, value: float) -> str:
        """Return a figure in words, or that there is none."""
        if not np.isfinite(value):
            return "no validation"
        title = {"auc": "AUC", "ndcg": f"NDCG@{_CUTOFF}", "both": f"AUC + NDCG@{_CUTOFF}"}[self.criterion]
        return f"validation {title} {value:.4f}"

    def __call__(self, user_factors: np.ndarray, item_factors: np.ndarray) -> float:
        """Return the mean figure of the scores ``user_factors @ item_factors.T``; NaN without a validation part.

        Args:
            user_factors: float32 [n_users, D].
            item_factors: float32 [n_items, D].
        """
        if not len(self.users):
            return float("nan")
        values = []
        for users in np.array_split(self.users, max(1, len(self.users) * len(item_factors) // _CHUNK_VALUES)):
            scores = user_factors[users] @ item_factors.T
            counts = rank_counts(scores, *self._positives.pairs(users), *self._known.pairs(users), self.candidates)
            value = np.zeros(len(users))
            if self.criterion != "ndcg":
                value += auc(counts, len(users))
            if self.criterion != "auc":
                value += top_k_metrics(counts, len(users), [_CUTOFF])[f"ndcg@{_CUTOFF}"]
            values.append(value)
        known = np.concatenate(values)
        known = known[np.isfinite(known)]  # of who took everything there is, nothing can be said
        return float(known.mean()) if len(known) else float("nan")


def best_value(
    figure: Callable[[float], float], start: float, limits: tuple[float, float], tolerance: float
) -> tuple[float, float]:
    """Return where a figure is highest between two limits, and the figure there; ``start`` if nothing is better."""
    options = {"xatol": tolerance, "maxiter": _TRIALS}
    found = minimize_scalar(lambda value: -figure(value), bounds=limits, method="bounded", options=options)
    at_start = figure(start)
    return (start, at_start) if at_start >= -found.fun else (float(found.x), -float(found.fun))


def best_cold_bias(
    validation: Validation, user_factors: np.ndarray, item_factors: np.ndarray, cold: np.ndarray, estimate: float
) -> tuple[float, float] | None:
    """Move the bias of the cold items (bool [n_items]) to where the validation figure is highest.

    It is the one parameter that training cannot learn: no training pair holds a cold item.

    Args:
        validation: what judges.
        user_factors: float32 [n_users, D], the first column 1.
        item_factors: float32 [n_items, D], the first column the bias; that of the cold items is changed.
        cold: items without a training interaction.
        estimate: the part of their bias that they share, as it is.

    Returns:
        That part as it is now and the figure; None where there is no validation part or nothing to choose.
    """
    if not len(validation.users) or not cold.any() or cold.all():
        return None
    biases = item_factors[:, 0].copy()

    def figure(bias: float) -> float:
        item_factors[cold, 0] = biases[cold] + np.float32(bias - estimate)
        return validation(user_factors, item_factors)

    limits = (min(estimate, float(biases[~cold].min())), max(estimate, float(biases[~cold].max())))
    bias, _ = best_value(figure, estimate, limits, _COLD_BIAS_TOLERANCE)
    return bias, figure(bias)  # and leaves the chosen bias in place
