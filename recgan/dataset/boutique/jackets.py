"""Blazers, bombers, denim jackets and coats."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, outline
from recgan.dataset.boutique.colours import companion, rgb, shaded
from recgan.dataset.boutique.cut import Cut, body_mask, both, buttons, cuffs, inside_back, neck_band, sleeves
from recgan.dataset.boutique.look import Look, chosen, dressed
from recgan.dataset.boutique.patterns import ribs

__all__ = ["jacket"]

_PATTERNS: dict[str, dict[str, float]] = {
    "blazer": {"plain": 4, "pinstripe": 1.5, "tartan": 1, "windowpane": 1.2},
    "bomber": {"plain": 5, "camouflage": 1, "colour-block": 1.3, "floral": 0.4},
    "trucker": {"denim": 5, "plain": 1},
    "coat": {"plain": 4, "melange": 2, "tartan": 0.8, "windowpane": 0.8, "leopard": 0.4},
}


def jacket(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a blazer, a bomber, a denim jacket or a coat."""
    kind = chosen(rng, {"blazer": 3, "bomber": 2.5, "trucker": 2, "coat": 2.2})
    look = dressed(
        rng,
        colours="navy black camel grey olive charcoal burgundy forest sand cream tan terracotta",
        patterns=_PATTERNS[kind],
        genders={"women": 1, "men": 1},
        price={"blazer": 129, "bomber": 89, "trucker": 79, "coat": 179}[kind],
        share=0.85,
    )
    women = look.gender == "women"
    long = kind == "coat"
    fit = rng.uniform(-0.008, 0.02)
    narrow = 0.82 if long else 1.0
    cut = Cut(
        neck=0.075 * narrow,
        shoulder=(0.205 + fit * 0.5) * narrow,
        chest=(0.205 + fit) * narrow,
        waist=(0.20 + fit - 0.025 * women * (kind in ("blazer", "coat"))) * narrow,
        hem=(0.21 + fit + 0.02 * long - 0.02 * (kind == "bomber")) * narrow,
        top=0.10 if long else 0.16,
        armpit=0.29 if long else 0.37,
        bottom=0.92 if long else rng.uniform(0.78, 0.86),
        round_hem=0.006,
    )
    dip = {"blazer": 0.30, "coat": 0.22, "bomber": 0.05, "trucker": 0.06}[kind]
    style = "v" if kind in ("blazer", "coat") else "crew"
    lining = shaded(look.rgb, 0.6) if rng.random() < 0.7 else companion(rng, look.colour)[1]
    inside_back(canvas, cut, dip, style, lining)
    if style == "v" and rng.random() < 0.5:
        # A white or dark top underneath shows between the lapels.
        under = rgb(chosen(rng, ("white", "white", "cream", "black", "sky")))
        chest = outline(
            [
                (0.5 - cut.neck * 0.9, cut.top + 0.035),
                (0.5, cut.top + 0.075, 0.5 + cut.neck * 0.9, cut.top + 0.035),
                (0.53, cut.top + dip + 0.02),
                (0.47, cut.top + dip + 0.02),
            ]
        )
        canvas.paint(canvas.mask(chest), under, volume=0.3, tint=-0.06)
    end, along = sleeves(
        canvas, look, cut, length=0.53 * (0.92 if long else 1), angle=rng.uniform(13, 19), cuff=0.09 * narrow, folds=0.7
    )
    canvas.paint(
        body_mask(canvas, cut, dip, style), look.fabric, folds=0.45, shadow=0.45, gloss=0.1 * (kind == "bomber")
    )
    {"blazer": _blazer, "coat": _blazer, "bomber": _bomber, "trucker": _trucker}[kind](
        canvas, rng, look, cut, dip, end, along
    )
    look.details.append(kind)
    return look


def _blazer(
    canvas: Canvas, rng: np.random.Generator, look: Look, cut: Cut, dip: float, end: np.ndarray, along: np.ndarray
) -> None:
    wide = rng.uniform(0.06, 0.085)
    notch = cut.top + dip * 0.42
    x0, top = 0.5 + cut.neck, cut.top
    lapel = outline(
        [
            (0.502, top + dip + 0.01),
            (0.5 + cut.neck * 0.5, top + dip * 0.5, x0 - 0.006, top - 0.012),
            (x0 + 0.014, top - 0.006),
            (x0 + 0.022, notch - 0.02),
            (x0 + wide, notch - 0.012),
            (x0 + wide * 0.62, top + dip * 0.72, 0.502, top + dip + 0.01),
        ]
    )
    canvas.mark(canvas.strokes([np.array([[0.503, top + dip], [0.503, cut.bottom]])], 0.006), strength=0.6)
    canvas.paint(
        canvas.mask(*both(lapel)), look.fabric, angle=-20, mirror=True, shadow=0.6, volume=0.35, tint=0.035, edge=0.5
    )
    canvas.mark(
        canvas.strokes(both(np.array([[x0 - 0.012, notch - 0.005], [x0 + 0.022, notch - 0.02]])), 0.005), strength=0.6
    )
    button = shaded(look.rgb, 0.4) if look.rgb.mean() > 0.25 else rgb("camel")
    double = rng.random() < 0.3
    heights = top + dip + np.array([0.03, 0.12]) if cut.bottom < 0.9 else top + dip + np.array([0.03, 0.14, 0.25])
    for x in (0.455, 0.545) if double else (0.515,):
        buttons(canvas, button, x, heights, 0.012)
    y = cut.top + 0.66 * (cut.bottom - cut.top)
    flap = outline(
        [(0.565, y), (0.5 + cut.hem * 0.84, y - 0.008), (0.5 + cut.hem * 0.84, y + 0.03), (0.565, y + 0.036)]
    )
    canvas.paint(canvas.mask(*both(flap)), look.fabric, shadow=0.5, volume=0.15, edge=0.5)
    canvas.mark(canvas.strokes(both(end - along * 0.05), 0.004), strength=0.3)


def _bomber(
    canvas: Canvas, rng: np.random.Generator, look: Look, cut: Cut, dip: float, end: np.ndarray, along: np.ndarray
) -> None:
    knit = ribs(shaded(look.rgb, 0.72) if rng.random() < 0.7 else companion(rng, look.colour)[1])
    hem = outline(
        [
            (0.5 - cut.hem - 0.004, cut.bottom - 0.06),
            (0.5, cut.bottom - 0.054, 0.5 + cut.hem + 0.004, cut.bottom - 0.06),
            (0.5 + cut.hem - 0.015, cut.bottom + 0.004),
            (0.5, cut.bottom + 0.01, 0.5 - cut.hem + 0.015, cut.bottom + 0.004),
        ]
    )
    canvas.paint(canvas.mask(hem), knit, volume=0.3, shadow=0.3)
    canvas.paint(canvas.mask(*cuffs(end, along, 0.05)), knit, volume=0.3, mirror=True, shadow=0.2)
    metal = rgb("silver") if rng.random() < 0.6 else rgb("mustard")
    canvas.mark(canvas.strokes([np.array([[0.5, cut.top + dip - 0.01], [0.5, cut.bottom]])], 0.022), strength=0.4)
    canvas.mark(canvas.strokes([np.array([[0.5, cut.top + dip - 0.01], [0.5, cut.bottom]])], 0.010), metal, 0.85)
    neck_band(canvas, cut, dip, "crew", knit, 0.045)
    pocket = both(np.array([[0.56, 0.66], [0.60, 0.56]]))
    canvas.mark(canvas.strokes(pocket, 0.012), strength=0.5)


def _trucker(
    canvas: Canvas, rng: np.random.Generator, look: Look, cut: Cut, dip: float, end: np.ndarray, along: np.ndarray
) -> None:
    thread = rgb("camel") if look.colour not in ("camel", "tan", "sand") else rgb("cream")
    low, y = cut.bottom, cut.top + 0.19
    seams = [
        *both(np.array([[0.535, cut.top + dip], [0.535, low]])),
        *both(np.array([[0.5, y], [0.5 + cut.chest, y]])),
        *both(np.array([[0.59, y], [0.565, low - 0.05]])),
        *both(np.array([[0.5, low - 0.05], [0.5 + cut.hem, low - 0.05]])),
        *both(end - along * 0.045),
    ]
    canvas.mark(canvas.strokes(seams, 0.009), strength=0.45)
    canvas.mark(canvas.strokes(seams, 0.004), thread, 0.55)
    flap = outline([(0.56, y), (0.66, y), (0.66, y + 0.03), (0.61, y + 0.055), (0.56, y + 0.03)])
    canvas.paint(canvas.mask(*both(flap)), look.fabric, shadow=0.45, volume=0.15, edge=0.5)
    canvas.mark(canvas.strokes([np.array([[0.5, cut.top + dip], [0.5, low]])], 0.005), strength=0.5)
    buttons(canvas, rgb("camel"), 0.5, np.arange(cut.top + dip + 0.05, low - 0.01, 0.09), 0.010)
    leaf = outline(
        [
            (0.5, cut.top + dip + 0.01),
            (0.5 + cut.neck * 0.6, cut.top + 0.02, 0.5 + cut.neck, cut.top - 0.025),
            (0.5 + cut.neck + 0.035, cut.top + 0.02),
            (0.5 + 0.10, cut.top + dip + 0.055),
        ]
    )
    canvas.paint(
        canvas.mask(*both(leaf)), look.fabric, angle=-30, mirror=True, shadow=0.55, volume=0.3, tint=0.03, edge=0.5
    )
