"""Augmentations, averaging, sampling by class and realism, by numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recgan.config import Recipe
from recgan.errors import DataError
from recgan.gan import build_networks, design_seeds, find_recipe, latents, sample_sheet
from recgan.gan.data import CatalogueImages, ClassSampler
from recgan.gan.realism import PRIOR, real_logits, realism_scale
from recgan.gan.sampling import BLOCK, in_blocks, sample
from recgan.gan.training.augment import AUGMENTATIONS, augment, flip, translate
from recgan.gan.training.averaging import average_decay, calibrate, update_average

SMALL = Recipe(name="small", generator_width=32, discriminator_width=32, latent_dim=8, class_dim=4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# augmentations


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest() -> None:
    images = torch.arange(2000 * 3 * 2 * 4, dtype=torch.float32).view(2000, 3, 2, 4)
    flipped = flip(images, seeded())
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    same = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 900 < mirrored.sum() < 1100


def test_translate_shifts_by_whole_pixels_and_repeats_the_border() -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[:, :, :, 0] = 1  # the left column, of one colour
    image[:, :, 8, 8] = 2
    moved = translate(image.repeat(400, 1, 1, 1), seeded())
    at = (moved[:, 0] == 2).nonzero()
    assert len(at) == 400  # never lost: 8 +- 2 lies inside
    shifts = {(row - 8, column - 8) for _, row, column in at.tolist()}
    assert shifts == {(row, column) for row in range(-2, 3) for column in range(-2, 3)}
    for index, _, column in at.tolist():
        shift = column - 8
        expected = shift + 1 if shift >= 0 else 0  # columns at the left that show the border's colour
        assert (moved[index, 0, 0] == 1).sum() == expected


def test_colour_keeps_grey_grey_and_changes_by_no_more_than_it_says() -> None:
    grey = torch.full((500, 3, 4, 4), 0.25)
    changed = AUGMENTATIONS["colour"](grey, seeded())
    assert (changed - changed.mean(1, keepdim=True)).abs().max() < 1e-6
    difference = (changed - grey).flatten(1)[:, 0]
    assert 0.19 < difference.abs().max() <= 0.2
    red = torch.zeros(500, 3, 4, 4)
    red[:, 0] = 0.6
    spread = AUGMENTATIONS["colour"](red, seeded())
    saturation = (spread[:, 0] - spread[:, 1]).mean((1, 2)) / 0.6
    assert 0.6 <= saturation.min() < 0.62
    assert 1.38 < saturation.max() <= 1.4


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_are_differentiable_and_seeded(name: str) -> None:
    images = torch.rand(4, 3, 16, 16, generator=seeded(1)).requires_grad_()
    shown = augment(images, [name], seeded(2))
    assert torch.equal(shown, augment(images, [name], seeded(2)))
    shown.sum().backward()
    assert images.grad is not None
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


# averaging


def test_after_a_half_life_half_of_the_past_is_left() -> None:
    decay = average_decay(1000, 10**9, 50)
    assert decay ** (1000 / 50) == pytest.approx(0.5)


def test_the_half_life_warms_up_with_the_images_seen() -> None:
    # After 200 images it is a tenth of them: a batch of 20 halves what was.
    assert average_decay(5000, 200, 20) == pytest.approx(0.5)
    assert average_decay(5000, 50_000, 20) == average_decay(5000, 10**6, 20)


def test_the_average_is_the_weighted_sum_of_what_it_saw() -> None:
    live, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    average.requires_grad_(False)
    average.weight.fill_(8.0)
    for value in (4.0, 2.0):
        with torch.no_grad():
            live.weight.fill_(value)
        update_average(average, live, 0.75)
    assert average.weight.item() == pytest.approx(0.75 * (0.75 * 8 + 0.25 * 4) + 0.25 * 2)


def test_calibrated_statistics_are_those_of_the_data() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    network[1].running_mean.fill_(99)
    takes_class = torch.nn.Module()
    takes_class.inner = network
    takes_class.forward = lambda z, class_index: network(z)  # type: ignore[method-assign]
    batches = [(torch.randn(64, 2, 4, 4, generator=seeded(seed)), torch.zeros(64)) for seed in range(4)]
    calibrate(takes_class, batches)
    hidden = torch.cat([network[0](z) for z, _ in batches])
    torch.testing.assert_close(network[1].running_mean, hidden.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network[1].running_var, hidden.var((0, 2, 3)), atol=1e-2, rtol=1e-2)
    assert not network[1].training
    assert network[1].momentum == 0.1


# sampling images by class


@pytest.mark.parametrize(
    ("power", "shares"), [(1.0, [0.9, 0.09, 0.01]), (0.5, [0.7067, 0.2235, 0.0707]), (0.0, [1 / 3, 1 / 3, 1 / 3])]
)
def test_classes_come_in_proportion_to_a_power_of_their_size(power: float, shares: list[float]) -> None:
    # n = 900, 90, 10; sqrt: 30, 9.487, 3.162 of 42.65
    class_index = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    drawn = class_index[ClassSampler(class_index, power).draw(100_000, seeded())]
    measured = np.bincount(drawn.numpy(), minlength=3) / 100_000
    if power == 0.5:
        shares = [30 / 42.649, 9.4868 / 42.649, 3.1623 / 42.649]
    assert measured == pytest.approx(shares, abs=0.006)  # four standard errors


def test_every_image_of_a_class_comes_equally_often() -> None:
    drawn = ClassSampler(torch.tensor([0, 1, 1, 1, 1]), 0.5).draw(90_000, seeded())
    # sqrt(1) to sqrt(4): a third to class 0, a sixth to each image of class 1
    assert np.bincount(drawn.numpy()) / 90_000 == pytest.approx([1 / 3, *[1 / 6] * 4], abs=0.006)


def test_drawing_from_no_images_is_refused() -> None:
    with pytest.raises(DataError, match="no image to train on"):
        ClassSampler(torch.empty(0, dtype=torch.int64), 1.0)


def test_images_come_from_the_rows_that_were_chosen() -> None:
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((5, 2, 2, 3), 51, dtype=np.uint8)
    images = CatalogueImages(pixels, np.array([4, 1]), np.array([7, 3]), torch.device("cpu"))
    assert images.counts(9).tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 0]
    got = images.images(torch.tensor([1, 0, 1]))
    assert got.shape == (3, 3, 2, 2)
    assert got[:, 0, 0, 0].tolist() == pytest.approx([51 / 127.5 - 1, 204 / 127.5 - 1, 51 / 127.5 - 1])


# realism


def test_realism_scale_is_the_mean_and_spread_of_a_class_drawn_towards_the_common_one() -> None:
    logits = np.array([1.0, 3.0] * 500 + [10.0] * 4)
    class_index = np.array([0] * 1000 + [1] * 4)
    mean, deviation = realism_scale(logits, class_index, 3)
    common = (2000 + 40) / 1004
    assert mean[0] == pytest.approx((2000 + PRIOR * common) / (1000 + PRIOR))
    assert mean[1] == pytest.approx((40 + PRIOR * common) / (4 + PRIOR))
    assert mean[2] == pytest.approx(common)  # a class without images has the common scale
    assert deviation[0] == pytest.approx(1.0, rel=0.02)
    assert deviation[2] ** 2 == pytest.approx(np.mean((logits - mean[class_index]) ** 2), rel=1e-5)


def test_realism_of_the_real_images_has_mean_zero_and_spread_one() -> None:
    rng = np.random.default_rng(0)
    class_index = rng.integers(0, 3, 30_000)
    logits = rng.normal(class_index * 2.0, class_index + 0.5)
    mean, deviation = realism_scale(logits, class_index, 3)
    scaled = (logits - mean[class_index]) / deviation[class_index]
    for index in range(3):
        assert scaled[class_index == index].mean() == pytest.approx(0, abs=0.01)
        assert scaled[class_index == index].std() == pytest.approx(1, abs=0.01)


def test_realism_of_a_single_image_has_a_scale() -> None:
    mean, deviation = realism_scale(np.array([2.5]), np.array([1]), 2)
    assert mean.tolist() == [2.5, 2.5]
    assert deviation.tolist() == [1.0, 1.0]


def test_real_logits_are_the_discriminators() -> None:
    _, discriminator = build_networks(SMALL, 3, 16, seeded())
    discriminator.eval()
    images, class_index = torch.rand(70, 3, 16, 16, generator=seeded(1)), torch.arange(70) % 3
    logits = real_logits(discriminator, lambda rows: images[rows], class_index)
    with torch.no_grad():
        one_by_one = [discriminator(images[i : i + 1], class_index[i : i + 1]).item() for i in range(70)]
    assert logits == pytest.approx(one_by_one, abs=1e-5)


# latents and samples


def test_a_design_depends_on_its_own_seed_alone() -> None:
    seeds = design_seeds(7, 5)
    assert design_seeds(7, 9)[:5] == seeds
    assert len(set(seeds) | set(design_seeds(8, 5))) == 10
    z = latents(seeds, SMALL)
    assert z.shape == (5, 8)
    assert z.dtype == torch.float32
    assert torch.equal(latents(seeds[3:4], SMALL)[0], z[3])
    assert latents([], SMALL).shape == (0, 8)


def test_latents_have_the_priors_spread() -> None:
    z = latents(design_seeds(0, 500), SMALL.model_copy(update={"latent_std": 0.5}))
    assert z.mean().item() == pytest.approx(0, abs=0.03)
    assert z.std().item() == pytest.approx(0.5, abs=0.03)


def test_blocks_have_a_fixed_shape_and_give_back_every_row_once() -> None:
    shapes = []

    def double(x: torch.Tensor) -> torch.Tensor:
        shapes.append(len(x))
        return 2 * x

    x = torch.arange(37.0)
    assert torch.equal(in_blocks(double, x), 2 * x)
    assert shapes == [BLOCK] * 3


@pytest.mark.parametrize("recipe", [SMALL, find_recipe("dcgan-lsgan")], ids=["small", "dcgan-lsgan"])
def test_the_same_latent_gives_the_same_image_to_the_bit_whatever_the_batch(recipe: Recipe) -> None:
    generator, _ = build_networks(recipe, 3, 32, seeded())
    calibrate(generator, [(torch.randn(32, recipe.latent_dim, generator=seeded(1)), torch.arange(32) % 3)])
    z, class_index = latents(design_seeds(3, 21), recipe), torch.arange(21) % 3
    together = sample(generator, z, class_index)
    order = torch.randperm(21, generator=seeded(2))
    assert torch.equal(sample(generator, z[order], class_index[order]), together[order])
    for index in (0, 9, 20):
        assert torch.equal(sample(generator, z[index : index + 1], class_index[index : index + 1])[0], together[index])


def test_a_sheet_shows_the_largest_classes_in_order_and_no_untrained_one() -> None:
    generator, _ = build_networks(SMALL, 4, 16, seeded())
    generator.eval()
    counts = np.array([5, 0, 9, 7])
    sheet = sample_sheet(generator, SMALL, ["a", "b", "c", "d"], counts, rows=2, columns=3, seed=1)
    z = latents(design_seeds(1, 3), SMALL)
    pixels = np.asarray(sheet)
    right = pixels[:, -(3 * (16 * 8 + 2)) :]  # 16 px images eight times as large, 2 px apart
    for row, class_index in enumerate((2, 3)):
        expected = sample(generator, z, torch.full((3,), class_index)).add(1).mul(127.5).round().permute(0, 2, 3, 1)
        top = 2 + row * (16 * 8 + 2)
        for column in range(3):
            left = column * (16 * 8 + 2)
            shown = right[top : top + 128 : 8, left : left + 128 : 8]
            assert np.array_equal(shown, expected[column].numpy().astype(np.uint8))
