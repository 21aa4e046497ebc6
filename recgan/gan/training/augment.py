"""Differentiable augmentations of what the discriminator is shown, real and generated images alike (Zhao et al. 2020).

Each takes images float [N, 3, H, W] in [-1, 1] and draws its own parameters for every image from a CPU generator, so
that a run draws the same numbers on every device. Each leaves the image unchanged with enough probability that the
generator learns the unaugmented distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

__all__ = ["AUGMENTATIONS", "augment", "colour", "flip", "translate"]

MAX_SHIFT = 1 / 8
"""Largest translation, as a share of the image's side."""


def augment(images: torch.Tensor, names: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """Apply the named augmentations in turn to images [N, 3, H, W]; ``generator`` is a CPU generator."""
    for name in names:
        images = AUGMENTATIONS[name](images, generator)
    return images


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror left and right with probability 1/2: for goods whose left and right mean nothing."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def translate(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift by whole pixels, up to `MAX_SHIFT` of the side each way; the border's own pixels fill the gap."""
    n, _, height, width = images.shape
    reach = (round(height * MAX_SHIFT), round(width * MAX_SHIFT))
    down = torch.randint(0, 2 * reach[0] + 1, (n, 1), generator=generator).to(images.device)
    right = torch.randint(0, 2 * reach[1] + 1, (n, 1), generator=generator).to(images.device)
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]), mode="replicate").permute(0, 2, 3, 1)
    rows = (down + torch.arange(height, device=images.device))[:, :, None]
    columns = (right + torch.arange(width, device=images.device))[:, None, :]
    return padded[torch.arange(n, device=images.device)[:, None, None], rows, columns].permute(0, 3, 1, 2)


def colour(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Change brightness (by up to 0.2 of [-1, 1]) and saturation (by a factor of 0.6 to 1.4)."""
    brightness, saturation = torch.rand(2, len(images), 1, 1, 1, generator=generator).to(images.device)
    images = images + (brightness - 0.5) * 0.4
    grey = images.mean(dim=1, keepdim=True)
    return grey + (images - grey) * (0.6 + 0.8 * saturation)


AUGMENTATIONS = {"flip": flip, "translate": translate, "colour": colour}
