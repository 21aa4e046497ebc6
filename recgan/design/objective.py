"""What a design is wanted to be: small terms over candidates, added with weights.

A term takes `Candidates` (latents, the images that the generator makes of them, their features) and returns one value
a candidate, higher is better, differentiable back to the latents. Terms look at one candidate at a time: the value of
a row does not depend on the other rows, so a design does not depend on what is computed beside it. What differs from
design to design (whom it is for, what it must stay near) a term keeps as one row a design, and looks up by
`Candidates.design`. The terms themselves are in `recgan.design.terms` and `recgan.design.preference`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Candidates", "Objective", "Term"]


@dataclass(frozen=True)
class Candidates:
    """N points of the search, seen at every stage of one forward pass."""

    z: Tensor
    """Where they are in the generator's space, float32 [N, latent_dim]."""
    class_index: Tensor
    """Class of each, int64 [N]."""
    images: Tensor
    """What the generator makes of them, float32 [N, 3, S, S] in [-1, 1]."""
    features: Tensor
    """What the encoder sees in ``viewed``, float32 [N, d]."""
    views: Tensor | None = None
    """What the encoder was shown, if not the images themselves: random views of them, float32 [N, 3, S, S]."""
    owner: Tensor | None = None
    """Which of the designs that are searched together each belongs to, int64 [N]; None: all to the first."""

    @property
    def viewed(self) -> Tensor:
        """What encoders are to be shown, float32 [N, 3, S, S]."""
        return self.images if self.views is None else self.views

    @property
    def design(self) -> Tensor:
        """Which of the designs that are searched together each belongs to, int64 [N]."""
        return torch.zeros_like(self.class_index) if self.owner is None else self.owner


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
