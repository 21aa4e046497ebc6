"""Encoders by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recgan.device import resolve_device, reuse_memory
from recgan.encoders.base import Encoder
from recgan.encoders.torchvision_models import load_torchvision_encoder
from recgan.errors import SettingsError, nearest_name

__all__ = ["encoder_names", "load_encoder", "register_encoder"]

_SMALLEST, _LARGEST = 48, 1024
"""Sides in pixels: at 32 the last maps of EfficientNet-Lite2 are dead."""
_LOADERS: dict[str, Callable[[], Encoder]] = {}


def register_encoder(name: str, loader: Callable[[], Encoder]) -> None:
    """Make an encoder known under ``name``; ``loader()`` builds it on the CPU when it is first asked for."""
    _LOADERS[name] = loader


def encoder_names() -> list[str]:
    """Return the names of the registered encoders (torchvision's come on top, as ``torchvision:MODEL``)."""
    return sorted(_LOADERS)


def load_encoder(name: str, device: str = "auto") -> Encoder:
    """Return the encoder registered as ``name`` on ``device``, frozen and in eval mode.

    ``NAME@SIDE`` is the same network seeing pictures at SIDE pixels instead of its own input size, such as
    ``efficientnet_lite0_levels@96``: at less than half the side it costs a fifth, and photos of 64 px hold no more.

    Raises:
        SettingsError: there is no encoder of that name, or it cannot see at that side.
        NotFoundError: its weights cannot be had.
        DeviceError: the device is not there.
    """
    target = resolve_device(device)
    name, at, side = name.partition("@")
    if at and not (side.isdecimal() and _SMALLEST <= int(side) <= _LARGEST):
        raise SettingsError(
            f"encoder '{name}@{side}': give a side of {_SMALLEST} to {_LARGEST} pixels, as in {name}@96"
        )
    if name.startswith("torchvision:"):
        encoder = load_torchvision_encoder(name)
    elif name in _LOADERS:
        encoder = _LOADERS[name]()
    else:
        known = encoder_names()
        hint = nearest_name(name, known) or f"; the encoders are: {', '.join(known)}, torchvision:MODEL"
        raise SettingsError(f"there is no encoder '{name}'{hint}")
    if at:
        encoder.at(int(side))
    if target.type == "cpu":
        reuse_memory()
    return encoder.to(target).to(memory_format=torch.channels_last)
