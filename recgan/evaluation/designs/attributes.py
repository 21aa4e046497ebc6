"""A reader of attributes: a network that has learnt from a catalogue's photos to tell category, colour, gender, ….

It is made anew for every catalogue, from scratch, so that it shares nothing with the encoders that recommenders look
through. It judges whether designs are of their class, and it is the eye of the attribute oracle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import to_float, to_uint8
from recgan.device import torch_threads
from recgan.evaluation.classifier import CatalogueClassifier
from recgan.gan.layers import initialise
from recgan.gan.training.augment import augment
from recgan.progress import Progress, quiet

__all__ = ["Attribute", "AttributeReader", "attributes_of"]

CATEGORY = "category"
_MOST_VALUES = 60
"""Of a column with more it is no attribute but a name."""
_FEWEST = 20
"""Items that a value needs to be learnt."""
_BATCH = 64
_LOOK_BATCH = 256
_RATE = 3e-3


@dataclass(frozen=True)
class Attribute:
    """One attribute of a catalogue's items."""

    name: str
    values: tuple[str, ...]
    index: np.ndarray
    """Value of each item, int64 [n_items]; -1 where it has none that is common enough."""


def attributes_of(bundle: Bundle, names: Sequence[str] | None = None) -> list[Attribute]:
    """Return the catalogue's category and its other attributes that photos may tell: columns of text with 2 to 60
    values that at least 20 items have, or the ones named."""
    items = bundle.items
    found = [Attribute(CATEGORY, tuple(bundle.category_names), bundle.category_index)]
    for name in items.columns if names is None else names:
        if name in ("item_id", CATEGORY) or not pd.api.types.is_string_dtype(items[name].dtype):
            continue
        values = items[name].astype("string").fillna("")
        counts = values[values != ""].value_counts()
        if len(counts) > _MOST_VALUES:
            continue
        common = tuple(sorted(str(value) for value in counts.index[counts >= _FEWEST]))
        if len(common) < 2:
            continue
        index = pd.Index(common).get_indexer(pd.Index(values.astype(object))).astype(np.int64)
        found.append(Attribute(str(name), common, index))
    return found


class AttributeReader(nn.Module):
    """A small convolutional network with one head an attribute: images float [N, 3, S, S] in [-1, 1] -> features."""

    def __init__(self, sizes: Sequence[int], side: int) -> None:
        """Args: ``sizes``: values of each attribute; ``side``: of the pictures that it sees (larger are reduced)."""
        super().__init__()
        self.side = side
        trunk = CatalogueClassifier(2)
        self.body = trunk.body
        width = trunk.head.in_features
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    @classmethod
    def learnt(
        cls,
        pixels: np.ndarray,
        wanted: np.ndarray,
        sizes: Sequence[int],
        side: int,
        *,
        epochs: int,
        seed: int,
        device: torch.device,
        progress: Progress = quiet,
    ) -> Self:
        """Return a reader, in eval mode, that has learnt from pictures.

        Args:
            pixels: uint8 [n, S, S, 3], n at least 2.
            wanted: the value of each attribute, int64 [n, n_attributes]; -1: unknown.
            sizes, side: as of the class.
            epochs: passes over the pictures, mirrored and shifted at random.
            seed: of weights, order and shifts.
        """
        rng = torch.Generator().manual_seed(seed)
        network = cls(sizes, side)
        initialise(network, rng, nn.init.kaiming_normal_)
        network.to(device).to(memory_format=torch.channels_last).train()
        pixels = network.shrunk(pixels)
        batch = min(_BATCH, len(pixels))
        steps = math.ceil(len(pixels) * epochs / batch)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=max(steps, 10))
        order = torch.cat([torch.randperm(len(pixels), generator=rng) for _ in range(epochs + 1)])
        targets = torch.from_numpy(wanted).to(device)
        with torch_threads():
            for number in range(steps):
                rows = order[number * batch : (number + 1) * batch]
                images = augment(to_float(pixels[rows.numpy()], device), ("flip", "translate"), rng)
                seen = network(images.contiguous(memory_format=torch.channels_last))
                loss = seen.new_zeros(())
                for place, head in enumerate(network.heads):
                    of_these = targets[rows.to(device), place]
                    if bool((of_these >= 0).any()):
                        loss = loss + F.cross_entropy(head(seen), of_these, ignore_index=-1, label_smoothing=0.1)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                progress("training the attribute reader", number + 1, steps)
        return network.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the heads look at, float [N, 256]."""
        return self.body(images).mean(dim=(2, 3))

    def shrunk(self, pixels: np.ndarray) -> np.ndarray:
        """Return pictures uint8 [n, S, S, 3] at the side that the reader sees, uint8 [n, s, s, 3]."""
        if pixels.shape[1] <= self.side:
            return pixels
        side = (self.side, self.side)
        parts = [
            to_uint8(
                F.interpolate(
                    to_float(np.array(pixels[start : start + _LOOK_BATCH])), side, mode="bilinear", antialias=True
                )
            )
            for start in range(0, len(pixels), _LOOK_BATCH)
        ]
        return np.concatenate(parts)

    def look(self, pixels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return each attribute's probabilities, float32 [n, values], and features float32 [n, 256] of pictures uint8
        [n, S, S, 3]."""
        device = next(self.heads[0].parameters()).device
        told: list[list[np.ndarray]] = [[] for _ in self.heads]
        features = []
        with torch.inference_mode(), torch_threads():
            for start in range(0, len(pixels), _LOOK_BATCH):
                images = to_float(self.shrunk(np.array(pixels[start : start + _LOOK_BATCH])), device)
                seen = self(images.contiguous(memory_format=torch.channels_last))
                features.append(seen.cpu().numpy())
                for part, head in zip(told, self.heads):
                    part.append(head(seen).softmax(dim=1).cpu().numpy())
        return [np.concatenate(part) for part in told], np.concatenate(features)
