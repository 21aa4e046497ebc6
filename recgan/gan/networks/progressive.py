"""A pair whose resolution grows while it trains (Karras et al. 2018).

Over the recipe's ``growth`` share of the run every side from 4 px on has an equal part, in whose first half it is faded
in (figure 2) and in whose second half the networks settle. Images have the full size throughout, so
nothing else need know: what G makes at a smaller side is repeated, and D takes means, down to the side that has been
reached. Pixels' features are normalised in G, learning rates are equalised. The class embedding is joined to z.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan.conditioning import ClassEmbedding, join_vector
from recgan.gan.layers import (
    SLOPE,
    START,
    EqualConv2d,
    EqualLinear,
    channels_of,
    initialise,
    seen,
    shown,
    unit_length,
    upsample,
    widths,
)
from recgan.gan.networks.base import Discriminator

__all__ = ["ProgressiveDiscriminator", "ProgressiveGenerator"]


class _Growth(nn.Module):
    """How far a network has grown: 0 at 4 px, 1 at 8 px, ...; 0.25 is 8 px, a quarter faded in."""

    grown: torch.Tensor

    def __init__(self, steps: int, share: float) -> None:
        super().__init__()
        self.steps, self.share = steps, share
        self._fixed: float | None = None
        self.register_buffer("grown", torch.empty(()))

    def advance(self, share: float) -> None:
        """Grow to what is due after ``share`` of the run."""
        parts = (self.steps + 1) * (min(share / self.share, 1.0) if self.share else 1.0)
        whole = min(int(parts), self.steps)
        self.grown.fill_(whole - 1 + min(2 * (parts - whole), 1.0) if whole else 0.0)

    def state(self) -> tuple[int, float]:
        """Return the largest side that counts, as doublings of 4 px, and the weight of the side below it."""
        grown = float(self.grown) if self._fixed is None else self._fixed
        side = math.ceil(grown)
        return side, side - grown

    def freeze(self) -> None:
        """Stay as far as it has grown, so that a program made from the network need not ask."""
        self._fixed = float(self.grown)

    def reset(self, generator: torch.Generator) -> None:
        """Begin at 4 px."""
        self.advance(0.0)


class ProgressiveGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        sides = widths(recipe.generator_width, size, last=True)
        self.size = size
        self.growth = _Growth(len(sides) - 1, recipe.growth)
        self.classes = ClassEmbedding(n_classes, recipe.class_dim, warm_up=recipe.class_warm_up)
        joined = recipe.latent_dim + recipe.class_dim
        self.dense = EqualLinear(joined, sides[0] * START**2, gain=math.sqrt(2) / START)
        self.first = EqualConv2d(sides[0], sides[0], 3)
        self.pairs = nn.ModuleList(
            nn.ModuleList([EqualConv2d(before, after, 3), EqualConv2d(after, after, 3)])
            for before, after in pairwise(sides)
        )
        self.colours = nn.ModuleList(EqualConv2d(width, channels_of(recipe.colours), 1, gain=1.0) for width in sides)

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        top, old = self.growth.state()
        x = self.dense(unit_length(join_vector(z, self.classes(class_index)))).unflatten(1, (-1, START, START))
        x = _settled(self.first(_settled(x)))
        below = x
        for pair in self.pairs[:top]:
            below, x = x, upsample(x)
            for convolve in pair:  # type: ignore[attr-defined]
                x = _settled(convolve(x))
        image = self.colours[top](x)
        if old:
            image = torch.lerp(image, upsample(self.colours[top - 1](below)), old)
        return shown(F.interpolate(image, size=(self.size, self.size), mode="nearest"))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, nn.init.normal_)


class ProgressiveDiscriminator(Discriminator):
    """D(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        if recipe.discriminator_norm != "none" or recipe.discriminator_classes == "concat":
            raise SettingsError(
                "recipe network 'progressive' takes discriminator_norm none, and discriminator_classes none, "
                "projection or classifier"
            )
        sides = widths(recipe.discriminator_width, size, last=True)
        self.growth = _Growth(len(sides) - 1, recipe.growth)
        self.colours = recipe.colours
        self.firsts = nn.ModuleList(EqualConv2d(channels_of(recipe.colours), width, 1) for width in sides)
        self.pairs = nn.ModuleList(
            nn.ModuleList([EqualConv2d(before, before, 3), EqualConv2d(before, after, 3)])
            for before, after in zip(sides[1:], sides)
        )
        self.last = EqualConv2d(sides[0], sides[0], 3)
        self.mix = EqualLinear(sides[0] * START**2, sides[0], gain=math.sqrt(2))
        self.add_heads(recipe, n_classes, sides[0])

    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return features float [N, discriminator_width]."""
        top, old = self.growth.state()
        image = F.adaptive_avg_pool2d(seen(images, self.colours), START << top)
        x = F.leaky_relu(self.firsts[top](image), SLOPE)
        for number in range(top, 0, -1):
            for convolve in self.pairs[number - 1]:  # type: ignore[attr-defined]
                x = F.leaky_relu(convolve(x), SLOPE)
            x = F.avg_pool2d(x, 2)
            if old and number == top:
                x = torch.lerp(x, F.leaky_relu(self.firsts[top - 1](F.avg_pool2d(image, 2)), SLOPE), old)
        x = F.leaky_relu(self.last(x), SLOPE)
        return F.leaky_relu(self.mix(x.flatten(1)), SLOPE)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, nn.init.normal_)
        nn.init.normal_(self.dense.weight, std=self.dense.in_features**-0.5, generator=generator)


def _settled(maps: torch.Tensor) -> torch.Tensor:
    return unit_length(F.leaky_relu(maps, SLOPE))
