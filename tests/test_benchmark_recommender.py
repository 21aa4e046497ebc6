"""The recommender benchmark says what it promises, at a size that takes seconds."""

from __future__ import annotations

import itertools
import json
import multiprocessing.dummy
from types import SimpleNamespace

import numpy as np
import pytest

from recgan.config import VBPRSettings
from tests.conftest import loaded_benchmark


@pytest.fixture(scope="module")
def benchmark():
    with loaded_benchmark("recommender") as module:
        yield module


def test_training_is_compared_on_the_same_data(benchmark, tmp_path):
    out = tmp_path / "result.json"
    benchmark.main(["--scale", "tiny", "--only", "bpr_vs_implicit", "--only", "vbpr_vs_cornac", "--json", str(out)])
    result = json.loads(out.read_text())
    assert {"scale", "seed", "cores", "load_before", "load_after", "bpr_vs_implicit", "vbpr_vs_cornac"} == set(result)
    image_free = result["bpr_vs_implicit"]
    assert {"auc_ours", "auc_implicit", "seconds_ours", "seconds_implicit", "choice_ours"} <= set(image_free)
    assert {"auc_implicit_als", "seconds_implicit_als", "choice_implicit_als"} <= set(image_free)
    for clock in ("triples_per_second", "triples_per_cpu_second"):
        assert all(image_free[f"{clock}_{name}_1_thread"] > 0 for name in ("ours", "implicit"))
    visual = result["vbpr_vs_cornac"]
    assert {"auc_ours", "seconds_ours"} <= set(visual)
    if "skipped" not in visual:
        assert {"auc_cornac", "seconds_cornac", "cpu_seconds_cornac", "reached_in_epoch"} <= set(visual)
    assert visual["auc_ours"] > 0.65  # there is something to learn, and to see


def test_another_seed_is_another_world(benchmark):
    from recommending.data import world

    one, other, again = world("tiny"), world("tiny", 1), world("tiny", 0)
    np.testing.assert_array_equal(one.data.train.items, again.data.train.items)
    assert (one.data.train.items != other.data.train.items).mean() > 0.9
    assert len(one.test) == len(other.test)


def test_the_lists_of_all_are_compared(benchmark, monkeypatch):
    from recommending import topk

    monkeypatch.setattr(topk, "ROUNDS", 1)
    monkeypatch.setattr(topk, "_peak_memory", lambda scale: 0.0)
    found = topk.topk_vs_implicit("tiny")
    assert found["equal"] is True
    assert all(found[f"users_per_second_{name}"] > 0 for name in ("ours", "implicit", "faiss", "torch"))
    # A list with one item too many that is not among the best is told from a right one.
    users, items = topk._factors(4, 500)
    right = np.argsort(-(users @ items.T), axis=1)[:, : topk.K]
    wrong = right.copy()
    wrong[2, 7] = np.argmin(users[2] @ items.T)
    assert topk._same_scores(users, items, right, right)
    assert not topk._same_scores(users, items, wrong, right)


def test_the_lists_of_all_are_written_with_what_they_are_judged_by(benchmark, tmp_path, monkeypatch):
    from recommending import topk

    monkeypatch.setattr(topk, "ROUNDS", 1)
    monkeypatch.setitem(topk.SIZES, "small", (70, 500, 30))
    monkeypatch.setattr(topk, "_peak_memory", lambda scale: topk._ours(*topk._factors(*topk.SIZES[scale][:2])).nbytes)
    out = tmp_path / "result.json"
    benchmark.main(["--scale", "small", "--only", "topk_vs_implicit", "--json", str(out)])
    result = json.loads(out.read_text())
    assert {"scale", "seed", "cores", "load_before", "load_after", "topk_vs_implicit"} == set(result)
    assert result["scale"] == "small"
    found = result["topk_vs_implicit"]
    names = ("ours", "ours_float32", "implicit", "faiss", "torch")
    assert set(found) == {
        *("users", "items", "factors", "screen", "peak_memory_mb", "equal"),
        *("ours_over_implicit", "float32_over_implicit"),
        *(f"users_per_second_{name}" for name in names),
    }
    assert (found["users"], found["items"], found["factors"]) == (70, 500, 64)
    assert found["equal"] is True
    # With one round the ratio is that of the two rates.
    assert found["ours_over_implicit"] == pytest.approx(
        found["users_per_second_ours"] / found["users_per_second_implicit"]
    )


def test_a_shop_is_written_beside_a_tenth_of_it(benchmark, tmp_path, monkeypatch):
    from recommending import shop

    # A thread in a process's place starts at once.
    monkeypatch.setattr(shop, "multiprocessing", SimpleNamespace(get_context=lambda kind: multiprocessing.dummy))
    monkeypatch.setitem(shop.SHOPS, "small", (900, 300, 12_000, 16))
    out = tmp_path / "result.json"
    benchmark.main(["--scale", "small", "--only", "shop_scale", "--json", str(out)])
    result = json.loads(out.read_text())
    assert {"scale", "seed", "cores", "load_before", "load_after", "shop_scale"} == set(result)
    found = result["shop_scale"]
    own = {
        *("users", "items", "events", "drawing_seconds", "fit_seconds", "fit_cpu_seconds"),
        *("validation_auc", "peak_memory_mb", "epochs", "epoch_seconds", "triples_per_second"),
    }
    assert set(found) == {*own, *(f"tenth_{key}" for key in own), "cpu_seconds_over_tenth"}
    assert (found["users"], found["items"], found["tenth_users"], found["tenth_items"]) == (900, 300, 90, 30)
    assert 5 * found["tenth_events"] < found["events"] < 12_000
    assert found["epoch_seconds"] * found["triples_per_second"] == pytest.approx(found["events"])
    assert found["cpu_seconds_over_tenth"] == pytest.approx(found["fit_cpu_seconds"] / found["tenth_fit_cpu_seconds"])


def test_the_best_epoch_counts_and_a_rival_stops_as_ours_does(benchmark):
    from recommending.data import world
    from recommending.timing import PATIENCE, Chooser

    drawn = world("tiny")
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(150, 4)), rng.normal(size=(200, 4))
    taken = np.zeros((150, 200))
    taken[drawn.data.validation.users, drawn.data.validation.items] = 1
    chooser = Chooser(drawn, 20)
    chooser.judge(np.zeros_like(users), items)  # knows nothing: half
    assert chooser.best == 0.5
    chooser.judge(users, items)
    chooser.judge(np.eye(150), taken.T.copy())  # knows every validation pair
    assert chooser.best == 1
    for _ in range(PATIENCE - 1):
        chooser.judge(users, items)
    with pytest.raises(StopIteration):
        chooser.judge(users, items)
    assert (chooser.best_epoch, chooser.epoch) == (3, 3 + PATIENCE)
    assert 0 < chooser.best_seconds[0] < chooser.seconds[0]


def test_a_clock_stands_still_while_it_is_stopped(benchmark, monkeypatch):
    from recommending import timing

    now = iter([10.0, 12.0, 50.0, 51.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(timing.time, "process_time", lambda: 0.0)
    clock = timing.Clock()
    assert clock.stop().tolist() == [2, 0]
    clock.start()
    assert clock.stop().tolist() == [3, 0]


def test_ours_is_timed_epoch_by_epoch_and_judged_as_it_chose(benchmark):
    from recommending.data import world
    from recommending.timing import trained

    drawn = world("tiny")
    settings = VBPRSettings(latent_dim=4, visual_dim=4, epochs=3, patience=3)
    found, epochs = trained(drawn, "vbpr", settings)
    assert len(epochs) >= 3
    assert found["validation_auc_ours"] in [epoch.validation for epoch in epochs]
    assert all(np.all(a.seconds < b.seconds) for a, b in itertools.pairwise(epochs))
    assert epochs[-1].seconds[0] < found["seconds_ours"]
    best = epochs[found["best_epoch_ours"] - 1]
    assert drawn.auc(*best.factors, drawn.test) == pytest.approx(found["auc_ours"], abs=0.02)


def test_a_shop_is_drawn_without_doubles_and_trained(benchmark):
    from recommending.data import drawn_shop
    from recommending.shop import _train_shop

    shop = drawn_shop(300, 80, 4_000, np.zeros((80, 2)), validation=100)
    keys = np.concatenate([part.users * 80 + part.items for part in (shop.train, shop.validation)])
    assert len(np.unique(keys)) == len(keys) > 2_000
    assert len(shop.validation) == 100
    counts = np.sort(shop.item_counts)
    assert counts[-8:].sum() > 3 * counts[:8].sum()  # a few items take most
    found = _train_shop(300, 80, 4_000, 16)
    assert found["epoch_seconds"] > 0
    assert found["peak_memory_mb"] > 0
    assert found["validation_auc"] > 0.55
    closed = _train_shop(300, 80, 4_000, 16, "ideal_point")
    assert closed["validation_auc"] > 0.55
    assert "epochs" not in closed
