"""A small drawing board: smooth outlines in a unit square, cloth with folds and shading, on a white ground.

Coordinates run from (0, 0), top left, to (1, 1), bottom right. A figure is painted at twice the final size from masks
drawn at four times it, then scaled down, so that every edge is antialiased.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["Canvas", "Fabric", "Point", "mirrored", "outline", "shifted"]

Point = tuple[float, ...]
"""An outline's step: (x, y) a straight line to there; (cx, cy, x, y) a quadratic curve; six numbers a cubic one."""
Fabric = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From cloth coordinates u, v (float32 [n, m], in units of the square) to colour planes in [0, 1]: float32 [3, n, m],
or [3, 1, 1] for a plain cloth."""

_COARSE = 4
_STEPS = np.linspace(0, 1, 13)[1:, None]


def outline(steps: Sequence[Point]) -> np.ndarray:
    """Return the polyline float64 [n, 2] through ``steps``, with its curves flattened."""
    points = [np.array([steps[0][-2:]])]
    for step in steps[1:]:
        start, end = points[-1][-1], np.array(step[-2:])
        if len(step) == 2:
            points.append(end[None])
        elif len(step) == 4:
            middle = np.array(step[:2])
            points.append((1 - _STEPS) ** 2 * start + 2 * _STEPS * (1 - _STEPS) * middle + _STEPS**2 * end)
        else:
            one, two = np.array(step[:2]), np.array(step[2:4])
            rest = 1 - _STEPS
            points.append(rest**3 * start + 3 * rest**2 * _STEPS * one + 3 * rest * _STEPS**2 * two + _STEPS**3 * end)
    return np.concatenate(points)


def mirrored(half: Sequence[Point]) -> np.ndarray:
    """Return the closed outline whose right half (top to bottom) is ``half``, reflected about x = 0.5."""
    right = outline(half)
    left = right[::-1] * [-1, 1] + [1, 0]
    return np.concatenate([right, left])


def shifted(points: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Return ``points`` moved by (dx, dy)."""
    return points + np.array([dx, dy])


class Canvas:
    """Paints parts one over the other; `finished` gives the picture.

    Args:
        size: side of the finished picture in pixels, a multiple of 8.
        rng: draws folds and highlights.
        ground: colour of the ground, float [3] in [0, 1].
        zoom: how much larger than drawn the figure is shown, about the square's middle.
    """

    def __init__(self, size: int, rng: np.random.Generator, ground: np.ndarray, zoom: float = 1.0) -> None:
        self.size = size
        self.rng = rng
        self.width = 2 * size
        self.zoom = zoom
        self._ground = ground.astype(np.float32)[:, None, None]
        # Planes, not pixels of three: NumPy is several times faster along a long last axis.
        self._colour = np.empty((3, self.width, self.width), dtype=np.float32)
        self._colour[:] = self._ground
        self._alpha = np.zeros((self.width, self.width), dtype=np.float32)
        axis = ((np.arange(self.width, dtype=np.float32) + 0.5) / self.width - 0.5) / zoom + 0.5
        self._x, self._y = axis[None, :], axis[:, None]

    def mask(self, *polygons: np.ndarray) -> np.ndarray:
        """Return how much of each pixel lies inside the union of the polygons, float32 [2 size, 2 size] in [0, 1]."""
        image = Image.new("L", (2 * self.width, 2 * self.width))
        draw = ImageDraw.Draw(image)
        for polygon in polygons:
            draw.polygon(self._placed(polygon), fill=255)
        return _as_mask(image.reduce(2))

    def strokes(self, lines: Sequence[np.ndarray], width: float) -> np.ndarray:
        """Return the mask of polylines drawn ``width`` (units) thick, with round joints."""
        image = Image.new("L", (2 * self.width, 2 * self.width))
        draw = ImageDraw.Draw(image)
        thick = max(1, round(width * self.zoom * 2 * self.width))
        for line in lines:
            draw.line(self._placed(line), fill=255, width=thick, joint="curve")
        return _as_mask(image.reduce(2))

    def _placed(self, points: np.ndarray) -> list[tuple[float, float]]:
        fine = 2 * self.width
        return [(x, y) for x, y in (((points - 0.5) * self.zoom + 0.5) * fine).tolist()]

    def paint(
        self,
        mask: np.ndarray,
        fabric: Fabric | Sequence[float] | np.ndarray,
        *,
        angle: float = 0.0,
        origin: tuple[float, float] = (0.5, 0.5),
        mirror: bool = False,
        folds: float = 0.0,
        volume: float = 1.0,
        gloss: float = 0.0,
        shadow: float = 0.0,
        edge: float = 0.35,
        tint: float = 0.0,
    ) -> None:
        """Paint a part over what is there.

        Args:
            mask: float32 [2 size, 2 size].
            fabric: the cloth, or one plain colour (red, green, blue in [0, 1]).
            angle: the cloth's turn in degrees, so that a sleeve's stripes run across the sleeve.
            origin: where the cloth's (0, 0) lies.
            mirror: the cloth's left half is its right one mirrored about x = 0.5 (both sleeves at once).
            folds: strength of soft vertical folds.
            volume: how much the light from the upper left models the part.
            gloss: strength of highlights (leather, satin).
            shadow: strength of the soft shadow that it throws on the parts beneath it.
            edge: how much its rim is darkened.
            tint: lightens (> 0) or darkens (< 0) the whole part.
        """
        box = self._box(mask, 0.055 if shadow else 0.0)
        mask, there, alpha = mask[box], self._colour[:, box[0], box[1]], self._alpha[box]
        # Soft things are worked out on a grid a quarter as fine, then scaled up.
        coarse = _small(mask)
        near = _blurred(coarse, 0.018 * self.width / _COARSE)
        light = np.full_like(near, 1 + tint)
        bend: np.ndarray | float = 0.0
        if folds:
            bend = self._noise(box, (6, 1, 1.0), (11, 2, 0.45))
            light += folds * 0.16 * bend
            bend = _grown(bend)
        if volume:
            wide = _blurred(coarse, 0.07 * self.width / _COARSE)
            slope = np.zeros_like(wide)
            slope[1:-1, 1:-1] = wide[1:-1, 2:] - wide[1:-1, :-2] + wide[2:, 1:-1] - wide[:-2, 1:-1]
            light += volume * (0.19 * (wide - 0.85) + 0.008 * self.width / _COARSE * slope)
            rim = np.maximum(0.95 - near, 0)
            light -= edge * rim * np.sqrt(rim)
        sheen = self._noise(box, (4, 5, 1.0)) if gloss else None
        light = _grown(light)
        if shadow:
            there *= 1 - shadow * _grown(near) * (1 - mask) * alpha
        if callable(fabric):
            x, y = self._x[:, box[1]] - np.float32(origin[0]), self._y[box[0]] - np.float32(origin[1])
            if mirror:
                x = np.abs(self._x[:, box[1]] - 0.5) + np.float32(0.5 - origin[0])
            u, v = _turned(x, y, angle)
            sway = np.float32(folds * 0.03) * bend
            shaded = fabric(u + sway, v + np.float32(0.6) * sway) * light
        else:
            shaded = np.asarray(fabric, dtype=np.float32)[:, None, None] * light
        if sheen is not None:
            sheen = np.maximum(_grown(sheen), 0) ** 2 + np.maximum(light - 1.02, 0) * 2
            shaded += gloss * sheen * (1 - shaded)
        # Porter-Duff "over", with plain (not premultiplied) colours.
        total = mask + alpha * (1 - mask)
        np.clip(shaded, 0, 1, out=shaded)
        shaded -= there
        shaded *= mask / np.maximum(total, 1e-6)
        there += shaded
        alpha[:] = total

    def mark(self, mask: np.ndarray, colour: Sequence[float] | np.ndarray | None = None, strength: float = 0.3) -> None:
        """Darken what is there along ``mask`` (a seam), or draw over it with ``colour``; never outside the figure."""
        box = self._box(mask, 0.0)
        there = self._colour[:, box[0], box[1]]
        inside = mask[box] * self._alpha[box] * strength
        ink = 0.45 * there if colour is None else np.asarray(colour, dtype=np.float32)[:, None, None]
        there += inside * (ink - there)

    def _noise(self, box: tuple[slice, slice], *octaves: tuple[int, int, float]) -> np.ndarray:
        """Return smooth noise over ``box``, mostly in [-1, 1], on the coarse grid: each octave has so many bumps across
        and down, and a strength."""
        side = self.width // _COARSE
        total = np.zeros((side, side), dtype=np.float32)
        for across, down, strength in octaves:
            grid = (0.6 * strength * self.rng.standard_normal((down + 2, across + 2))).astype(np.float32)
            total += np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC))
        rows, columns = (slice(span.start // _COARSE, span.stop // _COARSE) for span in box)
        return total[rows, columns]

    def _box(self, mask: np.ndarray, margin: float) -> tuple[slice, slice]:
        """Return the slices around what ``mask`` covers, on the coarse grid's lines: small parts cost little."""
        reach = int(margin * self.width) + _COARSE
        spans = []
        for axis in (1, 0):
            filled = np.flatnonzero(mask.max(axis=axis))
            first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
            start, stop = max(0, first - reach), min(self.width, last + reach)
            spans.append(slice(start - start % _COARSE, stop + -stop % _COARSE))
        return spans[0], spans[1]

    def finished(self, *, contact: float = 0.0) -> Image.Image:
        """Return the RGB picture [size, size] with its drop shadow; ``contact`` adds that of a thing that stands."""
        alpha = _halved(self._alpha)
        colour = _halved(self._colour * self._alpha)
        down = np.zeros_like(alpha)
        lift = round(0.022 * self.size)
        down[lift:] = alpha[:-lift]
        lifted = Image.fromarray((down * 255).astype(np.uint8))
        shade = 0.20 * _blurred(lifted, 0.02 * self.size) + 0.10 * _blurred(lifted, 0.006 * self.size)
        if contact:
            filled = np.flatnonzero(alpha.max(axis=1) > 0.5)
            columns = np.flatnonzero(alpha[filled[-1] - self.size // 16 :].max(axis=0) > 0.5)
            axis = np.arange(self.size, dtype=np.float32)
            middle, half = (columns[0] + columns[-1]) / 2, (columns[-1] - columns[0]) / 2 + 0.01 * self.size
            reach = ((axis[None, :] - middle) / half) ** 8 + ((axis[:, None] - filled[-1]) / (0.026 * self.size)) ** 2
            shade = np.maximum(shade, contact * np.exp(-reach))
        picture = colour + (1 - alpha) * (1 - shade) * self._ground
        return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0).copy())


def _halved(values: np.ndarray) -> np.ndarray:
    rows = values[..., ::2, :] + values[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25)


def _small(mask: np.ndarray) -> Image.Image:
    return Image.fromarray((mask * 255).astype(np.uint8)).reduce(_COARSE)


def _grown(coarse: np.ndarray) -> np.ndarray:
    height, width = coarse.shape
    return np.asarray(Image.fromarray(coarse).resize((width * _COARSE, height * _COARSE), Image.Resampling.BILINEAR))


def _blurred(image: Image.Image, radius: float) -> np.ndarray:
    return _as_mask(image.filter(ImageFilter.GaussianBlur(radius)))


def _turned(x: np.ndarray, y: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    if not degrees:
        return x, y
    turn = np.deg2rad(degrees)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return x * cos + y * sin, y * cos - x * sin


def _as_mask(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)
