"""What a GAN recipe is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recgan.config.base import Settings

__all__ = ["Recipe"]


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
