"""The drawn catalogue: reproducible, on a clean ground, true to its columns, and recognisable when small."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recgan.dataset.boutique import CATEGORIES, draw_item, make_boutique
from recgan.dataset.boutique.canvas import Canvas, mirrored, outline
from recgan.dataset.boutique.colours import COLOURS, companion
from recgan.dataset.boutique.patterns import PATTERNS, make_fabric
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import decode_image, pixel_digest
from recgan.dataset.style import DESCRIPTOR_NAMES, silhouette, srgb_to_lab, style_descriptors
from recgan.errors import ArtifactError, SettingsError

ITEMS = 20 * len(CATEGORIES)


@pytest.fixture(scope="module")
def boutique(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_boutique(tmp_path_factory.mktemp("boutique") / "bundle", items=ITEMS, size=64, seed=5)


@pytest.fixture(scope="module")
def pixels(boutique: Bundle) -> np.ndarray:
    return np.stack([np.asarray(decode_image(data)) for data in boutique.iter_images()])


def test_the_bundle_holds_every_category_evenly(boutique: Bundle) -> None:
    assert len(CATEGORIES) >= 10
    assert boutique.category_names == list(CATEGORIES)
    assert boutique.items["category"].value_counts().unique().tolist() == [20]
    assert boutique.header.counts == {
        "items": ITEMS,
        "images": ITEMS,
        "interactions": 0,
        "users": 0,
        "categories": len(CATEGORIES),
    }
    assert (boutique.primary_images >= 0).all()
    assert boutique.items["price"].gt(0).all()
    assert boutique.items["colour"].isin(COLOURS).all()
    assert boutique.items["pattern"].isin(PATTERNS).all()
    assert boutique.items["gender"].isin(["women", "men", "unisex"]).all()
    assert boutique.items["name"].str.len().between(5, 100).all()


def test_stored_pictures_are_the_drawn_ones(boutique: Bundle) -> None:
    picture, row = draw_item(5, 17, 64)
    stored = Image.open(io.BytesIO(boutique.image_bytes([17])[0]))
    assert np.array_equal(np.asarray(stored), np.asarray(picture))
    assert boutique.image_index["sha256"][17] == pixel_digest(picture)
    assert boutique.items.iloc[17].to_dict() == row


def test_an_item_follows_from_seed_and_index_alone(boutique: Bundle, tmp_path: Path) -> None:
    fewer = make_boutique(tmp_path / "fewer", items=15, size=64, seed=5)
    assert fewer.image_index["sha256"].tolist() == boutique.image_index["sha256"].tolist()[:15]
    other = make_boutique(tmp_path / "other", items=15, size=64, seed=6)
    assert not set(other.image_index["sha256"]) & set(boutique.image_index["sha256"])


def test_no_two_items_are_alike(boutique: Bundle) -> None:
    assert boutique.image_index["sha256"].is_unique


def test_figures_stand_free_on_an_almost_white_ground(pixels: np.ndarray) -> None:
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1)
    assert border.min() >= 225
    area = silhouette(pixels).mean(axis=(1, 2))
    assert area.min() > 0.08
    assert area.max() < 0.75


def test_the_colour_column_is_the_colour_of_plain_items(boutique: Bundle, pixels: np.ndarray) -> None:
    """Of all named colours, the item's own is among the nearest to what is seen (light and folds shift it a little)."""
    plain = boutique.items["pattern"].eq("plain") & boutique.items["category"].isin(
        ["skirt", "trousers", "dress", "boot"]
    )
    names = list(COLOURS)
    palette = srgb_to_lab(np.array([COLOURS[name] for name in names], dtype=np.uint8)).T
    ranks = []
    for row in np.flatnonzero(plain):
        seen = np.median(pixels[row][silhouette(pixels[row : row + 1])[0]], axis=0).astype(np.uint8)
        distance = np.linalg.norm(palette - srgb_to_lab(seen), axis=1)
        ranks.append(int((distance < distance[names.index(boutique.items["colour"][row])]).sum()))
    assert len(ranks) >= 15
    assert np.mean(np.array(ranks) <= 3) > 0.85


def test_patterned_items_repeat_and_plain_ones_do_not(boutique: Bundle, pixels: np.ndarray) -> None:
    repeats = style_descriptors(pixels)[:, DESCRIPTOR_NAMES.index("periodicity")]
    # On shoes and bags other things than the cloth repeat (laces, soles).
    cloth = boutique.items["category"].isin(["T-shirt", "dress", "skirt", "trousers", "shorts", "sweater"])
    plain = repeats[cloth & boutique.items["pattern"].eq("plain")]
    striped = repeats[cloth & boutique.items["pattern"].isin(["striped", "gingham", "dotted"])]
    assert min(len(plain), len(striped)) >= 10
    pairs = np.subtract.outer(striped.astype(float), plain.astype(float))
    assert (pairs > 0).mean() > 0.85
    assert np.median(striped) > 3 * np.median(plain)


def test_categories_are_told_apart_at_32_pixels(pixels: np.ndarray) -> None:
    """By the nearest mean, the plainest classifier there is, on the outlines of items that it has not seen."""
    small = np.stack([np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX)) for image in pixels])
    outlines = silhouette(small).reshape(len(small), -1).astype(np.float64)
    category = np.arange(ITEMS) % len(CATEGORIES)
    half = ITEMS // 2
    means = np.stack([outlines[:half][category[:half] == index].mean(axis=0) for index in range(len(CATEGORIES))])
    distance = ((outlines[half:, None] - means) ** 2).sum(axis=2)
    accuracy = (distance.argmin(axis=1) == category[half:]).mean()
    # T-shirt, shirt, sweater and jacket share outlines; guessing among all would give 0.08.
    assert accuracy > 0.65


def test_attributes_vary_within_each_category(boutique: Bundle) -> None:
    for _, items in boutique.items.groupby("category"):
        assert items["colour"].nunique() >= 7
        assert items["pattern"].nunique() >= 2
        assert items["price"].nunique() >= 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": 0}, "items=0"),
        ({"items": 3, "size": 48}, "size=48: .* 64 to 128"),
        ({"items": 3, "size": 100}, "size=100: .* steps of 8"),
        ({"items": 3, "seed": -1}, "seed=-1"),
    ],
)
def test_bad_settings_are_refused_by_name(options: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        make_boutique(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_is_asked_for(tmp_path: Path) -> None:
    make_boutique(tmp_path / "out", items=2, size=64)
    with pytest.raises(ArtifactError, match="--overwrite"):
        make_boutique(tmp_path / "out", items=3, size=64)
    assert len(make_boutique(tmp_path / "out", items=3, size=64, overwrite=True).items) == 3


def test_a_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(step: str, done: int, total: int | None = None, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_boutique(tmp_path / "out", items=4, size=64, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [64, 96, 128])
def test_an_item_looks_the_same_at_every_size(size: int) -> None:
    picture, row = draw_item(1, 4, size)
    smallest, same = draw_item(1, 4, 64)
    assert picture.size == (size, size)
    assert row == same
    difference = np.asarray(picture.resize((32, 32), Image.Resampling.BOX), dtype=float)
    difference -= np.asarray(smallest.resize((32, 32), Image.Resampling.BOX), dtype=float)
    assert np.abs(difference).mean() < 4


def test_outline_flattens_curves_exactly() -> None:
    quadratic = outline([(0.0, 0.0), (0.5, 1.0, 1.0, 0.0)])
    assert quadratic[6] == pytest.approx([0.5, 0.5])  # t = 1/2: (P0 + 2 P1 + P2) / 4
    cubic = outline([(0.0, 0.0), (0.0, 1.0, 1.0, 1.0, 1.0, 0.0)])
    assert cubic[6] == pytest.approx([0.5, 0.75])  # t = 1/2: (P0 + 3 P1 + 3 P2 + P3) / 8


def test_mirrored_outlines_are_symmetric_and_masks_have_the_right_area() -> None:
    canvas = Canvas(64, np.random.default_rng(0), np.ones(3))
    house = mirrored([(0.5, 0.25), (0.75, 0.5), (0.75, 0.75), (0.5, 0.75)])
    mask = canvas.mask(house)
    assert np.abs(mask - mask[:, ::-1]).mean() < 0.005
    # A square of side 1/2 under a triangle of base 1/2 and height 1/4, less the square's upper half.
    assert mask.mean() == pytest.approx(0.5 * 0.25 + 0.5 * 0.25 / 2, abs=0.006)


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_every_pattern_gives_colours(pattern: str) -> None:
    axis = np.linspace(-0.4, 0.4, 96, dtype=np.float32)
    u, v = np.meshgrid(axis, axis)
    cloth = make_fabric(np.random.default_rng(3), pattern, "navy", np.array([0.15, 0.2, 0.35], dtype=np.float32))(u, v)
    cloth = np.broadcast_to(cloth, (3, 96, 96))
    assert cloth.min() > -0.3
    assert cloth.max() < 1.3
    varies = cloth.std(axis=(1, 2)).max()
    assert varies < 1e-6 if pattern == "plain" else varies > 0.002


def test_companions_differ_from_their_colour() -> None:
    for name in COLOURS:
        for seed in range(10):
            assert companion(np.random.default_rng(seed), name)[0] != name
