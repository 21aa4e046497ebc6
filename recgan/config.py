"""The settings of every stage, with their defaults, in one place.

Each class is frozen and refuses unknown names. ``overridden(settings, ["name=value"])`` is what the command line's
``--set`` does. The GAN's recipes are named instances of `Recipe`, in `recgan.gan.recipes`; the designer's presets are
named instances of `DesignSettings`, in `recgan.design.presets`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from recgan.errors import SettingsError, nearest_name

__all__ = [
    "MAX_DESIGNS",
    "MAX_SEED",
    "ALSSettings",
    "BPRMFSettings",
    "BPRSettings",
    "CategorySettings",
    "DVBPRSettings",
    "DemoSettings",
    "DesignSettings",
    "EmbedSettings",
    "FactorSettings",
    "FeatureKind",
    "IdealPointSettings",
    "ImportOptions",
    "IndexSettings",
    "PopularitySettings",
    "Recipe",
    "Settings",
    "SimulateSettings",
    "SplitSettings",
    "VBPRSSMSettings",
    "VBPRSettings",
    "VisualKNNSettings",
    "complaint",
    "overridden",
]

S = TypeVar("S", bound="Settings")

MAX_DESIGNS = 256
"""Designs that one request may ask for."""
MAX_SEED = 2**53 - 1
"""Of designs: seeds are exact in JSON up to here."""

FeatureKind: TypeAlias = Literal["real", "permuted", "noise", "category"]
"""The features of a visual model, or a control that says nothing about how an item looks: rows permuted among the
items, Gaussian noise, the one-hot category alone."""


class Settings(BaseModel):
    """Base of all settings: frozen, strict about names, documented by the docstring under each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def overridden(settings: S, assignments: Sequence[str], option: str = "--set") -> S:
    """Return ``settings`` with ``name=value`` assignments applied; a value is JSON, or else taken as a string.
    ``option`` is how the user gave them.

    Raises:
        SettingsError: an assignment has no ``=``, an unknown name (the nearest one is suggested) or a bad value.
    """
    values = settings.model_dump()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise SettingsError(f"{option} {assignment}: write it as name=value")
        if name not in values:
            known = ", ".join(values)
            hint = nearest_name(name, values) or f"; the settings are: {known}"
            raise SettingsError(f"{option} {assignment}: there is no setting '{name}' here{hint}")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text.strip()
    try:
        return type(settings)(**values)
    except ValidationError as error:
        raise SettingsError(complaint(error)) from error


def complaint(error: ValidationError) -> str:
    """Return pydantic's first complaint on one line: ``name=value: what is wrong``."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    given = repr(first.get("input"))
    return f"{name}={given if len(given) <= 60 else given[:57] + '...'}: {first['msg'].removeprefix('Value error, ')}"


class ImportOptions(Settings):
    """Where an importer finds things in a source (`recgan.dataset.importers`).

    A relative path is looked up beside the source first, then in the working directory. An importer refuses an option
    that it has no use for.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a column may be called 123

    name: str | None = None
    """The data set's name; None: the source's own."""
    licence: str | None = None
    """Under what licence the data may be used; None: what is known of the source."""
    items: str | None = None
    """Items table, CSV (``.csv``, ``.tsv``, ``.gz``) or Parquet; None: ``items.*`` beside the images, where there is
    one, or else every image is an item and its folder the category."""
    interactions: str | None = None
    """Interactions table; None: ``interactions.*`` beside the images, where there is one."""
    images: str | None = None
    """Folder or zip of the images; None: ``images.zip`` or ``images/`` beside the tables, or else the source itself."""
    item_id_column: str = "item_id"
    interactions_item_id_column: str | None = None
    """None: ``item_id_column``, or else ``item_id``."""
    category_column: str | None = None
    """None: ``category``, or the data set's usual one."""
    default_category: str | None = None
    """Category of the items that have none; None: they are refused."""
    category_names: tuple[str, ...] = ()
    """Names of numbered classes, in order (``dvbpr-npy``); none: ``class 0``, ``class 1``, …"""
    image_column: str | None = None
    """Column of the items that lists image files, separated by ``|`` or ``;``; None: they are found by name."""
    image_pattern: str | None = None
    """How image files are named, such as ``{item_id}_*.jpg`` or ``{category}/{item_id}/*``; None: by the item's id in
    the file's or its folder's name."""
    available_column: str | None = None
    """Column that says whether an item can be had (true/false, yes/no, 1/0); None: ``available``, if there is one."""
    user_id_column: str = "user_id"
    timestamp_column: str | None = None
    """None: ``timestamp``, where there is one."""
    timestamp_format: str | None = None
    """As strptime takes it (``%d/%m/%Y``); None: ISO 8601, YYYYMMDD, or seconds (milli-, micro-, nano-) since 1970."""
    event_column: str | None = None
    """None: ``event``, where there is one."""
    default_event: str = "interaction"
    """The event of interactions that name none; ``rating`` makes weights under 4 no sign of liking."""
    weight_column: str | None = None
    """None: ``weight``, where there is one."""
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """Of CSV files; None: what the header line shows (comma, semicolon, tab, bar)."""
    encoding: str | None = None
    """Of CSV files; None: UTF-8, or what a byte-order mark says."""
    since: datetime.date | None = None
    """Leave out interactions before this day."""
    limit: int | None = Field(None, ge=1)
    """Take the first so many items only: for a trial."""


class SplitSettings(Settings):
    """How interactions are divided into train, validation and test."""

    protocol: Literal["leave_one_out", "global_time", "given", "all"] = "leave_one_out"
    """``leave_one_out``: one validation and one test interaction a user; ``global_time``: by date; ``given``: the
    split that came with the data; ``all``: everything is training data (production)."""
    seed: int = 0
    """Chooses the cold items and, where there are no times, the held-out interactions."""
    cold_share: float = Field(0.1, ge=0, lt=1)
    """Share of the items whose training interactions are withheld, so that they are cold (not with a given split)."""
    min_interactions: int = Field(3, ge=3)
    """Users with fewer positive interactions stay wholly in train (leave-one-out needs three)."""
    validation_share: float = Field(0.1, gt=0, lt=0.5)
    """Global time only: share of the interactions, by date, just before the test period."""
    test_share: float = Field(0.1, gt=0, lt=0.5)
    """Global time only: share of the latest interactions."""
    negative_events: tuple[str, ...] = ("dislike", "return")
    """Events that are no sign of liking, and take back an earlier one: a purchase that was returned does not count."""
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

    half_life_days: float | None = Field(None, gt=0)
    """Recent popularity: what was taken so many days before the newest interaction of train counts half, and so on;
    None: all time counts alike."""


class CategorySettings(Settings):
    """`category`: score = share of the item's category in what the user took, shared out among its items."""

    smoothing: float = Field(2.0, gt=0)
    """Everybody's shares count as much as so many items of the user's own."""
    within: Literal["even", "popularity"] = "even"
    """How a category's share is divided among its items: evenly, or by how many users took them."""


class VisualKNNSettings(Settings):
    """`visual_knn` (VisRank): similarity of an item to the user's history in whitened feature space."""

    width: int = Field(128, ge=2)
    """Number of whitened feature dimensions."""
    whitening: float = Field(0.5, ge=0, le=1)
    """1: all dimensions get equal variance; 0: they keep theirs."""
    features: FeatureKind = "real"


class BPRSettings(Settings):
    """`bpr`: matrix factorisation with the BPR loss, by the package ``implicit``; an image-free baseline."""

    factors: int = Field(64, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    regularisation: float = Field(0.1, ge=0)
    epochs: int = Field(100, ge=1)
    threads: int = Field(1, ge=0)
    """More than one is faster, but the result then differs from run to run; 0: all cores."""


class ALSSettings(Settings):
    """`als`: matrix factorisation of confidences (Hu et al. 2008), by the package ``implicit``; image-free."""

    factors: int = Field(64, ge=1)
    regularisation: float = Field(1.0, ge=0)
    confidence: float = Field(20.0, gt=0)
    """Weight of an item taken, against 1 for an item not taken."""
    epochs: int = Field(15, ge=1)
    threads: int = Field(1, ge=0)
    """0: all cores."""


class IdealPointSettings(Settings):
    """`ideal_point`: score = popularity + how much likelier the picture is given what the user took; closed form."""

    width: int = Field(128, ge=2)
    """The features are whitened once to this many dimensions."""
    whitening: float = Field(0.5, ge=0, le=1)
    """1: all dimensions get equal variance; 0: they keep theirs."""
    dim: int = Field(32, ge=1)
    """Directions in which users differ, the strongest first; fewer where they do not differ in so many."""
    visual_weight: float | None = Field(None, ge=0)
    """Of the picture, 1 being what the model of users and items says; None: what is best in validation, or 1."""
    cold_bias: float | None = None
    """As in `vbpr`."""
    criterion: Literal["auc", "ndcg"] = "auc"
    """Of the validation part, by which the weight and the bias of cold items are chosen."""
    features: FeatureKind = "real"


class FactorSettings(Settings):
    """What `bpr_mf`, `vbpr` and `vbpr_ssm` have in common: the latent part and how it is trained."""

    latent_dim: int = Field(64, ge=0)
    """Length of g: 0 leaves the latent factors out."""
    epochs: int = Field(80, ge=1)
    """At most; where there is no validation part (protocol ``all``), exactly."""
    batch_size: int = Field(512, ge=1)
    """Pairs a step."""
    learning_rate: float = Field(0.05, gt=0)
    """Adagrad's, of the latent factors and the item bias."""
    latent_std: float = Field(0.01, gt=0)
    """Spread of the random start of the latent factors; small, so that items rarely seen are not scored by chance."""
    latent_regularisation: float = Field(0.01, ge=0)
    """L2 on the latent factors of the users and items of each step."""
    bias_regularisation: float = Field(0.01, ge=0)
    """L2 on how far the biases of the items of each step are from the log of their popularity."""
    cold_bias: float | None = None
    """Bias of an item without an interaction, 0 being that of an item of mean popularity: raise it to have new items
    recommended more. None: the one that is best in validation; without a validation part, what the distribution of
    popularity tells of an item that nobody took."""
    negative_power: float = Field(0.0, ge=0, le=1)
    """Negatives are drawn in proportion to this power of how many users took them; 0: evenly (loss BPR only)."""
    criterion: Literal["auc", "ndcg"] = "auc"
    """Of the validation part, by which the epoch and the bias of cold items are chosen: the AUC or the NDCG@20."""
    patience: int = Field(5, ge=1)
    """Stop after this many epochs without a better validation figure; the best epoch is kept."""


class BPRMFSettings(FactorSettings):
    """`bpr_mf`: x_ui = b_i + g_u.g_i (Rendle et al. 2009), by the trainer of `vbpr`; image-free."""

    learning_rate: float = Field(0.2, gt=0)
    """Adagrad's, of the latent factors and the item bias."""
    latent_std: float = Field(0.1, gt=0)
    """Spread of the random start of the latent factors."""
    latent_regularisation: float = Field(0.03, ge=0)
    """L2 on the latent factors of the users and items of each step."""


class VBPRSettings(FactorSettings):
    """`vbpr`: He & McAuley 2016, x_ui = b_i + g_u.g_i + t_u.(E f_i) + b'.f_i, trained with the BPR loss."""

    latent_dim: int = Field(32, ge=0)
    """Length of g: 0 leaves the latent factors out."""
    batch_size: int = Field(2048, ge=1)
    """Pairs a step."""
    learning_rate: float = Field(0.03, gt=0)
    """Adagrad's, of the latent factors and the item bias."""
    latent_regularisation: float = Field(0.003, ge=0)
    """L2 on the latent factors of the users and items of each step."""
    visual_dim: int = Field(64, ge=1)
    """Length of t."""
    width: int = Field(128, ge=2)
    """The features are whitened once to this many dimensions."""
    whitening: float = Field(0.5, ge=0, le=1)
    """1: all dimensions get equal variance; 0: they keep theirs."""
    visual_learning_rate: float = Field(0.05, gt=0)
    """Adagrad's, of the users' visual factors, E and b'."""
    visual_std: float = Field(0.1, gt=0)
    """Spread of the random start of the users' visual factors and of E."""
    visual_regularisation: float = Field(0.3, ge=0)
    """L2 on the visual factors of the users of each step."""
    projection_regularisation: float = Field(0.0, ge=0)
    """L2 on E and b'."""
    features: FeatureKind = "real"


class VBPRSSMSettings(VBPRSettings):
    """`vbpr_ssm`: the scores of `vbpr`, trained with a sampled softmax over the items of each step."""

    latent_dim: int = Field(64, ge=0)
    """Length of g: 0 leaves the latent factors out."""
    batch_size: int = Field(512, ge=1)
    """Pairs a step; their items are each other's negatives."""
    learning_rate: float = Field(0.1, gt=0)
    """Adagrad's, of the latent factors and the item bias."""
    latent_regularisation: float = Field(0.3, ge=0)
    """L2 on the latent factors of the users and items of each step."""
    visual_regularisation: float = Field(5.0, ge=0)
    """L2 on the visual factors of the users of each step."""
    criterion: Literal["auc", "ndcg"] = "ndcg"
    """Of the validation part, by which the epoch and the bias of cold items are chosen: the AUC or the NDCG@20."""

    @field_validator("negative_power")
    @classmethod
    def _negatives_are_the_batchs(cls, power: float) -> float:
        if power:
            raise ValueError("the negatives of vbpr_ssm are what others took in the same step; leave it out")
        return power


class IndexSettings(Settings):
    """How a model's items are searched (`recgan.recommenders.ann`): exactly, or approximately for large catalogues."""

    kind: Literal["flat", "ivf", "hnsw"] = "flat"
    """``flat``: exact; ``ivf``: lists of items around centres; ``hnsw``: a graph of near items."""
    lists: int | None = Field(None, ge=1)
    """``ivf``: number of lists; None: four times the square root of the number of items."""
    probes: int = Field(32, ge=1)
    """``ivf``: lists searched for a query; more find more, and take longer."""
    links: int = Field(32, ge=2)
    """``hnsw``: links of an item."""
    build_width: int = Field(80, ge=1)
    """``hnsw``: candidates kept while the graph is built."""
    search_width: int = Field(128, ge=1)
    """``hnsw``: candidates kept while searching; more find more, and take longer."""


class DVBPRSettings(Settings):
    """`dvbpr`: Kang et al. 2017, x_ui = t_u . Phi(image of i), Phi learned with the users.

    The paper's own: backbone=cnn_f item_bias=False frozen_epochs=0 dim=100 network_regularisation=0.001
    user_regularisation=1 factor_learning_rate=0.0001.
    """

    backbone: str = "efficientnet_lite0"
    """``cnn_f``: the paper's network, from scratch; or the name of a pretrained encoder, which is tuned on."""
    input_size: int | None = Field(None, ge=16)
    """Side in pixels at which the network sees; None: its own (224)."""
    dim: int = Field(128, ge=1)
    """K: length of t and of Phi."""
    hidden: int = Field(4096, ge=1)
    """Width of the two hidden layers of ``cnn_f``."""
    loss: Literal["bpr", "warp", "ssm"] = "bpr"
    """BPR with uniform negatives; WARP or sampled softmax, with the items of a step as negatives."""
    item_bias: bool = True
    """Whether items have a bias, as in `vbpr`; the paper's have none."""
    epochs: int = Field(20, ge=1)
    """At most; where there is no validation part, exactly."""
    frozen_epochs: int = Field(10, ge=0)
    """Epochs before the network moves, in which items are looked at once: users first learn what they like."""
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's, of the network."""
    factor_learning_rate: float = Field(0.01, gt=0)
    """Adam's, of the users' factors and the items' biases."""
    network_regularisation: float = Field(0.001, ge=0)
    """L2 on the weights (``cnn_f``), or on how far they are from the pretrained ones (L2-SP, Li et al. 2018)."""
    user_regularisation: float = Field(0.3, ge=0)
    """L2 on the factors of the users of each pair."""
    bias_regularisation: float = Field(0.01, ge=0)
    """L2 on how far the items' biases are from the log of their popularity."""
    criterion: Literal["auc", "ndcg"] = "auc"
    """Of the validation part, by which the epoch is chosen."""
    patience: int = Field(3, ge=1)
    """Stop after this many epochs without a better validation figure; the best epoch is kept."""
    features: FeatureKind = "real"


class Recipe(Settings):
    """Everything that makes a GAN: architecture, conditioning, prior, loss, augmentation, optimiser, EMA."""

    name: str
    network: Literal["dcgan", "kang2017"] = "dcgan"
    latent_dim: int = Field(128, ge=1)
    latent_std: float = Field(1.0, gt=0)
    """z ~ N(0, latent_std^2)."""
    generator_width: int = Field(256, ge=8)
    """Channels where G is 4 x 4 pixels, halved each time the side doubles (``dcgan``)."""
    discriminator_width: int = Field(256, ge=8)
    """Channels where D is 4 x 4 pixels, halved each time the side doubles (``dcgan``)."""
    class_dim: int = Field(32, ge=1)
    """Width of the class embedding (``dcgan``; ``kang2017`` uses the one-hot label)."""
    loss: Literal["least_squares", "non_saturating", "hinge"] = "least_squares"
    batch_size: int = Field(16, ge=2)
    generator_learning_rate: float = Field(2e-4, gt=0)
    discriminator_learning_rate: float = Field(2e-4, gt=0)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    ema_half_life: int = Field(0, ge=0)
    """Half-life, in real images shown, of the averaged generator; 0: no average, the last weights are used."""
    augment: tuple[Literal["flip", "translate", "colour"], ...] = ()
    """Differentiable augmentations of what D is shown, real and fake alike."""
    r1_weight: float = Field(0.0, ge=0)
    """Weight of R1, the penalty on D's squared gradient at the real images (Mescheder et al. 2018)."""
    r1_every: int = Field(16, ge=1)
    """R1 is taken in every so many-th step, with as many times the weight."""
    class_power: float = Field(1.0, ge=0, le=1)
    """Classes are sampled in proportion to n^class_power (1: as they are; 0: evenly)."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training images, where ``--images-seen`` does not say the length (published recipes)."""
    images_seen: int = Field(200_000, ge=1)
    """Training length in real images shown, where neither ``--images-seen`` nor ``epochs`` says it."""


class DesignSettings(Settings):
    """How the designer searches (`recgan.design`). Every number is for one design, which is seeded by itself: the
    defaults score 64 samples and climb the best 16 for the usual eight designs (the best 2 of each design's 8)."""

    preset: str = "default"
    """The name under which the settings are known; it chooses nothing (`recgan.design.load_preset` does)."""
    samples: int = Field(8, ge=1, le=4096)
    """Latents drawn and scored for a design."""
    starts: int = Field(2, ge=1, le=4096, validate_default=True)
    """The best of the samples, that are climbed; the highest of where they end is the design."""
    steps: int = Field(60, ge=0)
    """Steps of gradient ascent from each start; 0: the best sample is the design (best of N)."""
    learning_rate: float = Field(0.05, gt=0)
    """Adam's step length, in units of z."""
    keep: Literal["best", "last"] = "best"
    """Which point of a climb is kept: its highest or its last."""
    latent_std: float | None = Field(None, gt=0)
    """Spread of the starting z; None: the recipe's own prior."""
    preference: Literal["standardised", "raw"] = "standardised"
    """``standardised``: in standard deviations of the user's preference for the category's real items, so that the
    other weights mean the same for every user; ``raw``: as the recommender gives it (Kang et al. 2017)."""
    realism: Literal["least_squares", "calibrated"] = "calibrated"
    """``least_squares``: -(D-1)^2 (Kang et al. 2017); ``calibrated``: a penalty on falling below the mean realism of
    real images, in standard deviations."""
    realism_weight: float = Field(1.0, ge=0)
    """eta: weight of the realism term."""
    prior_weight: float = Field(1.0, ge=0)
    """Weight of the latent prior: a penalty on |z| leaving the shell where the prior has its mass."""
    neighbours: int = Field(5, ge=1)
    """Real items told with each design: those that look most like it."""

    @field_validator("starts")
    @classmethod
    def _starts_are_samples(cls, starts: int, earlier: ValidationInfo) -> int:
        if starts > earlier.data.get("samples", starts):
            raise ValueError(f"the starts are the best of the {earlier.data['samples']} samples; set samples too")
        return starts


class DemoSettings(Settings):
    """What `recgan demo` runs: sized so that the whole takes less than ten minutes on two cores."""

    items: int = Field(3000, ge=26)
    """Items of the drawn catalogue."""
    picture_size: int = Field(96, ge=64, le=128, multiple_of=8)
    """Side in pixels of the drawn pictures."""
    users: int = Field(2000, ge=1)
    interactions: int = Field(40000, ge=1)
    size: int = Field(64, ge=32, le=128)
    """Side in pixels of what the recommender is shown and the GAN makes."""
    recipe: str = "dcgan-lsgan"
    images_seen: int = Field(60000, ge=1)
    """Real images that the GAN is shown."""
    shown_users: int = Field(6, ge=1)
    """Users drawn for the report, who get designs."""
    designs_per_user: int = Field(4, ge=1, le=MAX_DESIGNS)
    design_steps: int = Field(30, ge=0)
    """Steps of each climb."""
