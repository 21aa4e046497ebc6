"""One step of training: all gradients are taken here, and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from recgan.config import Recipe
from recgan.gan.layers import randomness
from recgan.gan.networks.base import Judgement
from recgan.gan.training.augment import augment
from recgan.gan.training.averaging import average_decay, update_average
from recgan.gan.training.losses import LOSSES, class_loss, code_loss, next_balance
from recgan.gan.training.parallel import ALONE, World
from recgan.gan.training.penalties import clip_weights, one_centred_penalty, orthogonal_penalty, zero_centred_penalty
from recgan.gan.training.schedules import advance, cosine

__all__ = ["Adjusted", "Figures", "TrainingState", "new_state", "train_step"]

Figures = dict[str, torch.Tensor]
"""Scalars by name, on the device: not yet copied to the host."""


@dataclass(frozen=True)
class Adjusted:
    """Factors that an acting monitor has put on what the recipe says (`recgan.gan.training.mending`)."""

    generator_rate: float = 1.0
    discriminator_rate: float = 1.0
    penalty: float = 1.0
    """Of the weights of R1, R2 and the gradient penalty."""


@dataclass
class TrainingState:
    """What changes while a GAN trains."""

    generator: nn.Module
    discriminator: nn.Module
    """A `recgan.gan.networks.base.Discriminator`."""
    average: nn.Module | None
    """The generator with averaged weights, where the recipe keeps one."""
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer
    rng: torch.Generator
    """CPU generator of all that is drawn in training: images, latents, augmentations, dropout, noise."""
    balance: torch.Tensor
    """Weight of the fake logits in a balanced loss (`recgan.gan.training.losses.next_balance`), a scalar."""
    images_seen: int = 0
    """Real images shown to the discriminator."""
    seconds: float = 0.0
    """Time spent in training so far, over all resumptions."""
    adjusted: Adjusted = Adjusted()
    length: int = 1
    """Real images of the whole run, for what changes along it."""
    world: World = ALONE
    """The processes that train together."""
    chance: torch.Generator = field(default_factory=torch.Generator)
    """CPU generator of what each process draws for its own part of a batch; set by every step."""

    @property
    def share(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return min(self.images_seen / self.length, 1.0)

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
    for network in networks:
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator, discriminator = networks
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False) if recipe.ema_half_life else None,
        generator_optimiser=_optimiser(recipe, generator, recipe.generator_learning_rate),
        discriminator_optimiser=_optimiser(recipe, discriminator, recipe.discriminator_learning_rate),
        rng=rng,
        balance=torch.zeros((), device=device),
    )


def _optimiser(recipe: Recipe, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    if recipe.optimiser == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), rate, alpha=recipe.beta2)
    return torch.optim.Adam(network.parameters(), rate, (recipe.beta1, recipe.beta2), fused=True)


@dataclass(frozen=True)
class _Part:
    """One part of a batch: all its tensors have as many rows."""

    images: torch.Tensor
    class_index: torch.Tensor
    z: torch.Tensor


def train_step(state: TrainingState, recipe: Recipe, images: torch.Tensor, class_index: torch.Tensor) -> Figures:
    """Train D on one batch and, in every `Recipe.discriminator_steps`-th step, G; the same latents and labels serve
    both, so that the i-th generated image is of the i-th real image's class.

    Args:
        state: changed in place.
        images: this process's real images float [N, 3, S, S] in [-1, 1]; all processes' are the recipe's batch.
        class_index: their classes, int64 [N].

    Returns:
        Losses, mean logits, the share of pairs in which D prefers the real image (``discriminator/accuracy``), norms
        of the gradients; of G only where it took a step.
    """
    batch = len(images) * state.world.size
    step = state.images_seen // batch
    _follow_schedule(state, recipe)
    z = torch.randn(batch, recipe.latent_dim, generator=state.rng).mul_(recipe.latent_std)
    z = state.world.part(z).to(images.device)
    state.chance = state.rng
    if state.world.size > 1:  # what is drawn for a part is the part's own, and the common generator stays in step
        key = (state.images_seen, state.world.rank)
        seed = np.random.SeedSequence(state.rng.initial_seed(), spawn_key=key).generate_state(1)
        state.chance = torch.Generator().manual_seed(int(seed[0]))
    count = recipe.micro_batches
    parts = [_Part(*tensors) for tensors in zip(images.chunk(count), class_index.chunk(count), z.chunk(count))]
    turn = (step + 1) % recipe.discriminator_steps == 0

    with randomness(state.chance, state.generator, state.discriminator):
        # The images that D is shown serve G's step too, unless several parts of a batch would have to be kept.
        kept = turn and count == 1
        fakes = [] if not kept else [_generate(state, recipe, part) for part in parts]
        figures = _train_discriminator(state, recipe, parts, fakes, step)
        if turn:
            figures |= _train_generator(state, recipe, parts, fakes)

    for network in (state.generator, state.discriminator):
        state.world.share(network.buffers())
    state.images_seen += batch
    if state.average is not None:
        decay = average_decay(recipe.ema_half_life, state.images_seen, batch)
        update_average(state.average, state.generator, decay)
    return figures


def _follow_schedule(state: TrainingState, recipe: Recipe) -> None:
    """Bring learning rates and networks to where they are due."""
    factor, adjusted = cosine(recipe.final_rate, state.share), state.adjusted
    for name, rate in (
        ("generator", recipe.generator_learning_rate * adjusted.generator_rate),
        ("discriminator", recipe.discriminator_learning_rate * adjusted.discriminator_rate),
    ):
        if recipe.scheduled:
            advance(state.networks()[name], state.share)
        for group in state.optimisers()[name].param_groups:
            group["lr"] = rate * factor


def _train_discriminator(
    state: TrainingState, recipe: Recipe, parts: list[_Part], fakes: list[torch.Tensor], step: int
) -> Figures:
    lazy = recipe.r1_every > 1
    due = step % recipe.r1_every == 0 and bool(recipe.r1_weight or recipe.r2_weight)
    optimiser, total = state.discriminator_optimiser, _Sum(len(parts))
    balance = state.balance
    seen: list[tuple[_Part, torch.Tensor]] = []
    optimiser.zero_grad()
    for number, part in enumerate(parts):
        if fakes:
            fake = fakes[number].detach()
        else:
            with torch.no_grad():
                fake = _generate(state, recipe, part)
        seen.append((part, fake))
        loss, figures = _discriminator_loss(state, recipe, part, fake)
        if due and not lazy:
            loss = loss + _flatness(state, recipe, part, fake, figures)
        (loss / len(parts)).backward()
        total.add(figures)
        if LOSSES[recipe.loss].balanced:
            real, made = figures["logits/real"], figures["logits/fake"]
            state.world.average([real, made])
            balance = next_balance(balance, real, made, recipe.equilibrium, recipe.equilibrium_rate / len(parts))
    state.world.average_gradients(state.discriminator.parameters())
    norm = _gradient_norm(state.discriminator)
    optimiser.step()
    penalties: Figures = {}
    if due and lazy:
        # A step of its own now and then, worth as many as it stands for (lazy regularisation: Karras et al. 2020).
        optimiser.zero_grad()
        for part, fake in seen:
            (_flatness(state, recipe, part, fake, penalties) * (recipe.r1_every / len(parts))).backward()
        state.world.average_gradients(state.discriminator.parameters())
        optimiser.step()
    if recipe.clip:
        clip_weights(state.discriminator, recipe.clip)
    state.balance = balance
    return total.mean() | penalties | {"gradient/discriminator": norm}


def _discriminator_loss(
    state: TrainingState, recipe: Recipe, part: _Part, fake: torch.Tensor
) -> tuple[torch.Tensor, Figures]:
    """Return D's loss on one part of a batch, and what there is to tell of it."""
    loss = LOSSES[recipe.loss]
    # Real and fake batches pass D apart, so that batch norm sees each kind by itself (Radford et al. 2016).
    real_shown = augment(part.images, recipe.augment, state.chance)
    real = _judge(state, recipe, real_shown, part.class_index)
    fake_shown = augment(fake, recipe.augment, state.chance)
    made = _judge(state, recipe, fake_shown, part.class_index)
    fake_logits = made.logits * state.balance if loss.balanced else made.logits
    value = loss.discriminator(real.logits, fake_logits, 1 - recipe.label_smoothing)
    figures = {
        "loss/discriminator": value.detach(),
        "logits/real": real.logits.detach().mean(),
        "logits/fake": made.logits.detach().mean(),
        "discriminator/accuracy": (real.logits > made.logits).float().mean(),
    }
    if real.class_logits is not None and made.class_logits is not None:
        named = class_loss(real.class_logits, part.class_index)
        value = value + recipe.class_weight * (named + class_loss(made.class_logits, part.class_index))
        figures["loss/class"] = named.detach()
    if made.code is not None:
        read = code_loss(made.code, _code(recipe, part.z))
        value = value + recipe.code_weight * read
        figures["loss/code"] = read.detach()
    if recipe.gradient_penalty_weight:
        penalty = one_centred_penalty(state.discriminator, real_shown, fake_shown, part.class_index, state.chance)
        value = value + recipe.gradient_penalty_weight * state.adjusted.penalty * penalty
        figures["penalty/gradient"] = penalty.detach()
    if recipe.drift_weight:
        value = value + recipe.drift_weight * real.logits.square().mean()
    return value, figures


def _flatness(state: TrainingState, recipe: Recipe, part: _Part, fake: torch.Tensor, figures: Figures) -> torch.Tensor:
    """Return R1 and R2 with their weights; both are always taken in full precision."""
    factor = cosine(recipe.final_penalty, state.share) * state.adjusted.penalty
    value = torch.zeros((), device=fake.device)
    for name, weight, images in (("r1", recipe.r1_weight, part.images), ("r2", recipe.r2_weight, fake)):
        if weight:
            shown = augment(images, recipe.augment, state.chance)
            penalty = zero_centred_penalty(state.discriminator, shown, part.class_index)
            figures[f"penalty/{name}"] = penalty.detach()
            value = value + weight * factor * penalty
    return value


def _train_generator(state: TrainingState, recipe: Recipe, parts: list[_Part], fakes: list[torch.Tensor]) -> Figures:
    loss, total = LOSSES[recipe.loss], _Sum(len(parts))
    state.generator_optimiser.zero_grad()
    with _frozen(state.discriminator):  # G's step needs the gradient through D, not of D
        for number, part in enumerate(parts):
            fake = fakes[number] if fakes else _generate(state, recipe, part)
            made = _judge(state, recipe, augment(fake, recipe.augment, state.chance), part.class_index)
            real_logits = made.logits.new_empty(0)
            if loss.relativistic:
                with torch.no_grad():
                    shown = augment(part.images, recipe.augment, state.chance)
                    real_logits = _judge(state, recipe, shown, part.class_index).logits
            value = loss.generator(real_logits, made.logits)
            figures = {"loss/generator": value.detach()}
            if made.class_logits is not None:
                value = value + recipe.class_weight * class_loss(made.class_logits, part.class_index)
            if made.code is not None:
                value = value + recipe.code_weight * code_loss(made.code, _code(recipe, part.z))
            if recipe.orthogonal_weight:
                value = value + recipe.orthogonal_weight * orthogonal_penalty(state.generator)
            (value / len(parts)).backward()
            total.add(figures)
    state.world.average_gradients(state.generator.parameters())
    norm = _gradient_norm(state.generator)
    state.generator_optimiser.step()
    return total.mean() | {"gradient/generator": norm}


def _generate(state: TrainingState, recipe: Recipe, part: _Part) -> torch.Tensor:
    with _precision(recipe, part.z.device):
        return state.generator(part.z, part.class_index).float()


def _judge(state: TrainingState, recipe: Recipe, images: torch.Tensor, class_index: torch.Tensor) -> Judgement:
    with _precision(recipe, images.device):
        return state.discriminator.judge(images, class_index).float()  # type: ignore[operator]


def _precision(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bfloat16")


def _code(recipe: Recipe, z: torch.Tensor) -> torch.Tensor:
    """Return the code in latents, with unit variance."""
    return z[:, -recipe.code_dim :] / recipe.latent_std


def _gradient_norm(network: nn.Module) -> torch.Tensor:
    """Return the norm of all gradients of a network together."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return torch.stack(torch._foreach_norm(gradients)).norm()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class _Sum:
    """The mean of figures over the parts of a batch."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._sums: Figures = {}

    def add(self, figures: Figures) -> None:
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def mean(self) -> Figures:
        return {name: value / self._count for name, value in self._sums.items()}
