"""The encoder contract: pictures in, feature vectors out, differentiable all the way.

An encoder is a frozen network with its own input side and its own normalisation. Whatever is shown to it, it resizes
by itself, antialiased and differentiably, so that a recommender that learned from catalogue photos can score the
output of a generator, and gradients flow back to its pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import nn

from recgan.errors import DataError

__all__ = ["Encoder", "weights_digest"]

_RANGE_SLACK = 0.01


def weights_digest(network: nn.Module) -> str:
    """Return the sha256 of a network's parameters and buffers: their names, shapes and bytes."""
    hashed = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        hashed.update(f"|{key}|{tuple(tensor.shape)}|".encode())
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


class Encoder(nn.Module):
    """A frozen image encoder: ``encoder(images [N, 3, H, W] float in [-1, 1]) -> features [N, dim]``.

    Args:
        name: the name it is registered under.
        body: network from normalised images [N, 3, input_size, input_size] to features [N, dim].
        dim: number of features.
        input_size: side in pixels at which the body sees an image; other sizes are resized to it.
        mean: per channel (R, G, B), in units of [0, 1] pixels: the body is shown ``(pixel - mean) / std``.
        std: likewise.
        digest_of_weights: `weights_digest` of the weights as published, where the body has been rearranged for speed
            (arithmetic that may differ in the last bit from machine to machine); default: of the body as it is.
        tuned_from: the `eye` of the pretrained encoder that the body was tuned on from; None: of none.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        name: str,
        body: nn.Module,
        *,
        dim: int,
        input_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        digest_of_weights: str | None = None,
        tuned_from: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.dim = dim
        self.input_size = input_size
        self.tuned_from = tuned_from
        self.body = body
        # From [-1, 1] at once: (x + 1) / 2 is the pixel in [0, 1].
        self.register_buffer(
            "mean", (2 * torch.tensor(mean, dtype=torch.float32) - 1).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer("std", (2 * torch.tensor(std, dtype=torch.float32)).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()
        self._identity = (digest_of_weights or weights_digest(body), f"{list(mean)}|{list(std)}")
        self._identify()

    def _identify(self) -> None:
        weights, normalisation = self._identity
        self.digest = hashlib.sha256(f"{weights}|{self.dim}|{self.input_size}|{normalisation}".encode()).hexdigest()
        """Identity of what this encoder computes: its weights, its input size and its normalisation."""

    @property
    def weights(self) -> str:
        """Identity of the weights alone, at whatever size they look."""
        return self._identity[0]

    @property
    def eye(self) -> str:
        """Identity of who sees: of the weights, or of the pretrained ones that they were tuned on from.

        Encoders that share it are one eye, at whatever size they look and however far they were tuned: a picture that
        fools a pretrained network is likely to fool what was made of it as well.
        """
        return self.tuned_from or self.weights

    def at(self, side: int) -> Self:
        """Let the encoder see pictures at ``side`` pixels, under the name ``NAME@SIDE``; return itself.

        Small pictures are seen as well at a small side, for much less: the cost goes with the square of it.
        """
        self.name = f"{self.name.partition('@')[0]}@{side}"
        self.input_size = side
        self._identify()
        return self

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: an encoder's features must not depend on the batch, whatever a parent module does."""
        return super().train(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images.

        Args:
            images: float [N, 3, H, W] in [-1, 1], any H and W.

        Returns:
            Features, float32 [N, dim], with gradients to ``images``.

        Raises:
            DataError: another shape, dtype or range, or a value that is not a number.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
            raise DataError(f"encoder '{self.name}' takes images [N, 3, H, W], not {list(images.shape)}")
        if not images.is_floating_point():
            raise DataError(
                f"encoder '{self.name}' takes float images in [-1, 1], not {images.dtype}; "
                "turn uint8 pixels into them with recgan.dataset.pixels.to_float"
            )
        if len(images) == 0:
            return images.new_zeros(0, self.dim, dtype=torch.float32)
        largest = images.detach().abs().amax().item()
        if not largest <= 1 + _RANGE_SLACK:  # also true for NaN
            raise DataError(f"encoder '{self.name}' takes images in [-1, 1]; here the largest magnitude is {largest:g}")
        images = images.float()
        side = (self.input_size, self.input_size)
        if images.shape[2:] != side:
            images = F.interpolate(images, size=side, mode="bilinear", antialias=True)
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features = self.body(normalised).float()  # of half the bits under autocast
        if features.shape != (len(images), self.dim):
            raise AssertionError(
                f"the body of '{self.name}' gave {list(features.shape)}, not [{len(images)}, {self.dim}]"
            )
        return features
