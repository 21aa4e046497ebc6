"""A recipe's sweep: what is changed, one table, resumed where it was stopped, a run that fails is a row."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recgan.config import MonitorSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.encoders import register_encoder
from recgan.errors import ArtifactError, DataError, MismatchError, SettingsError
from recgan.gan import find_recipe, sweep_gan
from recgan.gan.training import sweep as sweep_module
from recgan.gan.training import trainer
from recgan.gan.training.sweep import AS_IT_IS, SweepRow, sweep_table, variations
from tests.conftest import write_bundle
from tests.test_gan_monitor import eye

RECIPE = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, class_dim=4, batch_size=4)


def test_one_thing_is_changed_at_a_time() -> None:
    found = variations(RECIPE.model_copy(update={"r1_weight": 2.0}))
    rates = {"generator_learning_rate": 2e-4, "discriminator_learning_rate": 2e-4}
    assert found == {
        AS_IT_IS: {},
        "learning rates /4": {name: rate / 4 for name, rate in rates.items()},
        "learning rates x4": {name: rate * 4 for name, rate in rates.items()},
        "penalty /4": {"r1_weight": 0.5},
        "penalty x4": {"r1_weight": 8.0},
        "batch 2": {"batch_size": 2},
        "batch 8": {"batch_size": 8},
        "beta1 0": {"beta1": 0.0},
        "beta1 0.9": {"beta1": 0.9},
    }


def test_what_a_recipe_does_not_have_is_not_changed() -> None:
    wgan = variations(find_recipe("wgan"))
    assert not any("penalty" in name for name in wgan)
    assert [name for name in wgan if "beta" in name] == ["beta2 0.9", "beta2 0.999"]
    parts = variations(RECIPE.model_copy(update={"micro_batches": 2}))
    assert [name for name in parts if "batch" in name] == ["batch 8"]


def test_the_table_sets_kid_beside_that_of_the_recipe_as_it_is() -> None:
    rows = [
        SweepRow(AS_IT_IS, {}, 0.5, 0.9, 1.0, 0.7, 100, 3.0, []),
        SweepRow("batch 8", {"batch_size": 8}, 0.75, 0.8, 1.0, 0.6, 80, 3.0, ["oscillation", "mode collapse"]),
        SweepRow("beta1 0", {"beta1": 0.0}, *[float("nan")] * 4, 0, 0.0, [], "training has diverged: x is nan"),
    ]
    table = sweep_table(rows)
    assert table["times"].tolist()[:2] == [1.0, 1.5]
    assert np.isnan(table["times"][2])
    assert table["remarks"].tolist() == ["", "oscillation, mode collapse", "training has diverged: x is nan"]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("sweep") / "bundle", items=120)


@pytest.fixture
def sweep(catalogue: Bundle, monkeypatch: pytest.MonkeyPatch) -> Any:
    register_encoder("eye", eye)
    monkeypatch.setattr(trainer, "FEWEST", 5)
    monkeypatch.setattr(sweep_module, "FEWEST", 5)
    changes = {AS_IT_IS: {}, "batch 8": {"batch_size": 8}, "learning rates x4": {"generator_learning_rate": 1e38}}
    monkeypatch.setattr(sweep_module, "variations", lambda recipe: changes)
    monitor = MonitorSettings(extractor="eye", extractor_size=16, looks=2, images=50)
    return partial(sweep_gan, catalogue, RECIPE, size=16, images_seen=16, device="cpu", monitor=monitor)


def test_a_stopped_sweep_goes_on_and_ends_in_the_same_table(
    sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep(out=tmp_path / "whole")
    assert [row.change for row in whole] == [AS_IT_IS, "batch 8", "learning rates x4"]
    assert all(np.isfinite(row.kid) for row in whole[:2])
    assert np.isnan(whole[2].kid)
    assert whole[2].error.startswith("training has diverged: ")
    written = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert written == [
        "as-it-is.json",
        "as-it-is.png",
        "batch-8.json",
        "batch-8.png",
        "learning-rates-x4.json",
        "sweep.csv",
        "sweep.json",
        "sweep.md",
    ]
    assert len(pd.read_csv(tmp_path / "whole" / "sweep.csv")) == 3
    assert (tmp_path / "whole" / "sweep.md").read_text().count("\n") == 5

    trained: list[str] = []
    real = sweep_module.train_gan

    def train(bundle: Bundle, recipe: Recipe, **options: Any) -> Any:
        trained.append(f"{recipe.batch_size}{' again' if options['resume'] else ''}")
        if trained == ["4", "8"]:

            def stop(step: str, done: int, total: int | None = None, note: str = "") -> None:
                if step.startswith("looking"):
                    raise KeyboardInterrupt

            options["progress"] = stop
        return real(bundle, recipe, **options)

    monkeypatch.setattr(sweep_module, "train_gan", train)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        sweep(out=tmp_path / "stopped")
    again = sweep(out=tmp_path / "stopped", resume=True)
    assert trained == ["4", "8", "8 again", "4"]

    def timeless(rows: list[SweepRow]) -> list[dict[str, Any]]:
        return json.loads(json.dumps([{**vars(row), "seconds": 0} for row in rows]))

    assert str(timeless(again)) == str(timeless(whole))


def test_a_sweep_of_other_settings_or_in_a_taken_place_is_refused(sweep: Any, tmp_path: Path) -> None:
    sweep(out=tmp_path / "sweep")
    with pytest.raises(ArtifactError, match="exists already; go on with --resume"):
        sweep(out=tmp_path / "sweep")
    with pytest.raises(MismatchError, match="seed was 0, is now 1"):
        sweep(out=tmp_path / "sweep", seed=1, resume=True)
    with pytest.raises(ArtifactError, match="no sweep to resume"):
        sweep(out=tmp_path / "none", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="is no sweep and is not overwritten"):
        sweep(out=tmp_path / "mine", overwrite=True)
    with pytest.raises(SettingsError, match="local folder only"):
        sweep(out="memory://sweep")


def test_too_few_held_out_images_are_not_judged_by(sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "FEWEST", 1000)
    with pytest.raises(DataError, match="a sweep needs 1000"):
        sweep(out=tmp_path / "sweep")
