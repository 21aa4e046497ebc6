"""The settings of every stage, with their defaults, in one place.

Each class is frozen and refuses unknown names. ``overridden(settings, ["name=value"])`` is what the command line's
``--set`` does. The GAN's recipes are named instances of `Recipe`, in `recgan.gan.recipes`; the designer's presets are
named instances of `DesignSettings`, in `recgan.design.presets`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recgan.errors import SettingsError, nearest_name

__all__ = [
    "DesignSettings",
    "EmbedSettings",
    "PopularitySettings",
    "Recipe",
    "Settings",
    "SimulateSettings",
    "SplitSettings",
    "VBPRSettings",
    "VisualKNNSettings",
    "overridden",
]

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of all settings: frozen, strict about names, documented by the docstring under each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def overridden(settings: S, assignments: Sequence[str]) -> S:
    """Return ``settings`` with ``name=value`` assignments applied; a value is JSON, or else taken as a string.

    Raises:
        SettingsError: an assignment has no ``=``, an unknown name (the nearest one is suggested) or a bad value.
    """
    values = settings.model_dump()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise SettingsError(f"--set {assignment}: write it as name=value")
        if name not in values:
            known = ", ".join(values)
            hint = nearest_name(name, values) or f"; the settings are: {known}"
            raise SettingsError(f"--set {assignment}: there is no setting '{name}' here{hint}")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text.strip()
    try:
        return type(settings)(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise SettingsError(f"{name}={first.get('input')!r}: {first['msg']}") from error


class SplitSettings(Settings):
    """How interactions are divided into train, validation and test."""

    protocol: Literal["leave_one_out", "global_time", "given", "all"] = "leave_one_out"
    """``leave_one_out``: one validation and one test interaction a user; ``global_time``: by date; ``given``: the
    split that came with the data; ``all``: everything is training data (production)."""
    seed: int = 0
    """Chooses the cold items and, where there are no times, the held-out interactions."""
    cold_share: float = Field(0.1, ge=0, lt=1)
    """Share of the items whose training interactions are withheld, so that they are cold."""
    min_interactions: int = Field(3, ge=3)
    """Users with fewer positive interactions stay wholly in train (leave-one-out needs three)."""
    validation_share: float = Field(0.1, gt=0, lt=0.5)
    """Global time only: share of the interactions, by date, just before the test period."""
    test_share: float = Field(0.1, gt=0, lt=0.5)
    """Global time only: share of the latest interactions."""
    negative_events: tuple[str, ...] = ("dislike", "return")
    """Events that are no sign of liking."""
    min_rating: float = 4.0
    """A ``rating`` event counts as positive from this weight (of 5) on."""


class SimulateSettings(Settings):
    """Simulated users with a known taste (`recgan.dataset.simulate`)."""

    users: int = Field(2000, ge=1)
    interactions: int = Field(40000, ge=1)
    seed: int = 0
    ideals: Literal["held_out", "random"] = "held_out"
    """Whence a user's ideal point: the style of a held-out real item, or a random draw."""
    preset: Literal["taste-v1"] = "taste-v1"
    """The frozen constants of the taste model."""


class EmbedSettings(Settings):
    """How images become features."""

    encoder: str = "efficientnet_lite0"
    """A name registered in `recgan.encoders`."""
    size: int = Field(64, ge=16, le=512)
    """Side in pixels of the letterboxed uint8 image that the encoder is shown (it resizes by itself). The designer
    needs the generator's size here, so that designs and real items are seen through the same pixels."""
    batch_size: int = Field(64, ge=1)


class PopularitySettings(Settings):
    """`popularity`: score = number of users in train who took the item."""


class VisualKNNSettings(Settings):
    """`visual_knn` (VisRank): similarity of an item to the user's history in whitened feature space."""

    width: int = Field(128, ge=2)
    """Number of whitened feature dimensions."""


class VBPRSettings(Settings):
    """`vbpr`: He & McAuley 2016, x_ui = b_i + g_u.g_i + t_u.(E f_i) + b'.f_i, trained with the BPR loss."""

    latent_dim: int = Field(32, ge=0)
    visual_dim: int = Field(32, ge=1)
    width: int = Field(128, ge=2)
    """The features are whitened once to this many dimensions."""
    epochs: int = Field(40, ge=1)
    batch_size: int = Field(4096, ge=1)
    learning_rate: float = Field(0.01, gt=0)
    visual_learning_rate: float = Field(0.003, gt=0)
    latent_regularisation: float = Field(0.01, ge=0)
    """L2 on the rows of a batch: user and item latent factors."""
    visual_regularisation: float = Field(0.01, ge=0)
    """L2 on the rows of a batch: user visual factors, and on E and b'."""
    bias_regularisation: float = Field(0.01, ge=0)
    patience: int = Field(5, ge=1)
    """Stop after this many epochs without a better validation AUC; the best epoch is kept."""
    features: Literal["real", "permuted", "noise", "category"] = "real"
    """The controls: rows permuted among items, Gaussian noise, or the one-hot category alone."""


class Recipe(Settings):
    """Everything that makes a GAN: architecture, conditioning, prior, loss, augmentation, optimiser, EMA."""

    name: str
    network: Literal["dcgan", "kang2017"] = "dcgan"
    latent_dim: int = Field(128, ge=1)
    latent_std: float = Field(1.0, gt=0)
    """z ~ N(0, latent_std^2)."""
    generator_width: int = Field(64, ge=4)
    """Channels of the generator's last hidden layer (doubled towards the input, up to 8 times)."""
    discriminator_width: int = Field(64, ge=4)
    class_dim: int = Field(32, ge=1)
    """Width of the class embedding (``dcgan``; ``kang2017`` uses the one-hot label)."""
    loss: Literal["least_squares", "non_saturating", "hinge"] = "least_squares"
    batch_size: int = Field(64, ge=2)
    generator_learning_rate: float = Field(2e-4, gt=0)
    discriminator_learning_rate: float = Field(2e-4, gt=0)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    ema_half_life: int = Field(0, ge=0)
    """Half-life, in real images shown, of the averaged generator; 0: no average, the last weights are used."""
    augment: tuple[Literal["flip", "translate", "colour"], ...] = ()
    """Differentiable augmentations of what D is shown, real and fake alike."""
    class_power: float = Field(1.0, ge=0, le=1)
    """Classes are sampled in proportion to n^class_power (1: as they are; 0: evenly)."""
    epochs: float | None = None
    """The published training length in passes over the data; used when ``--images-seen`` is not given."""


class DesignSettings(Settings):
    """How the designer searches (`recgan.design`)."""

    preset: str = "default"
    samples: int = Field(64, ge=1)
    """Latents drawn and scored first (per design wanted, at least this many in all)."""
    starts: int = Field(16, ge=1)
    """The best of them that are climbed."""
    steps: int = Field(60, ge=0)
    learning_rate: float = Field(0.05, gt=0)
    latent_std: float | None = None
    """Spread of the starting z; None: the recipe's own prior."""
    realism_weight: float = Field(1.0, ge=0)
    """eta: weight of the realism term."""
    realism: Literal["least_squares", "calibrated"] = "calibrated"
    """``least_squares``: -(D-1)^2 (Kang et al. 2017); ``calibrated``: a penalty on falling below the mean realism of
    real images, in standard deviations."""
    prior_weight: float = Field(1.0, ge=0)
    """Weight of the latent prior: a penalty on |z| leaving the shell where the prior has its mass."""
    neighbours: int = Field(5, ge=1)
    """Real items shown beside each design."""
