"""Layers and habits that the network families share.

Whatever depends on chance or on the company of an image while a network trains does not in eval mode: an image then
has one value, alone or among others.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from recgan.errors import SettingsError

__all__ = [
    "GROUPS",
    "SLOPE",
    "START",
    "DoublingConv2d",
    "Dropout",
    "EqualConv2d",
    "EqualLinear",
    "HalvingConv2d",
    "MinibatchDeviation",
    "MinibatchDiscrimination",
    "Noise",
    "SelfAttention",
    "SpectralConv2d",
    "SpectralLinear",
    "channels_of",
    "doublings",
    "initialise",
    "normalised",
    "randomness",
    "seen",
    "shown",
    "unit_length",
    "upsample",
    "upsample_smoothly",
    "widths",
]

START = 4
"""Side in pixels of the smallest feature maps."""
SLOPE = 0.2
"""Of every leaky ReLU."""
GROUPS = 8
"""Groups of a group norm; every layer's channels are a multiple of it."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""


# ---- sizes and colours


def doublings(size: int) -> int:
    """Return how often the side doubles from `START` to ``size``.

    Raises:
        SettingsError: ``size`` is no power of two from 16 on.
    """
    count = size.bit_length() - START.bit_length()
    if size < 16 or START << count != size:
        raise SettingsError(
            f"size {size}: this network makes squares of a power of two from 16 px on; use --size 32 or 64"
        )
    return count


def widths(top: int, size: int, *, last: bool = False) -> list[int]:
    """Return the channels of the layers from 4 x 4 pixels on, one for each side below ``size`` (``last``: and for
    ``size`` itself): ``top``, halved each time, in whole `GROUPS`."""
    return [max(top >> power, GROUPS) // GROUPS * GROUPS for power in range(doublings(size) + last)]


def channels_of(colours: str) -> int:
    """Return the channels that a generator computes: 3 for ``rgb``, 1 for ``grey``."""
    return 3 if colours == "rgb" else 1


def shown(maps: torch.Tensor) -> torch.Tensor:
    """Return a generator's last maps [N, 3 or 1, S, S] as images [N, 3, S, S] in [-1, 1]; grey has equal channels."""
    return maps.tanh().expand(-1, 3, -1, -1)


def seen(images: torch.Tensor, colours: str) -> torch.Tensor:
    """Return what a discriminator looks at: images [N, 3, S, S], or their luminance [N, 1, S, S]."""
    if colours == "rgb":
        return images
    weights = torch.tensor(LUMINANCE, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)


def upsample(maps: torch.Tensor) -> torch.Tensor:
    """Double the side of maps [N, C, H, W] by repeating pixels."""
    return F.interpolate(maps, scale_factor=2, mode="nearest")


def upsample_smoothly(maps: torch.Tensor) -> torch.Tensor:
    """Double the side of maps [N, C, H, W] bilinearly: without the blocks that convolutions have to smooth away."""
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def unit_length(values: torch.Tensor) -> torch.Tensor:
    """Scale each pixel's (or row's) values [N, C, ...] to a root mean square of 1 (Karras et al. 2018, section 4.2)."""
    return values * (values.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


# ---- chance


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


# ---- strides that leave no grid


class DoublingConv2d(nn.Conv2d):
    """A 3 x 3 convolution of maps whose side is doubled by repeating pixels, computed as one transposed 4 x 4
    convolution of stride 2: the same numbers for less than half the work.

    A transposed convolution with 16 weights of its own gives every second row and column other weights, and so prints a
    grid (Odena et al. 2016); this one cannot.
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__(width_in, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps [N, width, 2 H, 2 W] of maps [N, width_in, H, W]."""
        weight = _over_two_by_two(self.weight.flip(2, 3)).transpose(0, 1)
        return F.conv_transpose2d(x, weight, self.bias, stride=2, padding=1)


class HalvingConv2d(nn.Conv2d):
    """A 3 x 3 convolution followed by the mean of 2 x 2 pixels, computed as one 4 x 4 convolution of stride 2.

    It looks at all pixels alike, and so does its gradient: a strided convolution's teaches G a grid.
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__(width_in, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps [N, width, H / 2, W / 2] of maps [N, width_in, H, W]."""
        return F.conv2d(x, _over_two_by_two(self.weight) / 4, self.bias, stride=2, padding=1)


def _over_two_by_two(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight [out, in, 3, 3] summed over the four places of a 2 x 2 square: [out, in, 4, 4]."""
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    return rows[..., 1:] + rows[..., :-1]


# ---- norms of weights


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


# ---- the company of an image


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


# ---- attention


class SelfAttention(nn.Module):
    """Lets every place look at every other (Zhang et al. 2019, equations 1-3): x + gamma v(softmax(q k) h), where
    keys and values are pooled to half the side. gamma begins at 0."""

    def __init__(self, width: int, convolution: Callable[..., nn.Conv2d]) -> None:
        super().__init__()
        self.query = convolution(width, max(width // 8, 1), 1, bias=False)
        self.key = convolution(width, max(width // 8, 1), 1, bias=False)
        self.value = convolution(width, max(width // 2, 1), 1, bias=False)
        self.out = convolution(max(width // 2, 1), width, 1, bias=False)
        self.gamma = nn.Parameter(torch.empty(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps [N, width, H, W]."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        weights = torch.einsum("ncq,nck->nqk", query, key).softmax(dim=2)
        looked_at = torch.einsum("nqk,nck->ncq", weights, value)
        return x + self.gamma * self.out(looked_at.unflatten(2, x.shape[2:]))

    def reset(self, generator: torch.Generator) -> None:
        """Begin as the identity."""
        nn.init.zeros_(self.gamma)


# ---- first weights


def initialise(network: nn.Module, generator: torch.Generator, draw: Callable[..., object]) -> None:
    """Set every parameter and statistic of a network anew, all chance from ``generator``.

    Args:
        draw: fills the weight of a linear layer or convolution in place, as ``draw(weight, generator=generator)``.
            Biases begin at 0, embeddings at N(0, 1), norms as torch has them; a layer with ``reset(generator)`` sets
            what is its own.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            draw(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            module.reset_parameters()
        reset = getattr(module, "reset", None)
        if reset is not None:
            reset(generator)
