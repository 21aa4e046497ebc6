"""A trained GAN as an artifact: averaged generator, discriminator, classes, and the scale of its realism.

::

    manifest.json               recipe, size, catalogue digest, images seen, seed, …
    generator.safetensors       weights for sampling (averaged where the recipe averages), batch norm statistics
    discriminator.safetensors
    classes.safetensors         train_images int64 [K], realism_mean and realism_deviation float32 [K]
    categories.json             the K category names, in class order
    sheet.png                   uncurated samples, one row a class
    MODEL_CARD.md               for people: data, training, figures, limits
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from recgan.artifacts import Artifact, ArtifactWriter, Manifest, open_artifact
from recgan.config import Recipe
from recgan.device import resolve_device
from recgan.errors import ArtifactError, NotFoundError, nearest_name
from recgan.gan.card import model_card
from recgan.gan.networks import empty_networks, load_network, network_arrays
from recgan.gan.sampling import sample, sample_sheet

__all__ = ["FORMAT_VERSION", "KIND", "TrainedGAN", "load_gan", "write_parts"]

KIND = "gan"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class TrainedGAN:
    """A trained GAN, ready to sample; networks are in eval mode and their weights take no gradient (inputs do)."""

    generator: nn.Module
    """(z float [N, latent_dim], class_index int64 [N]) -> images float [N, 3, size, size] in [-1, 1]."""
    discriminator: nn.Module
    """(images, class_index) -> raw logits [N]; `realism` puts them on a common scale."""
    recipe: Recipe
    size: int
    """Side of the images in pixels."""
    category_names: tuple[str, ...]
    """A class index is a position in it."""
    train_images: np.ndarray
    """Training images of each class, int64 [n_classes]."""
    realism_mean: torch.Tensor
    """Mean of D over real images of each class, float32 [n_classes], on the device."""
    realism_deviation: torch.Tensor
    """Standard deviation of D over real images of each class, float32 [n_classes], on the device."""
    device: torch.device
    manifest: Manifest
    digest: str
    """Identity of the artifact."""

    @property
    def catalogue_digest(self) -> str:
        """Identity of the catalogue it was trained on (`recgan.dataset.bundle.Bundle.catalogue_digest`)."""
        return self.manifest.parents["catalogue"]

    @property
    def transform(self) -> str:
        """Name of the pixel transform of its training images (`recgan.dataset.pixels.TRANSFORM`)."""
        return self.manifest.facts["transform"]

    @cached_property
    def _class_of(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.category_names)}

    def class_index(self, category: str) -> int:
        """Return the class index of a category.

        Raises:
            NotFoundError: no such category, or one that the GAN saw no training image of.
        """
        index = self._class_of.get(category)
        if index is None:
            hint = nearest_name(category, self.category_names)
            raise NotFoundError(f"the generator has no category '{category}'{hint or self._some_names()}")
        if not self.train_images[index]:
            raise NotFoundError(
                f"category '{category}' had no training image, so nothing can be designed in it; train with more "
                "images of it, or on all parts (--all)"
            )
        return index

    def _some_names(self) -> str:
        shown = ", ".join(self.category_names[:10])
        return f"; it has: {shown}{', …' if len(self.category_names) > 10 else ''}"

    def sample(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return images float [N, 3, size, size] in [-1, 1] for z float [N, latent_dim], class_index int64 [N].

        Computed without gradients in blocks of a fixed shape: see `recgan.gan.sampling`.
        """
        return sample(self.generator, z.to(self.device), class_index.to(self.device))

    def realism(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return the calibrated realism [N] of images [N, 3, size, size] in [-1, 1] as members of class_index int64
        [N]: 0 for the average real image of the class, in standard deviations of real ones. Differentiable."""
        logits = self.discriminator(images, class_index)
        return (logits - self.realism_mean[class_index]) / self.realism_deviation[class_index]

    def card(self) -> str:
        """Return the model card, Markdown: see `recgan.gan.card`."""
        return model_card(
            self.recipe,
            size=self.size,
            categories=self.category_names,
            train_images=self.train_images,
            metrics=self.manifest.metrics,
            facts=self.manifest.facts,
            catalogue=self.catalogue_digest,
        )

    def sheet(self, *, rows: int = 20, columns: int = 12, seed: int = 0) -> Image.Image:
        """Return a sheet of uncurated samples: see `recgan.gan.sampling.sample_sheet`."""
        return sample_sheet(
            self.generator, self.recipe, self.category_names, self.train_images, rows=rows, columns=columns, seed=seed
        )


def write_parts(
    writer: ArtifactWriter,
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    category_names: list[str],
    train_images: np.ndarray,
    realism_mean: np.ndarray,
    realism_deviation: np.ndarray,
    sheet: Image.Image,
    half: bool = False,
) -> None:
    """Write the parts of a GAN artifact that is being made; ``half``: weights as float16."""
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        writer.tensors(name, network_arrays(network, half=half))
    writer.tensors(
        "classes",
        {"train_images": train_images, "realism_mean": realism_mean, "realism_deviation": realism_deviation},
    )
    writer.json("categories", category_names)
    sheet.save(writer.path("sheet.png"))


def load_gan(folder: str | Path, device: str = "auto") -> TrainedGAN:
    """Load a trained GAN from a folder or fsspec URL.

    Raises:
        ArtifactError: not a GAN artifact, incomplete or damaged.
        DeviceError: the device named is not there.
    """
    where = resolve_device(device)
    artifact = open_artifact(folder, KIND, format_version=FORMAT_VERSION)
    try:
        recipe = Recipe(**artifact.manifest.config["recipe"])
    except ValidationError as error:
        raise ArtifactError(
            f"'{folder}': its recipe has settings that this recgan does not know; train it anew"
        ) from error
    size = artifact.manifest.config["size"]
    category_names = artifact.json("categories")
    classes = artifact.tensors("classes")
    generator, discriminator = empty_networks(recipe, len(category_names), size)
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        _fill(network, artifact, name)
        network.to(where, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    return TrainedGAN(
        generator=generator,
        discriminator=discriminator,
        recipe=recipe,
        size=size,
        category_names=tuple(category_names),
        train_images=classes["train_images"],
        realism_mean=torch.from_numpy(classes["realism_mean"]).to(where),
        realism_deviation=torch.from_numpy(classes["realism_deviation"]).to(where),
        device=where,
        manifest=artifact.manifest,
        digest=artifact.digest,
    )


def _fill(network: nn.Module, artifact: Artifact, part: str) -> None:
    try:
        load_network(network, artifact.tensors(part))
    except RuntimeError as error:
        raise ArtifactError(
            f"'{artifact.source}': the {part} does not fit its recipe; it was written by another version: train it anew"
        ) from error
