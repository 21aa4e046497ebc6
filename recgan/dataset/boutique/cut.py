"""The trunk, neck and sleeves that tops and dresses share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recgan.dataset.boutique.canvas import Canvas, Fabric, mirrored, outline, shifted
from recgan.dataset.boutique.look import Look

__all__ = ["Cut", "body_mask", "both", "buttons", "cuffs", "inside_back", "neck_band", "neckline", "side", "sleeves"]


@dataclass
class Cut:
    """The measures of a top, in units of the square, from the middle outwards and from the top down."""

    neck: float = 0.085
    shoulder: float = 0.20
    chest: float = 0.195
    waist: float = 0.185
    hem: float = 0.195
    top: float = 0.14
    slope: float = 0.045
    armpit: float = 0.36
    bottom: float = 0.84
    round_hem: float = 0.015


def body_mask(canvas: Canvas, cut: Cut, dip: float, style: str) -> np.ndarray:
    """Return the mask of the trunk; the neckline dips ``dip`` below the shoulders, ``style`` crew, v, scoop or boat."""
    return canvas.mask(mirrored([*neckline(cut, dip, style), *side(cut)]))


def neckline(cut: Cut, dip: float, style: str) -> list[tuple[float, ...]]:
    """Return the right half of the neckline, from the middle to the shoulder's inner end."""
    start, end = (0.5, cut.top + dip), (0.5 + cut.neck, cut.top)
    if style == "v":
        return [start, (0.5 + cut.neck * 0.62, cut.top + dip * 0.42, *end)]
    if style == "boat":
        return [start, (0.5 + cut.neck * 0.8, cut.top + dip, *end)]
    return [start, (0.5 + cut.neck * 0.95, cut.top + dip * 0.98, *end)]


def side(cut: Cut) -> list[tuple[float, ...]]:
    """Return the right side: shoulder, armhole, side seam, hem to the middle."""
    shoulder = cut.top + cut.slope
    middle = (cut.armpit + cut.bottom) / 2
    return [
        (0.5 + cut.shoulder, shoulder),
        (0.5 + cut.shoulder - 0.028, (shoulder + cut.armpit) / 2, 0.5 + cut.chest, cut.armpit),
        (0.5 + cut.waist - 0.004, middle, 0.5 + cut.hem, cut.bottom - cut.round_hem),
        (0.5 + cut.hem * 0.55, cut.bottom, 0.5, cut.bottom),
    ]


def sleeves(
    canvas: Canvas,
    look: Look,
    cut: Cut,
    *,
    length: float,
    angle: float,
    cuff: float,
    flare: float = 0.0,
    folds: float = 0.6,
) -> tuple[np.ndarray, np.ndarray]:
    """Paint both sleeves; return the right one's cuff line [2, 2] (outer, inner) and the direction [2] it runs in."""
    turn = np.deg2rad(angle)
    along = np.array([np.sin(turn), np.cos(turn)])
    across = np.array([-along[1], along[0]])
    outer = np.array([0.5 + cut.shoulder, cut.top + cut.slope])
    inner = np.array([0.5 + cut.chest - 0.01, cut.armpit])
    end_outer = outer + along * length
    end_inner = end_outer + across * (cuff + flare)
    bulge = outer + along * length * 0.5 - across * (0.018 - flare * 0.3)
    inner_bend = (inner + end_inner) / 2 + across * 0.008
    right = outline(
        [
            (0.5 + cut.shoulder - 0.06, cut.top + cut.slope * 0.6),
            tuple(outer),
            (*bulge, *end_outer),
            tuple(end_inner),
            (*inner_bend, *inner),
            (0.5 + cut.chest - 0.07, cut.armpit),
        ]
    )
    mask = canvas.mask(right, right * [-1, 1] + [1, 0])
    canvas.paint(mask, look.fabric, angle=-angle, origin=(0.5 + cut.shoulder, cut.top), mirror=True, folds=folds)
    return np.array([end_outer, end_inner]), along


def both(line: np.ndarray) -> list[np.ndarray]:
    """Return a line and its mirror image about x = 0.5."""
    return [line, line * [-1, 1] + [1, 0]]


def inside_back(canvas: Canvas, cut: Cut, dip: float, style: str, fabric: Fabric | np.ndarray) -> None:
    """Paint the back of the garment, as seen through its neck."""
    back = [
        (0.5, cut.top + min(0.022, dip * 0.5)),
        (0.5 + cut.neck * 0.7, cut.top + 0.02, 0.5 + cut.neck, cut.top - 0.002),
    ]
    front = neckline(cut, dip + 0.02, style)
    right = np.concatenate([outline(back), outline(front)[::-1]])
    canvas.paint(canvas.mask(np.concatenate([right, right[::-1] * [-1, 1] + [1, 0]])), fabric, tint=-0.38, volume=0.4)


def neck_band(canvas: Canvas, cut: Cut, dip: float, style: str, colour: Fabric | np.ndarray, width: float) -> None:
    """Paint the rib along the neckline, front and back."""
    front = outline(neckline(cut, dip + width * 0.3, style))
    line = np.concatenate([front[::-1] * [-1, 1] + [1, 0], front])
    canvas.paint(canvas.strokes([line], width), colour, volume=0.0, tint=-0.08, shadow=0.25)


def cuffs(end: np.ndarray, along: np.ndarray, depth: float) -> list[np.ndarray]:
    """Return the outlines of both cuffs, ``depth`` deep, a little narrower than the sleeve that they gather."""
    inset = np.array([[0.004, 0.0], [-0.004, 0.0]])
    return both(np.concatenate([end + inset - along * depth, end[::-1] + along * 0.005]))


def buttons(canvas: Canvas, colour: np.ndarray, x: float, heights: np.ndarray, radius: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 14)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1) * radius
    canvas.mark(canvas.mask(*[shifted(ring * 1.3, x + 0.002, y + 0.003) for y in heights]), strength=0.35)
    canvas.mark(canvas.mask(*[shifted(ring, x, y) for y in heights]), colour, 0.95)
