"""What a training run would be, told without training: ``recgan train gan --dry-run``."""

from __future__ import annotations

from typing import Any

from recgan.config import Recipe
from recgan.dataset.bundle import Bundle
from recgan.device import resolve_device
from recgan.errors import DataError
from recgan.gan.artifact import TrainedGAN
from recgan.gan.data import training_rows
from recgan.gan.networks import empty_networks
from recgan.gan.recipes import find_recipe
from recgan.gan.training.trainer import default_length, training_parts
from recgan.gan.training.transfer import check_shape

__all__ = ["plan_gan"]


def plan_gan(
    bundle: Bundle,
    recipe: str | Recipe,
    *,
    size: int = 64,
    images_seen: int | None = None,
    device: str = "auto",
    all_images: bool = False,
    pretrained: TrainedGAN | None = None,
) -> dict[str, Any]:
    """Return everything that `recgan.gan.train_gan` would do with these arguments, JSON-able; nothing is computed or
    written.

    Raises:
        SettingsError, DataError, DeviceError: as `train_gan`.
    """
    recipe = find_recipe(recipe)
    where = resolve_device(device)
    if pretrained is not None:
        check_shape(pretrained, recipe, size)
    generator, discriminator = empty_networks(recipe, len(bundle.category_names), size)
    rows = training_rows(bundle, training_parts(all_images))
    if not len(rows):
        raise DataError(f"bundle '{bundle.path}' has no image in its train part; import more or pass --all")
    length = images_seen if images_seen is not None else default_length(recipe, len(rows))
    steps = -(-length // recipe.batch_size)
    counts = dict.fromkeys(bundle.category_names, 0)
    for index in bundle.category_index[rows]:
        counts[bundle.category_names[index]] += 1
    return {
        "recipe": recipe.model_dump(mode="json"),
        "bundle": bundle.name,
        "device": str(where),
        "size": size,
        "weights": {
            name: sum(parameter.numel() for parameter in network.parameters())
            for name, network in (("generator", generator), ("discriminator", discriminator))
        },
        "images_seen": length,
        "epochs": round(length / len(rows), 2),
        "steps": {"discriminator": steps, "generator": steps // recipe.discriminator_steps},
        "training_images": len(rows),
        "pixels_megabytes": round(len(rows) * size * size * 3 / 1e6, 1),
        "images_by_category": counts,
        "pretrained": None if pretrained is None else pretrained.digest,
    }
