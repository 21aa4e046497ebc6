"""Adversarial losses by name; each is two functions, the discriminator's and the generator's.

All are means over the batch of a function of logits [N] and return a scalar. Real images are to get high logits. Real
and fake logits come in pairs of one class: the i-th fake is made as a member of the i-th real image's class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["LOSSES", "Loss", "class_loss", "code_loss", "next_balance"]


@dataclass(frozen=True)
class Loss:
    """One adversarial game: what D minimises and what G minimises."""

    discriminator: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    """(logits of real images [N], logits of fake images [N], target of the real ones) -> scalar. Losses without
    targets take no notice of the last."""
    generator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """(logits of real images [N], logits of fake images [N]) -> scalar. Where not `relativistic`, the first may be
    empty."""
    relativistic: bool = False
    """Whether G's loss looks at the real images too."""
    balanced: bool = False
    """Whether D's fake logits are weighted by the run's balance (`next_balance`)."""


def _least_squares_discriminator(real: torch.Tensor, fake: torch.Tensor, target: float) -> torch.Tensor:
    return ((real - target).square().mean() + fake.square().mean()) / 2


def _least_squares_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return (fake - 1).square().mean()


def _cross_entropy_discriminator(real: torch.Tensor, fake: torch.Tensor, target: float) -> torch.Tensor:
    # -target log D(x) - (1 - target) log(1 - D(x)) = softplus(-logit) + (1 - target) logit
    return F.softplus(-real).mean() + (1 - target) * real.mean() + F.softplus(fake).mean()


def _non_saturating_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(-fake).mean()


def _minimax_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return -F.softplus(fake).mean()


def _hinge_discriminator(real: torch.Tensor, fake: torch.Tensor, target: float) -> torch.Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _wasserstein_discriminator(real: torch.Tensor, fake: torch.Tensor, target: float) -> torch.Tensor:
    return fake.mean() - real.mean()


def _wasserstein_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return -fake.mean()


def _relativistic_discriminator(real: torch.Tensor, fake: torch.Tensor, target: float) -> torch.Tensor:
    return F.softplus(fake - real).mean()


def _relativistic_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(real - fake).mean()


LOSSES = {
    # Mao et al. 2017 with targets 1 (real), 0 (fake), 1 (what G wants), weighted as Kang et al. 2017 release it.
    "least_squares": Loss(_least_squares_discriminator, _least_squares_generator),
    # Goodfellow et al. 2014, section 3: G maximises log D instead of minimising log(1 - D).
    "non_saturating": Loss(_cross_entropy_discriminator, _non_saturating_generator),
    # Goodfellow et al. 2014, equation 1: G minimises log(1 - D), whose gradient vanishes where D is sure.
    "minimax": Loss(_cross_entropy_discriminator, _minimax_generator),
    # Lim & Ye 2017; Miyato et al. 2018.
    "hinge": Loss(_hinge_discriminator, _wasserstein_generator),
    # Arjovsky et al. 2017, algorithm 1.
    "wasserstein": Loss(_wasserstein_discriminator, _wasserstein_generator),
    # Berthelot et al. 2017, section 3.4, with logit = -error: D minimises error(real) - k error(fake).
    "boundary_equilibrium": Loss(_wasserstein_discriminator, _wasserstein_generator, balanced=True),
    # Jolicoeur-Martineau 2019; Sun et al. 2020; Huang et al. 2024, equation 2: each fake against its real partner.
    "relativistic": Loss(_relativistic_discriminator, _relativistic_generator, relativistic=True),
}


def next_balance(
    balance: torch.Tensor, real: torch.Tensor, fake: torch.Tensor, equilibrium: float, rate: float
) -> torch.Tensor:
    """Return BEGAN's next k, a scalar in [0, 1]: k + rate (equilibrium error(real) - error(fake)), where an error is
    minus the mean logit (Berthelot et al. 2017, section 3.4)."""
    return (balance + rate * (fake.mean() - equilibrium * real.mean())).clamp(0, 1)


def class_loss(class_logits: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of naming the class: class_logits [N, n_classes], class_index int64 [N] -> scalar
    (Odena et al. 2017, equation 3)."""
    return F.cross_entropy(class_logits, class_index)


def code_loss(read: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """Return minus the mean log density, up to a constant, of codes [N, d] under what was read, means and log
    variances [N, 2 d] (Chen et al. 2016, equation 5, with a Gaussian for Q)."""
    mean, log_variance = read.chunk(2, dim=1)
    log_variance = log_variance.clamp(-6, 6)  # a code read back nearly exactly must not outweigh all else
    return ((code - mean).square() * (-log_variance).exp() + log_variance).mean() / 2
