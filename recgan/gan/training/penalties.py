"""Penalties on the discriminator's gradient and on weights; each returns a scalar."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["clip_weights", "one_centred_penalty", "orthogonal_penalty", "zero_centred_penalty"]


def zero_centred_penalty(discriminator: nn.Module, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
    """Return E |d D(x, c) / d x|^2 / 2: over real images R1, over generated ones R2 (Mescheder et al. 2018, equations
    9 and 10).

    R1 holds D flat where the real images are, so that its gradient there dies down as G comes near: without it a small
    catalogue's D keeps growing steeper and covers what G makes with texture. R2 does the same where G is.

    Args:
        discriminator: judges each image by itself (no batch norm), and is twice differentiable.
        images: float [N, 3, S, S] in [-1, 1].
        class_index: int64 [N].
    """
    return _gradient(discriminator, images, class_index).square().sum(dim=(1, 2, 3)).mean() / 2


def one_centred_penalty(
    discriminator: nn.Module,
    real: torch.Tensor,
    fake: torch.Tensor,
    class_index: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return E (|d D(x, c) / d x| - 1)^2 at x drawn evenly between a real image and a generated one of the same class
    (Gulrajani et al. 2017, equation 3). ``generator`` is a CPU generator; the rest as `zero_centred_penalty`."""
    share = torch.rand(len(real), 1, 1, 1, generator=generator).to(real)
    gradient = _gradient(discriminator, torch.lerp(real, fake, share), class_index)
    # The epsilon keeps the gradient of the norm finite at 0.
    return ((gradient.square().sum(dim=(1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()


def orthogonal_penalty(network: nn.Module) -> torch.Tensor:
    """Return the sum over layers of |W W^T without its diagonal|^2, W having a row an output: filters are to differ,
    their lengths are free (Brock et al. 2019, equation 3). Embeddings, and layers of one output, are left out."""
    weights = [
        module.weight.flatten(1)
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and len(module.weight) > 1
    ]
    products = (weight @ weight.T for weight in weights)
    return torch.stack([product.fill_diagonal_(0).square().sum() for product in products]).sum()


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float) -> None:
    """Hold every parameter of a network within +- ``limit`` (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-limit, limit)


def _gradient(discriminator: nn.Module, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(images, class_index).sum(), images, create_graph=True)
    return gradient
