"""A picture's own pixels, small: an eye that no network was trained for.

It sees where which colour is and no more, which makes it weak, but hard to fool: what is to change its features must
change the picture so that people see it. Beside a recommender that looks through a network it can be the companion of a
design search (`recgan.design`).
"""

from __future__ import annotations

from typing import Self

from torch import nn

from recgan.encoders.base import Encoder
from recgan.encoders.registry import register_encoder
from recgan.errors import SettingsError

__all__ = ["ThumbnailEncoder"]

SIDE = 8


class ThumbnailEncoder(Encoder):
    """images float [N, 3, H, W] in [-1, 1] -> their pixels at 8 x 8, antialiased, float [N, 192] in [-1, 1]."""

    def __init__(self) -> None:
        half = (0.5, 0.5, 0.5)
        super().__init__("thumbnail", nn.Flatten(), dim=3 * SIDE**2, input_size=SIDE, mean=half, std=half)

    def at(self, side: int) -> Self:
        """Refuse another side, at which it would be another encoder."""
        raise SettingsError(f"encoder 'thumbnail' sees {SIDE} x {SIDE} pixels; leave out @{side}")


register_encoder("thumbnail", ThumbnailEncoder)
