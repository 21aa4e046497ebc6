"""How unlike two pictures are, to a person more than to a ruler: pixels at several scales, and features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recgan.encoders import load_encoder
from recgan.gan.sampling import in_blocks

__all__ = ["Likeness", "pixel_distance"]

SCALES = 3
"""Pixels are compared at the full side, its half and its quarter, so that a shape that is a little off counts less than
one that is not there."""


def pixel_distance(images: Tensor, targets: Tensor) -> Tensor:
    """Return the mean absolute difference of images [N, 3, S, S], averaged over `SCALES` sides, float [N]."""
    total = torch.zeros(len(images), device=images.device)
    difference = images - targets
    for scale in range(SCALES):
        if scale:
            difference = F.avg_pool2d(difference, 2)
        total = total + difference.abs().mean(dim=(1, 2, 3))
    return total / SCALES


class Likeness(nn.Module):
    """``pixel_distance`` plus ``feature_weight`` times the mean squared difference of features, each in units of its
    spread (`fit`); differentiable to the images. A perceptual loss (Johnson et al. 2016) through any encoder of the
    registry."""

    deviation: Tensor

    def __init__(self, extractor: str, size: int, feature_weight: float, device: torch.device) -> None:
        """Args: ``size`` is the side in pixels at which the encoder sees pictures."""
        super().__init__()
        self.encoder = load_encoder(extractor, str(device))
        self.encoder.input_size = size
        self.feature_weight = feature_weight
        self.register_buffer("deviation", torch.ones(self.encoder.dim, device=device))

    def fit(self, pictures: Tensor) -> Likeness:
        """Take the spread of the features over typical pictures [M, 3, S, S] as their unit; return itself."""
        deviation = self.features(pictures).std(dim=0)
        # A feature that hardly varies says nothing, and would be divided by nothing.
        self.deviation.copy_(deviation.clamp(min=0.1 * deviation.mean().item()))
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the features of images [N, 3, S, S], float [N, d], to be given to `forward` again and again."""
        return in_blocks(self.encoder, images)

    def forward(self, images: Tensor, targets: Tensor, target_features: Tensor) -> Tensor:
        """Return how unlike its target each image is, float [N], 0 for the same picture."""
        distance = pixel_distance(images, targets)
        if not self.feature_weight:
            return distance
        apart = (self.encoder(images) - target_features) / self.deviation
        return distance + self.feature_weight * apart.square().mean(dim=1)
