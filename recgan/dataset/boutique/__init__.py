"""The built-in catalogue: garments, shoes and accessories, drawn.

It needs no download, so the demo and the tests run on it. Silhouette, colour, pattern and detail vary from item to
item; each item is drawn from its own generator, ``default_rng([seed, index])``, so that item 7 is the same whatever the
number of items.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from recgan.dataset.boutique.bags import bag
from recgan.dataset.boutique.boots import boot, pump
from recgan.dataset.boutique.canvas import Canvas
from recgan.dataset.boutique.hats import hat
from recgan.dataset.boutique.jackets import jacket
from recgan.dataset.boutique.legs import shorts, trousers
from recgan.dataset.boutique.look import Look
from recgan.dataset.boutique.shirts import shirt, sweater, t_shirt
from recgan.dataset.boutique.skirts import dress, skirt
from recgan.dataset.boutique.sneakers import sneaker
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import pixel_digest
from recgan.errors import SettingsError
from recgan.progress import Progress, quiet

__all__ = ["CATEGORIES", "draw_item", "make_boutique"]


class _Kind(NamedTuple):
    draw: Callable[[Canvas, np.random.Generator], Look]
    zoom: float
    contact: float
    """Strength of the shadow under what stands on the ground."""


_KINDS = {
    "T-shirt": _Kind(t_shirt, 1.1, 0.0),
    "bag": _Kind(bag, 1.04, 0.3),
    "boot": _Kind(boot, 1.06, 0.4),
    "dress": _Kind(dress, 1.0, 0.0),
    "hat": _Kind(hat, 1.08, 0.0),
    "jacket": _Kind(jacket, 1.1, 0.0),
    "pump": _Kind(pump, 1.08, 0.4),
    "shirt": _Kind(shirt, 1.1, 0.0),
    "shorts": _Kind(shorts, 1.2, 0.0),
    "skirt": _Kind(skirt, 1.12, 0.0),
    "sneaker": _Kind(sneaker, 1.05, 0.4),
    "sweater": _Kind(sweater, 1.1, 0.0),
    "trousers": _Kind(trousers, 1.0, 0.0),
}
CATEGORIES = tuple(_KINDS)
"""The categories, sorted; item ``i`` is of category ``i`` modulo their number."""


def make_boutique(
    out: str | Path,
    *,
    items: int = 3000,
    size: int = 96,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Bundle:
    """Draw a catalogue and write it as a bundle (no interactions; `recgan.dataset.simulate` adds users).

    Args:
        out: the bundle's folder.
        items: number of items, spread evenly over `CATEGORIES`.
        size: side of the pictures in pixels: 64, 72, … 128.
        seed: of the whole catalogue.
        overwrite: replace ``out`` if it exists.
        progress: called every few items.

    Raises:
        SettingsError: ``items``, ``size`` or ``seed`` is out of range.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
    """
    if items < 1:
        raise SettingsError(f"items={items}: the catalogue needs at least one item")
    if not 64 <= size <= 128 or size % 8:
        raise SettingsError(f"size={size}: the catalogue is drawn at 64 to 128 pixels, in steps of 8")
    if seed < 0:
        raise SettingsError(f"seed={seed}: a seed is zero or more")
    rows = []
    with BundleWriter(
        out, name="boutique", licence="CC0-1.0", source=f"drawn by recgan, seed {seed}", overwrite=overwrite
    ) as writer:
        for index in range(items):
            picture, row = draw_item(seed, index, size)
            encoded = io.BytesIO()
            picture.save(encoded, "PNG", compress_level=3)
            writer.add_image(row["item_id"], encoded.getvalue(), sha256=pixel_digest(picture))
            rows.append(row)
            if (index + 1) % 50 == 0 or index + 1 == items:
                progress("drawing the catalogue", index + 1, items)
        writer.set_items(pd.DataFrame(rows))
        writer.facts = {"boutique": {"seed": seed, "size": size}}
    return Bundle.open(out)


def draw_item(seed: int, index: int, size: int = 96) -> tuple[Image.Image, dict[str, Any]]:
    """Draw item ``index`` of the catalogue of ``seed``.

    Returns:
        The RGB picture [size, size] and the item's columns: ``item_id``, ``category``, ``available``, ``name``,
        ``colour``, ``pattern``, ``gender`` and ``price`` (euros).
    """
    rng = np.random.default_rng([seed, index])
    category = CATEGORIES[index % len(CATEGORIES)]
    kind = _KINDS[category]
    ground = rng.uniform(0.965, 0.995) + rng.uniform(-0.004, 0.004, 3)
    canvas = Canvas(size, rng, ground, kind.zoom)
    look = kind.draw(canvas, rng)
    price = max(5, round(look.base_price * float(np.exp(rng.normal(0, 0.28))))) - 0.05
    words = [look.colour, look.pattern, category]
    if look.pattern in ("plain", look.colour):
        words.remove(look.pattern)
    name = f"{' '.join(words)}, {', '.join(look.details)}"
    return canvas.finished(contact=kind.contact), {
        "item_id": f"boutique-{index:05d}",
        "category": category,
        "available": True,
        "name": name[0].upper() + name[1:],
        "colour": look.colour,
        "pattern": look.pattern,
        "gender": look.gender,
        "price": round(price, 2),
    }
