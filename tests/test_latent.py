"""Latent tools, by hand on generators whose pictures are known, and on every recipe's: to the bit in any company."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from recgan.config import InverterSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.encoders import Encoder, register_encoder
from recgan.errors import ArtifactError, MismatchError, NotFoundError, SettingsError
from recgan.gan import RECIPES, TrainedGAN, build_networks, design_seeds, latents
from recgan.gan.conditioning import one_hot
from recgan.gan.latent import (
    LatentSpace,
    class_walk,
    direction_sheets,
    directions,
    find_directions,
    item_photos,
    lerp,
    load_directions,
    load_inverter,
    save_directions,
    slerp,
    tour,
    train_inverter,
    walk,
)
from recgan.gan.latent.inversion import descend, pixel_error
from recgan.gan.latent.likeness import Likeness, pixel_distance
from recgan.gan.latent.pictures import save_animation
from recgan.gan.networks import kang2017
from tests.test_gan_recipes import CLASSES, build, side, tiny

PLAIN = Recipe(name="toy", latent_dim=6)
SHARES = torch.tensor([0.0, 0.5, 1.0])


class Toy(nn.Module):
    """z[0] makes pictures brighter, z[1] makes their left half redder, a little; the rest of z does nothing. Class 1 is
    much darker than class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([0.3, 0.1]), requires_grad=False)

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        dark = one_hot(classes, 2)[:, 1]
        bright = (self.gain[0] * z[:, 0] - 0.5 * dark)[:, None, None, None]
        red = torch.zeros(1, 3, 16, 16)
        red[:, 0, :, :8] = self.gain[1]
        return (bright + red * z[:, 1, None, None, None]).clamp(-1, 1)


class Squash(Toy):
    """The same in w, which is 2 z + 5."""

    def mapping(self, z: Tensor, classes: Tensor) -> Tensor:
        return 2 * z + 5 + one_hot(classes, 2)[:, 1:]

    def synthesis(self, w: Tensor) -> Tensor:
        return super().forward((w - 5) / 2, torch.zeros(len(w), dtype=torch.int64))


class Bound(nn.Module):
    """Believes in pictures that are no brighter than 0.5 on average."""

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        return -10 * (images.mean(dim=(1, 2, 3)) - 0.5).clamp(min=0)


def toy(generator: nn.Module | None = None, digest: str = "toy") -> TrainedGAN:
    return TrainedGAN(
        generator=generator or Toy(),
        discriminator=Bound(),
        recipe=PLAIN,
        size=16,
        category_names=("day", "night"),
        train_images=np.array([5, 5]),
        realism_mean=torch.zeros(2),
        realism_deviation=torch.ones(2),
        device=torch.device("cpu"),
        manifest=None,  # type: ignore[arg-type]
        digest=digest,
    )


def space_of(gan: TrainedGAN, name: Any = "auto") -> LatentSpace:
    return LatentSpace(gan.generator, gan.recipe, name)


# ways


def test_slerp_turns_evenly_and_changes_the_length_evenly() -> None:
    start, end = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    found = slerp(start, end, torch.tensor([0.0, 1 / 3, 0.5, 1.0]))[0]
    expected = [(2, 0), (8 / 3 * np.cos(np.pi / 6), 8 / 3 * 0.5), (3 / np.sqrt(2), 3 / np.sqrt(2)), (0, 4)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("end", [(2.0, 0.0), (4.0, 0.0), (-2.0, 0.0), (0.0, 0.0)])
def test_slerp_of_parallel_opposite_and_empty_points_is_a_line(end: tuple[float, float]) -> None:
    start = torch.tensor([[2.0, 0.0]])
    torch.testing.assert_close(
        slerp(start, torch.tensor([end]), SHARES), lerp(start, torch.tensor([end]), SHARES), atol=1e-5, rtol=1e-5
    )


def test_a_walk_begins_and_ends_with_its_samples() -> None:
    gan = toy()
    space, classes = space_of(gan), torch.tensor([0, 1])
    start, end = space.draw([1, 2], classes), space.draw([3, 4], classes)
    images = walk(space, start, end, classes, 5)
    assert images.shape == (2, 5, 3, 16, 16)
    assert torch.equal(images[:, 0], space.images(start, classes))
    assert torch.equal(images[:, -1], space.images(end, classes))
    lengths = space.between(start, end, torch.linspace(0, 1, 5)).norm(dim=2)
    between = (lengths > lengths[:, :1].minimum(lengths[:, -1:]) - 1e-4) & (
        lengths < lengths[:, :1].maximum(lengths[:, -1:]) + 1e-4
    )
    assert between.all()  # on a line it would fall below both in the middle


def test_a_tour_visits_its_keys_and_comes_back() -> None:
    space = space_of(toy())
    keys, labels = space.draw([1, 2, 3], torch.zeros(3, dtype=torch.int64)), torch.eye(2)[[0, 1, 0]]
    frames = tour(space, keys, labels, 4)
    assert len(frames) == 12
    torch.testing.assert_close(frames[::4], space.images(keys, labels))
    step = (frames - frames.roll(-1, 0)).abs().amax(dim=(1, 2, 3))
    assert step.max() < (frames[0] - frames[4]).abs().max()  # no jump, nor at the end


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_classes_can_be_mixed_in_every_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kang2017, "WIDTHS", (16, 16, 16, 16, 16, 8, 3))
    recipe = tiny(name)
    generator = build(recipe)[0].eval()
    space = LatentSpace(generator, recipe, "z")
    mixed = class_walk(space, design_seeds(0, 2), 0, 2, CLASSES, 3)
    z = latents(design_seeds(0, 2), recipe)
    for column, index in ((0, 0), (2, 2)):
        of_class = space.images(z, torch.full((2,), index))
        torch.testing.assert_close(mixed[:, column], of_class, atol=1e-5, rtol=1e-5)
    changed = bool((mixed[:, 1] - mixed[:, 0]).abs().max() > 1e-3 * mixed.abs().max())
    assert changed == space.knows_classes == (recipe.generator_classes != "none")
    assert mixed.shape == (2, 3, 3, side(recipe), side(recipe))


@pytest.mark.parametrize("name", ["dcgan-lsgan", "modern", "stylegan-lite"])
def test_a_sample_is_the_same_to_the_bit_in_any_company(name: str) -> None:
    recipe = tiny(name)
    space = LatentSpace(build(recipe)[0].eval(), recipe)
    seeds, classes = design_seeds(5, 20), torch.arange(20) % CLASSES
    together = space.draw(seeds, classes, 0.7)
    images = space.images(together, classes)
    for index in (0, 7, 19):
        alone = space.draw(seeds[index : index + 1], classes[index : index + 1], 0.7)
        assert torch.equal(alone[0], together[index])
        assert torch.equal(space.images(alone, classes[index : index + 1])[0], images[index])


# truncation


def test_truncation_in_z_draws_again_what_lies_too_far() -> None:
    space, classes = space_of(toy()), torch.zeros(200, dtype=torch.int64)
    free, held = (space.draw(design_seeds(0, 200), classes, bound) for bound in (None, 0.8))
    assert free.abs().max() > 2
    assert held.abs().max() <= 0.8
    near = free.abs().amax(dim=1) <= 0.8
    assert near.any()
    assert torch.equal(free[near], held[near])


def test_truncation_in_w_keeps_a_share_of_the_way_from_the_centre_of_the_class() -> None:
    space = space_of(toy(Squash()))
    classes = torch.tensor([0, 1, 1])
    centre, free, held = (
        space.centre(classes),
        space.draw([1, 2, 3], classes),
        space.draw([1, 2, 3], classes, 0.25),
    )
    torch.testing.assert_close(held, centre + 0.25 * (free - centre))
    expected = torch.tensor([[5.0] * 6, [6.0] * 6, [6.0] * 6])
    assert (centre - expected).abs().max() < 4 * 2 / 1024**0.5


def test_the_prior_has_its_usual_length() -> None:
    for truncation in (None, 1.5):
        recipe = Recipe(name="cut", latent_dim=40, latent_std=0.5, truncation=truncation)
        space = LatentSpace(Toy(), recipe)
        z = space.draw(design_seeds(0, 2000), torch.zeros(2000, dtype=torch.int64))
        assert space.radius == pytest.approx(z.square().sum(dim=1).mean().sqrt().item(), rel=0.01)


def test_w_is_where_a_generator_has_it() -> None:
    assert space_of(toy()).name == "z"
    assert space_of(toy(Squash())).name == "w"
    assert space_of(toy(Squash()), "z").name == "z"
    with pytest.raises(SettingsError, match="'toy' has no w"):
        space_of(toy(), "w")
    with pytest.raises(SettingsError, match="there are z and w"):
        space_of(toy(), "v")


def test_arithmetic_adds_the_difference_of_the_means() -> None:
    start = torch.tensor([[3.0, 4.0, 0.0, 0, 0, 0]])
    plus, minus = torch.tensor([[0.0, 2, 0, 0, 0, 0], [0.0, 4, 0, 0, 0, 0]]), torch.tensor([[1.0, 0, 0, 0, 0, 0]])
    moved = torch.tensor([[3 - 2.0, 4 + 6.0, 0, 0, 0, 0]])  # twice (0, 3) - (1, 0)
    in_z = space_of(toy()).combine(start, plus, minus, 2.0)
    torch.testing.assert_close(in_z, moved * (5 / moved.norm()))
    in_w = space_of(toy(Squash())).combine(start, plus, minus, 2.0)
    torch.testing.assert_close(in_w, moved)


# directions


@pytest.mark.parametrize("generator", [Toy, Squash])
def test_directions_are_what_changes_pictures_the_most(generator: type[Toy]) -> None:
    gan = toy(generator())
    found = find_directions(gan, count=2, samples=4096)
    axes = found.vectors.abs()
    if generator is Toy:
        assert axes[0, 0] > 0.99
        assert axes[1, 1] > 0.95
        assert found.shares[0] > 0.9
        assert found.units == pytest.approx([1, 1], abs=0.05)
    else:  # all directions of this w are alike, but no difference of classes is among them
        assert found.units == pytest.approx([2, 2], abs=0.1)
    assert found.vectors.norm(dim=1) == pytest.approx([1, 1], abs=1e-5)
    assert found.categories == ("day", "night")


def test_a_slider_makes_brighter_and_ends_where_the_discriminator_objects() -> None:
    gan = toy()
    space = space_of(gan)
    found = find_directions(gan, count=2, categories=["day"])
    assert found.vectors[0, 0] > 0
    # Brightness is 0.3 z[0] on average, so it passes 0.5 by 0.05, where realism falls by 0.5, near z[0] = 1.8.
    assert 0 < found.high[0] <= 2
    assert found.low[0] == -4
    classes = torch.zeros(5, dtype=torch.int64)
    points = space.draw(design_seeds(0, 5), classes)
    images = found.slider(space, points, classes, 0, 3)
    brightness = images.mean(dim=(2, 3, 4))
    assert (brightness[:, 0] < brightness[:, 1]).all()
    assert (brightness[:, 1] < brightness[:, 2]).all()
    torch.testing.assert_close(found.moved(space, points, torch.zeros(2)), points)
    moved = found.moved(space, points, torch.tensor([3.0, -1.0]))
    torch.testing.assert_close(moved.norm(dim=1), points.norm(dim=1))


def test_directions_are_written_with_sheets_and_belong_to_their_generator(tmp_path: Path) -> None:
    gan = toy()
    found = find_directions(gan, count=2, samples=64)
    save_directions(found, gan, tmp_path / "directions")
    sheets = sorted(path.name for path in (tmp_path / "directions").glob("*.png"))
    assert sheets == ["direction-00.png", "direction-01.png"]
    assert [path.name for path in direction_sheets(tmp_path / "directions")] == sheets
    loaded = load_directions(tmp_path / "directions", gan)
    assert torch.equal(loaded.vectors, found.vectors)
    assert (loaded.space, loaded.categories) == (found.space, found.categories)
    with pytest.raises(MismatchError, match="another generator"):
        load_directions(tmp_path / "directions", replace(gan, digest="other"))
    with pytest.raises(MismatchError, match="do not fit w with"):
        found.moved(space_of(toy(Squash())), torch.zeros(1, 6), torch.zeros(2))
    with pytest.raises(ArtifactError, match="exists"):
        save_directions(found, gan, tmp_path / "directions")


def test_sheets_are_in_the_order_of_the_directions_also_of_more_than_a_hundred(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(directions, "SHEET", (1, 2))
    gan, count = toy(), 102
    one = find_directions(gan, count=1, samples=64)
    each = {name: getattr(one, name)[[0] * count] for name in ("vectors", "units", "shares", "low", "high")}
    save_directions(replace(one, **each), gan, tmp_path / "directions")
    numbers = [int(path.stem.removeprefix("direction-")) for path in direction_sheets(tmp_path / "directions")]
    assert numbers == list(range(count))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"count": 7}, SettingsError, "there are 1 to 6 directions"),
        ({"samples": 5}, SettingsError, "need at least 12"),
        ({"categories": ["dya"]}, NotFoundError, "did you mean 'day'"),
    ],
)
def test_directions_that_cannot_be_found_are_refused(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        find_directions(toy(), **({"count": 2} | options))


# inversion


class Eye(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, 4).flatten(1)


@pytest.fixture(autouse=True)
def eye() -> None:
    register_encoder(
        "eye",
        lambda: Encoder("eye", Eye(), dim=48, input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3, digest_of_weights="eye"),
    )


SETTINGS = InverterSettings(
    width=16, images_seen=1500, batch_size=16, learning_rate=3e-3, extractor="eye", extractor_size=16, steps=30
)


def test_pixels_are_compared_at_three_scales() -> None:
    checks = torch.ones(1, 3, 8, 8)
    checks[:, :, ::2, ::2] = checks[:, :, 1::2, 1::2] = -1
    grey = torch.zeros(1, 3, 8, 8)
    assert pixel_distance(checks, grey).item() == pytest.approx(1 / 3)  # the halves and quarters are grey
    assert pixel_distance(grey + 0.5, grey).item() == pytest.approx(0.5)
    assert pixel_error(grey + 1, grey).item() == pytest.approx(127.5)


def test_features_count_in_units_of_their_spread() -> None:
    pictures = torch.linspace(-1, 1, 9)[:, None, None, None].expand(9, 3, 16, 16)
    likeness = Likeness("eye", 16, 0.5, torch.device("cpu")).fit(pictures)
    seen = likeness.features(pictures[:1])
    spread = pictures[:, 0, 0, 0].std().item()
    found = likeness(pictures[4:5], pictures[:1], seen).item()
    assert found == pytest.approx(1 + 0.5 * (1 / spread) ** 2, rel=1e-4)
    assert likeness(pictures[:1], pictures[:1], seen).item() == 0


@pytest.mark.parametrize("generator", [Toy, Squash])
def test_pictures_are_brought_back(generator: type[Toy], tmp_path: Path) -> None:
    gan = toy(generator())
    inverter = train_inverter(gan, out=tmp_path / "inverter", settings=SETTINGS)
    assert inverter.space.name == ("w" if generator is Squash else "z")
    assert inverter.metrics["pixel_error"] < 0.5 * inverter.metrics["by_chance"]
    assert 0.3 < inverter.metrics["latent_cosine"] < 0.8  # two of six latents can be seen
    classes = torch.arange(12) % 2
    targets = inverter.space.images(inverter.space.draw(design_seeds(9, 12), classes), classes)
    guessed, restored = inverter.invert(targets, classes)
    assert (restored.distance <= guessed.distance).all()
    assert restored.error.mean() < 0.7 * guessed.error.mean()
    torch.testing.assert_close(restored.error, pixel_error(restored.images, targets))
    if generator is Toy:
        assert restored.points.norm(dim=1).tolist() == pytest.approx([6**0.5] * 12, rel=1e-4)
    alone = inverter.invert(targets[5:6], classes[5:6])[1]
    assert torch.equal(alone.points[0], restored.points[5])

    loaded = load_inverter(tmp_path / "inverter", gan)
    assert torch.equal(loaded.invert(targets, classes, steps=0)[1].points, guessed.points)
    assert loaded.metrics == inverter.metrics
    with pytest.raises(MismatchError, match="trained for another generator"):
        load_inverter(tmp_path / "inverter", replace(gan, digest="other"))
    again = train_inverter(gan, out=tmp_path / "again", settings=SETTINGS)
    assert again.metrics == inverter.metrics


def test_a_descent_of_no_steps_is_its_start() -> None:
    space = space_of(toy())
    classes = torch.zeros(3, dtype=torch.int64)
    start = space.draw([1, 2, 3], classes)
    start = start * (space.radius / start.norm(dim=1, keepdim=True))
    likeness = Likeness("eye", 16, 0.1, torch.device("cpu"))
    still = SETTINGS.model_copy(update={"steps": 0})
    found = descend(space, likeness, start, torch.zeros(3, 3, 16, 16), classes, still, torch.ones(6))
    torch.testing.assert_close(found, start)


# photos and pictures


def test_photos_are_those_of_the_items_or_held_out_ones(tiny_bundle: Bundle) -> None:
    gan = replace(toy(), category_names=("bags", "dresses", "shoes"), train_images=np.array([5, 0, 5]))
    named = item_photos(tiny_bundle, gan, ["0002", "0000"])
    assert named.item_ids == ["0002", "0000"]
    assert named.class_index.tolist() == [2, 0]
    assert named.images.shape == (2, 3, 16, 16)
    drawn = item_photos(tiny_bundle, replace(gan, train_images=np.array([5, 5, 5])), count=3, seed=1)
    from recgan.gan.data import training_rows

    held_out = {tiny_bundle.item_ids[row] for row in training_rows(tiny_bundle, ("test",))}
    assert 0 < len(drawn.item_ids) <= 3
    assert set(drawn.item_ids) <= held_out
    with pytest.raises(NotFoundError, match="no training image"):
        item_photos(tiny_bundle, gan, ["0001"])
    with pytest.raises(NotFoundError, match="no item 'none'"):
        item_photos(tiny_bundle, gan, ["none"])


@pytest.mark.parametrize("ending", ["gif", "apng"])
def test_films_have_their_frames_and_their_time(tmp_path: Path, ending: str) -> None:
    frames = torch.linspace(-1, 1, 5)[:, None, None, None, None].expand(5, 2, 3, 16, 16)
    path = save_animation(frames, tmp_path / f"film.{ending}", seconds=1.0)
    with Image.open(path) as film:
        assert film.n_frames == 5
        assert film.size == (2 * 16 * 8, 16 * 8)
        assert film.info["duration"] == pytest.approx(200)
        assert film.info["loop"] == 0
        film.seek(4)
        assert film.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    with pytest.raises(SettingsError, match="too fast"):
        save_animation(frames, path, seconds=0.05)
    with pytest.raises(SettingsError, match="moving pictures are written as"):
        save_animation(frames, tmp_path / "film.mp4")


def test_all_networks_are_told_a_class_by_weights_as_by_index() -> None:
    labels = one_hot(torch.tensor([2, 0]), 3)
    assert labels.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(labels, 3) is labels
    networks = build_networks(tiny("dcgan-lsgan"), 3, 32, torch.Generator().manual_seed(0))
    embed = networks[0].classes
    torch.testing.assert_close(embed(labels), embed(torch.tensor([2, 0])))
