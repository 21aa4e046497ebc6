"""What a picture's shape says of it without any network: how far its sides differ, and of how many parts it is.

Shoes come in pairs, shirts in one piece with two like sleeves. A generator that has not learned so shows it here before
a feature extractor minds.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from recgan.dataset.style import silhouette

__all__ = ["asymmetry", "figure_parts", "likeness_of_parts"]

SMALLEST_PART = 0.01
"""Of the picture's area; what is smaller is a speck."""
AGREED = 0.7
"""A class has a number of parts if this share of its real images has it."""
_TOUCHING = np.ones((3, 3), dtype=int)
"""Pixels that touch at a corner belong together."""


def asymmetry(pixels: np.ndarray) -> np.ndarray:
    """Return the mean difference of images uint8 [N, S, S, 3] to their mirror images, float64 [N] in [0, 255]."""
    signed = pixels.astype(np.int16)
    return np.abs(signed - signed[:, :, ::-1]).mean(axis=(1, 2, 3))


def figure_parts(pixels: np.ndarray) -> np.ndarray:
    """Return of how many separate parts the figure of each image uint8 [N, S, S, 3] is, int64 [N]: connected pixels
    that differ from the border's colour (`recgan.dataset.style.silhouette`), specks left out."""
    least = SMALLEST_PART * pixels.shape[1] * pixels.shape[2]
    counts = []
    for mask in silhouette(pixels):
        labels, _ = scipy.ndimage.label(mask, _TOUCHING)
        counts.append((np.bincount(labels.ravel())[1:] >= least).sum())
    return np.array(counts, dtype=np.int64)


def likeness_of_parts(
    real: np.ndarray, real_class: np.ndarray, fake: np.ndarray, fake_class: np.ndarray
) -> tuple[float, int | None]:
    """Compare numbers of parts, int64 [n] and [m], of real and generated images of classes int64 [n] and [m].

    Returns:
        The share of generated images that have their class's usual number, over the same share of real ones, a mean
        over the classes that have a usual one (`AGREED`); and the class where it is least. nan and None without any.
    """
    ratios = {}
    for index in np.intersect1d(real_class, fake_class):
        of_real = real[real_class == index]
        share = np.bincount(of_real).max() / len(of_real)
        if share >= AGREED:
            usual = np.bincount(of_real).argmax()
            ratios[int(index)] = float((fake[fake_class == index] == usual).mean() / share)
    if not ratios:
        return float("nan"), None
    return float(np.mean(list(ratios.values()))), min(ratios, key=lambda index: ratios[index])
