"""What is edited: an item of the catalogue, an uploaded photo, or a design."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import decode_image, letterbox, load_pixels
from recgan.design.results import Design
from recgan.errors import DataError, ImageRefused, MismatchError, SettingsError
from recgan.gan import TrainedGAN

__all__ = ["Subject", "check_mix", "subject_of_design", "subject_of_item", "subject_of_photo"]


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture that an edit begins with."""

    image: np.ndarray
    """uint8 [S, S, 3], of the generator's size."""
    category: str
    told: dict[str, Any]
    """What it is, for the record of an edit."""
    point: np.ndarray | None = None
    """Where it is in the generator's space, float32 [dz]: known of a design alone."""
    space: str = "z"
    """Of the point."""


def subject_of_item(bundle: Bundle, gan: TrainedGAN, item_id: str) -> Subject:
    """Return an item by its first picture.

    Raises:
        NotFoundError: an unknown item, or one of a category that the generator does not know.
        DataError: it has no picture.
        MismatchError: the generator is of another catalogue.
    """
    if bundle.catalogue_digest != gan.catalogue_digest:
        raise MismatchError(
            f"the GAN was trained on another catalogue than bundle '{bundle.path}'; give its own bundle"
        )
    row = int(bundle.item_rows([item_id])[0])
    place = int(bundle.primary_images[row])
    if place < 0:
        raise DataError(f"item '{item_id}' has no picture to begin with; choose another")
    category = str(bundle.items["category"].iat[row])
    gan.class_index(category)
    pixels = np.array(load_pixels(bundle, gan.size)[place])
    return Subject(pixels, category, {"item": item_id})


def subject_of_photo(data: bytes, category: str, gan: TrainedGAN, *, name: str = "the photo") -> Subject:
    """Return a photo, encoded as JPEG, PNG, WebP, GIF, BMP or TIFF.

    Raises:
        ImageRefused: it is no picture, or is damaged, too small or too large.
        NotFoundError: a category that the generator does not know.
    """
    gan.class_index(category)
    try:
        pixels = letterbox(decode_image(data), gan.size)
    except ImageRefused as error:
        raise ImageRefused(error.reason, f"{name} cannot be used: {error.detail}; give another picture") from error
    return Subject(pixels, category, {"photo": hashlib.sha256(data).hexdigest(), "category": category})


def subject_of_design(design: Design, gan: TrainedGAN) -> Subject:
    """Return a design, from where it lies in the generator's space.

    Raises:
        MismatchError: it was made by another generator.
        DataError: it mixes categories, so no one point of the space makes it.
    """
    if design.settings["gan"]["digest"] != gan.digest:
        raise MismatchError("the design was made by another GAN; edit it with that one")
    if "weights" in design.settings.get("edit", {}):
        raise DataError("the design mixes categories, so it cannot be edited further; begin with another")
    told = {"design": {"seed": design.seed, "category": design.category, "z": [float(value) for value in design.z]}}
    return Subject(design.image, design.category, told, design.z, design.settings["search"]["space"])


def check_mix(start: Subject, end: Subject, gan: TrainedGAN) -> None:
    """Refuse to mix what the generator cannot.

    Raises:
        SettingsError: two categories, and the generator was told none, so that nothing changes from one to the other.
    """
    if start.category != end.category and not gan.recipe.generator_knows_classes:
        raise SettingsError(
            f"this GAN ({gan.recipe.name}) was told no category, so '{start.category}' and '{end.category}' cannot be "
            "mixed; give two pictures of one category"
        )
