"""A class-conditional DCGAN (Radford et al. 2016) for any square of a power of two from 16 px on.

G: the class embedding joined to z; fully connected to 4 x 4; transposed 4 x 4 convolutions of stride 2 that double the
side, with batch norm and ReLU before each; tanh. Channels halve as the side doubles.
D: 4 x 4 convolutions of stride 2 down to 4 x 4, leaky ReLU; there the class embedding may be joined as constant maps
and mixed in by a 1 x 1 convolution (Reed et al. 2016); one linear unit over the result. Weights start at N(0, 0.02^2).

Labels are embedded, not one-hot, so the cost hardly grows with their number. D has the norm that the recipe says. The
original's is batch norm; with any other, D judges each image by itself in training as in use, and gradient penalties
can be taken.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.gan.conditioning import ClassEmbedding, join_maps, join_vector
from recgan.gan.layers import GROUPS, SLOPE, START, SpectralConv2d, channels_of, initialise, seen, shown, widths
from recgan.gan.networks.base import Discriminator

__all__ = ["DCGANDiscriminator", "DCGANGenerator"]

DRAW = partial(nn.init.normal_, std=0.02)


class DCGANGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        inputs = widths(recipe.generator_width, size)
        outputs = [*inputs[1:], channels_of(recipe.colours)]
        joined = recipe.class_dim if recipe.generator_classes == "concat" else 0
        self.classes = ClassEmbedding(n_classes, joined, warm_up=recipe.class_warm_up) if joined else None
        # Batch norm follows, so these have no bias of their own.
        self.dense = nn.Linear(recipe.latent_dim + joined, inputs[0] * START**2, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in inputs])
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(width_in, width, 4, stride=2, padding=1, bias=layer == len(inputs) - 1)
            for layer, (width_in, width) in enumerate(zip(inputs, outputs))
        )

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        if self.classes is not None:
            z = join_vector(z, self.classes(class_index))
        x = self.dense(z).unflatten(1, (-1, START, START))
        for norm, layer in zip(self.norms, self.layers):
            x = layer(F.relu(norm(x)))
        return shown(x)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, DRAW)


class DCGANDiscriminator(Discriminator):
    """D(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        outputs = widths(recipe.discriminator_width, size)[::-1]
        top, kind = outputs[-1], recipe.discriminator_norm
        convolution = partial(SpectralConv2d if kind == "spectral" else nn.Conv2d, bias=kind in ("spectral", "none"))
        self.colours = recipe.colours
        told = recipe.discriminator_classes == "concat"
        self.classes = ClassEmbedding(n_classes, recipe.class_dim, warm_up=recipe.class_warm_up) if told else None
        self.layers = nn.ModuleList(
            convolution(width_in, width, 4, stride=2, padding=1)
            for width_in, width in zip([channels_of(self.colours), *outputs], outputs)
        )
        self.mix = convolution(top + recipe.class_dim, top, 1) if told else None
        self.norms = nn.ModuleList([_norm(kind, width) for width in ([*outputs[1:], top] if told else outputs[1:])])
        self.add_heads(recipe, n_classes, top * START**2)

    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return features float [N, 16 discriminator_width]."""
        first, *layers = self.layers
        x = F.leaky_relu(first(seen(images, self.colours)), SLOPE)
        for layer, norm in zip(layers, self.norms):
            x = F.leaky_relu(norm(layer(x)), SLOPE)
        if self.classes is not None and self.mix is not None:
            x = F.leaky_relu(self.norms[-1](self.mix(join_maps(x, self.classes(class_index)))), SLOPE)
        return x.flatten(1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, DRAW)


def _norm(kind: str, width: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(GROUPS, width) if kind == "group" else nn.Identity()
