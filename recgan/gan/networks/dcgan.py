"""A class-conditional DCGAN (Radford et al. 2016) for any square of a power of two from 16 px on.

G: the class embedding joined to z; fully connected to 4 x 4; transposed 4 x 4 convolutions of stride 2 that double the
side, with batch norm and ReLU before each; tanh. Channels halve as the side doubles.
D: 4 x 4 convolutions of stride 2 down to 4 x 4, leaky ReLU; there the class embedding is joined as constant maps and
mixed in by a 1 x 1 convolution (Reed et al. 2016); one linear unit over the result. Weights start at N(0, 0.02^2).

Two things differ from the original. Labels are embedded, not one-hot, so the cost hardly grows with their number. And
D has group norm where the original has batch norm: it judges each image by itself, in training as in use, so a
design's realism cannot depend on its company, and R1 can be taken.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan.conditioning import join_maps, join_vector

__all__ = ["DCGANDiscriminator", "DCGANGenerator"]

START = 4
COLOURS = 3
SLOPE = 0.2
GROUPS = 8
"""Groups of D's group norm; every layer's channels are a multiple of it."""


def _doublings(size: int) -> int:
    doublings = size.bit_length() - START.bit_length()
    if size < 16 or START << doublings != size:
        raise SettingsError(
            f"size {size}: this network makes squares of a power of two from 16 px on; use --size 32 or 64"
        )
    return doublings


def _widths(top: int, size: int) -> list[int]:
    """Channels of the layers from 4 x 4 pixels on, one for each side below ``size``."""
    return [max(top >> power, GROUPS) // GROUPS * GROUPS for power in range(_doublings(size))]


class DCGANGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        widths = _widths(recipe.generator_width, size)
        self.classes = nn.Embedding(n_classes, recipe.class_dim)
        # Batch norm follows, so these have no bias of their own.
        self.dense = nn.Linear(recipe.latent_dim + recipe.class_dim, widths[0] * START**2, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in widths])
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(width_in, width, 4, stride=2, padding=1, bias=width == COLOURS)
            for width_in, width in zip(widths, [*widths[1:], COLOURS])
        )

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        x = self.dense(join_vector(z, self.classes(class_index))).view(len(z), -1, START, START)
        for norm, layer in zip(self.norms, self.layers):
            x = layer(F.relu(norm(x)))
        return x.tanh()

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        _initialise(self, generator)


class DCGANDiscriminator(nn.Module):
    """D(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        widths = _widths(recipe.discriminator_width, size)[::-1]
        self.classes = nn.Embedding(n_classes, recipe.class_dim)
        self.layers = nn.ModuleList(
            nn.Conv2d(width_in, width, 4, stride=2, padding=1, bias=False)
            for width_in, width in zip([COLOURS, *widths], widths)
        )
        self.mix = nn.Conv2d(widths[-1] + recipe.class_dim, widths[-1], 1, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(GROUPS, width) for width in [*widths[1:], widths[-1]]])
        self.dense = nn.Linear(widths[-1] * START**2, 1)

    def forward(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return logits float [N]."""
        first, *layers = self.layers
        x = F.leaky_relu(first(images), SLOPE)
        for layer, norm in zip(layers, self.norms):
            x = F.leaky_relu(norm(layer(x)), SLOPE)
        x = self.mix(join_maps(x, self.classes(class_index)))
        x = F.leaky_relu(self.norms[-1](x), SLOPE)
        return self.dense(x.flatten(1)).squeeze(1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        _initialise(self, generator)


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            module.reset_parameters()
