"""Beginning with what another GAN has learnt: whose weights each class gets, what is refused, what is written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recgan.config import Recipe
from recgan.dataset.bundle import Bundle
from recgan.errors import MismatchError, SettingsError
from recgan.gan import RECIPES, TrainedGAN, build_networks, find_recipe, load_gan, plan_gan, train_gan
from recgan.gan.data import CatalogueImages
from recgan.gan.training.schedules import advance
from recgan.gan.training.transfer import Kinship, check_shape, nearest_classes, take_over

NARROW = {"generator_width": 16, "discriminator_width": 16, "latent_dim": 12, "class_dim": 4, "batch_size": 4}
RECIPE = Recipe(name="small", **NARROW)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TrainedGAN:
    out = tmp_path_factory.mktemp("trained") / "gan"
    return train_gan(tiny_bundle, RECIPE, out=out, size=16, images_seen=20, device="cpu")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_trained(gan: TrainedGAN, recipe: Recipe, size: int) -> TrainedGAN:
    """Return a GAN of another recipe, half a run old."""
    networks = build_networks(recipe, 3, size, seeded(1))
    for network in networks:
        advance(network, 1.0)
    generator, discriminator = (network.eval() for network in networks)
    return dataclasses.replace(gan, generator=generator, discriminator=discriminator, recipe=recipe, size=size)


@pytest.mark.parametrize("name", RECIPES)
def test_each_class_draws_and_judges_as_the_class_that_it_began_with(trained: TrainedGAN, name: str) -> None:
    recipe = Recipe(**(find_recipe(name).model_dump() | NARROW))
    size = 64 if recipe.network == "kang2017" else 32
    old = as_trained(trained, recipe, size)
    new = build_networks(recipe, 3, size, seeded(2))
    take_over(old, new, Kinship(np.array([2, 0, 1]), np.zeros(3, dtype=bool)))
    z, images = (
        torch.randn(3, recipe.latent_dim, generator=seeded(3)),
        torch.rand(3, 3, size, size, generator=seeded(4)) * 2 - 1,
    )
    theirs, own = torch.tensor([2, 0, 1]), torch.arange(3)
    with torch.no_grad():
        for network, inputs in zip(new, (z, images)):
            network.eval()
            trained_one = old.generator if inputs is z else old.discriminator
            torch.testing.assert_close(network(inputs, own), trained_one(inputs, theirs))


def test_more_classes_than_it_had_share_what_it_knew_and_part(trained: TrainedGAN) -> None:
    kinship = Kinship.of(np.array([1, 1, 0, 2, 1]), np.array([3.0, 2.0, 9.0, 9.0, 2.0]))
    assert kinship.alike.tolist() == [True, False, False, False, True]
    new, fresh = (build_networks(RECIPE, 5, 16, seeded(2)) for _ in range(2))
    take_over(trained, new, kinship)
    z = torch.randn(1, 12, generator=seeded(3)).expand(5, -1)
    with torch.no_grad():
        drawn = new[0].eval()(z, torch.arange(5))
        theirs = trained.generator(z, torch.tensor([1, 1, 0, 2, 1]))
    torch.testing.assert_close(drawn[1:4], theirs[1:4])
    assert not torch.equal(drawn[0], drawn[1])
    table, old, first = (one[0].state_dict()["classes.weight"] for one in (new, (trained.generator,), fresh))
    torch.testing.assert_close(table[4], (old[1] + first[4]) / 2**0.5)


class Painted(nn.Module):
    """Draws each of three classes in a colour of its own."""

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        colours = torch.eye(3)[class_index] * 2 - 1
        return colours[:, :, None, None].expand(-1, -1, 16, 16) * (1 - 0.01 * z[:, :1, None, None].sigmoid())


def test_a_class_begins_with_that_of_its_name_or_the_one_that_looks_most_like_it(trained: TrainedGAN) -> None:
    gan = dataclasses.replace(trained, generator=Painted())  # bags red, dresses green, shoes blue
    colours = np.eye(3, dtype=np.uint8)[[2, 1, 0, 0]] * 240  # blue, green, red, red
    pixels = np.repeat(colours[:, None, None, :], 16, axis=1).repeat(16, axis=2)
    class_index = np.arange(4)
    images = CatalogueImages(pixels, class_index, class_index, torch.device("cpu"))
    chosen = nearest_classes(gan, images, ["hats", "scarves", "gloves", "Shoes"])
    assert [gan.category_names[index] for index in chosen.classes] == ["shoes", "dresses", "bags", "shoes"]
    assert chosen.alike.tolist() == [True, False, False, False]  # the name is liker than any looks
    nothing_of_blue = dataclasses.replace(gan, train_images=np.array([5, 5, 0]))
    assert (
        nearest_classes(nothing_of_blue, images, ["hats", "scarves", "gloves", "Shoes"]).classes[3] == 0
    )  # red, and no name


def test_other_networks_are_refused_with_the_difference(
    trained: TrainedGAN, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    wider = RECIPE.model_copy(update={"generator_width": 32, "beta1": 0.1, "ema_half_life": 9})
    with pytest.raises(SettingsError, match=r"\(generator_width was 16, is now 32\); leave out --recipe"):
        train_gan(tiny_bundle, wider, out=tmp_path / "gan", size=16, images_seen=8, device="cpu", pretrained=trained)
    with pytest.raises(SettingsError, match=r"makes images of 16 px, not 32; give --size 16"):
        train_gan(tiny_bundle, RECIPE, out=tmp_path / "gan", size=32, images_seen=8, device="cpu", pretrained=trained)
    with pytest.raises(SettingsError, match="give --size 16"):
        plan_gan(tiny_bundle, RECIPE, size=32, device="cpu", pretrained=trained)
    assert list(tmp_path.iterdir()) == []


def test_a_shorter_latent_of_networks_that_join_labels_to_it_is_refused(trained: TrainedGAN) -> None:
    recipe = find_recipe("kang2017")
    old = dataclasses.replace(trained, recipe=recipe, size=64)
    check_shape(old, recipe, 64)
    for shorter in (recipe.latent_dim - 20, recipe.latent_dim + 3):
        changed = recipe.model_copy(update={"latent_dim": shorter})
        with pytest.raises(SettingsError, match=rf"\(latent_dim was {recipe.latent_dim}, is now {shorter}\)"):
            check_shape(old, changed, 64)


def test_what_it_began_with_is_written_down_and_a_resumed_run_is_given_the_same(
    trained: TrainedGAN, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle, options = make_bundle(seed=1), {"size": 16, "device": "cpu", "seed": 3}
    out = tmp_path / "gan"
    train_gan(bundle, RECIPE, out=out, images_seen=8, pretrained=trained, **options)  # type: ignore[arg-type]
    other = dataclasses.replace(trained, digest="another")
    with pytest.raises(MismatchError, match=r"gan\.run' began with another generator; leave out --pretrained"):
        train_gan(bundle, RECIPE, out=out, images_seen=12, pretrained=other, resume=True, **options)  # type: ignore[arg-type]
    train_gan(bundle, RECIPE, out=out, images_seen=12, pretrained=trained, resume=True, **options)  # type: ignore[arg-type]
    gan = train_gan(bundle, RECIPE, out=out, images_seen=16, resume=True, **options)  # type: ignore[arg-type]
    assert gan.manifest.facts["pretrained"] == {
        "gan": trained.digest,
        "dataset": "tiny",
        "licence": "CC0-1.0",
        "classes": ["bags", "dresses", "shoes"],
    }
    assert "began with the weights of another generator" in (out / "MODEL_CARD.md").read_text()
    whole = train_gan(bundle, RECIPE, out=tmp_path / "whole", images_seen=16, pretrained=trained, **options)  # type: ignore[arg-type]
    for name, tensor in whole.generator.state_dict().items():
        assert torch.equal(tensor, gan.generator.state_dict()[name]), name
    anew = train_gan(bundle, RECIPE, out=tmp_path / "anew", images_seen=16, **options)  # type: ignore[arg-type]
    assert anew.manifest.facts["pretrained"] is None
    with pytest.raises(MismatchError, match=r"anew\.run' began with no trained generator"):
        train_gan(bundle, RECIPE, out=tmp_path / "anew", images_seen=20, pretrained=trained, resume=True, **options)  # type: ignore[arg-type]
    start = load_gan(tmp_path / "whole", "cpu").generator.state_dict()["dense.weight"]
    begun, other = (one.generator.state_dict()["dense.weight"] for one in (trained, anew))
    assert (start - begun).norm() < 0.5 * (other - begun).norm()
