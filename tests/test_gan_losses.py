"""Losses and penalties, by numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from recgan.config import Recipe
from recgan.gan import build_networks, find_recipe
from recgan.gan.training.losses import LOSSES, class_loss, code_loss, next_balance
from recgan.gan.training.penalties import clip_weights, one_centred_penalty, orthogonal_penalty, zero_centred_penalty
from recgan.gan.training.steps import TrainingState, new_state, train_step

SMALL = Recipe(name="small", generator_width=32, discriminator_width=32, latent_dim=8, class_dim=4, batch_size=4)
REAL, FAKE = torch.tensor([1.5, 0.0]), torch.tensor([0.5, -1.0])
NO_REAL = torch.empty(0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


def discriminator_loss(name: str, target: float = 1.0) -> float:
    return LOSSES[name].discriminator(REAL, FAKE, target).item()


def generator_loss(name: str) -> float:
    return LOSSES[name].generator(REAL, FAKE).item()


# losses


def test_least_squares() -> None:
    # D: ((0.5^2 + 1^2)/2 + (0.5^2 + 1^2)/2) / 2; G: (0.5^2 + 2^2) / 2
    assert discriminator_loss("least_squares") == pytest.approx(0.625)
    assert generator_loss("least_squares") == pytest.approx(2.125)
    # real to 0.9: ((0.6^2 + 0.9^2)/2 + 0.625) / 2
    assert discriminator_loss("least_squares", 0.9) == pytest.approx((0.585 + 0.625) / 2)


def test_non_saturating() -> None:
    expected = (softplus(-1.5) + softplus(0)) / 2 + (softplus(0.5) + softplus(-1)) / 2
    assert discriminator_loss("non_saturating") == pytest.approx(expected)
    assert generator_loss("non_saturating") == pytest.approx((softplus(-0.5) + softplus(1)) / 2)


def test_a_smoothed_label_is_cross_entropy_against_it() -> None:
    def entropy(logit: float, target: float) -> float:
        probability = 1 / (1 + math.exp(-logit))
        return -target * math.log(probability) - (1 - target) * math.log(1 - probability)

    expected = (entropy(1.5, 0.9) + entropy(0, 0.9)) / 2 + (entropy(0.5, 0) + entropy(-1, 0)) / 2
    assert discriminator_loss("non_saturating", 0.9) == pytest.approx(expected)


def test_minimax_is_the_same_game_with_the_other_generator() -> None:
    assert discriminator_loss("minimax") == discriminator_loss("non_saturating")
    # mean of log(1 - sigmoid(logit)) = -softplus(logit)
    assert generator_loss("minimax") == pytest.approx(-(softplus(0.5) + softplus(-1)) / 2)
    sure = torch.tensor([-20.0], requires_grad=True)
    LOSSES["minimax"].generator(NO_REAL, sure).backward()
    assert sure.grad is not None
    assert abs(sure.grad.item()) < 1e-8  # it saturates: where D is sure, nothing is left to learn from
    sure.grad = None
    LOSSES["non_saturating"].generator(NO_REAL, sure).backward()
    assert sure.grad.item() == pytest.approx(-1)


def test_hinge() -> None:
    # D: (0 + 1)/2 + (1.5 + 0)/2; G: -(0.5 - 1)/2
    assert discriminator_loss("hinge") == pytest.approx(1.25)
    assert generator_loss("hinge") == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["wasserstein", "boundary_equilibrium"])
def test_wasserstein(name: str) -> None:
    assert discriminator_loss(name) == pytest.approx(-0.25 - 0.75)
    assert generator_loss(name) == pytest.approx(0.25)


def test_relativistic_compares_each_fake_with_its_partner() -> None:
    # pairs: 1.5 with 0.5, 0 with -1: both differ by 1
    assert discriminator_loss("relativistic") == pytest.approx(softplus(-1))
    assert generator_loss("relativistic") == pytest.approx(softplus(1))
    # crossed, they differ by 2.5 and -0.5
    crossed = LOSSES["relativistic"].discriminator(REAL, FAKE.flip(0), 1.0).item()
    assert crossed == pytest.approx((softplus(-2.5) + softplus(0.5)) / 2)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_when_its_player_does_better(name: str) -> None:
    real, fake, loss = REAL.clamp(max=0.9), FAKE.clamp(min=0.1), LOSSES[name]
    assert loss.discriminator(real + 0.05, fake, 1.0) < loss.discriminator(real, fake, 1.0)
    assert loss.discriminator(real, fake - 0.05, 1.0) < loss.discriminator(real, fake, 1.0)
    assert loss.generator(real, fake + 0.05) < loss.generator(real, fake)
    assert loss.generator(real, fake - 0.05) > loss.generator(real, fake)


def test_the_balance_moves_towards_the_equilibrium_and_stays_within_bounds() -> None:
    def after(balance: float, real_error: float, fake_error: float) -> float:
        logits = torch.tensor([-real_error] * 2), torch.tensor([-fake_error] * 2)
        return next_balance(torch.tensor(balance), *logits, 0.5, 0.1).item()

    # k + 0.1 (0.5 * 0.8 - 0.3)
    assert after(0.2, 0.8, 0.3) == pytest.approx(0.21)
    assert after(0.2, 0.8, 0.4) == pytest.approx(0.2)  # at the equilibrium
    assert after(0.001, 0.2, 0.9) == 0
    assert after(0.999, 9.0, 0.1) == 1


def test_naming_the_class_costs_its_negative_log_probability() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    expected = (-math.log(3 / 4) - math.log(1 / 2)) / 2
    assert class_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(expected)


def test_reading_the_code_costs_its_negative_log_density() -> None:
    read = torch.tensor([[1.0, 0.0, 0.0, math.log(4)]])  # means 1 and 0, variances 1 and 4
    code = torch.tensor([[3.0, 2.0]])
    # ((3 - 1)^2 / 1 + log 1 + 2^2 / 4 + log 4) / 2 entries / 2
    assert code_loss(read, code).item() == pytest.approx((4 + 1 + math.log(4)) / 4)


# penalties


class Squares(torch.nn.Module):
    """D(x, c) = w_c |x|^2, so that the gradient at x is 2 w_c x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, 3.0]))

    def forward(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        return self.weight[class_index] * images.square().sum(dim=(1, 2, 3))


class Linear(torch.nn.Module):
    """D(x, c) = a . x, so that the gradient is a everywhere."""

    def __init__(self, length: float) -> None:
        super().__init__()
        direction = torch.randn(3, 4, 4, generator=seeded())
        self.weight = torch.nn.Parameter(direction / direction.norm() * length)

    def forward(self, images: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        return (images * self.weight).sum(dim=(1, 2, 3))


def test_the_zero_centred_penalty_is_half_the_mean_squared_gradient_and_has_a_gradient() -> None:
    discriminator = Squares()
    images = torch.full((2, 3, 1, 1), 0.5)  # |x|^2 = 0.75
    penalty = zero_centred_penalty(discriminator, images, torch.tensor([0, 1]))
    # (4 * 1 * 0.75 + 4 * 9 * 0.75) / 2 images / 2
    assert penalty.item() == pytest.approx(7.5)
    penalty.backward()
    assert discriminator.weight.grad is not None
    assert discriminator.weight.grad.tolist() == pytest.approx([2 * 4 * 0.75 / 4, 2 * 4 * 3 * 0.75 / 4])


@pytest.mark.parametrize(("length", "expected"), [(1.0, 0.0), (3.0, 4.0), (0.5, 0.25)])
def test_the_one_centred_penalty_of_a_linear_critic(length: float, expected: float) -> None:
    real, fake = torch.randn(2, 5, 3, 4, 4, generator=seeded(1))
    classes = torch.zeros(5, dtype=torch.int64)
    critic = Linear(length)
    penalty = one_centred_penalty(critic, real, fake, classes, seeded())
    assert penalty.item() == pytest.approx(expected, abs=1e-5)  # (length - 1)^2
    if expected:
        penalty.backward()
        # d (|a| - 1)^2 / d a = 2 (|a| - 1) a / |a|
        torch.testing.assert_close(critic.weight.grad, 2 * (length - 1) * critic.weight.detach() / length)


def test_the_one_centred_penalty_is_taken_between_the_pair() -> None:
    """With D = |x|^2 the gradient's length is 2 |x|, so the penalty tells where it was taken."""
    real, fake = torch.zeros(2000, 3, 1, 1), torch.ones(2000, 3, 1, 1)
    penalty = one_centred_penalty(Squares(), real, fake, torch.zeros(2000, dtype=torch.int64), seeded())
    # E (2 sqrt(3) s - 1)^2 for s even in [0, 1]: 12/3 - 4 sqrt(3)/2 + 1
    assert penalty.item() == pytest.approx(4 - 2 * math.sqrt(3) + 1, rel=0.05)


def test_the_orthogonal_penalty_counts_inner_products_alone() -> None:
    layer = torch.nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 5.0], [2.0, 1.0]]))
    # products of rows 0.2: 2, 1.2: 5, 0.1: 0; each is there twice
    assert orthogonal_penalty(torch.nn.Sequential(layer, torch.nn.Linear(3, 1))).item() == pytest.approx(2 * (4 + 25))


def test_clipping_holds_every_parameter() -> None:
    layer = torch.nn.Linear(50, 50)
    clip_weights(layer, 0.01)
    assert all(parameter.abs().max() <= 0.01 for parameter in layer.parameters())
    assert layer.weight.abs().max().item() == pytest.approx(0.01)


# how a step uses them


def begun(recipe: Recipe, size: int = 16, classes: int = 2) -> TrainingState:
    rng = seeded(3)
    return new_state(recipe, build_networks(recipe, classes, size, rng), rng, torch.device("cpu"))


def batch(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(4, 3, size, size, generator=seeded()) * 2 - 1, torch.tensor([0, 1, 0, 1])


def taken(optimiser: torch.optim.Optimizer) -> int:
    return max(int(entry["step"].item()) for entry in optimiser.state.values())


def test_r1_is_taken_in_every_so_many_steps_and_flattens_the_discriminator() -> None:
    images, classes = batch(32)
    steepness = {}
    for weight in (0.0, 100.0):
        recipe = SMALL.model_copy(update={"r1_weight": weight, "r1_every": 4})
        state = begun(recipe, 32)
        told = ["penalty/r1" in train_step(state, recipe, images, classes) for _ in range(12)]
        assert told == ([True, False, False, False] * 3 if weight else [False] * 12)
        steepness[weight] = zero_centred_penalty(state.discriminator, images, classes).item()
        assert taken(state.discriminator_optimiser) == (12 + 3 if weight else 12)
    assert steepness[100.0] < steepness[0.0] / 2


def test_r1_and_r2_of_every_step_are_part_of_its_loss() -> None:
    recipe = SMALL.model_copy(update={"r1_weight": 1.0, "r2_weight": 1.0, "r1_every": 1})
    state = begun(recipe)
    figures = train_step(state, recipe, *batch())
    assert figures["penalty/r1"] > 0
    assert figures["penalty/r2"] > 0
    assert figures["penalty/r1"] != figures["penalty/r2"]
    assert taken(state.discriminator_optimiser) == 1


def test_the_generator_moves_in_every_so_many_th_step() -> None:
    recipe = SMALL.model_copy(update={"discriminator_steps": 3})
    state = begun(recipe)
    weight = state.generator.dense.weight
    moved, told = [], []
    for _ in range(6):
        before = weight.detach().clone()
        told.append("loss/generator" in train_step(state, recipe, *batch()))
        moved.append(not torch.equal(before, weight))
    assert moved == told == [False, False, True] * 2
    assert taken(state.discriminator_optimiser) == 6
    assert taken(state.generator_optimiser) == 2


@pytest.mark.parametrize("loss", ["relativistic", "least_squares"])
def test_the_parts_of_a_batch_add_up_to_it(loss: str) -> None:
    """Without batch norm, dropout and augmentation, a batch in two parts gives the gradients of the whole."""
    base = {"loss": loss, "r1_weight": 1.0, "r1_every": 1, "optimiser": "rmsprop", "blocks": 1}
    modern = find_recipe("modern").model_copy(
        update=base | {"generator_width": 16, "discriminator_width": 16, "latent_dim": 8, "class_dim": 4, "augment": ()}
    )
    figures, weights = [], []
    for count in (1, 2):
        recipe = modern.model_copy(update={"batch_size": 4, "micro_batches": count})
        state = begun(recipe)
        figures.append(train_step(state, recipe, *batch()))
        weights.append(
            [parameter.grad.clone() for parameter in state.discriminator.parameters() if parameter.grad is not None]
        )
    for name in ("loss/discriminator", "logits/fake", "penalty/r1", "gradient/discriminator"):
        assert figures[1][name].item() == pytest.approx(figures[0][name].item(), rel=1e-4), name
    for whole, parts in zip(*weights):
        torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-5)


def test_real_and_fake_pairs_are_of_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each logit is made to tell the class it was asked for: partners must differ by nothing but real and fake."""
    recipe = SMALL.model_copy(update={"loss": "relativistic"})
    state = begun(recipe, classes=7)
    asked: list[torch.Tensor] = []
    made: list[torch.Tensor] = []
    judge, generate = state.discriminator.judge, state.generator.forward
    monkeypatch.setattr(state.discriminator, "judge", lambda x, c: (asked.append(c), judge(x, c))[1])
    monkeypatch.setattr(state.generator, "forward", lambda z, c: (made.append(c), generate(z, c))[1])
    classes = torch.tensor([6, 0, 3, 3])
    train_step(state, recipe, batch()[0], classes)
    assert len(asked) == 4  # D's step: real, fake; G's step: fake, real
    assert all(torch.equal(labels, classes) for labels in [*asked, *made])


def test_a_generator_in_balance_is_weighed_by_what_the_run_remembers() -> None:
    recipe = find_recipe("began").model_copy(
        update={
            "generator_width": 8,
            "discriminator_width": 8,
            "latent_dim": 8,
            "batch_size": 4,
            "equilibrium_rate": 0.1,
        }
    )
    state = begun(recipe)
    figures = train_step(state, recipe, *batch())
    # k is 0 at first, so D minimises the real error alone
    assert figures["loss/discriminator"] == pytest.approx(-figures["logits/real"].item())
    real, fake = -figures["logits/real"].item(), -figures["logits/fake"].item()
    expected = min(max(0.1 * (recipe.equilibrium * real - fake), 0), 1)
    assert state.balance.item() == pytest.approx(expected, abs=1e-6)
    state.balance = torch.tensor(0.7)
    figures = train_step(state, recipe, *batch())
    difference = -figures["logits/real"].item() + 0.7 * figures["logits/fake"].item()
    assert figures["loss/discriminator"].item() == pytest.approx(difference, abs=1e-6)


def test_penalties_and_rates_follow_their_schedule() -> None:
    recipe = SMALL.model_copy(update={"final_rate": 0.1})
    state = begun(recipe)
    state.length = 1000
    for seen, factor in ((0, 1.0), (500, 0.55), (1000, 0.1), (2000, 0.1)):
        state.images_seen = seen
        train_step(state, recipe, *batch())
        rate = state.generator_optimiser.param_groups[0]["lr"]
        assert rate == pytest.approx(recipe.generator_learning_rate * factor), seen
