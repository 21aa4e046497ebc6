"""`vbpr`: visual Bayesian personalised ranking (He & McAuley, AAAI 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from recgan.config import VBPRSettings
from recgan.recommenders.data import TrainingData
from recgan.recommenders.models.factors import FactorModel
from recgan.recommenders.models.visual import VisualRecommender
from recgan.recommenders.training.parameters import Learned, VisualPart

__all__ = ["VBPR"]


class VBPR(FactorModel, VisualRecommender):
    """score(u, i) = b_i + g_u . g_i + t_u . (E f_i) + b' . f_i, learned from triples (user, taken, not taken).

    Folded into one inner product: the user's vector is [1, g_u, t_u], the item's [b_i + b' . f_i, g_i, E f_i]. An item
    without an interaction is scored from its picture alone.
    """

    name = "vbpr"
    settings_type = VBPRSettings
    settings: VBPRSettings

    def _visual_part(self, data: TrainingData, seed: int) -> VisualPart:
        s = self.settings
        self._look(data, self.settings, seed)
        return VisualPart(
            features=self.item_features,
            dim=s.visual_dim,
            learning_rate=s.visual_learning_rate,
            std=s.visual_std,
            user_regularisation=s.visual_regularisation,
            projection_regularisation=s.projection_regularisation,
        )

    def _take(self, learned: Learned) -> None:
        self._projection, self._visual_bias = learned.projection, learned.visual_bias

    def factors_from(self, features: torch.Tensor, categories: torch.Tensor | None = None) -> torch.Tensor:
        """Return [b_cold + b' . f, 0, E f] for each row f of the whitened features."""
        projection = torch.as_tensor(self._projection, device=features.device)
        visual_bias = torch.as_tensor(self._visual_bias, device=features.device)
        latent = features.new_zeros(len(features), self.settings.latent_dim)
        return torch.cat([(self._cold_bias + features @ visual_bias)[:, None], latent, features @ projection], dim=1)

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Of the bias, b' . f is visual; and so are the last factors."""
        parts = super().factor_parts(rows)
        bias = np.zeros_like(parts["latent"])
        bias[:, 0] = self.item_features[rows].astype(np.float32) @ self._visual_bias
        visual = np.where(np.arange(bias.shape[1]) > self.settings.latent_dim, self.item_factors[rows], 0.0)
        return {**parts, "popularity": parts["popularity"] - bias, "visual bias": bias, "visual": visual}

    def _penalties(self) -> np.ndarray:
        visual = np.full(self.settings.visual_dim, self.settings.visual_regularisation)
        return np.concatenate([super()._penalties(), visual])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        return {**super().tensors(), "projection": self._projection, "visual_bias": self._visual_bias}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self._projection, self._visual_bias = tensors["projection"], tensors["visual_bias"]
        super().restore(user_ids, items, tensors)
