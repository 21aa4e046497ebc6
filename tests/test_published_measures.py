"""FID, Inception Score and LPIPS go through torch-fidelity; its networks' weights, which are large and lie elsewhere,
are drawn at random here."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from recgan.errors import NotFoundError
from recgan.evaluation.generative.published import PublishedMeasures

inception = pytest.importorskip(
    "torch_fidelity.feature_extractor_inceptionv3", reason="the extra 'fidelity' is not installed"
)
lpips = pytest.importorskip("torch_fidelity.sample_similarity_lpips")


def without_network(*_: Any, **__: Any) -> Any:
    raise URLError("no route to host")


@pytest.fixture
def random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((inception, "FeatureExtractorInceptionV3"), (lpips, "SampleSimilarityLPIPS")):
        monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        monkeypatch.setattr(getattr(module, name), "load_state_dict", lambda *_, **__: None)
    monkeypatch.setattr(lpips, "torchvision_load_pretrained_vgg16", lambda: torchvision.models.vgg16(weights=None))


def test_weights_out_of_reach_are_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "load_state_dict_from_url", without_network)
    with pytest.raises(NotFoundError, match=r"cannot be downloaded \(.*no route to host.*or leave out --published"):
        PublishedMeasures(torch.device("cpu"))


@pytest.mark.usefixtures("random_weights")
def test_the_measures_of_pictures() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    dark, bright = (rng.integers(low, low + 60, size=(4, 16, 16, 3), dtype=np.uint8) for low in (0, 190))
    measures = PublishedMeasures(torch.device("cpu"))
    same, other = measures.compare(dark, dark), measures.compare(dark, bright)
    assert same["fid"] == pytest.approx(0, abs=1e-6)
    assert other["fid"] > same["fid"]
    assert other["inception_score"] >= 1
    assert other["splits"] == 4
    distances = measures.lpips(np.concatenate([dark, dark]), np.concatenate([dark, bright]))
    assert distances.shape == (8,)
    assert np.all(distances[:4] == 0)
    assert np.all(distances[4:] != 0)
