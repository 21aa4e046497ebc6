"""An exported generator computes what torch does, and its card says what a reader must know."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from recgan.config import MonitorSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.errors import ArtifactError, NotFoundError, SettingsError
from recgan.gan import TrainedGAN, build_networks, design_seeds, export_gan, find_recipe, latents, load_gan, train_gan
from recgan.gan import export as export_module
from recgan.gan.card import model_card
from recgan.gan.networks import NETWORKS, empty_networks, load_network

RECIPES = ("vanilla-fc", "dcgan", "kang2017", "began", "biggan-lite", "stylegan-lite", "progressive", "modern-small")
"""One or more of each network."""
SMALL = {"generator_width": 16, "discriminator_width": 16, "latent_dim": 8, "class_dim": 4, "batch_size": 4}
NARROW = Recipe(name="small", **SMALL)


@pytest.fixture(scope="module")
def gan(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TrainedGAN:
    out = tmp_path_factory.mktemp("export") / "gan"
    return train_gan(tiny_bundle, NARROW, size=16, images_seen=8, out=out, device="cpu")


def networks_of(name: str) -> tuple[Recipe, int, torch.nn.Module]:
    recipe = find_recipe(name).model_copy(update={"generator_width": 32, "discriminator_width": 32})
    size = 64 if name == "kang2017" else 32
    generator, _ = build_networks(recipe, 3, size, torch.Generator().manual_seed(0))
    return recipe, size, generator.eval().requires_grad_(False)


def test_every_network_is_tried() -> None:
    assert {find_recipe(name).network for name in RECIPES} == set(NETWORKS)


@pytest.mark.parametrize("name", RECIPES)
def test_onnx_gives_the_pixels_that_torch_gives(name: str, gan: TrainedGAN, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    recipe, size, generator = networks_of(name)
    if name == "progressive":
        generator.growth.advance(0.6)  # type: ignore[union-attr,operator]
    written = export_gan(replace(gan, recipe=recipe, size=size, generator=generator), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "generator.json").read_text())
    assert facts == written.facts
    assert facts["opset"] == 18
    assert facts["bytes"] == written.files["generator.onnx"] == (tmp_path / "out" / "generator.onnx").stat().st_size
    assert facts["largest_difference"] < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "generator.onnx"))
    for count in (1, 5):  # of any number, not those that it was made with
        z = latents(design_seeds(7, count), recipe)
        class_index = torch.arange(count) % 3
        (found,) = session.run(["images"], {"z": z.numpy(), "class_index": class_index.numpy()})
        assert found.shape == (count, 3, size, size)
        assert np.abs(found - generator(z, class_index).numpy()).max() < 1e-4


def test_onnx_that_computes_something_else_is_not_kept(
    gan: TrainedGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    monkeypatch.setattr(export_module, "TOLERANCE", -1.0)
    with pytest.raises(ArtifactError, match="--format safetensors"):
        export_gan(gan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_onnx_without_its_packages_says_what_to_install(
    gan: TrainedGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(NotFoundError, match=r"pip install 'recgan\[export\]'"):
        export_gan(gan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("half", [False, True])
def test_safetensors_hold_the_weights_and_the_recipe(gan: TrainedGAN, tmp_path: Path, half: bool) -> None:
    written = export_gan(gan, tmp_path / "out", "safetensors", half=half)
    path = tmp_path / "out" / "generator.safetensors"
    with safe_open(path, "numpy") as file:
        told = file.metadata()
    recipe = Recipe.model_validate_json(told["recipe"])
    generator, _ = empty_networks(recipe, 3, int(told["size"]))
    arrays = load_file(path)
    floats = {array.dtype.name for array in arrays.values() if array.dtype.kind == "f"}
    assert floats == {"float16" if half else "float32"}
    load_network(generator, {name: a.astype("float32") if a.dtype == "float16" else a for name, a in arrays.items()})
    z, class_index = latents(design_seeds(0, 4), recipe), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        difference = (generator.eval()(z, class_index) - gan.generator(z, class_index)).abs().max()
    assert difference == 0 if not half else 0 < difference < 0.01
    assert written.facts["weights"] == ("float16" if half else "float32")
    assert written.facts["categories"] == ["bags", "dresses", "shoes"]
    assert written.facts["inputs"]["z"]["shape"] == ["N", 8]


def test_what_cannot_be_exported_is_refused(gan: TrainedGAN, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no export format 'pickle'; use onnx or safetensors"):
        export_gan(gan, tmp_path / "out", "pickle")
    with pytest.raises(SettingsError, match="leave out --half"):
        export_gan(gan, tmp_path / "out", half=True)
    (tmp_path / "out").mkdir()
    with pytest.raises(ArtifactError, match="exists already"):
        export_gan(gan, tmp_path / "out", "safetensors")


# the card


def test_the_trainer_writes_a_card_beside_the_weights(tmp_path: Path) -> None:
    from tests.conftest import write_bundle

    bundle = write_bundle(tmp_path / "bundle", items=700, size=24)
    monitor = MonitorSettings(looks=1, images=50, extractor_size=64)
    out = tmp_path / "gan"
    gan = train_gan(bundle, NARROW, size=16, images_seen=8, seed=3, out=out, device="cpu", monitor=monitor)
    card = (out / "MODEL_CARD.md").read_text()
    assert card == load_gan(out, "cpu").card()  # it is made of the manifest alone
    best = gan.manifest.metrics["best"]
    for told in (
        "# small, 16 px",
        "Catalogue: tiny",
        "Licence of the photos: CC0-1.0",
        f"| bags | {gan.train_images[0]:,} |",
        "8 real images shown, seed 3",
        '"generator_width": 16',
        "`efficientnet_lite2` at 64 px, on at most 50 validation photos",
        f"| KID | {best['kid']:.3f} |",
        "which nothing has seen",
    ):
        assert told in card, told
    export_gan(gan, tmp_path / "out", "safetensors")
    assert (tmp_path / "out" / "MODEL_CARD.md").read_text() == card


def test_a_card_names_what_is_weak_and_what_is_not_known() -> None:
    card = model_card(
        NARROW,
        size=16,
        categories=["bags | belts", "hats", "shoes"],
        train_images=np.array([99, 0, 100]),
        metrics={"images_seen": 1000, "seconds": 9.5},
        facts={
            "dataset": "a\nshop",
            "training_images": 199,
            "parts": ["train", "validation", "test"],
            "seed": 0,
            "licence": "",
        },
        catalogue="0123456789abcdef0123",
    )
    assert "| bags \\| belts | 99 |" in card
    assert "Catalogue: a shop (digest `0123456789abcdef`)" in card
    assert "Licence of the photos: not known" in card
    assert "No photo was held out." in card
    assert "fewer than 100 training photos: bags \\| belts." in card
    assert "Without any training photo, so not to be asked for: hats." in card
    assert "Nobody looked at the samples" in card


def test_a_card_of_many_categories_names_the_largest() -> None:
    counts = np.arange(200, 260)
    card = model_card(
        NARROW,
        size=16,
        categories=[f"c{count}" for count in counts],
        train_images=counts,
        metrics={"images_seen": 1000, "seconds": 9.5},
        facts={"dataset": "shop", "training_images": int(counts.sum()), "parts": ["train"], "seed": 0},
        catalogue="0123456789abcdef0123",
    )
    assert "| c259 | 259 |" in card
    assert "| c219 | 219 |" not in card
    assert f"| 20 more | {sum(range(200, 220)):,} |" in card
