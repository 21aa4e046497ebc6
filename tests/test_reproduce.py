"""The paper's ladder: its protocol, what stands beside what, and what is left out."""

from __future__ import annotations

import json

import pytest

from recgan.config import SplitSettings
from recgan.errors import SettingsError
from recgan.evaluation import reproduce as module
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.reproduce import LADDER, reproduce_kang2017
from recgan.recommenders.registry import recommender_names
from tests.test_evaluate_ranking import EMBED, SMALL, encoder  # noqa: F401


@pytest.fixture(autouse=True)
def _quick_models(monkeypatch):
    """Leave out what learns from pixels: it takes long, and is a model like the others here."""
    monkeypatch.setattr(module, "recommender_names", lambda: [name for name in recommender_names() if name != "dvbpr"])


@pytest.fixture(scope="module")
def options():
    return {"embed": EMBED, "settings": SMALL, "device": "cpu"}


def test_the_ladder_by_the_papers_protocol(tiny_bundle, tmp_path, options):
    report = reproduce_kang2017(tiny_bundle, compare_with="women", out=tmp_path / "out", **options)
    assert [rung.name for rung in report.rungs] == ["PopRank", "WARP", "BPR-MF", "VisRank", "VBPR", "DVBPR"]
    known = module.recommender_names()
    assert report.missing == [name for name, models in LADDER.items() if not set(models) & set(known)]
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


def test_a_model_that_is_not_there_is_left_out_loudly(tiny_bundle, monkeypatch, options):
    monkeypatch.setattr(module, "recommender_names", lambda: ["popularity", "bpr"])
    report = reproduce_kang2017(tiny_bundle, **options)
    assert report.missing == ["WARP", "VisRank", "VBPR", "DVBPR"]
    assert report.notes[0] == "left out, for want of such a model here: WARP, VisRank, VBPR, DVBPR"
    assert any("BPR-MF is measured by 'bpr'" in note for note in report.notes)
    of = {rung.name: rung for rung in report.rungs}
    assert of["DVBPR"].model is None
    assert of["DVBPR"].measured == of["DVBPR"].published == {}
    assert of["BPR-MF"].model == "bpr"
    assert report.compared_with is None
    assert not any("unverified" in note for note in report.notes)


def test_a_split_of_its_own_is_used(tiny_bundle, monkeypatch, options):
    from recgan.dataset.bundle import Bundle

    own = Bundle.open(tiny_bundle.path)
    frame = own.interactions.copy()
    place = frame.groupby("user_id").cumcount()
    frame["split"] = place.map({0: "validation", 1: "test"}).fillna("train")
    own.__dict__["interactions"] = frame
    monkeypatch.setattr(module, "recommender_names", lambda: ["popularity"])
    report = reproduce_kang2017(own, **options)
    assert report.ranking.split["protocol"] == "given"
    assert "the data's own split" in report.protocol
    direct = evaluate_ranking(own, ["popularity"], split=SplitSettings(protocol="given"), **options)
    assert report.rungs[0].measured["all"].value == direct.models["popularity"].values["auc"]["all"]


def test_an_unknown_set_is_refused(tiny_bundle, options):
    with pytest.raises(SettingsError, match="did you mean 'women'"):
        reproduce_kang2017(tiny_bundle, compare_with="woman", **options)


def test_the_released_fashion_file_is_not_the_papers(tiny_bundle, monkeypatch, options):
    monkeypatch.setattr(module, "recommender_names", lambda: ["popularity"])
    notes = reproduce_kang2017(tiny_bundle, compare_with="fashion", **options).notes
    assert any("not to be compared with that row" in note for note in notes)
