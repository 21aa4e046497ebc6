"""What a design looks like, in words and colours that a buyer can use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from recgan.dataset.style import DESCRIPTOR_NAMES, silhouette, srgb_to_lab, style_descriptors
from recgan.evaluation.gaps.clusters import k_means

__all__ = ["Swatch", "attributes_of", "palette", "style_words"]

_COLOURS = {
    "black": (20, 20, 22),
    "charcoal": (60, 62, 66),
    "grey": (128, 128, 128),
    "silver": (192, 192, 192),
    "white": (250, 250, 250),
    "cream": (245, 235, 210),
    "beige": (215, 195, 160),
    "tan": (190, 150, 105),
    "brown": (115, 75, 45),
    "burgundy": (110, 20, 40),
    "red": (205, 30, 40),
    "coral": (245, 120, 95),
    "orange": (240, 135, 30),
    "mustard": (205, 160, 40),
    "yellow": (250, 220, 60),
    "olive": (110, 110, 50),
    "green": (40, 140, 70),
    "mint": (160, 220, 190),
    "teal": (20, 125, 130),
    "light blue": (150, 195, 230),
    "blue": (40, 95, 200),
    "navy": (25, 35, 80),
    "lavender": (190, 170, 220),
    "purple": (110, 50, 140),
    "magenta": (210, 50, 140),
    "pink": (245, 175, 195),
}
"""Names by a typical sRGB of each."""
_SWATCHES = 4
_SMALLEST = 0.08
"""Share of the figure below which a colour is left out."""
_WORDS = {
    "lightness": ("darker", "lighter", 2.5),
    "green_red": ("greener", "redder", 2.5),
    "blue_yellow": ("bluer", "yellower", 2.5),
    "lightness_spread": ("more even in tone", "richer in contrast", 2.5),
    "colour_spread": ("more of one colour", "more colourful", 2.5),
    "edge_density": ("plainer", "busier", 0.02),
    "periodicity": ("less patterned", "more patterned", 0.05),
    "fill": ("thinner in outline", "fuller in outline", 0.02),
    "aspect": ("wider", "taller", 0.05),
}
"""What little and much of a style descriptor is called, and how far from the stock's median a difference can be seen:
in Lab about 2.3 (Mahy et al. 1994), of the rest by eye."""
_TELLING = 75.0
"""Percentile from which on a difference from the stock is told."""
_MOST_VALUES = 60
"""A column with more values in a category is a name or a number, no attribute."""


@dataclass(frozen=True)
class Swatch:
    """One colour of a picture's figure."""

    hex: str
    name: str
    """The nearest of some two dozen colour names, in CIE Lab."""
    share: float
    """Of the figure's pixels."""


def palette(image: np.ndarray) -> list[Swatch]:
    """Return the main colours of what an image uint8 [S, S, 3] shows, without its ground, the most first: clusters
    by k-means in CIE Lab."""
    pixels = image[silhouette(image[None])[0]]
    lab = srgb_to_lab(pixels).T.astype(np.float64)
    # Starts spread over the lightness, so that nothing is drawn.
    order = np.argsort(lab[:, 0], kind="stable")
    starts = lab[order[np.linspace(0, len(lab) - 1, 2 * _SWATCHES + 1).astype(int)[1::2]]]
    centres, labels = k_means(lab, np.unique(starts, axis=0))
    swatches: dict[str, Swatch] = {}
    for label in range(len(centres)):
        own = pixels[labels == label]
        if len(own) < _SMALLEST * len(pixels):
            continue
        colour = np.median(own, axis=0).round().astype(np.uint8)
        name, share = _colour_name(colour), len(own) / len(pixels)
        if name in swatches:
            larger = max(swatches[name], Swatch(_hex(colour), name, share), key=lambda swatch: swatch.share)
            swatches[name] = Swatch(larger.hex, name, swatches[name].share + share)
        else:
            swatches[name] = Swatch(_hex(colour), name, share)
    return sorted(swatches.values(), key=lambda swatch: -swatch.share)


def style_words(image: np.ndarray, stock: np.ndarray) -> list[str]:
    """Return how an image uint8 [S, S, 3] differs from the stock's uint8 [n, S, S, 3], such as ``darker than 83% of the
    stock``: the style descriptors beyond the middle half, the most telling first."""
    own, others = style_descriptors(image[None])[0], style_descriptors(stock)
    told = []
    for column, name in enumerate(DESCRIPTOR_NAMES):
        below = 100 * float(np.mean(others[:, column] < own[column]))
        above = 100 * float(np.mean(others[:, column] > own[column]))
        less, more, seen = _WORDS[name]
        if max(below, above) >= _TELLING and abs(own[column] - np.median(others[:, column])) >= seen:
            told.append((max(below, above), more if below > above else less))
    return [f"{word} than {share:.0f}% of the stock" for share, word in sorted(told, key=lambda pair: -pair[0])]


def attributes_of(nearest: pd.DataFrame, stock: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Return what most of a design's nearest items have in common: by attribute its value and the share of them that
    have it, where that is at least half.

    Args:
        nearest: rows of the catalogue.
        stock: the category's rows; a column with more than 60 values there is no attribute.
    """
    found = {}
    for column in nearest.columns.difference(["item_id", "category", "available"], sort=False):
        if is_numeric_dtype(stock[column]) or is_datetime64_any_dtype(stock[column]):
            continue
        if stock[column].nunique() <= _MOST_VALUES:
            counts = nearest[column].dropna().astype(str).value_counts()
            if len(counts) and counts.iloc[0] * 2 >= len(nearest):
                found[str(column)] = (str(counts.index[0]), float(counts.iloc[0] / len(nearest)))
    return found


def _colour_name(colour: np.ndarray) -> str:
    known = srgb_to_lab(np.array(list(_COLOURS.values()), dtype=np.uint8)).T
    far = np.linalg.norm(known - srgb_to_lab(colour[None]).T, axis=1)
    return list(_COLOURS)[int(far.argmin())]


def _hex(colour: np.ndarray) -> str:
    return "#" + "".join(f"{int(channel):02x}" for channel in colour)
