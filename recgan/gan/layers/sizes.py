"""What all families have in common: the sides of feature maps, their channels, the slope of a leaky ReLU."""

from __future__ import annotations

from recgan.errors import SettingsError

__all__ = ["GROUPS", "SLOPE", "START", "doublings", "widths"]

START = 4
"""Side in pixels of the smallest feature maps."""
SLOPE = 0.2
"""Of every leaky ReLU."""
GROUPS = 8
"""Groups of a group norm; every layer's channels are a multiple of it."""


def doublings(size: int) -> int:
    """Return how often the side doubles from `START` to ``size``.

    Raises:
        SettingsError: ``size`` is no power of two from 16 on.
    """
    count = size.bit_length() - START.bit_length()
    if size < 16 or START << count != size:
        raise SettingsError(
            f"size {size}: this network makes squares of a power of two from 16 px on; use --size 32 or 64"
        )
    return count


def widths(top: int, size: int, *, last: bool = False) -> list[int]:
    """Return the channels of the layers from 4 x 4 pixels on, one for each side below ``size`` (``last``: and for
    ``size`` itself): ``top``, halved each time, in whole `GROUPS`."""
    return [max(top >> power, GROUPS) // GROUPS * GROUPS for power in range(doublings(size) + last)]
