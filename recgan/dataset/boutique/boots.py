"""Boots and pumps, seen from the side with the toe to the right."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, outline
from recgan.dataset.boutique.colours import LEATHERS, draw_colour, rgb, shaded
from recgan.dataset.boutique.look import Look, chosen, dressed
from recgan.dataset.boutique.patterns import ribs

__all__ = ["boot", "pump"]


def boot(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a boot: Chelsea, lace-up or tall."""
    kind = chosen(rng, {"Chelsea": 2.5, "lace-up": 2.5, "tall": 2.2})
    women = kind == "tall" or rng.random() < 0.5
    look = dressed(
        rng,
        colours=LEATHERS,
        patterns={"plain": 9, "leopard": 0.5, "melange": 1.0},
        genders={"women": 1} if women else {"men": 1},
        price={"Chelsea": 119, "lace-up": 139, "tall": 169}[kind],
        share=0.94,
    )
    suede = look.pattern == "melange"
    if suede:
        look.pattern = "plain"
        look.details.append("suede")
    gloss = 0.0 if suede else rng.uniform(0.12, 0.3)
    top = {"Chelsea": 0.27, "lace-up": 0.24, "tall": 0.085}[kind] + rng.uniform(-0.015, 0.02)
    heel = rng.uniform(0.10, 0.13) if women and rng.random() < 0.6 else 0.05
    sole_y = 0.80
    lift = heel - 0.05
    back, front = 0.235, 0.475 if kind != "tall" else 0.495
    upper = outline(
        [
            (0.225, sole_y - lift + 0.01),
            (0.195, 0.70 - lift * 0.5, 0.235, 0.60),
            (0.24, 0.45, back - (0.025 if kind == "tall" else 0.0), top),
            (0.35, top + 0.018, front + (0.015 if kind == "tall" else 0), top - 0.002),
            (front - 0.02, 0.45, front + 0.015, 0.575),
            (front + 0.05, 0.645, 0.64, 0.675),
            (0.80, 0.695, 0.835, 0.765),
            (0.845, 0.79, 0.835, sole_y + 0.01),
            (0.56, sole_y + 0.012, 0.42, sole_y - lift * 0.75 + 0.01),
        ]
    )
    opening = outline(
        [
            (back - (0.025 if kind == "tall" else 0), top),
            (0.35, top - 0.03, front + (0.015 if kind == "tall" else 0), top - 0.002),
            (0.35, top + 0.04, back, top),
        ]
    )
    canvas.paint(canvas.mask(opening), shaded(look.rgb, 0.5), volume=0.2)
    canvas.paint(canvas.mask(upper), look.fabric, volume=1.5, gloss=gloss, folds=0.35 if kind == "tall" else 0.15)
    canvas.mark(canvas.strokes([outline([(0.60, sole_y), (0.58, 0.70, 0.655, 0.675)])], 0.006), strength=0.3)
    if kind == "Chelsea":
        elastic = outline(
            [
                (0.315, top + 0.012),
                (0.42, top + 0.012),
                (0.405, 0.50, 0.385, 0.60),
                (0.365, 0.615, 0.345, 0.60),
                (0.325, 0.50, 0.315, top + 0.012),
            ]
        )
        dark = shaded(look.rgb, 0.55) if look.rgb.mean() > 0.22 else shaded(look.rgb, 1.3)
        canvas.paint(canvas.mask(elastic), ribs(dark, 0.02, 0.2), volume=0.2, edge=0.3)
        loop = outline([(0.232, top + 0.04), (0.235, top - 0.035), (0.26, top - 0.04), (0.265, top + 0.04)])
        canvas.paint(canvas.mask(loop), shaded(look.rgb, 0.7), volume=0.2)
    elif kind == "lace-up":
        lace = (
            rgb("camel") if look.colour in ("black", "brown", "espresso", "navy", "forest") else shaded(look.rgb, 0.45)
        )
        rungs = [
            (front - 0.012 + x, y)
            for x, y in zip((0, -0.002, -0.002, 0.006, 0.026, 0.075), np.linspace(top + 0.05, 0.655, 6))
        ]
        canvas.mark(
            canvas.strokes(
                [
                    outline(
                        [
                            (front - 0.06, top),
                            (front - 0.075, 0.5, front - 0.04, 0.60),
                            (front + 0.0, 0.66, 0.585, 0.70),
                        ]
                    )
                ],
                0.007,
            ),
            strength=0.4,
        )
        canvas.mark(
            canvas.strokes([np.array([[x - 0.045, y + 0.012], [x + 0.008, y - 0.014]]) for x, y in rungs], 0.014),
            lace,
            0.95,
        )
        padding = outline(
            [
                (back, top - 0.002),
                (0.35, top + 0.016, front, top - 0.004),
                (front - 0.004, top + 0.04),
                (0.35, top + 0.055, back + 0.002, top + 0.035),
            ]
        )
        canvas.paint(canvas.mask(padding), shaded(look.rgb, 0.72), volume=0.5, shadow=0.25)
    elif rng.random() < 0.45:
        strap = [outline([(0.22, 0.60), (0.36, 0.655, 0.515, 0.585)])]
        canvas.mark(canvas.strokes(strap, 0.028), shaded(look.rgb, 0.6), 0.9)
        canvas.mark(canvas.strokes([np.array([[0.40, 0.605], [0.40, 0.645]])], 0.024), rgb("mustard"), 0.9)
        look.details.append("buckled")
    sole_colour = (
        rgb("tan") if look.colour != "tan" and rng.random() < 0.18 and kind == "lace-up" else shaded(look.rgb, 0.42)
    )
    _sole(canvas, sole_colour, sole_y, heel, lift, lug=kind == "lace-up" and not lift)
    look.details.append(kind)
    if lift:
        look.details.append("heeled")
    return look


def _sole(canvas: Canvas, colour: np.ndarray, y: float, heel: float, lift: float, *, lug: bool) -> None:
    thick = 0.045 if lug else 0.026
    low = y + 0.05
    arch = y - lift * 0.75
    sole = outline(
        [
            (0.212, y - lift - 0.002),
            (0.42, arch),
            (0.56, y + 0.006, 0.70, y),
            (0.80, y - 0.004, 0.842, y - 0.008),
            (0.86, y + thick * 0.6, 0.82, low),
            (0.56, low),
            (0.50, low - 0.005, 0.43, arch + thick),
            (0.365, y - lift + 0.03),
            (0.35, low),
            (0.222 + lift * 0.2, low),
            (0.205, y, 0.212, y - lift - 0.002),
        ]
    )
    canvas.paint(canvas.mask(sole), colour, volume=0.4, shadow=0.25, edge=0.3)
    if lug:
        canvas.mark(
            canvas.strokes([np.array([[x, low - 0.022], [x, low]]) for x in np.arange(0.24, 0.83, 0.045)], 0.010),
            strength=0.6,
        )


def pump(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a pump with a stiletto, block or kitten heel."""
    look = dressed(
        rng,
        colours="black red blush navy camel burgundy silver fuchsia cobalt cream forest mustard",
        patterns={"plain": 9, "leopard": 1, "colour-block": 1, "dotted": 0.6, "floral": 0.5},
        genders={"women": 1},
        price=85,
        share=0.9,
    )
    heel = chosen(rng, {"stiletto": 2.5, "block": 2, "kitten": 1.4})
    rise = {"stiletto": rng.uniform(0.24, 0.31), "block": rng.uniform(0.18, 0.26), "kitten": rng.uniform(0.11, 0.14)}[
        heel
    ]
    ground = 0.735
    seat = ground - rise
    gloss = rng.uniform(0.1, 0.45)
    strap = rng.random() < 0.35
    back_top = seat - 0.155
    body = outline(
        [
            (0.135, seat + 0.01),
            (0.115, seat - 0.07, 0.135, back_top),
            (0.165, back_top - 0.006),
            (0.24, seat - 0.085, 0.37, seat + rise * 0.10 - 0.055),
            (0.53, seat + rise * 0.36 - 0.02, 0.645, ground - 0.135),
            (0.70, ground - 0.150, 0.745, ground - 0.115),
            (0.84, ground - 0.06, 0.905, ground - 0.028),
            (0.915, ground - 0.012, 0.895, ground - 0.006),
            (0.70, ground - 0.004, 0.60, ground - 0.006),
            (0.50, ground - 0.02, 0.385, seat + rise * 0.36),
            (0.29, seat + 0.045, 0.135, seat + 0.01),
        ]
    )
    lining = outline(
        [
            (0.14, back_top + 0.005),
            (0.30, back_top + 0.02 + rise * 0.15, 0.48, seat + rise * 0.32 - 0.05),
            (0.60, ground - 0.16, 0.70, ground - 0.14),
            (0.60, ground - 0.10),
            (0.36, seat + rise * 0.15),
            (0.17, seat - 0.03),
        ]
    )
    canvas.paint(canvas.mask(lining), rgb("sand") if look.colour != "camel" else rgb("cream"), volume=0.3, tint=-0.1)
    posts = {
        "stiletto": [
            (0.128, seat - 0.01),
            (0.27, seat + 0.035),
            (0.185, seat + 0.09, 0.175, ground + 0.004),
            (0.150, ground + 0.004),
            (0.152, seat + 0.10, 0.128, seat - 0.01),
        ],
        "block": [
            (0.128, seat - 0.01),
            (0.30, seat + 0.045),
            (0.262, seat + 0.10, 0.258, ground + 0.004),
            (0.145, ground + 0.004),
            (0.145, seat + 0.1, 0.128, seat - 0.01),
        ],
        "kitten": [
            (0.128, seat - 0.01),
            (0.265, seat + 0.03),
            (0.20, seat + 0.06, 0.195, ground + 0.004),
            (0.163, ground + 0.004),
            (0.155, seat + 0.05, 0.128, seat - 0.01),
        ],
    }
    heel_colour = rgb("tan") if heel == "block" and rng.random() < 0.25 else shaded(look.rgb, 0.86)
    canvas.paint(canvas.mask(outline(posts[heel])), heel_colour, volume=0.7, gloss=gloss * 0.6)
    sole = outline(
        [
            (0.14, seat + 0.004),
            (0.30, seat + 0.04, 0.39, seat + rise * 0.38),
            (0.50, ground - 0.018, 0.60, ground - 0.006),
            (0.89, ground - 0.006),
            (0.86, ground + 0.008, 0.70, ground + 0.008),
            (0.56, ground + 0.006),
            (0.47, ground - 0.01, 0.37, seat + rise * 0.44),
            (0.28, seat + 0.06, 0.14, seat + 0.022),
        ]
    )
    canvas.paint(canvas.mask(sole), rgb("red") if rng.random() < 0.1 else shaded(look.rgb, 0.4), volume=0.2)
    canvas.paint(canvas.mask(body), look.fabric, volume=1.4, gloss=gloss, shadow=0.3)
    if strap:
        turn = np.linspace(0, 2 * np.pi, 40)
        loop = np.stack([0.262 + 0.112 * np.cos(turn), back_top - 0.05 + 0.034 * np.sin(turn)], 1)
        canvas.paint(canvas.strokes([loop[20:]], 0.020), shaded(look.rgb, 0.7), volume=0.3)
        post = outline(
            [(0.135, back_top + 0.03), (0.138, back_top - 0.065), (0.172, back_top - 0.055), (0.19, back_top + 0.03)]
        )
        canvas.paint(canvas.mask(post), look.rgb, volume=0.4)
        canvas.paint(canvas.strokes([loop[:21]], 0.026), look.rgb, volume=0.4)
        canvas.mark(
            canvas.strokes([np.array([[0.30, back_top - 0.032], [0.30, back_top - 0.006]])], 0.024),
            rgb("mustard"),
            0.95,
        )
        look.details.append("ankle strap")
    elif rng.random() < 0.3:
        x, y = 0.70, ground - 0.135
        bow = np.concatenate(
            [
                outline([(x, y), (x - 0.05, y - 0.05, x - 0.06, y - 0.005), (x - 0.05, y + 0.03, x, y)]),
                outline([(x, y), (x + 0.03, y - 0.06, x + 0.05, y - 0.015), (x + 0.05, y + 0.025, x, y)]),
            ]
        )
        canvas.paint(canvas.mask(bow), draw_colour(rng, (look.colour,), 1.0)[1], volume=0.4, shadow=0.5)
        look.details.append("bow")
    look.details.append(f"{heel} heel")
    return look
