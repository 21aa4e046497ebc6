"""The search for good latents: score many, better the best of each design, keep one.

The search is batched over rows; a row is one latent of one design, whoever the design is for and of whatever class.
Rows are computed in blocks. On the CPU a block never mixes designs and its shape depends on the settings alone, so
that a design is the same to the bit whether it is made alone or among others (the arithmetic of a convolution depends
on the shape of its batch). On an accelerator blocks mix designs and users, for speed, and designs agree to rounding.

Cost of one design, in forward passes of one image through generator and encoder (a backward pass costs about two):
``samples + starts * (3 * steps + 5)`` for the methods that follow gradients, 3 of them for whether a climb's end looks
different from its start; `passes` tells it for all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgan.config import DesignSettings
from recgan.dataset.pixels import to_uint8
from recgan.design.climbing import STRATEGIES, Climb
from recgan.design.objective import Candidates, Objective
from recgan.design.space import Space, finite
from recgan.progress import Progress

__all__ = ["Found", "Preview", "Space", "blocks", "passes", "score", "search"]

Preview = Callable[[int, Callable[[], np.ndarray]], None]
"""Told after each step which design is being climbed (its place), and how to draw it as it is now, uint8 [S, S, 3]."""
_CPU_ROWS = 8
"""At most; larger batches are no faster there, and keep more activations."""
_ACCELERATOR_ROWS = 64
"""About 5 GB of activations through EfficientNet-Lite0."""


@dataclass(frozen=True)
class Found:
    """What the search found, one row a design."""

    z: Tensor
    """Where, float32 [n, dz], on the CPU."""
    pixels: np.ndarray
    """Images, uint8 [n, S, S, 3]."""
    features: Tensor
    """What the encoder sees in those 8-bit images, float32 [n, d], on the search's device."""
    objective: np.ndarray
    """The objective of those 8-bit images, float32 [n]."""
    start: np.ndarray
    """The images that the kept climbs began with, uint8 [n, S, S, 3]."""
    whole: np.ndarray
    """Whether a design's search was ended by nothing but its settings, bool [n]; else by the time."""
    unseen: np.ndarray
    """Whether a design is the sample that its climb began with, since the climb's end, which no time limit cut short,
    looked no different, bool [n]."""


def passes(settings: DesignSettings, eyes: int = 1) -> int:
    """Return what one design costs, those of its pool included, in forward passes of one image through generator and
    encoder; ``eyes`` is how many encoders look at each, those of companions included (of companions that are held back
    only where they look)."""
    s = settings
    held_back = s.validate_by != "none"
    climbing = 1 if held_back else eyes
    per_step = s.population if s.method == "cma_es" else 3
    scored = s.samples if s.starts < s.samples else 0
    looks = (s.steps // s.validate_every + 1) * max(eyes - 1, 1) if held_back else 0
    ends = 3 if s.method == "cma_es" and s.steps else 2
    compared = 3 if s.visible and s.steps else 0
    return s.pool * (climbing * (scored + s.starts * (per_step * s.steps + ends)) + s.starts * (looks + compared))


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
def score(space: Space, objective: Objective, z: Tensor, class_index: Tensor, design: Tensor | None = None) -> Tensor:
    """Return the objective of one block of latents ``z`` [N, dz], float32 [N].

    Raises:
        TrainingError: a value is not finite.
    """
    return finite(objective(space.see(z, class_index, design)))


def search(
    space: Space,
    objective: Objective,
    z: Tensor,
    class_index: int | Tensor,
    settings: DesignSettings,
    progress: Progress,
    preview: Preview | None = None,
    *,
    seeds: Sequence[int] | None = None,
    std: float = 1.0,
    validate: Callable[[Candidates], Tensor] | None = None,
    differs: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None,
    time_limit: float | None = None,
) -> Found:
    """Search from the latents ``z`` [n, samples, dz] of n designs, moved into the space's box; return one candidate a
    design.

    Each design's ``settings.starts`` best samples are bettered by ``settings.method``; of where they end, the one whose
    8-bit image has the highest objective is kept (or that ``validate``, where given, likes best).

    Args:
        space, objective: where, and what for.
        z: the samples.
        class_index: of all designs, or of each, int64 [n].
        settings: the numbers.
        progress: told of each step; raising from it stops the search.
        preview: shown the designs while they are climbed.
        seeds: of the designs, for what a method draws; default: their places.
        std: spread of the space's prior.
        validate: a scorer that is held back (`recgan.design.climbing.Climb.validate`).
        differs: tells which of N ends uint8 [N, S, S, 3] look different from their starts, bool [N], given both and
            their classes; of the others the start is kept. None: all do.
        time_limit: seconds after which no further sample is scored and no further step is made; what was found by
            then is returned (of a design none of whose samples was scored, any of them).

    Raises:
        TrainingError: a value or a gradient is not finite.
        NotFoundError: the method needs a package that is not installed.
    """
    ends = math.inf if time_limit is None else time.monotonic() + time_limit
    designs, samples, dim = z.shape
    device, starts = z.device, settings.starts
    better = STRATEGIES[settings.method]
    classes = torch.as_tensor(class_index, dtype=torch.int64, device=device).expand(designs)
    owner = torch.arange(designs, device=device)
    z = space.inside(z)
    rows = z.reshape(-1, dim)
    whole = np.ones(designs, dtype=bool)
    if starts < samples:
        values = torch.full((len(rows),), -torch.inf, device=device)
        own, of_class = owner.repeat_interleave(samples), classes.repeat_interleave(samples)
        for block in blocks(designs, samples, device):
            if time.monotonic() > ends:
                whole[block.start // samples :] = False
                break
            values[block] = score(space, objective, rows[block], of_class[block], own[block])
            progress("scoring samples", block.stop, len(rows))
        best = values.reshape(designs, samples).topk(starts, dim=1).indices
        rows = z.gather(1, best[:, :, None].expand(-1, -1, dim)).reshape(-1, dim)
    own, of_class = owner.repeat_interleave(starts), classes.repeat_interleave(starts)
    given = list(range(designs)) if seeds is None else seeds
    draws = [np.random.default_rng([seed, place, 7]) for seed in given for place in range(starts)]

    climbed = torch.empty_like(rows)
    pixels: list[np.ndarray] = []
    features: list[Tensor] = []
    values = torch.empty(len(rows), device=device)
    ranks = torch.empty(len(rows), device=device)
    unseen = torch.zeros(len(rows), dtype=torch.bool, device=device)
    parts = list(blocks(designs, starts, device))
    done, total = 0, len(parts) * (settings.steps + 1)
    for number, block in enumerate(parts):

        def over(first: int = block.start, stop: int = block.stop) -> bool:
            if up := time.monotonic() > ends:
                whole[first // starts : (stop - 1) // starts + 1] = False
            return up

        def step(now: Tensor, images: Tensor | None, first: int = block.start) -> None:
            nonlocal done
            if preview is not None and images is not None:
                row = int(now.argmax())
                shown = images[row : row + 1]
                preview((first + row) // starts, lambda: to_uint8(shown)[0])
            done += 1
            progress("climbing", done, total, f"best objective {now.max().item():+.2f}")

        climb = Climb(
            space=space,
            objective=objective,
            z=rows[block],
            class_index=of_class[block],
            settings=settings,
            design=own[block],
            draws=draws[block],
            std=std,
            validate=validate,
            step=step,
            over=over,
        )
        begun = not (settings.steps and over())  # too late: the samples are the designs
        climbed[block] = better(climb) if begun else rows[block]
        seen, image = space.see_rounded(climbed[block], of_class[block], own[block])
        if differs is not None and settings.steps and begun:
            before = to_uint8(space.generator(rows[block], of_class[block]).detach())
            same = ~torch.from_numpy(differs(before, image, of_class[block].cpu().numpy())).to(device)
            unseen[block] = same & torch.from_numpy(whole).to(device)[own[block]]
            if same.any():
                climbed[block] = torch.where(same[:, None], rows[block], climbed[block])
                seen, image = space.see_rounded(climbed[block], of_class[block], own[block])
        with torch.no_grad():
            values[block] = finite(objective(seen))
            ranks[block] = values[block] if validate is None else finite(validate(seen))
        pixels.append(image)
        features.append(seen.features)
        done = number * (settings.steps + 1) + settings.steps  # a climb may have ended early
        step(values[block], None)
    first = torch.arange(designs, device=device) * starts
    chosen = first + ranks.reshape(designs, starts).argmax(dim=1)
    began = np.concatenate(
        [to_uint8(space.generator(rows[row : row + 1], of_class[row : row + 1]).detach()) for row in chosen.tolist()]
    )
    return Found(
        z=climbed[chosen].cpu(),
        pixels=np.concatenate(pixels)[chosen.cpu().numpy()],
        features=torch.cat(features)[chosen],
        objective=values[chosen].cpu().numpy(),
        start=began,
        whole=whole,
        unseen=unseen[chosen].cpu().numpy(),
    )
