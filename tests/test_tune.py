"""Tuning: what is searched, what is chosen, and that the test part plays no part in it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from recgan.config import SplitSettings
from recgan.errors import DataError, SettingsError, TrainingError
from recgan.evaluation import tune as module
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.tune import SPACES, Choice, Range, TuneReport, tune
from recgan.recommenders.models.implicit import ImplicitALS, ImplicitBPR
from recgan.recommenders.registry import recommender_type

SPLIT = SplitSettings(cold_share=0)
SPACE = {"factors": Choice((2, 4, 8)), "confidence": Range(1, 50, log=True), "epochs": Range(2, 5, whole=True)}
FAST = {"split": SPLIT, "space": SPACE, "device": "cpu", "metric": "auc"}


@pytest.mark.parametrize("model", SPACES)
def test_all_that_is_searched_is_allowed(model):
    settings = recommender_type(model).settings_type
    ends = [one.values if isinstance(one, Choice) else (one.low, one.high) for one in SPACES[model].values()]
    for number in range(max(len(values) for values in ends)):
        chosen = {name: values[min(number, len(values) - 1)] for name, values in zip(SPACES[model], ends)}
        assert settings(**chosen).model_dump() == {**settings().model_dump(), **chosen}


def test_values_are_those_of_the_evaluation_on_validation(tiny_bundle):
    report = tune(tiny_bundle, "als", trials=4, **FAST)
    assert [one.number for one in report.trials] == [0, 1, 2, 3]
    defaults = ImplicitALS().settings.model_dump()
    assert report.trials[0].settings == {name: defaults[name] for name in SPACE}
    for one in report.trials:
        assert 2 <= one.settings["epochs"] <= 15
        settings = {"als": recommender_type("als").settings_type(**one.settings)}
        judged = evaluate_ranking(
            tiny_bundle, ["als"], settings=settings, split=SPLIT, part="validation", device="cpu", resamples=20
        )
        assert one.value == pytest.approx(judged.models["als"].values["auc"]["all"])
    assert report.best.value == max(one.value for one in report.trials)


def test_the_test_part_does_not_matter(tiny_bundle, monkeypatch):
    whole = tune(tiny_bundle, "als", trials=3, **FAST)
    make_split = module.make_split

    def without_test(bundle, settings):
        split = make_split(bundle, settings)
        object.__setattr__(split, "test", split.test.where(np.zeros(len(split.test), dtype=bool)))
        return split

    monkeypatch.setattr(module, "make_split", without_test)
    again = tune(tiny_bundle, "als", trials=3, **FAST)
    assert [(one.settings, one.value) for one in again.trials] == [(one.settings, one.value) for one in whole.trials]


def test_a_longer_search_begins_with_the_shorter_one_and_a_stopped_one_goes_on(tiny_bundle, tmp_path, monkeypatch):
    whole = tune(tiny_bundle, "als", trials=13, **FAST)  # more than the sampler draws at random
    fit, fits = ImplicitALS.fit, []

    def counted(self, data, **given):
        fits.append(self.settings)
        if len(fits) == 6:
            raise KeyboardInterrupt
        return fit(self, data, **given)

    monkeypatch.setattr(ImplicitALS, "fit", counted)
    with pytest.raises(KeyboardInterrupt, match="goes on from there"):
        tune(tiny_bundle, "als", trials=13, out=tmp_path / "als.json", **FAST)
    resumed = tune(tiny_bundle, "als", trials=13, out=tmp_path / "als.json", **FAST)
    assert len(set(fits)) == len({json.dumps(one.settings) for one in whole.trials})
    assert len(fits) <= 13 + 1  # the stopped trial alone was begun twice
    assert [(one.settings, one.value) for one in resumed.trials] == [(one.settings, one.value) for one in whole.trials]
    assert not (tmp_path / "als.json.run").exists()
    found = json.loads((tmp_path / "als.json").read_text())
    assert found["best"] == json.loads(json.dumps(found["trials"][whole.best.number]))
    shorter = tune(tiny_bundle, "als", trials=5, **FAST)
    assert [one.settings for one in shorter.trials] == [one.settings for one in whole.trials[:5]]
    other = tune(tiny_bundle, "als", trials=5, seed=1, **FAST)
    assert [one.settings for one in other.trials[1:]] != [one.settings for one in whole.trials[1:5]]


def test_the_first_ten_trials_do_not_learn_from_each_other(tiny_bundle):
    one = tune(tiny_bundle, "als", trials=10, **FAST)
    other = tune(tiny_bundle, "als", trials=10, **{**FAST, "metric": "mrr@20"})
    assert [trial.value for trial in one.trials] != [trial.value for trial in other.trials]
    assert [trial.settings for trial in one.trials] == [trial.settings for trial in other.trials]


def test_the_set_line_gives_the_same_model(tiny_bundle):
    from recgan.config import overridden

    report = tune(tiny_bundle, "als", trials=3, settings={"regularisation": 2.5}, **FAST)
    words = report.options().split()
    assert words[::2] == ["--set"] * 4
    chosen = overridden(recommender_type("als").settings_type(), words[1::2])
    assert chosen.model_dump() == {**chosen.model_dump(), **report.best.settings, "regularisation": 2.5}
    assert all(len(word.partition("=")[2]) <= 7 for word in words[1::2])  # numbers as a person would write them
    assert report.options("als.").split()[1::2] == [f"als.{word}" for word in words[1::2]]


def test_what_is_given_is_not_searched(tiny_bundle):
    report = tune(tiny_bundle, "als", trials=3, settings={"factors": 3}, **FAST)
    assert all(set(one.settings) == {"confidence", "epochs"} for one in report.trials)
    assert report.as_json()["set"].startswith("--set factors=3 ")
    with pytest.raises(SettingsError, match="nothing is left to search"):
        tune(tiny_bundle, "popularity", settings={"half_life_days": 3.0}, split=SPLIT)


def test_a_trial_that_diverges_is_told_and_not_chosen(tiny_bundle):
    space = {"learning_rate": Choice((0.05, 1e30))}
    options = {"split": SPLIT, "space": space, "device": "cpu", "metric": "auc"}
    report = tune(tiny_bundle, "bpr", trials=5, settings={"factors": 4, "epochs": 3}, **options)
    wild = [one for one in report.trials if one.settings["learning_rate"] == 1e30]
    assert wild
    assert all(np.isnan(one.value) and "diverged" in one.error for one in wild)
    assert report.best.settings["learning_rate"] != 1e30
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["trials"][wild[0].number]["value"] is None
    given = {"factors": 4, "epochs": 3, "learning_rate": 1e30}
    with pytest.raises(TrainingError, match="every trial of 'bpr' diverged"):
        tune(tiny_bundle, "bpr", trials=2, settings=given, **{**options, "space": {"regularisation": Range(0, 1)}})


def test_of_equal_trials_the_earliest_is_best():
    trials = [module.Trial(n, {}, value, 0.0) for n, value in enumerate([np.nan, 0.5, 0.7, 0.7])]
    assert TuneReport("b", "als", "auc", {}, 0, {}, trials).best.number == 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("model", "options", "words"),
        [
            ("asl", {}, "did you mean 'als'"),
            ("als", {"metric": "ndgc@20"}, "did you mean 'ndcg@20'"),
            ("als", {"trials": 0}, "at least one"),
            ("als", {"space": {"factor": Range(1, 2)}}, "did you mean 'factors'"),
        ],
    )
    def test_wrong_settings(self, tiny_bundle, model, options, words):
        with pytest.raises(SettingsError, match=words):
            tune(tiny_bundle, model, **options)

    def test_no_validation_part(self, tiny_bundle):
        with pytest.raises(DataError, match="holds out nothing for validation"):
            tune(tiny_bundle, "als", split=SplitSettings(protocol="all"))

    def test_optuna_is_not_installed(self, tiny_bundle, monkeypatch):
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(SettingsError, match=r"pip install 'recgan\[tune\]'"):
            tune(tiny_bundle, "als", **FAST)


def test_bpr_is_searched_as_well(tiny_bundle):
    report = tune(tiny_bundle, "bpr", trials=2, settings={"epochs": 2, "factors": 4}, split=SPLIT, device="cpu")
    assert set(report.trials[1].settings) == {"learning_rate", "regularisation"}
    assert report.trials[0].settings["learning_rate"] == ImplicitBPR().settings.learning_rate
