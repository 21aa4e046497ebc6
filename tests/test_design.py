import dataclasses
import functools
import json
import types

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from recgan.config import (
    MAX_DESIGNS,
    DesignSettings,
    EmbedSettings,
    PopularitySettings,
    Recipe,
    Settings,
    VBPRSettings,
    VisualKNNSettings,
)
from recgan.dataset.pixels import TRANSFORM, load_pixels, to_float, to_uint8
from recgan.dataset.split import Pairs
from recgan.design import (
    PRESETS,
    Designer,
    load_designer,
    load_designs,
    load_preset,
    save_designs,
    search,
    seed_of_design,
)
from recgan.design.visible import VisibleChange
from recgan.encoders import Features, embed_items
from recgan.encoders.perceptual import PerceptualDistance
from recgan.errors import ArtifactError, MismatchError, NotFoundError, SettingsError
from recgan.gan import TrainedGAN, train_gan
from recgan.recommenders import TrainingData, UserVector, VisualRecommender, train_recommender
from recgan.recommenders.models.popularity import Popularity
from recgan.recommenders.models.whitening import Whitening

# A shop of one-colour pictures. Features are the mean colour, a user is a direction in colour space, and the generator
# paints tanh of the first three of z: every score can be worked out by hand.

COLOURS = {  # item: (category, 8-bit colour)
    "red": ("bag", (255, 0, 0)),
    "grey": ("bag", (128, 128, 128)),
    "black": ("bag", (0, 0, 0)),
    "white": ("bag", (255, 255, 255)),
    "green": ("shoe", (0, 255, 0)),
    "blue": ("shoe", (0, 0, 255)),
    "last": ("hat", (10, 20, 30)),
}
IDS = list(COLOURS)
RAW = np.array([colour for _, colour in COLOURS.values()], dtype=np.float32) / 127.5 - 1
SIZE = 4
CATEGORIES = ("bag", "hat", "shoe", "unborn")
USERS = {"ruby": (1, 0, 0), "nobody": (1, 1, 1), "hatter": (0, 1, 0), "indifferent": (0, 0, 0)}
SEEN = {"ruby": ["red"], "nobody": [], "hatter": ["last", "grey"], "indifferent": ["red"]}


class MeanColour:
    name = "mean_colour"
    digest = "e" * 64

    def __call__(self, images):
        return images.mean(dim=(2, 3))


class Palette(VisualRecommender):
    name = "palette"
    settings_type = Settings
    similarity_space = "visual"

    def __init__(self, taste):
        super().__init__()
        self.taste = taste

    def _train(self, data, seed, device, progress):
        self.facts |= {"encoder": "mean_colour", "encoder_digest": "e" * 64, "size": SIZE, "transform": TRANSFORM}
        self.whitening = Whitening(np.zeros(3, dtype=np.float32), np.eye(3, dtype=np.float32))
        self.item_features = RAW.astype(np.float16)
        self.item_factors = self.item_features.astype(np.float32)
        self.user_factors = np.array(list(self.taste.values()), dtype=np.float32)

    def _fold_in(self, liked, disliked, seen):
        return liked.mean(axis=0)

    def factors_from(self, features, categories=None):
        return features

    def load_encoder(self, device="auto"):
        return MeanColour()


def train_palette(**taste):
    """Train on what `SEEN` says; ``taste`` replaces users' vectors."""
    pairs = [(user, IDS.index(item)) for user, name in enumerate(USERS) for item in SEEN[name]]
    categories = [category for category, _ in COLOURS.values()]
    nothing = Pairs(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    data = TrainingData(
        user_ids=np.array(list(USERS), dtype=object),
        items=pd.DataFrame({"item_id": IDS, "category": categories, "available": True}),
        category_names=CATEGORIES,
        category_index=np.array([CATEGORIES.index(category) for category in categories]),
        candidates=np.ones(len(IDS), dtype=bool),
        train=Pairs(*np.array(pairs).T),
        validation=nothing,
        withheld=nothing,
        features=None,
        catalogue_digest="c" * 64,
        split_digest="s" * 64,
        split_settings={},
    )
    model = Palette({**USERS, **taste}).fit(data)
    model.digest = "r" * 64
    return model


def paint(z, class_index):
    return torch.tanh(z[:, :3])[:, :, None, None].expand(-1, -1, SIZE, SIZE)


def toy_gan(**changes):
    """A GAN whose D says how light an image is, on a scale that is calibrated already."""
    about = types.SimpleNamespace(
        parents={"catalogue": changes.pop("catalogue", "c" * 64)},
        facts={"transform": changes.pop("transform", TRANSFORM)},
    )
    parts = {
        "generator": paint,
        "discriminator": lambda images, class_index: images.mean(dim=(1, 2, 3)),
        "recipe": Recipe(name="toy", latent_dim=6),
        "size": SIZE,
        "category_names": CATEGORIES,
        "train_images": np.array([4, 1, 2, 0]),
        "realism_mean": torch.zeros(4),
        "realism_deviation": torch.ones(4),
        "device": torch.device("cpu"),
        "manifest": about,
        "digest": "g" * 64,
    }
    return TrainedGAN(**{**parts, **changes})


FREE = DesignSettings(
    samples=8, starts=2, steps=40, learning_rate=0.05, realism_weight=0, prior_weight=0, crowd_weight=0, visible=False
)
BEST_OF_N = FREE.model_copy(update={"steps": 0})


@pytest.fixture
def recommender():
    return train_palette()


@pytest.fixture
def designer(recommender):
    return Designer(recommender, toy_gan(), device="cpu")


def test_designs_go_where_the_user_would_have_them(designer):
    climbed = [design.image.mean(axis=(0, 1)) for design in designer.design("ruby", "bag", 4, settings=FREE)]
    sampled = [design.image.mean(axis=(0, 1)) for design in designer.design("ruby", "bag", 4, settings=BEST_OF_N)]
    assert all(after[0] > before[0] for after, before in zip(climbed, sampled))
    assert min(colour[0] for colour in climbed) > 240


def test_score_and_percentile_are_those_of_the_8_bit_image_among_unseen_real_items(designer):
    for design in designer.design("ruby", "bag", 3, settings=FREE):
        red = float(to_float(design.image[None]).mean(dim=(2, 3))[0, 0])
        assert design.score == pytest.approx(red, abs=1e-6)
        # Left of the bags, red itself being seen: grey (.004), black (-1), white (1).
        below = sum(value < red for value in (128 / 127.5 - 1, -1.0, 1.0))
        assert design.percentile == pytest.approx(100 * below / 3)


def test_a_design_that_is_a_real_items_picture_scores_as_that_item_does(recommender):
    grey = torch.tensor(RAW[IDS.index("grey")])
    copier = toy_gan(generator=lambda z, c: (grey + 0 * z[:, :3])[:, :, None, None].expand(-1, -1, SIZE, SIZE))
    designer = Designer(recommender, copier, device="cpu")
    (design,) = designer.design("ruby", "bag", 1, settings=FREE)
    real = designer.real_items("ruby", "bag")
    assert design.score == pytest.approx(real.scores[list(real.item_ids).index("grey")], abs=1e-3)
    assert design.nearest[0][0] in ("grey", "white")  # of one direction from mid-grey: cosine sees no length
    assert design.nearest[0][1] == pytest.approx(0, abs=1e-5)


def test_real_items_are_the_categorys_less_the_seen_ones_and_those_without_a_picture(recommender):
    recommender.item_features[IDS.index("black")] = 0
    real = Designer(recommender, toy_gan(), device="cpu").real_items("ruby", "bag")
    assert list(real.item_ids) == ["grey", "white"]
    np.testing.assert_allclose(real.scores, [128 / 127.5 - 1, 1.0], atol=1e-3)


def test_items_that_were_added_later_are_real_items_too(recommender):
    designer = Designer(recommender, toy_gan(), device="cpu")
    before = len(designer.real_items("ruby", "bag").rows)
    new = pd.DataFrame({"item_id": ["new"], "category": ["bag"], "available": [True]})
    recommender._set_items(pd.concat([recommender.items, new], ignore_index=True))
    recommender.item_features = np.concatenate([recommender.item_features, np.ones((1, 3), dtype=np.float16)])
    assert len(designer.real_items("ruby", "bag").rows) == before + 1


def test_nearest_are_by_cosine_distance(designer):
    design = designer.design("ruby", "bag", 1, settings=DesignSettings(neighbours=2))[0]
    seen = to_float(design.image[None]).mean(dim=(2, 3))[0].numpy()
    distances = {
        item: 1 - float(seen @ RAW[IDS.index(item)] / np.linalg.norm(seen) / np.linalg.norm(RAW[IDS.index(item)]))
        for item in ("grey", "black", "white")
    }
    expected = sorted(distances.items(), key=lambda pair: pair[1])[:2]
    assert [distance for _, distance in design.nearest] == pytest.approx([d for _, d in expected], abs=1e-3)


# ---- seeds


def same(one, other):
    return (
        (one.seed, one.score, one.percentile, one.realism, one.nearest)
        == (other.seed, other.score, other.percentile, other.realism, other.nearest)
        and np.array_equal(one.z, other.z)
        and np.array_equal(one.image, other.image)
    )


def test_a_design_does_not_depend_on_how_many_are_asked_for(designer):
    settings = DesignSettings(steps=3)
    eight = designer.design("ruby", "bag", 8, seed=5, settings=settings)
    three = designer.design("ruby", "bag", 3, seed=5, settings=settings)
    assert all(same(one, other) for one, other in zip(three, eight))


def test_every_design_comes_again_alone_from_its_own_seed(designer):
    settings = DesignSettings(steps=3)
    for design in designer.design("ruby", "bag", 4, seed=5, settings=settings):
        (again,) = designer.design("ruby", "bag", 1, seed=design.seed, settings=settings)
        assert same(design, again)


def test_seeds_of_designs_are_distinct_and_exact_in_json():
    seeds = {seed_of_design(seed, place) for seed in range(20) for place in range(50)}
    assert len(seeds) == 1000
    assert all(json.loads(json.dumps(float(seed))) == seed for seed in seeds)
    assert seed_of_design(7, 0) == 7


def test_other_seeds_give_other_designs(designer):
    zs = [d.z for seed in (0, 1) for d in designer.design("ruby", "bag", 3, seed=seed, settings=FREE)]
    assert len({z.tobytes() for z in zs}) == 6


# ---- what the settings mean


def test_by_default_the_length_of_a_users_vector_does_not_change_the_designs(recommender):
    designers = [Designer(model, toy_gan(), device="cpu") for model in (recommender, train_palette(ruby=(8, 0, 0)))]
    settings = DesignSettings(samples=8, starts=2, steps=10, learning_rate=0.05)
    weak, strong = (designer.design("ruby", "bag", 2, settings=settings) for designer in designers)
    for one, other in zip(weak, strong, strict=True):
        np.testing.assert_allclose(one.z, other.z, atol=1e-4)
        assert other.score == pytest.approx(8 * one.score, rel=1e-4)
    raw = settings.model_copy(update={"preference": "raw", "crowd_weight": 0.0})
    weak, strong = (designer.design("ruby", "bag", 1, settings=raw) for designer in designers)
    assert np.abs(weak[0].z - strong[0].z).max() > 0.01


def test_realism_is_a_floor_that_the_search_does_not_fall_below():
    gloomy = Designer(train_palette(ruby=(-1, -1, -1)), toy_gan(), device="cpu")  # likes dark, D takes light for real
    loose = gloomy.design("ruby", "bag", 4, settings=FREE)
    strict = gloomy.design("ruby", "bag", 4, settings=FREE.model_copy(update={"realism_weight": 20.0, "steps": 100}))
    for design in [*loose, *strict]:
        assert design.realism == pytest.approx(float(to_float(design.image[None]).mean()), abs=1e-6)
    assert max(design.realism for design in loose) < -0.9
    assert min(design.realism for design in strict) > -0.1


def test_the_prior_keeps_latents_on_their_shell(designer):
    free = designer.design("ruby", "bag", 4, settings=FREE.model_copy(update={"steps": 100}))
    kept = designer.design("ruby", "bag", 4, settings=FREE.model_copy(update={"steps": 100, "prior_weight": 10.0}))
    off_shell = [[abs(np.linalg.norm(d.z) - 0.7 * np.sqrt(6)) for d in designs] for designs in (free, kept)]
    assert max(off_shell[1]) < 0.2 < max(off_shell[0])


def test_kang2017_starts_at_half_the_spread_and_climbs_all_its_starts_ten_steps(recommender):
    calls = []

    def generator(z, class_index):
        if z.requires_grad:
            calls.append(z.detach().clone())
        return paint(z, class_index)

    gan = toy_gan(generator=generator, recipe=Recipe(name="toy", latent_dim=2000))
    Designer(recommender, gan, device="cpu").design("ruby", "bag", 1, settings=load_preset("kang2017"))
    assert len(calls) == 2 * 10  # 16 rows as two blocks of eight
    starts = torch.cat([calls[0], calls[10]])
    assert starts.shape == (16, 2000)
    assert starts.std().item() == pytest.approx(0.5, rel=0.02)


def test_a_design_says_what_reproduces_it(designer):
    changed = load_preset("kang2017").model_copy(update={"steps": 2})
    (design,) = designer.design("ruby", "bag", 1, seed=3, settings=changed)
    record = design.settings
    assert (record["preset"], record["changed"], record["user"]) == ("kang2017", {"steps": 2}, "ruby")
    assert DesignSettings(**record["search"]) == changed
    assert (record["recommender"]["digest"], record["gan"]["digest"]) == ("r" * 64, "g" * 64)
    assert record["encoder"]["digest"] == "e" * 64
    again = designer.design(
        record["user"], design.category, 1, seed=design.seed, settings=DesignSettings(**record["search"])
    )
    assert same(again[0], design)


def test_a_visitor_without_an_id_is_designed_for_and_told_in_full(designer):
    visitor = designer.recommender.fold_in(["green"])
    (design,) = designer.design(visitor, "shoe", 1, settings=FREE)
    assert [item for item, _ in design.nearest] == ["blue"]  # what was liked is seen
    told = design.settings["user"]
    assert told["seen"] == ["green"]
    vector = UserVector(np.array(told["vector"], dtype=np.float32), visitor.seen)
    assert same(designer.design(vector, "shoe", 1, settings=FREE)[0], design)


def test_raising_from_progress_stops_the_search(designer):
    class Cancelled(Exception):
        pass

    def cancel(step, done, total, note=""):
        if step == "climbing":
            raise Cancelled

    with pytest.raises(Cancelled):
        designer.design("ruby", "bag", 2, progress=cancel)


# ---- refusals


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ({"user": "rubi"}, NotFoundError, "'ruby'"),
        ({"category": "bags"}, NotFoundError, "did you mean 'bag'"),
        ({"category": "zeppelin"}, NotFoundError, "bag, hat, shoe"),
        ({"category": "unborn"}, NotFoundError, "no training image"),
        ({"n": 0}, SettingsError, "1 to 256"),
        ({"n": MAX_DESIGNS + 1}, SettingsError, "1 to 256"),
        ({"seed": -1}, SettingsError, "seed"),
        ({"user": "nobody"}, SettingsError, "no history"),
        ({"user": "hatter", "category": "hat"}, SettingsError, "seen every item"),
        ({"user": "indifferent"}, SettingsError, "likes every picture alike"),
        ({"settings": DesignSettings(preset="defualt")}, NotFoundError, "did you mean 'default'"),
        ({"user": UserVector(np.ones(5, dtype=np.float32))}, MismatchError, "fold the user in with this model"),
    ],
)
def test_what_cannot_be_designed_is_refused_with_the_mend(designer, asked, kind, message):
    with pytest.raises(kind, match=message):
        designer.design(**{"user": "ruby", "category": "bag", "n": 1, **asked})


def test_a_category_of_a_single_item_takes_its_unit_from_the_whole_catalogue(designer):
    (design,) = designer.design("ruby", "hat", 1, settings=FREE)
    assert design.percentile in (0.0, 100.0)
    assert [item for item, _ in design.nearest] == ["last"]


def test_a_recommender_that_does_not_look_cannot_design():
    with pytest.raises(SettingsError, match="does not look at pictures"):
        Designer(Popularity(PopularitySettings()), toy_gan(), device="cpu")


def test_a_control_cannot_design(recommender):
    recommender.whitening = None
    with pytest.raises(SettingsError, match="features=real"):
        Designer(recommender, toy_gan(), device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"catalogue": "d" * 64}, "different catalogues"),
        ({"category_names": ("shoe", "hat", "bag", "unborn")}, "order the categories"),
        ({"size": 8}, "--size 8"),
        ({"transform": "stretched"}, "stretched"),
    ],
)
def test_a_gan_that_does_not_fit_is_refused(recommender, changes, message):
    with pytest.raises(MismatchError, match=message):
        Designer(recommender, toy_gan(**changes), device="cpu")


def features_at(size, **changes):
    made = {
        "values": 0.5 * RAW,
        "has_image": np.array([item != "black" for item in IDS]),
        "encoder": "mean_colour",
        "encoder_digest": "e" * 64,
        "size": size,
        "transform": TRANSFORM,
        "images_digest": "i" * 64,
    }
    return Features(**{**made, **changes})


def test_features_of_the_real_items_at_the_gans_size_bridge_other_sizes(recommender):
    designer = Designer(recommender, toy_gan(size=8), real_features=features_at(8), device="cpu")
    real = designer.real_items("ruby", "bag")
    assert list(real.item_ids) == ["grey", "white"]  # red is seen, black has no picture
    np.testing.assert_allclose(real.scores, [0.5 * (128 / 127.5 - 1), 0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 16}, "--size 8"),
        ({"encoder_digest": "f" * 64}, "another encoder"),
        ({"values": RAW[:3]}, "features of 3 real items"),
        ({"transform": "stretched"}, "stretched"),
    ],
)
def test_features_that_do_not_fit_are_refused(recommender, changes, message):
    with pytest.raises(MismatchError, match=message):
        Designer(recommender, toy_gan(size=8), real_features=features_at(**{"size": 8, **changes}), device="cpu")


# ---- the real encoder, recommender and networks, hardly trained


@pytest.fixture(scope="module")
def real_designer(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("design")
    embed = EmbedSettings(size=32)
    train_recommender(
        tiny_bundle, "vbpr", VBPRSettings(width=8, epochs=2), out=folder / "vbpr", embed=embed, device="cpu"
    )
    small = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=16, batch_size=8)
    train_gan(tiny_bundle, small, out=folder / "gan", size=32, images_seen=8, device="cpu")
    designer = load_designer(folder / "vbpr", folder / "gan", device="cpu")
    designer.folder = folder
    return designer


def test_a_design_is_equal_to_the_bit_alone_and_among_others(real_designer):
    settings = DesignSettings(samples=3, starts=2, steps=2)
    among = real_designer.design("user-00", "dresses", 8, seed=11, settings=settings)
    for design in among:
        (alone,) = real_designer.design("user-00", "dresses", 1, seed=design.seed, settings=settings)
        assert same(design, alone)
    assert len({design.z.tobytes() for design in among}) == 8


def assert_agree(designs, others):
    for one, other in zip(designs, others, strict=True):
        assert one.seed == other.seed
        assert one.score == pytest.approx(other.score, rel=0.01)
        np.testing.assert_allclose(one.image.astype(int), other.image.astype(int), atol=2)


def test_blocks_that_mix_designs_as_on_an_accelerator_agree_to_rounding(real_designer, monkeypatch):
    settings = DesignSettings(samples=3, starts=2, steps=2)
    apart = real_designer.design("user-00", "dresses", 3, seed=11, settings=settings)
    mixed = functools.partial(search.blocks, device=torch.device("cuda"))
    monkeypatch.setattr(search, "blocks", lambda designs, rows_each, device: mixed(designs, rows_each))
    assert_agree(real_designer.design("user-00", "dresses", 3, seed=11, settings=settings), apart)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_designs(real_designer):
    folder = real_designer.folder
    on_gpu = load_designer(folder / "vbpr", folder / "gan", device="cuda")
    settings = DesignSettings(samples=3, starts=2, steps=5)
    designs = [designer.design("user-00", "dresses", 3, settings=settings) for designer in (real_designer, on_gpu)]
    assert_agree(*designs)


def test_what_differs_less_than_the_class_s_pictures_do_looks_the_same(real_designer):
    vivid = dataclasses.replace(
        real_designer.gan, generator=lambda z, classes: torch.tanh(3000 * real_designer.gan.generator(z, classes))
    )
    differs, eye, kinds = VisibleChange(vivid), PerceptualDistance("cpu"), np.array([0, 1])
    made = to_uint8(vivid.sample(torch.randn(64, vivid.recipe.latent_dim), torch.zeros(64, dtype=torch.int64)))
    usual = eye(made, np.roll(made, 1, axis=0))
    assert usual.min() * 0.5 < differs.alike(0) < np.median(usual)  # near the 5th percentile of other pairs
    assert differs.alike(1) > 0
    before = made[[0, 1]]
    assert not differs(before, before, kinds).any()
    noisy = np.clip(before.astype(int) + np.random.default_rng(0).integers(-2, 3, before.shape), 0, 255)
    assert not differs(before, noisy.astype(np.uint8), kinds).any()
    assert differs(before, 255 - before, kinds).all()


def test_a_design_whose_climb_is_not_seen_says_so(real_designer):
    # Hardly trained, the generator paints all but grey: whatever is climbed looks like what it was.
    short = DesignSettings(samples=2, starts=1, steps=1)
    told = [
        real_designer.design("user-01", "shoes", 1, settings=short.model_copy(update=changes))[0].settings
        for changes in ({}, {"visible": False}, {"steps": 0})
    ]
    assert [one.get("unseen") for one in told] == ["its climb would not be seen, so it is where that began", None, None]


def test_climbing_raises_the_objective_through_the_real_networks(real_designer):
    # Hardly trained, the generator paints all but grey, less than what rounding to 8 bits does: its contrast is raised.
    gan = real_designer.gan
    vivid = dataclasses.replace(gan, generator=lambda z, classes: torch.tanh(3000 * gan.generator(z, classes)))
    designer = Designer(real_designer.recommender, vivid, device="cpu")
    climbed, sampled = (
        designer.design("user-01", "shoes", 2, settings=DesignSettings(samples=2, starts=1, steps=steps, visible=False))
        for steps in (8, 0)
    )
    for after, before in zip(climbed, sampled, strict=True):
        assert after.settings["objective"] > before.settings["objective"] + 0.1


def test_real_items_score_as_the_recommender_prefers_their_pictures(real_designer, tiny_bundle):
    recommender = real_designer.recommender
    real = real_designer.real_items("user-02", "bags")
    pixels = load_pixels(tiny_bundle, 32)[tiny_bundle.primary_images[real.rows]]
    with torch.no_grad():
        features = recommender.load_encoder("cpu")(to_float(pixels))
        preferred = recommender.preference(recommender.user_vector("user-02"), features).numpy()
    # The catalogue's whitened features are kept in 16 bits.
    np.testing.assert_allclose(real.scores, preferred, atol=5e-3 * np.abs(preferred).max())


def test_a_gan_of_another_size_needs_the_bundle(real_designer, tiny_bundle, tmp_path):
    embed = EmbedSettings(size=16)
    train_recommender(
        tiny_bundle, "visual_knn", VisualKNNSettings(width=8), out=tmp_path / "knn", embed=embed, device="cpu"
    )
    small = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=16, batch_size=8)
    train_gan(tiny_bundle, small, out=tmp_path / "gan", size=32, images_seen=8, device="cpu")
    with pytest.raises(MismatchError, match="--data"):
        load_designer(tmp_path / "knn", tmp_path / "gan", device="cpu")
    with pytest.raises(MismatchError, match="--data"):
        load_designer(tmp_path / "knn", tmp_path / "gan", companions=[tmp_path / "knn"], device="cpu")
    designer = load_designer(
        tmp_path / "knn", tmp_path / "gan", bundle=tiny_bundle, companions=[tmp_path / "knn"], device="cpu"
    )
    at_32 = embed_items(tiny_bundle, EmbedSettings(size=32), device="cpu").values
    whitened = designer.recommender.whitening.apply(at_32)
    real = designer.real_items("user-00", "bags")
    unit = whitened[real.rows] / np.linalg.norm(whitened[real.rows], axis=1, keepdims=True)
    expected = unit @ designer.recommender.user_vector("user-00").values
    np.testing.assert_allclose(real.scores, expected, atol=1e-5)
    np.testing.assert_array_equal(designer.companions[0].features(real.rows), designer.sight.features(real.rows))


# ---- saving


def test_designs_come_back_from_their_folder_as_they_were(designer, tmp_path):
    designs = designer.design("ruby", "bag", 3, settings=DesignSettings(steps=1))
    table = save_designs(designs, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "designs.json").read_text()) == table
    first = table["designs"][0]
    assert {"image", "z", "category", "seed", "score", "percentile", "nearest", "settings"} <= set(first)
    assert set(first["nearest"][0]) == {"item_id", "distance"}
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / first["image"])), designs[0].image)
    for design, again in zip(designs, load_designs(tmp_path / "out"), strict=True):
        assert same(design, again)
        assert again.settings == design.settings


def test_saving_refuses_to_replace_and_leaves_nothing_half_written(designer, tmp_path):
    designs = designer.design("ruby", "bag", 2, settings=DesignSettings(steps=0))
    save_designs(designs, tmp_path / "out")
    with pytest.raises(ArtifactError, match="--overwrite"):
        save_designs(designs[:1], tmp_path / "out")
    broken = [designs[0], types.SimpleNamespace(image="no picture", as_json=designs[1].as_json)]
    with pytest.raises(AttributeError):
        save_designs(broken, tmp_path / "out", overwrite=True)
    assert len(load_designs(tmp_path / "out")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    save_designs(designs[:1], tmp_path / "out", overwrite=True)
    assert len(load_designs(tmp_path / "out")) == 1
    with pytest.raises(SettingsError, match="at least one"):
        save_designs([], tmp_path / "none")


def test_a_damaged_folder_is_told(designer, tmp_path):
    save_designs(designer.design("ruby", "bag", 1, settings=DesignSettings(steps=0)), tmp_path / "out")
    (tmp_path / "out" / "design-000.png").write_bytes(b"torn")
    with pytest.raises(ArtifactError, match="design again"):
        load_designs(tmp_path / "out")
    with pytest.raises(ArtifactError, match="holds no designs"):
        load_designs(tmp_path)


def test_presets_are_what_the_designer_accepts(designer):
    for name in PRESETS:
        (design,) = designer.design("ruby", "bag", 1, settings=load_preset(name).model_copy(update={"steps": 1}))
        assert (design.settings["preset"], design.settings["changed"]) == (name, {"steps": 1})
