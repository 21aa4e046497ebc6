"""From a picture back to the latent that makes it: an encoder's guess, then gradient descent from there.

The encoder E(x, c) learns from the generator's own samples, whose latents are known; it has never seen a photo. What
the generator cannot make, no latent gives back: the error says how far it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recgan.config import InverterSettings
from recgan.gan.conditioning import ClassEmbedding, join_maps
from recgan.gan.latent.likeness import Likeness
from recgan.gan.latent.space import LatentSpace
from recgan.gan.layers import GROUPS, SLOPE, START, initialise, widths
from recgan.gan.sampling import in_blocks

__all__ = ["InversionNetwork", "Restored", "descend", "guess", "on_shell", "pixel_error", "restore"]

CLASS_DIM = 32
ROWS = 8
"""Pictures that are descended together."""
DRAW = partial(nn.init.kaiming_normal_, a=SLOPE, nonlinearity="leaky_relu")


class InversionNetwork(nn.Module):
    """E(images [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> points float [N, dim] of a latent space.

    Strided convolutions down to 4 x 4 with group norm, as in `recgan.gan.networks.dcgan`; there the class is joined and
    mixed in.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, n_classes: int, size: int, width: int) -> None:
        super().__init__()
        outputs = widths(width, size)[::-1]
        self.classes = ClassEmbedding(n_classes, CLASS_DIM)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in zip([3, *outputs], outputs)
        )
        self.mix = nn.Conv2d(outputs[-1] + CLASS_DIM, outputs[-1], 1)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, channels) for channels in [*outputs, outputs[-1]])
        self.dense = nn.Linear(outputs[-1] * START**2, dim)
        self.register_buffer("mean", torch.empty(dim))
        self.register_buffer("deviation", torch.empty(dim))

    def forward(self, images: Tensor, class_index: Tensor) -> Tensor:
        """Return points float [N, dim], not yet settled (`guess` does that)."""
        x = images
        for layer, norm in zip(self.layers, self.norms):
            x = F.leaky_relu(norm(layer(x)), SLOPE)
        x = F.leaky_relu(self.norms[-1](self.mix(join_maps(x, self.classes(class_index)))), SLOPE)
        return self.mean + self.deviation * self.dense(x.flatten(1))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from ``generator``; points are thought to be standard normal."""
        initialise(self, generator, DRAW)
        nn.init.zeros_(self.mean)
        nn.init.ones_(self.deviation)


@dataclass(frozen=True)
class Restored:
    """What N pictures were brought back to."""

    points: Tensor
    """Of the latent space, float [N, dim]."""
    images: Tensor
    """What the generator makes of them, float [N, 3, S, S] in [-1, 1]."""
    distance: Tensor
    """How unlike the pictures those are by `Likeness`, float [N]; of the descent what it made small."""
    error: Tensor
    """Root mean square error of their pixels, in steps of 255, float [N]."""


def guess(network: InversionNetwork, space: LatentSpace, images: Tensor, class_index: Tensor) -> Tensor:
    """Return the encoder's points [N, dim] of images float [N, 3, S, S] in [-1, 1] of class_index int64 [N], settled:
    in z they lie on the shell of the prior."""
    with torch.no_grad():
        return on_shell(space, in_blocks(network, images, class_index))


def on_shell(space: LatentSpace, points: Tensor) -> Tensor:
    """Return points [N, dim]: in z with the prior's usual length, in w as they are; differentiable."""
    if space.name == "w":
        return points
    return points * (space.radius / points.norm(dim=1, keepdim=True).clamp(min=1e-12))


def pixel_error(images: Tensor, targets: Tensor) -> Tensor:
    """Return the root mean square error of images [N, 3, S, S] in [-1, 1], in steps of 255, float [N]."""
    return (images - targets).square().mean(dim=(1, 2, 3)).sqrt() * 127.5


def restore(space: LatentSpace, likeness: Likeness, points: Tensor, targets: Tensor, class_index: Tensor) -> Restored:
    """Return what points [N, dim] make, beside the pictures ``targets`` that they are to restore."""
    images = space.images(points, class_index)
    seen = likeness.features(targets)

    @torch.no_grad()
    def compare(*block: Tensor) -> Tensor:
        return likeness(*block)

    return Restored(points, images, in_blocks(compare, images, targets, seen), pixel_error(images, targets))


def descend(
    space: LatentSpace,
    likeness: Likeness,
    start: Tensor,
    targets: Tensor,
    class_index: Tensor,
    settings: InverterSettings,
    unit: Tensor,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Return the points [N, dim] with the smallest distance that gradient descent from start [N, dim] met, which it was
    at most itself.

    Rows do not depend on each other, and on the CPU a row is the same to the bit in any company.

    Args:
        targets: float [N, 3, S, S] in [-1, 1] on the space's device.
        unit: standard deviation of each number of a point, float [dim].
        on_step: told after every step how many picture-steps are done; raising from it stops the descent.
    """
    seen = likeness.features(targets)
    done = 0

    def block(point: Tensor, target: Tensor, features: Tensor, classes: Tensor) -> Tensor:
        nonlocal done
        offset = torch.zeros_like(point).requires_grad_()
        optimiser = torch.optim.Adam([offset], lr=settings.step_length)
        kept, least = point.clone(), torch.full((len(point),), torch.inf, device=point.device)
        for step in range(settings.steps + 1):
            now = on_shell(space, point + unit * offset)
            distance = likeness(space.decode(now, classes), target, features)
            better = distance.detach() < least
            least[better] = distance.detach()[better]
            kept[better] = now.detach()[better]
            if step < settings.steps:
                (offset.grad,) = torch.autograd.grad(distance.sum(), offset)
                optimiser.step()
                done += len(point)
                on_step(done)
        return kept

    return in_blocks(block, start, targets, seen, class_index, block=ROWS)
