"""What all discriminators share: a trunk that gives features, and heads that judge them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from recgan.config import Recipe
from recgan.gan.conditioning import ClassEmbedding
from recgan.gan.layers import Dropout, MinibatchDeviation, MinibatchDiscrimination, SpectralLinear

__all__ = ["Discriminator", "Judgement"]


@dataclass(frozen=True)
class Judgement:
    """What a discriminator says of N images."""

    logits: torch.Tensor
    """How real they are, float [N]: what the adversarial loss is taken of."""
    class_logits: torch.Tensor | None = None
    """Which class each shows, float [N, n_classes], where the recipe has D name it."""
    code: torch.Tensor | None = None
    """Mean and log variance of the code that each was made from, float [N, 2 code_dim], where the recipe has one."""

    def float(self) -> Judgement:
        """Return the same in float32."""
        return Judgement(
            self.logits.float(),
            None if self.class_logits is None else self.class_logits.float(),
            None if self.code is None else self.code.float(),
        )


class Discriminator(nn.Module, ABC):
    """D(images float [N, 3, size, size] in [-1, 1], class_index int64 [N]) -> logits [N].

    A family gives `features` and calls `add_heads`. A discriminator that names the class by itself (AC-GAN: Odena et
    al. 2017) returns the log odds of being real plus the log probability of the class asked for, so that its logits,
    as all others', say how good an image is *as a member of that class*.
    """

    def add_heads(self, recipe: Recipe, n_classes: int, width: int) -> None:
        """Add the heads that the recipe asks for to features of ``width``."""
        spectral = recipe.discriminator_norm == "spectral"
        self.drop = Dropout(recipe.dropout)
        self.company: nn.Module | None = None
        if recipe.minibatch == "deviation":
            self.company = MinibatchDeviation()
            width += 1
        elif recipe.minibatch == "discrimination":
            self.company = MinibatchDiscrimination(width)
            width += MinibatchDiscrimination.KERNELS
        self.dense: nn.Linear = (SpectralLinear if spectral else nn.Linear)(width, 1)
        self.projection: ClassEmbedding | None = None
        self.classifier: nn.Linear | None = None
        self.code: nn.Linear | None = None
        if recipe.discriminator_classes == "projection":
            self.projection = ClassEmbedding(n_classes, width, warm_up=recipe.class_warm_up, spectral=spectral)
            self.projection_scale = 1.0 if spectral else 1 / math.sqrt(width)
        if recipe.discriminator_classes == "classifier":
            self.classifier = nn.Linear(width, n_classes)
        if recipe.code_dim:
            self.code = nn.Linear(width, 2 * recipe.code_dim)

    @abstractmethod
    def features(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return what the heads look at, float [N, width]."""

    def judge(self, images: torch.Tensor, class_index: torch.Tensor) -> Judgement:
        """Return what every head says of images [N, 3, size, size] as members of class_index int64 [N]."""
        x = self.drop(self.features(images, class_index))
        if self.company is not None:
            x = self.company(x)
        logits = self.dense(x).squeeze(1)
        if self.projection is not None:
            # Miyato & Koyama 2018, equation 3
            logits = logits + (self.projection(class_index) * x).sum(dim=1) * self.projection_scale
        return Judgement(
            logits,
            self.classifier(x) if self.classifier is not None else None,
            self.code(x) if self.code is not None else None,
        )

    def forward(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Return how good images are as members of their class, float [N]."""
        judgement = self.judge(images, class_index)
        if judgement.class_logits is None:
            return judgement.logits
        named = judgement.class_logits.log_softmax(dim=1).gather(1, class_index[:, None]).squeeze(1)
        return judgement.logits + named
