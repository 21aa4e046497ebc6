"""A small style-based generator (Karras et al. 2019, 2020b); its discriminator is `recgan.gan.networks.residual`'s.

A mapping network turns z and the class into w, and w alone makes the picture, through the scales of every
convolution's input channels. Designs can therefore be edited in w: ``generator.synthesis(w)`` for w [N, latent_dim]
from ``generator.mapping(z, class_index)`` or anywhere near. Learning rates are equalised; noise feeds every layer;
each side adds to a sum of RGB images (skips). Left out of the originals: style mixing, path length regularisation and
filtered resampling.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.gan.conditioning import ClassEmbedding, join_vector
from recgan.gan.layers import (
    SLOPE,
    START,
    EqualConv2d,
    EqualLinear,
    Noise,
    channels_of,
    initialise,
    shown,
    unit_length,
    upsample_smoothly,
    widths,
)

__all__ = ["StyleGenerator"]

MAPPING_LAYERS = 4
MAPPING_RATE = 0.01
"""Speed of the mapping network against the others' (Karras et al. 2019, appendix C)."""
GAIN = math.sqrt(2)
"""Keeps the variance through a leaky ReLU."""


class _StyledConv(nn.Module):
    """A convolution whose input channels are scaled by w, its output channels brought back to unit variance (Karras et
    al. 2020b, equations 1 and 3); then noise, a bias and a leaky ReLU."""

    def __init__(self, width_in: int, width: int, w_dim: int, side: int) -> None:
        super().__init__()
        self.style = EqualLinear(w_dim, width_in)
        self.convolution = EqualConv2d(width_in, width, 3, gain=1.0)
        self.noise = Noise(width, side)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        scale = 1 + self.style(w)
        weight = self.convolution.scaled
        x = F.conv2d(x * scale[:, :, None, None], weight, padding=1)
        power = scale.square() @ weight.square().sum(dim=(2, 3)).T
        x = self.noise(x * (power + 1e-8).rsqrt()[:, :, None, None])
        bias = self.convolution.bias
        assert bias is not None
        return F.leaky_relu(x + bias[:, None, None], SLOPE) * GAIN


class _Colour(nn.Module):
    """Maps to an image: a 1 x 1 convolution with input channels scaled by w, without normalisation."""

    def __init__(self, width: int, channels: int, w_dim: int) -> None:
        super().__init__()
        self.style = EqualLinear(w_dim, width)
        self.convolution = EqualConv2d(width, channels, 1, gain=1.0)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return self.convolution(x * (1 + self.style(w))[:, :, None, None])


class StyleGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        sides = widths(recipe.generator_width, size, last=True)
        dim, channels = recipe.latent_dim, channels_of(recipe.colours)
        self.classes = ClassEmbedding(n_classes, recipe.class_dim, warm_up=recipe.class_warm_up)
        self.layers = nn.ModuleList(
            EqualLinear(dim if number else dim + recipe.class_dim, dim, gain=GAIN, rate=MAPPING_RATE)
            for number in range(MAPPING_LAYERS)
        )
        self.constant = nn.Parameter(torch.empty(1, sides[0], START, START))
        self.first = _StyledConv(sides[0], sides[0], dim, START)
        self.pairs = nn.ModuleList(
            nn.ModuleList([_StyledConv(before, after, dim, side), _StyledConv(after, after, dim, side)])
            for before, after, side in zip(sides, sides[1:], (START << number for number in range(1, len(sides))))
        )
        self.colours = nn.ModuleList(_Colour(width, channels, dim) for width in sides)

    def mapping(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return w float [N, latent_dim]."""
        w = join_vector(unit_length(z), self.classes(class_index))
        for layer in self.layers:
            w = F.leaky_relu(layer(w), SLOPE)
        return w

    def synthesis(self, w: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size] for w float [N, latent_dim]."""
        to_image, *others = self.colours
        x = self.first(self.constant.expand(w.shape[0], -1, -1, -1), w)
        image = to_image(x, w)
        for pair, to_image in zip(self.pairs, others):
            x = upsample_smoothly(x)
            for layer in pair:  # type: ignore[attr-defined]
                x = layer(x, w)
            image = upsample_smoothly(image) + to_image(x, w)
        return shown(image)

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        return self.synthesis(self.mapping(z, class_index))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, nn.init.normal_)
        nn.init.normal_(self.constant, generator=generator)
