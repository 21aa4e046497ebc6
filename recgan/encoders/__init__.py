"""Encoders: image -> feature vector, always a differentiable torch module; and the feature cache."""

# These register their encoders; they load nothing heavy.
import recgan.encoders.efficientnet_lite
import recgan.encoders.thumbnail  # noqa: F401
from recgan.encoders.base import Encoder
from recgan.encoders.features import Features, embed_items, embed_pixels
from recgan.encoders.registry import encoder_names, load_encoder, register_encoder

__all__ = ["Encoder", "Features", "embed_items", "embed_pixels", "encoder_names", "load_encoder", "register_encoder"]
