"""Whether a climb has changed what is to be seen."""

from __future__ import annotations

import numpy as np
import torch

from recgan.dataset.pixels import to_uint8
from recgan.encoders.perceptual import PerceptualDistance
from recgan.gan import TrainedGAN
from recgan.gan.sampling import design_seeds, latents

__all__ = ["VisibleChange"]

_SAMPLES = 64
_SEED = 60_913
_ALIKE = 0.05
_BLOCK = 8


class VisibleChange:
    """Tells pictures that look different from those that look the same, by `PerceptualDistance`: through another
    network than recommenders look through unless they are told to.

    Two look the same if they are nearer, in perceptual distance, than 95 of 100 pairs that the generator makes of their
    class. What a recommender likes better in such a picture it alone can see. How much anybody likes a picture does not
    enter; but the network is that of the proof's judge B, and the proof's ``invisible`` is told by the same distance.
    """

    def __init__(self, gan: TrainedGAN) -> None:
        self._gan, self._eye = gan, PerceptualDistance(str(gan.device))
        self._alike: dict[int, float] = {}

    def __call__(self, before: np.ndarray, after: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return which pairs of pictures uint8 [N, S, S, 3] of classes int64 [N] look different, bool [N]."""
        # One at a time: the last bits of a convolution depend on its batch.
        far = [self._eye(one[None], other[None])[0] for one, other in zip(before, after)]
        return np.array(far) >= np.array([self.alike(int(index)) for index in classes])

    def alike(self, class_index: int) -> float:
        """Return the distance under which two pictures of a class look the same; it is measured once a class."""
        if class_index not in self._alike:
            z = latents(design_seeds(_SEED, _SAMPLES), self._gan.recipe)
            kind = torch.full((_SAMPLES,), class_index)
            made = [self._gan.sample(z[part], kind[part]) for part in torch.arange(_SAMPLES).split(_BLOCK)]
            pixels = np.concatenate([to_uint8(images) for images in made])
            self._alike[class_index] = float(np.quantile(self._eye(pixels, np.roll(pixels, 1, axis=0)), _ALIKE))
        return self._alike[class_index]
