"""`ideal_point`: every user likes what lies near a point in visual space; learned in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from recgan.config import IdealPointSettings
from recgan.progress import Progress
from recgan.recommenders.data import USER_CHUNK, TrainingData, UserRows
from recgan.recommenders.models.ideal_points import IdealPoints
from recgan.recommenders.models.popularity import log_popularity
from recgan.recommenders.models.visual import VisualRecommender
from recgan.recommenders.training.validation import Validation, best_cold_bias, best_value

__all__ = ["IdealPoint"]

_WEIGHTS = (0.0, 2.0)
_TOLERANCE = 0.04
_ROUNDS = 2


class IdealPoint(VisualRecommender):
    """score(u, i) = b_i + w ln(p(r_i | what u took) / p(r_i)) + a ln(P(c_i | u) / P(c_i)).

    r_i is how the picture differs from the average one of its category c_i, so that taste is learned among items that
    could stand for each other, by `IdealPoints`; the last term is the taste for the category itself. P(c | u) is the
    category's share of what the user took, smoothed towards its share of what everybody took, and P(c) its share of the
    catalogue; b_i is the log of the item's popularity. One inner product of [1, …] with [b_i, z_i, z_i^2, c_i one-hot].

    No latent factors and no training steps: nothing is learned of an item but its popularity, so cold items are scored
    as well as warm ones. The weights w and a and the bias of cold items are chosen by validation. A picture of unknown
    category is taken for one of the category whose average it is nearest to.
    """

    name = "ideal_point"
    settings_type = IdealPointSettings
    chosen_by_validation: ClassVar[Mapping[str, str]] = {
        name: name for name in ("visual_weight", "category_weight", "cold_bias")
    }
    settings: IdealPointSettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        s = self.settings
        features = self._look(data, self.settings, seed).astype(np.float32)
        assert data.features is not None
        self._centres = _centres(features, data)
        # An item without a picture looks like the average one of its category.
        plain = ~data.features.has_image
        features[plain] = self._centres[data.category_index[plain]]
        own = features - self._centres[data.category_index]
        taken = UserRows.of(data.train, data.n_users)
        self._points = IdealPoints.fit(own, taken, s.dim)
        self._set_categories(data)
        counts = np.append(data.item_counts, 0)
        prior = log_popularity(counts, np.append(data.candidates, False))
        self._cold_bias = float(prior[-1]) if s.cold_bias is None else s.cold_bias
        prior[counts == 0] = self._cold_bias
        self.item_factors = self._factors(features, data.category_index)
        self.item_factors[:, 0] = prior[:-1]
        tastes, counts = np.empty((data.n_users, self.item_factors.shape[1]), np.float32), np.diff(taken.indptr)
        for start in range(0, data.n_users, USER_CHUNK):
            stop = start + USER_CHUNK
            tastes[start:stop] = self._tastes(taken.sums(self.item_factors, start, stop), counts[start:stop])
        tastes[counts == 0] = tastes.mean(axis=0, dtype=np.float64, where=counts[:, None] > 0)
        self._choose(tastes, data.item_counts == 0, Validation(data, s.criterion))

    def _set_categories(self, data: TrainingData) -> None:
        """Set the categories' shares of the catalogue and of what was taken; none is nought."""
        n = len(data.category_names)
        items = np.bincount(data.category_index, weights=data.candidates, minlength=n) + 1
        self._shares = items / items.sum()
        taken = np.bincount(data.category_index[data.train.items], minlength=n)
        self._everybody = (taken + n * self._shares) / (len(data.train) + n)

    def _tastes(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return users' vectors [U, D], all weights being 1, from the sums [U, D] over their items and the counts."""
        visual, category = self._columns()
        likings = self._points.users(sums[:, visual][:, : self._points.dim], counts)
        prior = self.settings.category_smoothing * self._everybody
        smoothed = np.maximum(sums[:, category], 0) + prior
        odds = np.log(smoothed / smoothed.sum(axis=1, keepdims=True) / self._shares)
        return np.concatenate([np.ones((len(sums), 1)), likings, odds], axis=1).astype(np.float32)

    def _columns(self) -> tuple[slice, slice]:
        """Return which columns of the factors are visual and which are the category's."""
        end = 1 + 2 * self._points.dim
        return slice(1, end), slice(end, end + len(self._shares))

    def _weighted(self, tastes: np.ndarray) -> np.ndarray:
        return tastes * self._column_weights()

    def _column_weights(self) -> np.ndarray:
        visual, category = self._columns()
        weights = np.ones(category.stop, dtype=np.float32)
        weights[visual], weights[category] = self._weights
        return weights

    def _choose(self, tastes: np.ndarray, cold: np.ndarray, validation: Validation) -> None:
        """Set the users' factors, with the weights and the bias of cold items that are best in validation; ``tastes``
        become them."""
        given = (self.settings.visual_weight, self.settings.category_weight)
        self._weights = [1.0 if weight is None else weight for weight in given]
        free = [place for place, weight in enumerate(given) if weight is None]
        judged = tastes[validation.users]
        if len(validation.users):
            for place in free * (_ROUNDS if len(free) > 1 else 1):

                def figure(weight: float, place: int = place) -> float:
                    self._weights[place] = weight
                    tastes[validation.users] = self._weighted(judged)  # no others are asked
                    return validation(tastes, self.item_factors)

                self._weights[place], _ = best_value(figure, self._weights[place], _WEIGHTS, _TOLERANCE)
        tastes[validation.users] = judged
        tastes *= self._column_weights()
        self.user_factors = tastes
        if len(validation.users) or not free:
            self.metrics["visual_weight"], self.metrics["category_weight"] = self._weights
        if len(validation.users):
            self.metrics[validation.metric] = validation(self.user_factors, self.item_factors)
        if self.settings.cold_bias is None:
            chosen = best_cold_bias(validation, self.user_factors, self.item_factors, cold, self._cold_bias)
            if chosen is not None:
                self._cold_bias, self.metrics[validation.metric] = chosen
                self.metrics["cold_bias"] = self._cold_bias

    def factors_from(self, features: torch.Tensor, categories: torch.Tensor | None = None) -> torch.Tensor:
        """Return [b_cold, z, z^2, category one-hot] for each row of the whitened features."""
        centres = torch.as_tensor(self._centres, device=features.device)
        if categories is None:
            categories = torch.cdist(features.detach(), centres).argmin(dim=1)
        categories = categories.to(features.device)
        mean = torch.as_tensor(self._points.mean, device=features.device)
        directions = torch.as_tensor(self._points.directions, device=features.device)
        z = (features - centres[categories] - mean) @ directions
        one_hot = torch.nn.functional.one_hot(categories, len(centres)).to(z.dtype)
        return torch.cat([features.new_full((len(features), 1), self._cold_bias), z, z * z, one_hot], dim=1)

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        # A disliked item counts as one that was liked on the other side of the average.
        sums = liked.sum(axis=0, dtype=np.float64) - disliked.sum(axis=0, dtype=np.float64)
        return self._weighted(self._tastes(sums[None], np.array([len(liked) + len(disliked)])))[0]

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The bias is popularity; then come what is visual and the category."""
        factors = self.item_factors[rows].astype(np.float64)
        columns = zip(("popularity", "visual", "category"), (slice(0, 1), *self._columns()))
        parts = {}
        for name, own in columns:
            parts[name] = np.zeros_like(factors)
            parts[name][:, own] = factors[:, own]
        return parts

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        own = {
            "points_mean": self._points.mean,
            "points_directions": self._points.directions,
            "points_variances": self._points.variances,
            "category_centres": self._centres,
            "category_shares": np.stack([self._shares, self._everybody]),
            "weights_and_cold_bias": np.array([*self._weights, self._cold_bias]),
        }
        return {**super().tensors(), **own}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self._points = IdealPoints(tensors["points_mean"], tensors["points_directions"], tensors["points_variances"])
        self._centres = tensors["category_centres"]
        self._shares, self._everybody = tensors["category_shares"]
        *self._weights, self._cold_bias = (float(value) for value in tensors["weights_and_cold_bias"])
        super().restore(user_ids, items, tensors)


def _centres(features: np.ndarray, data: TrainingData) -> np.ndarray:
    """Return the mean features of each category, float32 [n_categories, width]; where none of a category's items has a
    picture, that of all items."""
    assert data.features is not None
    pictured = data.features.has_image
    overall = features[pictured].mean(axis=0, dtype=np.float64)
    counts = np.bincount(data.category_index[pictured], minlength=len(data.category_names))
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, data.category_index[pictured], features[pictured])
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], overall).astype(np.float32)
