"""The backtest, on a log small enough to work the weeks out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recgan.config import ALSSettings, BlendSettings, BPRSettings, DVBPRSettings, PopularitySettings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.split import make_split
from recgan.encoders import embed_items
from recgan.errors import DataError, SettingsError, TrainingError
from recgan.evaluation.backtest import backtest
from recgan.evaluation.backtest.comparing import clustered
from recgan.evaluation.backtest.report import ALL_TIME, ALL_WEEKS, RECENT
from recgan.evaluation.backtest.weeks import Week, last_weeks, week_split
from recgan.evaluation.ranking.judging import METRICS
from recgan.recommenders import create_recommender, recommender_type, train_recommender, training_data
from recgan.recommenders.models.implicit import ImplicitALS
from recgan.recommenders.models.popularity import Popularity
from recgan.recommenders.models.vbpr import VBPR
from tests.test_evaluate_ranking import EMBED, SMALL, encoder  # noqa: F401

START = pd.Timestamp("2025-03-03")


def shop(out, rows, n_items=12, available=None):
    """Write a bundle without pictures of (user, item number, day after START[, event])."""
    ids = [f"i{number}" for number in range(n_items)]
    with BundleWriter(out, name="shop", licence="-", source="-") as writer:
        writer.set_items(pd.DataFrame({"item_id": ids, "category": "hat", "available": available or [True] * n_items}))
        frame = pd.DataFrame([(*row, "purchase")[:4] for row in rows], columns=["user_id", "item", "day", "event"])
        frame["timestamp"] = START + pd.to_timedelta(frame["day"], unit="D")
        frame["item_id"] = [ids[number] for number in frame["item"]]
        writer.set_interactions(frame[["user_id", "item_id", "timestamp", "event"]])
    return Bundle.open(out)


@pytest.fixture(scope="module")
def fashions(tmp_path_factory):
    """Each week everybody buys that week's two items, in six weeks; all-time popularity is of no use."""
    rows = []
    for week in range(6):
        for user in range(30):
            if (user + week) % 3:
                rows.append((f"u{user}", 2 * week, 7 * week + user % 4))
                rows.append((f"u{user}", 2 * week + 1, 7 * week + 3 + user % 4))
            if user % 5 == week % 5 and week < 5:
                rows.append((f"u{user}", 2 * week + 2, 7 * week + 6))  # a few are ahead of their time
    return shop(tmp_path_factory.mktemp("fashions") / "b", rows)


def test_the_weeks_end_with_the_day_of_the_last_interaction(fashions):
    weeks = last_weeks(fashions, 2)
    assert [(week.name, week.last_day) for week in weeks] == [
        ("2025-03-31", "2025-04-06"),
        ("2025-04-07", "2025-04-13"),
    ]


def test_a_weeks_split_is_what_was_known_then(tmp_path):
    rows = [
        ("ann", 0, 0),
        ("ann", 1, 5),
        ("ann", 1, 9, "return"),  # in the week: before it nobody knew
        ("ann", 2, 8),
        ("ann", 0, 8),  # again: tells nothing new
        ("bob", 3, 1),
        ("bob", 4, 10),
        ("bob", 5, 10),
        ("bob", 5, 11, "return"),
        ("cat", 2, 9),  # new
        ("dan", 2, 1),
        ("bob", 6, 20),  # later: not there yet
    ]
    bundle = shop(tmp_path / "b", rows, n_items=9, available=[True] * 8 + [False])
    week = Week(START + pd.Timedelta(days=7), START + pd.Timedelta(days=14))
    made = week_split(bundle, week, SplitSettings())
    split = made.split

    def pairs(part):
        return sorted(zip(split.user_ids[part.users], part.items.tolist()))

    assert pairs(split.train) == [("ann", 0), ("ann", 1), ("bob", 3), ("dan", 2)]
    assert pairs(split.test) == [("ann", 2), ("bob", 4)]
    assert made.new_users == 1
    # Item 6 is first taken later; 7 was never taken but is on offer; 8 is neither.
    assert np.flatnonzero(split.candidates).tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert len(split.validation) == len(split.withheld) == 0
    as_validation = week_split(bundle, week, SplitSettings(), "validation").split
    assert len(as_validation.test) == 0
    assert len(as_validation.validation) == 2


def test_baselines_and_model_by_hand(fashions, monkeypatch):
    """Recall@10 over 12 items means little; so the ranks themselves are worked out, for one week."""
    report = backtest(fashions, ["als"], weeks=1, settings={"als": ALSSettings(factors=4)}, metric="auc", resamples=50)
    split = week_split(fashions, last_weeks(fashions, 1)[0], SplitSettings()).split
    half_life = report.about[RECENT]["settings"]["half_life_days"]
    ages = (split.train.times.max() - split.train.times) / 86_400e6
    scores = {
        ALL_TIME: np.bincount(split.train.items, minlength=12).astype(float),
        RECENT: np.bincount(split.train.items, weights=0.5 ** (ages / half_life), minlength=12),
    }
    for name, score in scores.items():
        values = []
        for user in np.unique(split.test.users):
            mine = split.test.items[split.test.users == user]
            known = np.concatenate([mine, split.train.items[split.train.users == user]])
            others = score[np.setdiff1d(np.flatnonzero(split.candidates), known)]
            values.append(
                np.mean([(others < score[item]).mean() + (others == score[item]).mean() / 2 for item in mine])
            )
        assert report.figures[name]["auc"][ALL_WEEKS].value == pytest.approx(np.mean(values), abs=1e-6)
    assert report.figures[RECENT]["auc"][ALL_WEEKS].value > report.figures[ALL_TIME]["auc"][ALL_WEEKS].value


def test_the_report_answers_in_words_and_numbers(fashions, tmp_path):
    options = {"weeks": 3, "settings": {"als": ALSSettings(factors=4, epochs=2)}, "metric": "mrr@10", "resamples": 200}
    report = backtest(fashions, ["als"], out=tmp_path / "out", **options)
    found = json.loads((tmp_path / "out" / "backtest.json").read_text())
    assert not (tmp_path / "out.run").exists()
    assert (tmp_path / "out" / "backtest.png").read_bytes().startswith(b"\x89PNG")
    assert [week["first_day"] for week in found["weeks"]] == ["2025-03-24", "2025-03-31", "2025-04-07"]
    assert set(found["models"]) == {ALL_TIME, RECENT, "als"}
    assert set(found["models"]["als"]) == set(METRICS)
    overall = {(one["against"]): one for one in found["comparisons"] if one["group"] == ALL_WEEKS}
    assert set(overall) == {RECENT, ALL_TIME}
    for against, one in overall.items():
        values = {name: found["models"][name]["mrr@10"][ALL_WEEKS]["value"] for name in ("als", against)}
        assert one["difference"] == pytest.approx(values["als"] - values[against])
        assert one["p"] <= one["p_holm"]
    single = [one for one in found["comparisons"] if one["group"] != ALL_WEEKS]
    assert len(single) == 6
    assert all(one["p_holm"] is None for one in single)
    # Each week's mean weighs by its users in the mean over all weeks.
    by_week = [found["models"]["als"]["mrr@10"][week["first_day"]]["value"] for week in found["weeks"]]
    users = [week["users"] for week in found["weeks"]]
    assert found["models"]["als"]["mrr@10"][ALL_WEEKS]["value"] == pytest.approx(np.average(by_week, weights=users))
    # ALS knows nothing of time here, so recent popularity is better.
    assert found["beats_recent_popularity"] == {"als": False}
    assert found["answers"]["als"].startswith(
        "No: als does worse than recent popularity on the last 3 weeks (2025-03-24"
    )
    assert (tmp_path / "out" / "answer.txt").read_text() == found["answers"]["als"] + "\n"
    assert report.answers == found["answers"]


def test_a_model_against_itself_cannot_be_told(fashions, monkeypatch):
    recent = PopularitySettings(half_life_days=7.0)
    monkeypatch.setattr("recgan.evaluation.backtest.running.HALF_LIVES_DAYS", (7.0,))

    def train(self, data, seed, device, progress):
        same = Popularity(recent).fit(data)
        self.user_factors, self.item_factors = same.user_factors, same.item_factors

    monkeypatch.setattr(ImplicitALS, "_train", train)
    report = backtest(fashions, ["als"], weeks=2, resamples=50)
    assert report.beats_recent_popularity == {"als": None}
    answer = report.answers["als"]
    assert answer.startswith("It cannot be told whether als beats recent popularity on the last 2 weeks")
    assert "a difference of +0.0000" in answer
    assert "the interval holds 0" in answer


def test_folding_in_trains_once_and_brings_users_up_to_date(fashions, monkeypatch):
    fits, folded = [], []
    fit, fold_in = ImplicitALS.fit, ImplicitALS.fold_in
    monkeypatch.setattr(
        ImplicitALS, "fit", lambda self, data, **o: (fits.append(len(data.train)), fit(self, data, **o))[1]
    )
    monkeypatch.setattr(
        ImplicitALS, "fold_in", lambda self, liked, **o: (folded.append(tuple(liked)), fold_in(self, liked, **o))[1]
    )
    options = {"weeks": 3, "settings": {"als": ALSSettings(factors=4, epochs=5)}, "resamples": 50}
    report = backtest(fashions, ["als"], update="fold_in", **options)
    weeks = last_weeks(fashions, 3)
    known = [week_split(fashions, week, SplitSettings()).split for week in weeks]
    assert fits == [len(known[0].train)]  # it has nothing to choose
    judged = {user for split in known[1:] for user in split.user_ids[np.unique(split.test.users)]}
    assert 0 < len(set(folded)) <= 2 * len(judged)
    last = known[2]
    user = np.unique(last.test.users)[0]
    items = fashions.item_ids[np.sort(last.train.items[last.train.users == user])]
    assert tuple(items) in folded
    fits.clear()
    retrained = backtest(fashions, ["als"], **options)
    assert fits == [len(split.train) for split in known]
    first = weeks[0].name
    assert report.figures["als"]["auc"][first] == retrained.figures["als"]["auc"][first]
    assert report.figures["als"]["auc"][ALL_WEEKS] != retrained.figures["als"]["auc"][ALL_WEEKS]
    assert report.figures[RECENT] == retrained.figures[RECENT]  # counted anew each week in any case


def test_a_stopped_backtest_goes_on_where_it_stopped(fashions, tmp_path, monkeypatch):
    options = {"weeks": 3, "settings": {"als": ALSSettings(factors=4, epochs=2)}, "resamples": 50}
    whole = backtest(fashions, ["als"], **options)
    fit, fits = ImplicitALS.fit, []

    def counted(self, data, **given):
        fits.append(len(data.train))
        if len(fits) == 2:
            raise KeyboardInterrupt
        return fit(self, data, **given)

    monkeypatch.setattr(ImplicitALS, "fit", counted)
    with pytest.raises(KeyboardInterrupt, match=r"kept in .*out\.run.*the same command goes on"):
        backtest(fashions, ["als"], out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    resumed = backtest(fashions, ["als"], out=tmp_path / "out", **options)
    assert len(fits) == 2 + 2  # the first week was kept; the stopped week and the last are trained
    assert resumed.figures == whole.figures
    assert resumed.as_json()["comparisons"] == whole.as_json()["comparisons"]


def test_early_stopping_chooses_once_and_training_then_uses_everything(tiny_bundle, monkeypatch):
    seen = []
    fit = VBPR.fit

    def spy(self, data, **given):
        fit(self, data, **given)
        seen.append((self.settings.epochs, len(data.validation), len(data.train), dict(self.metrics)))
        return self

    monkeypatch.setattr(VBPR, "fit", spy)
    report = backtest(
        tiny_bundle, ["vbpr"], weeks=2, settings=SMALL, embed=EMBED, device="cpu", resamples=50, metric="auc"
    )
    (choosing, first, second) = seen
    assert choosing[1] > 0
    assert first[1] == second[1] == 0
    assert choosing[2] < first[2] < second[2]
    assert first[0] == second[0] == choosing[3]["best_epoch"]
    assert report.about["vbpr"]["settings"]["cold_bias"] == choosing[3].get("cold_bias")


def test_a_model_knows_what_validation_chose(tiny_bundle):
    """Were it not told, the weeks would be trained with what nobody chose."""
    fast = {"vbpr": SMALL["vbpr"], "bpr_mf": recommender_type("bpr_mf").settings_type(epochs=2)}
    fast["dvbpr"] = DVBPRSettings(backbone="cnn_f", input_size=32, hidden=8, dim=4, epochs=2)
    for name in ("vbpr", "bpr_mf", "dvbpr", "ideal_point"):
        model = train_recommender(tiny_bundle, name, fast.get(name), embed=EMBED, device="cpu")
        chosen = model.chosen_settings()
        if name == "ideal_point":
            figures = (model.metrics["visual_weight"], model.metrics["category_weight"])
            assert (chosen.visual_weight, chosen.category_weight) == figures
        else:
            assert chosen.epochs == model.metrics["best_epoch"]
        assert chosen.cold_bias == model.metrics.get("cold_bias")


def test_what_a_blend_chose_is_what_it_does_without_validation(tiny_bundle):
    split = make_split(tiny_bundle, SplitSettings(cold_share=0.2))
    data = training_data(tiny_bundle, split, embed_items(tiny_bundle, EMBED, device="cpu"))
    options = {"vbpr_ssm": {"epochs": 4, "latent_dim": 4, "visual_dim": 4, "batch_size": 16}}
    parts = ("ideal_point", "vbpr_ssm", "bpr_mf")
    settings = BlendSettings(parts=parts, options=options | {"bpr_mf": {"epochs": 3, "latent_dim": 4}}, width=8)
    model = create_recommender("blend", settings).fit(data, device="cpu")
    chosen = model.chosen_settings()
    assert set(chosen.parts) == {name for name in parts if model.metrics[f"weight_{name}"] > 0}
    blind = replace(data, validation=data.validation.where(np.zeros(len(data.validation), dtype=bool)))
    again = create_recommender("blend", chosen).fit(blind, device="cpu")
    np.testing.assert_allclose(again.score(list(data.user_ids)), model.score(list(data.user_ids)), rtol=1e-4, atol=1e-5)


def test_users_are_resampled_with_all_of_their_weeks():
    rng = np.random.default_rng(0)
    own = rng.normal(size=200)
    users = np.repeat(np.arange(200), 4)
    means, values = clustered(own[users][:, None], users, 4000, 0)  # four rows of a user tell no more than one
    assert values[0] == pytest.approx(own.mean())
    assert means.std() == pytest.approx(own.std() / np.sqrt(200), rel=0.05)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"models": ["popularity"]}, "name other models"),
            ({"models": ["als"], "settings": {"popularity": PopularitySettings()}}, "name other models"),
            ({"models": ["asl"]}, "did you mean 'als'"),
            ({"models": ["als"], "metric": "ndgc@20"}, "did you mean 'ndcg@20'"),
            ({"models": ["als"], "update": "retrian"}, "did you mean 'retrain'"),
            ({"models": ["als"], "weeks": 0}, "at least one"),
            ({"models": ["als"], "positives": SplitSettings(cold_share=0.2)}, "no use for --split cold_share"),
        ],
    )
    def test_wrong_settings(self, fashions, options, words):
        with pytest.raises(SettingsError, match=words):
            backtest(fashions, **options)

    def test_a_saved_model(self, fashions, tmp_path):
        with pytest.raises(SettingsError, match="may have seen the weeks"):
            backtest(fashions, [tmp_path])

    def test_a_log_too_short_or_without_times(self, fashions, tmp_path):
        with pytest.raises(DataError, match="ask for --weeks 4 at most"):
            backtest(fashions, ["als"], weeks=5)
        short = shop(tmp_path / "short", [("ann", 0, 0), ("bob", 1, 3)])
        with pytest.raises(DataError, match="import a longer log"):
            backtest(short, ["als"], weeks=1)
        with BundleWriter(tmp_path / "timeless", name="t", licence="-", source="-") as writer:
            writer.set_items(pd.DataFrame({"item_id": ["1"], "category": ["hat"]}))
            writer.set_interactions(pd.DataFrame({"user_id": ["ann"], "item_id": ["1"]}))
        with pytest.raises(DataError, match="1 interactions without a timestamp"):
            backtest(Bundle.open(tmp_path / "timeless"), ["als"])

    def test_recent_popularity_without_times(self, tmp_path):
        with BundleWriter(tmp_path / "timeless", name="t", licence="-", source="-") as writer:
            writer.set_items(pd.DataFrame({"item_id": ["1", "2"], "category": ["hat", "hat"]}))
            writer.set_interactions(pd.DataFrame({"user_id": ["ann"], "item_id": ["1"]}))
        everything = SplitSettings(protocol="all")
        recent = PopularitySettings(half_life_days=7)
        with pytest.raises(DataError, match="recent popularity needs the time of every interaction"):
            train_recommender(Bundle.open(tmp_path / "timeless"), "popularity", recent, split=everything)

    def test_a_week_in_which_nothing_can_be_judged(self, tmp_path):
        rows = [("ann", 0, 0), ("bob", 1, 0), ("ann", 1, 12), ("cat", 2, 20)]
        with pytest.raises(DataError, match="in the week from 2025-03-17 no known user took anything new"):
            backtest(shop(tmp_path / "b", rows), ["als"], weeks=1)

    def test_a_model_that_diverges(self, fashions):
        with pytest.raises(TrainingError, match="bpr: the training diverged"):
            backtest(fashions, ["bpr"], weeks=1, settings={"bpr": BPRSettings(learning_rate=1e30, epochs=3)})
