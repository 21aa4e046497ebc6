"""Penalties on the discriminator's gradient."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["r1_penalty"]


def r1_penalty(discriminator: nn.Module, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
    """Return E |d D(x, c) / d x|^2 / 2 over real images, a scalar (R1: Mescheder et al. 2018, equation 9).

    It holds D flat where the real images are, so that its gradient there dies down as G comes near: without it a small
    catalogue's D keeps growing steeper and covers what G makes with texture.

    Args:
        discriminator: judges each image by itself (no batch norm), and is twice differentiable.
        images: float [N, 3, S, S] in [-1, 1].
        class_index: int64 [N].
    """
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(images, class_index).sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2
