"""Simulated users: the descriptors by hand, the taste by its formula, the interactions by what they promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recgan.config import SimulateSettings
from recgan.dataset.boutique import make_boutique
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers import import_bundle
from recgan.dataset.oracle import StyleOracle, StyleStandard, taste_coefficients
from recgan.dataset.pixels import letterbox, load_pixels
from recgan.dataset.simulate import PRESETS, TastePreset, simulate_users
from recgan.dataset.split import image_split
from recgan.dataset.style import DESCRIPTOR_NAMES, silhouette, srgb_to_lab, style_descriptors
from recgan.errors import ArtifactError, DataError, NotFoundError, SettingsError

SETTINGS = SimulateSettings(users=60, interactions=777, seed=4)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_boutique(tmp_path_factory.mktemp("catalogue") / "boutique", items=260, size=64, seed=1)


@pytest.fixture(scope="module")
def simulated(catalogue: Bundle) -> Bundle:
    return simulate_users(catalogue, catalogue.path.with_name("users"), SETTINGS)


@pytest.fixture(scope="module")
def oracle(simulated: Bundle) -> StyleOracle:
    return StyleOracle.load(simulated)


def described(image: np.ndarray) -> dict[str, float]:
    return dict(zip(DESCRIPTOR_NAMES, style_descriptors(image[None])[0].tolist()))


def on_white(height: int, width: int, colour: tuple[int, int, int] = (0, 0, 255)) -> np.ndarray:
    """A rectangle in the middle of a white square of 64 pixels."""
    image = np.full((64, 64, 3), 255, dtype=np.uint8)
    top, left = (64 - height) // 2, (64 - width) // 2
    image[top : top + height, left : left + width] = colour
    return image


def banded(period: int, *, axis: int, height: int = 48, width: int = 48) -> np.ndarray:
    """A rectangle of light and dark bands; ``axis`` 0: the bands follow each other downwards."""
    image = on_white(height, width, (30, 30, 30))
    place = np.arange(64).reshape((64, 1) if axis == 0 else (1, 64))
    light = np.broadcast_to(place // (period // 2) % 2 == 0, (64, 64)) & (image[..., 0] == 30)
    image[light] = 200
    return image


# ---- descriptors


@pytest.mark.parametrize(
    ("colour", "lab"),
    [
        # Published values for sRGB's primaries under D65.
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colours(colour: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert srgb_to_lab(np.array(colour, dtype=np.uint8)) == pytest.approx(lab, abs=0.05)


def test_descriptors_of_a_rectangle() -> None:
    found = described(on_white(40, 20))
    assert found["lightness"] == pytest.approx(32.30, abs=0.05)
    assert found["green_red"] == pytest.approx(79.19, abs=0.05)
    assert found["blue_yellow"] == pytest.approx(-107.86, abs=0.05)
    for name in ("lightness_spread", "colour_spread", "edge_density", "periodicity"):
        assert found[name] == pytest.approx(0, abs=1e-3)
    # n pixels in a row spread by sqrt((n^2 - 1) / 12 + 1 / 12) = n / sqrt(12).
    assert found["fill"] == pytest.approx(1, abs=1e-4)
    assert found["aspect"] == pytest.approx(np.log(2), abs=1e-4)


def test_spreads_and_edges_of_two_halves() -> None:
    image = on_white(40, 40, (0, 0, 0))
    image[12:52, 32:52] = 119
    found = described(image)
    assert found["lightness"] == pytest.approx(50.03 / 2, abs=0.05)
    assert found["lightness_spread"] == pytest.approx(50.03 / 2, abs=0.05)
    assert found["colour_spread"] == pytest.approx(0, abs=0.05)
    # Two pixels inside the outline 36 columns are left; the step shows in the two beside it.
    assert found["edge_density"] == pytest.approx(2 / 36, abs=1e-6)


def test_colour_spread_is_of_colour_not_of_lightness() -> None:
    image = on_white(40, 40, (255, 0, 0))
    image[12:52, 32:52] = (0, 0, 255)
    red, blue = np.array([80.09, 67.20]), np.array([79.19, -107.86])
    assert described(image)["colour_spread"] == pytest.approx(np.linalg.norm(red - blue) / 2, abs=0.1)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("period", [6, 8, 12])
def test_bands_are_periodic(period: int, axis: int) -> None:
    # The correlation of a square wave falls to -1 after half a period and is back at 1 after a whole one.
    assert described(banded(period, axis=axis))["periodicity"] == pytest.approx(2, abs=0.15)


def test_shading_is_not_periodic() -> None:
    image = on_white(48, 48)
    image[8:56, 8:56] = np.linspace(20, 200, 48).astype(np.uint8)[None, :, None]
    assert described(image)["periodicity"] < 0.02


def test_a_flat_surface_with_noise_is_not_periodic() -> None:
    image = on_white(48, 48, (120, 120, 120))
    image[8:56, 8:56] += np.random.default_rng(0).integers(0, 4, (48, 48, 1), dtype=np.uint8)
    assert described(image)["periodicity"] < 0.1


def test_a_white_thing_on_white_is_known_by_its_outline() -> None:
    image = on_white(40, 30, (90, 90, 90))
    image[13:51, 18:46] = 255
    mask = silhouette(image[None])[0]
    expected = np.zeros((64, 64), dtype=bool)
    expected[12:52, 17:47] = True
    assert np.array_equal(mask, expected)


def test_the_gap_between_two_legs_is_not_part_of_the_figure() -> None:
    image = on_white(50, 40)
    image[25:64, 28:36] = 255
    mask = silhouette(image[None])[0]
    assert not mask[30:64, 28:36].any()
    assert mask[20, 28:36].all()


def test_an_image_without_a_figure_is_taken_whole() -> None:
    blank = np.full((1, 64, 64, 3), 200, dtype=np.uint8)
    assert silhouette(blank).all()
    assert np.isfinite(style_descriptors(blank)).all()
    assert style_descriptors(blank)[0, 0] == pytest.approx(80.6, abs=0.1)


def test_the_ground_may_have_any_colour() -> None:
    image = on_white(40, 20)
    green = image.copy()
    green[(image == 255).all(axis=-1)] = (60, 160, 90)
    assert style_descriptors(green[None]) == pytest.approx(style_descriptors(image[None]), abs=1e-4)


def test_images_of_another_side_are_scaled_first() -> None:
    rng = np.random.default_rng(2)
    large = np.stack([np.asarray(Image.fromarray(banded(8, axis=a)).resize((150, 150))) for a in (0, 1)])
    large[:, 40:60, 50:80] = rng.integers(0, 255, (2, 20, 30, 3))
    scaled = np.stack([letterbox(Image.fromarray(image), 64) for image in large])
    assert np.array_equal(style_descriptors(large), style_descriptors(scaled))


def test_each_image_is_described_by_itself() -> None:
    images = np.random.default_rng(3).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8)
    together = style_descriptors(images)
    assert together.shape == (5, len(DESCRIPTOR_NAMES))
    assert together.dtype == np.float32
    alone = np.concatenate([style_descriptors(images[i : i + 1]) for i in range(5)])
    assert together == pytest.approx(alone, rel=1e-5, abs=1e-5)
    assert style_descriptors(images[:0]).shape == (0, len(DESCRIPTOR_NAMES))


@pytest.mark.parametrize("shape", [(64, 64, 3), (2, 64, 32, 3), (2, 64, 64, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        style_descriptors(np.zeros(shape, dtype=np.uint8))
    with pytest.raises(ValueError, match="float32"):
        style_descriptors(np.zeros((1, 64, 64, 3), dtype=np.float32))


# ---- standardising and taste


def test_standardising_within_the_category_by_hand() -> None:
    # Category 0: 1, 3 (mean 2, squares 2); category 1: 10 alone (squares 0); category 2: no picture.
    style = np.array([[1.0], [3.0], [10.0]], dtype=np.float32)
    standard = StyleStandard.fitted(style, np.array([0, 0, 1]), 3, shrinkage=2.0, limit=3.0)
    pooled = 2 / 3
    assert standard.mean[:, 0] == pytest.approx([2, 10, 14 / 3])
    assert standard.std[:, 0] ** 2 == pytest.approx([(2 + 2 * pooled) / 4, 2 * pooled / 3, pooled])
    scores = standard(np.array([[3.0], [10.0], [99.0]], dtype=np.float32), np.array([0, 1, 1]))
    assert scores[:, 0] == pytest.approx([1 / np.sqrt((2 + 2 * pooled) / 4), 0, 3])


def test_a_descriptor_that_never_varies_stays_finite() -> None:
    standard = StyleStandard.fitted(np.full((4, 1), 5.0, np.float32), np.zeros(4, np.int64), 1, shrinkage=20, limit=3)
    assert standard(np.full((1, 1), 5.0, np.float32), np.zeros(1, np.int64)) == pytest.approx(0)


def test_taste_follows_its_formula() -> None:
    rng = np.random.default_rng(0)
    style = rng.standard_normal((500, 4)).astype(np.float32)
    ideals = rng.standard_normal((7, 4)).astype(np.float32)
    weights = rng.dirichlet(np.ones(4), 7).astype(np.float32)
    coefficients, constants = taste_coefficients(ideals, weights, style, 2.5)
    found = coefficients @ np.concatenate([style**2, style], axis=1).T + constants[:, None]
    distance = (weights[:, None] * (style - ideals[:, None]) ** 2).sum(axis=2)
    expected = -2.5 * (distance - distance.mean(axis=1, keepdims=True)) / distance.std(axis=1, keepdims=True)
    assert found == pytest.approx(expected, abs=2e-4)
    assert found.mean(axis=1) == pytest.approx(0, abs=1e-3)
    assert found.std(axis=1) == pytest.approx(2.5, rel=1e-3)


def test_taste_v1_is_frozen() -> None:
    """A change of these figures is a new preset with a new name: published results stand on them."""
    assert PRESETS["taste-v1"] == TastePreset(
        taste_scale=2.2,
        affinity_scale=2.0,
        popularity_scale=0.4,
        more_categories=2.0,
        most_categories=6,
        exposed=1000,
        activity_spread=0.6,
        fewest=3,
        shrinkage=20.0,
        limit=3.0,
    )


# ---- the simulated bundle


def test_interactions_are_as_many_as_asked_and_each_once(simulated: Bundle) -> None:
    log = simulated.interactions
    assert len(log) == 777
    assert log["user_id"].nunique() == 60
    assert log.groupby("user_id").size().min() >= 3
    assert log.groupby("user_id").size().nunique() > 5
    assert not log.duplicated(["user_id", "item_id"]).any()
    assert sorted(log["user_id"].unique()) == [f"user-{number:05d}" for number in range(1, 61)]
    assert (log["event"] == "purchase").all()


def test_times_rise_within_each_user_and_span_a_year(simulated: Bundle) -> None:
    times = simulated.interactions.groupby("user_id")["timestamp"]
    assert times.is_monotonic_increasing.all()
    span = simulated.interactions["timestamp"]
    assert span.min() >= pd.Timestamp("2025-01-01")
    assert span.max() < pd.Timestamp("2026-01-01")
    assert span.max() - span.min() > pd.Timedelta(days=300)


def test_held_out_items_are_unavailable_and_never_shown(catalogue: Bundle, simulated: Bundle) -> None:
    held_out = image_split(catalogue)[catalogue.primary_images] == 2
    assert 0 < held_out.sum() < 100
    assert np.array_equal(simulated.items["available"].to_numpy(), ~held_out)
    taken = simulated.item_rows(simulated.interactions["item_id"].to_numpy())
    assert not held_out[taken].any()


def test_the_catalogue_and_its_caches_are_shared(catalogue: Bundle, simulated: Bundle) -> None:
    assert simulated.catalogue_digest == catalogue.catalogue_digest
    assert simulated.cache_folder == catalogue.cache_folder
    part = simulated.image_parts[0]
    assert (simulated.path / part).samefile(catalogue.path / part)
    columns = [column for column in catalogue.items if column != "available"]
    pd.testing.assert_frame_equal(simulated.items[columns], catalogue.items[columns])
    assert simulated.header.licence == catalogue.header.licence
    assert simulated.header.facts["boutique"] == catalogue.header.facts["boutique"]
    assert simulated.header.facts["oracle"]["preset"] == "taste-v1"
    Bundle.open(simulated.path, verify=True)


def test_a_seed_gives_the_same_users_again(catalogue: Bundle, simulated: Bundle, tmp_path: Path) -> None:
    again = simulate_users(catalogue, tmp_path / "again", SETTINGS)
    assert again.digest == simulated.digest
    other = simulate_users(catalogue, tmp_path / "other", SETTINGS.model_copy(update={"seed": 5}))
    assert other.digest != simulated.digest
    assert other.header.counts["interactions"] == 777


def test_unavailable_items_of_the_shop_are_not_shown(catalogue: Bundle, tmp_path: Path) -> None:
    sold_out = catalogue.items["category"].eq("bag").to_numpy()
    with BundleWriter(tmp_path / "shop", name="shop", licence="CC0-1.0", source="test") as writer:
        writer.link_images(catalogue)
        writer.set_items(catalogue.items.assign(available=~sold_out))
        writer.refuse("image", "lost", "missing_image", "no file", "items.csv:7")
    made = simulate_users(Bundle.open(tmp_path / "shop"), tmp_path / "users", SETTINGS)
    taken = made.item_rows(made.interactions["item_id"].to_numpy())
    assert not sold_out[taken].any()
    assert not made.items["available"].to_numpy()[sold_out].any()
    assert made.quarantine[["id", "reason", "where"]].to_numpy().tolist() == [["lost", "missing_image", "items.csv:7"]]


def test_everybody_may_take_everything(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(items=12)
    settings = SimulateSettings(users=5, interactions=60, ideals="random")
    made = simulate_users(bundle, tmp_path / "out", settings)
    assert made.interactions.groupby("user_id")["item_id"].nunique().tolist() == [12] * 5


def test_random_ideals_hold_nothing_back(catalogue: Bundle, tmp_path: Path) -> None:
    made = simulate_users(catalogue, tmp_path / "out", SETTINGS.model_copy(update={"ideals": "random"}))
    assert made.items["available"].all()
    found = StyleOracle.load(made)
    assert (found.ideal_items == -1).all()
    assert np.abs(found.ideals).max() <= 3
    assert found.ideals.std() == pytest.approx(1, abs=0.1)


# ---- the oracle


def test_utility_is_taste_plus_affinity_plus_popularity(simulated: Bundle, oracle: StyleOracle) -> None:
    users = oracle.user_ids[[3, 41, 8]]
    pixels = load_pixels(simulated, 64)[simulated.primary_images]
    taste = oracle.taste(users, pixels, simulated.items["category"].tolist())
    expected = taste + oracle.popularity
    for row, user in enumerate([3, 41, 8]):
        for category, liking in zip(oracle.liked[user], oracle.affinity[user]):
            expected[row, simulated.category_index == category] += liking
    assert oracle.utility(users) == pytest.approx(expected, abs=1e-3)
    assert oracle.utility(users[:0]).shape == (0, 260)


def test_nothing_is_liked_better_than_the_ideal_itself(simulated: Bundle, oracle: StyleOracle) -> None:
    pixels = load_pixels(simulated, 64)[simulated.primary_images]
    taste = oracle.taste(oracle.user_ids, pixels, simulated.items["category"].tolist())
    own = taste[np.arange(60), oracle.ideal_items]
    assert (own >= taste.max(axis=1) - 1e-3).all()
    available = simulated.items["available"].to_numpy()
    assert not available[oracle.ideal_items].any()
    assert np.array_equal(oracle.liked[:, 0], simulated.category_index[oracle.ideal_items])


def test_taste_has_the_presets_scale_for_every_user(simulated: Bundle, oracle: StyleOracle) -> None:
    shown = simulated.items["available"].to_numpy()
    pixels = load_pixels(simulated, 64)[simulated.primary_images]
    taste = oracle.taste(oracle.user_ids, pixels[shown], simulated.items["category"][shown].tolist())
    assert taste.mean(axis=1) == pytest.approx(0, abs=1e-2)
    assert taste.std(axis=1) == pytest.approx(2.2, rel=1e-2)


def test_taste_sees_pixels_of_any_side_and_the_category_given(simulated: Bundle, oracle: StyleOracle) -> None:
    pixels = np.stack([np.asarray(Image.fromarray(banded(8, axis=0)).resize((96, 96)))] * 2)
    taste = oracle.taste(["user-00001", "user-00002"], pixels, ["skirt", "hat"])
    assert taste.shape == (2, 2)
    assert np.isfinite(taste).all()
    assert taste[0, 0] != taste[0, 1]  # usual for a hat is not usual for a skirt
    assert taste[0, 0] != taste[1, 0]


def test_users_take_what_the_oracle_says_they_like(simulated: Bundle, oracle: StyleOracle) -> None:
    def auc(scores: np.ndarray) -> float:
        shown = simulated.items["available"].to_numpy()
        found = []
        for user, log in enumerate(simulated.interactions.groupby("user_id")["item_id"]):
            taken = np.zeros(len(shown), dtype=bool)
            taken[simulated.item_rows(log[1].to_numpy())] = True
            below = scores[user][taken][:, None] > scores[user][shown & ~taken]
            found.append(below.mean())
        return float(np.mean(found))

    utility = oracle.utility(oracle.user_ids)
    assert auc(utility) > 0.8
    assert auc(utility) > auc(oracle.utility(np.roll(oracle.user_ids, 1))) + 0.15
    # Each part alone tells something, and less.
    assert 0.52 < auc(np.broadcast_to(oracle.popularity, utility.shape)) < auc(utility) - 0.1


def test_popularity_has_a_long_tail_and_shows_in_the_counts(catalogue: Bundle, tmp_path: Path) -> None:
    made = simulate_users(catalogue, tmp_path / "many", SimulateSettings(users=400, interactions=4000, seed=0))
    counts = made.interactions["item_id"].value_counts().reindex(made.items["item_id"], fill_value=0).to_numpy()
    shown = made.items["available"].to_numpy()
    found = StyleOracle.load(made)
    assert np.corrcoef(found.popularity[shown], np.log1p(counts[shown]))[0, 1] > 0.4


def test_choices_are_in_proportion_to_the_exponential_of_utility(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Users who take 3 of 4 items leave one; by the Gumbel trick its odds follow from the utilities alone."""
    bundle = make_bundle(items=4, users=1)
    settings = SimulateSettings(users=4000, interactions=12000, ideals="random")
    made = simulate_users(bundle, tmp_path / "out", settings)
    found = StyleOracle.load(made)
    weight = np.exp(found.utility(found.user_ids).astype(np.float64))
    expected = np.zeros((4000, 4))
    for one in range(4):
        for two in set(range(4)) - {one}:
            for three in set(range(4)) - {one, two}:
                left = ({0, 1, 2, 3} - {one, two, three}).pop()
                total = weight.sum(axis=1)
                first = weight[:, one] / total
                second = weight[:, two] / (total - weight[:, one])
                third = weight[:, three] / (total - weight[:, one] - weight[:, two])
                expected[:, left] += first * second * third
    taken = made.interactions["item_id"].value_counts().reindex(made.item_ids).to_numpy()
    error = np.sqrt((expected * (1 - expected)).sum(axis=0))
    assert np.abs((4000 - taken) - expected.sum(axis=0)).max() < 4 * error.max()


# ---- what cannot be done


@pytest.mark.parametrize(
    ("users", "interactions", "message"),
    [(60, 179, "interactions=179: .* make 180 to"), (60, 60 * 260, "at most all 2.. available items")],
)
def test_impossible_numbers_are_refused(
    catalogue: Bundle, tmp_path: Path, users: int, interactions: int, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        simulate_users(catalogue, tmp_path / "out", SimulateSettings(users=users, interactions=interactions))
    assert list(tmp_path.iterdir()) == []


def test_too_small_a_catalogue_is_refused(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    two = make_bundle(items=2, users=0)
    with pytest.raises(DataError, match=r"only 2 items are available .* at least 3"):
        simulate_users(two, tmp_path / "out", SimulateSettings(users=1, interactions=3, ideals="random"))
    with pytest.raises(DataError, match=r"no item whose picture is held out.*--ideals random"):
        simulate_users(two, tmp_path / "out", SimulateSettings(users=1, interactions=3))


def test_a_catalogue_without_pictures_is_refused(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "bare", name="bare", licence="CC0-1.0", source="test") as writer:
        writer.set_items(pd.DataFrame({"item_id": list("abcd"), "category": "hat"}))
    settings = SimulateSettings(users=1, interactions=3, ideals="random")
    with pytest.raises(DataError, match="no images"):
        simulate_users(Bundle.open(tmp_path / "bare"), tmp_path / "out", settings)


def test_real_users_have_no_oracle(tiny_bundle: Bundle) -> None:
    with pytest.raises(DataError, match="not simulated; make some with 'recgan simulate"):
        StyleOracle.load(tiny_bundle)


def test_unknown_names_are_told_with_the_nearest_one(oracle: StyleOracle) -> None:
    image = on_white(40, 20)[None]
    with pytest.raises(NotFoundError, match="'user-00099' is not one of the 60 simulated users"):
        oracle.utility(["user-00001", "user-00099"])
    with pytest.raises(NotFoundError, match="no category 'skrit'; did you mean 'skirt'"):
        oracle.taste(["user-00001"], image, ["skrit"])
    with pytest.raises(ValueError, match="2 categories for 1 images"):
        oracle.taste(["user-00001"], image, ["skirt", "hat"])


@pytest.mark.parametrize("part", ["oracle.json", "oracle.safetensors"])
def test_a_damaged_oracle_is_told(catalogue: Bundle, tmp_path: Path, part: str) -> None:
    made = simulate_users(catalogue, tmp_path / "out", SimulateSettings(users=3, interactions=9))
    whole = (made.path / part).read_bytes()
    changed = bytearray(whole)
    changed[-3] ^= 1  # a number is another number, and nothing else tells
    for damaged in (whole[: len(whole) // 2], bytes(changed)):
        (made.path / part).write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"oracle is damaged .*; simulate the users again"):
            StyleOracle.load(made)


def test_an_item_without_a_picture_is_of_neutral_taste(catalogue: Bundle, tmp_path: Path) -> None:
    items = pd.concat([catalogue.items, pd.DataFrame([{"item_id": "bare", "category": "hat", "available": True}])])
    with BundleWriter(tmp_path / "shop", name="shop", licence="CC0-1.0", source="test") as writer:
        writer.link_images(catalogue)
        writer.set_items(items)
    made = simulate_users(Bundle.open(tmp_path / "shop"), tmp_path / "out", SETTINGS)
    found = StyleOracle.load(made)
    assert (found.style[-1] == 0).all()
    assert np.isfinite(found.utility(found.user_ids[:5])).all()


@pytest.mark.slow
@pytest.mark.real_data
def test_taste_v1_is_calibrated_on_real_photos(real_data: Path, tmp_path: Path) -> None:
    """Popularity's AUC is about .59 and the oracle's own about .85: what the preset's comment states."""
    import_bundle("fashion-product-images", real_data / "fashion-product-images", tmp_path / "photos")
    made = simulate_users(Bundle.open(tmp_path / "photos"), tmp_path / "users", SimulateSettings())
    found = StyleOracle.load(made)
    log = made.interactions
    rows = made.item_rows(log["item_id"].to_numpy())
    last = ~log["user_id"].duplicated(keep="last").to_numpy()
    popularity = np.bincount(rows[~last], minlength=len(made.items)).astype(np.float32)
    shown = made.items["available"].to_numpy()
    aucs = []
    for user, index in log.groupby("user_id").indices.items():
        unseen = shown.copy()
        unseen[rows[index]] = False
        for scores in (popularity, found.utility([user])[0]):
            positive = scores[rows[index[-1]]]
            aucs.append((scores[unseen] < positive).mean() + (scores[unseen] == positive).mean() / 2)
    popular, ceiling = np.reshape(aucs, (-1, 2)).mean(axis=0)
    assert popular == pytest.approx(0.59, abs=0.02)
    assert ceiling == pytest.approx(0.85, abs=0.02)
