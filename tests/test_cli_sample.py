"""The verbs of the latent space, on generators of a moment's training: what they write, say and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from recgan.cli.run import run
from recgan.config import Recipe
from recgan.dataset.bundle import Bundle
from recgan.errors import SettingsError
from recgan.gan import load_gan, train_gan
from recgan.gan.latent import LatentSpace, load_directions
from tests.conftest import CATEGORIES

RECIPE = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, class_dim=4, batch_size=4)
SIDE = 16 * 8 + 2
"""Of a picture in a sheet: 16 px enlarged to 128, and the white beside it."""


@pytest.fixture(scope="module")
def gan(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sampled") / "gan"
    train_gan(tiny_bundle, RECIPE, out=out, size=16, images_seen=8, device="cpu")
    return out


@pytest.fixture
def verb(gan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run 'recgan sample NAME GAN … --out' in this process; return its exit code, answer and error."""

    def call(name: str, out: str, *options: object) -> tuple[int, dict[str, Any], str]:
        arguments = ["sample", name, str(gan), "--out", str(tmp_path / out), *map(str, options), "--device", "cpu"]
        code = run([*arguments, "--json"])
        told = capsys.readouterr()
        return code, json.loads(told.out) if told.out else {}, told.err

    return call


def test_a_sheet_has_a_row_a_category_and_follows_from_its_seed(verb: Any, tmp_path: Path) -> None:
    code, answer, _ = verb("sheet", "a.png", "--columns", 3)
    assert code == 0
    assert answer["categories"] == list(CATEGORIES)
    assert len(answer["seeds"]) == 3
    assert answer["space"] == "z"
    verb("sheet", "b.png", "--columns", 3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    verb("sheet", "c.png", "--columns", 3, "--truncation", 0.5)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()
    verb("sheet", "one.png", "--columns", 4, "--category", "shoes")
    with Image.open(tmp_path / "a.png") as three, Image.open(tmp_path / "one.png") as one:
        assert three.height - one.height == 2 * SIDE


def test_a_walk_is_a_sheet_or_a_film_by_its_ending(verb: Any, tmp_path: Path) -> None:
    assert verb("walk", "walk.png", "--steps", 4)[0] == 0
    assert verb("walk", "walk.gif", "--steps", 3, "--stops", 2, "--category", "bags", "--category", "shoes")[0] == 0
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.n_frames == 6
        assert film.size == (2 * 128, 128)


def test_a_mix_goes_there_and_back_in_a_film(verb: Any, tmp_path: Path) -> None:
    options = ("--from", "bags", "--to", "shoes", "--rows", 2, "--steps", 4)
    code, answer, _ = verb("mix", "mix.apng", *options)
    assert code == 0
    assert answer["categories"] == ["bags", "shoes"]
    with Image.open(tmp_path / "mix.apng") as film:
        assert film.n_frames == 6  # four there, and two of them back
    assert verb("mix", "mix.webp", *options)[0] == 0


def test_arithmetic_tells_the_latents_that_it_made(verb: Any, gan: Path) -> None:
    options = ("--category", "bags", "--plus", "0,2", "--minus", "1", "--columns", 3, "--strength", 0.5)
    code, answer, _ = verb("arithmetic", "sum.png", *options)
    assert code == 0
    loaded = load_gan(gan, "cpu")
    space = LatentSpace(loaded.generator, loaded.recipe)
    points = space.draw(answer["seeds"], torch.zeros(3, dtype=torch.int64))
    made = space.combine(points, points[[0, 2]], points[[1]], 0.5)
    torch.testing.assert_close(torch.tensor(answer["latents"]), made)


def test_directions_are_an_artifact_with_sheets(verb: Any, gan: Path, tmp_path: Path) -> None:
    code, answer, _ = verb("directions", "directions", "--count", 2, "--samples", 32)
    assert code == 0
    assert [row["direction"] for row in answer["directions"]] == [0, 1]
    assert len(load_directions(tmp_path / "directions", load_gan(gan, "cpu"))) == 2
    assert (tmp_path / "directions" / "direction-01.png").exists()
    before = load_directions(tmp_path / "directions", load_gan(gan, "cpu"))
    names = ("--name", "1=darker to brighter", "--overwrite")
    code, answer, _ = verb("directions", "directions", "--count", 2, "--samples", 32, *names)
    assert [row["name"] for row in answer["directions"]] == ["", "darker to brighter"]
    named = load_directions(tmp_path / "directions", load_gan(gan, "cpu"))
    torch.testing.assert_close(named.vectors, before.vectors, rtol=0, atol=0)
    assert (named.number_of("darker to brighter"), named.number_of("0")) == (1, 0)
    with pytest.raises(SettingsError, match="did you mean 'darker to brighter'"):
        named.number_of("darker to bright")


def test_photos_are_inverted(verb: Any, gan: Path, tiny_bundle: Bundle, tmp_path: Path, capsys: Any) -> None:
    train = ["train", "inverter", str(gan), "--out", str(tmp_path / "inverter"), "--device", "cpu", "--json"]
    code = run([*train, *(f"--set={name}" for name in ("images_seen=16", "width=16", "batch_size=8", "steps=2"))])
    assert code == 0
    assert set(json.loads(capsys.readouterr().out)["metrics"]) == {"latent_cosine", "pixel_error", "by_chance"}
    options = ("--inverter", tmp_path / "inverter", "--data", tiny_bundle.path)
    code, answer, told = verb("invert", "back.png", *options, "--item", "0001", "--item", "0004")
    assert code == 0
    assert [row["item_id"] for row in answer["items"]] == ["0001", "0004"]
    assert all(row["category"] == "dresses" and len(row["latent"]) == 8 for row in answer["items"])
    assert "root mean square error" in told
    code, _, told = verb("invert", "none.png", *options, "--item", "9999")
    assert code == 2
    assert "no item '9999'" in told


@pytest.mark.parametrize(
    ("name", "out", "options", "said"),
    [
        ("sheet", "a.png", ("--category", "shoe"), "did you mean 'shoes'"),
        ("sheet", "a.png", ("--space", "w"), "has no w; use z"),
        ("sheet", "a.bmp", (), "choose one of these endings"),
        ("walk", "a.gif", ("--seconds", 0.1), "too fast to be shown"),
        ("mix", "a.png", ("--from", "bags", "--to", "hats"), "no category 'hats'"),
        ("arithmetic", "a.png", ("--category", "bags", "--plus", "x", "--minus", "1"), "--plus x: name columns"),
        ("arithmetic", "a.png", ("--category", "bags", "--plus", "1", "--minus", "-1"), "--minus -1: name columns"),
        ("directions", "d", ("--count", 9), "there are 1 to 8 directions"),
        ("directions", "d", ("--name", "brightness"), "write it as DIRECTION=NAME"),
        ("directions", "d", ("--name", "0=a", "--name", "0=b"), "direction 0 has a name already ('a')"),
        ("directions", "d", ("--count", 2, "--samples", 32, "--name", "2=x"), "there is no direction 2"),
        ("directions", "d", ("--count", 2, "--samples", 32, "--name", "0=7"), "'7' cannot name a direction"),
        ("directions", "d", ("--count", 2, "--samples", 32, "--name", "0= x"), "' x' cannot name a direction"),
        ("directions", "d", ("--count", 2, "--samples", 32, "--name", "0=x", "--name", "1=x"), "are called 'x'"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    verb: Any, tmp_path: Path, name: str, out: str, options: tuple[object, ...], said: str
) -> None:
    code, answer, told = verb(name, out, *options)
    assert (code, answer) == (2, {})
    assert said in told
    assert not (tmp_path / out).exists()


def test_a_picture_is_not_overwritten_unasked(verb: Any) -> None:
    assert verb("sheet", "a.png", "--columns", 1)[0] == 0
    code, _, told = verb("sheet", "a.png", "--columns", 1)
    assert code == 2
    assert "exists already" in told
    assert verb("sheet", "a.png", "--columns", 1, "--overwrite")[0] == 0
