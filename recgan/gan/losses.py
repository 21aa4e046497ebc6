"""Adversarial losses by name; each is two functions, the discriminator's and the generator's.

All are means over the batch of a function of logits [N] and return a scalar. Real images are to get high logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["LOSSES", "Loss"]


@dataclass(frozen=True)
class Loss:
    """One adversarial game: what D minimises and what G minimises."""

    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """(logits of real images [N], logits of fake images [M]) -> scalar."""
    generator: Callable[[torch.Tensor], torch.Tensor]
    """(logits of fake images [M]) -> scalar."""


def _least_squares_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def _least_squares_generator(fake: torch.Tensor) -> torch.Tensor:
    return (fake - 1).square().mean()


def _non_saturating_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _non_saturating_generator(fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(-fake).mean()


def _hinge_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _hinge_generator(fake: torch.Tensor) -> torch.Tensor:
    return -fake.mean()


LOSSES = {
    # Mao et al. 2017 with targets 1 (real), 0 (fake), 1 (what G wants), weighted as Kang et al. 2017 release it.
    "least_squares": Loss(_least_squares_discriminator, _least_squares_generator),
    # Goodfellow et al. 2014, section 3: G maximises log D instead of minimising log(1 - D).
    "non_saturating": Loss(_non_saturating_discriminator, _non_saturating_generator),
    # Lim & Ye 2017; Miyato et al. 2018.
    "hinge": Loss(_hinge_discriminator, _hinge_generator),
}
