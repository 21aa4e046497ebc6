"""Settings of the recommenders, one class a model, and of their index."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from recgan.config.base import Settings, overridden
from recgan.errors import SettingsError, nearest_name

__all__ = [
    "ALSSettings",
    "BPRMFSettings",
    "BPRSettings",
    "BlendSettings",
    "CategorySettings",
    "DVBPRSettings",
    "FactorSettings",
    "FeatureKind",
    "IdealPointSettings",
    "IndexSettings",
    "LookSettings",
    "PopularitySettings",
    "RepurchaseSettings",
    "VBPRSSMSettings",
    "VBPRSettings",
    "VisualKNNSettings",
    "WARPSettings",
    "index_settings",
]

FeatureKind: TypeAlias = Literal["real", "permuted", "noise", "category"]
"""The features of a visual model, or a control that says nothing about how an item looks: rows permuted among the
items, Gaussian noise, the one-hot category alone."""


class PopularitySettings(Settings):
    """`popularity`: score = number of users in train who took the item, alike for all users.

    By category, that is in proportion to how much of each category a user takes: ``category`` with within=popularity.
    """

    half_life_days: float | None = Field(None, gt=0)
    """Recent popularity: what was taken so many days before the newest interaction of train counts half, and so on;
    None: all time counts alike."""


class RepurchaseSettings(Settings):
    """`repurchase`: score = how often the user took the item, and a little of how popular it is."""

    half_life_days: float | None = Field(None, gt=0)
    """What was taken so many days before the newest interaction of train counts half, and so on; None: all alike."""
    popularity_half_life_days: float | None = Field(None, gt=0)
    """The same of what others took."""
    smoothing: float = Field(0.5, gt=0)
    """The most popular item counts as if the user had taken it so many times, others in proportion. Below 1 and without
    a half-life, all of a user's own items stand before all others."""


class CategorySettings(Settings):
    """`category`: score = share of the item's category in what the user took, shared out among its items.

    With within=popularity it is popularity by category.
    """

    smoothing: float = Field(2.0, gt=0)
    """Everybody's shares count as much as so many items of the user's own."""
    within: Literal["even", "popularity"] = "even"
    """How a category's share is divided among its items: evenly, or by how many users took them."""


class LookSettings(Settings):
    """What models that look through an encoder have in common: how they see its features."""

    width: int = Field(128, ge=2)
    """The features are whitened once to this many dimensions."""
    whitening: float = Field(0.5, ge=0, le=1)
    """1: all dimensions get equal variance; 0: they keep theirs."""
    smoothing_neighbours: int = Field(0, ge=0)
    """Whitened features are mixed with the mean of those of so many nearest items, itself among them; 0: they are not.
    Every item is compared with every other, once."""
    smoothing_weight: float = Field(0.5, gt=0, le=1)
    """Of that mean."""
    features: FeatureKind = "real"


class VisualKNNSettings(LookSettings):
    """`visual_knn` (VisRank): similarity of an item to the user's history in whitened feature space."""


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


class IdealPointSettings(LookSettings):
    """`ideal_point`: score = popularity + how much likelier the look and the category are given what the user took."""

    dim: int = Field(32, ge=1)
    """Directions in which users differ, the strongest first; fewer where they do not differ in so many."""
    category_smoothing: float = Field(5.0, gt=0)
    """Everybody's shares of the categories count as much as so many items of the user's own."""
    visual_weight: float | None = Field(None, ge=0)
    """Of the picture, 1 being what the model of users and items says; None: what is best in validation, or 1."""
    category_weight: float | None = Field(None, ge=0)
    """The same, of the category."""
    cold_bias: float | None = None
    """As in `vbpr`."""
    criterion: Literal["auc", "ndcg"] = "auc"
    """Of the validation part, by which the weights and the bias of cold items are chosen."""


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


class WARPSettings(BPRMFSettings):
    """`warp`: the scores of `bpr_mf`, trained with the WARP loss (Weston et al. 2011); image-free."""

    learning_rate: float = Field(0.1, gt=0)
    """Adagrad's, of the latent factors and the item bias."""
    latent_regularisation: float = Field(1.0, ge=0)
    """L2 on the latent factors of the users and items of each step."""
    bias_regularisation: float = Field(0.1, ge=0)
    """L2 on how far the biases of the items of each step are from the log of their popularity."""

    @field_validator("negative_power")
    @classmethod
    def _negatives_are_drawn_evenly(cls, power: float) -> float:
        if power:
            raise ValueError("warp estimates ranks from even draws; leave it out")
        return power


class VBPRSettings(FactorSettings, LookSettings):
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
    visual_learning_rate: float = Field(0.05, gt=0)
    """Adagrad's, of the users' visual factors, E and b'."""
    visual_std: float = Field(0.1, gt=0)
    """Spread of the random start of the users' visual factors and of E."""
    visual_regularisation: float = Field(0.3, ge=0)
    """L2 on the visual factors of the users of each step."""
    projection_regularisation: float = Field(0.0, ge=0)
    """L2 on E and b'."""


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


class BlendSettings(LookSettings):
    """`blend`: several models' scores, added up by weights that validation chooses."""

    parts: tuple[Literal["ideal_point", "visual_knn", "vbpr", "vbpr_ssm", "als", "bpr", "bpr_mf", "warp"], ...] = Field(
        ("ideal_point", "vbpr_ssm", "als"), min_length=1
    )
    """The models. The first is one that sees; the others are weighted against it."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of the parts, by name; what is left out is as the part has it by itself."""
    weights: tuple[float, ...] | None = None
    """One a part, each in the unit that makes all parts' scores vary alike; 0 leaves a part out. None: what is best in
    validation; without a validation part, 1 each."""
    cold_bias: float | None = None
    """Added to the scores of items without an interaction; None: what is best in validation, or 0."""
    criterion: Literal["auc", "ndcg", "both"] = "both"
    """Of the validation part, by which the weights are chosen: the AUC, the NDCG@20, or their sum."""

    @model_validator(mode="after")
    def _fits(self) -> BlendSettings:
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("parts: name each model once")
        if self.parts[0] not in ("ideal_point", "visual_knn", "vbpr", "vbpr_ssm"):
            raise ValueError("parts: the first must be a model that sees, such as ideal_point")
        if unknown := sorted(self.options.keys() - set(self.parts)):
            raise ValueError(f"options: '{unknown[0]}' is none of the parts")
        if self.weights is not None and (
            len(self.weights) != len(self.parts) or min(self.weights) < 0 or self.weights[0] == 0
        ):
            raise ValueError("weights: give one for each part, none below 0, and the first above")
        return self


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
    """Epochs in which a pretrained network stands still: users, and the head, first learn from what it sees."""
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's, of the network, its head included once a pretrained one moves (Kumar et al., ICLR 2022)."""
    head_learning_rate: float = Field(1e-3, gt=0)
    """Adam's, of the head while a pretrained network stands still, and of the head of ``cnn_f``."""
    factor_learning_rate: float = Field(0.01, gt=0)
    """Adam's, of the users' factors and the items' biases."""
    network_regularisation: float = Field(0.001, ge=0)
    """L2 on the weights (``cnn_f``), or on how far they are from the pretrained ones (L2-SP, Li et al. 2018)."""
    user_regularisation: float = Field(0.3, ge=0)
    """L2 on the factors of the users of each pair."""
    bias_regularisation: float = Field(0.01, ge=0)
    """L2 on how far the items' biases are from the log of their popularity."""
    cold_bias: float | None = None
    """As in `vbpr`; only with ``item_bias``."""
    criterion: Literal["auc", "ndcg"] = "auc"
    """Of the validation part, by which the epoch and the bias of cold items are chosen."""
    patience: int = Field(3, ge=1)
    """Stop after this many epochs without a better validation figure; the best epoch is kept."""
    features: FeatureKind = "real"

    @model_validator(mode="after")
    def _biases_are_there(self) -> DVBPRSettings:
        if self.cold_bias is not None and not self.item_bias:
            raise ValueError("cold_bias: items have no bias with item_bias=False")
        return self


class IndexSettings(Settings):
    """How a model's items are searched (`recgan.recommenders.topk.ann`): exactly, or, if many, approximately."""

    kind: Literal["flat", "ivf", "hnsw"] = "flat"
    """``flat``: exact; ``ivf``: lists of items around centres; ``hnsw``: a graph of near items."""
    lists: int | None = Field(None, ge=1, le=1 << 20)
    """``ivf``: number of lists; None: four times the square root of the number of items."""
    probes: int = Field(32, ge=1, le=1 << 20)
    """``ivf``: lists searched for a query; more find more, and take longer."""
    links: int = Field(32, ge=2, le=256)
    """``hnsw``: links of an item."""
    build_width: int = Field(80, ge=1, le=1 << 16)
    """``hnsw``: candidates kept while the graph is built."""
    search_width: int = Field(128, ge=1, le=1 << 20)
    """``hnsw``: candidates kept while searching; more find more, and take longer."""


_OF_KIND = {"flat": (), "ivf": ("lists", "probes"), "hnsw": ("links", "build_width", "search_width")}


def index_settings(text: str) -> IndexSettings:
    """Return the settings that ``--index`` names: a kind, and behind commas its own: ``hnsw,search_width=256``.

    Raises:
        SettingsError: an unknown kind, a setting that it has not, or a bad value.
    """
    kind, *own = (part.strip() for part in text.split(","))
    if kind not in _OF_KIND:
        hint = nearest_name(kind, _OF_KIND) or f"; use {', '.join(_OF_KIND)}"
        raise SettingsError(f"there is no index '{kind}'{hint}")
    known = _OF_KIND[kind]
    for name in (assignment.partition("=")[0].strip() for assignment in own):
        if name not in known:
            hint = nearest_name(name, known) or f"; it takes {', '.join(known) or 'none'}"
            raise SettingsError(f"index '{kind}' has no setting '{name}'{hint}")
    return overridden(IndexSettings(), [f"kind={kind}", *own], "--index")
