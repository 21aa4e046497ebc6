"""What changes with the share of a run that is done, or with the images that it has seen."""

from __future__ import annotations

import math

from torch import nn

__all__ = ["advance", "cosine", "inverse_root"]


def cosine(final: float, share: float) -> float:
    """Return the factor, from 1 at the start to ``final`` at the end, after ``share`` (0 to 1) of the run."""
    return final + (1 - final) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def inverse_root(timescale: float, images_seen: int) -> float:
    """Return the factor 1 / sqrt(1 + images_seen / timescale), or 1 where ``timescale`` is 0: it falls without an end,
    so that a run may be ended or gone on with at any time."""
    return (1 + images_seen / timescale) ** -0.5 if timescale else 1.0


def advance(network: nn.Module, share: float) -> None:
    """Bring the parts of a network that change with the run to where they are after ``share`` (0 to 1) of it."""
    for module in network.modules():
        step = getattr(module, "advance", None)
        if step is not None:
            step(share)
