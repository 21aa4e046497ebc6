"""Maps of twice the side."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["upsample", "upsample_smoothly"]


def upsample(maps: torch.Tensor) -> torch.Tensor:
    """Double the side of maps [N, C, H, W] by repeating pixels."""
    return F.interpolate(maps, scale_factor=2, mode="nearest")


def upsample_smoothly(maps: torch.Tensor) -> torch.Tensor:
    """Double the side of maps [N, C, H, W] bilinearly: without the blocks that convolutions have to smooth away."""
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
