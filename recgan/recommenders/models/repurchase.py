"""`repurchase`: a user takes again what they took before, the more often and the more recently, the sooner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from recgan.config import RepurchaseSettings
from recgan.dataset.split import Pairs
from recgan.errors import SettingsError
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData
from recgan.recommenders.models.popularity import interaction_weights

__all__ = ["Repurchase"]


class Repurchase(Recommender):
    """score(u, i) = n(u, i) + s p(i).

    n is how often the user took the item in training, with a half-life each time weighed by how long ago it was; p the
    item's popularity by everybody's interactions, 1 for the most popular one. So lists go on with what is popular where
    the user's own items end, which are ordered by it where they are alike. It needs the whole log: of a pair that was
    taken again every interaction counts (`TrainingData.repeats`).
    """

    name = "repurchase"
    settings_type = RepurchaseSettings
    settings: RepurchaseSettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        s = self.settings
        own = _every_interaction(data)
        # All users' items as keys in ascending order, as `seen` has them: also those withheld, which get nothing.
        known = self._keys(self.seen.as_pairs())
        places = np.searchsorted(known, self._keys(own))
        weights = interaction_weights(own, s.half_life_days, self.name)
        self.own_scores = np.bincount(places, weights=weights, minlength=len(known)).astype(np.float32)
        weights = interaction_weights(own, s.popularity_half_life_days, self.name)
        self._counts = np.bincount(own.items, weights=weights, minlength=data.n_items)
        self.user_factors = np.ones((data.n_users, 1), dtype=np.float32)
        self._set_factors()

    def _set_factors(self) -> None:
        shares = self.settings.smoothing * self._counts / self._counts.max()
        self.item_factors = shares.astype(np.float32)[:, None]

    def _keys(self, pairs: Pairs) -> np.ndarray:
        return pairs.users * len(self.items) + pairs.items

    def partial_fit(self, user_ids: Sequence[str], item_ids: Sequence[str]) -> None:
        """Take in new interactions as `Recommender.partial_fit` does, each as if it had happened just now: what a user
        takes again counts once more."""
        known, own = self._keys(self.seen.as_pairs()), self.own_scores
        super().partial_fit(user_ids, item_ids)
        wider = self._keys(self.seen.as_pairs())
        self.own_scores = np.zeros(len(wider), dtype=np.float32)
        self.own_scores[np.searchsorted(wider, known)] = own
        items = self.rows_of_items(item_ids)
        taken = Pairs(self._user_index.get_indexer(np.array(user_ids, dtype=object)).astype(np.int64), items)
        np.add.at(self.own_scores, np.searchsorted(wider, self._keys(taken)), 1)
        self._counts = self._counts + np.bincount(items, minlength=len(self._counts))
        self._set_factors()
        self._index = None  # it was built over the factors before

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.ones(1, dtype=np.float32)

    def _own_of(self, liked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.isin(seen, liked).astype(np.float32)

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """But for what the user took before, all of it is popularity."""
        return {"popularity": self.item_factors[rows].astype(np.float64)}

    @property
    def similarity_space(self) -> str:
        """A count says nothing about likeness."""
        return "none"

    def _similarity_vectors(self) -> np.ndarray:
        raise SettingsError("'repurchase' has no notion of similar items; use another model, such as visual_knn")

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        assert self.own_scores is not None
        return {**super().tensors(), "own_scores": self.own_scores, "counts": self._counts}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self.own_scores, self._counts = tensors["own_scores"], tensors["counts"]
        super().restore(user_ids, items, tensors)


def _every_interaction(data: TrainingData) -> Pairs:
    """Return the pairs of train and what was taken again, with times where all have one."""
    parts = [part for part in (data.train, data.repeats) if len(part)]
    times = [part.times for part in parts if part.times is not None]
    return Pairs(
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate(times) if len(times) == len(parts) else None,
    )
