"""Dresses and skirts."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, Point, mirrored, outline, shifted
from recgan.dataset.boutique.colours import companion, rgb, shaded
from recgan.dataset.boutique.cut import Cut, body_mask, both, buttons, inside_back, sleeves
from recgan.dataset.boutique.look import Look, chosen, dressed

__all__ = ["dress", "skirt"]

_BRIGHT = "red black navy coral teal forest lilac mustard blush white cobalt fuchsia sage"


def dress(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a dress."""
    look = dressed(
        rng,
        colours=_BRIGHT,
        patterns={
            "plain": 5,
            "floral": 4,
            "dotted": 2,
            "striped": 1.2,
            "sprigged": 1.5,
            "ombre": 1,
            "gingham": 1,
            "colour-block": 1,
            "multi-stripe": 0.7,
            "leopard": 0.6,
            "tartan": 0.5,
        },
        genders={"women": 1},
        price=69,
    )
    skirt_kind = chosen(rng, {"A-line": 3, "full": 2.2, "straight": 2})
    length = chosen(rng, {"mini": 2, "midi": 3, "maxi": 2})
    sleeve = chosen(rng, {"sleeveless": 2.5, "strappy": 2, "short": 2, "long": 1.4})
    neck = "scoop" if sleeve == "strappy" else chosen(rng, {"crew": 1.5, "v": 2, "scoop": 1.5, "boat": 1})
    top = {"mini": 0.12, "midi": 0.10, "maxi": 0.055}[length]
    bottom = {"mini": 0.86, "midi": 0.90, "maxi": 0.955}[length]
    size = {"mini": 1.06, "midi": 0.86, "maxi": 0.76}[length]
    waist_y = top + 0.30 * size
    hem = {"A-line": 0.20, "full": 0.285, "straight": 0.125}[skirt_kind] * rng.uniform(0.92, 1.1) * (0.9 + 0.1 * size)
    bare = sleeve in ("sleeveless", "strappy")
    cut = Cut(
        neck=(0.095 if bare else 0.08) * size,
        shoulder=(0.135 if bare else 0.165) * size,
        chest=0.155 * size,
        waist=0.13 * size,
        hem=0.122 * size,
        top=top,
        slope=0.02 * size,
        armpit=top + 0.175 * size,
        bottom=waist_y + 0.012,
        round_hem=0.004,
    )
    dip = {"crew": 0.05, "v": 0.13, "scoop": 0.10, "boat": 0.035}[neck] * size
    waist, hip = 0.122 * size, 0.17 * size
    folds = {"A-line": 0.8, "full": 1.3, "straight": 0.5}[skirt_kind]
    drop = bottom - waist_y
    if sleeve == "strappy":
        strap = np.array([[0.5 + 0.088 * size, top + 0.13 * size], [0.5 + 0.075 * size, top - 0.01]])
        canvas.paint(canvas.strokes(both(strap), 0.016), look.fabric, volume=0.2)
        bodice = mirrored(
            [
                (0.5, top + 0.125 * size),
                (0.5 + 0.05 * size, top + 0.12 * size, 0.5 + 0.095 * size, top + 0.105 * size),
                (0.5 + 0.13 * size, top + 0.13 * size, 0.5 + 0.145 * size, cut.armpit + 0.01),
                (0.5 + 0.128 * size, waist_y - 0.06, 0.5 + waist, waist_y + 0.012),
                (0.5, waist_y + 0.014),
            ]
        )
        body = canvas.mask(bodice)
    else:
        inside_back(canvas, cut, dip, neck, look.fabric)
        if not bare:
            reach, angle, cuff = (0.19, 36, 0.11) if sleeve == "short" else (0.50, 17, 0.07)
            sleeves(
                canvas,
                look,
                cut,
                length=reach * size,
                angle=angle,
                cuff=cuff * size,
                flare=rng.choice([0.0, 0.03]) * size,
            )
        body = body_mask(canvas, cut, dip, neck)
    skirt_half: list[Point] = [(0.5, waist_y), (0.5 + waist, waist_y)]
    if skirt_kind == "straight":
        skirt_half += [
            (0.5 + hip * 1.02, waist_y + drop * 0.10, 0.5 + hip, waist_y + drop * 0.38),
            (0.5 + hip * 0.98, bottom - drop * 0.3, 0.5 + hem, bottom - 0.006),
        ]
    else:
        skirt_half += [
            (
                0.5 + waist + (hem - waist) * (0.55 if skirt_kind == "full" else 0.38),
                waist_y + drop * 0.32,
                0.5 + hem,
                bottom - 0.022,
            )
        ]
    skirt_half += [(0.5 + hem * 0.5, bottom + 0.012, 0.5, bottom)]
    canvas.paint(canvas.mask(mirrored(skirt_half)), look.fabric, folds=folds, origin=(0.5, waist_y))
    canvas.paint(body, look.fabric, folds=0.35, shadow=0.3, origin=(0.5, waist_y))
    if skirt_kind == "full" and rng.random() < 0.35:
        for share in (0.38, 0.7):
            y, x = waist_y + drop * share, waist + (hem - waist) * (share + 0.12)
            canvas.mark(
                canvas.strokes([outline([(0.5 - x, y - 0.012), (0.5, y + 0.016, 0.5 + x, y - 0.012)])], 0.010),
                strength=0.45,
            )
        look.details.append("tiered")
    belt = rng.random()
    if belt < 0.35:
        colour = companion(rng, look.colour)[1] if belt < 0.2 else shaded(look.rgb, 0.62)
        band = outline(
            [
                (0.5 - waist - 0.004, waist_y - 0.014),
                (0.5, waist_y - 0.008, 0.5 + waist + 0.004, waist_y - 0.014),
                (0.5 + waist + 0.006, waist_y + 0.02),
                (0.5, waist_y + 0.027, 0.5 - waist - 0.006, waist_y + 0.02),
            ]
        )
        canvas.paint(canvas.mask(band), colour, volume=0.3, shadow=0.4)
        look.details.append("belted")
    else:
        canvas.mark(
            canvas.strokes([outline([(0.5 - waist, waist_y), (0.5, waist_y + 0.008, 0.5 + waist, waist_y)])], 0.006),
            strength=0.4,
        )
    look.details += [skirt_kind, length, "strappy" if sleeve == "strappy" else sleeve if bare else f"{sleeve} sleeves"]
    return look


def skirt(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a skirt."""
    kind = chosen(rng, {"A-line": 3, "pencil": 2, "pleated": 3, "wrap": 1.3})
    look = dressed(
        rng,
        colours="black navy camel burgundy forest red blush denim sage mustard plum cream",
        patterns={
            "plain": 5,
            "tartan": 2.2,
            "floral": 1.8,
            "dotted": 1.2,
            "striped": 1,
            "denim": 1 if kind != "pleated" else 0,
            "gingham": 1,
            "leopard": 0.7,
            "windowpane": 0.6,
            "sprigged": 0.8,
        },
        genders={"women": 1},
        price=45,
    )
    bottom = rng.uniform(0.66, 0.74) if rng.random() < 0.4 else rng.uniform(0.80, 0.90)
    top = 0.5 - (bottom - 0.14) * 0.5 + 0.02
    bottom = top + (bottom - 0.14)
    waist = rng.uniform(0.155, 0.175)
    hem = {"A-line": 0.30, "pencil": 0.185, "pleated": 0.33, "wrap": 0.24}[kind] * rng.uniform(0.92, 1.06)
    drop = bottom - top
    half: list[Point] = [(0.5, top + 0.012), (0.5 + waist * 0.6, top + 0.01, 0.5 + waist, top)]
    if kind == "pencil":
        half += [
            (0.5 + 0.225, top + drop * 0.12, 0.5 + 0.225, top + drop * 0.4),
            (0.5 + 0.22, bottom - drop * 0.3, 0.5 + hem, bottom - 0.008),
        ]
    else:
        half += [(0.5 + waist + (hem - waist) * 0.5, top + drop * 0.28, 0.5 + hem, bottom - 0.03)]
    half += [(0.5 + hem * 0.5, bottom + 0.012, 0.5, bottom)]
    mask = canvas.mask(mirrored(half))
    canvas.paint(mask, look.fabric, folds={"A-line": 0.8, "pencil": 0.4, "pleated": 0.2, "wrap": 0.6}[kind])
    if kind == "pleated":
        count = int(rng.integers(5, 8))
        edges = np.linspace(-1, 1, 2 * count + 1)[1:-1]
        pleats = [np.array([[0.5 + x * waist, top + 0.05], [0.5 + x * hem, bottom + 0.01]]) for x in edges]
        canvas.mark(canvas.strokes(pleats, 0.007), strength=0.5)
        canvas.mark(canvas.strokes([shifted(p, 0.012, 0) for p in pleats], 0.016), strength=0.16)
        canvas.mark(canvas.strokes([shifted(p, -0.012, 0) for p in pleats], 0.014), np.ones(3), 0.13)
    elif kind == "wrap":
        canvas.mark(
            canvas.strokes(
                [outline([(0.5 - waist * 0.3, top + 0.04), (0.56, top + drop * 0.5, 0.5 + hem * 0.35, bottom)])], 0.011
            ),
            strength=0.55,
        )
    elif kind == "A-line" and rng.random() < 0.4:
        buttons(
            canvas,
            rgb("camel") if look.rgb.mean() < 0.6 else shaded(look.rgb, 0.5),
            0.5,
            np.arange(top + 0.09, bottom - 0.03, 0.085),
            0.011,
        )
        look.details.append("buttoned")
    band = outline(
        [
            (0.5 - waist - 0.003, top - 0.004),
            (0.5, top + 0.018, 0.5 + waist + 0.003, top - 0.004),
            (0.5 + waist + 0.012, top + 0.042),
            (0.5, top + 0.062, 0.5 - waist - 0.012, top + 0.042),
        ]
    )
    canvas.paint(canvas.mask(band), look.fabric, volume=0.3, shadow=0.4, tint=-0.06)
    look.details.append(kind)
    return look
