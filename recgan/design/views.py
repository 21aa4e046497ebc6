"""Random views of candidates: what encoders are shown at a step of the search, so that no gain hangs on a pixel.

A picture is mirrored, cut, blurred and given the noise of a JPEG, all a little and differently at each step
(expectation over transformation: Athalye et al. 2018). What is drawn for a row follows from that row's own generator,
so that a design does not depend on what is computed beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["random_views"]

SHIFT = 0.06
"""Of the side, at most, in each direction."""
ZOOM = 0.1
"""The picture is shown this much larger at most."""
BLUR = 0.8
"""Standard deviation in pixels, at most."""
NOISE = 1.0
"""Of the quantisation of a JPEG of quality 50, at most: half a step up or down in each frequency."""

# Annex K of the JPEG standard (ITU T.81): the usual luminance table.
_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float32,
)


def random_views(images: Tensor, draws: Sequence[np.random.Generator], strength: float = 1.0) -> Tensor:
    """Return one random view of each image, float32 [N, 3, S, S] in [-1, 1], differentiable to the images.

    Args:
        images: float32 [N, 3, S, S] in [-1, 1].
        draws: one generator a row; each is advanced.
        strength: 0 leaves all but the mirroring as it is, 1 is the usual.
    """
    count, side = len(images), images.shape[2]
    told = np.stack([draw.uniform(-1, 1, 5).astype(np.float32) for draw in draws])
    noise = np.stack([draw.uniform(-0.5, 0.5, (3, side, side)).astype(np.float32) for draw in draws])
    given = torch.from_numpy(told).to(images.device)
    mirrored, across, down, zoom, blur = given.unbind(dim=1)
    scale = 1 / (1 + strength * ZOOM * (zoom + 1) / 2)
    place = torch.zeros(count, 2, 3, device=images.device)
    place[:, 0, 0] = torch.where(mirrored < 0, -scale, scale)
    place[:, 1, 1] = scale
    place[:, 0, 2] = 2 * strength * SHIFT * across
    place[:, 1, 2] = 2 * strength * SHIFT * down
    grid = F.affine_grid(place, list(images.shape), align_corners=False)
    seen = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    seen = _blurred(seen, strength * BLUR * (blur + 1) / 2)
    seen = seen + strength * NOISE * _jpeg_noise(torch.from_numpy(noise).to(images.device))
    return seen.clamp(-1, 1)


def _blurred(images: Tensor, std: Tensor) -> Tensor:
    """Return each image blurred by a Gaussian of its own width [N] in pixels."""
    reach = math.ceil(2 * BLUR)
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / std.clamp(min=0.05)[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    count, channels, height, width = images.shape
    wide = kernel.repeat_interleave(channels, dim=0)
    rows = F.pad(images, (reach, reach, reach, reach), mode="replicate").reshape(
        1, count * channels, -1, width + 2 * reach
    )
    rows = F.conv2d(rows, wide[:, None, None, :], groups=count * channels)
    rows = F.conv2d(rows, wide[:, None, :, None], groups=count * channels)
    return rows.reshape(count, channels, height, width)


def _jpeg_noise(uniform: Tensor) -> Tensor:
    """Return noise [N, 3, S, S], in units of [-1, 1] pixels, from uniform draws in [-0.5, 0.5]: as the rounding of a
    JPEG would give it, in each block of 8 x 8."""
    count, channels, side, _ = uniform.shape
    whole = math.ceil(side / 8) * 8
    drawn = F.pad(uniform, (0, whole - side, 0, whole - side))
    parts = drawn.reshape(count, channels, whole // 8, 8, whole // 8, 8)
    basis, steps = (table.to(uniform.device) for table in _tables())
    spread = parts * steps[:, None, :]
    pixels = torch.einsum("ku,ncakbl,lv->ncaubv", basis, spread, basis)
    return pixels.reshape(count, channels, whole, whole)[:, :, :side, :side] / 127.5


@lru_cache(maxsize=1)
def _tables() -> tuple[Tensor, Tensor]:
    """Return the orthonormal DCT-II basis [8 frequencies, 8 places] and the steps [8, 8] of pairs of frequencies."""
    frequency, place = np.arange(8)[:, None], np.arange(8)[None]
    basis = np.sqrt(2 / 8) * np.cos(np.pi * (2 * place + 1) * frequency / 16)
    basis[0] /= np.sqrt(2)
    return torch.tensor(basis, dtype=torch.float32), torch.from_numpy(_STEPS)
