"""Maps of twice or half the side, without the grid that strides of their own weights print."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["DoublingConv2d", "HalvingConv2d", "upsample", "upsample_smoothly"]


def upsample(maps: torch.Tensor) -> torch.Tensor:
    """Double the side of maps [N, C, H, W] by repeating pixels."""
    return F.interpolate(maps, scale_factor=2, mode="nearest")


def upsample_smoothly(maps: torch.Tensor) -> torch.Tensor:
    """Double the side of maps [N, C, H, W] bilinearly: without the blocks that convolutions have to smooth away."""
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


class DoublingConv2d(nn.Conv2d):
    """A 3 x 3 convolution of maps whose side is doubled by repeating pixels, computed as one transposed 4 x 4
    convolution of stride 2: the same numbers for less than half the work.

    A transposed convolution with 16 weights of its own gives every second row and column other weights, and so prints a
    grid (Odena et al. 2016); this one cannot.
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__(width_in, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps [N, width, 2 H, 2 W] of maps [N, width_in, H, W]."""
        weight = _over_two_by_two(self.weight.flip(2, 3)).transpose(0, 1)
        return F.conv_transpose2d(x, weight, self.bias, stride=2, padding=1)


class HalvingConv2d(nn.Conv2d):
    """A 3 x 3 convolution followed by the mean of 2 x 2 pixels, computed as one 4 x 4 convolution of stride 2.

    It looks at all pixels alike, and so does its gradient: a strided convolution's teaches G a grid.
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__(width_in, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps [N, width, H / 2, W / 2] of maps [N, width_in, H, W]."""
        return F.conv2d(x, _over_two_by_two(self.weight) / 4, self.bias, stride=2, padding=1)


def _over_two_by_two(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight [out, in, 3, 3] summed over the four places of a 2 x 2 square: [out, in, 4, 4]."""
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    return rows[..., 1:] + rows[..., :-1]
