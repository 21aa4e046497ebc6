"""Latents that depend on their own seed alone, samples in blocks of a fixed shape, and sample sheets.

Convolutions choose their order of summation by the shape of the batch, so an image computed alone may differ in its
last bits from the same image computed among others. Here every batch is cut into blocks of `BLOCK` (the last one
filled up), so that on the CPU the same z gives the same image to the bit, whatever it was asked for together with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from recgan.config import Recipe
from recgan.dataset.pixels import to_uint8
from recgan.dataset.sheets import image_grid

__all__ = ["BLOCK", "design_seeds", "in_blocks", "latent_spread", "latents", "sample", "sample_sheet"]

BLOCK = 16
"""Rows computed together."""


def design_seeds(seed: int, count: int) -> list[int]:
    """Return ``count`` seeds that follow from ``seed``; a larger count only appends to them."""
    return [int(np.random.SeedSequence(seed, spawn_key=(i,)).generate_state(1)[0]) for i in range(count)]


def latents(seeds: Sequence[int], recipe: Recipe) -> torch.Tensor:
    """Return one latent a seed, float32 [len(seeds), latent_dim], from the recipe's prior N(0, latent_std^2), truncated
    where the recipe says so."""
    rows = [_standard_normal(np.random.default_rng(seed), recipe.latent_dim, recipe.truncation) for seed in seeds]
    stacked = np.stack(rows) if rows else np.empty((0, recipe.latent_dim), dtype=np.float32)
    return torch.from_numpy(stacked * np.float32(recipe.latent_std))


def latent_spread(recipe: Recipe) -> float:
    """Return the standard deviation of each number of a latent of the recipe's prior, truncated where it is."""
    bound, variance = recipe.truncation, 1.0
    if bound is not None:  # of a normal distribution cut at +- bound
        density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
        variance = 1 - 2 * bound * density / math.erf(bound / math.sqrt(2))
    return recipe.latent_std * math.sqrt(variance)


def _standard_normal(rng: np.random.Generator, count: int, truncation: float | None) -> np.ndarray:
    values = rng.standard_normal(count, dtype=np.float32)
    while truncation is not None and (far := np.abs(values) > truncation).any():
        values[far] = rng.standard_normal(int(far.sum()), dtype=np.float32)
    return values


def in_blocks(function: Callable[..., torch.Tensor], *inputs: torch.Tensor, block: int = BLOCK) -> torch.Tensor:
    """Return ``function(*inputs)`` computed in blocks of exactly ``block`` rows.

    Args:
        function: takes tensors with ``block`` rows each and returns one whose row i depends on their rows i alone.
        inputs: tensors of one length N >= 1. The last block is filled up with copies of the first row.
    """
    count = len(inputs[0])
    outputs = []
    for start in range(0, count, block):
        rows = torch.arange(start, start + block, device=inputs[0].device)
        rows[rows >= count] = 0
        outputs.append(function(*(tensor[rows] for tensor in inputs))[: count - start])
    return torch.cat(outputs)


@torch.no_grad()
def sample(generator: nn.Module, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
    """Return images float [N, 3, S, S] in [-1, 1] for z [N, latent_dim] and class_index int64 [N], N >= 1.

    ``generator`` is in eval mode and on the same device as its inputs.
    """
    return in_blocks(generator, z, class_index)


def sample_sheet(
    generator: nn.Module,
    recipe: Recipe,
    category_names: Sequence[str],
    train_counts: np.ndarray,
    *,
    rows: int = 20,
    columns: int = 12,
    seed: int = 0,
) -> Image.Image:
    """Return a sheet with one row of samples a class: the first ``columns`` latents of ``seed``, none chosen by eye.

    Every row has the same latents, so a column shows what the class alone changes. With more classes than ``rows``,
    those with the most training images are shown.

    Args:
        generator: in eval mode, on any device.
        train_counts: training images a class, int64 [n_classes]; classes without any are left out.
    """
    by_count = np.argsort(-train_counts, kind="stable")[: min(rows, np.count_nonzero(train_counts))]
    shown = np.sort(by_count)
    device = next(generator.parameters()).device
    z = latents(design_seeds(seed, columns), recipe).repeat(len(shown), 1).to(device)
    class_index = torch.from_numpy(shown).repeat_interleave(columns).to(device)
    pixels = to_uint8(sample(generator, z, class_index))
    size = pixels.shape[1]
    grid = pixels.reshape(len(shown), columns, size, size, 3)
    return image_grid(list(grid), [category_names[index] for index in shown], 2, max(1, 128 // size))
