"""How different two pictures look to a network, by its maps at every level (Zhang et al. 2018)."""

from __future__ import annotations

import numpy as np
import torch

from recgan.dataset.pixels import to_float
from recgan.device import resolve_device, torch_threads
from recgan.encoders.efficientnet_lite import load_efficientnet_lite

__all__ = ["PerceptualDistance"]

_BATCH = 32


class PerceptualDistance:
    """The perceptual distance on the stem and the stages of EfficientNet-Lite2, unweighted: LPIPS without its learnt
    weights, so its values are comparable among themselves only."""

    name = "efficientnet_lite2"
    input_size = 128
    """Side in pixels at which it sees pictures."""

    def __init__(self, device: str = "auto") -> None:
        self._device = resolve_device(device)
        eye = load_efficientnet_lite(2, body="maps", input_size=self.input_size)
        self._eye = eye.to(self._device).to(memory_format=torch.channels_last)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return what is compared of images float [N, 3, H, W] in [-1, 1], float [N, d], differentiably: the distance
        of two is the sum of squares of their difference."""
        return self._eye(images)

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the distances of pairs of pictures uint8 [N, H, W, 3], float64 [N]: 0 for equal ones."""
        found = np.empty(len(left))
        with torch.inference_mode(), torch_threads():
            for start in range(0, len(left), _BATCH):
                part = slice(start, start + _BATCH)
                one, other = (self._eye(to_float(np.array(side[part]), self._device)) for side in (left, right))
                found[part] = (one - other).double().square().sum(dim=1).cpu().numpy()
        return found
