"""Residual networks: the family of `modern`, `sngan-projection` and `biggan-lite`.

One stage a side, from 4 px to the full size, each of `recipe.blocks` residual blocks of two 3 x 3 convolutions. Between
stages a 1 x 1 convolution changes the channels where there are few pixels, and the side doubles (bilinearly) or
halves (mean). Width lies where pixels are few: channels halve as the side doubles.

G is told the class and, where `recipe.latent_skips`, z itself in every block, by the gain and shift of its maps: after
a batch norm (``generator_classes="batch_norm"``: Miyato & Koyama 2018, Brock et al. 2019) or with no normalisation at
all (``"film"``), and then each block begins as the identity (its second convolution at 0: Zhang et al. 2019, Fixup) so
that the variance does not grow with depth.

D has no norm of its features, only, where the recipe says so, spectral norm of its weights; then its last maps are
summed (Miyato et al. 2018), else they are mixed by a linear layer, which sees where things are.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan.conditioning import ClassEmbedding, Modulation, join_vector
from recgan.gan.layers import (
    SLOPE,
    START,
    SelfAttention,
    SpectralConv2d,
    SpectralLinear,
    channels_of,
    initialise,
    seen,
    shown,
    upsample_smoothly,
    widths,
)
from recgan.gan.networks.base import Discriminator

__all__ = ["ResidualDiscriminator", "ResidualGenerator"]

ATTENTION_SIDE = 16
"""Side in pixels of the maps that attend to themselves."""
HE = partial(nn.init.kaiming_normal_, a=SLOPE, nonlinearity="leaky_relu")
ORTHOGONAL = nn.init.orthogonal_
"""First weights under batch or spectral norm (Brock et al. 2019, section 3)."""


class _GeneratorBlock(nn.Module):
    """x + conv(act(modulate(conv(act(modulate(x)))))), the style setting both modulations."""

    def __init__(self, width: int, style_dim: int, *, batch_norm: bool, spectral: bool) -> None:
        super().__init__()
        convolution = SpectralConv2d if spectral else nn.Conv2d
        self.modulations = nn.ModuleList(
            Modulation(width, style_dim, norm="batch" if batch_norm else "none") for _ in range(2)
        )
        self.convolutions = nn.ModuleList(convolution(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        y = x
        for modulate, convolve in zip(self.modulations, self.convolutions):
            y = convolve(F.leaky_relu(modulate(y, style), SLOPE))
        return x + y


class _DiscriminatorBlock(nn.Module):
    """x + conv(act(conv(act(x))))."""

    def __init__(self, width: int, *, spectral: bool) -> None:
        super().__init__()
        convolution = SpectralConv2d if spectral else nn.Conv2d
        self.convolutions = nn.ModuleList(convolution(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for convolve in self.convolutions:
            y = convolve(F.leaky_relu(y, SLOPE))
        return x + y


class ResidualGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        if recipe.generator_classes not in ("batch_norm", "film"):
            raise SettingsError("recipe network 'residual' takes generator_classes batch_norm or film")
        sides = widths(recipe.generator_width, size, last=True)
        spectral, batch_norm = recipe.generator_spectral, recipe.generator_classes == "batch_norm"
        convolution = SpectralConv2d if spectral else nn.Conv2d
        self.skips = recipe.latent_skips
        self.classes = ClassEmbedding(n_classes, recipe.class_dim, warm_up=recipe.class_warm_up)
        both = recipe.latent_dim + recipe.class_dim
        block = partial(
            _GeneratorBlock,
            style_dim=both if self.skips else recipe.class_dim,
            batch_norm=batch_norm,
            spectral=spectral,
        )
        self.dense = (SpectralLinear if spectral else nn.Linear)(both, sides[0] * START**2)
        self.stages = nn.ModuleList(nn.ModuleList(block(width) for _ in range(recipe.blocks)) for width in sides)
        self.changes = nn.ModuleList(convolution(before, after, 1) for before, after in pairwise(sides))
        self.attention = SelfAttention(sides[2], convolution) if recipe.attention else None
        self.norm = nn.BatchNorm2d(sides[-1]) if batch_norm else nn.Identity()
        self.out = convolution(sides[-1], channels_of(recipe.colours), 3, padding=1)
        self.identity_blocks = not (batch_norm or spectral)

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        classes = self.classes(class_index)
        both = join_vector(z, classes)
        style = both if self.skips else classes
        x = self.dense(both).unflatten(1, (-1, START, START))
        for number, stage in enumerate(self.stages):
            if number:
                x = upsample_smoothly(self.changes[number - 1](x))
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, style)
            if self.attention is not None and x.shape[2] == ATTENTION_SIDE:
                x = self.attention(x)
        return shown(self.out(F.leaky_relu(self.norm(x), SLOPE)))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, HE if self.identity_blocks else ORTHOGONAL)
        for module in self.modules():
            if isinstance(module, Modulation):
                for linear in (module.gain, module.shift):
                    nn.init.normal_(linear.weight, std=0.1 * linear.in_features**-0.5, generator=generator)
            elif isinstance(module, _GeneratorBlock) and self.identity_blocks:
                nn.init.zeros_(module.convolutions[1].weight)  # type: ignore[arg-type]
        if self.identity_blocks:
            with torch.no_grad():
                self.out.weight.mul_(0.3)  # else tanh begins where it is flat


class ResidualDiscriminator(Discriminator):
    """D(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        if recipe.discriminator_norm not in ("none", "spectral") or recipe.discriminator_classes == "concat":
            raise SettingsError(
                "recipe network 'residual' takes discriminator_norm none or spectral, and discriminator_classes none, "
                "projection or classifier"
            )
        sides = widths(recipe.discriminator_width, size, last=True)[::-1]
        self.spectral = recipe.discriminator_norm == "spectral"
        convolution = SpectralConv2d if self.spectral else nn.Conv2d
        self.colours = recipe.colours
        self.first = convolution(channels_of(self.colours), sides[0], 3, padding=1)
        block = partial(_DiscriminatorBlock, spectral=self.spectral)
        self.stages = nn.ModuleList(nn.ModuleList(block(width) for _ in range(recipe.blocks)) for width in sides)
        self.changes = nn.ModuleList(convolution(before, after, 1) for before, after in pairwise(sides))
        self.attention = SelfAttention(sides[-3], convolution) if recipe.attention else None
        self.mix = None if self.spectral else nn.Linear(sides[-1] * START**2, sides[-1])
        self.add_heads(recipe, n_classes, sides[-1])

    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return features float [N, discriminator_width]."""
        x = self.first(seen(images, self.colours))
        for number, stage in enumerate(self.stages):
            if number:
                x = self.changes[number - 1](F.avg_pool2d(x, 2))
            for block in stage:  # type: ignore[attr-defined]
                x = block(x)
            if self.attention is not None and x.shape[2] == ATTENTION_SIDE:
                x = self.attention(x)
        x = F.leaky_relu(x, SLOPE)
        if self.mix is None:
            return x.sum(dim=(2, 3))
        return F.leaky_relu(self.mix(x.flatten(1)), SLOPE)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, ORTHOGONAL if self.spectral else HE)
        if not self.spectral:
            for module in self.modules():
                if isinstance(module, _DiscriminatorBlock):
                    nn.init.zeros_(module.convolutions[1].weight)  # type: ignore[arg-type]
