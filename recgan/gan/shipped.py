"""The generator that comes with recgan, and the catalogue of pictures that it draws.

Nobody has to bring photos to see photographic recommendations and designs: the generator was trained on photos that are
not shipped, and what it draws is a catalogue of goods that do not exist. It is an ordinary GAN artifact
(`recgan.gan.artifact`) whose weights are float16; its card says what it has learned from and how good it is.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from recgan.artifacts import open_artifact, write_artifact
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import pixel_digest, to_uint8
from recgan.errors import MismatchError, SettingsError
from recgan.gan.artifact import FORMAT_VERSION, KIND, TrainedGAN, load_gan, write_parts
from recgan.gan.card import CARD
from recgan.gan.sampling import design_seeds, latents
from recgan.progress import Progress, quiet

__all__ = ["SHIPPED", "draw_catalogue", "shipped_digest", "shipped_gan", "write_gan"]

SHIPPED = Path(__file__).parent / "shipped"
"""The artifact inside the package."""
_BLOCK = 256


def shipped_gan(device: str = "auto") -> TrainedGAN:
    """Load the generator that comes with recgan.

    Raises:
        ArtifactError: the installation lacks it, or it is damaged.
        DeviceError: the device named is not there.
    """
    return load_gan(SHIPPED, device)


def shipped_digest() -> str:
    """Return the identity of the generator that comes with recgan, without loading it.

    Raises:
        ArtifactError: the installation lacks it, or it is damaged.
    """
    return open_artifact(SHIPPED, KIND, format_version=FORMAT_VERSION).digest


def write_gan(
    gan: TrainedGAN,
    out: str | Path,
    *,
    catalogue: Bundle | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> TrainedGAN:
    """Write a loaded GAN again, as an artifact of its own; its networks, its scale of realism and its card's figures
    stay.

    Args:
        gan: the trained GAN.
        out: folder or fsspec URL.
        catalogue: a bundle with the GAN's categories that it is to belong to from now on, such as one that
            `draw_catalogue` made of it. What it was trained on is kept as the fact ``trained_on``.
        half: weights as float16, for half the size; they are float32 again when they are loaded.
        overwrite: replace ``out`` if it exists.

    Raises:
        MismatchError: ``catalogue`` has other categories.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: ``out`` cannot be written.
    """
    parents, facts = dict(gan.manifest.parents), dict(gan.manifest.facts)
    if catalogue is not None:
        if list(catalogue.category_names) != list(gan.category_names):
            raise MismatchError(
                f"the generator's categories are not those of '{catalogue.path}', so it cannot belong to that "
                "catalogue; train one on it"
            )
        facts["trained_on"] = parents | {"gan": gan.digest}
        parents = {"catalogue": catalogue.catalogue_digest, "images": catalogue.images_digest}
    with write_artifact(
        out,
        kind=KIND,
        format_version=FORMAT_VERSION,
        name=gan.manifest.name,
        config=gan.manifest.config,
        parents=parents,
        overwrite=overwrite,
    ) as writer:
        writer.metrics, writer.facts = dict(gan.manifest.metrics), facts
        write_parts(
            writer,
            generator=gan.generator,
            discriminator=gan.discriminator,
            category_names=list(gan.category_names),
            train_images=gan.train_images,
            realism_mean=gan.realism_mean.cpu().numpy(),
            realism_deviation=gan.realism_deviation.cpu().numpy(),
            sheet=gan.sheet(),
            half=half,
        )
        writer.path(CARD).write_text(gan.card(), encoding="utf-8")
    return load_gan(out, str(gan.device))


def draw_catalogue(
    gan: TrainedGAN,
    out: str | Path,
    *,
    items: int = 3000,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Bundle:
    """Write a bundle whose pictures are samples of a generator (no interactions; `recgan.dataset.simulate` adds users).

    Its name, its licence, its source and every item (``generated``, ``name``) say that the goods do not exist. Item i
    is drawn from the i-th latent of ``seed``, whatever the number of items. The first items are one of each category;
    then come categories by chance, in proportion to the square root of their training photos.

    Args:
        gan: the generator.
        out: the bundle's folder.
        items: number of items.
        seed: of the whole catalogue.
        overwrite: replace ``out`` if it exists.
        progress: called every few items.

    Raises:
        SettingsError: ``items`` or ``seed`` is out of range.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
    """
    if items < 1:
        raise SettingsError(f"items={items}: the catalogue needs at least one item")
    if seed < 0:
        raise SettingsError(f"seed={seed}: a seed is zero or more")
    trained = np.flatnonzero(gan.train_images)
    share = np.sqrt(gan.train_images[trained])
    # One number an item, so that more items only append to fewer.
    drawn = np.random.default_rng([seed, 1]).random(items)
    place = np.searchsorted(share.cumsum() / share.sum(), drawn, side="right").clip(max=len(trained) - 1)
    place[: len(trained)] = np.arange(min(items, len(trained)))
    class_index = trained[place]
    seeds = design_seeds(seed, items)
    rows: list[dict[str, Any]] = []
    with BundleWriter(
        out,
        name=f"generated, {gan.manifest.facts['dataset']}",
        licence=f"generated pictures; the generator learned from photos with the licence: "
        f"{gan.manifest.facts.get('licence') or 'not known'}",
        source=f"drawn by the generator {gan.manifest.name} ({gan.digest[:12]}), seed {seed}: no such goods exist",
        overwrite=overwrite,
    ) as writer:
        for start in range(0, items, _BLOCK):
            block = slice(start, start + _BLOCK)
            images = gan.sample(latents(seeds[block], gan.recipe), torch.from_numpy(class_index[block]))
            for pixels, kind in zip(to_uint8(images), class_index[block]):
                picture, encoded = Image.fromarray(pixels), io.BytesIO()
                picture.save(encoded, "PNG")
                category = gan.category_names[kind]
                item_id = f"generated-{len(rows):05d}"
                writer.add_image(item_id, encoded.getvalue(), sha256=pixel_digest(picture))
                rows.append(
                    {
                        "item_id": item_id,
                        "category": category,
                        "available": True,
                        "name": f"{category}, generated",
                        "generated": True,
                    }
                )
            progress("drawing the catalogue", len(rows), items)
        writer.set_items(pd.DataFrame(rows))
        writer.facts = {"generated": {"gan": gan.digest, "seed": seed}}
    return Bundle.open(out)
