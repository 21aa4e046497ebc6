"""Sheets and histograms: what stands where, and what odd bundles do to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import decode_image, letterbox
from recgan.dataset.sheets import fit_text, image_grid, label_font, save_picture
from recgan.dataset.show import MOST_CATEGORIES, show_bundle
from recgan.errors import ArtifactError, SettingsError, StorageError
from tests.conftest import draw_item

ALL = [
    "items.png",
    "image-sizes.png",
    "items-per-category.png",
    "interactions-per-item.png",
    "interactions-per-user.png",
    "interactions-over-time.png",
]


def random_images(number: int, side: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (number, side, side, 3), dtype=np.uint8)


# ---- sheets


def test_images_stand_where_they_should() -> None:
    rows = [random_images(3), random_images(1, seed=1)]
    sheet = np.asarray(image_grid(rows, padding=2, scale=1))
    assert sheet.shape == (2 + 2 * (4 + 2), 2 + 3 * (4 + 2), 3)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = 2 + 6 * r, 2 + 6 * c
            assert np.array_equal(sheet[top : top + 4, left : left + 4], image)
    blank = np.asarray(image_grid([np.full((3, 4, 4, 3), 9, np.uint8), np.full((1, 4, 4, 3), 9, np.uint8)], padding=2))
    assert (blank == 9).all(axis=-1).sum() == 4 * 16
    assert (blank == 255).all(axis=-1).sum() == blank.shape[0] * blank.shape[1] - 4 * 16


def test_scale_repeats_each_pixel() -> None:
    images = random_images(2)
    sheet = np.asarray(image_grid([images], padding=0, scale=3))
    assert sheet.shape == (12, 24, 3)
    assert np.array_equal(sheet[::3, ::3], np.concatenate(list(images), axis=1))
    assert np.array_equal(sheet[1::3, 2::3], sheet[::3, ::3])


def test_labels_are_at_the_left_of_their_rows() -> None:
    rows = [np.full((2, 20, 20, 3), 128, np.uint8)] * 3
    plain = image_grid(rows)
    labelled = np.asarray(image_grid(rows, ["one", "", "three"]))
    extra = labelled.shape[1] - plain.width
    assert labelled.shape[0] == plain.height
    assert np.array_equal(labelled[:, extra:], np.asarray(plain))
    ink = (labelled[:, :extra] < 200).any(axis=(1, 2))
    tops = [2 + 22 * r for r in range(3)]
    assert [bool(ink[top : top + 20].any()) for top in tops] == [True, False, True]


def test_a_title_goes_above() -> None:
    rows = [np.full((6, 20, 20, 3), 128, np.uint8)]
    plain = np.asarray(image_grid(rows))
    titled = np.asarray(image_grid(rows, title="a title that is much too long for so small a sheet"))
    assert titled.shape[1] == plain.shape[1]
    extra = titled.shape[0] - plain.shape[0]
    assert np.array_equal(titled[extra:], plain)
    assert (titled[:extra] < 128).any()
    assert (titled[:extra, -2:] == 255).all()


def test_rows_may_be_empty() -> None:
    empty = np.empty((0, 4, 4, 3), dtype=np.uint8)
    assert image_grid([empty, random_images(2)], ["none", "two"]).height == 2 + 2 * 6
    assert image_grid([empty], padding=1).size == (1, 6)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([], None, "at least one row"),
        ([random_images(1), random_images(1, 5)], None, r"row 1: expected uint8 \[n, 4, 4, 3\]"),
        ([random_images(1).astype(np.float32)], None, "row 0: expected uint8"),
        ([random_images(1)[0]], None, "row 0: expected uint8"),
        ([random_images(1)], ["a", "b"], "2 labels for 1 rows"),
    ],
)
def test_wrong_rows_are_refused(rows: list[np.ndarray], labels: list[str] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_grid(rows, labels)


def test_long_texts_are_cut_to_the_width() -> None:
    for width in (30, 77, 200):
        line = fit_text("An extraordinarily long category name " * 4, 12, width)
        assert line.endswith("…")
        assert label_font(line, 12).getlength(line) <= width
    assert fit_text("bags", 12, 200) == "bags"
    assert fit_text("two\nlines\x00 and\ta tab", 12, 400) == "two lines and a tab"
    assert fit_text("", 12, 40) == ""


def test_the_font_has_other_scripts() -> None:
    """A glyph that the font lacks is drawn as the same box as any other that it lacks."""

    def drawn(char: str) -> bytes:
        return bytes(label_font(char, 16).getmask(char))

    lacking = drawn("\U0010ffff")
    for char in ("é", "Ж", "ω", "ğ", "ع", "€"):
        assert drawn(char) != lacking


@pytest.mark.parametrize("ending", ["png", "PNG", "webp", "jpg"])
def test_pictures_are_written_by_their_ending(ending: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.full((20, 30, 3), (200, 60, 40), np.uint8))
    path = save_picture(image, tmp_path / "new" / f"sheet.{ending}")
    assert [p.name for p in path.parent.iterdir()] == [f"sheet.{ending}"]
    with Image.open(path) as read:
        assert read.format == {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}[ending.lower()]
        assert np.abs(np.asarray(read.convert("RGB"), dtype=int) - np.asarray(image)).max() <= 4


def test_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    with pytest.raises(SettingsError, match=r"sheet.gif.*\.png, \.webp"):
        save_picture(image, tmp_path / "sheet.gif")
    with pytest.raises(SettingsError, match=r"too large for WebP; write it as \.png"):
        save_picture(Image.new("RGB", (16384, 1)), tmp_path / "sheet.webp")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        save_picture(image, tmp_path / "file" / "sheet.png")


# ---- show


def test_everything_that_the_bundle_has_is_shown(tiny_bundle: Bundle, tmp_path: Path) -> None:
    paths = show_bundle(tiny_bundle, tmp_path / "out")
    assert [path.name for path in paths] == ALL
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(ALL)
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 100


def cells(path: Path, columns: int) -> np.ndarray:
    """Cut a sheet of 96-pixel cells with two pixels between into uint8 [rows, columns, 96, 96, 3]."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    left = sheet.shape[1] - columns * 98
    rows = (sheet.shape[0] - 2) // 98
    top = sheet.shape[0] - rows * 98
    grid = sheet[top:, left:].reshape(rows, 98, columns, 98, 3)
    return grid[:, :96, :, :96].transpose(0, 2, 1, 3, 4)


def test_each_row_shows_items_of_its_category_once(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(users=0)
    show_bundle(bundle, tmp_path, per_category=5, seed=3)
    encoded = list(bundle.iter_images())
    for row, category in zip(cells(tmp_path / "items.png", 5), bundle.category_names):
        rows = bundle.primary_images[bundle.items["category"] == category]
        known = [letterbox(decode_image(encoded[index]), 96) for index in rows]
        found = [[index for index, image in enumerate(known) if np.array_equal(cell, image)] for cell in row]
        assert all(len(one) == 1 for one in found)
        assert len({one[0] for one in found}) == 5


def test_the_draw_follows_from_the_seed(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(users=0)
    pictures = [
        (show_bundle(bundle, tmp_path / str(run), per_category=4, seed=seed)[0]).read_bytes()
        for run, seed in enumerate((1, 1, 2))
    ]
    assert pictures[0] == pictures[1] != pictures[2]


def test_a_bundle_without_interactions_or_images(tmp_path: Path) -> None:
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "category": ["hat", "hat", "bag"]})
    with BundleWriter(tmp_path / "bare", name="bare", licence="CC0-1.0", source="test") as writer:
        writer.set_items(items)
    assert [path.name for path in show_bundle(Bundle.open(tmp_path / "bare"), tmp_path / "out")] == [ALL[2]]


def test_interactions_without_times_and_items_without_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with BundleWriter(tmp_path / "shop", name="shop", licence="CC0-1.0", source="test") as writer:
        data = draw_item(0, rng)
        writer.add_image("a", data, sha256="0" * 64)
        writer.set_items(pd.DataFrame({"item_id": ["a", "b"], "category": ["hat", "bag"]}))
        writer.set_interactions(pd.DataFrame({"user_id": ["u"], "item_id": ["b"]}))
    paths = show_bundle(Bundle.open(tmp_path / "shop"), tmp_path / "out")
    assert [path.name for path in paths] == ALL[:5]
    bag, hat = cells(tmp_path / "out" / "items.png", 1)[:, 0]
    assert (bag == 255).all()
    assert np.array_equal(hat, letterbox(decode_image(data), 96))


def test_of_very_many_categories_the_largest_are_shown_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"category {number:05d}" for number in range(40_000)]
    items = pd.DataFrame({"item_id": np.arange(40_003).astype(str), "category": [*names, *names[-3:]]})
    with BundleWriter(tmp_path / "wide", name="wide", licence="CC0-1.0", source="test") as writer:
        writer.add_image("39999", draw_item(0, np.random.default_rng(0)), sha256="0" * 64)
        writer.set_items(items)
    titles: list[str] = []
    labels: list[str] = []

    def watched(rows: list[np.ndarray], names: list[str], **options: str) -> Image.Image:
        titles.append(options["title"])
        labels.extend(names)
        return image_grid(rows, names, **options)

    monkeypatch.setattr("recgan.dataset.show.image_grid", watched)
    paths = show_bundle(Bundle.open(tmp_path / "wide"), tmp_path / "out", per_category=2)
    assert [path.name for path in paths] == ALL[:3]
    assert titles == ["wide: 40,003 items, the 40 largest of 40,000 categories; drawn at random, seed 0"]
    assert labels[:4] == ["category 39997 (2)", "category 39998 (2)", "category 39999 (2)", "category 00000 (1)"]
    assert len(labels) == MOST_CATEGORIES == 40
    with Image.open(paths[0]) as sheet:
        assert sheet.height < 40 * 98 + 60


@pytest.mark.filterwarnings("error")
def test_names_that_are_long_foreign_or_look_like_formulas(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    source = make_bundle(items=6)
    names = ["Kleider für den Übergang und für sehr lange Abende " * 3, "платья", "连衣裙", "$x^{", "a_b$", "😀 & <b>"]
    with BundleWriter(tmp_path / "named", name="名前 $\\frac$", licence="CC0-1.0", source="test") as writer:
        writer.link_images(source)
        writer.set_items(source.items.assign(category=names))
    paths = show_bundle(Bundle.open(tmp_path / "named"), tmp_path / "out")
    assert [path.name for path in paths] == ALL[:3]
    with Image.open(paths[0]) as sheet:
        assert sheet.width < 12 * 98 + 170


def test_a_damaged_image_is_told_with_its_item(tiny_bundle: Bundle, tmp_path: Path, monkeypatch) -> None:
    bundle = Bundle.open(tiny_bundle.path)
    monkeypatch.setattr(bundle, "image_bytes", lambda rows: [b"not an image" for _ in rows])
    with pytest.raises(ArtifactError, match=r"the image of item '.+' is damaged .*; import the bundle again"):
        show_bundle(bundle, tmp_path / "show")
