import math

import numpy as np
import pytest
import torch
from scipy.stats import chi

from recgan.config import DesignSettings, overridden
from recgan.dataset.pixels import to_float
from recgan.design.climbing import Climb, adam
from recgan.design.objective import Candidates, Objective
from recgan.design.preference import preference_term
from recgan.design.presets import PRESETS, load_preset
from recgan.design.search import Space, blocks, score, search
from recgan.design.terms import calibrated_realism, latent_shell, least_squares_realism
from recgan.errors import NotFoundError, SettingsError, TrainingError
from recgan.progress import quiet

CPU = torch.device("cpu")


def candidates(z, features=None, images=None):
    z = torch.as_tensor(z, dtype=torch.float32)
    images = torch.zeros(len(z), 3, 2, 2) if images is None else images
    return Candidates(z, torch.zeros(len(z), dtype=torch.int64), images, features)


# ---- objective


def test_preference_is_told_in_standard_deviations_of_the_real_items():
    term = preference_term(lambda features: features @ torch.tensor([2.0, -1.0]), mean=3.0, std=4.0)
    values = term(candidates(torch.zeros(2, 5), torch.tensor([[1.0, 1.0], [4.0, -3.0]])))
    assert values.tolist() == [(2 - 1 - 3) / 4, (8 + 3 - 3) / 4]


def test_least_squares_realism_is_the_papers():
    logits = torch.tensor([1.0, 0.0, 3.0])
    term = least_squares_realism(lambda images, classes: logits)
    assert term(candidates(torch.zeros(3, 1))).tolist() == [0.0, -1.0, -4.0]


def test_calibrated_realism_costs_one_unit_a_deviation_and_is_never_a_gain():
    term = calibrated_realism(lambda images, classes: torch.tensor([0.5, 0.0, -1.5]))
    assert term(candidates(torch.zeros(3, 1))).tolist() == [0.0, 0.0, -1.5]


def test_the_shell_has_its_top_where_the_prior_has_its_mass():
    term = latent_shell(std=0.5)
    # |z| / 0.5 = 2, the root of 4 dimensions: on the shell. Twice as long: (4 - 2)^2. None: (0 - 2)^2.
    z = torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 0]])
    assert term(candidates(z)).tolist() == pytest.approx([0.0, -4.0, -4.0], abs=1e-5)


def test_the_shell_is_the_log_density_of_the_length_of_a_normal_latent():
    dim = 128
    lengths = np.array([10.0, 11.0, math.sqrt(dim), 12.0])
    z = np.zeros((4, dim))
    z[:, 0] = lengths
    ours = latent_shell(1.0)(candidates(z)).numpy()
    exact = chi(dim).logpdf(lengths)
    # The Gaussian approximation of the chi density: within a tenth over three standard deviations, up to a constant.
    np.testing.assert_allclose(ours - ours[2], exact - exact[2], atol=0.1)


def test_the_shell_has_a_finite_gradient_at_zero():
    z = torch.zeros(1, 3, requires_grad=True)
    latent_shell(1.0)(candidates(z)).sum().backward()
    assert torch.isfinite(z.grad).all()


def test_an_objective_is_the_weighted_sum_and_leaves_out_what_weighs_nothing():
    def forbidden(_):
        raise AssertionError("computed a term of weight 0")

    objective = Objective(
        [(2.0, lambda c: c.z[:, 0]), (0.0, forbidden), (-1.0, lambda c: c.z[:, 1])],
    )
    assert objective(candidates([[1.0, 5.0], [3.0, 0.5]])).tolist() == [-3.0, 5.5]


# ---- presets and settings


def test_kang2017_is_as_published():
    preset = load_preset("kang2017")
    published = {
        "starts": 16,
        "steps": 10,
        "learning_rate": 0.05,
        "latent_std": 0.5,
        "preference": "raw",
        "realism": "least_squares",
        "realism_weight": 1.0,
        "prior_weight": 0.0,
        "keep": "last",
    }
    assert {name: getattr(preset, name) for name in published} == published
    assert preset.samples == preset.starts  # every start is climbed; none is chosen beforehand


def test_the_default_is_the_best_of_64_and_a_short_climb():
    default = load_preset("default")
    assert (default.samples, default.starts) == (256, 1)
    # Adam goes at most its rate a step in each direction: a fifth of the prior's spread.
    assert default.steps * default.learning_rate == pytest.approx(0.2)


def test_presets_are_named_as_they_are_called():
    assert all(name == settings.preset for name, settings in PRESETS.items())
    with pytest.raises(NotFoundError, match="did you mean 'kang2017'"):
        load_preset("kang2071")


@pytest.mark.parametrize("change", ["starts=257", "samples=0", "steps=-1", "latent_std=0", "learning_rate=0"])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(SettingsError, match=change.partition("=")[0]):
        overridden(DesignSettings(), [change])


# ---- search, in a world whose optimum is known

TARGET = torch.tensor([0.25, -0.5, 0.75])


def flat_world(gain=1.0):
    """Images of one colour, tanh(z); the features are that colour."""
    return Space(
        generator=lambda z, classes: torch.tanh(gain * z)[:, :, None, None].expand(-1, -1, 4, 4),
        encoder=lambda images: images.mean(dim=(2, 3)),
    )


def near(target):
    return Objective([(1.0, lambda c: -((c.features - target) ** 2).sum(dim=1))])


def classes(n):
    return torch.zeros(n, dtype=torch.int64)


def climb(space, objective, z, classes, *, on_step=lambda values, images: None, **settings):
    chosen = DesignSettings(samples=len(z), starts=len(z), **settings)
    draws = [np.random.default_rng(row) for row in range(len(z))]
    return adam(Climb(space, objective, z, classes, chosen, torch.zeros_like(classes), draws, step=on_step))


def test_climbing_finds_the_optimum_through_generator_and_encoder():
    z = torch.zeros(4, 3) + torch.linspace(-1, 1, 4)[:, None]
    found = climb(flat_world(), near(TARGET), z, classes(4), steps=300, learning_rate=0.05)
    torch.testing.assert_close(torch.tanh(found), TARGET.expand(4, 3), atol=2e-3, rtol=0)


def test_the_first_step_of_adam_is_the_learning_rate_up_the_gradients_sign():
    found = climb(flat_world(), near(TARGET), torch.zeros(1, 3), classes(1), steps=1, learning_rate=0.05)
    torch.testing.assert_close(found, 0.05 * torch.sign(TARGET)[None], atol=1e-6, rtol=0)


def test_keeping_the_best_never_ends_lower_than_any_point_of_the_climb():
    seen = []
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    options = {"steps": 25, "learning_rate": 1.5}  # so long steps that the climb swings
    best = climb(flat_world(), near(TARGET), z, classes(5), on_step=lambda v, _: seen.append(v.clone()), **options)
    last = climb(flat_world(), near(TARGET), z, classes(5), keep="last", **options)
    heights = torch.stack([*seen, score(flat_world(), near(TARGET), last, classes(5))])
    torch.testing.assert_close(score(flat_world(), near(TARGET), best, classes(5)), heights.max(dim=0).values)
    assert (score(flat_world(), near(TARGET), last, classes(5)) < heights.max(dim=0).values).any()


def test_no_steps_is_best_of_n():
    settings = DesignSettings(samples=6, starts=1, steps=0)
    z = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1))
    found = search(flat_world(), near(TARGET), z, 0, settings, quiet)
    heights = -((torch.tanh(z) - TARGET) ** 2).sum(dim=2)
    torch.testing.assert_close(found.z, z[[0, 1], heights.argmax(dim=1)])


def test_only_the_best_samples_are_climbed():
    settings = DesignSettings(samples=5, starts=2, steps=1, learning_rate=1e-6)
    z = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(2))
    climbed = []
    world = flat_world()

    def generator(latents, classes):
        if latents.requires_grad:
            climbed.append(latents.detach().clone())
        return world.generator(latents, classes)

    search(Space(generator, world.encoder), near(TARGET), z, 0, settings, quiet)
    best = (-((torch.tanh(z) - TARGET) ** 2).sum(dim=2)).topk(2, dim=1).indices
    expected = z.gather(1, best[:, :, None].expand(-1, -1, 3))
    torch.testing.assert_close(torch.stack(climbed), expected)


def test_of_a_climb_that_looks_the_same_the_start_is_the_design():
    settings = DesignSettings(samples=4, starts=2, steps=30, learning_rate=0.05)
    z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(5))
    z[0] = torch.atanh(TARGET)  # as good as can be: what a climb changes there is less than a shade
    told = []

    def differs(before, after, classes):
        told.append((before.shape, after.shape, classes.tolist()))
        return (np.abs(after.astype(int) - before).max(axis=(1, 2, 3)) > 8) & (classes == 0)

    free = search(flat_world(), near(TARGET), z, 0, settings, quiet)
    found = search(flat_world(), near(TARGET), z, 0, settings, quiet, differs=differs)
    assert told == [((2, 4, 4, 3), (2, 4, 4, 3), [0, 0])] * 2  # a block a design
    np.testing.assert_array_equal(found.z[0], torch.atanh(TARGET))
    np.testing.assert_array_equal(found.pixels[0], found.start[0])
    torch.testing.assert_close(found.z[1], free.z[1])
    np.testing.assert_array_equal(found.pixels[1], free.pixels[1])
    assert (found.start[1] != found.pixels[1]).any()
    features = to_float(found.pixels).mean(dim=(2, 3))
    np.testing.assert_allclose(found.objective, -((features - TARGET) ** 2).sum(dim=1), atol=1e-5)
    other = search(flat_world(), near(TARGET), z, 1, settings, quiet, differs=differs)
    np.testing.assert_array_equal(other.pixels, other.start)
    assert [one.unseen.tolist() for one in (free, found, other)] == [[False, False], [True, False], [True, True]]


def test_what_is_found_is_judged_by_its_8_bit_image():
    z = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(3))
    found = search(flat_world(), near(TARGET), z, 0, DesignSettings(steps=5), quiet)
    assert found.pixels.dtype == np.uint8
    assert found.pixels.shape == (2, 4, 4, 3)
    features = to_float(found.pixels).mean(dim=(2, 3))
    torch.testing.assert_close(found.features, features)
    np.testing.assert_allclose(found.objective, -((features - TARGET) ** 2).sum(dim=1), rtol=1e-6)
    # The pixels are those of the latents told.
    torch.testing.assert_close(torch.tanh(found.z), features, atol=0.5 / 127.5 + 1e-6, rtol=0)


def test_a_block_on_the_cpu_never_mixes_designs_and_its_shape_does_not_depend_on_their_number():
    assert list(blocks(3, 2, CPU)) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert list(blocks(2, 10, CPU)) == [slice(0, 8), slice(8, 10), slice(10, 18), slice(18, 20)]
    rows = [row for block in blocks(5, 300, torch.device("cuda")) for row in range(block.start, block.stop)]
    assert rows == list(range(1500))


def test_progress_counts_every_step_and_its_exceptions_stop_the_search():
    told = []
    z = torch.zeros(3, 8, 3)
    search(flat_world(), near(TARGET), z, 0, DesignSettings(steps=4), lambda *args: told.append(args))
    assert [done for step, done, *_ in told if step == "climbing"] == list(range(1, 16))
    assert {total for step, _, total, *_ in told if step == "climbing"} == {15}

    class Stop(Exception):
        pass

    steps = 0

    def stopping(step, done, total, note=""):
        nonlocal steps
        steps += 1
        if step == "climbing" and done == 2:
            raise Stop

    with pytest.raises(Stop):
        search(flat_world(), near(TARGET), z, 0, DesignSettings(steps=4), stopping)
    assert steps == 3 + 2  # three blocks of samples scored, two steps climbed


@pytest.mark.parametrize("broken", ["image", "feature", "gradient"])
def test_values_that_are_not_finite_stop_the_search_with_a_reason(broken):
    world = flat_world()
    space = {
        "image": Space(lambda z, c: world.generator(z, c) * torch.nan, world.encoder),
        "feature": Space(world.generator, lambda images: world.encoder(images) / 0),
        # sqrt has an infinite slope at 0, though its value is finite there
        "gradient": Space(lambda z, c: world.generator((z - z.detach()).abs().sqrt(), c), world.encoder),
    }[broken]
    with pytest.raises(TrainingError, match="not finite"):
        search(space, near(TARGET), torch.zeros(1, 8, 3), 0, DesignSettings(steps=2), quiet)


def test_a_preview_shows_the_design_that_is_climbed_as_it_is_at_that_step():
    told = []
    z = torch.zeros(2, 3, 3)
    settings = DesignSettings(steps=2, samples=3, starts=3)

    def preview(place, draw):
        told.append((place, draw()))

    search(flat_world(), near(TARGET), z, 0, settings, quiet, preview)
    assert [place for place, _ in told] == [0, 0, 1, 1]
    assert all(pixels.dtype == np.uint8 and pixels.shape[2] == 3 for _, pixels in told)
    first, second = (pixels.astype(int) for _, pixels in told[:2])
    assert not np.array_equal(first, second)  # it moves on


@pytest.mark.parametrize("method", ["adam", "langevin", "cma_es"])
def test_a_time_limit_ends_the_search_with_what_it_has(method, monkeypatch):
    now = iter(range(10_000))
    monkeypatch.setattr("recgan.design.search.time.monotonic", lambda: float(next(now)))
    z = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    settings = DesignSettings(samples=3, starts=1, steps=40, method=method, visible=False)
    steps = []

    def told(step, done, total, note=""):
        steps.append(step)

    whole = search(flat_world(), near(TARGET), z, 0, settings, told, time_limit=None)
    assert whole.whole.tolist() == [True, True]
    assert steps.count("climbing") == 82
    steps.clear()
    some = search(flat_world(), near(TARGET), z, 0, settings, told, time_limit=20)
    assert some.whole.tolist() == [False, False]
    assert 2 < steps.count("climbing") < 42
    assert whole.objective[0] > some.objective[0] > -torch.inf
    none = search(flat_world(), near(TARGET), z, 0, settings, told, time_limit=0.5)
    assert none.whole.tolist() == [False, False]
    assert torch.isin(none.z, z).all()  # samples as they were drawn
    asked = []

    def differs(before, after, classes):
        asked.append(len(before))
        return np.ones(len(before), bool)

    search(flat_world(), near(TARGET), z, 0, settings, told, time_limit=0.5, differs=differs)
    assert not asked  # what was not climbed costs nothing more
