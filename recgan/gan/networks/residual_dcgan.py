"""A DCGAN with shortcuts: the family of `modern-small`, for machines where arithmetic is dear.

Nothing is computed at full resolution: D begins and G ends with a convolution of stride 2, as in a DCGAN, so that the
image is looked at through many channels at half its side. Each further convolution halves (D) or doubles (G) the side
and has a shortcut beside it: the mean of 2 x 2 pixels, or bilinear doubling, with a 1 x 1 convolution where pixels are
fewer. The sum is scaled to keep its variance. The strides are those of `HalvingConv2d` and `DoublingConv2d`, which
leave no grid.

G is told the class, and where `recipe.latent_skips` z itself, before every convolution by the gain and shift of its
maps, after a group norm (of each image by itself: no batch norm). D has no norm, so that penalties hold its gradient;
its last maps are mixed by a linear layer, which sees where things are.
"""

from __future__ import annotations

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
    DoublingConv2d,
    HalvingConv2d,
    channels_of,
    initialise,
    seen,
    shown,
    upsample_smoothly,
    widths,
)
from recgan.gan.networks.base import Discriminator

__all__ = ["ResidualDCGANDiscriminator", "ResidualDCGANGenerator"]

KEEP = 0.5**0.5
"""The sum of two parts of equal variance, times this, has the same variance."""
GAIN = (2 / (1 + SLOPE**2)) ** 0.5
"""By which a leaky ReLU shrinks a standard deviation (He et al. 2015)."""
MEAN = 2**0.5
"""Between what makes up for the mean of four pixels that have nothing in common (2), and that are alike (1)."""
OUT = 0.3
"""Scale of G's first images: tanh is flat where it begins larger."""


class ResidualDCGANGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        if recipe.generator_classes != "film" or recipe.generator_spectral:
            raise SettingsError(
                "recipe network 'residual_dcgan' takes generator_classes film and no generator_spectral"
            )
        inputs = widths(recipe.generator_width, size)
        self.skips = recipe.latent_skips
        self.classes = ClassEmbedding(n_classes, recipe.class_dim, warm_up=recipe.class_warm_up)
        both = recipe.latent_dim + recipe.class_dim
        style_dim = both if self.skips else recipe.class_dim
        self.dense = nn.Linear(both, inputs[0] * START**2)
        self.modulations = nn.ModuleList(Modulation(width, style_dim, norm="group") for width in inputs)
        self.layers = nn.ModuleList(DoublingConv2d(width_in, width) for width_in, width in pairwise(inputs))
        self.shortcuts = nn.ModuleList(
            nn.Conv2d(width_in, width, 1, bias=False) for width_in, width in pairwise(inputs)
        )
        self.out = DoublingConv2d(inputs[-1], channels_of(recipe.colours))

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        classes = self.classes(class_index)
        both = join_vector(z, classes)
        style = both if self.skips else classes
        x = self.dense(both).unflatten(1, (-1, START, START))
        *modulations, last = self.modulations
        for modulate, layer, shortcut in zip(modulations, self.layers, self.shortcuts):
            y = layer(F.leaky_relu(modulate(x, style), SLOPE))
            x = (upsample_smoothly(shortcut(x)) + y) * KEEP
        return shown(self.out(F.leaky_relu(last(x, style), SLOPE)))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, _draw)
        for module in self.modules():
            if isinstance(module, Modulation):
                for linear in (module.gain, module.shift):
                    nn.init.normal_(linear.weight, std=0.5 * linear.in_features**-0.5, generator=generator)
        with torch.no_grad():
            self.out.weight.mul_(OUT)


class ResidualDCGANDiscriminator(Discriminator):
    """D(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        if recipe.discriminator_norm != "none" or recipe.discriminator_classes == "concat":
            raise SettingsError(
                "recipe network 'residual_dcgan' takes discriminator_norm none, and discriminator_classes none, "
                "projection or classifier"
            )
        outputs = widths(recipe.discriminator_width, size)[::-1]
        self.colours = recipe.colours
        self.first = HalvingConv2d(channels_of(self.colours), outputs[0])
        self.layers = nn.ModuleList(HalvingConv2d(width_in, width) for width_in, width in pairwise(outputs))
        self.shortcuts = nn.ModuleList(
            nn.Conv2d(width_in, width, 1, bias=False) for width_in, width in pairwise(outputs)
        )
        self.mix = nn.Linear(outputs[-1] * START**2, outputs[-1])
        self.add_heads(recipe, n_classes, outputs[-1])

    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return features float [N, discriminator_width]."""
        x = self.first(seen(images, self.colours))
        for layer, shortcut in zip(self.layers, self.shortcuts):
            x = (layer(F.leaky_relu(x, SLOPE)) + shortcut(F.avg_pool2d(x, 2))) * KEEP
        return F.leaky_relu(self.mix(F.leaky_relu(x, SLOPE).flatten(1)), SLOPE)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, _draw)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, HalvingConv2d):
                    module.weight.mul_(MEAN)


def _draw(weight: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """Fill a weight so that variances are kept; shortcuts (1 x 1) see no leaky ReLU before them."""
    gain = 1.0 if weight.shape[2:] == (1, 1) else GAIN
    return nn.init.normal_(weight, std=gain * weight[0].numel() ** -0.5, generator=generator)
