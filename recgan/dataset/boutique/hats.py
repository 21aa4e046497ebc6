"""Fedoras, sun hats, baseball caps and beanies."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, mirrored, outline
from recgan.dataset.boutique.colours import companion, shaded
from recgan.dataset.boutique.look import Look, chosen, dressed
from recgan.dataset.boutique.patterns import ribs

__all__ = ["hat"]

_STRAWS = "sand cream camel tan brown white blush"
_WOOLS = "black navy grey camel burgundy olive red forest cream mustard teal pink"
_PATTERNS: dict[str, dict[str, float]] = {
    "fedora": {"plain": 5, "melange": 2, "windowpane": 0.6},
    "sun hat": {"plain": 3, "striped": 1, "melange": 2},
    "cap": {"plain": 6, "camouflage": 1, "tartan": 0.5, "denim": 1, "colour-block": 0.8, "dotted": 0.4},
    "beanie": {"ribbed": 5, "striped": 1.5, "cable": 1.5, "multi-stripe": 1.2, "melange": 1},
}


def hat(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a hat: fedora, sun hat, baseball cap or beanie."""
    kind = chosen(rng, {"fedora": 2.2, "sun hat": 2, "cap": 2.6, "beanie": 2.4})
    look = dressed(
        rng,
        colours=_STRAWS if kind == "sun hat" else _WOOLS,
        patterns=_PATTERNS[kind],
        genders={"women": 1} if kind == "sun hat" else {"unisex": 2, "women": 1, "men": 1},
        price={"fedora": 49, "sun hat": 35, "cap": 25, "beanie": 22}[kind],
        share=1.0 if kind == "sun hat" else 0.85,
    )
    {"fedora": _fedora, "sun hat": _fedora, "cap": _cap, "beanie": _beanie}[kind](canvas, rng, look, kind == "sun hat")
    look.details.append(kind)
    return look


def _fedora(canvas: Canvas, rng: np.random.Generator, look: Look, wide: bool) -> None:
    brim = rng.uniform(0.40, 0.44) if wide else rng.uniform(0.33, 0.37)
    crown, y, top = rng.uniform(0.185, 0.21), 0.62, 0.36 if wide else 0.33
    droop = 0.05 if wide else 0.012
    back = mirrored(
        [
            (0.5, y - 0.055),
            (0.5 + brim * 0.7, y - 0.055, 0.5 + brim, y + droop),
            (0.5 + brim * 0.7, y + 0.03, 0.5, y + 0.03),
        ]
    )
    canvas.paint(canvas.mask(back), look.fabric, tint=-0.18, volume=0.6, origin=(0.5, y))
    if wide:
        shape = [(0.5, top), (0.5 + crown, top, 0.5 + crown, y - 0.02), (0.5 + crown, y + 0.02), (0.5, y + 0.05)]
    else:
        shape = [
            (0.5, top + 0.045),
            (0.5 + 0.05, top - 0.005, 0.5 + crown * 0.62, top + 0.005),
            (0.5 + crown * 0.95, top + 0.04, 0.5 + crown, y),
            (0.5, y + 0.05),
        ]
    canvas.paint(canvas.mask(mirrored(shape)), look.fabric, volume=1.3, folds=0.2, origin=(0.5, y), shadow=0.3)
    if not wide:
        canvas.mark(
            canvas.strokes([outline([(0.5, top + 0.05), (0.505, top + 0.11, 0.5, top + 0.15)])], 0.03), strength=0.22
        )
    band = mirrored(
        [
            (0.5, y - 0.042),
            (0.5 + crown * 0.8, y - 0.048, 0.5 + crown + 0.001, y - 0.07),
            (0.5 + crown + 0.003, y - 0.002),
            (0.5 + crown * 0.7, y + 0.045, 0.5, y + 0.045),
        ]
    )
    ribbon = companion(rng, look.colour)[1] if rng.random() < 0.6 else shaded(look.rgb, 0.4)
    canvas.paint(canvas.mask(band), ribbon, volume=0.6, shadow=0.2)
    front = mirrored(
        [
            (0.5, y + 0.022),
            (0.5 + crown * 0.95, y + 0.018, 0.5 + crown + 0.012, y - 0.015),
            (0.5 + brim * 0.86, y - 0.012, 0.5 + brim, y + droop - 0.004),
            (0.5 + brim * 0.72, y + 0.10 + droop, 0.5, y + 0.105 + droop * 0.6),
        ]
    )
    canvas.paint(canvas.mask(front), look.fabric, volume=1.1, shadow=0.5, origin=(0.5, y), tint=0.03)
    if wide and look.pattern != "striped":
        rings = [
            outline(
                [(0.5 - brim * s, y + droop * s), (0.5, y + 0.02 + 0.085 * s * 2 - 0.03, 0.5 + brim * s, y + droop * s)]
            )
            for s in (0.6, 0.75, 0.9)
        ]
        canvas.mark(canvas.strokes(rings, 0.005), strength=0.25)


def _cap(canvas: Canvas, rng: np.random.Generator, look: Look, wide: bool) -> None:
    top, y = 0.285, 0.60
    dome = outline(
        [
            (0.155, y + 0.01),
            (0.15, top + 0.05, 0.33, top + 0.005),
            (0.42, top - 0.02, 0.48, top + 0.01),
            (0.655, top + 0.08, 0.665, y - 0.015),
            (0.45, y + 0.05, 0.155, y + 0.01),
        ]
    )
    canvas.paint(canvas.mask(dome), look.fabric, volume=1.3, origin=(0.4, 0.46))
    canvas.mark(
        canvas.strokes(
            [
                outline([(0.41, top), (0.36, 0.42, 0.36, y + 0.03)]),
                outline([(0.41, top), (0.56, top + 0.11, 0.575, y + 0.01)]),
                outline([(0.41, top), (0.23, top + 0.10, 0.215, y + 0.02)]),
            ],
            0.006,
        ),
        strength=0.35,
    )
    visor_colour = companion(rng, look.colour)[1] if rng.random() < 0.35 else None
    visor = outline(
        [
            (0.42, y + 0.025),
            (0.58, y + 0.02, 0.66, y - 0.035),
            (0.82, y - 0.03, 0.915, y + 0.055),
            (0.93, y + 0.085, 0.88, y + 0.08),
            (0.66, y + 0.075, 0.46, y + 0.055),
            (0.42, y + 0.045, 0.42, y + 0.025),
        ]
    )
    canvas.paint(
        canvas.mask(visor),
        look.fabric if visor_colour is None else visor_colour,
        volume=1.2,
        shadow=0.5,
        origin=(0.4, 0.46),
        tint=-0.02,
    )
    turn = np.linspace(0, 2 * np.pi, 20)
    knob = np.stack([0.41 + 0.022 * np.cos(turn), top - 0.002 + 0.014 * np.sin(turn)], 1)
    canvas.paint(canvas.mask(knob), look.rgb if visor_colour is None else visor_colour, volume=0.4)
    if rng.random() < 0.6:
        patch = np.stack([0.50 + 0.055 * np.cos(turn), 0.47 + 0.055 * np.sin(turn)], 1)
        canvas.paint(canvas.mask(patch), companion(rng, look.colour)[1], volume=0.2, shadow=0.25)


def _beanie(canvas: Canvas, rng: np.random.Generator, look: Look, wide: bool) -> None:
    half, top, y = rng.uniform(0.27, 0.30), rng.uniform(0.26, 0.32), 0.62
    dome = mirrored([(0.5, top), (0.5 + half * 0.95, top, 0.5 + half, y), (0.5 + half, y + 0.1), (0.5, y + 0.11)])
    canvas.paint(canvas.mask(dome), look.fabric, volume=1.4, origin=(0.5, 0.5), folds=0.3)
    turn = np.linspace(0, 2 * np.pi, 44)
    if rng.random() < 0.6:
        r = rng.uniform(0.075, 0.095)
        fluff = r * (1 + 0.07 * np.sin(9 * turn) + 0.05 * np.sin(17 * turn + 1))
        pompom = np.stack([0.5 + fluff * np.cos(turn), top - r * 0.55 + fluff * np.sin(turn)], 1)
        canvas.paint(
            canvas.mask(pompom),
            companion(rng, look.colour)[1] if rng.random() < 0.6 else look.rgb,
            volume=1.2,
            shadow=0.4,
            edge=0.5,
        )
        look.details.append("pompom")
    fold = mirrored(
        [
            (0.5, y - 0.03),
            (0.5 + half * 0.8, y - 0.034, 0.5 + half + 0.012, y - 0.05),
            (0.5 + half + 0.016, y + 0.09),
            (0.5 + half * 0.8, y + 0.12, 0.5, y + 0.125),
        ]
    )
    rib = companion(rng, look.colour)[1] if rng.random() < 0.2 else look.rgb
    canvas.paint(canvas.mask(fold), ribs(rib, 0.034, 0.13), volume=0.9, shadow=0.6, tint=0.02)
