"""CNN-F, the network that DVBPR learns from scratch (Chatfield et al. 2014; Kang et al. 2017 as released)."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["CNNF"]


class _Same(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: the output has ceil(side / stride) pixels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        padding = []
        for side, kernel, stride in zip(images.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            missing = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(nn.functional.pad(images, padding))


class CNNF(nn.Sequential):
    """Images [N, 3, S, S], as (pixel - 127.5) / 127.5 -> [N, dim].

    Convolutions 11 x 11 x 64 of stride 4, 5 x 5 x 256 and three of 3 x 3 x 256, SAME padding and ReLU; 2 x 2
    max-pooling after the first, the second and the fifth; fully connected to ``hidden``, ``hidden`` and ``dim``, with
    dropout 0.5 before the last two. Weights by Xavier's uniform rule, biases 0. The paper's S is 224, its ``hidden``
    4096.
    """

    def __init__(self, dim: int, *, size: int = 224, hidden: int = 4096) -> None:
        side = math.ceil(size / 4)
        for _ in range(3):
            side = math.ceil(side / 2)

        def pool() -> nn.Module:
            return nn.MaxPool2d(2, ceil_mode=True)

        super().__init__(
            *(_Same(3, 64, 11, stride=4), nn.ReLU(), pool()),
            *(_Same(64, 256, 5), nn.ReLU(), pool()),
            *(_Same(256, 256, 3), nn.ReLU()),
            *(_Same(256, 256, 3), nn.ReLU()),
            *(_Same(256, 256, 3), nn.ReLU(), pool()),
            nn.Flatten(),
            *(nn.Linear(256 * side**2, hidden), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(hidden, dim),
        )

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights anew from ``generator``."""
        for module in self:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
