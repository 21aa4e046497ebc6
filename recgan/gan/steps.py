"""One step of training: all gradients are taken here, and nowhere else."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from recgan.config import Recipe
from recgan.gan.augment import augment
from recgan.gan.averaging import average_decay, update_average
from recgan.gan.losses import LOSSES
from recgan.gan.penalties import r1_penalty

__all__ = ["TrainingState", "new_state", "train_step"]


@dataclass
class TrainingState:
    """What changes while a GAN trains."""

    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module | None
    """The generator with averaged weights, where the recipe keeps one."""
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer
    rng: torch.Generator
    """CPU generator of all that is drawn in training: images, latents, augmentations."""
    images_seen: int = 0
    """Real images shown to the discriminator."""
    seconds: float = 0.0
    """Time spent in training so far, over all resumptions."""

    def networks(self) -> dict[str, nn.Module]:
        """The networks by name."""
        named = {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}
        return {name: network for name, network in named.items() if network is not None}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name."""
        return {"generator": self.generator_optimiser, "discriminator": self.discriminator_optimiser}


def new_state(
    recipe: Recipe, networks: tuple[nn.Module, nn.Module], rng: torch.Generator, device: torch.device
) -> TrainingState:
    """Return the state of a run that begins: the networks on ``device``, fresh optimisers, ``rng`` (on the CPU)."""
    generator, discriminator = (
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for network in networks
    )
    betas = (recipe.beta1, recipe.beta2)
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False) if recipe.ema_half_life else None,
        generator_optimiser=torch.optim.Adam(generator.parameters(), recipe.generator_learning_rate, betas, fused=True),
        discriminator_optimiser=torch.optim.Adam(
            discriminator.parameters(), recipe.discriminator_learning_rate, betas, fused=True
        ),
        rng=rng,
    )


def train_step(state: TrainingState, recipe: Recipe, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
    """Train D, then G, on one batch; the same latents and labels serve both.

    Args:
        state: changed in place.
        images: real images float [N, 3, S, S] in [-1, 1].
        class_index: their classes, int64 [N].

    Returns:
        float [4]: loss of D, loss of G, mean logit of the real images, of the fake ones. Not yet copied to the host.
    """
    loss = LOSSES[recipe.loss]
    generator, discriminator = state.generator, state.discriminator
    z = torch.randn(len(images), recipe.latent_dim, generator=state.rng).mul_(recipe.latent_std).to(images.device)
    fake = generator(z, class_index)

    # Real and fake batches pass D apart, so that batch norm sees each kind by itself (Radford et al. 2016).
    real_logits = discriminator(augment(images, recipe.augment, state.rng), class_index)
    fake_logits = discriminator(augment(fake.detach(), recipe.augment, state.rng), class_index)
    discriminator_loss = loss.discriminator(real_logits, fake_logits)
    state.discriminator_optimiser.zero_grad()
    discriminator_loss.backward()
    state.discriminator_optimiser.step()
    if recipe.r1_weight and state.images_seen // len(images) % recipe.r1_every == 0:
        # A step of its own now and then, worth as many as it stands for (lazy regularisation: Karras et al. 2020).
        penalty = r1_penalty(discriminator, augment(images, recipe.augment, state.rng), class_index)
        state.discriminator_optimiser.zero_grad()
        (penalty * (recipe.r1_weight * recipe.r1_every)).backward()
        state.discriminator_optimiser.step()

    discriminator.requires_grad_(False)  # G's step needs the gradient through D, not of D
    generator_loss = loss.generator(discriminator(augment(fake, recipe.augment, state.rng), class_index))
    state.generator_optimiser.zero_grad()
    generator_loss.backward()
    state.generator_optimiser.step()
    discriminator.requires_grad_(True)

    state.images_seen += len(images)
    if state.average is not None:
        decay = average_decay(recipe.ema_half_life, state.images_seen, len(images))
        update_average(state.average, generator, decay)
    return torch.stack([discriminator_loss, generator_loss, real_logits.mean(), fake_logits.mean()]).detach()
