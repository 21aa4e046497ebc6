"""Beginning with what another GAN has learnt: a small catalogue profits from the photos of a larger one.

All weights are taken over as they are but those that belong to a class (rows of class embeddings and of classifiers,
columns that one-hot labels meet). Each class of the new catalogue gets those of one class of the other: of the same
name or, where there is none, the one whose samples look most like its photos. Where several begin with the same one,
all but the likest go half the way to first weights of their own: they would have to part by small steps else, and stay
alike for long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from recgan.artifacts import open_artifact
from recgan.config import Recipe
from recgan.encoders import load_encoder
from recgan.errors import MismatchError, SettingsError
from recgan.gan.artifact import TrainedGAN
from recgan.gan.data import CatalogueImages
from recgan.gan.networks import empty_networks, load_network, network_arrays
from recgan.gan.sampling import design_seeds, in_blocks, latents
from recgan.gan.training.checkpoint import FORMAT_VERSION, latest_checkpoint
from recgan.gan.training.checkpoint import KIND as CHECKPOINT

__all__ = ["Kinship", "begun_with", "check_shape", "nearest_classes", "take_over"]

LOOKED_AT = 32
"""Photos of a new class, and samples of a known one, that are compared at most."""
EXTRACTOR, EXTRACTOR_SIZE = "efficientnet_lite0", 128
_UNSHAPED = {"name", "summary", "epochs", "images_seen"}


@dataclass(frozen=True)
class Kinship:
    """Which class of a trained GAN each category begins with."""

    classes: np.ndarray
    """int64 [n_categories]"""
    alike: np.ndarray
    """Whether another category is liker to that class, and this one is to part from it: bool [n_categories]."""

    @classmethod
    def of(cls, classes: np.ndarray, distances: np.ndarray) -> Kinship:
        """Return it for classes and the categories' distances from them, float [n_categories]."""
        order = np.lexsort((np.arange(len(classes)), distances))
        alike = np.ones(len(classes), dtype=bool)
        alike[order[np.unique(classes[order], return_index=True)[1]]] = False
        return cls(classes, alike)


def nearest_classes(
    gan: TrainedGAN, images: CatalogueImages, category_names: Sequence[str], *, seed: int = 0
) -> Kinship:
    """Return which class of ``gan`` each category begins with.

    It is the one of the same name or, where there is none, that whose samples' mean features are nearest to those of
    the category's images; classes that had no training image are nobody's.

    Args:
        gan: the trained GAN.
        images: the new catalogue's.
        category_names: its categories, in class order.
        seed: of the images and the samples that are compared.
    """
    known = np.flatnonzero(gan.train_images)
    by_name = {gan.category_names[index].casefold(): int(index) for index in known}
    encoder = load_encoder(EXTRACTOR, str(gan.device))
    encoder.input_size = EXTRACTOR_SIZE

    def mean_features(pictures: torch.Tensor) -> torch.Tensor:
        return in_blocks(encoder, pictures).mean(dim=0)

    z = latents(design_seeds(seed, LOOKED_AT), gan.recipe).to(gan.device)
    rng = np.random.default_rng([seed, 17])
    classes = np.full(len(category_names), known[0])  # of a category without images, which is never asked for
    distances = np.full(len(category_names), np.inf)
    with torch.inference_mode():
        of_known = torch.stack(
            [mean_features(gan.sample(z, torch.full((len(z),), int(index), device=gan.device))) for index in known]
        )
        for category, name in enumerate(category_names):
            own = np.flatnonzero(images.class_index.numpy() == category)
            if name.casefold() in by_name:
                classes[category], distances[category] = by_name[name.casefold()], 0
            elif len(own):
                rows = torch.from_numpy(np.sort(rng.permutation(own)[:LOOKED_AT]))
                looks = mean_features(images.images(rows).to(gan.device))
                nearest = torch.cdist(looks[None], of_known)[0].min(dim=0)
                classes[category], distances[category] = known[int(nearest.indices)], float(nearest.values)
    return Kinship.of(classes, distances)


def check_shape(gan: TrainedGAN, recipe: Recipe, size: int) -> None:
    """Refuse, before the work, networks that are not of a trained GAN's shape but for the number of classes.

    Raises:
        SettingsError: they are not; what makes the difference is told.
    """
    if size != gan.size:
        raise SettingsError(
            f"the generator to begin with makes images of {gan.size} px, not {size}; give --size {gan.size}, or train "
            "without --pretrained"
        )
    if _shapes(recipe, size) == _shapes(gan.recipe, size):
        return
    theirs, own = (one.model_dump(exclude=_UNSHAPED) for one in (gan.recipe, recipe))
    changed = [name for name in own if own[name] != theirs[name] and _reshapes(gan.recipe, name, own[name], size)]
    told = "; ".join(f"{name} was {theirs[name]}, is now {own[name]}" for name in changed)
    raise SettingsError(
        f"the networks are not those of the generator to begin with ({told}); leave out --recipe and such settings, or "
        "train without --pretrained"
    )


def _shapes(recipe: Recipe, size: int) -> list[dict[str, torch.Size]]:
    networks = empty_networks(recipe, 2, size)
    return [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in networks]


def _reshapes(recipe: Recipe, name: str, value: Any, size: int) -> bool:
    """Return whether a setting by itself makes networks of other shapes, or does not fit to the others."""
    try:
        return _shapes(Recipe(**(recipe.model_dump() | {name: value})), size) != _shapes(recipe, size)
    except (ValidationError, SettingsError):
        return True


def take_over(gan: TrainedGAN, networks: tuple[nn.Module, nn.Module], kinship: Kinship) -> None:
    """Fill new networks with the weights of a trained GAN, which `check_shape` has found to be of the same shape.

    Args:
        gan: the trained GAN.
        networks: the new generator and discriminator, as `recgan.gan.networks.build_networks` gives them.
        kinship: which class of ``gan`` each of theirs begins with.
    """
    fewer, more = (empty_networks(gan.recipe, count, gan.size) for count in (2, 3))
    for network, trained, small, large in zip(networks, (gan.generator, gan.discriminator), fewer, more):
        own, two, three = network_arrays(network), small.state_dict(), large.state_dict()
        placed = {}
        for name, array in network_arrays(trained).items():
            axis, each = _class_axis(two[name].shape, three[name].shape)
            placed[name] = array if axis is None else _of_classes(array, own[name], axis, each, kinship)
        load_network(network, placed)


def begun_with(folder: Path, pretrained: TrainedGAN | None) -> dict[str, Any] | None:
    """Return what the run in ``folder`` began with, as its last checkpoint tells, which has its weights.

    Raises:
        MismatchError: ``pretrained`` is given, and it is not that.
    """
    newest = latest_checkpoint(folder / "checkpoints")
    if newest is None:  # there is nothing to go on with, which is told when it is tried
        return None
    known: dict[str, Any] | None = open_artifact(newest, CHECKPOINT, format_version=FORMAT_VERSION).manifest.config.get(
        "pretrained"
    )
    if pretrained is not None and (known is None or known["gan"] != pretrained.digest):
        what = "no trained generator" if known is None else "another generator"
        raise MismatchError(f"the run in '{folder}' began with {what}; leave out --pretrained")
    return known


def _class_axis(two: torch.Size, three: torch.Size) -> tuple[int | None, int]:
    """Return along which axis a weight that has these shapes with two and with three classes grows, None if it does
    not, and by how much a class."""
    grown = [(axis, larger - size) for axis, (size, larger) in enumerate(zip(two, three)) if larger != size]
    return grown[0] if grown else (None, 0)


def _of_classes(array: np.ndarray, own: np.ndarray, axis: int, each: int, kinship: Kinship) -> np.ndarray:
    """Return a trained weight with the entries of the categories' classes in place of those of its own classes, which
    come last along ``axis``, ``each`` a class; ``own`` are first weights, as the new network was drawn."""
    trained, fresh = np.moveaxis(array, axis, 0), np.moveaxis(own, axis, 0)
    first = len(fresh) - each * len(kinship.classes)
    entries = trained[first:].reshape(-1, each, *trained.shape[1:])[kinship.classes]
    begun = fresh[first:].reshape(entries.shape)
    entries[kinship.alike] = (entries[kinship.alike] + begun[kinship.alike]) / np.sqrt(np.float32(2))  # as varied
    joined = np.concatenate([trained[:first], entries.reshape(-1, *trained.shape[1:])])
    return np.ascontiguousarray(np.moveaxis(joined, 0, axis))
