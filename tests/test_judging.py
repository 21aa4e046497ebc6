"""Judging is the same wherever the products are made, and whoever is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recgan.config import BPRMFSettings, SplitSettings
from recgan.dataset.split import make_split
from recgan.errors import DataError, DeviceError
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.ranking.judging import METRICS, HeldOut, inner_products, products_on
from recgan.recommenders import create_recommender, training_data
from recgan.recommenders.training.validation import Validation
from tests.test_backtest import shop


@pytest.fixture(scope="module")
def split(tiny_bundle):
    return make_split(tiny_bundle, SplitSettings())


@pytest.fixture(scope="module")
def model(tiny_bundle, split):
    settings = BPRMFSettings(epochs=3, latent_dim=4, batch_size=16)
    return create_recommender("bpr_mf", settings).fit(training_data(tiny_bundle, split), device="cpu")


def test_a_device_judges_as_the_cpu_does(tiny_bundle, split, model):
    held_out = HeldOut(split, "test", tiny_bundle.category_index)
    plain = held_out.judge(inner_products(model, "cpu"), lambda done, total: None)
    other = held_out.judge(products_on(model, torch.device("cpu")), lambda done, total: None)
    for metric in METRICS:
        for group, values in plain.per_user[metric].items():
            np.testing.assert_allclose(other.per_user[metric][group], values, atol=1e-6)
    assert other.lists == pytest.approx(plain.lists, abs=1e-6, nan_ok=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_judges_as_the_cpu_does(tiny_bundle, split, model):
    held_out = HeldOut(split, "test", tiny_bundle.category_index)
    plain, other = (
        held_out.judge(inner_products(model, device), lambda done, total: None) for device in ("cpu", "cuda")
    )
    for metric in METRICS:
        np.testing.assert_allclose(other.per_user[metric]["all"], plain.per_user[metric]["all"], atol=1e-6)


def test_a_device_that_is_not_there_is_told(model):
    with pytest.raises(DeviceError, match="'cuda:99' is not available here"):
        inner_products(model, "cuda:99")


def test_a_sample_of_users_is_judged_as_by_all_that_is_known_of_them(tiny_bundle, split, model, monkeypatch):
    data = training_data(tiny_bundle, split)
    whole = Validation(data)
    monkeypatch.setattr("recgan.recommenders.training.validation._USERS", 5)
    sample = Validation(data)
    assert len(sample.users) == 5 < len(whole.users)
    expected = []
    for user in sample.users:
        scores = model.item_factors @ model.user_factors[user]
        taken = np.zeros(data.n_items, dtype=bool)
        for part in (data.train, data.withheld, data.validation):
            taken[part.items[part.users == user]] = True
        negatives = scores[~taken & data.candidates]
        own = scores[data.validation.items[data.validation.users == user]]
        expected.append(np.mean([(negatives < one).mean() + (negatives == one).mean() / 2 for one in own]))
    assert sample(model.user_factors, model.item_factors) == pytest.approx(np.mean(expected), abs=1e-6)


def test_users_who_took_everything_cannot_be_judged(tmp_path):
    rows = [(f"u{user}", item, item) for user in range(2) for item in range(6)]
    everything = SplitSettings(cold_share=0)
    with pytest.raises(DataError, match="took all that could be recommended: there is nothing to rank"):
        evaluate_ranking(shop(tmp_path / "all", rows, n_items=6), ["popularity"], split=everything)
    # One who did not is enough: item 5, which the first user took last, is the second user's only negative.
    report = evaluate_ranking(shop(tmp_path / "b", rows[:-1], n_items=6), ["popularity"], split=everything)
    assert report.models["popularity"].values["auc"]["all"] == 0.5  # nobody took either of them in training
