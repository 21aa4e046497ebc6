"""What is taken again: what splits keep of it, the model `repurchase`, and the backtest that judges it, by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from recgan.config import IndexSettings, RepurchaseSettings, SplitSettings
from recgan.dataset.split import make_split
from recgan.errors import DataError, SettingsError
from recgan.evaluation.backtest import backtest
from recgan.evaluation.backtest.report import ALL_WEEKS, RECENT, REPURCHASE
from recgan.evaluation.backtest.running import OWN_HALF_LIVES_DAYS
from recgan.evaluation.backtest.weeks import Week, week_split
from recgan.recommenders import UserVector, create_recommender, load_recommender, training_data
from recgan.recommenders.explain import explain
from recgan.recommenders.topk.ann import ApproximateIndex
from recgan.recommenders.topk.batch import recommend_all
from tests.test_backtest import START, shop

ALL = SplitSettings(protocol="all")


def of(pairs, split):
    return sorted(zip(split.user_ids[pairs.users], pairs.items.tolist()))


@pytest.fixture(scope="module")
def larder(tmp_path_factory):
    """Ann takes 0 often and long ago, 1 twice and lately; bob takes 2 thrice, once returned; cat takes 3."""
    rows = [("ann", 0, day) for day in (0, 1, 2)]
    rows += [("ann", 1, 20), ("ann", 1, 27)]
    rows += [("bob", 2, 3), ("bob", 2, 9, "return"), ("bob", 2, 10), ("bob", 2, 11), ("cat", 3, 28)]
    return shop(tmp_path_factory.mktemp("larder") / "b", rows, n_items=6, available=[True] * 5 + [False])


@pytest.fixture(scope="module")
def model(larder):
    return create_recommender("repurchase").fit(training_data(larder, make_split(larder, ALL)))


def ids(answer):
    return [one.item_id for one in answer]


def test_a_split_keeps_later_interactions_of_training_pairs_apart(larder):
    split = make_split(larder, ALL)
    assert of(split.train, split) == [("ann", 0), ("ann", 1), ("bob", 2), ("cat", 3)]
    # Bob's purchase before the return is none, the one after it is his first.
    assert of(split.repeats, split) == [("ann", 0), ("ann", 0), ("ann", 1), ("bob", 2)]
    assert sorted(((split.repeats.times - split.repeats.times.min()) / 86_400e6).tolist()) == [0, 1, 10, 26]


def test_no_split_lets_training_see_a_repeat_from_later_or_of_a_held_out_pair(tmp_path):
    rows = [("u", item, day) for day in range(20) for item in (0, day + 1)]  # item 0 every day
    bundle = shop(tmp_path / "b", rows, n_items=21)
    settings = SplitSettings(protocol="global_time", seed=1, cold_share=0.3, test_share=0.2, validation_share=0.2)
    split = make_split(bundle, settings)
    first_held_out = min(split.validation.times.min(), split.test.times.min())
    assert len(split.withheld)
    assert 0 in split.train.items
    assert len(split.repeats) == (first_held_out - split.train.times.min()) // 86_400_000_000 - 1
    assert (split.repeats.times < first_held_out).all()
    one_out = make_split(bundle, SplitSettings(cold_share=0))
    held = np.concatenate([one_out.validation.items, one_out.test.items])
    assert not np.isin(one_out.repeats.items, held).any()


def test_recency_and_back_fill_by_hand(larder):
    settings = RepurchaseSettings(half_life_days=10, popularity_half_life_days=7, smoothing=0.25)
    model = create_recommender("repurchase", settings).fit(training_data(larder, make_split(larder, ALL)))
    own = {0: sum(0.5 ** ((28 - day) / 10) for day in (0, 1, 2)), 1: 0.5**0.8 + 0.5**0.1}
    counts = np.zeros(6)
    for item, day in [(0, 0), (0, 1), (0, 2), (1, 20), (1, 27), (2, 10), (2, 11), (3, 28)]:
        counts[item] += 0.5 ** ((28 - day) / 7)
    expected = 0.25 * counts / counts.max()
    for item, value in own.items():
        expected[item] += value
    np.testing.assert_allclose(model.score(["ann"])[0], expected, rtol=1e-6)
    assert ids(model.recommend(["ann"], 5, exclude_seen=False)[0]) == [
        f"i{item}" for item in np.argsort(-expected, kind="stable") if item != 5
    ]


def test_every_way_of_asking_gives_one_list(model, tmp_path):
    # Item 5 is not available. Without a half-life, ann's own come by their number, the rest by popularity.
    lists = {"ann": ["i0", "i1", "i2", "i3", "i4"], "bob": ["i2", "i0", "i1", "i3", "i4"]}
    lists["cat"] = ["i3", "i0", "i1", "i2", "i4"]
    model.save(tmp_path / "model")
    index = IndexSettings(kind="ivf", lists=1)
    for asked in (model, load_recommender(tmp_path / "model")):
        for approximate in (None, ApproximateIndex.build(asked.item_factors, asked.user_factors, index)):
            asked.use_index(approximate)
            for k in (1, 3, 100):
                answers = asked.recommend(list(lists), k, exclude_seen=False)
                assert [ids(answer) for answer in answers] == [one[:k] for one in lists.values()]
                for user, answer in zip(lists, answers):
                    assert [one.score for one in answer] == asked.score([user], ids(answer))[0].tolist()
            assert ids(asked.recommend(["ann"], 100, exclude_seen=False, candidates=["i4", "i1", "i5"])[0]) == [
                "i1",
                "i4",
            ]
            assert ids(asked.recommend(["ann"], 100)[0]) == ["i2", "i3", "i4"]
            asked.use_index(None)
        recommend_all(asked, tmp_path / "all.parquet", 4, exclude_seen=False, overwrite=True)
        table = pq.read_table(tmp_path / "all.parquet").to_pandas()
        assert {user: list(part["item_id"]) for user, part in table.groupby("user_id")} == {
            user: one[:4] for user, one in lists.items()
        }


def test_many_users_are_screened_to_the_same_lists(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(f"u{rng.integers(60):02d}", int(rng.integers(400)), int(day)) for day in rng.integers(0, 9, 900)]
    bundle = shop(tmp_path / "b", rows, n_items=400)
    model = create_recommender("repurchase").fit(training_data(bundle, make_split(bundle, ALL)))
    users = list(model.user_ids)
    for answer, scores in zip(model.recommend(users, 7, exclude_seen=False), model.score(users)):
        assert ids(answer) == [f"i{item}" for item in np.argsort(-scores, kind="stable")[:7]]


def test_who_comes_later_and_what_is_taken_again(larder, tmp_path):
    model = create_recommender("repurchase").fit(training_data(larder, make_split(larder, ALL)))
    model.partial_fit(["ann", "ann", "new", "ann"], ["i4", "i1", "i4", "i1"])
    assert model.own[0].tolist() == [3, 4, 1]  # items 0, 1, 4
    assert model.own[3].tolist() == [1]
    assert ids(model.recommend(["ann"], 3, exclude_seen=False)[0]) == ["i1", "i0", "i4"]
    np.testing.assert_allclose(model.item_factors[:, 0], np.array([3, 4, 2, 1, 2, 0]) / 8)
    somebody = model.fold_in(["i4", "i2"], disliked=["i1"])
    assert somebody.own.tolist() == [0, 1, 1]  # items 1, 2, 4
    assert ids(model.recommend([somebody], 9, exclude_seen=False)[0]) == ["i2", "i4", "i1", "i0", "i3"]
    # Whose vector says nothing of what is their own, gets what is popular.
    stranger = UserVector(somebody.values, somebody.seen)
    assert ids(model.recommend([stranger], 2, exclude_seen=False)[0]) == ["i1", "i0"]


def test_an_index_over_older_counts_is_not_asked_any_more(larder):
    model = create_recommender("repurchase").fit(training_data(larder, make_split(larder, ALL)))
    model.use_index(ApproximateIndex.build(model.item_factors, model.user_factors, IndexSettings(kind="ivf", lists=1)))
    model.partial_fit(["new"] * 60, ["i4"] * 60)
    (answer,) = model.recommend(["bob"], 1)
    assert (answer[0].item_id, answer[0].score) == ("i4", float(model.item_factors[4, 0]))


def test_the_parts_of_a_score_and_what_carries_it(model):
    own, other = explain(model, ["i0", "i2"], user="ann")
    assert own.parts == {"popularity": 0.5, "taken before": 3.0}
    assert (own.score, own.liked) == (3.5, [("i0", 3.0), ("i1", 0.0)])
    assert other.parts == {"popularity": pytest.approx(1 / 3), "taken before": 0.0}
    assert explain(model, ["i4"], liked=["i4"])[0].liked == [("i4", 1.0)]


def test_a_half_life_needs_times(tmp_path, larder):
    split = make_split(larder, ALL)
    blind = type(split)(**{**vars(split), "train": type(split.train)(split.train.users, split.train.items)})
    for setting in ("half_life_days", "popularity_half_life_days"):
        settings = RepurchaseSettings(**{setting: 7})
        with pytest.raises(
            DataError, match=r"recent repurchase needs the time of every interaction.*repurchase's half_life_days"
        ):
            create_recommender("repurchase", settings).fit(training_data(larder, blind))


def test_a_week_judges_what_is_taken_again_if_asked(tmp_path):
    rows = [("ann", 0, 0), ("ann", 0, 3), ("ann", 0, 8), ("ann", 0, 9), ("ann", 1, 9), ("bob", 2, 1), ("bob", 2, 12)]
    rows += [("bob", 2, 13, "return")]
    bundle = shop(tmp_path / "b", rows)
    week = Week(START + pd.Timedelta(days=7), START + pd.Timedelta(days=14))
    plain, judged = (week_split(bundle, week, SplitSettings(), repeats=repeats).split for repeats in (False, True))
    assert of(plain.test, plain) == [("ann", 1)]
    assert of(judged.test, judged) == [("ann", 0), ("ann", 1)]  # once, and nothing that was returned
    assert of(plain.train, plain) == of(judged.train, judged) == [("ann", 0), ("bob", 2)]
    assert of(judged.repeats, judged) == [("ann", 0)]


@pytest.fixture(scope="module")
def regulars(tmp_path_factory):
    """Everybody takes their own item every week, and now and then one of another's."""
    rows = []
    for week in range(6):
        for user in range(20):
            rows.append((f"u{user:02d}", user, 7 * week + user % 7))
            if (user + week) % 4 == 0:
                rows.append((f"u{user:02d}", (user + week + 1) % 20, 7 * week + 6))
    return shop(tmp_path_factory.mktemp("regulars") / "b", rows, n_items=20)


def test_the_backtest_of_repeats_by_hand(regulars, tmp_path):
    report = backtest(regulars, ["repurchase"], weeks=2, repeats=True, metric="hit_rate@10", out=tmp_path / "out")
    figures = report.figures[REPURCHASE]
    # Own items come first: whoever took k of them before finds the weekly one within the first k.
    assert figures["hit_rate@10"][ALL_WEEKS].value == 1
    assert figures["auc"][ALL_WEEKS].value > 0.9
    assert report.figures[RECENT]["hit_rate@10"][ALL_WEEKS].value < 0.8
    assert report.beats_recent_popularity == {REPURCHASE: True}
    assert report.beats_repurchase == {}
    assert {(one.model, one.against) for one in report.comparisons} == {
        (REPURCHASE, RECENT),
        (REPURCHASE, "popularity"),
    }
    assert [week.repeated_interactions for week in report.weeks] == [20, 20]
    assert [week.interactions for week in report.weeks] == [25, 25]
    assert report.about[REPURCHASE]["settings"]["half_life_days"] in OWN_HALF_LIVES_DAYS
    assert json.loads((tmp_path / "out" / "backtest.json").read_text())["repeats"] is True


def test_models_are_compared_with_repurchase_too(regulars):
    report = backtest(regulars, ["category"], weeks=2, repeats=True, update="fold_in")
    assert report.beats_repurchase == {"category": False}
    assert "category does worse than repurchase" in report.answers["category"]
    assert "recent popularity" in report.answers["category"]
    assert list(report.answers) == [REPURCHASE, "category"]
    # Counted anew before each week whatever is done with models.
    retrained = backtest(regulars, ["category"], weeks=2, repeats=True)
    assert retrained.figures[REPURCHASE] == report.figures[REPURCHASE]


def test_without_repeats_it_is_refused(regulars):
    with pytest.raises(SettingsError, match="--repeats"):
        backtest(regulars, ["category", "repurchase"], weeks=1)
    with pytest.raises(SettingsError, match="are the baselines"):
        backtest(regulars, ["category"], weeks=1, repeats=True, settings={"repurchase": RepurchaseSettings()})
