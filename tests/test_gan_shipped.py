"""The generator that comes with recgan, and the catalogue that a generator draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from recgan.config import Recipe
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels, to_uint8
from recgan.errors import ArtifactError, MismatchError, SettingsError
from recgan.gan import TrainedGAN, design_seeds, latents, load_gan, train_gan
from recgan.gan.shipped import SHIPPED, draw_catalogue, shipped_digest, shipped_gan, write_gan

NARROW = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, class_dim=4)


@pytest.fixture(scope="module")
def gan(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TrainedGAN:
    out = tmp_path_factory.mktemp("gan") / "gan"
    return train_gan(tiny_bundle, NARROW, size=16, images_seen=32, out=out, device="cpu")


@pytest.fixture(scope="module")
def drawn(gan: TrainedGAN, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return draw_catalogue(gan, tmp_path_factory.mktemp("drawn") / "bundle", items=40, seed=3)


def test_a_drawn_catalogue_is_the_generators_samples_to_the_bit(gan: TrainedGAN, drawn: Bundle) -> None:
    class_index = torch.tensor(drawn.category_index)
    wanted = to_uint8(gan.sample(latents(design_seeds(3, 40), gan.recipe), class_index))
    assert list(drawn.item_ids) == [f"generated-{i:05d}" for i in range(40)]
    np.testing.assert_array_equal(load_pixels(drawn, 16)[drawn.primary_images], wanted)


def test_it_says_everywhere_that_its_goods_do_not_exist(gan: TrainedGAN, drawn: Bundle) -> None:
    assert drawn.items["generated"].all()
    assert list(drawn.items["name"]) == [f"{category}, generated" for category in drawn.items["category"]]
    assert drawn.name == "generated, tiny"
    assert "no such goods exist" in drawn.header.source
    assert gan.digest[:12] in drawn.header.source
    assert drawn.header.licence.startswith("generated pictures; ")
    assert "CC0-1.0" in drawn.header.licence


def test_more_items_only_append_and_another_seed_draws_others(gan: TrainedGAN, drawn: Bundle, tmp_path: Path) -> None:
    more = draw_catalogue(gan, tmp_path / "more", items=300, seed=3)
    assert list(more.items["category"][:40]) == list(drawn.items["category"])
    assert more.image_bytes(more.primary_images[:40]) == drawn.image_bytes(drawn.primary_images)
    other = draw_catalogue(gan, tmp_path / "other", items=40, seed=4)
    assert set(other.image_index["sha256"]).isdisjoint(drawn.image_index["sha256"])


def test_categories_come_as_the_root_of_their_photos(gan: TrainedGAN, tmp_path: Path) -> None:
    counts = np.array([900, 100, 0])
    uneven = TrainedGAN(**{**gan.__dict__, "train_images": counts})
    found = Counter(draw_catalogue(uneven, tmp_path / "bundle", items=800).items["category"])
    first, second, untrained = gan.category_names
    assert untrained not in found
    # 30 to 10: 600 of 800, with a standard deviation of 12.2
    assert abs(found[first] - 600) < 4 * 12.2
    assert found[first] + found[second] == 800


def test_the_first_items_are_one_of_each_category(gan: TrainedGAN, tmp_path: Path) -> None:
    few = draw_catalogue(gan, tmp_path / "few", items=3)
    assert list(few.items["category"]) == list(gan.category_names)


def test_what_cannot_be_drawn_is_refused(gan: TrainedGAN, drawn: Bundle, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="items=0"):
        draw_catalogue(gan, tmp_path / "no", items=0)
    with pytest.raises(SettingsError, match="seed=-1"):
        draw_catalogue(gan, tmp_path / "no", seed=-1)
    with pytest.raises(ArtifactError, match="exists already"):
        draw_catalogue(gan, drawn.path)
    assert not (tmp_path / "no").exists()


def test_a_gan_in_half_precision_is_half_as_large_and_draws_the_same(gan: TrainedGAN, tmp_path: Path) -> None:
    small = write_gan(gan, tmp_path / "half", half=True)
    for part in ("generator", "discriminator"):
        kinds = {array.dtype.name for array in load_file(tmp_path / "half" / f"{part}.safetensors").values()}
        assert kinds - {"int64"} == {"float16"}
    assert all(weight.dtype == torch.float32 for weight in small.generator.parameters())
    z, class_index = latents(design_seeds(0, 6), gan.recipe), torch.arange(6) % 3
    images, wanted = small.sample(z, class_index), gan.sample(z, class_index)
    assert 0 < (images - wanted).abs().max() < 0.01
    torch.testing.assert_close(
        small.realism(wanted, class_index), gan.realism(wanted, class_index), atol=0.05, rtol=0.05
    )
    assert small.manifest.metrics == gan.manifest.metrics
    assert small.card() == gan.card()
    # Rounded once, the weights are kept: written again, they are the same.
    again = write_gan(small, tmp_path / "again", half=True)
    assert (again.sample(z, class_index) == images).all()


def test_a_gan_can_belong_to_the_catalogue_that_it_drew(gan: TrainedGAN, drawn: Bundle, tmp_path: Path) -> None:
    theirs = write_gan(gan, tmp_path / "gan", catalogue=drawn)
    assert theirs.catalogue_digest == drawn.catalogue_digest != gan.catalogue_digest
    assert theirs.manifest.facts["trained_on"] == {**gan.manifest.parents, "gan": gan.digest}
    z, class_index = latents(design_seeds(0, 3), gan.recipe), torch.arange(3)
    assert (theirs.sample(z, class_index) == gan.sample(z, class_index)).all()
    assert load_gan(tmp_path / "gan", "cpu").digest == theirs.digest


def test_a_gan_cannot_belong_to_a_catalogue_of_other_categories(gan: TrainedGAN, tmp_path: Path) -> None:
    two = TrainedGAN(**{**gan.__dict__, "train_images": np.array([5, 5, 0])})
    with pytest.raises(MismatchError, match="categories are not those of"):
        write_gan(gan, tmp_path / "gan", catalogue=draw_catalogue(two, tmp_path / "bundle", items=20))
    assert not (tmp_path / "gan").exists()


# The one in the package


def test_the_shipped_generator_is_small_and_carries_its_card() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 12e6
    gan = shipped_gan("cpu")
    assert gan.digest == shipped_digest()
    card = (SHIPPED / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == gan.card()
    for told in ("Fashion Product Images", "MIT as given on Kaggle", "for research", "What it shows does not exist"):
        assert told in card
    assert gan.train_images.min() >= 200  # 400 photos or more a category, most of them trained on


def test_the_shipped_generator_draws_other_pictures_for_other_classes_and_latents() -> None:
    gan = shipped_gan("cpu")
    count = len(gan.category_names)
    z = latents(design_seeds(0, 2), gan.recipe).repeat_interleave(count, dim=0)
    images = gan.sample(z, torch.arange(count).repeat(2)).reshape(2, count, -1)
    assert images.std(dim=2).min() > 0.08  # none is empty; a white sock on white has .083
    assert (images[0] - images[1]).abs().mean(dim=1).min() > 0.02
    apart = torch.cdist(images[0], images[0], p=1) / images.shape[2]
    assert apart[~torch.eye(count, dtype=torch.bool)].min() > 0.01
