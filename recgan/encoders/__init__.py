"""Encoders: image -> feature vector, always a differentiable torch module; and the feature cache."""

import recgan.encoders.efficientnet_lite  # noqa: F401  (registers its encoders; loads nothing heavy)
from recgan.encoders.base import Encoder
from recgan.encoders.features import Features, embed_items, embed_pixels
from recgan.encoders.registry import encoder_names, load_encoder, register_encoder

__all__ = ["Encoder", "Features", "embed_items", "embed_pixels", "encoder_names", "load_encoder", "register_encoder"]
