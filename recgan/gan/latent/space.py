"""The spaces that a generator's pictures are chosen in: ``z``, its prior, and ``w``, where it has one.

z is normal; in many dimensions such points lie near a shell of radius sqrt(dim) times their spread, and a generator has
learned nowhere else. So moves in z keep the length, or follow an arc. w is what a style-based generator's mapping
network makes of z and the class; there straight lines are good, and the mean of a class is its most usual picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan.sampling import design_seeds, in_blocks, latent_spread, latents

__all__ = ["LatentSpace", "lerp", "slerp"]

CENTRE = 1024
"""Latents whose mean w is a class's centre."""
PARALLEL = 1e-4
"""Below this angle in radians an arc is no longer told from a line."""


def lerp(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Return the points at ``shares`` [T] (0 to 1) of the lines from start [N, d] to end [N, d], float [N, T, d]."""
    return torch.lerp(start[:, None], end[:, None], shares.to(start)[None, :, None])


def slerp(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Return the points at ``shares`` [T] (0 to 1) of the arcs from start [N, d] to end [N, d], float [N, T, d].

    Directions turn evenly (Shoemake 1985) while lengths change evenly. Points that are parallel, or opposite (where
    every arc is as good), or 0, are joined by a line.
    """
    shares = shares.to(start)[None, :, None]
    lengths = [point.norm(dim=1)[:, None, None] for point in (start, end)]
    product = lengths[0] * lengths[1]
    cosine = (start * end).sum(dim=1)[:, None, None] / product.clamp(min=1e-12)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    before, after = (
        (share * angle).sin() / sine * point[:, None] / length.clamp(min=1e-12)
        for share, point, length in zip((1 - shares, shares), (start, end), lengths)
    )
    arc = (before + after) * torch.lerp(lengths[0], lengths[1], shares)
    straight = (sine < PARALLEL) | (product == 0) | (shares == 0) | (shares == 1)  # at the ends: to the bit
    return torch.where(straight, lerp(start, end, shares.flatten()), arc)


class LatentSpace:
    """One of a generator's spaces; its points are float [N, dim] on the generator's device.

    A class is an index, int64 [N], or, so that classes can be mixed, weights that add up to 1, float [N, n_classes].
    """

    def __init__(self, generator: nn.Module, recipe: Recipe, name: Literal["auto", "z", "w"] = "auto") -> None:
        """Args: ``generator`` is in eval mode; ``auto`` is w where it has one, else z.

        Raises:
            SettingsError: another name, or w of a generator that has none.
        """
        mapped = hasattr(generator, "mapping")
        if name not in ("auto", "z", "w"):
            raise SettingsError(f"space '{name}': there are z and w (auto: w where the generator has it)")
        if name == "w" and not mapped:
            raise SettingsError(f"a generator of the recipe '{recipe.name}' has no w; use z, or train stylegan-lite")
        self.name: Literal["z", "w"] = ("w" if mapped else "z") if name == "auto" else name
        self.generator = generator
        self.recipe = recipe
        self.device = next(generator.parameters()).device

    @property
    def dim(self) -> int:
        """Numbers of a point."""
        return self.recipe.latent_dim

    @property
    def knows_classes(self) -> bool:
        """Whether the class makes a difference."""
        return self.recipe.generator_knows_classes

    def draw(self, seeds: Sequence[int], classes: Tensor, truncation: float | None = None) -> Tensor:
        """Return one point a seed; row i follows from seed i and class i alone.

        Args:
            truncation: in z, what lies beyond so many standard deviations is drawn again (Brock et al. 2019; None: as
                the recipe says). In w, the share of its distance that a point keeps from the centre of its class
                (Karras et al. 2019; None: all).
        """
        recipe = self.recipe
        if truncation is not None and self.name == "z":
            recipe = recipe.model_copy(update={"truncation": truncation})
        z = latents(seeds, recipe).to(self.device)
        if self.name == "z":
            return z
        w = self._mapped(z, classes)
        return w if truncation is None else torch.lerp(self.centre(classes), w, truncation)

    def centre(self, classes: Tensor) -> Tensor:
        """Return the mean point of each row's class, float [N, dim]: 0 in z, the mean of 1,024 w in w."""
        if self.name == "z":
            return torch.zeros(len(classes), self.dim, device=self.device)
        z = latents(design_seeds(0, CENTRE), self.recipe).to(self.device)
        kinds, kind_of = torch.unique(classes.to(self.device), dim=0, return_inverse=True)
        means = [self._mapped(z, kind.expand(CENTRE, *kind.shape)).mean(dim=0) for kind in kinds]
        return torch.stack(means)[kind_of]

    def decode(self, points: Tensor, classes: Tensor) -> Tensor:
        """Return images float [N, 3, S, S] in [-1, 1], differentiable to the points; in w they hold the class."""
        if self.name == "w":
            return self.generator.synthesis(points)  # type: ignore[operator]
        return self.generator(points, classes)

    @torch.no_grad()
    def images(self, points: Tensor, classes: Tensor) -> Tensor:
        """Return the same without gradients and in blocks of a fixed shape, so that on the CPU an image does not depend
        on what it was asked for together with (`recgan.gan.sampling`)."""
        return in_blocks(self.decode, points.to(self.device), classes.to(self.device))

    def between(self, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
        """Return points on the way from start [N, dim] to end [N, dim], float [N, T, dim]: an arc in z, a line in w."""
        return (slerp if self.name == "z" else lerp)(start, end, shares)

    def settled(self, points: Tensor, like: Tensor) -> Tensor:
        """Return moved points [N, dim] where the generator has learned: in z with the lengths of ``like`` [N, dim],
        from which they came; in w as they are."""
        if self.name == "w":
            return points
        return points * (like.norm(dim=1) / points.norm(dim=1).clamp(min=1e-12))[:, None]

    def combine(self, start: Tensor, plus: Tensor, minus: Tensor, strength: float = 1.0) -> Tensor:
        """Return start [N, dim] + strength (mean of plus [P, dim] - mean of minus [M, dim]), settled: what the one set
        has and the other lacks (Radford et al. 2016, section 6.3.2)."""
        return self.settled(start + strength * (plus.mean(dim=0) - minus.mean(dim=0)), start)

    @property
    def radius(self) -> float:
        """Root mean square length of the prior's z."""
        return latent_spread(self.recipe) * math.sqrt(self.dim)

    @torch.no_grad()
    def _mapped(self, z: Tensor, classes: Tensor) -> Tensor:
        return in_blocks(self.generator.mapping, z, classes.to(self.device))  # type: ignore[arg-type]
