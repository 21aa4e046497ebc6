"""What changes with the share of a run that is done."""

from __future__ import annotations

import math

from torch import nn

__all__ = ["advance", "cosine"]


def cosine(final: float, share: float) -> float:
    """Return the factor, from 1 at the start to ``final`` at the end, after ``share`` (0 to 1) of the run."""
    return final + (1 - final) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def advance(network: nn.Module, share: float) -> None:
    """Bring the parts of a network that change with the run to where they are after ``share`` (0 to 1) of it."""
    for module in network.modules():
        step = getattr(module, "advance", None)
        if step is not None:
            step(share)
