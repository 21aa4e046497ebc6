"""The networks of Kang et al. 2017 as their released code builds them: 64 px, one-hot labels.

G: label joined to z; fully connected to 4 x 4 x 256; seven 3 x 3 transposed convolutions (`WIDTHS`, `STRIDES`);
batch norm and leaky ReLU after every layer but the last, which is tanh.
D: four 5 x 5 convolutions of stride 2 (`DISCRIMINATOR_WIDTHS`), the label joined to the input of each as constant
maps; batch norm after all but the first; leaky ReLU; one linear unit over the 4 x 4 x 512 features.
Weights start at N(0, 0.02^2), in D's convolutions truncated at two standard deviations; biases at 0.

TensorFlow's "SAME" padding is kept: where the padding is odd, the extra row and column lie at the bottom and right.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan.conditioning import join_maps, join_vector, one_hot
from recgan.gan.layers import SLOPE, initialise
from recgan.gan.networks.base import Discriminator

__all__ = ["Kang2017Discriminator", "Kang2017Generator"]

SIZE = 64
WIDTHS = (256, 256, 256, 256, 128, 64, 3)
STRIDES = (2, 1, 2, 1, 2, 2, 1)
DISCRIMINATOR_WIDTHS = (64, 128, 256, 512)
MAX_CLASSES = 256
"""One-hot label maps at every layer make more classes than this senseless (the paper has six)."""


def _check(recipe: Recipe, size: int, n_classes: int) -> None:
    if recipe.colours != "rgb":
        raise SettingsError("recipe network 'kang2017' is in colour only; use --recipe dcgan-lsgan for grey")
    if size != SIZE:
        raise SettingsError(f"recipe network 'kang2017' is {SIZE} px only, not {size}; use --size 64 or dcgan-lsgan")
    if n_classes > MAX_CLASSES:
        raise SettingsError(
            f"recipe network 'kang2017' takes at most {MAX_CLASSES} categories (one-hot label maps), "
            f"not {n_classes:,}; use --recipe dcgan-lsgan"
        )


class Kang2017Generator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, 64, 64] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        _check(recipe, size, n_classes)
        self.n_classes = n_classes
        self.dense = nn.Linear(recipe.latent_dim + n_classes, 4 * 4 * WIDTHS[0])
        inputs = (WIDTHS[0], *WIDTHS[:-1])
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in inputs])
        self.layers = nn.ModuleList(
            # A stride of 2 gives 2n + 1 rows, cropped below; a stride of 1 keeps n.
            nn.ConvTranspose2d(width_in, width, 3, stride, padding=1 if stride == 1 else 0)
            for width_in, width, stride in zip(inputs, WIDTHS, STRIDES)
        )

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, 64, 64]."""
        x = self.dense(join_vector(z, one_hot(class_index, self.n_classes))).unflatten(1, (-1, 4, 4))
        for norm, layer, stride in zip(self.norms, self.layers, STRIDES):
            x = layer(F.leaky_relu(norm(x), SLOPE))
            if stride == 2:
                x = x[:, :, :-1, :-1]
        return x.tanh()

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, partial(nn.init.normal_, std=0.02))


class Kang2017Discriminator(Discriminator):
    """D(images [N, 3, 64, 64] in [-1, 1], class_index int64 [N]) -> logits [N]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        _check(recipe, size, n_classes)
        self.n_classes = n_classes
        inputs = (3, *DISCRIMINATOR_WIDTHS[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(width_in + n_classes, width, 5, stride=2) for width_in, width in zip(inputs, DISCRIMINATOR_WIDTHS)
        )
        self.norms = nn.ModuleList([nn.Identity(), *(nn.BatchNorm2d(width) for width in DISCRIMINATOR_WIDTHS[1:])])
        self.add_heads(recipe, n_classes, 4 * 4 * DISCRIMINATOR_WIDTHS[-1])

    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return features float [N, 8192]."""
        label = one_hot(class_index, self.n_classes)
        x = images
        for layer, norm in zip(self.layers, self.norms):
            padded = F.pad(join_maps(x, label), (1, 2, 1, 2))
            x = F.leaky_relu(norm(layer(padded)), SLOPE)
        return x.flatten(1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, _draw)


def _draw(weight: torch.Tensor, generator: torch.Generator) -> None:
    if weight.dim() == 4:
        nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04, generator=generator)
    else:
        nn.init.normal_(weight, std=0.02, generator=generator)
