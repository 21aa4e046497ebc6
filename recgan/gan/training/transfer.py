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

import numpy as np
import torch
from torch import nn

from recgan.config import Recipe
from recgan.encoders import load_encoder
from recgan.errors import SettingsError
from recgan.gan.artifact import TrainedGAN
from recgan.gan.data import CatalogueImages
from recgan.gan.networks import empty_networks, load_network, network_arrays
from recgan.gan.sampling import design_seeds, in_blocks, latents
from recgan.resume import differences

__all__ = ["Kinship", "nearest_classes", "take_over"]

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


def take_over(gan: TrainedGAN, networks: tuple[nn.Module, nn.Module], recipe: Recipe, kinship: Kinship) -> None:
    """Fill new networks with the weights of a trained GAN.

    Args:
        gan: the trained GAN.
        networks: the new generator and discriminator, as `recgan.gan.networks.build_networks` gives them.
        recipe: theirs.
        kinship: which class of ``gan`` each of theirs begins with.

    Raises:
        SettingsError: their networks are not of the GAN's shape.
    """
    fewer, more = (empty_networks(gan.recipe, count, gan.size) for count in (2, 3))
    for network, trained, small, large in zip(networks, (gan.generator, gan.discriminator), fewer, more):
        theirs, own = network_arrays(trained), network_arrays(network)
        two, three = small.state_dict(), large.state_dict()
        if own.keys() != theirs.keys():
            raise SettingsError(_other_shape(gan, recipe))
        placed = {}
        for name, array in theirs.items():
            axis, each = _class_axis(two[name].shape, three[name].shape)
            placed[name] = array if axis is None else _of_classes(array, own[name], axis, each, kinship)
            if placed[name].shape != own[name].shape:
                raise SettingsError(_other_shape(gan, recipe))
        load_network(network, placed)


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
    if first < 0 or trained[:first].shape != fresh[:first].shape:
        return array  # of another shape altogether
    entries = trained[first:].reshape(-1, each, *trained.shape[1:])[kinship.classes]
    begun = fresh[first:].reshape(entries.shape)
    entries[kinship.alike] = (entries[kinship.alike] + begun[kinship.alike]) / np.sqrt(np.float32(2))  # as varied
    joined = np.concatenate([trained[:first], entries.reshape(-1, *trained.shape[1:])])
    return np.ascontiguousarray(np.moveaxis(joined, 0, axis))


def _other_shape(gan: TrainedGAN, recipe: Recipe) -> str:
    theirs, own = (one.model_dump(mode="json", exclude=_UNSHAPED) for one in (gan.recipe, recipe))
    changed = "; ".join(differences(theirs, own)) or f"its images have {gan.size} px"
    return (
        f"the networks are not those of the generator to begin with ({changed}); "
        f"leave out --recipe and give --size {gan.size}, or train without --pretrained"
    )
