"""Named colours of the drawn catalogue, what goes with what, and which category likes which."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

__all__ = ["ACCENTS", "COLOURS", "LEATHERS", "companion", "draw_colour", "rgb", "shaded", "varied"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (244, 243, 239),
    "cream": (240, 230, 208),
    "sand": (218, 196, 160),
    "camel": (193, 148, 96),
    "tan": (170, 116, 68),
    "brown": (108, 70, 45),
    "espresso": (66, 46, 37),
    "black": (38, 38, 42),
    "charcoal": (74, 77, 84),
    "grey": (152, 155, 160),
    "silver": (203, 205, 208),
    "navy": (38, 52, 88),
    "denim": (76, 108, 152),
    "sky": (150, 190, 222),
    "cobalt": (42, 88, 186),
    "teal": (30, 118, 122),
    "mint": (170, 214, 192),
    "sage": (146, 166, 136),
    "olive": (108, 112, 62),
    "forest": (40, 84, 60),
    "mustard": (218, 166, 46),
    "lemon": (244, 222, 112),
    "peach": (248, 196, 162),
    "coral": (240, 122, 98),
    "orange": (232, 124, 46),
    "terracotta": (190, 92, 64),
    "red": (198, 42, 48),
    "burgundy": (112, 30, 48),
    "blush": (240, 200, 196),
    "pink": (232, 136, 164),
    "fuchsia": (204, 48, 116),
    "lilac": (192, 170, 216),
    "plum": (104, 54, 100),
}
"""Name to sRGB, 0-255."""

LEATHERS = "black espresso brown tan camel burgundy navy cream forest red"
ACCENTS = ("red", "coral", "mustard", "cobalt", "teal", "fuchsia", "forest", "orange", "pink", "lemon")

_COMPANIONS: dict[str, tuple[str, ...]] = {
    "white": ("navy", "black", "red", "sky", "forest", "cobalt", "coral"),
    "cream": ("brown", "terracotta", "forest", "navy", "burgundy", "camel"),
    "sand": ("white", "brown", "navy", "terracotta", "olive"),
    "camel": ("cream", "espresso", "navy", "white"),
    "tan": ("cream", "espresso", "navy"),
    "brown": ("cream", "sand", "camel", "peach"),
    "espresso": ("cream", "camel", "blush"),
    "black": ("white", "cream", "grey", "red", "camel", "mustard"),
    "charcoal": ("white", "silver", "lemon", "sky", "pink"),
    "grey": ("white", "navy", "black", "coral", "lemon"),
    "silver": ("white", "navy", "charcoal", "pink"),
    "navy": ("white", "cream", "red", "sky", "mustard", "camel"),
    "denim": ("white", "cream", "navy", "sand"),
    "sky": ("white", "navy", "cream", "coral"),
    "cobalt": ("white", "lemon", "black", "sky"),
    "teal": ("cream", "mustard", "white", "coral"),
    "mint": ("white", "forest", "coral", "navy"),
    "sage": ("cream", "forest", "white", "terracotta"),
    "olive": ("cream", "sand", "black", "mustard"),
    "forest": ("cream", "mint", "camel", "red"),
    "mustard": ("cream", "navy", "brown", "white"),
    "lemon": ("white", "cobalt", "grey", "forest"),
    "peach": ("white", "terracotta", "sage", "brown"),
    "coral": ("white", "cream", "navy", "peach"),
    "orange": ("white", "navy", "cream", "brown"),
    "terracotta": ("cream", "sand", "forest", "peach"),
    "red": ("white", "black", "navy", "cream"),
    "burgundy": ("cream", "blush", "camel", "navy"),
    "blush": ("white", "burgundy", "grey", "fuchsia"),
    "pink": ("white", "red", "burgundy", "cream"),
    "fuchsia": ("white", "black", "orange", "blush"),
    "lilac": ("white", "plum", "lemon", "navy"),
    "plum": ("lilac", "cream", "mustard", "blush"),
}


def rgb(name: str) -> np.ndarray:
    """Return a named colour as float32 [3] in [0, 1]."""
    return np.array(COLOURS[name], dtype=np.float32) / 255


def draw_colour(rng: np.random.Generator, favourites: Sequence[str], share: float = 0.6) -> tuple[str, np.ndarray]:
    """Return a colour's name and its slightly varied value: one of ``favourites`` with probability ``share``."""
    names = favourites if rng.random() < share else list(COLOURS)
    name = names[int(rng.integers(len(names)))]
    return name, varied(rng, rgb(name))


def companion(rng: np.random.Generator, name: str) -> tuple[str, np.ndarray]:
    """Return a colour that goes well with the one named."""
    names = _COMPANIONS[name]
    other = names[rng.integers(len(names))]
    return other, varied(rng, rgb(other))


def varied(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Return a near neighbour of a colour: no two dye lots are the same."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*colour.tolist())
    hue = (hue + rng.normal(0, 0.008)) % 1
    lightness = float(np.clip(lightness + rng.normal(0, 0.018), 0.12, 0.96))
    saturation = float(np.clip(saturation * (1 + rng.normal(0, 0.07)), 0, 1))
    return np.array(colorsys.hls_to_rgb(hue, lightness, saturation), dtype=np.float32)


def shaded(colour: np.ndarray, factor: float) -> np.ndarray:
    """Return ``colour`` darker (factor < 1) or, towards white, lighter (factor > 1)."""
    if factor <= 1:
        return colour * np.float32(factor)
    return 1 - (1 - colour) * np.float32(2 - factor)
