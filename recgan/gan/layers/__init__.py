"""Layers and habits that the network families share.

Whatever depends on chance or on the company of an image while a network trains does not in eval mode: an image then
has one value, alone or among others.
"""

from recgan.gan.layers.attention import SelfAttention
from recgan.gan.layers.beginning import initialise
from recgan.gan.layers.chance import Dropout, Noise, randomness
from recgan.gan.layers.colours import channels_of, seen, shown
from recgan.gan.layers.company import MinibatchDeviation, MinibatchDiscrimination
from recgan.gan.layers.norms import EqualConv2d, EqualLinear, SpectralConv2d, SpectralLinear, normalised, unit_length
from recgan.gan.layers.resizing import upsample, upsample_smoothly
from recgan.gan.layers.sizes import GROUPS, SLOPE, START, doublings, widths

__all__ = [
    "GROUPS",
    "SLOPE",
    "START",
    "Dropout",
    "EqualConv2d",
    "EqualLinear",
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
