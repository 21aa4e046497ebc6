"""torchvision's pretrained classifiers as encoders, by name: ``torchvision:resnet18``. They need a network once."""

from __future__ import annotations

from urllib.error import URLError

import torch
from torch import nn

from recgan.encoders.base import Encoder
from recgan.errors import NotFoundError, SettingsError, nearest_name

__all__ = ["load_torchvision_encoder"]

_HEADS = ("fc", "classifier", "head", "heads")


def load_torchvision_encoder(name: str) -> Encoder:
    """Return a torchvision classifier without its head, with its default weights and their own normalisation.

    Args:
        name: ``torchvision:MODEL``, MODEL being one of torchvision's image classifiers.

    Raises:
        SettingsError: torchvision has no such classifier.
        NotFoundError: the weights are neither in torch's cache nor can be downloaded.
    """
    import torchvision

    model_name = name.partition(":")[2]
    known = torchvision.models.list_models(module=torchvision.models)
    if model_name not in known:
        hint = nearest_name(model_name, known) or "; torchvision.models.list_models() names them"
        raise SettingsError(f"torchvision has no classifier '{model_name}'{hint}")
    weights = torchvision.models.get_model_weights(model_name).DEFAULT
    network = torchvision.models.get_model(model_name, weights=None)
    try:
        network.load_state_dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (URLError, OSError) as error:
        raise NotFoundError(
            f"the weights of '{name}' cannot be downloaded ({error}); "
            "use --encoder efficientnet_lite0, which needs no network"
        ) from error
    head = next((candidate for candidate in _HEADS if hasattr(network, candidate)), None)
    if head is None:
        raise SettingsError(f"'{name}' has no head that can be taken off; choose another, such as torchvision:resnet18")
    setattr(network, head, nn.Identity())
    preset = weights.transforms()
    side = preset.crop_size[0]
    with torch.inference_mode():
        dim = network.eval()(torch.zeros(1, 3, side, side)).shape[1]
    return Encoder(name, network, dim=dim, input_size=side, mean=preset.mean, std=preset.std)
