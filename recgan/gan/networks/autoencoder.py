"""BEGAN's pair (Berthelot et al. 2017, section 3.5): D is an autoencoder, G has the shape of its decoder.

The logit is *minus the error* with which D restores an image, -mean |x - D(x)|, so that real images have high logits
here as everywhere. The class embedding is joined to z in G and to the code in D, so D restores an image as a member of
that class. ``generator_width`` and ``discriminator_width`` are the channels at every resolution of a decoder; those of
the encoder grow by as many with each halving of the side.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan.conditioning import ClassEmbedding, join_vector
from recgan.gan.layers import START, channels_of, doublings, initialise, seen, shown, upsample
from recgan.gan.networks.base import Discriminator, Judgement

__all__ = ["AutoencoderDiscriminator", "AutoencoderGenerator"]

DRAW = partial(nn.init.kaiming_normal_, nonlinearity="linear")
"""Keeps the variance through an ELU, whose slope at 0 is 1."""


class _Decoder(nn.Module):
    """A vector [N, dim] -> maps [N, channels, size, size]: two convolutions a side, ELU, nearest neighbours."""

    def __init__(self, dim: int, width: int, channels: int, size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, width * START**2)
        sides = doublings(size) + 1
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2 * sides))
        self.out = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        x = self.dense(vector).unflatten(1, (-1, START, START))
        for number, layer in enumerate(self.layers):
            x = F.elu(layer(upsample(x) if number and number % 2 == 0 else x))
        return self.out(x)


class AutoencoderGenerator(nn.Module):
    """G(z [N, latent_dim], class_index int64 [N]) -> images [N, 3, size, size] in [-1, 1]."""

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        joined = recipe.class_dim if recipe.generator_classes == "concat" else 0
        self.classes = ClassEmbedding(n_classes, joined, warm_up=recipe.class_warm_up) if joined else None
        channels = channels_of(recipe.colours)
        self.decoder = _Decoder(recipe.latent_dim + joined, recipe.generator_width, channels, size)

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size]."""
        return shown(self.decoder(z if self.classes is None else join_vector(z, self.classes(class_index))))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, DRAW)


class AutoencoderDiscriminator(Discriminator):
    """D(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N], none above 0."""

    CODE = 64

    def __init__(self, recipe: Recipe, n_classes: int, size: int) -> None:
        super().__init__()
        if recipe.discriminator_classes not in ("none", "concat") or recipe.code_dim or recipe.minibatch != "none":
            raise SettingsError(
                "recipe network 'autoencoder' judges by what it restores: it takes discriminator_classes none or "
                "concat, no code_dim and no minibatch"
            )
        joined = recipe.class_dim if recipe.discriminator_classes == "concat" else 0
        self.classes = ClassEmbedding(n_classes, joined, warm_up=recipe.class_warm_up) if joined else None
        self.colours = recipe.colours
        channels, width = channels_of(self.colours), recipe.discriminator_width
        grown = [width * (number + 1) for number in range(doublings(size) + 1)]
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip([width, *grown], grown)
        )
        self.dense = nn.Linear(grown[-1] * START**2, self.CODE)
        self.decoder = _Decoder(self.CODE + joined, width, channels, size)

    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return the restored images, float [N, 3 or 1, size, size]."""
        x = F.elu(self.first(seen(images, self.colours)))
        for number, layer in enumerate(self.layers):
            x = F.elu(layer(F.avg_pool2d(x, 2) if number else x))
        code = self.dense(x.flatten(1))
        return self.decoder(code if self.classes is None else join_vector(code, self.classes(class_index)))

    def judge(self, images: torch.Tensor, class_index: torch.Tensor) -> Judgement:
        """Return minus the mean absolute error of each image restored."""
        error = (seen(images, self.colours) - self.features(images, class_index)).abs()
        return Judgement(-error.mean(dim=(1, 2, 3)))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``."""
        initialise(self, generator, DRAW)
