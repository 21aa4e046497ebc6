"""Sneakers, seen from the side with the toe to the right."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, outline, shifted
from recgan.dataset.boutique.colours import ACCENTS, companion, rgb, shaded
from recgan.dataset.boutique.look import Look, chosen, dressed

__all__ = ["sneaker"]


def sneaker(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a sneaker: low or high, court, running or canvas."""
    kind = chosen(rng, {"court": 3, "running": 3, "canvas": 2})
    look = dressed(
        rng,
        colours="white white black grey navy red cobalt cream forest coral mint pink teal",
        patterns={"plain": 8, "colour-block": 2, "leopard": 0.5, "camouflage": 0.5, "dotted": 0.4}
        if kind != "canvas"
        else {"plain": 6, "gingham": 1.2, "floral": 1, "striped": 0.8, "denim": 1.2},
        genders={"women": 1, "men": 1, "unisex": 1},
        price={"court": 79, "running": 99, "canvas": 55}[kind],
        share=0.85,
    )
    high = kind != "running" and rng.random() < 0.3
    ankle = 0.25 if high else 0.40
    collar_x = 0.355
    sole_y = 0.655
    second, contrast = companion(rng, look.colour)
    trim_lights = rgb("white")
    upper = outline(
        [
            (0.115, sole_y + 0.02),
            (0.10, 0.55, 0.125, 0.47),
            (0.118, ankle + 0.06, 0.125, ankle - 0.012),
            (0.135, ankle - 0.03, 0.16, ankle - 0.018),
            *(
                [(0.25, ankle + 0.02, collar_x - 0.01, ankle - 0.012)]
                if high
                else [(0.22, ankle + 0.085, collar_x - 0.015, ankle + 0.015)]
            ),
            (collar_x + 0.035, ankle - 0.03, collar_x + 0.06, ankle + 0.01),
            (0.50, 0.47, 0.63, 0.515),
            (0.80, 0.53, 0.885, 0.605),
            (0.91, 0.64, 0.90, sole_y + 0.025),
        ]
    )
    inside = outline(
        [
            (0.135, ankle),
            (0.24, ankle - 0.03 + (0 if high else 0.03), collar_x + 0.04, ankle - 0.005),
            (collar_x, ankle + 0.06),
            (0.2, ankle + 0.08),
        ]
    )
    canvas.paint(canvas.mask(inside), shaded(contrast, 0.6), volume=0.2)
    tongue = outline(
        [
            (collar_x - 0.02, ankle + 0.05),
            (collar_x + 0.015, ankle - 0.055),
            (collar_x + 0.06, ankle - 0.06, collar_x + 0.085, ankle - 0.02),
            (collar_x + 0.12, ankle + 0.10),
        ]
    )
    canvas.paint(canvas.mask(tongue), shaded(look.rgb, 0.88), volume=0.4)
    canvas.paint(canvas.mask(upper), look.fabric, origin=(0.5, 0.56), volume=1.3, gloss=0.12 * (kind == "court"))
    # Toe cap, heel tab, side mark, eyestay with laces.
    overlay = contrast if rng.random() < 0.6 else shaded(look.rgb, 0.8 if look.rgb.mean() > 0.35 else 1.25)
    if kind == "canvas":
        toe = outline([(0.78, sole_y + 0.02), (0.775, 0.57, 0.825, 0.553), (0.90, 0.59, 0.905, sole_y + 0.02)])
        canvas.paint(canvas.mask(toe), trim_lights * 0.97, volume=0.6, shadow=0.3)
        canvas.mark(canvas.strokes([outline([(0.765, sole_y), (0.76, 0.57, 0.81, 0.545)])], 0.005), strength=0.4)
    elif kind == "court":
        toe = outline([(0.70, sole_y + 0.02), (0.695, 0.58, 0.74, 0.53), (0.87, 0.565, 0.91, sole_y + 0.02)])
        canvas.paint(
            canvas.mask(toe), overlay if rng.random() < 0.4 else shaded(look.rgb, 0.94), volume=0.6, shadow=0.3
        )
    else:
        guard = outline([(0.66, sole_y + 0.02), (0.78, 0.60, 0.87, 0.592), (0.91, 0.63, 0.905, sole_y + 0.02)])
        canvas.paint(canvas.mask(guard), overlay, volume=0.5, shadow=0.3)
    heel = outline(
        [
            (0.112, sole_y + 0.01),
            (0.105, 0.54, 0.125, ankle - 0.005),
            (0.185, ankle + 0.02),
            (0.19, 0.52, 0.215, sole_y + 0.01),
        ]
    )
    canvas.paint(canvas.mask(heel), overlay, volume=0.7, shadow=0.3)
    mark = chosen(rng, ("swoosh", "bars", "patch", "none")) if kind != "canvas" else "none"
    accent = companion(rng, second)[1] if rng.random() < 0.6 else rgb(ACCENTS[rng.integers(len(ACCENTS))])
    if mark == "swoosh":
        canvas.mark(canvas.strokes([outline([(0.24, 0.60), (0.42, 0.66, 0.60, 0.53)])], 0.028), accent, 0.95)
    elif mark == "bars":
        canvas.mark(
            canvas.strokes([np.array([[x, 0.645], [x + 0.065, 0.52]]) for x in (0.30, 0.365, 0.43)], 0.024),
            accent,
            0.95,
        )
    elif mark == "patch":
        turn = np.linspace(0, 2 * np.pi, 30)
        canvas.mark(canvas.mask(np.stack([0.33 + 0.05 * np.cos(turn), 0.56 + 0.05 * np.sin(turn)], 1)), accent, 0.9)
    stay = outline(
        [
            (collar_x + 0.03, ankle + 0.06),
            (collar_x + 0.07, ankle + 0.0),
            (0.52, 0.485, 0.61, 0.515),
            (0.60, 0.56),
            (0.50, 0.54, collar_x + 0.03, ankle + 0.06),
        ]
    )
    canvas.paint(canvas.mask(stay), overlay, volume=0.3, shadow=0.25, tint=0.02)
    lace = rgb("white") if overlay.mean() < 0.75 else shaded(overlay, 0.62)
    start, stop = np.array([collar_x + 0.055, ankle + 0.045]), np.array([0.585, 0.53])
    lace_line = np.array([[-0.014, 0.018], [0.022, -0.03]])
    rungs = [start + (stop - start) * t for t in np.linspace(0.04, 0.96, 6 if high else 5)]
    canvas.mark(canvas.strokes([shifted(lace_line, x, y) for x, y in rungs], 0.013), lace, 0.95)
    # Sole.
    thick = {"court": 0.068, "running": 0.085, "canvas": 0.06}[kind] * rng.uniform(0.9, 1.25)
    low = sole_y + thick
    curl = 0.028 if kind == "running" else 0.008
    sole = outline(
        [
            (0.10, sole_y - 0.004),
            (0.3, sole_y + 0.008),
            (0.75, sole_y + 0.006),
            (0.86, sole_y - 0.006, 0.912, sole_y - curl),
            (0.935, low - 0.03 - curl, 0.895, low - 0.006 - curl * 0.6),
            (0.80, low, 0.72, low),
            (0.14, low),
            (0.085, low - 0.01, 0.10, sole_y - 0.004),
        ]
    )
    sole_colour = (
        trim_lights * 0.96 if rng.random() < 0.7 else (rgb("tan") if rng.random() < 0.4 else shaded(look.rgb, 0.5))
    )
    canvas.paint(canvas.mask(sole), sole_colour, volume=0.5, shadow=0.3, edge=0.5)
    if kind == "running":
        canvas.mark(
            canvas.strokes(
                [outline([(0.10, low - 0.03), (0.35, low - 0.05, 0.60, low - 0.028), (0.91, low - 0.04 - curl)])], 0.018
            ),
            accent,
            0.85,
        )
    else:
        canvas.mark(
            canvas.strokes([np.array([[0.095, low - 0.022], [0.92, low - 0.022]])], 0.008),
            accent if kind == "canvas" else None,
            0.7 if kind == "canvas" else 0.25,
        )
    look.details += [kind, "high-top" if high else "low-top"]
    return look
