"""Designing in w with a style-based generator, and for a visitor who is known by photos alone."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recgan.config import DesignSettings, overridden
from recgan.dataset.pixels import to_float, to_uint8
from recgan.design import Designer
from recgan.errors import SettingsError
from recgan.gan import train_gan
from recgan.gan.latent import LatentSpace
from recgan.gan.sampling import design_seeds
from tests.design_world import QUICK, SIZE
from tests.test_design import same
from tests.test_editing import Painter
from tests.test_gan_recipes import tiny

USER, CATEGORY = "user-00005", "dress"
IN_W = overridden(QUICK, ["space=w"])


@pytest.fixture(scope="module")
def styled(design_world, tmp_path_factory):
    """The world's recommender with a style-based generator that has hardly learned."""
    out = tmp_path_factory.mktemp("styled") / "gan"
    gan = train_gan(design_world.bundle, tiny("stylegan-lite"), out=out, size=SIZE, images_seen=8, device="cpu")
    return Designer(design_world.designer.recommender, gan, device="cpu")


def space_of(designer):
    return LatentSpace(designer.gan.generator, designer.gan.recipe, "w")


def drawn(designer, seed, samples=1):
    kind = torch.full((samples,), designer.gan.class_index(CATEGORY))
    return space_of(designer).draw(design_seeds(seed, samples), kind)


def test_a_design_in_w_is_what_the_generator_makes_of_its_w(styled):
    for design in styled.design(USER, CATEGORY, 2, settings=overridden(IN_W, ["steps=3", "visible=false"])):
        with torch.no_grad():
            image = styled.gan.generator.synthesis(torch.from_numpy(design.z)[None])
        np.testing.assert_array_equal(to_uint8(image)[0], design.image)
        assert design.settings["search"]["space"] == "w"


def test_a_search_in_w_starts_where_w_is_drawn_and_nearer_the_centre_when_truncated(styled):
    still = overridden(IN_W, ["samples=1", "steps=0", "latent_std=1"])
    (design,) = styled.design(USER, CATEGORY, 1, seed=3, settings=still)
    np.testing.assert_allclose(design.z, drawn(styled, 3)[0], atol=1e-6)
    centre = space_of(styled).centre(torch.tensor([styled.gan.class_index(CATEGORY)]))[0].numpy()
    (held,) = styled.design(USER, CATEGORY, 1, seed=3, settings=overridden(still, ["truncation=1"]))
    spread = np.sqrt(1 - 2 * 0.24197 / 0.68269)  # of a normal distribution cut at one deviation
    np.testing.assert_allclose(held.z - centre, spread * (design.z - centre), atol=1e-4)


def test_the_objective_rises_in_w(styled):
    climb = overridden(IN_W, ["steps=12", "learning_rate=0.05", "visible=false"])
    found, start = (
        styled.design(USER, CATEGORY, 2, settings=settings) for settings in (climb, overridden(climb, ["steps=0"]))
    )
    for after, before in zip(found, start, strict=True):
        assert after.settings["objective"] > before.settings["objective"] + 0.05


def test_the_prior_of_w_keeps_a_search_within_the_usual_radius(styled):
    sampled = drawn(styled, 99, 256)
    centre = sampled.mean(dim=0)
    radius = (sampled - centre).square().sum(dim=1).mean().sqrt()
    away = [(1.0, lambda c: 3 * ((c.z - centre) / radius).square().sum(dim=1).sqrt())]
    far = overridden(IN_W, ["steps=15", "learning_rate=0.3", "visible=false", "realism_weight=0", "crowd_weight=0"])
    gone, kept = (
        styled.design(USER, CATEGORY, 1, settings=overridden(far, [f"prior_weight={weight}"]), terms=away)[0]
        for weight in (0, 20)
    )
    lengths = [float((torch.from_numpy(design.z) - centre).norm() / radius) for design in (gone, kept)]
    assert lengths[1] < 1.3 < 2 < lengths[0]


def test_a_design_in_w_is_equal_to_the_bit_alone_and_among_others(styled):
    among = styled.design(USER, CATEGORY, 3, seed=11, settings=IN_W)
    for design in among:
        (alone,) = styled.design(USER, CATEGORY, 1, seed=design.seed, settings=IN_W)
        assert same(design, alone)
    assert len({design.z.tobytes() for design in among}) == 3


def test_a_generator_without_w_is_told_in_one_line(design_world):
    with pytest.raises(SettingsError, match=r"^a generator of the recipe 'small' has no w; use z, .*stylegan-lite$"):
        design_world.designer.design(USER, CATEGORY, 1, settings=IN_W)


# ---- a visitor with photos


def coloured(designer, colour, count=2):
    """Pictures of dresses as `Painter` draws them, all of one colour in [-1, 1]."""
    z = torch.zeros(count, 6)
    z[:, :3] = torch.atanh(torch.tensor(colour))
    return to_uint8(designer.gan.generator(z, torch.full((count,), designer.gan.class_index(CATEGORY))))


@pytest.fixture(scope="module")
def painter(design_world):
    gan = design_world.designer.gan
    parts = {
        "generator": Painter(len(gan.category_names)).eval(),
        "discriminator": lambda images, class_index: images.mean(dim=(1, 2, 3)),
        "recipe": tiny("dcgan-lsgan", latent_dim=6),
    }
    return Designer(design_world.designer.recommender, dataclasses.replace(gan, **parts), device="cpu")


COLOURS = {"red": (0.9, -0.9, -0.9), "blue": (-0.9, -0.9, 0.9)}


def test_a_visitor_with_photos_gets_designs_that_look_like_the_photos(painter):
    settings = DesignSettings(samples=16, starts=1, steps=5, crowd_weight=0, realism_weight=0)
    recommender = painter.recommender
    made = {}
    for name, colour in COLOURS.items():
        visitor = recommender.fold_in(images=coloured(painter, colour))
        made[name] = painter.design(visitor, CATEGORY, 2, settings=settings)
        assert len(visitor.seen) == 0  # a photo is no item, so all of the shop is left
        assert len(painter.real_items(visitor, CATEGORY).rows) == len(painter.sight.in_category(CATEGORY))
        with torch.no_grad():
            photos, designs = (
                recommender.whitening(painter.sight.encoder(to_float(pixels)))
                for pixels in (coloured(painter, colour), np.stack([one.image for one in made[name]]))
            )
        alike = F.cosine_similarity(designs, photos[:1])  # what visual_knn likes is what looks alike
        np.testing.assert_allclose([one.score for one in made[name]], alike, atol=2e-3)
        assert min(one.percentile for one in made[name]) > 90
    shades = {name: np.mean([one.image[15, 9] for one in designs], axis=0) for name, designs in made.items()}
    assert shades["red"][0] > shades["blue"][0] + 40
    assert shades["blue"][2] > shades["red"][2] + 40


def test_of_real_items_a_visitor_likes_the_one_in_the_photo_best(design_world):
    designer, bundle = design_world.designer, design_world.bundle
    rows = designer.sight.in_category(CATEGORY)
    for row in rows[:3]:
        photo = bundle.image_bytes([int(bundle.primary_images[row])])
        visitor = designer.recommender.fold_in(images=photo)
        real = designer.real_items(visitor, CATEGORY)
        assert real.rows[real.scores.argmax()] == row
        (design,) = designer.design(visitor, CATEGORY, 1, settings=QUICK)
        assert design.score < real.scores.max()
        assert design.settings["user"]["seen"] == []
