"""Layers that draw while a network trains, from the generator that is lent to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["Dropout", "Noise", "randomness"]


class _Random(nn.Module):
    """A layer that draws while it trains, from the generator that `randomness` lends it."""

    source: torch.Generator | None = None

    def draw(self, sample: Callable[..., torch.Tensor], like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return ``sample(shape)``, drawn on the CPU so that every device gets the same numbers."""
        if self.source is None:
            raise RuntimeError("a network with random layers trains within 'randomness' only")
        return sample(shape, generator=self.source).to(like)


@contextmanager
def randomness(generator: torch.Generator, *networks: nn.Module) -> Iterator[None]:
    """Lend a CPU generator to the random layers of networks for as long as the block runs."""
    layers = [layer for network in networks for layer in network.modules() if isinstance(layer, _Random)]
    for layer in layers:
        layer.source = generator
    try:
        yield
    finally:
        for layer in layers:
            layer.source = None


class Dropout(_Random):
    """Sets a share of the features to 0 while it trains, and scales the rest up by as much."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, of any shape."""
        if not self.training or not self.share:
            return x
        kept = self.draw(torch.rand, x, tuple(x.shape)) >= self.share
        return x * kept / (1 - self.share)


class Noise(_Random):
    """Adds one map of noise to all channels, each by its own learnt strength (Karras et al. 2019, section 3.2).

    In eval mode the noise is one fixed map, so an image follows from its latent alone.
    """

    fixed: torch.Tensor

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.empty(width))
        self.register_buffer("fixed", torch.empty(1, 1, side, side))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x [N, width, side, side] with noise."""
        noise = self.draw(torch.randn, x, (len(x), 1, *x.shape[2:])) if self.training else self.fixed
        return x + noise * self.strength[:, None, None]

    def reset(self, generator: torch.Generator) -> None:
        """Begin without noise, and draw the fixed map."""
        nn.init.zeros_(self.strength)
        nn.init.normal_(self.fixed, generator=generator)
