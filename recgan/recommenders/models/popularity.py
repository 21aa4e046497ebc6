"""`popularity`: everybody is recommended what most users took."""

from __future__ import annotations

import numpy as np

from recgan.config import PopularitySettings
from recgan.dataset.split import NO_TIME, Pairs
from recgan.errors import DataError, SettingsError
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData

__all__ = ["Popularity", "interaction_weights", "log_popularity"]

_MICROSECONDS_A_DAY = 86_400_000_000


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
    """score(u, i) = number of users in train who took item i; with a half-life, each counted by how long ago it was.

    Popularity by category, P(category | u) times how popular the item is in it, is `category` with within=popularity.

    `partial_fit` counts each new interaction 1, as if it had come with the newest one of training, and what was counted
    before keeps its weight: with a half-life, train again when days have passed.
    """

    name = "popularity"
    settings_type = PopularitySettings
    settings: PopularitySettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        weights = interaction_weights(data.train, self.settings.half_life_days, self.name)
        counts = np.bincount(data.train.items, weights=weights, minlength=data.n_items)
        self.user_factors = np.ones((data.n_users, 1), dtype=np.float32)
        self.item_factors = counts.astype(np.float32)[:, None]

    def _count(self, items: np.ndarray) -> None:
        counts = np.bincount(items, minlength=len(self.item_factors))
        self.item_factors = self.item_factors + counts[:, None].astype(np.float32)

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.ones(1, dtype=np.float32)

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """All of it is popularity."""
        return {"popularity": self.item_factors[rows].astype(np.float64)}

    @property
    def similarity_space(self) -> str:
        """A count says nothing about likeness."""
        return "none"

    def _similarity_vectors(self) -> np.ndarray:
        raise SettingsError(f"'{self.name}' has no notion of similar items; use another model, such as visual_knn")


def interaction_weights(pairs: Pairs, half_life_days: float | None, model: str) -> np.ndarray:
    """Return what each interaction counts, float64 [n]: 1, or by a half-life less the longer before the newest it was.

    Raises:
        DataError: there is a half-life, and an interaction has no time.
    """
    if half_life_days is None:
        return np.ones(len(pairs))
    if pairs.times is None or (pairs.times == NO_TIME).any():
        raise DataError(
            f"recent {model} needs the time of every interaction; import them with timestamps, "
            f"or leave {model}'s half_life_days out"
        )
    return 0.5 ** ((pairs.times.max() - pairs.times) / (_MICROSECONDS_A_DAY * half_life_days))
