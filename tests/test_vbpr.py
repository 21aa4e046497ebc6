"""What is VBPR's own; what every recommender promises is in ``test_recommenders.py``."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from recgan.config import BPRMFSettings, EmbedSettings, SplitSettings, VBPRSettings, VBPRSSMSettings, WARPSettings
from recgan.dataset.split import Pairs, make_split
from recgan.encoders import Features, embed_items
from recgan.recommenders import create_recommender
from recgan.recommenders.data import training_data
from recgan.recommenders.training import kernels
from recgan.recommenders.training.losses import rank_weights
from recgan.recommenders.training.parameters import Parameters, VisualPart
from recgan.recommenders.training.sampler import NegativeSampler
from recgan.recommenders.training.trainer import Trainer
from recgan.recommenders.training.validation import Validation
from tests.conftest import write_bundle

SETTINGS = VBPRSettings(latent_dim=4, visual_dim=8, width=8, epochs=10, batch_size=32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    bundle = write_bundle(tmp_path_factory.mktemp("vbpr") / "bundle", items=60, users=80)
    split = make_split(bundle, SplitSettings(cold_share=0.3))
    return training_data(bundle, split, embed_items(bundle, EmbedSettings(size=32), device="cpu"))


def fitted(data, **options):
    return create_recommender("vbpr", SETTINGS.model_copy(update=options)).fit(data, seed=0, device="cpu")


def test_the_bias_of_cold_items_is_the_one_with_the_best_validation_auc(data):
    judge, cold = Validation(data), data.item_counts == 0
    assert cold[data.validation.items].any()
    assert not cold[data.validation.items].all()
    model = fitted(data)
    chosen = model.metrics["validation_auc"]
    assert judge(model.user_factors, model.item_factors) == pytest.approx(chosen, abs=1e-9)
    for bias in np.linspace(-4, 4, 17):
        other = model.item_factors.copy()
        other[cold, 0] += bias - model.metrics["cold_bias"]
        assert judge(model.user_factors, other) <= chosen + 0.002  # the search stops at a tolerance
    badly = fitted(data, cold_bias=-4)
    assert badly.metrics["validation_auc"] < chosen - 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["vbpr", "vbpr_ssm", "warp"])
def test_a_gpu_learns_as_well(data, name):
    options = {"vbpr": SETTINGS, "vbpr_ssm": VBPRSSMSettings(latent_dim=4, visual_dim=8, width=8), "warp": None}[name]
    on_cpu, on_gpu = (create_recommender(name, options).fit(data, seed=0, device=device) for device in ("cpu", "cuda"))
    judge = Validation(data)
    near = judge(on_cpu.user_factors, on_cpu.item_factors)
    assert judge(on_gpu.user_factors, on_gpu.item_factors) == pytest.approx(near, abs=0.05)


def test_a_new_user_is_pulled_back_to_where_training_stopped(data):
    model, rows = fitted(data, latent_regularisation=0.0, visual_regularisation=0.001), range(0, 80, 5)

    def agreement() -> float:
        found = []
        for row in rows:
            liked = np.unique(data.train.items[data.train.users == row])
            folded = model.fold_in([str(one) for one in data.items["item_id"][liked]])
            found.append(np.corrcoef(model.score([folded])[0], model.score([data.user_ids[row]])[0])[0, 1])
        return float(np.mean(found))

    assert (pull := model._pull) > 0.01
    chosen, model._pull = agreement(), 0.0
    assert chosen > agreement() + 0.05
    assert fitted(data, latent_regularisation=0.0, visual_regularisation=0.001)._pull == pull  # chosen anew, alike


def test_an_item_to_come_gets_the_bias_of_cold_items(data):
    model = fitted(data)
    cold = np.flatnonzero(data.item_counts == 0)
    again = model.factors_from(torch.from_numpy(model.item_features[cold].astype(np.float32))).numpy()
    np.testing.assert_allclose(again, model.item_factors[cold], atol=1e-5)
    raised = fitted(data, cold_bias=3.0)
    np.testing.assert_allclose(
        raised.item_factors[cold, 0] - 3.0, model.item_factors[cold, 0] - model.metrics["cold_bias"], atol=1e-5
    )


def test_more_width_than_there_is_to_see_is_told(data):
    assert fitted(data).notes() == []
    model = fitted(data, width=100)  # 60 items vary in 59 directions at most
    assert model.whitening is not None
    assert model.whitening.width < 60
    assert model.notes() == [
        "width=100 is more than there is to see: the features of 'efficientnet_lite0' vary in "
        f"{model.whitening.width} directions here, and so many are used"
    ]


def test_a_latent_dimension_of_nought_leaves_the_picture_alone(data):
    model = fitted(data, latent_dim=0)
    assert model.item_factors.shape == (60, 1 + SETTINGS.visual_dim)
    assert model.metrics["validation_auc"] > 0.55


def test_features_on_disk_give_the_same_model(data, monkeypatch):
    held = fitted(data)
    monkeypatch.setattr("recgan.recommenders.models.visual._IN_MEMORY", 0)
    mapped = fitted(data)
    assert isinstance(mapped.item_features, np.memmap)
    assert not isinstance(held.item_features, np.memmap)
    np.testing.assert_array_equal(mapped.item_factors, held.item_factors)
    np.testing.assert_array_equal(mapped.user_factors, held.user_factors)


def test_features_on_disk_are_never_wholly_in_memory(data, tmp_path, monkeypatch):
    n_items, width = 60_000, 256
    monkeypatch.setattr("recgan.recommenders.models.whitening._CHUNK", 2048)  # a real catalogue has many such parts
    monkeypatch.setattr("recgan.recommenders.models.whitening.Whitening._rows_at_once", 2048)
    monkeypatch.setattr("recgan.recommenders.models.factors._FOLDED_USERS", 2)
    rng = np.random.default_rng(0)
    looks = np.memmap(tmp_path / "features", dtype=np.float16, mode="w+", shape=(n_items, width))
    for start in range(0, n_items, 4096):
        looks[start : start + 4096] = rng.standard_normal((min(4096, n_items - start), width), dtype=np.float32)
    looks.flush()
    ids = np.arange(n_items).astype(str).astype(object)
    shop = replace(
        data,
        items=pd.DataFrame({"item_id": ids, "category": data.category_names[0], "available": True}),
        category_index=np.zeros(n_items, dtype=np.int64),
        candidates=np.ones(n_items, dtype=bool),
        validation=data.validation.where(data.validation.users < 8),  # whose scores of all items are no features
        features=Features(looks, np.ones(n_items, dtype=bool), "none", "", 32, "", ""),
    )
    model = create_recommender("vbpr", SETTINGS.model_copy(update={"epochs": 1}))
    fitted(data, epochs=1)  # what a process imports once is not counted
    tracemalloc.start()
    try:
        model.fit(shop, device="cpu")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.item_features.shape == (n_items, 8)
    assert peak < 2 * n_items * width  # of the file; a float32 copy has twice as many bytes


def test_the_criterion_says_which_figure_chooses(data):
    by_auc, by_ndcg = fitted(data), fitted(data, criterion="ndcg")
    assert "validation_ndcg" not in by_auc.metrics
    judge = Validation(data, "ndcg")
    assert by_ndcg.metrics["validation_ndcg"] == pytest.approx(judge(by_ndcg.user_factors, by_ndcg.item_factors))
    assert by_ndcg.metrics["validation_ndcg"] >= judge(by_auc.user_factors, by_auc.item_factors)


def test_popular_negatives_push_popular_items_down(data):
    even, popular = fitted(data, bias_regularisation=0.0), fitted(data, bias_regularisation=0.0, negative_power=1.0)
    often = data.item_counts >= np.quantile(data.item_counts, 0.9)
    warm = data.item_counts > 0

    def lead(model):
        scores = model.user_factors @ model.item_factors.T
        return scores[:, often].mean() - scores[:, warm].mean()

    assert lead(popular) < lead(even)


@pytest.mark.parametrize("settings", [VBPRSSMSettings, WARPSettings])
def test_a_loss_that_takes_no_weighted_negatives_says_so(settings):
    with pytest.raises(ValidationError, match="leave it out"):
        settings(negative_power=0.5)


def test_warp_takes_the_first_item_that_comes_too_near(data, monkeypatch):
    settings = WARPSettings(latent_dim=4, latent_std=1.0)
    trainer = Trainer("warp", data, np.zeros(60, np.float32), settings, loss="warp", visual=None, seed=0, device="cpu")
    draw, drawn = trainer.negatives.draw, []
    monkeypatch.setattr(trainer.negatives, "draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    worse, trials = trainer._too_near(trainer.users, trainer.items)
    tables = trainer.parameters.tables
    scores = (tables["user"] @ tables["item"].T).numpy()
    found_none = 0
    for place, (user, better) in enumerate(zip(trainer.users, trainer.items)):
        own = drawn[0].view(-1, 10)[place].numpy()
        near = np.flatnonzero(scores[user, own] > scores[user, better] - 1)
        found_none += not len(near)
        first = near[0] if len(near) else 0
        assert (int(worse[place]), int(trials[place])) == (own[first], first + 1)
    assert 0 < found_none < len(worse) / 2
    assert (trials > 1).any()


@pytest.mark.parametrize("model", ["bpr_mf", "vbpr", "warp"])
def test_the_compiled_step_is_the_step_of_tensors(model):
    settings = (WARPSettings if model == "warp" else BPRMFSettings)(latent_dim=20, bias_regularisation=0.3)
    rng = np.random.default_rng(0)
    visual = VisualPart(rng.normal(size=(60, 8)).astype(np.float16), 5, 0.1, 0.1, 0.2, 0.3) if model == "vbpr" else None
    prior = rng.normal(size=60).astype(np.float32)
    compiled, plain, begun = (
        Parameters(80, np.ones(60), prior, settings, visual, torch.Generator().manual_seed(0)) for _ in range(3)
    )
    compiled.compile()
    users, better, worse = (torch.from_numpy(rng.integers(0, 9, 400)) for _ in range(3))
    worse += 9
    worse[:200] -= 9  # an item that is taken by the one and not by the other
    worse[worse == better] += 9
    weights = ()
    if model == "warp":
        weights = (rank_weights(torch.from_numpy(rng.integers(1, 11, 400)), torch.full((400,), 55)),)
    for step in range(4):
        batch = [each[step * 100 :][:100] for each in (users, better, worse, *weights)]
        assert compiled.pairwise_step(*batch) == pytest.approx(plain.pairwise_step(*batch), rel=1e-5)
    for name, table in plain.tables.items():
        assert (table - begun.tables[name]).abs().max() > 0.1
        torch.testing.assert_close(compiled.tables[name], table, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(compiled.squares[name], plain.squares[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_items", [60, 5000])  # rows that are drawn again and again, and rows far apart
def test_many_compiled_steps_are_one_after_the_other(n_items):
    settings, rng = BPRMFSettings(latent_dim=17), np.random.default_rng(0)
    prior = rng.normal(size=n_items).astype(np.float32)
    many, single, plain = (
        Parameters(300, np.ones(n_items), prior, settings, None, torch.Generator().manual_seed(0)) for _ in range(3)
    )
    many.compile()
    single.compile()
    users = torch.from_numpy(rng.integers(0, 300, 250))
    better, worse = torch.from_numpy(rng.permuted(np.tile(np.arange(n_items), (250, 1)), axis=1)[:, :2].T.copy())
    total = many.pairwise_steps(users, better, worse, 40)
    batches = list(zip(*(each.split(40) for each in (users, better, worse))))
    assert len(batches) == 7
    assert total == sum(single.pairwise_step(*batch) for batch in batches)
    assert total == pytest.approx(plain.pairwise_steps(users, better, worse, 40), rel=1e-5)
    for name, table in many.tables.items():
        assert torch.equal(table, single.tables[name])
        torch.testing.assert_close(table, plain.tables[name], rtol=1e-5, atol=1e-5)


def test_the_compiled_draw_is_the_draw_of_tensors():
    rng = np.random.default_rng(0)
    keys = rng.choice(50 * 40, 900, replace=False)
    known, weights = Pairs(*np.divmod(keys[keys < 49 * 40], 40)), rng.integers(0, 4, 40)  # the last user took nothing
    compiled, plain = (NegativeSampler(known, 50, weights) for _ in range(2))
    compiled.compile()
    users = torch.from_numpy(rng.permutation(np.repeat(np.flatnonzero(plain.free.numpy()), 200)))
    drawn = [each.draw(users, torch.Generator().manual_seed(3)) for each in (compiled, plain)]
    assert torch.equal(*drawn)
    taken = set(zip(known.users.tolist(), known.items.tolist()))
    assert not taken & set(zip(users.tolist(), drawn[0].tolist()))
    assert weights[drawn[0].numpy()].min() > 0


def test_without_a_folder_to_keep_it_the_step_is_compiled_all_the_same(tmp_path):
    code = tmp_path / "training"
    shutil.copytree(Path(kernels.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
    command = "import kernels; assert kernels.pairwise_step.nopython_signatures"
    blocked = tmp_path / "file"
    blocked.touch()  # nothing can be written below a file, not by root either
    (code / "__pycache__").touch()
    environment = os.environ | {"HOME": str(blocked), "XDG_CACHE_HOME": str(blocked), "NUMBA_CACHE_DIR": ""}
    done = subprocess.run([sys.executable, "-c", command], cwd=code, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_numba_is_not_loaded_with_the_package():
    command = "import sys, recgan.recommenders; assert 'numba' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
