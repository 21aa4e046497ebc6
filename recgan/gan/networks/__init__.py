"""Generators and discriminators by name.

Every pair keeps one contract::

    Generator(z float [N, latent_dim], class_index int64 [N]) -> images float [N, 3, size, size] in [-1, 1]
    Discriminator(images float [N, 3, size, size], class_index int64 [N]) -> logits float [N]

A network is made from (recipe, n_classes, size) and has ``initialise(generator)``, which draws every parameter from
the given random generator, so that nothing depends on global random state. A discriminator also has ``judge``, which
says all that its heads say (`recgan.gan.networks.base`). A generator also takes classes mixed: weights float
[N, n_classes] in place of the index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from recgan.config import Recipe
from recgan.gan.networks.autoencoder import AutoencoderDiscriminator, AutoencoderGenerator
from recgan.gan.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from recgan.gan.networks.dense import DenseDiscriminator, DenseGenerator
from recgan.gan.networks.kang2017 import Kang2017Discriminator, Kang2017Generator
from recgan.gan.networks.progressive import ProgressiveDiscriminator, ProgressiveGenerator
from recgan.gan.networks.residual import ResidualDiscriminator, ResidualGenerator
from recgan.gan.networks.residual_dcgan import ResidualDCGANDiscriminator, ResidualDCGANGenerator
from recgan.gan.networks.style import StyleGenerator

__all__ = ["NETWORKS", "build_networks", "empty_networks", "load_network", "network_arrays"]

NETWORKS: dict[str, tuple[Any, Any]] = {
    "dense": (DenseGenerator, DenseDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "kang2017": (Kang2017Generator, Kang2017Discriminator),
    "autoencoder": (AutoencoderGenerator, AutoencoderDiscriminator),
    "residual": (ResidualGenerator, ResidualDiscriminator),
    "residual_dcgan": (ResidualDCGANGenerator, ResidualDCGANDiscriminator),
    "style": (StyleGenerator, ResidualDiscriminator),
    "progressive": (ProgressiveGenerator, ProgressiveDiscriminator),
}
"""Recipe.network -> (generator class, discriminator class)."""


def build_networks(recipe: Recipe, n_classes: int, size: int, rng: torch.Generator) -> tuple[nn.Module, nn.Module]:
    """Return a new generator and discriminator on the CPU, their weights drawn from ``rng``.

    Raises:
        SettingsError: the network cannot make that size or that many classes.
    """
    pair = empty_networks(recipe, n_classes, size)
    for network in pair:
        network.to_empty(device="cpu")
        network.initialise(rng)  # type: ignore[operator]
    return pair


def empty_networks(recipe: Recipe, n_classes: int, size: int) -> tuple[nn.Module, nn.Module]:
    """Return the pair on torch's ``meta`` device: shapes without memory, to be filled from a file.

    Raises:
        SettingsError: as `build_networks`.
    """
    generator_class, discriminator_class = NETWORKS[recipe.network]
    with torch.device("meta"):
        return generator_class(recipe, n_classes, size), discriminator_class(recipe, n_classes, size)


def network_arrays(network: nn.Module, *, half: bool = False) -> dict[str, np.ndarray]:
    """Return a network's weights and statistics by name, to be written to a file; ``half``: float32 as float16."""
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}
    if half:
        return {name: array.astype("float16") if array.dtype == "float32" else array for name, array in arrays.items()}
    return arrays


def load_network(network: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Fill a network, also one of `empty_networks`, from arrays that `network_arrays` gave, in half precision or not.

    Raises:
        RuntimeError: names or sizes differ.
    """
    own = network.state_dict()
    tensors = {
        # A file knows no scalars: they come back with one dimension.
        name: torch.from_numpy(array).to(own[name].dtype).reshape(own[name].shape)
        if name in own
        else torch.from_numpy(array)
        for name, array in arrays.items()
    }
    network.load_state_dict(tensors, assign=any(tensor.is_meta for tensor in own.values()))
