"""`visual_knn` (VisRank): an item is liked as far as it looks like what the user took."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from recgan.config import VisualKNNSettings
from recgan.progress import Progress
from recgan.recommenders.data import TrainingData, UserRows
from recgan.recommenders.models.visual import VisualRecommender

__all__ = ["VisualKNN"]


class VisualKNN(VisualRecommender):
    """score(u, i) = mean over the user's items h of cos(f_i, f_h), f being whitened features.

    A mean of cosines is one inner product: the user's vector is the mean of the unit features of the history. A user
    without one has the mean user's.
    """

    name = "visual_knn"
    settings_type = VisualKNNSettings
    settings: VisualKNNSettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        features = self._look(data, self.settings, seed).astype(np.float32)
        self.item_factors = self._factors(features)
        taken = UserRows.of(data.train, data.n_users)
        sums, counts = taken.sums(self.item_factors), np.diff(taken.indptr)
        has_history = counts > 0
        sums[has_history] /= counts[has_history, None]
        sums[~has_history] = sums[has_history].mean(axis=0)
        self.user_factors = sums

    def factors_from(self, features: torch.Tensor, categories: torch.Tensor | None = None) -> torch.Tensor:
        """Return the features at unit length."""
        return F.normalize(features, dim=1)

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """All of it is the picture."""
        return {"visual": self.item_factors[rows].astype(np.float64)}

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        profile = np.zeros(self.item_factors.shape[1], dtype=np.float32)
        if len(liked):
            profile += liked.mean(axis=0)
        else:
            profile += self.user_factors.mean(axis=0)
        if len(disliked):
            profile -= disliked.mean(axis=0)
        return profile
