"""How a network is told the class: one-hot or embedded labels, joined to a vector or to feature maps, or setting the
gain and shift of feature maps. (The projection of a discriminator is in `recgan.gan.networks.base`.)

A class is an index or, so that classes can be mixed, a row of weights that add up to 1.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from recgan.gan.layers import GROUPS, normalised

__all__ = ["ClassEmbedding", "Modulation", "join_maps", "join_vector", "one_hot"]


def one_hot(class_index: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return labels as float32 [N, n_classes] from class indices int64 [N]; float [N, n_classes] are labels already."""
    return class_index if class_index.is_floating_point() else F.one_hot(class_index, n_classes).float()


def join_vector(vector: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Join a label [N, k] to a vector [N, d]: [N, d + k]."""
    return torch.cat([vector, label], dim=1)


def join_maps(maps: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Join a label [N, k] to feature maps [N, c, H, W] as k further constant maps: [N, c + k, H, W]."""
    return torch.cat([maps, label[:, :, None, None].expand(-1, -1, *maps.shape[2:])], dim=1)


class ClassEmbedding(nn.Embedding):
    """A learnt vector a class: class_index int64 [N], or weights of classes float [N, n_classes] -> float [N, dim].

    With a warm-up its influence grows from nothing: a network learns what all classes share before it is told them
    apart, so that a class of few images does not collapse (Shahbazi et al. 2022).
    """

    strength: torch.Tensor | None
    u: torch.Tensor | None

    def __init__(self, n_classes: int, dim: int, *, warm_up: float = 0.0, spectral: bool = False) -> None:
        """Args: ``warm_up`` is the share of the run until its full influence; ``spectral`` holds the largest singular
        value of the table at 1."""
        super().__init__(n_classes, dim)
        self.warm_up = warm_up
        self.register_buffer("strength", torch.empty(()) if warm_up else None)
        self.register_buffer("u", torch.empty(n_classes) if spectral else None)

    def forward(self, class_index: torch.Tensor) -> torch.Tensor:
        """Return the vectors, float [N, dim]."""
        weight = self.weight if self.u is None else normalised(self.weight, self.u, self.training)
        vectors = class_index @ weight if class_index.is_floating_point() else F.embedding(class_index, weight)
        return vectors if self.strength is None else vectors * self.strength

    def advance(self, share: float) -> None:
        """Take the influence that is due after ``share`` of the run."""
        if self.strength is not None:
            self.strength.fill_(min(share / self.warm_up, 1.0))

    def reset(self, generator: torch.Generator) -> None:
        """Begin without influence, and draw the direction that the power iteration begins with."""
        self.advance(0.0)
        if self.u is not None:
            nn.init.normal_(self.u, generator=generator)


class Modulation(nn.Module):
    """Sets the gain and shift of feature maps by a style s [N, dim]: (1 + a(s)) x + b(s) with linear a and b.

    Of maps normalised over the batch (``batch``: conditional batch norm: Dumoulin et al. 2017; Miyato & Koyama 2018),
    or each image by itself (``group``: Wu & He 2018), or as they are (``none``: FiLM: Perez et al. 2018).
    """

    def __init__(self, width: int, style_dim: int, *, norm: Literal["batch", "group", "none"]) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        if norm == "batch":
            self.norm = nn.BatchNorm2d(width, affine=False)
        elif norm == "group":
            self.norm = nn.GroupNorm(GROUPS, width, affine=False)
        self.gain = nn.Linear(style_dim, width)
        self.shift = nn.Linear(style_dim, width)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Return maps [N, width, H, W]."""
        gain, shift = self.gain(style), self.shift(style)
        return self.norm(x) * (1 + gain[:, :, None, None]) + shift[:, :, None, None]
