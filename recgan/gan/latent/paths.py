"""Ways through a latent space and from class to class, and the pictures along them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recgan.gan.conditioning import one_hot
from recgan.gan.latent.space import LatentSpace

__all__ = ["class_walk", "tour", "walk"]


def walk(space: LatentSpace, start: Tensor, end: Tensor, classes: Tensor, steps: int) -> Tensor:
    """Return the images of ``steps`` points from each start [N, dim] to its end [N, dim], both included, of one class a
    row; float [N, steps, 3, S, S]."""
    points = space.between(start, end, torch.linspace(0, 1, steps))
    images = space.images(points.flatten(0, 1), classes.repeat_interleave(steps, dim=0))
    return images.unflatten(0, (len(start), steps))


def class_walk(
    space: LatentSpace,
    seeds: Sequence[int],
    start: int,
    end: int,
    n_classes: int,
    steps: int,
    truncation: float | None = None,
) -> Tensor:
    """Return what becomes of each seed's picture while its class changes evenly from index ``start`` to ``end``; float
    [N, steps, 3, S, S]."""
    labels = one_hot(torch.tensor([start, end]), n_classes).to(space.device)
    weights = torch.lerp(labels[0], labels[1], torch.linspace(0, 1, steps, device=space.device)[:, None])
    starts, ends = (space.draw(seeds, label.expand(len(seeds), -1), truncation) for label in labels)
    points = space.between(starts, ends, torch.linspace(0, 1, steps))  # in z both are the same point
    images = space.images(points.flatten(0, 1), weights.repeat(len(seeds), 1))
    return images.unflatten(0, (len(seeds), steps))


def tour(space: LatentSpace, keys: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Return the images of a round trip through the points ``keys`` [K, dim] and back to the first, ``steps`` from each
    to the next; float [K steps, 3, S, S]. The classes, as weights ``labels`` float [K, n_classes], change evenly."""
    shares = torch.arange(steps) / steps
    points = space.between(keys, keys.roll(-1, 0), shares)
    weights = torch.lerp(labels[:, None], labels.roll(-1, 0)[:, None], shares.to(labels)[None, :, None])
    return space.images(points.flatten(0, 1), weights.flatten(0, 1))
