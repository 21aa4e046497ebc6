"""Attention over the places of a map."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    """Lets every place look at every other (Zhang et al. 2019, equations 1-3): x + gamma v(softmax(q k) h), where
    keys and values are pooled to half the side. gamma begins at 0."""

    def __init__(self, width: int, convolution: Callable[..., nn.Conv2d]) -> None:
        super().__init__()
        self.query = convolution(width, max(width // 8, 1), 1, bias=False)
        self.key = convolution(width, max(width // 8, 1), 1, bias=False)
        self.value = convolution(width, max(width // 2, 1), 1, bias=False)
        self.out = convolution(max(width // 2, 1), width, 1, bias=False)
        self.gamma = nn.Parameter(torch.empty(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps [N, width, H, W]."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        weights = torch.einsum("ncq,nck->nqk", query, key).softmax(dim=2)
        looked_at = torch.einsum("nqk,nck->ncq", weights, value)
        return x + self.gamma * self.out(looked_at.unflatten(2, x.shape[2:]))

    def reset(self, generator: torch.Generator) -> None:
        """Begin as the identity."""
        nn.init.zeros_(self.gamma)
