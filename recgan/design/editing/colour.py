"""The colour of what a picture shows, in CIE Lab: to keep it, and to tell whether it was kept."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recgan.dataset.style import silhouette
from recgan.design.objective import Candidates, Term

__all__ = ["FAMILY", "colour_difference", "colour_kept", "figure_colour"]

FAMILY = 20.0
"""CIE76 difference of mean colours up to which two figures are of one colour family: about eight times what can just be
seen."""
# sRGB primaries to XYZ over the D65 white (IEC 61966-2-1).
_TO_XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_TO_XYZ = _TO_XYZ / _TO_XYZ.sum(dim=1, keepdim=True)


def figure_colour(images: Tensor, masks: Tensor) -> Tensor:
    """Return the mean CIE Lab colour of each figure, float32 [N, 3], differentiable to the images.

    Args:
        images: sRGB float [N, 3, S, S] in [-1, 1].
        masks: which pixels are the figure's, float [N, S, S], 0 or 1.
    """
    srgb = (images + 1) / 2
    # The base is clamped so that the branch that is not taken has a finite gradient.
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("xc,nchw->nxhw", _TO_XYZ.to(images), linear)
    curved = torch.where(xyz > 216 / 24389, xyz.clamp(min=1e-3) ** (1 / 3), xyz * (841 / 108) + 4 / 29)
    x, y, z = curved.unbind(dim=1)
    lab = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
    return (lab * masks[:, None]).sum(dim=(2, 3)) / masks.sum(dim=(1, 2)).clamp(min=1)[:, None]


def colour_difference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the CIE76 difference of the mean colours of the figures in pairs of pictures uint8 [N, S, S, 3], float
    [N]; each figure is found in its own picture."""
    colours = []
    for pictures in (left, right):
        images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        colours.append(figure_colour(images, torch.from_numpy(silhouette(pictures)).float()))
    return (colours[0] - colours[1]).norm(dim=1).numpy()


def colour_kept(pictures: np.ndarray, device: torch.device, *, most: float = FAMILY / 2) -> Term:
    """Return the term ``-max(0, difference - most)``, in units of ``most``, from the colour of pictures uint8
    [n_designs, S, S, 3], one a design; the figure is looked for where it is there."""
    masks = torch.from_numpy(silhouette(pictures)).float().to(device)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
    wanted = figure_colour(images, masks)

    def term(candidates: Candidates) -> Tensor:
        own = candidates.design
        off = figure_colour(candidates.images, masks[own]) - wanted[own]
        return -((off.square().sum(dim=1) + 1e-6).sqrt() - most).clamp(min=0) / most

    return term
