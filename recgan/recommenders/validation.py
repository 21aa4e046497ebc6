"""The figure by which training chooses: the exact AUC on the validation part."""

from __future__ import annotations

import numpy as np

from recgan.metrics.ranking import auc, rank_counts
from recgan.recommenders.data import TrainingData, UserRows, concatenated

__all__ = ["ValidationAUC"]

_USERS = 2000
_CHUNK_VALUES = 1 << 23


class ValidationAUC:
    """The exact AUC of a sample of users on their validation pairs, among all candidates."""

    def __init__(self, data: TrainingData) -> None:
        users = np.unique(data.validation.users)
        if len(users) > _USERS:
            users = np.sort(np.random.default_rng(0).choice(users, _USERS, replace=False))
        self.users, self.candidates = users, data.candidates
        """Rows of the judged users int64 [n], none without a validation part; the items ranked, bool [n_items]."""
        self._positives = UserRows.of(data.validation, data.n_users)
        self._known = UserRows.of(concatenated(data.train, data.withheld, data.validation), data.n_users)

    def __call__(self, user_factors: np.ndarray, item_factors: np.ndarray) -> float:
        """Return the mean AUC of the scores ``user_factors @ item_factors.T``; NaN without a validation part.

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
            values.append(auc(counts, len(users)))
        return float(np.nanmean(np.concatenate(values)))
