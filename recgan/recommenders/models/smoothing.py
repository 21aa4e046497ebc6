"""Frozen item-item smoothing: an item looks a little like the items that look like it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from recgan.recommenders.models.whitening import Whitening

__all__ = ["SmoothedWhitening"]


@dataclass(frozen=True, eq=False)
class SmoothedWhitening(Whitening):
    """Whitening, and then (1 - w) f + w times the mean of the k nearest items of the catalogue, by cosine.

    It is what one step over a fixed item-item graph does (as in FREEDOM; Zhou & Shen, ACM MM 2023). The nearest ones
    are sought among the items that there were at training, for those items (themselves among the k) as for any other
    picture, so that a photo of an item is seen as the item is. Each picture is compared with every item.
    """

    anchors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float16))
    """Whitened features of the items with a picture, float16 [n, width]."""
    neighbours: int = 10
    """k; all items, where there are fewer."""
    weight: float = 0.5
    """w"""
    _rows_at_once: ClassVar[int] = 1024

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return whitened and smoothed features, with gradients; which items are the nearest has none."""
        return self._smoothed(super().__call__(features))

    def _applied(self, features: np.ndarray) -> np.ndarray:
        whitened = super()._applied(features).astype(np.float32, copy=False)
        with torch.inference_mode():
            return self._smoothed(torch.from_numpy(whitened)).numpy()

    def _smoothed(self, whitened: torch.Tensor) -> torch.Tensor:
        anchors = torch.from_numpy(self.anchors).to(whitened.device, torch.float32)
        alike = F.normalize(whitened.detach(), dim=1) @ F.normalize(anchors, dim=1).T
        nearest = alike.topk(min(self.neighbours, len(anchors)), dim=1).indices
        return torch.lerp(whitened, anchors[nearest].mean(dim=1), self.weight)
