"""Realism: the discriminator's logit on a scale that means the same under any loss.

realism(x, c) = (D(x, c) - mean of D(real, c)) / standard deviation of D(real, c), so real images of a class lie at 0
with spread 1. Means and variances of a class are drawn towards those of all classes, as if `PRIOR` further images
had the common ones: a class with few images or none has a scale too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from recgan.gan.sampling import in_blocks

__all__ = ["PRIOR", "real_logits", "realism_scale"]

PRIOR = 16
"""Weight, in images, of the common mean and variance against a class's own."""
BLOCK = 64


@torch.no_grad()
def real_logits(
    discriminator: nn.Module,
    images: Callable[[torch.Tensor], torch.Tensor],
    class_index: torch.Tensor,
) -> np.ndarray:
    """Return D's logits, float64 [N], of N >= 1 images.

    Args:
        discriminator: in eval mode.
        images: gives the images [n, 3, S, S] at indices int64 [n], on the discriminator's device.
        class_index: int64 [N] on the CPU.
    """

    def judge(indices: torch.Tensor) -> torch.Tensor:
        real = images(indices)
        return discriminator(real, class_index[indices].to(real.device))

    return in_blocks(judge, torch.arange(len(class_index)), block=BLOCK).cpu().double().numpy()


def realism_scale(logits: np.ndarray, class_index: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each class's mean and standard deviation of D over real images, float32 [n_classes] each.

    Args:
        logits: float64 [N], N >= 1. Where they do not vary at all, the standard deviation is taken as 1.
        class_index: int64 [N].
    """
    counts = np.bincount(class_index, minlength=n_classes)
    sums = np.bincount(class_index, weights=logits, minlength=n_classes)
    mean = (sums + PRIOR * logits.mean()) / (counts + PRIOR)
    squares = (logits - mean[class_index]) ** 2
    variance = (np.bincount(class_index, weights=squares, minlength=n_classes) + PRIOR * squares.mean()) / (
        counts + PRIOR
    )
    deviation = np.sqrt(variance)
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)
