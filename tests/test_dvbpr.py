"""DVBPR: that it learns from pixels what a user likes, by CNN-F from scratch and by an encoder that is tuned on."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from recgan.config import DVBPRSettings, SplitSettings, overridden
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import pixel_digest
from recgan.dataset.split import make_split
from recgan.encoders import Encoder, register_encoder
from recgan.encoders.cnn_f import CNNF
from recgan.encoders.registry import _LOADERS
from recgan.errors import DataError, SettingsError
from recgan.recommenders import create_recommender, load_recommender
from recgan.recommenders.data import item_images, training_data
from recgan.recommenders.training.losses import warp_loss
from recgan.recommenders.training.validation import Validation
from tests.conftest import png

SCRATCH = DVBPRSettings(
    backbone="cnn_f", input_size=32, hidden=32, dim=8, item_bias=False, frozen_epochs=0, epochs=8, patience=8,
    batch_size=32, learning_rate=1e-3, user_regularisation=0.01, network_regularisation=1e-4,
)  # fmt: skip


def coarse_encoder() -> Encoder:
    """Pretrained, for the test: three convolutions of a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=4),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
    return Encoder("test-coarse", body, dim=64, input_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture(scope="module", autouse=True)
def encoder():
    register_encoder("test-coarse", coarse_encoder)
    yield
    del _LOADERS["test-coarse"]


TUNED = DVBPRSettings(
    backbone="test-coarse",
    dim=16,
    frozen_epochs=2,
    epochs=5,
    batch_size=32,
    learning_rate=1e-3,
    factor_learning_rate=0.05,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """60 items that are mostly red, green or blue; 120 users who each take one colour."""
    rng = np.random.default_rng(0)
    out = tmp_path_factory.mktemp("dvbpr") / "bundle"
    ids = [f"{item:02d}" for item in range(60)]
    taken = [(f"user-{user:03d}", ids[item]) for user in range(120) for item in rng.permutation(20)[:8] * 3 + user % 3]
    with BundleWriter(out, name="colours", licence="CC0-1.0", source="drawn by the tests") as writer:
        for item, item_id in enumerate(ids):
            pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[..., item % 3] += rng.integers(40, 130, dtype=np.uint8)
            writer.add_image(item_id, png(pixels), sha256=pixel_digest(Image.fromarray(pixels)))
        writer.set_items(pd.DataFrame({"item_id": ids, "category": np.where(np.arange(60) % 2, "new", "old")}))
        writer.set_interactions(pd.DataFrame(taken, columns=["user_id", "item_id"]))
    return Bundle.open(out)


@pytest.fixture(scope="module")
def data(bundle):
    return training_data(bundle, make_split(bundle, SplitSettings(cold_share=0.2)), images=item_images(bundle, 32))


def fitted(data, settings, **options):
    return create_recommender("dvbpr", settings.model_copy(update=options)).fit(data, seed=0, device="cpu")


@pytest.fixture(scope="module")
def scratch(data):
    return fitted(data, SCRATCH)


@pytest.fixture(scope="module")
def tuned(data):
    return fitted(data, TUNED)


def test_cnn_f_has_the_published_layers():
    network = CNNF(100)
    assert [tuple(p.shape) for p in network.parameters() if p.ndim > 1] == [
        (64, 3, 11, 11), (256, 64, 5, 5), (256, 256, 3, 3), (256, 256, 3, 3), (256, 256, 3, 3),
        (4096, 7 * 7 * 256), (4096, 4096), (100, 4096),
    ]  # fmt: skip
    pooled = [index for index, module in enumerate(network) if isinstance(module, nn.MaxPool2d)]
    convolutions = [index for index, module in enumerate(network) if isinstance(module, nn.Conv2d)]
    assert [sum(c < p for c in convolutions) for p in pooled] == [1, 2, 5]
    assert sum(isinstance(module, nn.Dropout) for module in network) == 2


def test_same_padding_is_tensorflows():
    # 5 pixels, kernel 3, stride 2: ceil(5 / 2) = 3 outputs, one pixel of padding on each side.
    first = CNNF(1, size=16, hidden=1)[0]
    layer = type(first)(1, 1, 3, stride=2, bias=False)
    nn.init.ones_(layer.weight)
    out = layer(torch.ones(1, 1, 5, 5))
    assert out.shape == (1, 1, 3, 3)
    assert out[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    # 4 pixels: 2 outputs, and the odd pixel of padding comes last.
    assert layer(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9, 6], [6, 4]]


def test_warp_weighs_by_rank_and_its_gradients_are_the_derivatives():
    users = torch.tensor([[1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    items = torch.tensor([[1.0], [0.5], [-3.0], [0.9]], dtype=torch.float64, requires_grad=True)
    taken = (torch.tensor([0, 1]), torch.tensor([0, 3]))
    known = (torch.tensor([0, 1, 1]), torch.tensor([0, 3, 0]))
    losses, to_users, to_items = warp_loss(users, items, taken, known, 31)
    # User 0: own 1; items 1, 2, 3 at .5, -3, .9: two of three violate, by .5 and .9. Rank 20.
    # User 1: own 1.8; items 1, 2 at 1, -6 (0 is known): one of two violates, by .2. Rank 15.
    assert losses.tolist() == pytest.approx([np.log(21) * 0.7, np.log(16) * 0.2])
    numeric_users, numeric_items = torch.autograd.grad(
        warp_loss(users, items, taken, known, 31)[0].sum(), (users, items)
    )
    torch.testing.assert_close(to_users, numeric_users)
    torch.testing.assert_close(to_items, numeric_items)


@pytest.mark.parametrize("loss", ["bpr", "warp", "ssm"])
def test_it_learns_taste_from_pixels(data, loss):
    model = fitted(data, SCRATCH, loss=loss)
    # Of 60 items 20 have the user's colour, 7 of them known: the AUC of the true taste is about (40 + 6) / 52.
    assert model.metrics["validation_auc"] > 0.7
    cold = np.flatnonzero(data.item_counts == 0)
    assert len(cold) > 5
    kinds = np.arange(data.n_items) % 3
    for kind in range(3):
        users = np.arange(data.n_users) % 3 == kind  # ids sort by number
        scores = (model.user_factors[users] @ model.item_factors[cold].T).mean(0)
        assert scores[kinds[cold] == kind].mean() > scores[kinds[cold] != kind].mean()


@pytest.mark.parametrize("loss", ["bpr", "warp", "ssm"])
def test_a_step_looks_at_each_of_its_items_once(data, monkeypatch, loss):
    """All pairs are one step: each item that somebody took is named many times, and no other is."""
    steps = []

    def watched() -> Encoder:
        def note(body: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            if body.training:
                steps.append(given[0].flatten(1))

        encoder = coarse_encoder()
        encoder.body.register_forward_hook(note)
        return encoder

    monkeypatch.setitem(_LOADERS, "test-coarse", watched)
    taken = len(np.unique(data.train.items))
    assert len(data.train) > 10 * taken
    fitted(data, TUNED, loss=loss, frozen_epochs=0, epochs=2, batch_size=len(data.train))
    assert [len(pictures) for pictures in steps] == [taken, taken]  # two steps
    for pictures in steps:
        assert len(torch.unique(pictures, dim=0)) == taken


def test_it_stops_by_the_criterion_that_it_is_given(data):
    told = {}

    def note(step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step == "training dvbpr":
            told[done] = float(note.partition("validation NDCG@20 ")[2])

    settings = TUNED.model_copy(update={"criterion": "ndcg", "epochs": 20, "patience": 2, "item_bias": False})
    model = create_recommender("dvbpr", settings).fit(data, seed=0, device="cpu", progress=note)
    best = model.metrics["best_epoch"]
    assert told[best] == pytest.approx(max(told.values()), abs=1e-4)
    assert len(told) == model.metrics["epochs"] == best + 2 < 20
    assert "validation_auc" not in model.metrics
    kept = Validation(data, "ndcg")(model.user_factors, model.item_factors)
    assert kept == pytest.approx(model.metrics["validation_ndcg"], abs=1e-6)
    assert kept == pytest.approx(told[best], abs=1e-4)


def test_tuning_moves_the_network_and_ends_no_worse_than_it_began(data, tuned):
    frozen = fitted(data, TUNED, epochs=2)
    assert frozen.metrics["images_per_second"] == 0  # the network never moved
    before, after = frozen.load_encoder("cpu").body.state_dict(), tuned.load_encoder("cpu").body.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert tuned.metrics["validation_auc"] >= frozen.metrics["validation_auc"]
    assert tuned.metrics["images_per_second"] > 0


@pytest.mark.parametrize("settings", [SCRATCH, TUNED], ids=["scratch", "tuned"])
def test_half_precision_is_the_networks_alone(data, settings, monkeypatch):
    """What a GPU does, here on a CPU, which is slow at it: one step of a moving network."""
    few = settings.model_copy(update={"frozen_epochs": 0, "epochs": 1, "batch_size": len(data.train)})
    exact = create_recommender("dvbpr", few).fit(data, seed=0, device="cpu")
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda device, dtype, enabled: autocast("cpu", dtype))
    half = create_recommender("dvbpr", few).fit(data, seed=0, device="cpu")
    assert half.item_factors.dtype == np.float32
    assert not np.array_equal(half.item_factors, exact.item_factors)
    np.testing.assert_allclose(half.item_factors, exact.item_factors, atol=0.1 * np.abs(exact.item_factors).max())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("loss", ["bpr", "warp", "ssm"])
@pytest.mark.parametrize("settings", [SCRATCH, TUNED], ids=["scratch", "tuned"])
def test_a_gpu_learns_as_well(data, settings, loss):
    model = create_recommender("dvbpr", settings.model_copy(update={"loss": loss})).fit(data, seed=0, device="cuda")
    assert model.metrics["validation_auc"] > 0.7


def test_cold_items_have_the_bias_that_is_given(data):
    high, low = (fitted(data, TUNED, epochs=1, cold_bias=bias) for bias in (3.0, -3.0))
    cold = data.item_counts == 0
    assert "cold_bias" not in high.metrics
    gaps = high.item_factors[:, 0] - low.item_factors[:, 0]
    np.testing.assert_allclose(gaps[cold], 6, atol=1e-4)
    assert np.abs(gaps[~cold]).max() < 1
    with pytest.raises(SettingsError, match="item_bias=False"):
        overridden(DVBPRSettings(), ["item_bias=false", "cold_bias=1"])


def test_small_pictures_that_are_enlarged_are_told(data):
    (note,) = fitted(data, SCRATCH, input_size=48, epochs=1).notes()
    assert "shown pictures of 32 px, enlarged to 48" in note
    assert "--size 48" in note
    assert fitted(data, SCRATCH, epochs=1).notes() == []


def test_while_the_network_stands_still_its_head_and_the_visual_bias_learn(data):
    frozen = fitted(data, TUNED, epochs=2)
    trunk, head = frozen.load_encoder("cpu").body
    for own, published in zip(trunk[0].parameters(), coarse_encoder().body.parameters()):
        torch.testing.assert_close(own, published, rtol=0, atol=0)
    assert not torch.equal(head.weight, torch.eye(16))
    assert np.abs(frozen._visual_bias).max() > 0
    rows = np.arange(4)
    parts = frozen.factor_parts(rows)
    assert set(parts) == {"popularity", "visual bias", "visual"}
    np.testing.assert_allclose(sum(parts.values()), frozen.item_factors[rows], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        parts["visual bias"][:, 0], frozen.item_factors[rows, 1:] @ frozen._visual_bias, rtol=1e-4, atol=1e-6
    )


def test_it_is_one_eye_with_the_network_that_it_was_tuned_on_from_and_no_other(data, scratch, tuned, tmp_path):
    pretrained = coarse_encoder()
    for model in (tuned, fitted(data, TUNED, epochs=2)):  # it moved, and it stood still
        model.save(tmp_path / str(model.settings.epochs))
        for one in (model, load_recommender(tmp_path / str(model.settings.epochs))):
            encoder = one.load_encoder("cpu")
            assert encoder.weights != pretrained.weights
            assert encoder.eye == pretrained.eye == pretrained.weights
    own = scratch.load_encoder("cpu")
    assert own.eye == own.weights


def test_the_papers_items_have_no_bias_at_all(scratch):
    assert not scratch.item_factors[:, 0].any()


def test_the_validation_figure_is_that_of_the_kept_epoch(data, scratch):
    assert Validation(data)(scratch.user_factors, scratch.item_factors) == pytest.approx(
        scratch.metrics["validation_auc"], abs=1e-6
    )


def test_the_same_seed_gives_the_same_bits(data):
    short = SCRATCH.model_copy(update={"epochs": 2})
    one, two, other = (create_recommender("dvbpr", short).fit(data, seed=seed, device="cpu") for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.item_factors, two.item_factors)
    np.testing.assert_array_equal(one.user_factors, two.user_factors)
    assert not np.array_equal(one.item_factors, other.item_factors)


@pytest.mark.parametrize("name", ["scratch", "tuned"])
def test_a_saved_model_sees_by_itself(name, request, data, bundle, tmp_path):
    model = request.getfixturevalue(name)
    model.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    assert loaded.encoder_digest == model.encoder_digest == loaded.load_encoder("cpu").digest
    np.testing.assert_array_equal(loaded.item_factors, model.item_factors)
    # What it makes of a picture is what it knows of that item, the bias of an item taken before apart.
    rows = np.arange(6)
    pixels = data.images.of(rows)
    loaded.add_items([f"new-{row}" for row in rows], pixels, ["new"] * 6)
    np.testing.assert_allclose(loaded.item_factors[-6:, 1:], model.item_factors[rows, 1:], atol=2e-3)
    cold = np.flatnonzero(data.item_counts == 0)
    loaded.add_items([f"cold-{row}" for row in cold], data.images.of(cold), ["new"] * len(cold))
    np.testing.assert_allclose(loaded.item_factors[-len(cold) :], model.item_factors[cold], atol=2e-3)
    vector = loaded.user_vector("user-003")
    encoder = loaded.load_encoder("cpu")
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    loaded.preference(vector, encoder(image)).sum().backward()
    assert image.grad.abs().sum() > 0


def test_photos_find_the_taste(scratch, data):
    kinds = np.arange(data.n_items) % 3
    liked = np.flatnonzero(kinds == 1)[:4]
    vector = scratch.fold_in(images=data.images.of(liked))
    scores = scratch.score([vector])[0]
    assert scores[kinds == 1].mean() > scores[kinds != 1].mean()


def test_a_control_is_shown_other_pictures_and_knows_nothing(data, scratch):
    control = fitted(data, SCRATCH, features="permuted")
    assert control.metrics["validation_auc"] < scratch.metrics["validation_auc"] - 0.05
    with pytest.raises(SettingsError, match="control"):
        control.preference(control.user_vector("user-000"), torch.rand(1, 8))
    with pytest.raises(SettingsError, match="no control 'noise'"):
        fitted(data, SCRATCH, features="noise")


def test_it_needs_pictures(bundle, data):
    with pytest.raises(DataError, match="needs images"):
        create_recommender("dvbpr", SCRATCH).fit(training_data(bundle, make_split(bundle)), device="cpu")
