"""What a run is told of itself: figures of samples by hand, alarms by runs made to fail, and the best state kept."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

from recgan.config import MonitorSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.encoders import Encoder, register_encoder
from recgan.errors import MismatchError, TrainingError
from recgan.gan import train_gan
from recgan.gan.data import CatalogueImages
from recgan.gan.monitor import alarms as alarms_module
from recgan.gan.monitor.alarms import RULES, Alarm, Alarms
from recgan.gan.monitor.quality import Look, Quality
from recgan.gan.monitor.records import read_lines
from recgan.gan.monitor.shape import asymmetry, figure_parts, likeness_of_parts
from recgan.gan.training import run as run_module
from recgan.gan.training import trainer
from recgan.gan.training.checkpoint import latest_checkpoint
from recgan.gan.training.mending import ACTS, MENDS, Mender
from recgan.metrics.generative import kernel_distance, nearest_distances, neighbourhoods, spread

RECIPE = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, class_dim=4, batch_size=4)
LOOK = Look(
    images_seen=1000,
    kid=0.1,
    blank=1.0,
    precision=0.8,
    recall=0.7,
    density=0.9,
    coverage=0.8,
    class_consistency=0.9,
    diversity=0.9,
    least_diverse="hat",
    least_diversity=0.8,
    dead=0.0,
    memorised=0.01,
)
GAME = {"discriminator/accuracy": 0.7, "gradient/generator": 1.0}


# figures


def test_the_kernel_distance_is_the_unbiased_estimate() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(4, 3)), rng.normal(1, 1, size=(5, 3))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    within_real = np.mean([k(real[i], real[j]) for i in range(4) for j in range(4) if i != j])
    within_fake = np.mean([k(fake[i], fake[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(x, y) for x in real for y in fake])
    assert kernel_distance(real, fake) == pytest.approx(within_real + within_fake - 2 * across)


def test_the_kernel_distance_of_one_distribution_is_nought_on_average() -> None:
    rng = np.random.default_rng(0)
    same = [kernel_distance(*rng.normal(size=(2, 50, 4))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert min(same) < 0
    assert kernel_distance(rng.normal(size=(50, 4)), rng.normal(0.5, 1, size=(50, 4))) > max(same) / 2


def test_neighbourhoods_by_hand() -> None:
    # On a line, k = 1: each radius is the distance to the next neighbour.
    real = np.array([[0.0], [1.0], [10.0]])  # radii 1, 1, 9
    fake = np.array([[0.5], [0.6], [30.0]])  # radii 0.1, 0.1, 29.4
    found = neighbourhoods(real, fake, k=1)
    assert found.precision == pytest.approx(2 / 3)  # 30 lies in no real neighbourhood (10 + 9 < 30)
    assert found.coverage == pytest.approx(2 / 3)  # from 1 to 19, where 10's reaches, there is no fake
    assert found.recall == pytest.approx(2 / 3)  # 0 lies out of reach of 30
    assert found.density == pytest.approx(4 / 3)


def test_spread_and_nearest_distances() -> None:
    features = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [7.0, 7.0]])
    found = spread(features, np.array([0, 0, 0, 2]), 3)
    # pairs at 5, 1 and sqrt(9 + 9)
    assert found[0] == pytest.approx((5 + 1 + np.sqrt(18)) / 3)
    assert np.isnan(found[1:]).all()
    assert nearest_distances(features[:1], features[1:]).tolist() == pytest.approx([1.0])


# rules


def raised(reports: list[dict[str, float]], looks: list[Look]) -> set[str]:
    return {name for name, rule in RULES.items() if rule(reports, looks) is not None}


def test_all_is_well() -> None:
    assert raised([GAME] * 100, [LOOK] * 10) == set()
    assert raised([], []) == set()


@pytest.mark.parametrize(
    ("name", "reports", "looks", "saw"),
    [
        ("mode collapse", [], [replace(LOOK, least_diversity=0.12)] * 2, "'hat' differ 12% as much"),
        ("discriminator overpowers", [GAME | {"discriminator/accuracy": 0.99}] * 20, [], "99.0% of the pairs"),
        ("vanishing gradients", [GAME] * 20 + [GAME | {"gradient/generator": 1e-4}] * 20, [], "from 1 to 0.0001"),
        ("oscillation", [], [replace(LOOK, kid=kid) for kid in (0.1, 0.3, 0.1, 0.3, 0.1)], "0.100 -> 0.300"),
        ("memorisation", [], [replace(LOOK, memorised=0.2)], "20% of the samples are nearer"),
        ("dead outputs", [], [replace(LOOK, dead=0.5)] * 2, "50% of the samples are of one colour"),
    ],
)
def test_each_alarm_says_what_it_saw_and_advises(
    name: str, reports: list[dict[str, float]], looks: list[Look], saw: str
) -> None:
    assert raised(reports, looks) == {name}
    alarm = RULES[name](reports, looks)
    assert alarm is not None
    assert saw in alarm.saw
    assert len(alarm.advice) > 20
    assert str(alarm) == f"{name}: {alarm.saw}; {alarm.advice}"


def test_a_single_bad_look_or_a_short_lead_is_no_alarm() -> None:
    assert (
        raised([GAME | {"discriminator/accuracy": 1.0}] * 19, [replace(LOOK, least_diversity=0.1, dead=0.5)]) == set()
    )
    assert raised([], [replace(LOOK, kid=kid) for kid in (0.5, 0.4, 0.3, 0.2, 0.1)]) == set()


def test_what_has_not_begun_to_learn_is_no_collapse() -> None:
    noise = replace(LOOK, kid=1.4, blank=1.26, least_diversity=0.1)
    assert raised([], [noise] * 4) == set()
    assert raised([], [noise] * 5) == {"mode collapse"}
    assert raised([], [noise, replace(noise, kid=1.0), noise]) == {"mode collapse"}


def test_a_discriminator_may_win_while_the_samples_get_better() -> None:
    winning = [GAME | {"discriminator/accuracy": 1.0}] * 20
    assert raised(winning, [LOOK, replace(LOOK, kid=0.09)]) == set()
    assert raised(winning, [LOOK, replace(LOOK, kid=0.099)]) == {"discriminator overpowers"}


def test_an_alarm_is_raised_once_until_all_is_well_again() -> None:
    alarms = Alarms()
    bad = replace(LOOK, memorised=0.5)
    assert [[alarm.name for alarm in alarms.look(look)] for look in (LOOK, bad, bad, LOOK, bad)] == [
        [],
        ["memorisation"],
        [],
        [],
        ["memorisation"],
    ]


def test_the_history_keeps_the_first_reports_and_the_last() -> None:
    alarms = Alarms()
    for number in range(200):
        alarms.report(GAME | {"number": number})
    numbers = [report["number"] for report in alarms.reports]
    assert numbers == [*range(20), *range(160, 200)]


# runs


class Eye(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(images, 4).flatten(1)


def eye() -> Encoder:
    return Encoder("eye", Eye(), dim=48, input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3, digest_of_weights="eye")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from tests.conftest import write_bundle

    return write_bundle(tmp_path_factory.mktemp("monitor") / "bundle", items=240)


@pytest.fixture
def watched(catalogue: Bundle, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Train under the eye of a toy extractor, with a report every step."""
    register_encoder("eye", eye)
    monkeypatch.setattr(trainer, "FEWEST", 10)
    monkeypatch.setattr(run_module, "REPORT_EVERY", 1)
    monitor = MonitorSettings(extractor="eye", extractor_size=16, looks=5)
    return partial(train_gan, catalogue, size=16, device="cpu", monitor=monitor, sheet_every=10**6)


def lines(out: Path, name: str) -> list[dict[str, Any]]:
    path = Path(f"{out}.run") / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def best_of(looks: list[dict[str, Any]]) -> dict[str, Any]:
    """The look whose state is kept after these."""
    return [look for look in looks if look["kept"]][-1]


def test_the_best_state_is_kept_and_written(watched: Any, tmp_path: Path) -> None:
    out = tmp_path / "gan"
    gan = watched(RECIPE.model_copy(update={"generator_learning_rate": 2e-3}), out=out, images_seen=100)
    looks = lines(out, "looks")
    assert [look["images_seen"] for look in looks] == [20, 40, 60, 80, 100]
    best = best_of(looks)
    kept = latest_checkpoint(tmp_path / "gan.run" / "best")
    assert kept is not None
    assert int(kept.name) == best["images_seen"] == gan.manifest.metrics["best"]["images_seen"]
    assert gan.manifest.metrics["images_seen"] == 100
    state, written = load_file(kept / "networks.safetensors"), load_file(out / "generator.safetensors")
    for name, array in written.items():
        assert np.array_equal(array, state[f"generator.{name}"]), name


@pytest.mark.parametrize(
    ("kids", "best"),
    [
        # Grey noise is nearer than the first shapes, but neither is as near as blank pictures: the newest counts.
        ([1.41, 1.58, 1.52, 1.47, 1.44], 100),
        # The first look that is nearer counts more than all that went before, and then KID alone decides.
        ([1.41, 1.58, 1.2, 1.1, 1.15], 80),
        # What falls apart later does not take its place.
        ([1.41, 0.9, 1.3, 1.5, 1.27], 40),
    ],
)
def test_kid_chooses_only_among_states_nearer_than_blank_pictures(
    watched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kids: list[float], best: int
) -> None:
    coming = iter(kids)
    monkeypatch.setattr(
        Quality,
        "look",
        lambda self, generator, recipe, seen: replace(LOOK, images_seen=seen, kid=next(coming), blank=1.26),
    )
    gan = watched(RECIPE, out=tmp_path / "gan", images_seen=100)
    assert gan.manifest.metrics["best"]["images_seen"] == best
    kept = latest_checkpoint(tmp_path / "gan.run" / "best")
    assert kept is not None
    assert int(kept.name) == best
    state, written = (
        load_file(path) for path in (kept / "networks.safetensors", tmp_path / "gan" / "generator.safetensors")
    )
    assert all(np.array_equal(array, state[f"generator.{name}"]) for name, array in written.items())
    brief = "was trained too briefly" in (tmp_path / "gan" / "MODEL_CARD.md").read_text()
    assert brief == (min(kids) > 1.26)


def test_blank_pictures_are_the_held_out_ones_as_their_mean_colour(catalogue: Bundle) -> None:
    register_encoder("eye", eye)
    sets = [CatalogueImages.of(catalogue, 16, (part,), torch.device("cpu")) for part in ("train", "validation")]
    quality = Quality(MonitorSettings(extractor="eye", extractor_size=16), *sets, catalogue.category_names, seed=0)
    held_out = sets[1].images(torch.arange(len(sets[1])))
    flat = held_out.mean(dim=(2, 3)).repeat_interleave(16, dim=1)  # the eye sees 4 x 4 means of each colour
    real = F.adaptive_avg_pool2d(held_out, 4).flatten(1)
    assert quality._blank == pytest.approx(kernel_distance(real.numpy(), flat.numpy()), rel=1e-4)


def test_who_goes_on_without_looking_gets_the_last_state(watched: Any, tmp_path: Path) -> None:
    watched(RECIPE, out=tmp_path / "gan", images_seen=40)
    gan = watched(RECIPE, out=tmp_path / "gan", images_seen=60, resume=True, monitor=None)
    assert "best" not in gan.manifest.metrics
    kept = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert kept is not None
    state, written = (
        load_file(path) for path in (kept / "networks.safetensors", tmp_path / "gan" / "generator.safetensors")
    )
    assert all(np.array_equal(array, state[f"generator.{name}"]) for name, array in written.items())


def test_looking_changes_nothing_and_is_resumed(watched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched(RECIPE, out=tmp_path / "blind", images_seen=100, monitor=None)
    watched(RECIPE, out=tmp_path / "whole", images_seen=100)
    last = [
        load_file(latest_checkpoint(tmp_path / f"{name}.run" / "checkpoints") / "networks.safetensors")  # type: ignore[operator]
        for name in ("blind", "whole")
    ]
    assert all(np.array_equal(array, last[1][name]) for name, array in last[0].items())

    real_step, calls = run_module.train_step, iter(range(100))

    def step(*args: Any) -> Any:
        if next(calls) == 13:
            raise RuntimeError("broken off")
        return real_step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "train_step", step)
        with pytest.raises(RuntimeError, match="broken off"):
            watched(RECIPE, out=tmp_path / "broken", images_seen=100, checkpoint_seconds=0.0)
    watched(RECIPE, out=tmp_path / "broken", images_seen=100, resume=True)
    assert lines(tmp_path / "broken", "looks") == lines(tmp_path / "whole", "looks")
    one, two = (load_file(tmp_path / name / "generator.safetensors") for name in ("whole", "broken"))
    assert all(np.array_equal(array, two[name]) for name, array in one.items())


def test_a_discriminator_that_wins_raises_its_alarm(watched: Any, tmp_path: Path) -> None:
    told: list[str] = []
    rates = {"generator_learning_rate": 1e-9, "discriminator_learning_rate": 1e-2}
    watched(
        RECIPE.model_copy(update=rates),
        out=tmp_path / "gan",
        images_seen=240,
        progress=lambda step, done, total=None, note="": told.append(f"{step} {note}"),
    )
    alarms = {alarm["name"]: alarm for alarm in lines(tmp_path / "gan", "alarms")}
    assert "discriminator overpowers" in alarms
    assert "halve discriminator_learning_rate" in alarms["discriminator overpowers"]["advice"]
    assert any(line.startswith("ALARM at") and "discriminator overpowers" in line for line in told)


def test_a_generator_that_heeds_its_latent_no_more_raises_its_alarm(
    watched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_step = run_module.train_step

    def deaf(state: Any, *args: Any) -> Any:
        with torch.no_grad():
            state.generator.dense.weight[:, : RECIPE.latent_dim] = 0
        return real_step(state, *args)

    monkeypatch.setattr(run_module, "train_step", deaf)
    watched(RECIPE, out=tmp_path / "gan", images_seen=100)
    alarms = {alarm["name"]: alarm for alarm in lines(tmp_path / "gan", "alarms")}
    assert "mode collapse" in alarms


def test_too_few_held_out_images_are_not_judged_by(
    watched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "FEWEST", 1000)
    gan = watched(RECIPE, out=tmp_path / "gan", images_seen=20)
    assert "best" not in gan.manifest.metrics
    assert lines(tmp_path / "gan", "looks") == []


def test_what_a_killed_run_left_half_written_is_dropped(tmp_path: Path) -> None:
    records = [{"images_seen": seen} for seen in (10, 20, 30)]
    path = tmp_path / "looks.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"images_se')
    assert read_lines(tmp_path, "looks", 20) == records[:2]
    assert read_lines(tmp_path, "looks", 99) == records[:2]
    assert read_lines(tmp_path, "none", 99) == []


def test_class_consistency_falls_with_the_classes_mixed_up(catalogue: Bundle) -> None:
    register_encoder("eye", eye)
    monitor = MonitorSettings(extractor="eye", extractor_size=16)
    parts = [CatalogueImages.of(catalogue, 16, (part,), torch.device("cpu")) for part in ("train", "validation")]
    quality = Quality(monitor, *parts, catalogue.category_names, 0)
    pictures = parts[0].images(torch.arange(len(parts[0])))
    of_class = [pictures[parts[0].class_index == index] for index in range(3)]

    class Copies(torch.nn.Module):
        """Gives training images: of the class asked for, or of the next one; in the order of z, or always the first."""

        def __init__(self, shift: int, varied: bool) -> None:
            super().__init__()
            self.shift, self.varied = shift, varied

        def forward(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
            rows = (z[:, 0].abs() * 1000).long() if self.varied else torch.zeros(len(z), dtype=torch.int64)
            picked = [of_class[(int(c) + self.shift) % 3] for c in class_index]
            return torch.stack([images[int(row) % len(images)] for row, images in zip(rows, picked)])

    right, wrong, one = (
        quality.look(Copies(shift, varied), RECIPE, 0) for shift, varied in ((0, True), (1, True), (0, False))
    )
    assert right.class_consistency > 0.9
    assert wrong.class_consistency < 0.1
    assert right.diversity == pytest.approx(1, abs=0.25)
    assert one.diversity == pytest.approx(0, abs=1e-6)
    assert right.memorised == 1
    assert right.kid < one.kid
    assert right.coverage > one.coverage
    assert right.dead == 0


# shapes


def disc(*centres: tuple[int, int], radius: int = 4, size: int = 32) -> np.ndarray:
    """Draw black discs on white, uint8 [size, size, 3]."""
    rows, columns = np.mgrid[:size, :size]
    pixels = np.full((size, size, 3), 255, dtype=np.uint8)
    for row, column in centres:
        pixels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 0
    return pixels


def test_parts_of_a_figure_are_counted_and_specks_are_not() -> None:
    one, pair = disc((16, 16)), disc((16, 8), (16, 24))
    speckled = one.copy()
    speckled[2, 2] = 0
    touching = disc((8, 8), (14, 14))
    assert figure_parts(np.stack([one, pair, speckled, touching])).tolist() == [1, 2, 1, 1]


def test_asymmetry_is_the_difference_to_the_mirror_image() -> None:
    pixels = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    pixels[0, 0, 0] = 100  # and 0 opposite: both places differ by 100, the lower row by nothing
    assert asymmetry(pixels).tolist() == [50.0]
    left, right = asymmetry(np.stack([disc((16, 15)), disc((16, 15))[:, ::-1]]))
    assert left == right > 0


def test_likeness_of_parts_takes_classes_that_have_a_usual_number() -> None:
    real, real_class = np.array([2, 2, 2, 1, 1, 1, 1, 1, 1, 2, 3, 4]), np.repeat([0, 1, 2], 4)
    fake, fake_class = np.array([2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), np.repeat([0, 1, 2], 4)
    found, odd = likeness_of_parts(real, real_class, fake, fake_class)
    assert found == pytest.approx((0.25 / 0.75 + 1) / 2)  # the third class has no usual number
    assert odd == 0
    none, nobody = likeness_of_parts(real[8:], real_class[8:], fake[8:], fake_class[8:])
    assert np.isnan(none)
    assert nobody is None


# mends


def test_every_alarm_has_its_mend_and_every_mend_is_known() -> None:
    assert set(MENDS) == {*RULES, "divergence"}
    assert {act for acts in MENDS.values() for act in acts} == set(ACTS)


def test_a_recipe_without_a_penalty_slows_d_down_instead() -> None:
    alarm = Alarm("mode collapse", "", "")
    state: Any = None
    without = Mender(RECIPE, state, Path(), {})
    assert without.acts(alarm) == ("go back", "halve D's rate")
    with_one = Mender(RECIPE.model_copy(update={"r1_weight": 1.0}), state, Path(), {})
    assert with_one.acts(alarm) == ("go back", "double the penalty")
    assert with_one.acts(Alarm("memorisation", "", "")) == ()


@pytest.fixture
def acting(watched: Any) -> Any:
    """As `watched`, by a monitor that acts."""
    return partial(watched, monitor=MonitorSettings(extractor="eye", extractor_size=16, looks=5, on_alarm="act"))


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Leave the alarms of these names alone: a generator of a moment's training raises many."""
    monkeypatch.setattr(alarms_module, "RULES", {name: RULES[name] for name in names})


def poisoned(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Let G's weights turn into NaN in the steps of these numbers, counted by images."""
    real_step = run_module.train_step

    def step(state: Any, *args: Any) -> Any:
        figures = real_step(state, *args)
        if state.images_seen in steps:
            with torch.no_grad():
                next(state.generator.parameters()).fill_(float("nan"))
        return figures

    monkeypatch.setattr(run_module, "train_step", step)


def test_a_nan_is_mended_and_the_run_ends_well(acting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    poisoned(monkeypatch, {56})
    told: list[str] = []
    gan = acting(
        RECIPE,
        out=tmp_path / "gan",
        images_seen=100,
        progress=lambda step, done, total=None, note="": told.append(f"{step} {note}"),
    )
    (alarm,) = lines(tmp_path / "gan", "alarms")
    assert alarm["name"] == "divergence"
    best = best_of(lines(tmp_path / "gan", "looks")[:2])
    assert alarm["did"] == [
        f"went back to the state of image {best['images_seen']}",
        "halved G's learning rate (now 0.0001)",
        "halved D's learning rate (now 0.0001)",
    ]
    assert any("went back to the state of image" in line for line in told)
    assert gan.manifest.metrics["images_seen"] == 100
    weights = load_file(tmp_path / "gan" / "generator.safetensors")
    assert all(np.isfinite(array).all() for array in weights.values())
    kept = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert kept is not None
    facts = json.loads((kept / "manifest.json").read_text())["facts"]
    assert facts["adjusted"] == {"generator_rate": 0.5, "discriminator_rate": 0.5, "penalty": 1.0}


def test_a_nan_without_anybody_to_mend_it_stops_the_run(
    watched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, {56})
    with pytest.raises(TrainingError, match=r"training has diverged: .* train anew with lower rates"):
        watched(RECIPE, out=tmp_path / "gan", images_seen=100)


def test_rates_that_are_far_too_high_are_halved_until_the_run_is_given_up(
    acting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch)
    wild = RECIPE.model_copy(update={"generator_learning_rate": 1e38, "discriminator_learning_rate": 1e38})
    with pytest.raises(TrainingError, match=r"given up at image .*divergence came back after 3 mends.*train anew with"):
        acting(wild, out=tmp_path / "gan", images_seen=100)
    alarms = lines(tmp_path / "gan", "alarms")
    assert [alarm["did"][-1] for alarm in alarms] == [
        f"halved D's learning rate (now {1e38 / 2**number:g})" for number in (1, 2, 3)
    ]
    assert not (tmp_path / "gan").exists()
    kept = latest_checkpoint(tmp_path / "gan.run" / "best")
    assert kept is not None
    assert all(np.isfinite(array).all() for array in load_file(kept / "networks.safetensors").values())


def test_a_discriminator_that_wins_is_slowed_down_and_penalised(
    acting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "discriminator overpowers")
    rates = {"generator_learning_rate": 1e-9, "discriminator_learning_rate": 1e-2, "r1_weight": 0.1}
    acting(RECIPE.model_copy(update=rates), out=tmp_path / "gan", images_seen=200)
    alarms = lines(tmp_path / "gan", "alarms")
    assert alarms[0]["did"] == [
        "halved D's learning rate (now 0.005)",
        "doubled the penalty's weight (now 2 times the recipe's)",
    ]
    # Judged anew: only a full history of later reports raises it again.
    assert all(b["images_seen"] - a["images_seen"] >= 80 for a, b in pairwise(alarms))


def test_a_collapse_goes_back_to_the_best_state(acting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_step = run_module.train_step

    def step(state: Any, *args: Any) -> Any:
        figures = real_step(state, *args)
        if 44 <= state.images_seen <= 80:
            with torch.no_grad():
                state.generator.layers[-1].bias.fill_(-9)  # all black
        return figures

    monkeypatch.setattr(run_module, "train_step", step)
    only(monkeypatch, "mode collapse")
    real_look = Quality.look

    def look(*args: Any) -> Look:  # that what has only begun to learn is all alike is not this test's collapse
        seen = real_look(*args)
        begun = replace(seen, blank=2 * seen.kid + 1)
        return begun if 44 <= seen.images_seen <= 80 else replace(begun, least_diversity=0.9)

    monkeypatch.setattr(Quality, "look", look)
    acting(RECIPE, out=tmp_path / "gan", images_seen=100)
    (alarm,) = lines(tmp_path / "gan", "alarms")
    best = best_of([one for one in lines(tmp_path / "gan", "looks") if one["images_seen"] < alarm["images_seen"]])
    assert best["images_seen"] < 44
    assert alarm["did"][0] == f"went back to the state of image {best['images_seen']}"
    kept = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert kept is not None
    bias = load_file(kept / "networks.safetensors")["generator.layers.1.bias"]
    assert (np.abs(bias) < 1).all()


@pytest.mark.parametrize("at", [5, 13, 14, 15, 20])
def test_a_run_that_was_mended_resumes_to_the_same_bits(
    acting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(run_module, "REPORT_EVERY", 3)
    with monkeypatch.context() as patch:
        poisoned(patch, {52})
        acting(RECIPE, out=tmp_path / "whole", images_seen=100)
        stepping, calls = run_module.train_step, iter(range(1, 1000))

        def step(*args: Any) -> Any:
            if next(calls) == at:
                raise RuntimeError("broken off")
            return stepping(*args)

        patch.setattr(run_module, "train_step", step)
        with pytest.raises(RuntimeError, match="broken off"):
            acting(RECIPE, out=tmp_path / "broken", images_seen=100, checkpoint_seconds=0.0)
        patch.setattr(run_module, "train_step", stepping)
        acting(RECIPE, out=tmp_path / "broken", images_seen=100, resume=True)
    assert "divergence" in {alarm["name"] for alarm in lines(tmp_path / "whole", "alarms")}
    for name in ("looks", "alarms"):
        assert lines(tmp_path / "broken", name) == lines(tmp_path / "whole", name)
    last = [
        load_file(latest_checkpoint(tmp_path / f"{name}.run" / "checkpoints") / "networks.safetensors")  # type: ignore[operator]
        for name in ("whole", "broken")
    ]
    assert all(array.tobytes() == last[1][name].tobytes() for name, array in last[0].items())


def test_stopped_as_an_alarm_is_told_it_resumes_to_the_same_bits(
    acting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "REPORT_EVERY", 3)
    poisoned(monkeypatch, {52})
    acting(RECIPE, out=tmp_path / "whole", images_seen=100)

    def cancel(step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step.startswith("ALARM"):
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        acting(RECIPE, out=tmp_path / "broken", images_seen=100, progress=cancel)
    acting(RECIPE, out=tmp_path / "broken", images_seen=100, resume=True)
    one, two = (load_file(tmp_path / name / "generator.safetensors") for name in ("whole", "broken"))
    assert all(array.tobytes() == two[name].tobytes() for name, array in one.items())


def test_a_run_that_acts_is_not_resumed_by_one_that_advises(acting: Any, watched: Any, tmp_path: Path) -> None:
    acting(RECIPE, out=tmp_path / "gan", images_seen=40)
    with pytest.raises(MismatchError, match="monitor was"):
        watched(RECIPE, out=tmp_path / "gan", images_seen=40, resume=True)
