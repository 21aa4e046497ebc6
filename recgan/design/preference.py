"""The terms of an objective that say who would like a design, and how sure that is.

A design is for an *audience*: one user, an anonymous visitor (folded in from what is liked), or a cohort. Eyes see
and judge: the recommender's own or, for robustness, several recommenders', whose disagreement counts against a
design. All is standardised by the real items of the category, user by user and eye by eye, so that one unit means the
same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recgan.design.objective import Candidates, Term

__all__ = ["Cohort", "Eye", "crowd_taste", "crowd_term", "preference_of", "preference_term"]

Cohort = Literal["mean", "min", "share"]
"""How the liking of several users becomes one number: the mean; the least; the share of them who like it more than
their best real item."""
_ALIKE = 1e-6
"""A spread below this share of the scores' size is rounding."""
_SOFTNESS = 0.25
"""Of the share, in standard deviations: a step would have no slope to climb."""


def preference_term(preference: Callable[[Tensor], Tensor], *, mean: float = 0.0, std: float = 1.0) -> Term:
    """Return the term ``(preference(features) - mean) / std``.

    With the mean and the standard deviation of a category's real items under the same user, one unit means the same
    for every user: one standard deviation of what the shop has.
    """

    def term(candidates: Candidates) -> Tensor:
        return (preference(candidates.features) - mean) / std

    return term


@dataclass(frozen=True)
class Eye:
    """One recommender looking at the designs of a search, each for an audience of at most m users."""

    factors: Callable[[Tensor, Tensor], Tensor]
    """From features [N, d] and classes int64 [N] to the factors of items that look so, float32 [N, D]."""
    vectors: Tensor
    """The users' vectors, float32 [n_designs, m, D]; zeros beyond the last user of a design."""
    mean: Tensor
    """What each user's preference is told from, float32 [n_designs, m]."""
    std: Tensor
    """Its unit, float32 [n_designs, m]."""
    encoder: Callable[[Tensor], Tensor] | None = None
    """From images [N, 3, S, S] to features [N, d]; None: the search's own, which has looked already."""

    def liking(self, candidates: Candidates) -> Tensor:
        """Return each user's liking of each candidate, float32 [N, m]."""
        features = candidates.features if self.encoder is None else self.encoder(candidates.viewed)
        factors = self.factors(features, candidates.class_index)
        vectors = self.vectors[candidates.design]
        own = torch.bmm(vectors, factors[:, :, None]).squeeze(2)
        return (own - self.mean[candidates.design]) / self.std[candidates.design]


def crowd_term(factors: Callable[[Tensor, Tensor], Tensor], vectors: Tensor, means: Tensor) -> Term:
    """Return the term of what users in general think of a design.

    A user's vector is an estimate from few items. As in Stein's shrinkage, of two pictures that the user is predicted
    to like as much, the one that people like in general is the surer guess.

    Args:
        factors: as an `Eye`'s.
        vectors, means: what `crowd_taste` gives, of each design's category, float32 [n_designs, D] and [n_designs];
            zeros: the term is 0.
    """

    def term(candidates: Candidates) -> Tensor:
        own = factors(candidates.features, candidates.class_index)
        return (own * vectors[candidates.design]).sum(dim=1) - means[candidates.design]

    return term


def crowd_taste(item_factors: Tensor, user_factors: Tensor) -> tuple[Tensor, float]:
    """Return the mean over users of their liking, each standardised by the items, as a vector float32 [D] and a mean:
    an item of factors q is liked by ``q @ vector - mean``.

    Args:
        item_factors: of the real items of a category, float32 [n, D].
        user_factors: float32 [u, D]; those who like all items alike are left out.
    """
    items, users = item_factors.double(), user_factors.double()
    middle = items.mean(dim=0)
    covariance = (items - middle).T @ (items - middle) / len(items)
    spread = ((users @ covariance) * users).sum(dim=1).clamp(min=0).sqrt()
    counted = spread > _ALIKE * (users.norm(dim=1) * middle.norm() + 1e-12)
    if not counted.any():
        return torch.zeros_like(item_factors[0]), 0.0
    vector = (users[counted] / spread[counted, None]).mean(dim=0)
    return vector.float(), float(vector @ middle)


def preference_of(
    eyes: Sequence[Eye],
    members: Tensor,
    *,
    cohort: Cohort = "mean",
    best: Tensor | None = None,
    kappa: float = 0.0,
) -> Term:
    """Return the term of an audience's liking.

    Args:
        eyes: one or more; of several, a user's liking is their mean less ``kappa`` standard deviations.
        members: bool [n_designs, m]: which places of the audiences are taken.
        cohort: how several users' liking becomes one number.
        best: for ``share``, each user's liking of the best real item, float32 [n_designs, m].
        kappa: how much disagreement counts.
    """

    def term(candidates: Candidates) -> Tensor:
        told = torch.stack([eye.liking(candidates) for eye in eyes])
        liking = told.mean(dim=0)
        if kappa and len(eyes) > 1:
            # The epsilon keeps the gradient finite where all agree.
            liking = liking - kappa * (told.var(dim=0, correction=0) + 1e-12).sqrt()
        there = members[candidates.design]
        if cohort == "min":
            return liking.masked_fill(~there, torch.inf).amin(dim=1)
        if cohort == "share":
            assert best is not None
            liking = torch.sigmoid((liking - best[candidates.design]) / _SOFTNESS)
        return (liking * there).sum(dim=1) / there.sum(dim=1)

    return term
