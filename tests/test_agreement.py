"""What a model learns without training, beside training it again: on a small catalogue, where it shows in seconds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from torch import nn

from recgan.config import (
    BlendSettings,
    BPRMFSettings,
    EmbedSettings,
    IdealPointSettings,
    VBPRSettings,
    VBPRSSMSettings,
    WARPSettings,
)
from recgan.encoders import Encoder, register_encoder
from recgan.encoders.registry import _LOADERS
from tests.conftest import loaded_benchmark, write_bundle

ENCODER = "test-agreement"
TRAINED = {"latent_dim": 4, "epochs": 30, "batch_size": 64}
SEEING = {**TRAINED, "visual_dim": 6, "width": 12}
SETTINGS = {
    "bpr_mf": BPRMFSettings(**TRAINED),
    "vbpr": VBPRSettings(**SEEING),
    "vbpr_ssm": VBPRSSMSettings(**SEEING),
    "ideal_point": IdealPointSettings(dim=6, width=12),
    "warp": WARPSettings(**TRAINED),
    "blend": BlendSettings(width=12, options={"ideal_point": {"dim": 6}, "vbpr_ssm": {**TRAINED, "visual_dim": 6}}),
}


@pytest.fixture(scope="module")
def benchmark():
    body = nn.Sequential(nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Softplus())
    register_encoder(ENCODER, lambda: Encoder(ENCODER, body, dim=75, input_size=40, mean=(0.5,) * 3, std=(0.5,) * 3))
    with loaded_benchmark("agreement") as module:
        yield module
    del _LOADERS[ENCODER]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("agreement") / "bundle", items=120, users=150)


def test_the_rank_correlation_is_spearmans(benchmark):
    rng = np.random.default_rng(0)
    one, other = np.round(rng.normal(size=(2, 3, 40)), 1)  # with ties
    found = benchmark.spearman(one, other)
    assert found == pytest.approx([spearmanr(a, b).statistic for a, b in zip(one, other)])
    assert np.isnan(benchmark.spearman(np.ones((1, 4)), np.arange(4.0)[None])).all()


@pytest.mark.parametrize(
    ("model", "fold_in", "partial_fit", "add_items"),
    [
        ("bpr_mf", 0.8, 0.2, None),  # two trainings of it agree by 0.6 here
        ("vbpr", 0.9, 0.45, 0.7),
        ("vbpr_ssm", 0.9, 0.45, 0.6),
        ("ideal_point", 0.999, 0.9, 0.9),
        ("warp", 0.96, 0.7, None),
        ("blend", 0.9, 0.45, 0.6),
    ],
)
def test_what_is_learned_without_training_agrees_with_training(
    benchmark, bundle, model, fold_in, partial_fit, add_items
):
    embed = EmbedSettings(encoder=ENCODER, size=32)
    found = benchmark.agreement(bundle, model, SETTINGS[model], embed, device="cpu")
    mean = {name: one["mean"] for name, one in found.items()}
    assert mean["fold_in"] > max(fold_in, mean["average_user"])
    assert mean["partial_fit"] > partial_fit
    if add_items is None:
        assert "add_items" not in mean
    else:  # cold items: the pictures alone speak, whenever they come
        assert mean["add_items"] > add_items
    assert all(one["low"] <= one["mean"] <= one["high"] for one in found.values())
