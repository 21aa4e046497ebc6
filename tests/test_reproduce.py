"""The paper's ladder: its protocol, what stands beside what, and what is left out."""

from __future__ import annotations

import json

import pytest

from recgan.config import SplitSettings
from recgan.errors import SettingsError
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.reproduce import LADDER, reproduce_kang2017
from tests.test_evaluate_ranking import EMBED, SMALL, encoder  # noqa: F401

QUICK = [name for name in LADDER if name != "DVBPR"]
"""All but what learns from pixels, which takes long and is a model like the others here."""


@pytest.fixture(scope="module")
def options():
    return {"embed": EMBED, "settings": SMALL, "device": "cpu"}


def test_the_ladder_by_the_papers_protocol(tiny_bundle, tmp_path, options):
    report = reproduce_kang2017(tiny_bundle, compare_with="women", rungs=QUICK, out=tmp_path / "out", **options)
    assert [rung.name for rung in report.rungs] == ["PopRank", "WARP", "BPR-MF", "VisRank", "VBPR"]
    assert report.left_out == ["DVBPR"]
    split = SplitSettings(cold_share=0, min_interactions=5)
    direct = evaluate_ranking(tiny_bundle, ["popularity", "vbpr"], split=split, **options)
    of = {rung.name: rung for rung in report.rungs}
    for name, model in (("PopRank", "popularity"), ("VBPR", "vbpr")):
        values, intervals = direct.models[model].values["auc"], direct.models[model].intervals["auc"]
        for shown, group in (("all", "all"), ("cold", "under_5")):
            one = of[name].measured[shown]
            assert one.value == pytest.approx(values[group])
            assert (one.low, one.high) == pytest.approx(intervals[group])
    assert of["VBPR"].published == {"all": 0.708, "cold": 0.689}
    assert any("unverified" in note for note in report.notes)
    assert (tmp_path / "out" / "ranking.json").exists()
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert found["compared_with"] == "women"


def test_rungs_come_in_the_ladders_order_and_those_of_another_are_refused(tiny_bundle, options):
    options = {**options, "settings": {}}
    report = reproduce_kang2017(tiny_bundle, rungs=["VisRank", "PopRank"], **options)
    assert [rung.model for rung in report.rungs] == ["popularity", "visual_knn"]
    assert report.left_out == ["WARP", "BPR-MF", "VBPR", "DVBPR"]
    assert all(rung.published == {} for rung in report.rungs)
    assert not any("unverified" in note for note in report.notes)
    with pytest.raises(SettingsError, match="did you mean 'VBPR'"):
        reproduce_kang2017(tiny_bundle, rungs=["VBPRR"], **options)
    with pytest.raises(SettingsError, match="at least one rung"):
        reproduce_kang2017(tiny_bundle, rungs=[], **options)


def test_a_split_of_its_own_is_used(tiny_bundle, options):
    from recgan.dataset.bundle import Bundle

    own = Bundle.open(tiny_bundle.path)
    frame = own.interactions.copy()
    place = frame.groupby("user_id").cumcount()
    frame["split"] = place.map({0: "validation", 1: "test"}).fillna("train")
    own.__dict__["interactions"] = frame
    options = {**options, "settings": {}}
    report = reproduce_kang2017(own, rungs=["PopRank"], **options)
    assert report.ranking.split["protocol"] == "given"
    assert "the data's own split" in report.protocol
    direct = evaluate_ranking(own, ["popularity"], split=SplitSettings(protocol="given"), **options)
    assert report.rungs[0].measured["all"].value == direct.models["popularity"].values["auc"]["all"]


def test_an_unknown_set_is_refused(tiny_bundle, options):
    with pytest.raises(SettingsError, match="did you mean 'women'"):
        reproduce_kang2017(tiny_bundle, compare_with="woman", **options)


def test_the_released_fashion_file_is_not_the_papers(tiny_bundle, options):
    options = {**options, "settings": {}}
    notes = reproduce_kang2017(tiny_bundle, compare_with="fashion", rungs=["PopRank"], **options).notes
    assert any("not to be compared with that row" in note for note in notes)
