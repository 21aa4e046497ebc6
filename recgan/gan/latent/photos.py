"""Photos of a catalogue as a generator would draw them: its size, its classes, the pixels of its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import decode_image, letterbox, to_float
from recgan.errors import DataError
from recgan.gan.artifact import TrainedGAN
from recgan.gan.data import training_rows

__all__ = ["Photos", "item_photos"]


@dataclass(frozen=True)
class Photos:
    """The first photos of N items."""

    item_ids: list[str]
    images: Tensor
    """float [N, 3, S, S] in [-1, 1], on the CPU."""
    class_index: Tensor
    """int64 [N]: the generator's class of each item's category."""


def item_photos(
    bundle: Bundle, gan: TrainedGAN, item_ids: Sequence[str] | None = None, *, count: int = 8, seed: int = 0
) -> Photos:
    """Return the photos of items, or, where none is named, of ``count`` drawn by ``seed`` from those whose photo no
    generator was trained on (the test part of `recgan.dataset.split.image_split`).

    Raises:
        NotFoundError: an unknown item, or one of a category that the generator does not know.
        DataError: an item has no photo, or none is held out.
    """
    if item_ids:
        rows = bundle.item_rows(item_ids)
    else:
        known = {name for name, images in zip(gan.category_names, gan.train_images) if images}
        held_out = training_rows(bundle, ("test",))
        of_known = bundle.items["category"].iloc[held_out].isin(known).to_numpy()
        rows = np.random.default_rng(seed).permutation(held_out[of_known])[:count]
        if not len(rows):
            raise DataError(f"bundle '{bundle.path}' holds out no photo of the generator's categories; name items")
    places = bundle.primary_images[rows]
    if (places < 0).any():
        raise DataError(f"item '{bundle.item_ids[rows[places < 0][0]]}' has no photo; name items that have one")
    pixels = np.stack([letterbox(decode_image(data), gan.size) for data in bundle.image_bytes(places)])
    categories = bundle.items["category"].iloc[rows]
    return Photos(
        item_ids=[str(item_id) for item_id in bundle.item_ids[rows]],
        images=to_float(pixels),
        class_index=torch.tensor([gan.class_index(category) for category in categories]),
    )
