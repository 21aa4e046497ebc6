"""A classifier of a catalogue's own categories, learnt from scratch from its pictures alone.

It judges whether samples are what they were made as, and it is independent of every other eye: no other network took
part in it. It is small, since a generator's pictures are, and a judge must be made anew for every catalogue.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from recgan.dataset.pixels import to_float
from recgan.device import torch_threads
from recgan.gan.layers import initialise
from recgan.gan.training.augment import augment
from recgan.progress import Progress, quiet

__all__ = ["CatalogueClassifier"]

_WIDTHS = (32, 64, 128, 256)
"""Channels after each stage, which halves the side."""
_BATCH = 64
_RATE = 3e-3
_LABEL_SMOOTHING = 0.1
_LOOK_BATCH = 256


class CatalogueClassifier(nn.Module):
    """A small convolutional network: images float [N, 3, S, S] in [-1, 1] -> logits [N, n_classes]."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *_WIDTHS), _WIDTHS):
            layers += [_convolution(before, after, 2), _convolution(after, after, 1)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(_WIDTHS[-1], n_classes)

    @classmethod
    def learnt(
        cls,
        pixels: np.ndarray,
        class_index: np.ndarray,
        n_classes: int,
        *,
        epochs: int,
        seed: int,
        device: torch.device,
        step: str = "training the classifier",
        progress: Progress = quiet,
    ) -> Self:
        """Return a classifier, in eval mode, that has learnt from pictures.

        Args:
            pixels: uint8 [n, S, S, 3], n at least 2.
            class_index: int64 [n].
            epochs: passes over the pictures, mirrored and shifted at random.
            seed: of its weights, order and shifts.
            step: what ``progress`` is told is being done.
        """
        rng = torch.Generator().manual_seed(seed)
        network = cls(n_classes)
        initialise(network, rng, nn.init.kaiming_normal_)
        network.to(device).to(memory_format=torch.channels_last).train()
        batch = min(_BATCH, len(pixels))
        steps = math.ceil(len(pixels) * epochs / batch)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=max(steps, 10))
        order = torch.cat([torch.randperm(len(pixels), generator=rng) for _ in range(epochs + 1)])
        wanted = torch.from_numpy(class_index).to(device)
        with torch_threads():
            for number in range(steps):
                rows = order[number * batch : (number + 1) * batch]
                images = augment(to_float(pixels[rows.numpy()], device), ("flip", "translate"), rng)
                logits = network(images.contiguous(memory_format=torch.channels_last))
                loss = F.cross_entropy(logits, wanted[rows.to(device)], label_smoothing=_LABEL_SMOOTHING)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                progress(step, number + 1, steps)
        return network.eval().requires_grad_(False)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return what its last layer sees, float [N, 256]."""
        return self.body(images).mean(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, n_classes]."""
        return self.head(self.features(images))

    def look(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the class probabilities float64 [n, n_classes] and features float32 [n, 256] of pictures uint8
        [n, S, S, 3]."""
        device = self.head.weight.device
        probabilities, features = [], []
        with torch.inference_mode(), torch_threads():
            for start in range(0, len(pixels), _LOOK_BATCH):
                images = to_float(pixels[start : start + _LOOK_BATCH], device)
                seen = self.features(images.contiguous(memory_format=torch.channels_last))
                features.append(seen.cpu().numpy())
                probabilities.append(self.head(seen).double().softmax(dim=1).cpu().numpy())
        return np.concatenate(probabilities), np.concatenate(features)


def _convolution(before: int, after: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
