"""A DCGAN with shortcuts: the family of `modern-small`, for machines where arithmetic is dear.

As in a DCGAN, convolutions are 4 x 4 with a stride of 2, transposed in G, so that most is computed through many maps
where pixels are few. Transposed ones leave a grid, so G's last doubling is bilinear: at full resolution, two 3 x 3
convolutions of a few maps. Each strided one but D's first has a shortcut beside it: the mean of 2 x 2 pixels (D), or
bilinear doubling (G), with a 1 x 1 convolution where pixels are fewer. The sum is scaled to keep its variance.

G is told the class, and where `recipe.latent_skips` z itself, before every convolution by the gain and shift of its
maps, after a group norm (of each image by itself: no batch norm). D has no norm, so that penalties hold its gradient;
its last maps are mixed by a linear layer, which sees where things are.
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
from recgan.gan.layers import SLOPE, START, channels_of, initialise, seen, shown, upsample_smoothly, widths
from recgan.gan.networks.base import Discriminator

__all__ = ["ResidualDCGANDiscriminator", "ResidualDCGANGenerator"]

KEEP = 0.5**0.5
"""The sum of two parts of equal variance, times this, has the same variance."""
GAIN = (2 / (1 + SLOPE**2)) ** 0.5
"""By which a leaky ReLU shrinks a standard deviation (He et al. 2015)."""
FINE = 16
"""The fewest maps that G paints the image from."""
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
        *inputs, fine = widths(recipe.generator_width, size, last=True)
        fine = max(fine, FINE)
        self.skips = recipe.latent_skips
        self.classes = ClassEmbedding(n_classes, recipe.class_dim, warm_up=recipe.class_warm_up)
        both = recipe.latent_dim + recipe.class_dim
        style_dim = both if self.skips else recipe.class_dim
        self.dense = nn.Linear(both, inputs[0] * START**2)
        self.modulations = nn.ModuleList(Modulation(width, style_dim, norm="group") for width in [*inputs, fine])
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(width_in, width, 4, stride=2, padding=1) for width_in, width in pairwise(inputs)
        )
        self.shortcuts = nn.ModuleList(
            nn.Conv2d(width_in, width, 1, bias=False) for width_in, width in pairwise(inputs)
        )
        self.fine = nn.Conv2d(inputs[-1], fine, 3, padding=1)
        self.out = nn.Conv2d(fine, channels_of(recipe.colours), 3, padding=1)

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        classes = self.classes(class_index)
        both = join_vector(z, classes)
        style = both if self.skips else classes
        x = self.dense(both).unflatten(1, (-1, START, START))
        *modulations, to_fine, to_out = self.modulations
        for modulate, layer, shortcut in zip(modulations, self.layers, self.shortcuts):
            y = layer(F.leaky_relu(modulate(x, style), SLOPE))
            x = (upsample_smoothly(shortcut(x)) + y) * KEEP
        x = self.fine(F.leaky_relu(to_fine(upsample_smoothly(x), style), SLOPE))
        return shown(self.out(F.leaky_relu(to_out(x, style), SLOPE)))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, _draw)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, Modulation):
                    for linear in (module.gain, module.shift):
                        nn.init.normal_(linear.weight, std=0.5 * linear.in_features**-0.5, generator=generator)
                elif isinstance(module, nn.ConvTranspose2d):  # 4 of the 16 weights of each map meet in a pixel
                    module.weight.mul_((4 * module.out_channels / module.in_channels) ** 0.5)
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
        halving = partial(nn.Conv2d, kernel_size=4, stride=2, padding=1)
        self.first = halving(channels_of(self.colours), outputs[0])
        self.layers = nn.ModuleList(halving(width_in, width) for width_in, width in pairwise(outputs))
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


def _draw(weight: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """Fill a weight so that variances are kept; shortcuts (1 x 1) see no leaky ReLU before them."""
    gain = 1.0 if weight.shape[2:] == (1, 1) else GAIN
    return nn.init.normal_(weight, std=gain * weight[0].numel() ** -0.5, generator=generator)
