"""The reader of attributes of one catalogue, learnt once and kept, with its photos as it sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recgan.config import ProofSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import image_split
from recgan.errors import DataError
from recgan.evaluation.designs.attributes import CATEGORY, Attribute, AttributeReader, attributes_of
from recgan.evaluation.designs.figures import Photos
from recgan.evaluation.kept import KeptParts, Part
from recgan.progress import Progress, quiet

__all__ = ["PhotosOf", "Reading", "read_catalogue"]

PhotosOf = Callable[[np.ndarray], np.ndarray]
"""From rows of the catalogue int64 [n] to their first pictures uint8 [n, S, S, 3]."""


@dataclass(frozen=True)
class Reading:
    """A reader, and what it has read."""

    reader: AttributeReader
    attributes: list[Attribute]
    photos: Photos
    """Of training and of test."""
    accuracy: dict[str, float]
    """Of each attribute, on test photos."""

    @property
    def category(self) -> int:
        """The place of the category among the attributes."""
        return next(place for place, one in enumerate(self.attributes) if one.name == CATEGORY)


def read_catalogue(
    bundle: Bundle,
    photos_of: PhotosOf,
    size: int,
    settings: ProofSettings,
    *,
    seed: int,
    device: torch.device,
    progress: Progress = quiet,
) -> Reading:
    """Return the reader of a catalogue, from what is kept beside the bundle or learnt now.

    Args:
        bundle: the catalogue.
        photos_of: its pictures, ``size`` pixels a side.
        size: likewise.
        settings: how many pictures it learns from, for how long, and what it sees.
        seed: of the pictures and of the training.
        device: where it learns and looks.
        progress: told of the training.

    Raises:
        DataError: there are fewer than two pictures to learn from, or to test by.
    """
    train, test = _rows(bundle, settings, seed)
    attributes = attributes_of(bundle)
    reader = _learnt(bundle, attributes, photos_of, size, train, settings, seed, device, progress)
    told, seen_test = reader.look(photos_of(test))
    _, seen_train = reader.look(photos_of(train))
    photos = Photos(seen_train, bundle.category_index[train], seen_test, bundle.category_index[test])
    accuracy = {attribute.name: _accuracy(read, attribute, test) for attribute, read in zip(attributes, told)}
    return Reading(reader, attributes, photos, accuracy)


def _rows(bundle: Bundle, settings: ProofSettings, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the items that it learns from, and those that it is tested by."""
    first = bundle.primary_images
    pictured = np.flatnonzero(first >= 0)
    part = image_split(bundle)[first[pictured]]
    rng = np.random.default_rng([seed, 21])
    train = rng.permutation(pictured[part == 0])[: settings.reader_images]
    test = rng.permutation(pictured[part == 2])[: settings.reader_images]
    if len(train) < 2 or len(test) < 2:
        raise DataError(f"bundle '{bundle.path}' has too few pictures to learn to read attributes from")
    return train, test


def _learnt(
    bundle: Bundle,
    attributes: Sequence[Attribute],
    photos_of: PhotosOf,
    size: int,
    train: np.ndarray,
    settings: ProofSettings,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> AttributeReader:
    sizes = [len(attribute.values) for attribute in attributes]
    side = min(settings.reader_size, size)

    def make() -> Part:
        learnt = AttributeReader.learnt(
            photos_of(train),
            np.stack([attribute.index[train] for attribute in attributes], axis=1),
            sizes,
            side,
            epochs=settings.reader_epochs,
            seed=seed,
            device=device,
            progress=progress,
        )
        return {name: np.atleast_1d(value.cpu().numpy()) for name, value in learnt.state_dict().items()}, {}

    about = {
        "images": bundle.images_digest,
        "catalogue": bundle.catalogue_digest,
        "attributes": [[one.name, list(one.values)] for one in attributes],
        "settings": settings.model_dump(mode="json", include={"reader_images", "reader_epochs", "reader_size"}),
        "size": size,
        "seed": seed,
    }
    arrays, _ = KeptParts(bundle.cache_folder / "reader", about).of("attribute reader", {}, make)
    reader = AttributeReader(sizes, side)
    state = reader.state_dict()
    reader.load_state_dict(
        {name: torch.from_numpy(np.array(arrays[name])).reshape(state[name].shape) for name in state}
    )
    reader.to(device).to(memory_format=torch.channels_last)
    return reader.eval().requires_grad_(False)


def _accuracy(read: np.ndarray, attribute: Attribute, rows: np.ndarray) -> float:
    wanted = attribute.index[rows]
    known = wanted >= 0
    return float((read.argmax(axis=1)[known] == wanted[known]).mean()) if known.any() else float("nan")
