"""The search for good latents: score many, climb the best of each design, keep one.

The search is batched over rows; a row is one latent of one design. Rows are computed in blocks. On the CPU a block
never mixes designs and its shape depends on the settings alone, so that a design is the same to the bit whether it is
made alone or among others (the arithmetic of a convolution depends on the shape of its batch). On an accelerator blocks
mix designs, for speed, and designs agree to rounding.

Cost of one design, in forward passes of one image through generator and encoder (a backward pass costs about two):
``samples + starts * (3 * steps + 2)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recgan.config import DesignSettings
from recgan.dataset.pixels import to_float, to_uint8
from recgan.design.objective import Candidates, Objective
from recgan.errors import TrainingError
from recgan.progress import Progress

__all__ = ["Found", "Preview", "Space", "blocks", "climb", "score", "search"]

Preview = Callable[[int, Callable[[], np.ndarray]], None]
"""Told after each step which design is being climbed (its place), and how to draw it as it is now, uint8 [S, S, 3]."""
_CPU_ROWS = 8
"""At most; larger batches are no faster there, and keep more activations."""
_ACCELERATOR_ROWS = 64
"""About 5 GB of activations through EfficientNet-Lite0."""


@dataclass(frozen=True)
class Space:
    """Where the search moves: latents, through the generator and the encoder."""

    generator: Callable[[Tensor, Tensor], Tensor]
    encoder: Callable[[Tensor], Tensor]

    def see(self, z: Tensor, class_index: Tensor) -> Candidates:
        """Return the candidates at ``z`` [N, dz], differentiably."""
        images = _finite(self.generator(z, class_index))
        return Candidates(z, class_index, images, self.encoder(images))

    @torch.no_grad()
    def see_rounded(self, z: Tensor, class_index: Tensor) -> tuple[Candidates, np.ndarray]:
        """Return the candidates at ``z`` as real items are seen, from 8-bit pixels, and those pixels
        uint8 [N, S, S, 3]."""
        pixels = to_uint8(_finite(self.generator(z, class_index)))
        images = to_float(pixels, z.device)
        return Candidates(z, class_index, images, self.encoder(images)), pixels


@dataclass(frozen=True)
class Found:
    """What the search found, one row a design."""

    z: Tensor
    """Latents, float32 [n, dz], on the CPU."""
    pixels: np.ndarray
    """Images, uint8 [n, S, S, 3]."""
    features: Tensor
    """What the encoder sees in those 8-bit images, float32 [n, d], on the search's device."""
    objective: np.ndarray
    """The objective of those 8-bit images, float32 [n]."""


def blocks(designs: int, rows_each: int, device: torch.device) -> Iterator[slice]:
    """Yield the blocks of ``designs * rows_each`` rows, which are ordered by design."""
    if device.type == "cpu":
        for first in range(0, designs * rows_each, rows_each):
            for start in range(first, first + rows_each, _CPU_ROWS):
                yield slice(start, min(start + _CPU_ROWS, first + rows_each))
    else:
        for start in range(0, designs * rows_each, _ACCELERATOR_ROWS):
            yield slice(start, min(start + _ACCELERATOR_ROWS, designs * rows_each))


@torch.no_grad()
def score(space: Space, objective: Objective, z: Tensor, class_index: Tensor) -> Tensor:
    """Return the objective of one block of latents ``z`` [N, dz], float32 [N].

    Raises:
        TrainingError: a value is not finite.
    """
    return _finite(objective(space.see(z, class_index)))


def climb(
    space: Space,
    objective: Objective,
    z: Tensor,
    class_index: Tensor,
    *,
    steps: int,
    learning_rate: float,
    keep: str = "best",
    on_step: Callable[[Tensor], None] = lambda values: None,
    on_images: Callable[[Tensor, Tensor], None] = lambda values, images: None,
) -> Tensor:
    """Climb the objective from each row of ``z`` [N, dz] by Adam; return the latents [N, dz] that are kept.

    ``keep="best"`` keeps each row's highest point, its start among them, so climbing never makes a row worse;
    ``"last"`` keeps the last one. ``on_step`` is given each step's values [N]; raising from it stops the climb.
    ``on_images`` is given them with the images [N, 3, S, S] that they are of.

    Raises:
        TrainingError: a value or a gradient is not finite.
    """
    z = z.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([z], lr=learning_rate)
    kept, highest = z.detach().clone(), torch.full((len(z),), -torch.inf, device=z.device)

    def remember(values: Tensor) -> None:
        better = values > highest
        highest[better] = values[better]
        kept[better] = z.detach()[better]

    for _ in range(steps):
        seen = space.see(z, class_index)
        values = _finite(objective(seen))
        remember(values.detach())
        on_images(values.detach(), seen.images.detach())
        (gradient,) = torch.autograd.grad(-values.sum(), z)
        z.grad = _finite(gradient)
        optimiser.step()
        on_step(values.detach())
    if keep == "last" or steps == 0:
        return z.detach()
    remember(score(space, objective, z.detach(), class_index))
    return kept


def search(
    space: Space,
    objective: Objective,
    z: Tensor,
    class_index: int,
    settings: DesignSettings,
    progress: Progress,
    preview: Preview | None = None,
) -> Found:
    """Search from the latents ``z`` [n, samples, dz] of n designs of one class; return one candidate a design.

    Each design's ``settings.starts`` best samples are climbed; of where they end, the one whose 8-bit image has the
    highest objective is kept.

    Raises:
        TrainingError: a value or a gradient is not finite.
    """
    designs, samples, dim = z.shape
    device, starts = z.device, settings.starts
    classes = torch.full((designs * samples,), class_index, dtype=torch.int64, device=device)
    rows = z.reshape(-1, dim)
    if starts < samples:
        values = torch.empty(len(rows), device=device)
        for block in blocks(designs, samples, device):
            values[block] = score(space, objective, rows[block], classes[block])
            progress("scoring samples", block.stop, len(rows))
        best = values.reshape(designs, samples).topk(starts, dim=1).indices
        rows = z.gather(1, best[:, :, None].expand(-1, -1, dim)).reshape(-1, dim)
        classes = classes[: len(rows)]

    climbed = torch.empty_like(rows)
    pixels: list[np.ndarray] = []
    features: list[Tensor] = []
    values = torch.empty(len(rows), device=device)
    parts = list(blocks(designs, starts, device))
    done, total = 0, len(parts) * (settings.steps + 1)

    def step(now: Tensor) -> None:
        nonlocal done
        done += 1
        progress("climbing", done, total, f"best objective {now.max().item():+.2f}")

    def show(first: int, now: Tensor, images: Tensor) -> None:
        if preview is not None:
            row = int(now.argmax())
            preview((first + row) // starts, lambda: to_uint8(images[row : row + 1])[0])

    for block in parts:
        climbed[block] = climb(
            space,
            objective,
            rows[block],
            classes[block],
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            keep=settings.keep,
            on_step=step,
            on_images=partial(show, block.start),
        )
        seen, image = space.see_rounded(climbed[block], classes[block])
        with torch.no_grad():
            values[block] = _finite(objective(seen))
        pixels.append(image)
        features.append(seen.features)
        step(values[block])
    first = torch.arange(designs, device=device) * starts
    chosen = first + values.reshape(designs, starts).argmax(dim=1)
    return Found(
        z=climbed[chosen].cpu(),
        pixels=np.concatenate(pixels)[chosen.cpu().numpy()],
        features=torch.cat(features)[chosen],
        objective=values[chosen].cpu().numpy(),
    )


def _finite(values: Tensor) -> Tensor:
    if not torch.isfinite(values).all():
        raise TrainingError(
            "the design search met values that are not finite; the generator or the recommender is likely to have "
            "diverged: train it again, or lower the search's learning_rate"
        )
    return values
