"""What every recipe must keep, whatever its networks and its game: `RecipeContract`, run for each at tiny widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from recgan.config import DesignSettings, Recipe, overridden
from recgan.dataset.bundle import Bundle
from recgan.design.objective import Objective
from recgan.design.preference import preference_term
from recgan.design.search import Space, search
from recgan.design.terms import calibrated_realism, latent_shell
from recgan.errors import SettingsError, TrainingError
from recgan.gan import (
    RECIPES,
    TrainedGAN,
    build_networks,
    default_recipe,
    design_seeds,
    find_recipe,
    latents,
    load_gan,
    train_gan,
)
from recgan.gan.layers import randomness
from recgan.gan.networks import NETWORKS, empty_networks, kang2017
from recgan.gan.training import run as run_module
from recgan.gan.training.augment import AUGMENTATIONS
from recgan.gan.training.losses import LOSSES
from recgan.gan.training.schedules import advance
from recgan.gan.training.steps import new_state, train_step
from recgan.progress import quiet

CLASSES = 3


def tiny(name: str, **changes: Any) -> Recipe:
    """Return a recipe as it is but for its widths and batch."""
    recipe = find_recipe(name)
    narrow: dict[str, Any] = {"batch_size": 4, "ema_half_life": min(recipe.ema_half_life, 40)}
    narrow |= {"generator_width": 16, "discriminator_width": 16, "latent_dim": 12, "class_dim": 8}
    if recipe.code_dim:
        narrow["code_dim"] = 3
    return Recipe(**(recipe.model_dump() | narrow | changes))


def side(recipe: Recipe) -> int:
    return 64 if recipe.network == "kang2017" else 32


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(recipe: Recipe, n_classes: int = CLASSES, size: int | None = None, seed: int = 0) -> Any:
    """Return the pair as it is after half a run, when all parts of it are at work."""
    networks = build_networks(recipe, n_classes, size or side(recipe), seeded(seed))
    for network in networks:
        advance(network, 1.0)
    return networks


def inputs(recipe: Recipe, count: int = 3, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, recipe.latent_dim, generator=seeded(seed)), torch.arange(count) % CLASSES


def pictures(recipe: Recipe, count: int = 3, seed: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, side(recipe), side(recipe), generator=seeded(seed)) * 2 - 1


class Stopped(Exception):
    """Raised by a caller that cancels."""


class RecipeContract:
    """Tests of one recipe; a subclass names it."""

    name: str

    @pytest.fixture
    def recipe(self, monkeypatch: pytest.MonkeyPatch) -> Recipe:
        # The published widths are the network's own, not the recipe's.
        monkeypatch.setattr(kang2017, "WIDTHS", (16, 16, 16, 16, 16, 8, 3))
        monkeypatch.setattr(kang2017, "DISCRIMINATOR_WIDTHS", (8, 8, 16, 16))
        monkeypatch.setattr(run_module, "CALIBRATION", (2, 16))
        return tiny(self.name)

    def told(self, recipe: Recipe) -> bool:
        """Whether the recipe knows classes at all."""
        return recipe.generator_classes != "none"

    # networks

    @pytest.mark.parametrize("size", [32, 64, 128, 256])
    def test_images_and_logits_have_their_shape_and_range_at_every_size(self, recipe: Recipe, size: int) -> None:
        if recipe.network == "kang2017" and size != 64:
            with pytest.raises(SettingsError, match="64 px only"):
                empty_networks(recipe, CLASSES, size)
            return
        narrow = tiny(self.name, generator_width=8, discriminator_width=8)
        generator, discriminator = (network.eval() for network in build(narrow, size=size))
        with torch.no_grad():
            z, class_index = inputs(narrow, 1)
            images = generator(z, class_index)
            assert images.shape == (1, 3, size, size)
            assert images.abs().max() <= 1
            logits = discriminator(images, class_index)
        assert logits.shape == (1,)
        assert torch.isfinite(logits).all()

    def test_every_weight_gets_a_gradient(self, recipe: Recipe) -> None:
        generator, discriminator = build(recipe)
        with torch.no_grad():  # what begins at 0 would hide what lies behind it
            for network in (generator, discriminator):
                for parameter in network.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=seeded(5)) * 0.05)
        z, class_index = inputs(recipe)
        with randomness(seeded(), generator, discriminator):
            judgement = discriminator.judge(generator(z, class_index), class_index)
        said = (judgement.logits, judgement.class_logits, judgement.code)
        sum(part.square().sum() for part in said if part is not None).backward()
        for network in (generator, discriminator):
            for name, parameter in network.named_parameters():
                # A bias before a batch norm has no effect, by design of the published network; and a network that has
                # grown looks and paints at its full size only.
                if recipe.network == "kang2017" and name.endswith("bias"):
                    continue
                if recipe.network == "progressive" and name.startswith(("colours.0", "colours.1", "colours.2")):
                    continue
                if recipe.network == "progressive" and name.startswith(("firsts.0", "firsts.1", "firsts.2")):
                    continue
                assert parameter.grad is not None, name
                assert parameter.grad.abs().max() > 0, name

    def test_the_class_matters_to_both_and_only_where_it_is_told(self, recipe: Recipe) -> None:
        generator, discriminator = (network.eval() for network in build(recipe))
        z = inputs(recipe, 1)[0]
        first, second = (generator(z, torch.tensor([index])) for index in (0, 1))
        assert torch.equal(first, second) != self.told(recipe)
        logits = [discriminator(first, torch.tensor([index])) for index in (0, 1)]
        assert torch.equal(*logits) != self.told(recipe)

    def test_an_image_has_one_value_alone_and_among_others(self, recipe: Recipe) -> None:
        generator, discriminator = (network.eval() for network in build(recipe))
        z, class_index = inputs(recipe, 5)
        with torch.no_grad():
            images = generator(z, class_index)
            logits = discriminator(images, class_index)
            for row in range(5):
                one = slice(row, row + 1)
                torch.testing.assert_close(generator(z[one], class_index[one]), images[one], atol=1e-4, rtol=1e-4)
                alone = discriminator(images[one], class_index[one])
                torch.testing.assert_close(alone, logits[one], atol=1e-3, rtol=1e-3)

    def test_grey_is_one_channel_shown_thrice(self, recipe: Recipe) -> None:
        if recipe.network == "kang2017":
            with pytest.raises(SettingsError, match="in colour only"):
                build(tiny(self.name, colours="grey"))
            return
        generator, discriminator = (network.eval() for network in build(tiny(self.name, colours="grey")))
        z, class_index = inputs(recipe)
        images = generator(z, class_index)
        assert images.shape == (3, 3, 32, 32)
        assert torch.equal(images[:, 0], images[:, 1])
        assert torch.equal(images[:, 0], images[:, 2])
        coloured = pictures(recipe)
        luminance = 0.299 * coloured[:, 0] + 0.587 * coloured[:, 1] + 0.114 * coloured[:, 2]
        grey = luminance[:, None].expand(-1, 3, -1, -1)
        torch.testing.assert_close(discriminator(coloured, class_index), discriminator(grey, class_index))

    def test_first_weights_follow_from_the_seed_alone(self, recipe: Recipe) -> None:
        before = torch.get_rng_state()
        once, again, other = (build(recipe, seed=seed) for seed in (5, 5, 6))
        assert torch.equal(torch.get_rng_state(), before)
        for left, right in zip(once, again):
            assert all(torch.equal(a, b) for a, b in zip(left.state_dict().values(), right.state_dict().values()))
        assert not torch.equal(once[1].dense.weight, other[1].dense.weight)

    def test_no_weight_or_statistic_is_left_uninitialised(self, recipe: Recipe) -> None:
        for network in empty_networks(recipe, CLASSES, side(recipe)):
            network.to_empty(device="cpu")
            for tensor in network.state_dict().values():
                tensor.copy_(torch.full_like(tensor, -77))
            network.initialise(seeded())  # type: ignore[operator]
            for name, tensor in network.state_dict().items():
                assert not (tensor == -77).any(), name

    # steps

    def test_steps_move_both_players_and_say_finite_things(self, recipe: Recipe) -> None:
        rng = seeded(3)
        networks = build_networks(recipe, CLASSES, side(recipe), rng)
        state = new_state(recipe, networks, rng, torch.device("cpu"))
        state.length = 12 * recipe.batch_size
        before = {
            name: network.dense.weight.clone()
            for name, network in state.networks().items()
            if hasattr(network, "dense")
        }
        figures = {}
        for _ in range(max(2, recipe.discriminator_steps)):
            figures |= train_step(state, recipe, pictures(recipe, 4), torch.tensor([0, 1, 2, 0]))
        assert {"loss/discriminator", "loss/generator", "discriminator/accuracy"} <= figures.keys()
        assert all(torch.isfinite(value) for value in figures.values()), figures
        for name, weight in before.items():
            assert not torch.equal(state.networks()[name].dense.weight, weight), name  # type: ignore[union-attr]
        if recipe.clip:
            assert all(weight.abs().max() <= recipe.clip for weight in state.discriminator.parameters())

    def test_one_class_of_one_image_trains(self, recipe: Recipe) -> None:
        rng = seeded(3)
        state = new_state(recipe, build_networks(recipe, 1, side(recipe), rng), rng, torch.device("cpu"))
        image = pictures(recipe, 1).expand(4, -1, -1, -1)
        for _ in range(recipe.discriminator_steps):
            figures = train_step(state, recipe, image, torch.zeros(4, dtype=torch.int64))
            assert all(torch.isfinite(value) for value in figures.values())

    # runs

    def train(self, bundle: Bundle, out: Path, recipe: Recipe, **options: Any) -> TrainedGAN:
        steps = max(4, 2 * recipe.discriminator_steps)
        settings = {"images_seen": steps * recipe.batch_size, "sheet_every": 10**6, "device": "cpu"} | options
        return train_gan(bundle, recipe, out=out, size=side(recipe), **settings)

    def test_a_run_broken_off_resumes_to_the_same_bits_and_serves_a_design(
        self, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
    ) -> None:
        gan = self.train(tiny_bundle, tmp_path / "whole", recipe)
        real_step, calls = run_module.train_step, iter(range(100))

        def step(*args: Any) -> Any:
            if next(calls) == 3:
                raise Stopped
            return real_step(*args)

        with monkeypatch.context() as patch:
            patch.setattr(run_module, "train_step", step)
            with pytest.raises(Stopped):
                self.train(tiny_bundle, tmp_path / "broken", recipe, checkpoint_seconds=0.0)
        self.train(tiny_bundle, tmp_path / "broken", recipe, resume=True)
        for part in ("generator", "discriminator", "classes"):
            whole, broken = (load_file(tmp_path / run / f"{part}.safetensors") for run in ("whole", "broken"))
            assert whole.keys() == broken.keys()
            for name, array in whole.items():
                assert array.tobytes() == broken[name].tobytes(), name

        # The same images and realism again from the disk.
        loaded = load_gan(tmp_path / "whole", "cpu")
        z, class_index = latents(design_seeds(0, 3), recipe), torch.tensor([0, 1, 2])
        images = gan.sample(z, class_index)
        assert torch.equal(images, loaded.sample(z, class_index))
        realism = loaded.realism(images, class_index)
        assert torch.equal(realism, gan.realism(images, class_index))
        assert torch.isfinite(realism).all()

        # And the designer's search climbs through it.
        def encoder(images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

        liking = preference_term(lambda features: features @ torch.tensor([1.0, -0.5, 0.2]))
        objective = Objective([(1.0, liking), (0.1, calibrated_realism(loaded.realism)), (0.1, latent_shell(1.0))])
        starts = latents(design_seeds(1, 4), recipe)[None]
        settings = DesignSettings(samples=4, starts=1, steps=2)
        found = search(Space(loaded.generator, encoder), objective, starts, 1, settings, quiet)
        assert found.pixels.shape == (1, side(recipe), side(recipe), 3)
        assert np.isfinite(found.objective).all()
        assert all(parameter.grad is None for parameter in loaded.generator.parameters())

    def test_weights_that_are_not_finite_stop_the_run(
        self, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
    ) -> None:
        real_step = run_module.train_step

        def spoil(state: Any, *args: Any) -> Any:
            with torch.no_grad():
                next(state.discriminator.parameters())[0] = torch.nan
            return real_step(state, *args)

        monkeypatch.setattr(run_module, "train_step", spoil)
        with pytest.raises(TrainingError, match="diverged"):
            self.train(tiny_bundle, tmp_path / "gan", recipe)
        assert not (tmp_path / "gan").exists()


def _case(name: str) -> type:
    return type(f"Test_{name.replace('-', '_')}", (RecipeContract,), {"name": name})


for _name in RECIPES:
    globals()[f"Test_{_name.replace('-', '_')}"] = _case(_name)


# recipes


def test_every_name_that_a_recipe_may_have_is_there() -> None:
    fields = Recipe.model_fields
    assert set(get_args(fields["loss"].annotation)) == set(LOSSES)
    assert set(get_args(fields["network"].annotation)) == set(NETWORKS)
    assert set(get_args(get_args(fields["augment"].annotation)[0])) == set(AUGMENTATIONS)


def test_every_recipe_says_what_it_is_and_keeps_its_name() -> None:
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    assert all(20 < len(recipe.summary) <= 110 for recipe in RECIPES.values())
    assert {default_recipe(torch.device(kind)) for kind in ("cpu", "cuda")} == {"modern-small", "modern"}


def test_kang2017_has_the_published_settings() -> None:
    recipe = find_recipe("kang2017")
    assert (recipe.latent_dim, recipe.latent_std, recipe.batch_size, recipe.epochs) == (256, 1.0, 16, 30)
    assert recipe.generator_learning_rate == recipe.discriminator_learning_rate == 1e-4
    assert (recipe.beta1, recipe.beta2, recipe.loss) == (0.5, 0.99, "least_squares")
    assert (recipe.ema_half_life, recipe.augment, recipe.class_power) == (0, (), 1.0)


def test_published_settings_of_the_wasserstein_recipes() -> None:
    wgan, penalised = find_recipe("wgan"), find_recipe("wgan-gp")
    assert (wgan.clip, wgan.discriminator_steps, wgan.optimiser) == (0.01, 5, "rmsprop")
    assert (penalised.gradient_penalty_weight, penalised.discriminator_steps) == (10.0, 5)
    assert (penalised.beta1, penalised.beta2) == (0.0, 0.9)


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="no recipe 'kang-2017'; did you mean 'kang2017'"):
        find_recipe("kang-2017")
    with pytest.raises(SettingsError, match=r"the recipes are: .*dcgan-lsgan"):
        find_recipe("zzz")
    small = tiny("dcgan")
    assert find_recipe(small) is small


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("modern", "label_smoothing=0.1", "needs a loss with targets"),
        ("dcgan", "r1_weight=1", "batch norm in D does not allow"),
        ("wgan-gp", "discriminator_norm=batch", "batch norm in D does not allow"),
        ("infogan", "code_dim=100", "must leave some of the 100 entries"),
        ("dcgan", "micro_batches=5", "must be 5 micro_batches"),
        ("dcgan", "loss=boundary_equilibrium", "need each other"),
        ("began", "loss=hinge", "need each other"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(name: str, change: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        overridden(find_recipe(name), [change])


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("modern", {"generator_classes": "concat"}, "generator_classes batch_norm or film"),
        ("modern", {"discriminator_norm": "group"}, "discriminator_norm none or spectral"),
        ("modern", {"discriminator_classes": "concat"}, "projection or classifier"),
        ("modern-small", {"generator_classes": "batch_norm"}, "generator_classes film"),
        ("modern-small", {"discriminator_norm": "spectral"}, "discriminator_norm none"),
        ("progressive", {"discriminator_norm": "spectral"}, "discriminator_norm none"),
        ("began", {"discriminator_classes": "projection"}, "judges by what it restores"),
    ],
)
def test_a_family_refuses_what_it_does_not_have(name: str, change: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        empty_networks(tiny(name, **change), CLASSES, 32)
