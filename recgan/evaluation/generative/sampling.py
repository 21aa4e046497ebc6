"""Samples of a generator for its judge, as many of each class as the photos that they stand beside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from recgan.dataset.pixels import to_uint8
from recgan.errors import DataError
from recgan.gan import TrainedGAN, design_seeds, latents
from recgan.progress import Progress, quiet

__all__ = ["samples"]

_AT_ONCE = 256


def samples(
    gan: TrainedGAN,
    class_index: np.ndarray,
    seed: int,
    step: str = "sampling",
    progress: Progress = quiet,
    *,
    first: int = 0,
    shrink: Callable[[np.ndarray], np.ndarray] = lambda pictures: pictures,
) -> np.ndarray:
    """Return a sample of each class in ``class_index`` [n], uint8 [n, S, S, 3] as ``shrink`` leaves them; ``first`` is
    how many of the seed's latents are passed over.

    Raises:
        DataError: the generator gives pixels that are not numbers.
    """
    z = latents(design_seeds(seed, first + len(class_index))[first:], gan.recipe)
    classes = torch.from_numpy(class_index)
    found = []
    for start in range(0, len(z), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        images = gan.sample(z[part], classes[part])
        if not images.isfinite().all():
            raise DataError("the generator gives pixels that are not numbers; train it anew")
        found.append(shrink(to_uint8(images)))
        progress(step, min(start + _AT_ONCE, len(z)), len(z))
    return np.concatenate(found)
