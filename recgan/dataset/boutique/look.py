"""What every drawn category shares: the description of an item, and how its choices are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recgan.dataset.boutique.canvas import Fabric
from recgan.dataset.boutique.colours import draw_colour
from recgan.dataset.boutique.patterns import make_fabric

__all__ = ["Look", "chosen", "dressed"]


@dataclass
class Look:
    """One item's choices; the drawing functions add to ``details`` what they drew."""

    colour: str
    pattern: str
    gender: str
    base_price: float
    rgb: np.ndarray
    fabric: Fabric
    details: list[str] = field(default_factory=list)


def chosen(rng: np.random.Generator, options: Mapping[str, float] | Sequence[str]) -> str:
    """Return one of ``options``, by weight where weights are given."""
    if isinstance(options, Mapping):
        weights = np.array(list(options.values()), dtype=np.float64)
        return str(list(options)[int(rng.choice(len(weights), p=weights / weights.sum()))])
    return str(options[int(rng.integers(len(options)))])


def dressed(
    rng: np.random.Generator,
    *,
    colours: str | Mapping[str, str],
    patterns: Mapping[str, float],
    genders: Mapping[str, float],
    price: float,
    share: float = 0.7,
) -> Look:
    """Draw gender, pattern and colour together.

    Args:
        colours: names of the favourite colours, separated by spaces; or such a text for each gender.
        patterns: weight of each pattern.
        genders: weight of each gender.
        price: median price in euros.
        share: probability that the colour is a favourite.
    """
    gender = chosen(rng, genders)
    pattern = chosen(rng, patterns)
    favourites = colours if isinstance(colours, str) else colours[gender]
    if pattern == "denim":
        favourites, share = "denim denim navy sky black charcoal", 1.0
    name, colour = draw_colour(rng, favourites.split(), share)
    return Look(name, pattern, gender, price, colour, make_fabric(rng, pattern, name, colour))
