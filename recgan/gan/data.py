"""The pictures a GAN learns from: letterboxed uint8 pixels kept where they are used, drawn at random by class."""

from __future__ import annotations

import numpy as np
import torch

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels, to_float
from recgan.dataset.split import IMAGE_PARTS, image_split
from recgan.errors import DataError
from recgan.progress import Progress, quiet

__all__ = ["CatalogueImages", "ClassSampler", "training_rows"]


class CatalogueImages:
    """The first image of each item in one part of a catalogue, at one size.

    On the CPU the pixels stay in the memory map that all processes share; on another device they are copied there
    once, as uint8.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        class_index: np.ndarray,
        device: torch.device,
    ) -> None:
        """Args: ``pixels`` uint8 [M, S, S, 3], of which ``rows`` int64 [n] are used; ``class_index`` int64 [n]."""
        self.device = device
        self.class_index = torch.from_numpy(np.ascontiguousarray(class_index, dtype=np.int64))
        self._pixels = pixels
        self._rows = rows
        self._resident = None if device.type == "cpu" else torch.from_numpy(pixels[rows]).to(device)

    @classmethod
    def of(
        cls, bundle: Bundle, size: int, parts: tuple[str, ...], device: torch.device, progress: Progress = quiet
    ) -> CatalogueImages:
        """Open the images of the named parts (of `recgan.dataset.split.IMAGE_PARTS`) of a bundle."""
        pixels = load_pixels(bundle, size, progress=progress)
        items = training_rows(bundle, parts)
        return cls(pixels, bundle.primary_images[items], bundle.category_index[items], device)

    def __len__(self) -> int:
        return len(self._rows)

    def counts(self, n_classes: int) -> np.ndarray:
        """Number of images of each class, int64 [n_classes]."""
        return np.bincount(self.class_index.numpy(), minlength=n_classes).astype(np.int64)

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the images at ``indices`` int64 [N] (on the CPU) as float [N, 3, S, S] in [-1, 1] on the device."""
        if self._resident is None:
            return to_float(self._pixels[self._rows[indices.numpy()]])
        return to_float(self._resident[indices.to(self.device)], self.device)


def training_rows(bundle: Bundle, parts: tuple[str, ...]) -> np.ndarray:
    """Return the items whose first image lies in one of the named parts, int64 [n], ascending."""
    rows = bundle.primary_images
    wanted = np.isin(image_split(bundle), [IMAGE_PARTS.index(part) for part in parts])
    return np.flatnonzero((rows >= 0) & wanted[rows])


class ClassSampler:
    """Draws images with replacement so that class c, with n_c images, comes in proportion to n_c^power."""

    def __init__(self, class_index: torch.Tensor, power: float) -> None:
        if not len(class_index):
            raise DataError("there is no image to train on; import a catalogue with images")
        counts = torch.bincount(class_index).double()
        weights = counts[class_index] ** (power - 1)
        self._class_index = class_index
        self._cumulative = weights.cumsum(0) / weights.sum()

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return ``count`` indices int64 into the images, by a CPU generator."""
        uniform = torch.rand(count, dtype=torch.float64, generator=generator)
        return torch.searchsorted(self._cumulative, uniform, right=True).clamp_(max=len(self._class_index) - 1)

    def draw_classes(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return ``count`` class indices int64, distributed as those of the drawn images."""
        return self._class_index[self.draw(count, generator)]
