"""Trousers and shorts."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, Fabric, outline, shifted
from recgan.dataset.boutique.colours import rgb, shaded
from recgan.dataset.boutique.cut import both, buttons
from recgan.dataset.boutique.look import Look, chosen, dressed

__all__ = ["shorts", "trousers"]


def trousers(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw trousers or jeans."""
    return _legs(canvas, rng, short=False)


def shorts(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw shorts."""
    return _legs(canvas, rng, short=True)


def _legs(canvas: Canvas, rng: np.random.Generator, *, short: bool) -> Look:
    patterns: dict[str, float] = {
        "plain": 6,
        "denim": 4,
        "pinstripe": 1.2,
        "tartan": 0.8,
        "windowpane": 0.7,
        "camouflage": 0.8,
        "melange": 0.8,
    }
    if short:
        patterns |= {"floral": 1.5, "striped": 1, "gingham": 1, "dotted": 0.6, "denim": 3}
    look = dressed(
        rng,
        colours={
            "men": "navy sand black olive charcoal grey brown camel",
            "women": "black cream navy camel burgundy white sage terracotta blush",
        },
        patterns=patterns,
        genders={"women": 1, "men": 1},
        price=32 if short else 55,
        share=0.8 if short else 0.9,
    )
    fit = chosen(
        rng,
        {
            "regular": 3,
            "loose": 2,
            "slim": 0 if short else 2.5,
            "flared": 0 if short else 1.3,
            "wide": 0 if short else 1.3,
        },
    )
    top = 0.235 if short else 0.06
    bottom = top + (rng.uniform(0.44, 0.56) if short else rng.uniform(0.84, 0.88))
    waist = (0.20 if short else 0.145) + rng.uniform(-0.006, 0.01)
    hip = waist * 1.22
    crotch = top + (0.265 if short else 0.255)
    hem = {
        "regular": (0.155, 0.09),
        "loose": (0.185, 0.10),
        "slim": (0.125, 0.062),
        "flared": (0.20, 0.105),
        "wide": (0.225, 0.135),
    }[fit]
    gap = 0.045 if short else 0.028
    inner_x, outer_x = gap, hem[0] + 0.03
    if short:
        outer_x = hip + (0.055 if fit == "loose" else 0.02)
        knee_out = outer_x
    else:
        knee_out = {"slim": 0.135, "flared": 0.135, "regular": 0.155, "loose": 0.18, "wide": 0.20}[fit]
        inner_x = max(gap, outer_x - 2 * hem[1])
    knee = top + (bottom - top) * 0.58
    right = outline(
        [
            (0.497, top + 0.015),
            (0.5 + waist * 0.6, top + 0.013, 0.5 + waist, top),
            (0.5 + hip, top + 0.08, 0.5 + hip, crotch - 0.02),
            *(
                [(0.5 + outer_x, bottom - 0.016)]
                if short
                else [
                    (0.5 + knee_out + 0.012, knee - 0.08, 0.5 + knee_out, knee),
                    (0.5 + knee_out + 0.004, knee + 0.12, 0.5 + outer_x, bottom - 0.006),
                ]
            ),
            (0.5 + (inner_x + outer_x) / 2, bottom + 0.006, 0.5 + inner_x, bottom),
            *([] if short else [(0.5 + inner_x * 0.9, knee + 0.1, 0.5 + min(inner_x, 0.035), knee)]),
            (0.5 + 0.012, crotch + 0.03, 0.497, crotch),
        ]
    )
    mask = canvas.mask(*both(right))
    canvas.paint(mask, look.fabric, folds=0.55, volume=1.2)
    # Fly, crease or thread, pockets, waistband.
    jeans = look.pattern == "denim"
    thread = rgb("camel")
    canvas.mark(canvas.strokes([np.array([[0.5, top + 0.02], [0.5, crotch]])], 0.006), strength=0.5)
    canvas.mark(
        canvas.strokes(
            [outline([(0.535, top + 0.03), (0.535, crotch - 0.06), (0.532, crotch - 0.03, 0.503, crotch - 0.02)])],
            0.005,
        ),
        thread if jeans else None,
        0.5,
    )
    pocket = outline(
        [(0.5 + waist * 0.52, top + 0.035), (0.5 + waist * 0.62, top + 0.10, 0.5 + hip * 0.96, top + 0.115)]
    )
    canvas.mark(canvas.strokes(both(pocket), 0.009), strength=0.5)
    if jeans:
        canvas.mark(canvas.strokes(both(shifted(pocket, 0, 0.008)), 0.004), thread, 0.7)
        hem_line = outline(
            [
                (0.5 + inner_x - 0.02, bottom - 0.022),
                (0.5 + (inner_x + outer_x) / 2, bottom - 0.016, 0.5 + outer_x + 0.02, bottom - 0.03),
            ]
        )
        canvas.mark(canvas.strokes(both(hem_line), 0.004), thread, 0.6)
    elif not short and fit in ("regular", "wide") and rng.random() < 0.6:
        x = (outer_x + inner_x) / 2
        crease = outline([(0.5 + waist * 0.55, top + 0.12), (0.5 + x, knee, 0.5 + x, bottom)])
        canvas.mark(canvas.strokes(both(crease), 0.006), strength=0.4)
        look.details.append("creased")
    cargo = fit == "loose" and rng.random() < 0.4
    if cargo:
        y = crotch + (0.02 if short else 0.12)
        x = (0.5 + outer_x if short else 0.5 + knee_out) - 0.105
        flap = outline([(x, y), (x + 0.08, y - 0.004), (x + 0.08, y + 0.10), (x, y + 0.10)])
        canvas.paint(canvas.mask(*both(flap)), look.fabric, shadow=0.4, volume=0.2, edge=0.5)
        canvas.mark(canvas.strokes(both(np.array([[x, y + 0.03], [x + 0.08, y + 0.026]])), 0.007), strength=0.5)
        look.details.append("cargo")
    drawstring = short and not jeans and rng.random() < 0.45
    band_cloth: Fabric | np.ndarray = shaded(look.rgb, 0.85) if drawstring else look.fabric
    band = outline(
        [
            (0.5 - waist - 0.003, top - 0.004),
            (0.5, top + 0.014, 0.5 + waist + 0.003, top - 0.004),
            (0.5 + waist + 0.011, top + 0.038),
            (0.5, top + 0.055, 0.5 - waist - 0.011, top + 0.038),
        ]
    )
    canvas.paint(canvas.mask(band), band_cloth, volume=0.3, shadow=0.35, tint=-0.05)
    if drawstring:
        cord = rgb("white") if look.rgb.mean() < 0.6 else shaded(look.rgb, 0.5)
        strings = [
            outline([(0.497, top + 0.03), (0.47, top + 0.09, 0.478, top + 0.14)]),
            outline([(0.503, top + 0.03), (0.53, top + 0.08, 0.518, top + 0.15)]),
        ]
        canvas.mark(canvas.strokes(strings, 0.009), cord, 0.9)
        look.details.append("drawstring")
    else:
        buttons(canvas, rgb("camel") if jeans else shaded(look.rgb, 0.5), 0.5, np.array([top + 0.032]), 0.010)
        belt_loops = [np.array([[0.5 + x, top + 0.006], [0.5 + x, top + 0.05]]) for x in (waist * 0.62, -waist * 0.62)]
        canvas.mark(canvas.strokes(belt_loops, 0.013), strength=0.4)
    look.details.append("jeans" if jeans and not short else fit)
    return look
