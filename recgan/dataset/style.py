"""Style descriptors: what an item looks like, in nine numbers that can be computed from the pixels of any image.

They describe the foreground, which is what differs from the colour of the image's border: its colour (mean and spread
in CIE Lab), its texture (edges, repetition) and its outline (fill, aspect). `recgan.dataset.simulate` gives users a
taste in this space.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from PIL import Image

from recgan.dataset.pixels import letterbox

__all__ = ["DESCRIPTOR_NAMES", "STYLE_SIZE", "silhouette", "srgb_to_lab", "style_descriptors"]

DESCRIPTOR_NAMES = (
    "lightness",  # mean L
    "green_red",  # mean a
    "blue_yellow",  # mean b
    "lightness_spread",  # standard deviation of L
    "colour_spread",  # root of the summed variances of a and b
    "edge_density",  # share of inner pixels where L changes by more than EDGE a pixel
    "periodicity",  # how strongly a pattern repeats along rows or columns
    "fill",  # area over that of a rectangle with the same spread: 1 for a rectangle, less for a thin or hollow shape
    "aspect",  # log of height over width, both measured by the spread of the outline's pixels
)
"""The names of the descriptors, in the order of their columns."""
STYLE_SIZE = 64
"""Side in pixels at which images are described; others are scaled to it."""

GROUND_DISTANCE = 8.0
"""A pixel is foreground if it is farther than this from the ground's colour in Lab."""
SMALLEST = 0.02
"""An image with a smaller share of foreground has no figure to describe: the whole frame is taken."""
EDGE = 6.0
LAGS = 24
"""A pattern's period is looked for up to this many pixels."""
FLAT = 4.0
"""Added to the variance of L, so that the noise of an even surface is no pattern."""
_CHUNK = 512

_LINEAR = np.arange(256) / 255.0
_LINEAR = np.where(_LINEAR <= 0.04045, _LINEAR / 12.92, ((_LINEAR + 0.055) / 1.055) ** 2.4).astype(np.float32)
# sRGB primaries to XYZ over the D65 white (IEC 61966-2-1).
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_TO_XYZ = (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).astype(np.float32)


def srgb_to_lab(pixels: np.ndarray) -> np.ndarray:
    """Return CIE 1976 L*a*b* (D65 white; L in [0, 100]) of sRGB pixels uint8 [..., 3], as planes float32 [3, ...]."""
    red, green, blue = (_LINEAR[pixels[..., channel]] for channel in range(3))
    curved = []
    for row in _TO_XYZ:
        share = row[0] * red + row[1] * green + row[2] * blue
        curved.append(np.where(share > 216 / 24389, np.cbrt(share), share * np.float32(841 / 108) + np.float32(4 / 29)))
    x, y, z = curved
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def style_descriptors(pixels: np.ndarray) -> np.ndarray:
    """Return the style descriptors float32 [N, 9] of square images uint8 [N, S, S, 3]; see `DESCRIPTOR_NAMES`.

    Raises:
        ValueError: the images are not uint8 [N, S, S, 3].
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != pixels.shape[2] or pixels.shape[3] != 3:
        raise ValueError(f"expected uint8 [N, S, S, 3], got {pixels.dtype} {list(pixels.shape)}")
    out = np.empty((len(pixels), len(DESCRIPTOR_NAMES)), dtype=np.float32)
    for start in range(0, len(pixels), _CHUNK):
        chunk = np.asarray(pixels[start : start + _CHUNK])
        if chunk.shape[1] != STYLE_SIZE:
            chunk = np.stack([letterbox(Image.fromarray(image), STYLE_SIZE) for image in chunk])
        out[start : start + _CHUNK] = _described(chunk)
    return out


def silhouette(pixels: np.ndarray) -> np.ndarray:
    """Return the mask bool [N, S, S] of the figure in each image uint8 [N, S, S, 3]; the whole frame if none is seen.

    A pixel belongs to it if its colour differs from the ground's (the median colour of the border), or if there is such
    a pixel on all four sides of it: a white shirt on white is known by its outline.
    """
    return _silhouette(pixels, srgb_to_lab(pixels))


def _silhouette(pixels: np.ndarray, lab: np.ndarray) -> np.ndarray:
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1)
    ground = srgb_to_lab(np.median(border, axis=1).astype(np.uint8))[:, :, None, None]
    differs = ((lab - ground) ** 2).sum(axis=0) > GROUND_DISTANCE**2
    reach = np.logical_or.accumulate
    enclosed = reach(differs, axis=1) & reach(differs, axis=2)
    enclosed &= reach(differs[:, ::-1], axis=1)[:, ::-1] & reach(differs[:, :, ::-1], axis=2)[:, :, ::-1]
    enclosed[enclosed.mean(axis=(1, 2)) < SMALLEST] = True
    return enclosed


def _described(pixels: np.ndarray) -> np.ndarray:
    lab = srgb_to_lab(pixels)
    inside = _silhouette(pixels, lab)
    area = inside.sum(axis=(1, 2)).astype(np.float32)
    mean = (lab * inside).sum(axis=(2, 3)) / area
    off = (lab - mean[:, :, None, None]) * inside
    variance = (off**2).sum(axis=(2, 3)) / area
    height, width = _spread(inside.sum(axis=2)), _spread(inside.sum(axis=1))
    # Texture is read two pixels inside the outline, where the ground does not shine through.
    inner = _eroded(_eroded(inside))
    return np.stack(
        [
            *mean,
            np.sqrt(variance[0]),
            np.sqrt(variance[1] + variance[2]),
            _edge_density(lab[0], inner),
            _periodicity(lab[0], inner),
            area / (12 * height * width),
            np.log(height / width),
        ],
        axis=1,
    )


def _spread(counts: np.ndarray) -> np.ndarray:
    """Return the standard deviation of position [N] of pixels counted along one axis [N, S]; a line's is that of one
    pixel's width."""
    place = np.arange(counts.shape[1], dtype=np.float32)
    total = counts.sum(axis=1)
    middle = (counts * place).sum(axis=1) / total
    return np.sqrt((counts * (place - middle[:, None]) ** 2).sum(axis=1) / total + 1 / 12)


def _edge_density(lightness: np.ndarray, inner: np.ndarray) -> np.ndarray:
    inner = inner[:, 1:-1, 1:-1]
    down = lightness[:, 2:, 1:-1] - lightness[:, :-2, 1:-1]
    across = lightness[:, 1:-1, 2:] - lightness[:, 1:-1, :-2]
    edges = (down**2 + across**2 > (2 * EDGE) ** 2) & inner
    return edges.sum(axis=(1, 2)) / np.maximum(inner.sum(axis=(1, 2)), 1)


def _eroded(mask: np.ndarray) -> np.ndarray:
    smaller = mask.copy()
    smaller[:, 1:] &= mask[:, :-1]
    smaller[:, :-1] &= mask[:, 1:]
    smaller[:, :, 1:] &= mask[:, :, :-1]
    smaller[:, :, :-1] &= mask[:, :, 1:]
    return smaller


def _periodicity(lightness: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return how far the autocorrelation of L rises again after a fall, along rows or columns, float [N] in [0, 2].

    Shading falls off and never rises; stripes rise to their height again after one period.
    """
    mean = (lightness * inner).sum(axis=(1, 2)) / np.maximum(inner.sum(axis=(1, 2)), 1)
    off, weight = (lightness - mean[:, None, None]) * inner, inner.astype(np.float32)
    # Every other line is enough.
    along = _rise(off[:, ::2], weight[:, ::2])
    down = _rise(off[:, :, ::2].transpose(0, 2, 1), weight[:, :, ::2].transpose(0, 2, 1))
    return np.maximum(along, down)


def _rise(off: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the greatest rise of the lines' common autocorrelation after its lowest point so far; lags at which less
    than a quarter of the figure overlaps itself do not count."""
    length = scipy.fft.next_fast_len(off.shape[2] + LAGS, real=True)

    def correlated(values: np.ndarray) -> np.ndarray:
        power = np.abs(scipy.fft.rfft(values, length, axis=2)) ** 2
        return scipy.fft.irfft(power.sum(axis=1), length, axis=1)[:, : LAGS + 1]

    overlap = correlated(weight)
    area = np.maximum(overlap[:, :1], 1)
    covariance = correlated(off)
    counts = overlap >= 0.25 * area
    correlation = covariance / np.maximum(overlap, 0.25 * area) / (covariance[:, :1] / area + FLAT)
    lowest = np.minimum.accumulate(np.where(counts, correlation, np.inf), axis=1)
    return np.where(counts, correlation - lowest, 0).max(axis=1)
