"""`popularity`: everybody is recommended what most users took."""

from __future__ import annotations

import numpy as np

from recgan.config import PopularitySettings
from recgan.errors import SettingsError
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData

__all__ = ["Popularity", "log_popularity"]


def log_popularity(counts: np.ndarray, offered: np.ndarray) -> np.ndarray:
    """Return an estimate of the log of each item's popularity, float32 [n_items], 0 for an item with the mean count.

    Counts are taken as Poisson draws around popularities that follow a gamma distribution of shape a, fitted by
    moments: the estimate is log((n + a) / (mean + a)). Where counts vary no more than chance would have it, a is large
    and all items are held alike; where few items take most of the interactions, a count is believed.

    Args:
        counts: int [n_items], number of users in train who took each item.
        offered: bool [n_items], the items that could be taken: the distribution is theirs.
    """
    mean, variance = float(counts[offered].mean()), float(counts[offered].var())
    shape = np.clip(mean**2 / max(variance - mean, 1e-12), 0.01, 1e6)
    return np.log((counts + shape) / (mean + shape)).astype(np.float32)


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
