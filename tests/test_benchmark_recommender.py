"""The recommender benchmark says what it promises, at a size that takes seconds."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[1] / "benchmarks" / "recommender.py"
    spec = importlib.util.spec_from_file_location("recommender_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_training_is_compared_on_the_same_data(benchmark, tmp_path):
    out = tmp_path / "result.json"
    benchmark.main(["--scale", "tiny", "--only", "bpr_vs_implicit", "--only", "vbpr_vs_cornac", "--json", str(out)])
    result = json.loads(out.read_text())
    assert {"scale", "cores", "load_before", "load_after", "bpr_vs_implicit", "vbpr_vs_cornac"} == set(result)
    assert {"auc_ours", "auc_implicit", "seconds_ours", "seconds_implicit"} <= set(result["bpr_vs_implicit"])
    visual = result["vbpr_vs_cornac"]
    assert {"auc_ours", "seconds_ours"} <= set(visual)
    if "skipped" not in visual:
        assert {"auc_cornac", "seconds_cornac"} <= set(visual)
    assert visual["auc_ours"] > 0.65  # there is something to learn, and to see


def test_the_lists_of_all_are_compared(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(benchmark, "_peak_memory", lambda scale: 0.0)
    found = benchmark.topk_vs_implicit("tiny")
    assert found["equal"] is True
    assert all(found[f"users_per_second_{name}"] > 0 for name in ("ours", "implicit", "faiss", "torch"))
    # A list with one item too many that is not among the best is told from a right one.
    users, items = benchmark._factors(4, 500)
    right = np.argsort(-(users @ items.T), axis=1)[:, : benchmark.K]
    wrong = right.copy()
    wrong[2, 7] = np.argmin(users[2] @ items.T)
    assert benchmark._same_scores(users, items, right, right)
    assert not benchmark._same_scores(users, items, wrong, right)


def test_the_best_epoch_counts_and_a_rival_stops_as_ours_does(benchmark):
    drawn = benchmark.world("tiny")
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(150, 4)), rng.normal(size=(200, 4))
    taken = np.zeros((150, 200))
    taken[drawn.data.validation.users, drawn.data.validation.items] = 1
    chooser = benchmark._Chooser(drawn, 20)
    chooser.judge(users, items)
    chooser.judge(np.eye(150), taken.T.copy())  # knows every validation pair
    assert chooser.best == 1
    for _ in range(benchmark.PATIENCE - 1):
        chooser.judge(users, items)
    with pytest.raises(StopIteration):
        chooser.judge(users, items)
    assert (chooser.best_epoch, chooser.epoch) == (2, 2 + benchmark.PATIENCE)
    assert 0 < chooser.best_seconds < chooser.seconds
