"""How alike two pictures are, from their pixels. Pure functions over arrays."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["structural_similarity"]

_SIGMA = 1.5
_RADIUS = 5
"""The Gaussian window of 11 x 11 pixels of the paper."""
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LUMA = np.array([0.299, 0.587, 0.114])


def structural_similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the structural similarity of the luminance of pairs of pictures, float64 [N]: 1 for equal ones, towards 0
    (and a little below) for unlike ones (Wang et al. 2004, equation 13; the mean over all whole windows).

    Args:
        left, right: uint8 [N, H, W, 3], sides of at least 11 pixels.
    """
    if left.shape != right.shape or left.ndim != 4 or min(left.shape[1:3]) < 2 * _RADIUS + 1:
        raise ValueError(f"expected two arrays [N, H, W, 3] with sides from 11 px, got {left.shape} and {right.shape}")
    x, y = (pictures.astype(np.float64) @ _LUMA for pictures in (left, right))
    inside = slice(_RADIUS, -_RADIUS)

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (0, _SIGMA, _SIGMA), radius=(0, _RADIUS, _RADIUS))[:, inside, inside]

    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return (alike / ((mean_x**2 + mean_y**2 + _C1) * (variances + _C2))).mean(axis=(1, 2))
