"""The averaged generator: an exponential average of the weights, and batch norm statistics that belong to them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from recgan.gan.layers import SpectralConv2d, SpectralLinear

__all__ = ["average_decay", "calibrate", "copy_buffers", "update_average"]

WARM_UP = 0.1
"""The half-life is at most this share of the images seen so far, so that the first weights are soon forgotten."""


def average_decay(half_life: float, images_seen: int, batch_size: int) -> float:
    """Return the factor by which one batch shrinks the weight of the past in the average.

    Args:
        half_life: images after which a weight's share in the average has halved, once warmed up.
        images_seen: images seen so far, this batch included.
        batch_size: images in this batch.
    """
    return 0.5 ** (batch_size / min(half_life, WARM_UP * images_seen))


@torch.no_grad()
def update_average(average: nn.Module, live: nn.Module, decay: float) -> None:
    """Set each parameter of ``average`` to decay * average + (1 - decay) * live. Buffers are left alone: running
    statistics of other weights do not fit averaged ones (see `calibrate`)."""
    torch._foreach_lerp_(list(average.parameters()), list(live.parameters()), 1 - decay)


@torch.no_grad()
def copy_buffers(average: nn.Module, live: nn.Module) -> None:
    """Give ``average`` the buffers of ``live``: how far it has grown, fixed noise, directions of spectral norms."""
    for own, other in zip(average.buffers(), live.buffers()):
        own.copy_(other)


@torch.no_grad()
def calibrate(generator: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Put ``generator`` into eval mode with statistics that fit its weights.

    Batch norms get the means over ``batches`` of (z, class_index): what the layers would see in training, made
    independent of the batch. Spectral norms go one step further in each batch. Where there are neither, nothing is
    computed.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    spectral = [module for module in generator.modules() if isinstance(module, SpectralConv2d | SpectralLinear)]
    momenta = [norm.momentum for norm in norms]
    generator.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    for module in (*norms, *spectral):
        module.train()
    if norms or spectral:
        for z, class_index in batches:
            generator(z, class_index)
    generator.eval()
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
