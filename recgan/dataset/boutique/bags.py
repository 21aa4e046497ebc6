"""Totes, satchels, shoulder bags, buckets and backpacks."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, mirrored, outline, shifted
from recgan.dataset.boutique.colours import LEATHERS, companion, rgb, shaded
from recgan.dataset.boutique.cut import both, buttons
from recgan.dataset.boutique.look import Look, chosen, dressed

__all__ = ["bag"]


def bag(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a bag: tote, satchel, shoulder bag, bucket or backpack."""
    kind = chosen(rng, {"tote": 3, "satchel": 2.5, "shoulder": 2.5, "bucket": 1.5, "backpack": 2})
    look = dressed(
        rng,
        colours=f"{LEATHERS} blush mustard grey sage teal terracotta",
        patterns={
            "plain": 7,
            "colour-block": 1.2,
            "leopard": 0.8,
            "striped": 1 if kind == "tote" else 0.1,
            "floral": 0.8 if kind in ("tote", "backpack") else 0.2,
            "camouflage": 0.7 if kind == "backpack" else 0,
            "tartan": 0.5,
            "dotted": 0.6,
            "gingham": 0.4,
        },
        genders={"women": 2, "unisex": 1} if kind != "backpack" else {"unisex": 2, "men": 1, "women": 1},
        price={"tote": 75, "satchel": 129, "shoulder": 110, "bucket": 95, "backpack": 69}[kind],
        share=0.85,
    )
    metal = rgb("mustard") * 0.95 if rng.random() < 0.65 else rgb("silver")
    gloss = rng.uniform(0.05, 0.28) if kind != "backpack" else 0.04
    trim = shaded(look.rgb, 0.72) if rng.random() < 0.6 else companion(rng, look.colour)[1]
    {"tote": _tote, "satchel": _satchel, "shoulder": _shoulder, "bucket": _bucket, "backpack": _backpack}[kind](
        canvas, rng, look, trim, metal, gloss
    )
    look.details.append(kind)
    return look


def _handle(canvas: Canvas, colour: np.ndarray, half: float, foot: float, top: float, width: float) -> None:
    arc = outline(
        [
            (0.5 - half, foot),
            (0.5 - half, top, 0.5 - half * 0.35, top),
            (0.5 + half * 0.35, top),
            (0.5 + half, top, 0.5 + half, foot),
        ]
    )
    canvas.paint(canvas.strokes([arc], width), colour, volume=0.7, edge=0.5)


def _tote(
    canvas: Canvas, rng: np.random.Generator, look: Look, trim: np.ndarray, metal: np.ndarray, gloss: float
) -> None:
    wide, narrow = rng.uniform(0.28, 0.34), rng.uniform(0.23, 0.29)
    top, bottom = rng.uniform(0.40, 0.44), 0.86
    if rng.random() < 0.5:
        wide, narrow = narrow, wide
    arch = rng.uniform(0.12, 0.18)
    _handle(canvas, shaded(trim, 0.75), 0.115, top + 0.02, arch + 0.03, 0.024)
    body = mirrored(
        [
            (0.5, top + 0.012),
            (0.5 + wide * 0.6, top + 0.01, 0.5 + wide, top - 0.004),
            (0.5 + (wide + narrow) / 2 + 0.008, (top + bottom) / 2, 0.5 + narrow, bottom - 0.02),
            (0.5 + narrow, bottom, 0.5 + narrow - 0.025, bottom),
            (0.5, bottom + 0.006),
        ]
    )
    canvas.paint(canvas.mask(body), look.fabric, origin=(0.5, 0.62), volume=1.1, folds=0.35, gloss=gloss)
    canvas.mark(
        canvas.strokes([outline([(0.5 - wide, top + 0.03), (0.5, top + 0.046, 0.5 + wide, top + 0.03)])], 0.006),
        strength=0.45,
    )
    _handle(canvas, trim, 0.125, top + 0.10, arch, 0.028)
    buttons(canvas, metal, 0.375, np.array([top + 0.085]), 0.012)
    buttons(canvas, metal, 0.625, np.array([top + 0.085]), 0.012)


def _satchel(
    canvas: Canvas, rng: np.random.Generator, look: Look, trim: np.ndarray, metal: np.ndarray, gloss: float
) -> None:
    half, top, bottom = rng.uniform(0.31, 0.36), rng.uniform(0.36, 0.41), 0.80
    _handle(canvas, trim, 0.13, top + 0.02, top - 0.17, 0.034)
    body = mirrored(
        [
            (0.5, top),
            (0.5 + half - 0.05, top),
            (0.5 + half, top, 0.5 + half + 0.004, top + 0.05),
            (0.5 + half + 0.02, bottom - 0.05),
            (0.5 + half + 0.02, bottom, 0.5 + half - 0.04, bottom),
            (0.5, bottom + 0.006),
        ]
    )
    canvas.paint(canvas.mask(body), look.fabric, origin=(0.5, 0.58), volume=1.1, gloss=gloss)
    deep = top + (bottom - top) * rng.uniform(0.48, 0.66)
    flap = mirrored(
        [
            (0.5, top - 0.006),
            (0.5 + half - 0.04, top - 0.006),
            (0.5 + half + 0.008, top - 0.004, 0.5 + half + 0.008, top + 0.05),
            (0.5 + half + 0.008, deep - 0.07),
            (0.5 + half, deep, 0.5 + half - 0.10, deep),
            (0.5, deep + 0.01),
        ]
    )
    canvas.paint(
        canvas.mask(flap), look.fabric, origin=(0.5, 0.58), volume=0.8, gloss=gloss, shadow=0.6, tint=0.02, edge=0.5
    )
    for x in (0.36, 0.64) if rng.random() < 0.5 else (0.5,):
        strap = outline(
            [
                (x - 0.022, deep - 0.13),
                (x + 0.022, deep - 0.13),
                (x + 0.022, deep + 0.045),
                (x, deep + 0.06),
                (x - 0.022, deep + 0.045),
            ]
        )
        canvas.paint(canvas.mask(strap), trim, volume=0.3, shadow=0.4)
        canvas.mark(
            canvas.strokes(
                [
                    outline(
                        [
                            (x - 0.03, deep - 0.015),
                            (x + 0.03, deep - 0.015),
                            (x + 0.03, deep + 0.022),
                            (x - 0.03, deep + 0.022),
                            (x - 0.03, deep - 0.015),
                        ]
                    )
                ],
                0.012,
            ),
            metal,
            0.95,
        )


def _shoulder(
    canvas: Canvas, rng: np.random.Generator, look: Look, trim: np.ndarray, metal: np.ndarray, gloss: float
) -> None:
    half, top, bottom = rng.uniform(0.28, 0.33), rng.uniform(0.46, 0.50), rng.uniform(0.80, 0.84)
    chain = rng.random() < 0.4
    sling = outline(
        [
            (0.5 - half + 0.03, top + 0.03),
            (0.5 - half * 0.8, 0.12, 0.5, 0.12),
            (0.5 + half * 0.8, 0.12, 0.5 + half - 0.03, top + 0.03),
        ]
    )
    if chain:
        links = sling[::2]
        canvas.paint(canvas.strokes([sling], 0.014), metal * 0.8, volume=0.0)
        canvas.mark(
            canvas.mask(
                *[
                    np.array(
                        [[x - 0.008, y - 0.008], [x + 0.008, y - 0.008], [x + 0.008, y + 0.008], [x - 0.008, y + 0.008]]
                    )
                    for x, y in links
                ]
            ),
            rgb("white"),
            0.5,
        )
    else:
        canvas.paint(canvas.strokes([sling], 0.020), trim, volume=0.6)
    round_ = rng.choice([0.05, 0.16])
    body = mirrored(
        [
            (0.5, top),
            (0.5 + half - 0.03, top),
            (0.5 + half, top, 0.5 + half, top + 0.03),
            (0.5 + half, bottom - round_),
            (0.5 + half, bottom, 0.5 + half - round_, bottom),
            (0.5, bottom + 0.004),
        ]
    )
    quilted = look.pattern == "plain" and rng.random() < 0.35
    canvas.paint(canvas.mask(body), look.fabric, origin=(0.5, 0.66), volume=1.2, gloss=gloss)
    deep = top + (bottom - top) * rng.uniform(0.55, 0.72)
    flap = mirrored(
        [
            (0.5, top - 0.008),
            (0.5 + half - 0.02, top - 0.008),
            (0.5 + half + 0.006, top - 0.004, 0.5 + half + 0.004, top + 0.04),
            (0.5 + half * 0.9, deep - 0.02, 0.5 + half * 0.4, deep),
            (0.5, deep + 0.02),
        ]
    )
    flap_mask = canvas.mask(flap)
    canvas.paint(flap_mask, look.fabric, origin=(0.5, 0.66), volume=0.9, gloss=gloss, shadow=0.6, tint=0.03, edge=0.5)
    if quilted:
        diagonals = [np.array([[x, 0.42], [x + s * 0.45, 0.87]]) for s in (1, -1) for x in np.arange(-0.2, 1.3, 0.085)]
        canvas.mark(canvas.strokes(diagonals, 0.006) * canvas.mask(body, flap), strength=0.4)
        look.details.append("quilted")
    turn = np.linspace(0, 2 * np.pi, 24)
    clasp = np.stack([0.5 + 0.032 * np.cos(turn), deep - 0.01 + 0.024 * np.sin(turn)], 1)
    canvas.mark(canvas.mask(shifted(clasp, 0.003, 0.005)), strength=0.5)
    canvas.mark(canvas.mask(clasp), metal, 0.97)


def _bucket(
    canvas: Canvas, rng: np.random.Generator, look: Look, trim: np.ndarray, metal: np.ndarray, gloss: float
) -> None:
    top, bottom, wide, narrow = 0.40, 0.86, rng.uniform(0.22, 0.26), rng.uniform(0.20, 0.25)
    sling = outline(
        [
            (0.5 - wide + 0.01, top + 0.06),
            (0.5 - wide, 0.10, 0.5, 0.10),
            (0.5 + wide, 0.10, 0.5 + wide - 0.01, top + 0.06),
        ]
    )
    canvas.paint(canvas.strokes([sling], 0.024), trim, volume=0.6)
    rim = mirrored(
        [
            (0.5, top - 0.035),
            (0.5 + wide * 0.9, top - 0.035, 0.5 + wide, top),
            (0.5 + wide * 0.9, top + 0.04, 0.5, top + 0.04),
        ]
    )
    canvas.paint(canvas.mask(rim), shaded(look.rgb, 0.5), volume=0.2)
    body = mirrored(
        [
            (0.5, top + 0.036),
            (0.5 + wide * 0.9, top + 0.034, 0.5 + wide, top),
            (0.5 + wide * 0.92, top + 0.10),
            (0.5 + narrow + 0.012, 0.65, 0.5 + narrow, bottom - 0.03),
            (0.5 + narrow * 0.7, bottom + 0.012, 0.5, bottom + 0.01),
        ]
    )
    canvas.paint(canvas.mask(body), look.fabric, origin=(0.5, 0.62), volume=1.4, folds=0.8, gloss=gloss)
    base = mirrored(
        [
            (0.5, bottom - 0.062),
            (0.5 + narrow * 0.7, bottom - 0.064, 0.5 + narrow + 0.006, bottom - 0.10),
            (0.5 + narrow, bottom - 0.03),
            (0.5 + narrow * 0.7, bottom + 0.012, 0.5, bottom + 0.01),
        ]
    )
    canvas.paint(canvas.mask(base), trim, volume=0.8, shadow=0.3, gloss=gloss)
    cord = outline([(0.5 - wide * 0.93, top + 0.085), (0.5, top + 0.135, 0.5 + wide * 0.93, top + 0.085)])
    canvas.mark(canvas.strokes([cord], 0.014), trim, 0.95)
    ends = [
        outline([(0.49, top + 0.11), (0.47, top + 0.18, 0.475, top + 0.24)]),
        outline([(0.51, top + 0.11), (0.535, top + 0.17, 0.525, top + 0.25)]),
    ]
    canvas.mark(canvas.strokes(ends, 0.014), trim, 0.95)
    buttons(canvas, metal, 0.475, np.array([top + 0.24]), 0.013)
    buttons(canvas, metal, 0.525, np.array([top + 0.25]), 0.013)


def _backpack(
    canvas: Canvas, rng: np.random.Generator, look: Look, trim: np.ndarray, metal: np.ndarray, gloss: float
) -> None:
    half, top, bottom = rng.uniform(0.235, 0.27), 0.16, 0.88
    _handle(canvas, trim, 0.055, top + 0.02, top - 0.07, 0.026)
    straps = outline(
        [(0.5 + half * 0.8, top + 0.14), (0.5 + half + 0.075, 0.42, 0.5 + half + 0.03, 0.70), (0.5 + half - 0.02, 0.80)]
    )
    canvas.paint(canvas.strokes(both(straps), 0.035), trim, volume=0.7)
    body = mirrored(
        [
            (0.5, top),
            (0.5 + half * 0.95, top, 0.5 + half * 0.97, top + 0.20),
            (0.5 + half + 0.012, 0.60, 0.5 + half, bottom - 0.07),
            (0.5 + half, bottom, 0.5 + half - 0.08, bottom),
            (0.5, bottom + 0.006),
        ]
    )
    canvas.paint(canvas.mask(body), look.fabric, origin=(0.5, 0.50), volume=1.3, gloss=gloss, shadow=0.5)
    canvas.mark(
        canvas.strokes(
            [
                outline(
                    [
                        (0.5 - half * 0.8, 0.45),
                        (0.5 - half * 0.8, top + 0.05, 0.5, top + 0.05),
                        (0.5 + half * 0.8, top + 0.05, 0.5 + half * 0.8, 0.45),
                    ]
                )
            ],
            0.010,
        ),
        strength=0.55,
    )
    pocket = mirrored(
        [
            (0.5, 0.56),
            (0.5 + half * 0.72, 0.56),
            (0.5 + half * 0.82, 0.56, 0.5 + half * 0.82, 0.60),
            (0.5 + half * 0.82, bottom - 0.09),
            (0.5 + half * 0.82, bottom - 0.04, 0.5 + half * 0.6, bottom - 0.04),
            (0.5, bottom - 0.036),
        ]
    )
    cloth = trim if rng.random() < 0.35 else look.fabric
    canvas.paint(canvas.mask(pocket), cloth, origin=(0.5, 0.50), volume=0.8, shadow=0.6, gloss=gloss, edge=0.5)
    canvas.mark(canvas.strokes([np.array([[0.5 - half * 0.7, 0.60], [0.5 + half * 0.7, 0.60]])], 0.010), metal, 0.8)
    patch = outline([(0.465, 0.36), (0.535, 0.36), (0.535, 0.42), (0.465, 0.42)])
    canvas.paint(canvas.mask(patch), rgb("tan"), volume=0.2, shadow=0.3)
