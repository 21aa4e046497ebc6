"""`ideal_point`: every user likes what lies near a point in visual space; learned in closed form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from recgan.config import IdealPointSettings
from recgan.progress import Progress
from recgan.recommenders.data import TrainingData
from recgan.recommenders.ideal_points import IdealPoints
from recgan.recommenders.popularity import log_popularity
from recgan.recommenders.validation import Validation, best_cold_bias, best_value
from recgan.recommenders.visual import VisualRecommender

__all__ = ["IdealPoint"]

_LOG_WEIGHTS = (-4.0, 1.0)
_TOLERANCE = 0.1


class IdealPoint(VisualRecommender):
    """score(u, i) = b_i + w (ln p(f_i | what u took) - ln p(f_i)), by `IdealPoints`; b_i: the log of its popularity.

    One inner product of [1, …] with [b_i, z_i, z_i^2]. No latent factors and no training steps: nothing is learned of
    an item but its popularity, so cold items are scored as well as warm ones. The weight of the visual part and the
    bias of cold items are chosen by validation.
    """

    name = "ideal_point"
    settings_type = IdealPointSettings
    settings: IdealPointSettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        s = self.settings
        features = self._look(data, s.width, s.whitening, s.features, seed).astype(np.float32)
        self._points = IdealPoints.fit(features, data.train.users, data.train.items, s.dim)
        counts = np.append(data.item_counts, 0)
        prior = log_popularity(counts, np.append(data.candidates, False))
        self._cold_bias = float(prior[-1]) if s.cold_bias is None else s.cold_bias
        prior[counts == 0] = self._cold_bias
        self.item_factors = self._factors(features)
        self.item_factors[:, 0] = prior[:-1]
        z = self.item_factors[:, 1 : 1 + self._points.dim]
        sums = np.zeros((data.n_users, self._points.dim))
        np.add.at(sums, data.train.users, z[data.train.items])
        taken = np.bincount(data.train.users, minlength=data.n_users)
        likings = self._points.users(sums, taken)
        likings[taken == 0] = likings[taken > 0].mean(axis=0)
        validation = Validation(data, s.criterion)
        self._choose(likings, data.item_counts == 0, validation)

    def _choose(self, likings: np.ndarray, cold: np.ndarray, validation: Validation) -> None:
        """Set the users' factors, with the weight and the bias of cold items that are best in validation."""
        constant = np.ones((len(likings), 1), dtype=np.float32)

        def users(weight: float) -> np.ndarray:
            return np.concatenate([constant, np.float32(weight) * likings], axis=1)

        weight = self.settings.visual_weight
        if weight is None:
            weight = 1.0
            if len(validation.users):
                found, _ = best_value(
                    lambda power: validation(users(2**power), self.item_factors), 0.0, _LOG_WEIGHTS, _TOLERANCE
                )
                weight = 2**found
        self._weight, self.user_factors = weight, users(weight)
        self.metrics["visual_weight"] = weight
        if len(validation.users):
            self.metrics[validation.metric] = validation(self.user_factors, self.item_factors)
        if self.settings.cold_bias is None:
            chosen = best_cold_bias(validation, self.user_factors, self.item_factors, cold, self._cold_bias)
            if chosen is not None:
                self._cold_bias, self.metrics[validation.metric] = chosen
                self.metrics["cold_bias"] = self._cold_bias

    def factors_from(self, features: torch.Tensor) -> torch.Tensor:
        """Return [b_cold, z, z^2] for each row of the whitened features."""
        mean = torch.as_tensor(self._points.mean, device=features.device)
        z = (features - mean) @ torch.as_tensor(self._points.directions, device=features.device)
        return torch.cat([features.new_full((len(features), 1), self._cold_bias), z, z * z], dim=1)

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        # A disliked item counts as one that was liked on the other side of the average.
        z = slice(1, 1 + self._points.dim)
        sums = liked[:, z].sum(axis=0, dtype=np.float64) - disliked[:, z].sum(axis=0, dtype=np.float64)
        likings = self._points.users(sums[None], np.array([len(liked) + len(disliked)]))[0]
        return np.concatenate([[1.0], self._weight * likings])

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The bias is popularity, the rest is visual."""
        factors = self.item_factors[rows].astype(np.float64)
        first = np.arange(factors.shape[1]) == 0
        return {"popularity": factors * first, "visual": factors * ~first}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        own = {
            "points_mean": self._points.mean,
            "points_directions": self._points.directions,
            "points_variances": self._points.variances,
            "weight_and_cold_bias": np.array([self._weight, self._cold_bias]),
        }
        return {**super().tensors(), **own}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self._points = IdealPoints(tensors["points_mean"], tensors["points_directions"], tensors["points_variances"])
        self._weight, self._cold_bias = (float(value) for value in tensors["weight_and_cold_bias"])
        super().restore(user_ids, items, tensors)
