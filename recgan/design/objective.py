"""What a design is wanted to be: small terms over candidates, added with weights.

A term takes `Candidates` (latents, the images that the generator makes of them, their features) and returns one value
a candidate, higher is better, differentiable back to the latents. Terms look at one candidate at a time: the value of
a row does not depend on the other rows, so a design does not depend on what is computed beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "Candidates",
    "Objective",
    "Term",
    "calibrated_realism",
    "latent_shell",
    "least_squares_realism",
    "preference_term",
]


@dataclass(frozen=True)
class Candidates:
    """N points of the search, seen at every stage of one forward pass."""

    z: Tensor
    """Latents, float32 [N, latent_dim]."""
    class_index: Tensor
    """Class of each, int64 [N]."""
    images: Tensor
    """What the generator makes of them, float32 [N, 3, S, S] in [-1, 1]."""
    features: Tensor
    """What the encoder sees in the images, float32 [N, d]."""


Term = Callable[[Candidates], Tensor]
"""Returns one value a candidate, float32 [N]; higher is better."""


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms."""

    terms: Sequence[tuple[float, Term]]

    def __call__(self, candidates: Candidates) -> Tensor:
        """Return the objective of each candidate, float32 [N]; a term of weight 0 is not computed."""
        total = torch.zeros(len(candidates.z), device=candidates.z.device)
        for weight, term in self.terms:
            if weight:
                total = total + weight * term(candidates)
        return total


def preference_term(preference: Callable[[Tensor], Tensor], *, mean: float = 0.0, std: float = 1.0) -> Term:
    """Return the term ``(preference(features) - mean) / std``.

    With the mean and the standard deviation of a category's real items under the same user, one unit means the same
    for every user: one standard deviation of what the shop has.
    """

    def term(candidates: Candidates) -> Tensor:
        return (preference(candidates.features) - mean) / std

    return term


def least_squares_realism(discriminator: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """Return the term ``-(D(x, c) - 1)^2`` of Kang et al. 2017; ``discriminator`` gives logits [N]."""

    def term(candidates: Candidates) -> Tensor:
        return -((discriminator(candidates.images, candidates.class_index) - 1) ** 2)

    return term


def calibrated_realism(realism: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """Return the term ``min(0, r(x, c))``; ``r`` is in standard deviations from the mean of real images.

    A candidate that looks as real as the average real image pays nothing, and gains nothing by looking more so: past
    that point the discriminator is only flattered. Below it each standard deviation costs one unit.
    """

    def term(candidates: Candidates) -> Tensor:
        return realism(candidates.images, candidates.class_index).clamp(max=0)

    return term


def latent_shell(std: float) -> Term:
    """Return the term ``-(|z| / std - sqrt(dim))^2``: the log density, up to a constant, of the length of z.

    For z ~ N(0, std^2) in many dimensions |z| / std is near N(sqrt(dim), 1/2): the prior's mass is a thin shell, and
    the generator has been trained nowhere else. The direction of z stays free.
    """

    def term(candidates: Candidates) -> Tensor:
        # The epsilon keeps the gradient finite at z = 0.
        length = (candidates.z.square().sum(dim=1) + 1e-12).sqrt() / std
        return -((length - math.sqrt(candidates.z.shape[1])) ** 2)

    return term
