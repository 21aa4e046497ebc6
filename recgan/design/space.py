"""Where the search moves: a generator's latents, seen through its pictures and an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgan.dataset.pixels import to_float, to_uint8
from recgan.design.objective import Candidates
from recgan.design.views import random_views
from recgan.errors import TrainingError

__all__ = ["Space", "finite"]

_EDGE = 0.999
"""Points nearer than this to the wall of a box, or beyond it, are moved here: at the wall tanh is flat."""


@dataclass(frozen=True)
class Space:
    """Latents, through the generator and the encoder."""

    generator: Callable[[Tensor, Tensor], Tensor]
    """From points [N, dz] and classes int64 [N] to images [N, 3, S, S] in [-1, 1]."""
    encoder: Callable[[Tensor], Tensor]
    views: float = 0.0
    """Strength of the random views that the encoder is shown; 0: the images themselves."""
    box: float | None = None
    """Half the side of the box that latents stay in, as tanh keeps them (Kang et al. 2017, section IV-C); None: no
    box."""

    def inside(self, z: Tensor) -> Tensor:
        """Return latents [..., dz] moved into the box, where there is one."""
        return z if self.box is None else z.clamp(-_EDGE * self.box, _EDGE * self.box)

    def unbound(self, z: Tensor) -> Tensor:
        """Return the free variables of latents [N, dz]: themselves, or what tanh makes them of."""
        return z if self.box is None else torch.atanh(self.inside(z) / self.box)

    def bound(self, u: Tensor) -> Tensor:
        """Return the latents of free variables [N, dz], differentiably."""
        return u if self.box is None else self.box * torch.tanh(u)

    def see(
        self,
        z: Tensor,
        class_index: Tensor,
        design: Tensor | None = None,
        draws: Sequence[np.random.Generator] | None = None,
    ) -> Candidates:
        """Return the candidates at ``z`` [N, dz], differentiably; with ``draws``, one generator a row, through random
        views where there are any."""
        images = finite(self.generator(z, class_index))
        views = random_views(images, draws, self.views) if self.views and draws is not None else None
        features = self.encoder(images if views is None else views)
        return Candidates(z, class_index, images, features, views, design)

    @torch.no_grad()
    def see_rounded(
        self, z: Tensor, class_index: Tensor, design: Tensor | None = None
    ) -> tuple[Candidates, np.ndarray]:
        """Return the candidates at ``z`` as real items are seen, from 8-bit pixels, and those pixels
        uint8 [N, S, S, 3]."""
        pixels = to_uint8(finite(self.generator(z, class_index)))
        images = to_float(pixels, z.device)
        return Candidates(z, class_index, images, self.encoder(images), owner=design), pixels


def finite(values: Tensor) -> Tensor:
    """Return the values.

    Raises:
        TrainingError: one is not finite.
    """
    if not torch.isfinite(values).all():
        raise TrainingError(
            "the design search met values that are not finite; the generator or the recommender is likely to have "
            "diverged: train it again, or lower the search's learning_rate"
        )
    return values
