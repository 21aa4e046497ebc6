"""What the latent tools show: sheets with labels, and moving pictures (GIF, APNG)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from recgan.atomic import atomic_file
from recgan.dataset.pixels import to_uint8
from recgan.dataset.sheets import image_grid
from recgan.errors import SettingsError

__all__ = ["ANIMATIONS", "is_animation", "save_animation", "sheet"]

ANIMATIONS = {".gif": "GIF", ".apng": "PNG"}
"""Endings of moving pictures, and Pillow's name of their format."""
SHOWN = 128
"""Small pictures are enlarged to about this side, by whole numbers."""


def is_animation(path: str | Path) -> bool:
    """Return whether the ending of ``path`` is that of a moving picture."""
    return Path(path).suffix.lower() in ANIMATIONS


def sheet(rows: Sequence[Tensor], labels: Sequence[str], *, title: str = "") -> Image.Image:
    """Return a sheet of rows of images, each float [n, 3, S, S] in [-1, 1] with its own n, one label a row."""
    pixels = [to_uint8(row) for row in rows]
    return image_grid(pixels, labels, 2, max(1, SHOWN // rows[0].shape[-1]), title=title)


def save_animation(frames: Tensor, path: str | Path, *, seconds: float = 4.0) -> Path:
    """Write frames float [T, columns, 3, S, S] in [-1, 1], the columns side by side, as an endless GIF or APNG by the
    ending of ``path``; return the path.

    Raises:
        SettingsError: another ending, or so many frames that each would be shown for less than 20 ms.
        StorageError: the place cannot be written.
    """
    path = Path(path)
    if not is_animation(path):
        raise SettingsError(f"'{path}': moving pictures are written as {', '.join(ANIMATIONS)}")
    milliseconds = round(1000 * seconds / len(frames))
    if milliseconds < 20:
        raise SettingsError(f"{len(frames)} frames in {seconds:g} s are too fast to be shown; take fewer, or more time")
    size = frames.shape[-1]
    scale = max(1, SHOWN // size)
    pixels = to_uint8(frames.flatten(0, 1)).reshape(*frames.shape[:2], size, size, 3)
    shown = [Image.fromarray(_row(frame).repeat(scale, axis=0).repeat(scale, axis=1)) for frame in pixels]
    first, *others = shown
    options = {"optimize": False} if path.suffix.lower() == ".gif" else {}
    with atomic_file(path) as building:
        first.save(
            building,
            format=ANIMATIONS[path.suffix.lower()],
            save_all=True,
            append_images=others,
            duration=milliseconds,
            loop=0,
            **options,
        )
    return path


def _row(frame: np.ndarray) -> np.ndarray:
    """Return images uint8 [columns, S, S, 3] side by side, uint8 [S, columns S, 3]."""
    return frame.transpose(1, 0, 2, 3).reshape(frame.shape[1], -1, 3)
