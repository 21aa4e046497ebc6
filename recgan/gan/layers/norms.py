"""Norms: of weights, as they are used, and of the values of a pixel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["EqualConv2d", "EqualLinear", "SpectralConv2d", "SpectralLinear", "normalised", "unit_length"]


def unit_length(values: torch.Tensor) -> torch.Tensor:
    """Scale each pixel's (or row's) values [N, C, ...] to a root mean square of 1 (Karras et al. 2018, section 4.2)."""
    return values * (values.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def normalised(weight: torch.Tensor, u: torch.Tensor, training: bool) -> torch.Tensor:
    """Return a weight over its largest singular value, found by power iteration from ``u`` [rows], which one training
    pass takes one step further (Miyato et al. 2018, algorithm 1)."""
    matrix = weight.flatten(1)
    with torch.no_grad():
        if training:
            u.copy_(F.normalize(matrix @ F.normalize(matrix.T @ u, dim=0), dim=0))
        left = u.clone()  # a later pass moves u on, while this one's backward pass is yet to come
        right = F.normalize(matrix.T @ left, dim=0)
    return weight / (left @ (matrix @ right))


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight, as a matrix, has a largest singular value of about 1."""

    u: torch.Tensor

    def __init__(self, width_in: int, width: int, kernel: int, **options: int | bool) -> None:
        super().__init__(width_in, width, kernel, **options)  # type: ignore[arg-type]
        self.register_buffer("u", torch.empty(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.Conv2d`."""
        return self._conv_forward(x, normalised(self.weight, self.u, self.training), self.bias)

    def reset(self, generator: torch.Generator) -> None:
        """Draw the direction that the power iteration begins with."""
        nn.init.normal_(self.u, generator=generator)


class SpectralLinear(nn.Linear):
    """A linear layer whose weight has a largest singular value of about 1."""

    u: torch.Tensor

    def __init__(self, width_in: int, width: int, bias: bool = True) -> None:
        super().__init__(width_in, width, bias)
        self.register_buffer("u", torch.empty(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.Linear`."""
        return F.linear(x, normalised(self.weight, self.u, self.training), self.bias)

    def reset(self, generator: torch.Generator) -> None:
        """Draw the direction that the power iteration begins with."""
        nn.init.normal_(self.u, generator=generator)


class EqualLinear(nn.Linear):
    """A linear layer with weights of unit variance that are scaled as they are used, so that all layers learn equally
    fast (Karras et al. 2018, section 4.1). ``rate`` slows it down against the others."""

    def __init__(self, width_in: int, width: int, *, gain: float = 1.0, rate: float = 1.0) -> None:
        super().__init__(width_in, width)
        self.gain, self.rate = gain, rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.Linear`."""
        return F.linear(x, self.weight * (self.gain * self.rate / math.sqrt(self.in_features)), self.bias * self.rate)

    def reset(self, generator: torch.Generator) -> None:
        """Draw weights that have unit variance once scaled."""
        nn.init.normal_(self.weight, std=1 / self.rate, generator=generator)


class EqualConv2d(nn.Conv2d):
    """A convolution that keeps the side, with weights of unit variance that are scaled as they are used."""

    def __init__(self, width_in: int, width: int, kernel: int, *, gain: float = math.sqrt(2)) -> None:
        super().__init__(width_in, width, kernel, padding=kernel // 2)
        self.gain = gain

    @property
    def scaled(self) -> torch.Tensor:
        """The weight as it is used."""
        return self.weight * (self.gain / math.sqrt(self.weight[0].numel()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.Conv2d`."""
        return self._conv_forward(x, self.scaled, self.bias)

    def reset(self, generator: torch.Generator) -> None:
        """Draw weights of unit variance."""
        nn.init.normal_(self.weight, generator=generator)
