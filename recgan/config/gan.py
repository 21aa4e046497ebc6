"""What a GAN recipe is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from recgan.config.base import Settings

__all__ = ["InverterSettings", "MonitorSettings", "Recipe"]

TARGETED = ("least_squares", "non_saturating", "minimax")
"""Losses that pull the logits of real images to a target, which label smoothing lowers."""


class MonitorSettings(Settings):
    """How a run is looked at while it trains (`recgan.gan.monitor.quality`)."""

    looks: int = Field(10, ge=1)
    """Looks in the whole run, at even distances."""
    images: int = Field(500, ge=50)
    """At most this many held-out images, and as many samples, are compared at a look."""
    on_alarm: Literal["advise", "act"] = "advise"
    """Whether an alarm says what to do, or does it: goes back to the best state, halves rates, raises penalties
    (`recgan.gan.training.mending`)."""
    extractor: str = "efficientnet_lite2"
    """The encoder that sees them: not the one that recommenders look through by default."""
    extractor_size: int = Field(128, ge=8)
    """Side in pixels at which it sees them."""


class InverterSettings(Settings):
    """How pictures are brought back to the latents that make them (`recgan.gan.latent.inversion`)."""

    width: int = Field(256, ge=8)
    """Channels where the encoder is 4 x 4 pixels, halved each time the side doubles."""
    images_seen: int = Field(100_000, ge=1)
    """Generated images that the encoder learns from."""
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    image_weight: float = Field(4.0, ge=0)
    """Weight of how unlike the restored picture is, against the error of the latent."""
    steps: int = Field(100, ge=0)
    """Steps of gradient descent from the encoder's guess; 0: the guess is taken."""
    step_length: float = Field(0.05, gt=0)
    """Adam's step length in the descent, in standard deviations of the latent."""
    extractor: str = "efficientnet_lite0_levels"
    """The encoder whose features the descent compares, beside pixels: its levels tell colour and texture."""
    extractor_size: int = Field(64, ge=8)
    """Side in pixels at which it sees pictures."""
    feature_weight: float = Field(0.1, ge=0)
    """Weight of the features' distance against that of the pixels."""


class Recipe(Settings):
    """Everything that makes a GAN: networks, how they are told the class, loss, penalties, data, optimiser, average."""

    name: str
    summary: str = ""
    """One line for a person: what it is, and where it comes from."""

    # The networks
    network: Literal[
        "dense", "dcgan", "kang2017", "autoencoder", "residual", "residual_dcgan", "style", "progressive"
    ] = "dcgan"
    """Family of the pair, one file each in `recgan.gan.networks`."""
    colours: Literal["rgb", "grey"] = "rgb"
    """``grey``: G makes three equal channels, and D looks at the luminance alone."""
    latent_dim: int = Field(128, ge=1)
    latent_std: float = Field(1.0, gt=0)
    """z ~ N(0, latent_std^2)."""
    truncation: float | None = Field(None, gt=0)
    """Samples (not training) redraw what of z lies beyond so many standard deviations (Brock et al. 2019)."""
    generator_width: int = Field(256, ge=8)
    """Channels where G is 4 x 4 pixels, halved each time the side doubles."""
    discriminator_width: int = Field(256, ge=8)
    """Channels where D is 4 x 4 pixels, halved each time the side doubles."""
    blocks: int = Field(1, ge=1)
    """Residual blocks a side (``residual``)."""
    latent_skips: bool = False
    """z reaches every block of G beside the class, not its first layer alone (``residual``; Brock et al. 2019)."""
    class_dim: int = Field(32, ge=1)
    """Width of the class embedding (``kang2017`` uses the one-hot label)."""
    generator_classes: Literal["none", "concat", "batch_norm", "film"] = "concat"
    """How G is told the class: not at all; joined to z; by the gains and shifts of each batch norm; or of each block
    without any normalisation."""
    discriminator_classes: Literal["none", "concat", "projection", "classifier"] = "concat"
    """How D is told the class: not at all; joined to its features (``dense``: to its input); by an inner product of
    features and class; or as a task of its own, to name the class."""
    discriminator_norm: Literal["none", "batch", "group", "spectral"] = "group"
    generator_spectral: bool = False
    """Spectral norm in G too."""
    attention: bool = False
    """Self-attention at 16 x 16 pixels in G and D (``residual``)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of D's features that are dropped at random while it trains."""
    minibatch: Literal["none", "deviation", "discrimination"] = "none"
    """What D is told of the company that an image comes in, so that a collapse shows (Karras et al. 2018; Salimans et
    al. 2016)."""

    # The game
    loss: Literal[
        "least_squares",
        "non_saturating",
        "minimax",
        "hinge",
        "wasserstein",
        "boundary_equilibrium",
        "relativistic",
    ] = "least_squares"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """The target of real images is 1 less this (Salimans et al. 2016: one-sided)."""
    discriminator_steps: int = Field(1, ge=1)
    """Steps of D, each on a batch of its own, for one of G."""
    r1_weight: float = Field(0.0, ge=0)
    """Weight of R1, the penalty on D's squared gradient at the real images (Mescheder et al. 2018)."""
    r2_weight: float = Field(0.0, ge=0)
    """Weight of R2, the same at the generated images."""
    r1_every: int = Field(16, ge=1)
    """R1 and R2 are taken in every so many-th step, with as many times the weight; 1: together with the loss, else
    as a step of their own."""
    gradient_penalty_weight: float = Field(0.0, ge=0)
    """Weight of the penalty on D's gradient between real and generated images for being other than 1."""
    drift_weight: float = Field(0.0, ge=0)
    """Weight of the mean squared logit of real images (Karras et al. 2018)."""
    clip: float = Field(0.0, ge=0)
    """D's weights are held within +- clip (Arjovsky et al. 2017); 0: they are free."""
    orthogonal_weight: float = Field(0.0, ge=0)
    """Weight of the penalty on inner products between G's filters (Brock et al. 2019)."""
    class_weight: float = Field(1.0, gt=0)
    """Weight of naming the class, with ``discriminator_classes="classifier"``."""
    code_dim: int = Field(0, ge=0)
    """The last so many entries of z are a code that D must read back from the image (Chen et al. 2016)."""
    code_weight: float = Field(1.0, gt=0)
    """Weight of reading the code back."""
    equilibrium: float = Field(0.5, gt=0, le=1)
    """The error of generated over that of real images that ``boundary_equilibrium`` aims at (gamma)."""
    equilibrium_rate: float = Field(0.001, gt=0)
    """How fast ``boundary_equilibrium`` gets there (lambda)."""

    # The optimisation
    optimiser: Literal["adam", "rmsprop"] = "adam"
    batch_size: int = Field(16, ge=2)
    micro_batches: int = Field(1, ge=1)
    """A batch is computed in so many parts, whose gradients are added up: for devices with little memory."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the forward passes; weights, losses and penalties are float32 always."""
    generator_learning_rate: float = Field(2e-4, gt=0)
    discriminator_learning_rate: float = Field(2e-4, gt=0)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    """Of Adam; RMSprop has beta2 alone."""
    final_rate: float = Field(1.0, gt=0, le=1)
    """Share of the learning rates that is left at the end of the run, reached along a cosine."""
    final_penalty: float = Field(1.0, gt=0, le=1)
    """Share of the weights of R1 and R2 that is left at the end of the run, reached along a cosine."""
    class_warm_up: float = Field(0.0, ge=0, le=1)
    """Share of the run over which the class gains its full influence, from none (Shahbazi et al. 2022)."""
    growth: float = Field(0.0, ge=0, le=1)
    """Share of the run over which the resolution grows from 4 px to the full size (``progressive``)."""
    ema_half_life: int = Field(0, ge=0)
    """Half-life, in real images shown, of the averaged generator; 0: no average, the last weights are used."""

    # The data
    augment: tuple[Literal["flip", "translate", "colour"], ...] = ()
    """Differentiable augmentations of what D is shown, real and fake alike."""
    class_power: float = Field(1.0, ge=0, le=1)
    """Classes are sampled in proportion to n^class_power (1: as they are; 0: evenly)."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training images, where ``--images-seen`` does not say the length (published recipes)."""
    images_seen: int = Field(200_000, ge=1)
    """Training length in real images shown, where neither ``--images-seen`` nor ``epochs`` says it."""

    @property
    def generator_knows_classes(self) -> bool:
        """Whether the class makes a difference to G (``kang2017`` is always told)."""
        return self.network == "kang2017" or self.generator_classes != "none"

    def identity(self) -> dict[str, Any]:
        """Return what makes a run what it is, as JSON values: all but the length, which may change where a run can be
        trained further, and the summary."""
        return self.model_dump(mode="json", exclude={"epochs", "images_seen", "summary"})

    @property
    def scheduled(self) -> bool:
        """Whether something depends on how far the run is, so that its length is part of what it is."""
        return self.final_rate < 1 or self.final_penalty < 1 or self.class_warm_up > 0 or self.growth > 0

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.label_smoothing and self.loss not in TARGETED:
            raise ValueError(f"label_smoothing needs a loss with targets ({', '.join(TARGETED)}), not {self.loss}")
        if self.discriminator_norm == "batch" and (self.r1_weight or self.r2_weight or self.gradient_penalty_weight):
            raise ValueError(
                "a gradient penalty is taken of each image by itself, which batch norm in D does not allow; "
                "set discriminator_norm to group or none"
            )
        if self.code_dim >= self.latent_dim:
            raise ValueError(f"code_dim={self.code_dim} must leave some of the {self.latent_dim} entries of z")
        if self.batch_size % self.micro_batches or self.batch_size // self.micro_batches < 2:
            raise ValueError(f"batch_size={self.batch_size} must be {self.micro_batches} micro_batches of 2 or more")
        if (self.loss == "boundary_equilibrium") != (self.network == "autoencoder"):
            raise ValueError("the loss boundary_equilibrium and the network autoencoder need each other")
        return self
