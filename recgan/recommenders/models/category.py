"""`category`: an item is liked as far as its category is, which is what a visual model has to beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from recgan.config import CategorySettings
from recgan.errors import SettingsError
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData

__all__ = ["Category"]


class Category(Recommender):
    """score(u, i) = P(category of i | u) P(i | its category): the chance that the user's next item is this one.

    The first factor is the category's share of the user's items, smoothed towards its share of everybody's; the second
    is even, or follows how many users took the item (plus one, so that new items have a chance), which is popularity by
    category.
    """

    name = "category"
    settings_type = CategorySettings
    settings: CategorySettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        n_categories = len(data.category_names)
        weights = np.ones(data.n_items)
        if self.settings.within == "popularity":
            weights += data.item_counts
        totals = np.bincount(data.category_index, weights=weights * data.candidates, minlength=n_categories)
        self.item_factors = np.zeros((data.n_items, n_categories), dtype=np.float32)
        of_item = np.maximum(totals[data.category_index], 1)
        self.item_factors[np.arange(data.n_items), data.category_index] = weights / of_item
        counts = np.zeros((data.n_users, n_categories))
        np.add.at(counts, (data.train.users, data.category_index[data.train.items]), 1)
        self._everybody = counts.sum(axis=0) / len(data.train)
        self.user_factors = self._shares(counts).astype(np.float32)
        trained = counts.sum(axis=1) > 0
        self.user_factors[~trained] = self.user_factors[trained].mean(axis=0)

    def _shares(self, counts: np.ndarray) -> np.ndarray:
        prior = self.settings.smoothing * self._everybody
        return (counts + prior) / (counts + prior).sum(axis=-1, keepdims=True)

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        # An item's factors are nought but for its category.
        counts = np.count_nonzero(liked, axis=0) - np.count_nonzero(disliked, axis=0)
        return self._shares(np.maximum(counts, 0))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        return {**super().tensors(), "everybody": self._everybody}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self._everybody = tensors["everybody"]
        super().restore(user_ids, items, tensors)

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """All of it is the category."""
        return {"category": self.item_factors[rows].astype(np.float64)}

    @property
    def similarity_space(self) -> str:
        """All items of a category are alike: that is no order."""
        return "none"

    def _similarity_vectors(self) -> np.ndarray:
        raise SettingsError("'category' has no notion of similar items; use another model, such as visual_knn")
