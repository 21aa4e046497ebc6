"""What the company of an image in its batch says of it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

__all__ = ["MinibatchDeviation", "MinibatchDiscrimination"]


class _Company(nn.Module, ABC):
    """Appends to features [N, d] what a batch says of each of its images; in eval mode, what batches said on average
    in training."""

    MOMENTUM = 0.01
    usual: torch.Tensor

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.empty(extra))

    @abstractmethod
    def statistics(self, features: torch.Tensor) -> torch.Tensor:
        """Return [N, extra]."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return [N, d + extra]."""
        if self.training:
            extra = self.statistics(features)
            with torch.no_grad():
                self.usual.lerp_(extra.mean(dim=0).to(self.usual), self.MOMENTUM)
        else:
            extra = self.usual.expand(len(features), -1)
        return torch.cat([features, extra.to(features)], dim=1)

    def reset(self, generator: torch.Generator) -> None:
        """Forget the batches seen."""
        nn.init.zeros_(self.usual)


class MinibatchDeviation(_Company):
    """Appends the standard deviation over the batch, averaged over all features (Karras et al. 2018, section 3)."""

    def __init__(self) -> None:
        super().__init__(1)

    def statistics(self, features: torch.Tensor) -> torch.Tensor:
        """Return [N, 1], the same for every image."""
        # The epsilon keeps the gradient finite where a feature does not vary.
        deviation = (features.float().var(dim=0, correction=0) + 1e-8).sqrt().mean()
        return deviation.expand(len(features), 1)


class MinibatchDiscrimination(_Company):
    """Appends how near an image's features are to those of the others (Salimans et al. 2016, section 3.2):
    o_b(x_i) = sum over j != i of exp(-|M_b x_i - M_b x_j|_1), with learnt matrices M_b."""

    KERNELS, KERNEL_DIM = 16, 8

    def __init__(self, width: int) -> None:
        super().__init__(self.KERNELS)
        self.project = nn.Linear(width, self.KERNELS * self.KERNEL_DIM, bias=False)

    def statistics(self, features: torch.Tensor) -> torch.Tensor:
        """Return [N, KERNELS]."""
        m = self.project(features).view(len(features), self.KERNELS, self.KERNEL_DIM)
        distance = (m[:, None] - m[None]).abs().sum(dim=3)
        return (-distance).exp().sum(dim=1) - 1  # an image is no company to itself
