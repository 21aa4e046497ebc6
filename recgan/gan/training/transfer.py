"""Beginning with what another GAN has learnt: a small catalogue profits from the photos of a larger one.

All weights are taken over as they are but those that belong to a class (rows of class embeddings and of classifiers,
columns that one-hot labels meet). Each class of the new catalogue gets those of one class of the other: of the same
name or, where there is none, the one whose samples look most like its photos.
"""

from __future__ import annotations

from collections.abc import Sequence

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

__all__ = ["nearest_classes", "take_over"]

LOOKED_AT = 32
"""Photos of a new class, and samples of a known one, that are compared at most."""
EXTRACTOR, EXTRACTOR_SIZE = "efficientnet_lite0", 128
_UNSHAPED = {"name", "summary", "epochs", "images_seen"}


def nearest_classes(
    gan: TrainedGAN, images: CatalogueImages, category_names: Sequence[str], *, seed: int = 0
) -> np.ndarray:
    """Return for each category the class of ``gan`` to begin with, int64 [n_categories].

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
    with torch.inference_mode():
        of_known = torch.stack(
            [mean_features(gan.sample(z, torch.full((len(z),), int(index), device=gan.device))) for index in known]
        )
        chosen = np.empty(len(category_names), dtype=np.int64)
        for category, name in enumerate(category_names):
            own = np.flatnonzero(images.class_index.numpy() == category)
            if name.casefold() in by_name:
                chosen[category] = by_name[name.casefold()]
            elif not len(own):
                chosen[category] = known[0]  # it is never asked for: no image, no training
            else:
                rows = torch.from_numpy(np.sort(rng.permutation(own)[:LOOKED_AT]))
                looks = mean_features(images.images(rows).to(gan.device))
                chosen[category] = known[int(torch.cdist(looks[None], of_known)[0].argmin())]
    return chosen


def take_over(gan: TrainedGAN, networks: tuple[nn.Module, nn.Module], recipe: Recipe, classes: np.ndarray) -> None:
    """Fill new networks with the weights of a trained GAN.

    Args:
        gan: the trained GAN.
        networks: the new generator and discriminator, as `recgan.gan.networks.build_networks` gives them.
        recipe: theirs.
        classes: the class of ``gan`` that each of theirs begins with, int64 [n_classes].

    Raises:
        SettingsError: their networks are not of the GAN's shape.
    """
    fewer, more = (empty_networks(gan.recipe, count, gan.size) for count in (2, 3))
    for network, trained, small, large in zip(networks, (gan.generator, gan.discriminator), fewer, more):
        theirs, two, three = network_arrays(trained), small.state_dict(), large.state_dict()
        placed = {
            name: _of_classes(array, two[name].shape, three[name].shape, classes) for name, array in theirs.items()
        }
        own = network.state_dict()
        if own.keys() != placed.keys() or any(own[name].shape != array.shape for name, array in placed.items()):
            raise SettingsError(_other_shape(gan, recipe))
        load_network(network, placed)


def _of_classes(array: np.ndarray, two: torch.Size, three: torch.Size, classes: np.ndarray) -> np.ndarray:
    """Return the array with the entries of ``classes`` in place of those of all classes. It has the shapes ``two`` and
    ``three`` with so many classes; along an axis on which they differ, what belongs to the classes comes last."""
    for axis, (size, larger) in enumerate(zip(two, three)):
        if each := larger - size:
            first = size - 2 * each
            entries = first + classes[:, None] * each + np.arange(each)
            array = array.take(np.concatenate([np.arange(first), entries.ravel()]), axis)
    return array


def _other_shape(gan: TrainedGAN, recipe: Recipe) -> str:
    theirs, own = (one.model_dump(mode="json", exclude=_UNSHAPED) for one in (gan.recipe, recipe))
    changed = "; ".join(differences(theirs, own)) or f"its images have {gan.size} px"
    return (
        f"the networks are not those of the generator to begin with ({changed}); "
        f"leave out --recipe and give --size {gan.size}, or train without --pretrained"
    )
