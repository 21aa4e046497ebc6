"""The verbs that measure over whole runs, from a shop's own files to the answer."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recgan.dataset.bundle import Bundle
from tests.test_backtest import START, fashions, shop  # noqa: F401
from tests.test_cli import answered, run  # noqa: F401
from tests.test_importers_dvbpr import jpeg, one_hot, write_npy


@pytest.fixture
def export(tmp_path):
    """A shop's own export: pictures, stock.csv and orders.csv in its own columns."""
    folder = tmp_path / "export"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    stock = pd.DataFrame({"sku": range(8), "type": ["hat", "bag"] * 4})
    stock.to_csv(folder / "stock.csv", index=False)
    rows = [
        (f"customer-{user}", item, START + pd.Timedelta(days=day))
        for user in range(12)
        for item, day in zip(rng.permutation(8)[:6], np.sort(rng.choice(28, 6, replace=False)))
    ]
    orders = pd.DataFrame(rows, columns=["customer", "sku", "when"])
    orders.to_csv(folder / "orders.csv", index=False)
    return folder


def test_backtest_answers_from_a_shops_own_export_in_one_command(run, export, tmp_path):  # noqa: F811
    columns = ("item_id_column=sku", "category_column=type", "user_id_column=customer", "timestamp_column=when")
    command = (
        *("backtest", export, "--items", "stock.csv", "--interactions", "orders.csv", "--models", "als"),
        *(word for column in columns for word in ("--import", column)),
        *("--set", "als.factors=4", "--weeks", 2, "--metric", "recall@10", "--json", "--out", tmp_path / "bt"),
    )
    code, out, err = run(*command)
    assert code == 0, err
    answer = json.loads(out)
    assert answer["weeks"][-1]["last_day"] == str((START + pd.Timedelta(days=27)).date())
    assert answer["about"]["als"]["settings"]["factors"] == 4
    assert "on the last 2 weeks (2025-03-17 to 2025-03-30, " in answer["answers"]["als"]
    assert "recall@10 is" in answer["answers"]["als"]
    assert json.loads((tmp_path / "bt" / "backtest.json").read_text())["answers"] == answer["answers"]
    assert "wrote" in err
    bundle = Bundle.open(tmp_path / "bt-bundle")
    assert bundle.header.counts["users"] == 12
    # The same command again: the place is refused; elsewhere with the bundle it gives the same.
    code, _, err = run(*command)
    assert code == 2
    assert "exists already; choose another --out or pass --overwrite" in err
    again = answered(
        run(
            *("backtest", bundle.path, "--models", "als", "--set", "als.factors=4", "--weeks", 2),
            *("--metric", "recall@10", "--json"),
        )
    )
    assert again["models"] == answer["models"]


def test_backtest_tells_a_person(run, fashions):  # noqa: F811
    code, out, _ = run("backtest", fashions.path, "--models", "als", "--weeks", 2)
    assert code == 0
    text = " ".join(out.split())
    assert "recent_popularity" in text
    assert "2025-04-07" in text
    assert "als does worse than recent popularity on the last 2 weeks" in text or "It cannot be told" in text


def test_tune_prints_a_line_that_train_takes(run, fashions, tmp_path):  # noqa: F811
    command = ("tune", fashions.path, "--model", "als", "--trials", 3, "--set", "factors=4", "--metric", "auc")
    answer = answered(run(*command, "--split", "cold_share=0", "--out", tmp_path / "als.json", "--json"))
    assert len(answer["trials"]) == 3
    assert answer["set"].startswith("--set factors=4 --set regularisation=")
    assert json.loads((tmp_path / "als.json").read_text()) == answer
    trained = answered(
        run(
            *("train", "recommender", fashions.path, "--model", "als", *answer["set"].split()),
            *("--out", tmp_path / "m", "--json"),
        )
    )
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert trained["model"] == "als"
    assert manifest["config"]["confidence"] == answer["best"]["settings"]["confidence"]
    code, out, err = run(*command, "--split", "cold_share=0")
    assert code == 0
    assert answer["set"] in out.splitlines()
    assert f"--models als {answer['set_model']}" in err


def test_reproduce_reads_the_published_layout(run, tmp_path):  # noqa: F811
    rng = np.random.default_rng(0)
    items = {number: {"imgs": jpeg(number), "c": one_hot(number % 6), "asin": f"B{number}"} for number in range(12)}
    parts = [{}, {}, {}]
    for user in range(10):
        taken = [{"productid": int(item)} for item in rng.permutation(12)[:7]]
        for part, some in zip(parts, (taken[:5], taken[5:6], taken[6:])):
            part[user] = some
    path = write_npy(tmp_path / "fashion.npy", [*parts, items, 10, 12])
    fast = ["--size", 32, "--set", "vbpr.epochs=1", "--rungs", "PopRank,VisRank,VBPR,DVBPR"]
    for small in ("epochs=1", "hidden=16", "input_size=64"):
        fast += ["--set", f"dvbpr.{small}"]
    code, out, err = run(
        *("reproduce", "kang2017", path, "--compare-with", "fashion", *fast, "--out", tmp_path / "r", "--json")
    )
    assert code == 0, err
    answer = json.loads(out)
    assert [rung["name"] for rung in answer["rungs"]] == ["PopRank", "VisRank", "VBPR", "DVBPR"]
    papers = answer["ranking"]["models"]["dvbpr"]["about"]["settings"]
    own = {"backbone": "cnn_f", "item_bias": False, "frozen_epochs": 0, "dim": 100, "user_regularisation": 1.0}
    assert papers.items() >= {**own, "epochs": 1, "hidden": 16}.items()
    assert answer["ranking"]["split"]["protocol"] == "given"
    assert answer["rungs"][-1]["published"] == {"all": 0.796, "cold": 0.772}
    assert answer["left_out"] == ["WARP", "BPR-MF"]
    assert any("no setting is tuned here" in note for note in answer["notes"])
    code, out, _ = run("reproduce", "kang2017", tmp_path / "r-bundle", *fast)
    assert code == 0
    assert "PopRank" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["backtest", "nowhere"], "neither a bundle nor an export at 'nowhere'"),
        (["backtest", "{here}"], "give --out FOLDER, and it is imported into FOLDER-bundle"),
        (["backtest", "{bundle}", "--items", "x.csv"], "is a bundle already; leave out --items, --interactions"),
        (["backtest", "{bundle}", "--models", "vbrp"], "did you mean 'vbpr'"),
        (["backtest", "{bundle}", "--split", "seed=3"], "has no use for --split seed"),
        (["backtest", "{bundle}", "--models", "als", "--weeks", "40"], "ask for --weeks 4 at most"),
        (["backtest", "{here}", "--out", "x", "--import", "item_id_colum=sku"], "item_id_column"),
        (["backtest", "{bundle}", "--models", "als", "--set", "vbpr.epochs=1"], "settings of 'vbpr', which is not"),
        (["backtest", "{bundle}", "--models", "als", "--set", "als.factor=1"], "als: --set factor=1: there is no"),
        (["backtest", "{bundle}", "--models", "als", "--set", "popularity.half_life_days=3"], "is the baseline"),
        (["backtest", "{bundle}", "--metric", "ndgc@20"], "did you mean 'ndcg@20'?\n"),
        (["evaluate", "ranking", "{bundle}", "--models", "als", "--set", "vbpr.epochs=1"], "settings of 'vbpr'"),
        (["tune", "{bundle}", "--model", "als", "--out", "{here}", "--overwrite"], "is a folder; give the name of a"),
        (["tune", "{bundle}", "--model", "asl"], "did you mean 'als'"),
        (["tune", "{bundle}", "--model", "als", "--set", "factor=3"], "did you mean 'factors'"),
        (["reproduce", "kang2071", "{bundle}"], "kang2017"),
        (["reproduce", "kang2017", "{bundle}", "--compare-with", "womens"], "did you mean 'women'"),
        (["reproduce", "kang2017", "{bundle}", "--rungs", "VBRP"], "no rung 'VBRP'; did you mean 'VBPR'?"),
    ],
)
def test_mistakes_are_one_line_with_the_mend(run, fashions, tmp_path, argv, words):  # noqa: F811
    code, out, err = run(*(word.format(here=tmp_path, bundle=fashions.path) for word in argv))
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_repeats_from_a_shops_own_export(run, export, tmp_path):  # noqa: F811
    orders = pd.read_csv(export / "orders.csv")
    orders["when"] = pd.to_datetime(orders["when"])
    again = orders.assign(when=orders["when"].max())  # on the last day everybody takes everything again
    pd.concat([orders, again]).to_csv(export / "orders.csv", index=False)
    columns = ("item_id_column=sku", "category_column=type", "user_id_column=customer", "timestamp_column=when")
    command = (
        *("backtest", export, "--items", "stock.csv", "--interactions", "orders.csv", "--out", tmp_path / "bt"),
        *(word for column in columns for word in ("--import", column)),
        *("--models", "repurchase", "--weeks", 1, "--json"),
    )
    code, _, err = run(*command)
    assert code == 2
    assert "judge with --repeats" in err
    answer = answered(run(*command, "--repeats"))
    assert answer["weeks"][0]["repeated_interactions"] > 12
    assert set(answer["models"]) == {"popularity", "recent_popularity", "repurchase"}
    model = tmp_path / "model"
    answered(
        run(
            *("train", "recommender", tmp_path / "bt-bundle", "--model", "repurchase", "--split", "protocol=all"),
            *("--out", model, "--json"),
        )
    )
    code, out, err = run("recommend", model, "--user", "customer-3", "-k", 2, "--json", "--include-seen")
    assert (code, err) == (0, "")
    taken = set(orders["sku"][orders["customer"] == "customer-3"].astype(str))
    best = json.loads(out)["items"]
    assert {one["item_id"] for one in best} <= taken
    assert all(one["score"] > 2 for one in best)
    code, out, err = run("recommend", model, "--user", "customer-3", "-k", 2, "--json")
    assert not {one["item_id"] for one in json.loads(out)["items"]} & taken
    assert "without --include-seen" in err


def test_what_was_trained_is_no_export(run, tmp_path):  # noqa: F811
    model = tmp_path / "model"
    model.mkdir()
    (model / "manifest.json").write_text("{}")
    code, _, err = run("backtest", model, "--out", tmp_path / "out")
    assert code == 2
    assert "was trained by recgan: no bundle and no export" in err
    assert not (tmp_path / "out-bundle").exists()
