"""T-shirts, shirts and sweaters."""

from __future__ import annotations

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, Fabric, outline
from recgan.dataset.boutique.colours import companion, rgb, shaded
from recgan.dataset.boutique.cut import Cut, body_mask, both, buttons, cuffs, inside_back, neck_band, sleeves
from recgan.dataset.boutique.look import Look, chosen, dressed
from recgan.dataset.boutique.patterns import ribs

__all__ = ["shirt", "sweater", "t_shirt"]

_MEN = "navy grey white olive black burgundy sky charcoal forest sand"
_WOMEN = "white blush coral lilac sage red mustard black teal cream pink sky"


def t_shirt(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a T-shirt."""
    look = dressed(
        rng,
        colours={"men": _MEN, "women": _WOMEN},
        patterns={
            "plain": 7,
            "striped": 4,
            "multi-stripe": 2,
            "colour-block": 2,
            "melange": 1.5,
            "dotted": 1,
            "floral": 1,
            "ombre": 0.6,
            "leopard": 0.4,
            "camouflage": 0.4,
        },
        genders={"women": 1, "men": 1},
        price=19,
    )
    women = look.gender == "women"
    cropped = women and rng.random() < 0.25
    fit = rng.uniform(-0.02, 0.03)
    cut = Cut(
        neck=rng.uniform(0.075, 0.10),
        shoulder=0.205 + fit * 0.6 - 0.015 * women,
        chest=0.20 + fit - 0.012 * women,
        waist=0.19 + fit - 0.03 * women,
        hem=0.20 + fit - 0.008 * women,
        armpit=rng.uniform(0.34, 0.37),
        bottom=0.70 if cropped else rng.uniform(0.82, 0.88),
    )
    neck = chosen(rng, {"crew": 5, "v": 2.5, "scoop": 2} if women else {"crew": 5, "v": 2})
    dip = {"crew": 0.062, "v": 0.135, "scoop": 0.12}[neck] * rng.uniform(0.9, 1.15)
    sleeve = chosen(rng, {"short": 6, "long": 2, "cap": 1.2 if women else 0})
    length, angle, cuff = {
        "short": (rng.uniform(0.20, 0.26), rng.uniform(34, 46), rng.uniform(0.125, 0.15)),
        "cap": (0.10, 52.0, 0.15),
        "long": (rng.uniform(0.52, 0.56), rng.uniform(15, 20), rng.uniform(0.075, 0.09)),
    }[sleeve]
    inside_back(canvas, cut, dip, neck, look.fabric)
    end, _ = sleeves(canvas, look, cut, length=length, angle=angle, cuff=cuff)
    canvas.mark(canvas.strokes(both(end - [0, 0.014]), 0.004), strength=0.35)
    canvas.paint(body_mask(canvas, cut, dip, neck), look.fabric, folds=0.55, shadow=0.35)
    ringer = rng.random() < 0.2 and look.pattern == "plain"
    band = companion(rng, look.colour)[1] if ringer else look.rgb
    neck_band(canvas, cut, dip, neck, band, 0.022)
    if ringer:
        canvas.mark(canvas.strokes(both(end - [0, 0.006]), 0.02), band, 0.9)
    if look.pattern == "plain" and not ringer and rng.random() < 0.3:
        _print(canvas, rng, look)
    look.details += [{"v": "V-neck", "crew": "crew neck", "scoop": "scoop neck"}[neck], f"{sleeve} sleeves"]
    if cropped:
        look.details.append("cropped")
    return look


def _print(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    """Print a simple motif on the chest."""
    _, ink = companion(rng, look.colour)
    motif = chosen(rng, ("circle", "bar", "heart", "mountain"))
    x, y, r = 0.5, 0.42, rng.uniform(0.06, 0.085)
    turn = np.linspace(0, 2 * np.pi, 40)
    if motif == "circle":
        shapes = [np.stack([x + r * np.cos(turn), y + r * np.sin(turn)], 1)]
    elif motif == "bar":
        shapes = [outline([(x - 0.11, y - 0.03), (x + 0.11, y - 0.03), (x + 0.11, y + 0.03), (x - 0.11, y + 0.03)])]
    elif motif == "heart":
        heart = np.stack(
            [
                16 * np.sin(turn) ** 3,
                -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)),
            ],
            1,
        )
        shapes = [heart / 16 * r + [x, y]]
    else:
        shapes = [
            outline(
                [
                    (x - 1.4 * r, y + r),
                    (x - 0.3 * r, y - r),
                    (x + 0.3 * r, y + 0.1 * r),
                    (x + 0.6 * r, y - 0.3 * r),
                    (x + 1.4 * r, y + r),
                ]
            )
        ]
    canvas.mark(canvas.mask(*shapes), ink, 0.92)
    look.details.append("printed")


def shirt(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a buttoned shirt or blouse."""
    look = dressed(
        rng,
        colours={
            "men": "white sky navy denim grey blush olive black cream",
            "women": "white blush cream sky lilac coral sage black mint",
        },
        patterns={
            "plain": 5,
            "pinstripe": 3,
            "gingham": 3,
            "tartan": 3,
            "denim": 1.2,
            "windowpane": 1.5,
            "dotted": 1,
            "floral": 1.3,
            "sprigged": 1.2,
            "striped": 0.5,
        },
        genders={"men": 1.3, "women": 1},
        price=39,
    )
    women = look.gender == "women"
    fit = rng.uniform(-0.012, 0.025)
    cut = Cut(
        neck=0.075,
        shoulder=0.205 + fit * 0.5 - 0.015 * women,
        chest=0.20 + fit - 0.015 * women,
        waist=0.19 + fit - 0.03 * women,
        hem=0.20 + fit - 0.01 * women,
        top=0.15,
        bottom=rng.uniform(0.84, 0.89),
        round_hem=rng.choice([0.015, 0.07]),
    )
    sleeve = chosen(rng, {"long": 3, "short": 1.4})
    dip = 0.05
    inside_back(canvas, cut, dip, "crew", look.fabric)
    if sleeve == "long":
        end, along = sleeves(canvas, look, cut, length=rng.uniform(0.51, 0.55), angle=rng.uniform(15, 20), cuff=0.085)
        canvas.mark(canvas.strokes(both(end - along * 0.05), 0.005), strength=0.5)
    else:
        end, along = sleeves(canvas, look, cut, length=0.24, angle=36, cuff=0.135)
        canvas.mark(canvas.strokes(both(end - along * 0.03), 0.005), strength=0.4)
    canvas.paint(body_mask(canvas, cut, dip, "crew"), look.fabric, folds=0.5, shadow=0.35)
    # Placket, buttons, pocket.
    top = cut.top + dip
    canvas.mark(
        canvas.strokes(
            [np.array([[0.478, top], [0.478, cut.bottom]]), np.array([[0.522, top], [0.522, cut.bottom]])], 0.004
        ),
        strength=0.35,
    )
    button = rgb("cream") if look.rgb.mean() < 0.6 else shaded(look.rgb, 0.5)
    buttons(canvas, button, 0.5, np.arange(top + 0.055, cut.bottom - 0.05, 0.095), 0.009)
    pockets = chosen(rng, {"none": 2, "one": 2, "two": 1})
    for x in {"none": [], "one": [0.605], "two": [0.395, 0.605]}[pockets]:
        pocket = outline([(x - 0.048, 0.37), (x + 0.048, 0.37), (x + 0.048, 0.465), (x, 0.485), (x - 0.048, 0.465)])
        canvas.paint(canvas.mask(pocket), look.fabric, shadow=0.3, volume=0.15, edge=0.25, tint=-0.015)
        canvas.mark(canvas.strokes([np.array([[x - 0.048, 0.39], [x + 0.048, 0.39]])], 0.004), strength=0.3)
    # Collar: a stand behind, two leaves in front.
    spread = rng.uniform(0.07, 0.11)
    leaf = outline(
        [
            (0.5, top + 0.008),
            (0.5 + cut.neck * 0.6, cut.top + 0.02, 0.5 + cut.neck + 0.004, cut.top - 0.022),
            (0.5 + cut.neck + 0.03, cut.top + 0.02),
            (0.5 + spread, top + 0.05),
        ]
    )
    contrast = rng.random() < 0.12
    cloth: Fabric | np.ndarray = rgb("white") if contrast else look.fabric
    stand = outline(
        [
            (0.5 - cut.neck, cut.top - 0.022),
            (0.5, cut.top - 0.034, 0.5 + cut.neck, cut.top - 0.022),
            (0.5 + cut.neck, cut.top + 0.01),
            (0.5, cut.top + 0.012, 0.5 - cut.neck, cut.top + 0.01),
        ]
    )
    canvas.paint(canvas.mask(stand), cloth, tint=-0.12, volume=0.2)
    canvas.paint(canvas.mask(*both(leaf)), cloth, angle=-35, mirror=True, shadow=0.5, volume=0.3, tint=0.03, edge=0.5)
    look.details.append(f"{sleeve} sleeves")
    if women and look.pattern in ("floral", "sprigged", "dotted", "plain"):
        look.details.append("blouse")
    return look


def sweater(canvas: Canvas, rng: np.random.Generator) -> Look:
    """Draw a knitted sweater."""
    look = dressed(
        rng,
        colours={
            "men": "navy grey charcoal burgundy forest camel cream olive mustard",
            "women": "cream blush camel grey lilac mustard terracotta red sage mint",
        },
        patterns={
            "melange": 3,
            "cable": 3.5,
            "ribbed": 3,
            "striped": 2.5,
            "multi-stripe": 2,
            "argyle": 2.2,
            "colour-block": 1.6,
            "plain": 1.5,
            "dotted": 0.4,
        },
        genders={"women": 1.2, "men": 1},
        price=59,
    )
    women = look.gender == "women"
    fit = rng.uniform(-0.015, 0.03)
    cut = Cut(
        neck=rng.uniform(0.075, 0.09),
        shoulder=0.20 + fit * 0.5 - 0.01 * women,
        chest=0.205 + fit,
        waist=0.205 + fit,
        hem=0.195 + fit,
        top=0.17,
        armpit=0.40,
        bottom=rng.uniform(0.80, 0.87),
        round_hem=0.004,
    )
    neck = chosen(rng, {"crew": 4, "v": 2.5, "turtle": 2.2})
    dip = {"crew": 0.055, "v": 0.16, "turtle": 0.03}[neck]
    if neck != "turtle":
        inside_back(canvas, cut, dip, "v" if neck == "v" else "crew", look.fabric)
    rib = companion(rng, look.colour)[1] if rng.random() < 0.15 else shaded(look.rgb, 0.9)
    end, along = sleeves(
        canvas, look, cut, length=rng.uniform(0.5, 0.54), angle=rng.uniform(15, 20), cuff=0.095, folds=0.8
    )
    canvas.paint(body_mask(canvas, cut, dip, "v" if neck == "v" else "crew"), look.fabric, folds=0.7, shadow=0.4)
    knit = ribs(rib)
    hem = outline(
        [
            (0.5 - cut.hem - 0.002, cut.bottom - 0.055),
            (0.5, cut.bottom - 0.047, 0.5 + cut.hem + 0.002, cut.bottom - 0.055),
            (0.5 + cut.hem - 0.012, cut.bottom),
            (0.5, cut.bottom + 0.008, 0.5 - cut.hem + 0.012, cut.bottom),
        ]
    )
    canvas.paint(canvas.mask(hem), knit, volume=0.3, shadow=0.3, edge=0.3)
    canvas.paint(canvas.mask(*cuffs(end, along, 0.055)), knit, volume=0.3, shadow=0.2, mirror=True)
    if neck == "turtle":
        tall = rng.uniform(0.05, 0.08)
        roll = outline(
            [
                (0.5 - cut.neck - 0.004, cut.top + 0.012),
                (0.5 - cut.neck + 0.006, cut.top - tall),
                (0.5, cut.top - tall - 0.014, 0.5 + cut.neck - 0.006, cut.top - tall),
                (0.5 + cut.neck + 0.004, cut.top + 0.012),
                (0.5, cut.top + 0.062, 0.5 - cut.neck - 0.004, cut.top + 0.012),
            ]
        )
        canvas.paint(canvas.mask(roll), knit, volume=0.9, shadow=0.5)
        canvas.mark(
            canvas.strokes(
                [
                    outline(
                        [
                            (0.5 - cut.neck, cut.top - tall * 0.4),
                            (0.5, cut.top - tall * 0.2, 0.5 + cut.neck, cut.top - tall * 0.4),
                        ]
                    )
                ],
                0.005,
            ),
            strength=0.35,
        )
    else:
        neck_band(canvas, cut, dip, "v" if neck == "v" else "crew", knit, 0.032)
    look.details.append({"v": "V-neck", "crew": "crew neck", "turtle": "turtleneck"}[neck])
    return look
