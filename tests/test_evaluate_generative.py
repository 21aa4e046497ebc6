"""Generators of known worth are told apart: one that draws as the catalogue does, a collapsed one, a copier, a
confused one; and what cannot be judged is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recgan import cli
from recgan.config import GenerativeSettings, MonitorSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import decode_image, letterbox, load_pixels, to_float
from recgan.encoders import Encoder, register_encoder
from recgan.encoders.perceptual import PerceptualDistance
from recgan.errors import DataError, MismatchError, NotFoundError, SettingsError
from recgan.evaluation.generative import GenerativeJudge, evaluate_generative
from recgan.evaluation.generative.report import GenerativeReport
from recgan.evaluation.generative.sampling import samples
from recgan.gan import TrainedGAN, load_gan, train_gan
from recgan.gan.data import training_rows
from tests.conftest import draw_item, write_bundle

SIZE = 16
RECIPE = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, class_dim=4, batch_size=4)
SETTINGS = GenerativeSettings(extractor="pools", extractor_size=16, classifier_images=400, resamples=200)


class Pools(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(images, 4).flatten(1)


class Bank(torch.nn.Module):
    """A generator that shows the pictures of a bank, float [n_classes, n, 3, S, S], all with the same chance."""

    def __init__(self, pictures: torch.Tensor) -> None:
        super().__init__()
        self.pictures = pictures

    def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        count = self.pictures.shape[1]
        uniform = torch.special.ndtr(z[:, 0])  # of a normal variable
        return self.pictures[class_index, (uniform * count).long().clamp(max=count - 1)]


def drawn(n: int, seed: int) -> torch.Tensor:
    """New pictures of the three categories, as the catalogue's were drawn."""
    rng = np.random.default_rng(seed)
    pictures = [letterbox(decode_image(draw_item(category, rng)), SIZE) for category in range(3) for _ in range(n)]
    return to_float(np.stack(pictures)).unflatten(0, (3, n))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    register_encoder("pools", lambda: Encoder("pools", Pools(), dim=48, input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3))
    return write_bundle(tmp_path_factory.mktemp("generative") / "bundle", items=700)


@pytest.fixture(scope="module", autouse=True)
def small_perceptual_eye() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PerceptualDistance, "input_size", 64)
        yield


@pytest.fixture(scope="module")
def folder(catalogue: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GAN whose checkpoint was chosen through the extractor that judges here."""
    out = tmp_path_factory.mktemp("gan") / "gan"
    monitor = MonitorSettings(extractor="pools", extractor_size=16, looks=1)
    train_gan(catalogue, RECIPE, size=SIZE, images_seen=8, out=out, device="cpu", monitor=monitor)
    return out


@pytest.fixture(scope="module")
def gan(folder: Path) -> TrainedGAN:
    return load_gan(folder, "cpu")


@pytest.fixture(scope="module")
def generators(catalogue: Bundle, gan: TrainedGAN) -> dict[str, TrainedGAN]:
    rows = training_rows(catalogue, ("train",))
    pixels = load_pixels(catalogue, SIZE)
    known = [pixels[catalogue.primary_images[rows[catalogue.category_index[rows] == c]][:100]] for c in range(3)]
    fresh = drawn(400, seed=5)
    banks = {
        "perfect": fresh,
        "collapsed": fresh[:, :1],
        "copier": torch.stack([to_float(pictures) for pictures in known]),
        "confused": fresh.roll(1, dims=0),
    }
    return {name: replace(gan, generator=Bank(pictures)) for name, pictures in banks.items()}


@pytest.fixture(scope="module")
def reports(catalogue: Bundle, generators: dict[str, TrainedGAN]) -> dict[str, GenerativeReport]:
    judge = GenerativeJudge(catalogue, SIZE, SETTINGS)
    return {name: judge.judge(generator) for name, generator in generators.items()}


def test_a_perfect_generator_is_taken_for_the_catalogue(reports: dict[str, GenerativeReport]) -> None:
    report = reports["perfect"]
    assert report.likeness.kid.low < 0 < report.likeness.kid.high
    assert report.likeness.kid.value < 0.05 * reports["collapsed"].likeness.kid.value
    for name in ("precision", "recall", "density", "coverage"):
        own, real = getattr(report.likeness, name), getattr(report.likeness_of_train, name)
        assert own.value == pytest.approx(real.value, abs=0.2), name
        assert own.low <= own.value <= own.high
    assert report.likeness.fd < 0.1 * reports["collapsed"].likeness.fd
    assert report.class_consistency.real > 0.9
    assert report.class_consistency.ratio.value > 0.9
    assert report.train_on_synthetic.ratio.value > 0.9
    assert report.memorised.low <= 0.01
    for against in (report.perceptual, report.classifier_score):
        assert against.ratio.value == pytest.approx(1, abs=0.25)
        assert against.ratio.low < 1 < against.ratio.high
    assert report.dissimilarity.ratio.value > 0.4  # of some thirty pairs, a few of which make up most of it


def test_a_collapsed_generator_is_found_out(reports: dict[str, GenerativeReport]) -> None:
    report, perfect = reports["collapsed"], reports["perfect"]
    assert report.likeness.kid.low > perfect.likeness.kid.high
    assert report.likeness.recall.value == 0
    assert report.likeness.coverage.high < perfect.likeness.coverage.low
    assert report.perceptual.generated == report.perceptual.ratio.high == 0
    assert report.dissimilarity.generated == pytest.approx(0, abs=1e-12)
    assert report.class_consistency.ratio.value > 0.9  # what it shows is of the class all the same
    assert all(figures.diversity == 0 for figures in report.per_class.values())


def test_a_generator_that_copies_is_caught(reports: dict[str, GenerativeReport], catalogue: Bundle) -> None:
    report = reports["copier"]
    assert report.memorised.value > 0.95
    assert report.memorised.low > 0.01
    assert all(figures.memorised > 0.9 for figures in report.per_class.values())
    assert report.likeness.kid.low < 0.02 * reports["collapsed"].likeness.kid.value  # nothing else gives it away
    pixels = load_pixels(catalogue, SIZE)
    assert np.array_equal(report.samples, pixels[catalogue.primary_images[report.nearest[:, 0]]])


def test_a_generator_that_takes_one_class_for_another(reports: dict[str, GenerativeReport]) -> None:
    report, perfect = reports["confused"], reports["perfect"]
    assert report.class_consistency.generated < 0.1
    assert report.train_on_synthetic.generated < 0.1
    for name, figures in report.per_class.items():  # neighbours that were made as another class do not count
        assert figures.coverage < perfect.per_class[name].coverage / 2, name
    assert report.likeness.precision.value == pytest.approx(perfect.likeness.precision.value, abs=0.15)


def test_the_json_says_what_it_was_measured_with(reports: dict[str, GenerativeReport], gan: TrainedGAN) -> None:
    report = reports["perfect"]
    told = report.as_json()
    json.dumps(told, allow_nan=False)
    assert set(told["kid"]) == {"value", "low", "high"}
    assert {"generated", "real"} <= set(told["class_consistency"])
    assert {"share", "low", "high"} <= set(told["memorised"])
    for name in ("fd", "precision", "recall", "density", "coverage"):
        assert isinstance(told[name], float)
    assert told["n"] == report.n == len(report.samples) >= 50
    assert (told["extractor"], told["extractor_size"], told["seed"], told["part"]) == ("pools", 16, 0, "test")
    assert told["gan"]["digest"] == gan.digest
    assert sum(figures["n"] for figures in told["per_class"].values()) == report.n
    assert set(told["per_class"]) == {"bags", "dresses", "shoes"}
    assert told["published"] is None
    assert told["diversity"]["lpips"] is None


def test_a_figure_of_one_seed_repeats_and_the_folder_holds_it(
    catalogue: Bundle, generators: dict[str, TrainedGAN], reports: dict[str, GenerativeReport], tmp_path: Path
) -> None:
    evaluate_generative(generators["perfect"], catalogue, SETTINGS, out=tmp_path / "out")
    written = json.loads((tmp_path / "out" / "generative.json").read_text())
    wanted = json.loads(json.dumps(reports["perfect"].as_json()))
    assert written | {"seconds": 0} == wanted | {"seconds": 0}
    samples, neighbours = (Image.open(tmp_path / "out" / f"{name}.png") for name in ("samples", "neighbours"))
    assert samples.height > 3 * 96  # a row a category
    assert neighbours.height > 16 * 96


def test_the_eye_that_chose_the_checkpoint_is_told(catalogue: Bundle, folder: Path, run: Callable[..., Any]) -> None:
    shared = ("evaluate", "generative", folder, catalogue.path, "--extractor", "pools")
    quick = ("--set", "extractor_size=16", "--set", "classifier_images=50", "--set", "classifier_epochs=1")
    code, out, err = run(*shared, *quick, "--set", "resamples=100", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["extractor_chose_the_checkpoint"] is True
    assert told["gan"]["checkpoint_chosen_by"] == {"extractor": "pools", "extractor_size": 16}
    assert "pools also chose the checkpoint" in err
    assert f"only {told['n']} test photos" in err
    code, out, err = run(*shared, *quick, "--set", "resamples=100")
    assert code == 0, err
    assert "memorised" in out
    assert "class consistency" in out


# what cannot be judged


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command line in this process; return its exit code, standard output and standard error."""

    def call(*argv: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recgan", *map(str, argv)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_another_catalogue_is_refused(gan: TrainedGAN, make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="another catalogue"):
        evaluate_generative(gan, make_bundle(items=60, seed=9), SETTINGS)
    shoes = replace(gan, category_names=("boots", "hats"))
    with pytest.raises(MismatchError, match=r"other categories \(bags, dresses, shoes\) .*\(boots, hats\)"):
        evaluate_generative(shoes, make_bundle(items=60), SETTINGS)


def test_a_generator_that_has_seen_everything_is_refused(catalogue: Bundle, tmp_path: Path) -> None:
    gan = train_gan(catalogue, RECIPE, size=SIZE, images_seen=8, out=tmp_path / "gan", device="cpu", all_images=True)
    with pytest.raises(DataError, match="trained on all photos"):
        evaluate_generative(gan, catalogue, SETTINGS)


def test_too_few_photos_are_refused(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    few = make_bundle(items=90)
    gan = train_gan(few, RECIPE, size=SIZE, images_seen=8, out=tmp_path / "gan", device="cpu")
    with pytest.raises(DataError, match="at least 50 are needed"):
        evaluate_generative(gan, few, SETTINGS)


def test_an_extractor_that_sees_nothing_is_refused(catalogue: Bundle) -> None:
    class Blind(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(images), 4)

    register_encoder("blind", lambda: Encoder("blind", Blind(), dim=4, input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3))
    settings = SETTINGS.model_copy(update={"extractor": "blind", "classifier_images": 50, "classifier_epochs": 1})
    with pytest.raises(SettingsError, match="sees no difference between the photos at 16 px"):
        GenerativeJudge(catalogue, SIZE, settings)


def test_pixels_that_are_no_numbers_are_refused(catalogue: Bundle, gan: TrainedGAN) -> None:
    broken = replace(gan, generator=Bank(torch.full((3, 1, 3, SIZE, SIZE), float("nan"))))
    with pytest.raises(DataError, match="not numbers"):
        samples(broken, np.zeros(3, dtype=np.int64), 0)


def test_a_judge_of_another_size_is_refused(
    generators: dict[str, TrainedGAN], reports: dict[str, GenerativeReport], catalogue: Bundle
) -> None:
    judge = GenerativeJudge.__new__(GenerativeJudge)
    judge.bundle, judge.size = catalogue, 32
    with pytest.raises(MismatchError, match="of 16 px, and this judge sees 32 px"):
        judge.judge(generators["perfect"])


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("BUNDLE", "BUNDLE"), "holds no manifest.json"),
        (("NOWHERE", "BUNDLE"), "does not exist"),
        (("GAN", "GAN"), "it is not a bundle"),
        (("GAN", "BUNDLE", "--extractor", "poolz"), "did you mean 'pools'?"),
        (("GAN", "BUNDLE", "--samples", "3"), "samples=3"),
        (("GAN", "BUNDLE", "--set", "neighbors=3"), "did you mean 'neighbours'?"),
        (("GAN", "BUNDLE", "--out", "BUNDLE"), "exists already"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run: Callable[..., Any], folder: Path, catalogue: Bundle, tmp_path: Path, argv: tuple[str, ...], told: str
) -> None:
    places = {"GAN": folder, "BUNDLE": catalogue.path, "NOWHERE": tmp_path / "nowhere"}
    code, out, err = run("evaluate", "generative", *(places.get(word, word) for word in argv))
    assert code == 2
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_published_measures_without_their_package_say_what_to_install(
    catalogue: Bundle, gan: TrainedGAN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(NotFoundError, match=r"pip install 'recgan\[fidelity\]'"):
        evaluate_generative(gan, catalogue, SETTINGS.model_copy(update={"published": True}))
