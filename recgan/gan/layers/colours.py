"""Images as networks make and see them: in colour, or grey."""

from __future__ import annotations

import torch

__all__ = ["channels_of", "seen", "shown"]

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""


def channels_of(colours: str) -> int:
    """Return the channels that a generator computes: 3 for ``rgb``, 1 for ``grey``."""
    return 3 if colours == "rgb" else 1


def shown(maps: torch.Tensor) -> torch.Tensor:
    """Return a generator's last maps [N, 3 or 1, S, S] as images [N, 3, S, S] in [-1, 1]; grey has equal channels."""
    return maps.tanh().expand(-1, 3, -1, -1)


def seen(images: torch.Tensor, colours: str) -> torch.Tensor:
    """Return what a discriminator looks at: images [N, 3, S, S], or their luminance [N, 1, S, S]."""
    if colours == "rgb":
        return images
    weights = torch.tensor(LUMINANCE, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)
