"""Fully connected networks (Goodfellow et al. 2014), told the class beside z and beside the pixels (Mirza & Osindero
2014) where the recipe says so.

Hidden layers have ``width``, 2 ``width`` and 4 ``width`` units, the other way round in D. The originals' maxout units
in D are leaky ReLUs here. Pixels stay in [-1, 1] (tanh).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.gan.conditioning import ClassEmbedding, join_vector
from recgan.gan.layers import SLOPE, Dropout, channels_of, doublings, initialise, seen, shown
from recgan.gan.networks.base import Discriminator

__all__ = ["DenseDiscriminator", "DenseGenerator"]

DRAW = partial(nn.init.kaiming_normal_, a=SLOPE, nonlinearity="leaky_relu")


class DenseGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        doublings(size)  # as the other families: a power of two
        joined = recipe.class_dim if recipe.generator_classes == "concat" else 0
        self.classes = ClassEmbedding(n_classes, joined, warm_up=recipe.class_warm_up) if joined else None
        self.shape = (channels_of(recipe.colours), size, size)
        width = recipe.generator_width
        units = (recipe.latent_dim + joined, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(units))
        self.dense = nn.Linear(units[-1], self.shape[0] * size * size)

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        x = z if self.classes is None else join_vector(z, self.classes(class_index))
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return shown(self.dense(x).unflatten(1, self.shape))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, DRAW)
        with torch.no_grad():
            self.dense.weight.mul_(0.1)  # else tanh begins where it is flat


class DenseDiscriminator(Discriminator):
    """D(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        joined = recipe.class_dim if recipe.discriminator_classes == "concat" else 0
        self.classes = ClassEmbedding(n_classes, joined, warm_up=recipe.class_warm_up) if joined else None
        self.colours = recipe.colours
        width = recipe.discriminator_width
        units = (channels_of(self.colours) * size * size + joined, 4 * width, 2 * width, width)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(units))
        self.drops = nn.ModuleList([Dropout(recipe.dropout) for _ in units[2:]])
        self.add_heads(recipe, n_classes, width)

    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return features float [N, discriminator_width]."""
        x = seen(images, self.colours).flatten(1)
        if self.classes is not None:
            x = join_vector(x, self.classes(class_index))
        first, *layers = self.layers
        x = F.leaky_relu(first(x), SLOPE)
        for layer, drop in zip(layers, self.drops):
            x = F.leaky_relu(layer(drop(x)), SLOPE)
        return x

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, DRAW)
