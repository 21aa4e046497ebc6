"""Tools of the latent space: truncation, ways and mixtures, arithmetic, sliders, and back from pictures.

All take and give tensors; `recgan.cli.sample` is their command line.
"""

from recgan.gan.latent.directions import (
    Directions,
    check_names,
    direction_sheets,
    find_directions,
    load_directions,
    save_directions,
)
from recgan.gan.latent.inversion import Restored
from recgan.gan.latent.inverter import Inverter, load_inverter, train_inverter
from recgan.gan.latent.likeness import Likeness
from recgan.gan.latent.paths import class_walk, tour, walk
from recgan.gan.latent.photos import Photos, item_photos
from recgan.gan.latent.space import LatentSpace, lerp, slerp

__all__ = [
    "Directions",
    "Inverter",
    "LatentSpace",
    "Likeness",
    "Photos",
    "Restored",
    "check_names",
    "class_walk",
    "direction_sheets",
    "find_directions",
    "item_photos",
    "lerp",
    "load_directions",
    "load_inverter",
    "save_directions",
    "slerp",
    "tour",
    "train_inverter",
    "walk",
]
