"""`popularity`: everybody is recommended what most users took."""

from __future__ import annotations

import numpy as np

from recgan.config import PopularitySettings
from recgan.errors import SettingsError
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData

__all__ = ["Popularity"]


class Popularity(Recommender):
    """score(u, i) = number of users in train who took item i."""

    name = "popularity"
    settings_type = PopularitySettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        self.user_factors = np.ones((data.n_users, 1), dtype=np.float32)
        self.item_factors = data.item_counts.astype(np.float32)[:, None]

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.ones(1, dtype=np.float32)

    @property
    def similarity_space(self) -> str:
        """A count says nothing about likeness."""
        return "none"

    def _similarity_vectors(self) -> np.ndarray:
        raise SettingsError("'popularity' has no notion of similar items; use another model, such as visual_knn")
