"""The first weights of a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["initialise"]


def initialise(network: nn.Module, generator: torch.Generator, draw: Callable[..., object]) -> None:
    """Set every parameter and statistic of a network anew, all chance from ``generator``.

    Args:
        draw: fills the weight of a linear layer or convolution in place, as ``draw(weight, generator=generator)``.
            Biases begin at 0, embeddings at N(0, 1), norms as torch has them; a layer with ``reset(generator)`` sets
            what is its own.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            draw(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            module.reset_parameters()
        reset = getattr(module, "reset", None)
        if reset is not None:
            reset(generator)
