"""Training a GAN and its artifact: resume to the bit, refusals, divergence, odd catalogues, realism, damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from recgan.artifacts import open_artifact, sha256_file
from recgan.config import Recipe
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import decode_image, load_pixels, pixel_digest, to_float
from recgan.dataset.split import image_split
from recgan.errors import ArtifactError, DataError, MismatchError, NotFoundError, SettingsError, TrainingError
from recgan.gan import TrainedGAN, design_seeds, find_recipe, latents, load_gan, run_folder, train_gan
from recgan.gan.training import run as run_module
from recgan.gan.training.checkpoint import latest_checkpoint
from recgan.gan.training.trainer import default_length
from recgan.resume import differences
from tests.conftest import draw_item

RECIPE = Recipe(
    name="small",
    generator_width=16,
    discriminator_width=16,
    latent_dim=8,
    class_dim=4,
    batch_size=4,
    ema_half_life=40,
    augment=("flip", "translate", "colour"),
    class_power=0.5,
)
IMAGES = 40  # ten batches


def train(bundle: Bundle, out: Path, recipe: str | Recipe = RECIPE, **options: object) -> TrainedGAN:
    settings = {"size": 16, "images_seen": IMAGES, "device": "cpu", "sheet_every": 20} | options
    return train_gan(bundle, recipe, out=out, **settings)  # type: ignore[arg-type]


def weights(out: Path) -> dict[str, np.ndarray]:
    return {
        f"{part}.{name}": array
        for part in ("generator", "discriminator", "classes")
        for name, array in load_file(out / f"{part}.safetensors").items()
    }


def assert_same_weights(left: Path, right: Path) -> None:
    one, two = weights(left), weights(right)
    assert one.keys() == two.keys()
    for name, array in one.items():
        assert array.tobytes() == two[name].tobytes(), name


@pytest.fixture(scope="module")
def trained(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run on the tiny bundle."""
    out = tmp_path_factory.mktemp("gan") / "gan"
    train(tiny_bundle, out)
    return out


@pytest.fixture
def gan(trained: Path) -> TrainedGAN:
    return load_gan(trained, "cpu")


class Stopped(Exception):
    """Raised by a caller that cancels."""


def breaks_at_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the given step break off after its weights have changed, as a crash in its midst would."""
    real_step, calls = run_module.train_step, iter(range(1, 10**6))

    def step(*args: object) -> torch.Tensor:
        figures = real_step(*args)  # type: ignore[arg-type]
        if next(calls) == number:
            raise Stopped
        return figures

    monkeypatch.setattr(run_module, "train_step", step)


# resuming


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9], ids=["from the step before", "from the start"])
def test_a_run_that_broke_off_in_a_step_resumes_to_the_same_bits(
    tiny_bundle: Bundle, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_seconds: float
) -> None:
    with monkeypatch.context() as patch:
        breaks_at_step(patch, 7)
        with pytest.raises(Stopped):
            train(tiny_bundle, tmp_path / "gan", checkpoint_seconds=checkpoint_seconds)
    assert not (tmp_path / "gan").exists()
    newest = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert newest is not None
    assert newest.name == f"{24 if checkpoint_seconds == 0 else 0:012d}"
    train(tiny_bundle, tmp_path / "gan", resume=True)
    assert_same_weights(tmp_path / "gan", trained)


def test_a_run_stopped_by_its_caller_keeps_what_is_done(
    tiny_bundle: Bundle, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "REPORT_EVERY", 3)

    def cancel(step: str, done: int, total: int | None = None, note: str = "") -> None:
        if done == 24:
            raise Stopped

    with pytest.raises(Stopped):
        train(tiny_bundle, tmp_path / "gan", progress=cancel)
    newest = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert newest is not None
    assert int(newest.name) == 24
    train(tiny_bundle, tmp_path / "gan", resume=True)
    assert_same_weights(tmp_path / "gan", trained)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_step_saves_and_says_how_to_go_on(
    tiny_bundle: Bundle, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    real_step, calls = run_module.train_step, iter(range(1, 100))

    def step(*args: object) -> torch.Tensor:
        if next(calls) == 5:
            os.kill(os.getpid(), number)
        return real_step(*args)  # type: ignore[arg-type]

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "train_step", step)
        with pytest.raises(KeyboardInterrupt, match=r"stopped after 20 of 40 images; go on with --resume"):
            train(tiny_bundle, tmp_path / "gan")
    assert signal.getsignal(number) is before
    train(tiny_bundle, tmp_path / "gan", resume=True)
    assert_same_weights(tmp_path / "gan", trained)


def test_a_finished_run_can_be_trained_further(tiny_bundle: Bundle, tmp_path: Path, trained: Path) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=16)
    train(tiny_bundle, tmp_path / "gan", resume=True)
    assert_same_weights(tmp_path / "gan", trained)
    assert load_gan(tmp_path / "gan").manifest.metrics["images_seen"] == IMAGES


def test_a_folder_that_is_no_run_is_left_alone(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "gan.run" / "000002").mkdir(parents=True)  # as a recommender's training leaves it
    with pytest.raises(ArtifactError, match=r"gan\.run' holds something that no such training has written"):
        train(tiny_bundle, tmp_path / "gan", images_seen=4, overwrite=True)
    assert (tmp_path / "gan.run" / "000002").is_dir()


def test_another_runs_generator_is_replaced_only_where_that_is_said(tiny_bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "gan"
    train(tiny_bundle, tmp_path / "other", images_seen=4, seed=1)
    train(tiny_bundle, out, images_seen=4)
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "other", out)
    with pytest.raises(
        MismatchError, match=r"gan' is not of the run in '.*\.run' \(seed was 1, is now 0\); .*--overwrite"
    ):
        train(tiny_bundle, out, images_seen=8, resume=True)
    assert load_gan(out).digest == load_gan(tmp_path / "other").digest
    gan = train(tiny_bundle, out, images_seen=8, resume=True, overwrite=True)
    assert gan.manifest.facts["seed"] == 0


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"recipe": RECIPE.model_copy(update={"beta1": 0.0})}, r"recipe\.beta1 was 0\.5, is now 0\.0"),
        ({"size": 32}, r"size was 16, is now 32"),
        ({"seed": 1}, r"seed was 0, is now 1"),
        ({"all_images": True}, r"parts was \['train'\], is now \['train', 'validation', 'test'\]"),
    ],
)
def test_resuming_with_other_settings_is_refused_with_the_difference(
    tiny_bundle: Bundle, tmp_path: Path, options: dict[str, object], difference: str
) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=4)
    with pytest.raises(MismatchError, match=difference):
        train(tiny_bundle, tmp_path / "gan", resume=True, **options)  # type: ignore[arg-type]


def test_resuming_on_another_catalogue_is_refused(
    tiny_bundle: Bundle, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=4)
    with pytest.raises(MismatchError, match=r"catalogue was .*, is now"):
        train(make_bundle(seed=1), tmp_path / "gan", resume=True)


def test_differences_name_nested_settings_and_new_ones() -> None:
    before, now = {"a": 1, "b": {"c": [1], "d": 2}}, {"a": 1, "b": {"c": [2], "d": 2, "e": 3}}
    assert differences(before, now) == ["b.c was [1], is now [2]", "b.e was None, is now 3"]


def test_a_damaged_checkpoint_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=4)
    newest = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert newest is not None
    flip_a_byte(newest / "optimisers.safetensors")
    with pytest.raises(ArtifactError, match=r"optimisers\.safetensors.*checksum"):
        train(tiny_bundle, tmp_path / "gan", resume=True)


def test_a_run_of_other_networks_is_refused_in_one_line(tiny_bundle: Bundle, tmp_path: Path) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=4)
    newest = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert newest is not None
    arrays = load_file(newest / "networks.safetensors")
    name = next(name for name, array in arrays.items() if array.ndim > 1)
    save_file({**arrays, name: arrays[name][:1]}, newest / "networks.safetensors")
    manifest = json.loads((newest / "manifest.json").read_text())
    del manifest["digest"]
    manifest["files"]["networks.safetensors"] = sha256_file(newest / "networks.safetensors")
    (newest / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"another version of recgan: .*; train anew with --overwrite$") as told:
        train(tiny_bundle, tmp_path / "gan", resume=True)
    assert "\n" not in str(told.value)


def test_there_must_be_something_to_resume(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no run to resume.*without --resume"):
        train(tiny_bundle, tmp_path / "gan", resume=True)


def test_what_exists_is_not_overwritten_unless_asked(tiny_bundle: Bundle, tmp_path: Path) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=4)
    first = weights(tmp_path / "gan")
    with pytest.raises(ArtifactError, match=r"exists already.*--resume.*--overwrite"):
        train(tiny_bundle, tmp_path / "gan", seed=1)
    train(tiny_bundle, tmp_path / "gan", images_seen=4, seed=1, overwrite=True)
    assert not np.array_equal(first["generator.dense.weight"], weights(tmp_path / "gan")["generator.dense.weight"])


def test_a_recipes_own_length_is_no_other_setting(tiny_bundle: Bundle, tmp_path: Path) -> None:
    gan = train(tiny_bundle, tmp_path / "gan", RECIPE.model_copy(update={"images_seen": 4}), images_seen=None)
    assert gan.manifest.metrics["images_seen"] == 4
    longer = RECIPE.model_copy(update={"images_seen": 8})
    gan = train(tiny_bundle, tmp_path / "gan", longer, images_seen=None, resume=True)
    assert gan.manifest.metrics["images_seen"] == 8
    assert gan.recipe == longer


def test_an_object_store_takes_the_artifact(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the run's working files lie here
    url = f"memory://{tmp_path.name}/gan"
    made = train_gan(tiny_bundle, RECIPE, out=url, size=16, images_seen=4, device="cpu")
    assert (tmp_path / "gan.run" / "checkpoints").is_dir()
    assert load_gan(url, "cpu").digest == made.digest
    (tmp_path / "gan.run").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"gan' exists already"):
        train_gan(tiny_bundle, RECIPE, out=url, size=16, images_seen=4, device="cpu")
    assert not (tmp_path / "gan.run").exists()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(
    tiny_bundle: Bundle, tmp_path: Path, trained: Path
) -> None:
    script = textwrap.dedent(
        f"""
        import torch; torch.set_num_threads(1)
        from pathlib import Path
        from recgan.dataset.bundle import Bundle
        from tests.test_gan_training import train
        train(Bundle.open({str(tiny_bundle.path)!r}), Path({str(tmp_path / "gan")!r}), checkpoint_seconds=0.0,
              resume=Path({str(tmp_path / "gan.run")!r}).exists())
        """
    )
    rng = np.random.default_rng(0)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[1])
        try:
            process.wait(timeout=rng.uniform(4, 9))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if (tmp_path / "gan.run").exists() and latest_checkpoint(tmp_path / "gan.run" / "checkpoints") is None:
            pytest.fail("killed, and nothing to resume from")
        if (tmp_path / "gan").exists():
            break
    else:
        train(tiny_bundle, tmp_path / "gan", resume=True)
    assert_same_weights(tmp_path / "gan", trained)


# divergence


def test_a_run_that_diverges_stops_and_keeps_no_spoilt_state(tiny_bundle: Bundle, tmp_path: Path) -> None:
    wild = RECIPE.model_copy(update={"generator_learning_rate": 1e38, "discriminator_learning_rate": 1e38})
    with pytest.raises(TrainingError, match=r"diverged: .* between images .*; train anew with lower rates"):
        train(tiny_bundle, tmp_path / "gan", wild, checkpoint_seconds=0.0)
    assert not (tmp_path / "gan").exists()
    newest = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert newest is not None
    assert all(np.isfinite(array).all() for array in load_file(newest / "networks.safetensors").values())


def test_weights_that_are_not_finite_are_caught_though_the_losses_were(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_step = run_module.train_step

    def spoil(state: run_module.TrainingState, *args: object) -> torch.Tensor:
        figures = real_step(state, *args)  # type: ignore[arg-type]
        with torch.no_grad():
            next(state.generator.parameters())[0] = torch.nan
        return figures

    monkeypatch.setattr(run_module, "train_step", spoil)
    with pytest.raises(TrainingError, match="weights of the generator are not finite at image 4"):
        train(tiny_bundle, tmp_path / "gan", images_seen=4)


# seeds, lengths, odd catalogues


def test_a_seed_gives_the_same_weights_and_another_gives_others(
    tiny_bundle: Bundle, tmp_path: Path, trained: Path
) -> None:
    torch.manual_seed(12345)  # global random state has no say
    train(tiny_bundle, tmp_path / "same")
    assert_same_weights(tmp_path / "same", trained)
    train(tiny_bundle, tmp_path / "other", seed=1)
    assert not np.array_equal(
        weights(tmp_path / "other")["generator.dense.weight"], weights(trained)["generator.dense.weight"]
    )


def test_images_seen_is_rounded_up_to_whole_batches(tiny_bundle: Bundle, tmp_path: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    gan = train(
        tiny_bundle,
        tmp_path / "gan",
        images_seen=9,
        progress=lambda step, done, total=None, note="": reports.append((done, total)),
    )
    assert gan.manifest.metrics["images_seen"] == 12
    assert (9, 9) in reports


def test_a_published_length_is_whole_epochs_of_whole_batches() -> None:
    assert default_length(find_recipe("kang2017"), 100) == 30 * 6 * 16
    assert default_length(find_recipe("kang2017"), 3) == 30 * 16
    assert default_length(RECIPE.model_copy(update={"images_seen": 77}), 100) == 77


def write_catalogue(out: Path, categories: list[str], seed: int = 0) -> Bundle:
    rng = np.random.default_rng(seed)
    with BundleWriter(out, name="odd", licence="CC0-1.0", source="drawn by the tests") as writer:
        for index in range(len(categories)):
            data = draw_item(index, rng, 16)
            writer.add_image(str(index), data, sha256=pixel_digest(decode_image(data)))
        ids = [str(index) for index in range(len(categories))]
        writer.set_items(pd.DataFrame({"item_id": ids, "category": categories}))
    return Bundle.open(out)


def test_one_item_in_one_category_trains(tmp_path: Path) -> None:
    bundle = write_catalogue(tmp_path / "bundle", ["hat"])
    gan = train(bundle, tmp_path / "gan", images_seen=8, all_images=True)
    assert gan.category_names == ("hat",)
    assert gan.train_images.tolist() == [1]
    images = gan.sample(latents(design_seeds(0, 2), RECIPE), torch.zeros(2, dtype=torch.int64))
    assert torch.isfinite(images).all()
    assert torch.isfinite(gan.realism(images, torch.zeros(2, dtype=torch.int64))).all()


def test_a_category_whose_images_are_all_held_out_is_told_apart(tmp_path: Path) -> None:
    bundle = write_catalogue(tmp_path / "bundle", [f"{number:02d}" for number in range(30)])
    held_out = int(np.flatnonzero(image_split(bundle) != 0)[0])
    gan = train(bundle, tmp_path / "gan", images_seen=8)
    assert gan.train_images[held_out] == 0
    assert gan.manifest.facts["untrained_categories"] == (gan.train_images == 0).sum()
    with pytest.raises(NotFoundError, match=f"'{held_out:02d}' had no training image.*--all"):
        gan.class_index(f"{held_out:02d}")


def test_no_image_in_the_train_part_is_refused(tmp_path: Path) -> None:
    bundles = (write_catalogue(tmp_path / f"bundle-{seed}", ["hat"], seed) for seed in range(100))
    held_out = next(bundle for bundle in bundles if image_split(bundle)[0] != 0)
    with pytest.raises(DataError, match=r"no image in its train part.*--all"):
        train(held_out, tmp_path / "gan")


def test_a_bundle_without_images_is_refused(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "bundle", name="empty", licence="CC0-1.0", source="tests") as writer:
        writer.set_items(pd.DataFrame({"item_id": ["a"], "category": ["hat"]}))
    with pytest.raises(DataError, match="has no images"):
        train(Bundle.open(tmp_path / "bundle"), tmp_path / "gan")


def test_many_categories_train(tmp_path: Path) -> None:
    bundle = write_catalogue(tmp_path / "bundle", [f"category {number}" for number in range(300)])
    gan = train(bundle, tmp_path / "gan", images_seen=8, all_images=True)
    assert len(gan.category_names) == 300
    assert gan.class_index("category 250") == gan.category_names.index("category 250")


@pytest.mark.parametrize("bad", [{"size": 24}, {"images_seen": 0}, {"recipe": "dcgan-lsgam"}])
def test_bad_settings_are_refused_before_anything_is_written(
    tiny_bundle: Bundle, tmp_path: Path, bad: dict[str, object]
) -> None:
    with pytest.raises(SettingsError):
        train(tiny_bundle, tmp_path / "gan", **bad)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_samples_come_to_look_like_their_class(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The mean of the samples of each class is nearest to the mean of the real images of that class."""
    recipe = find_recipe("dcgan-lsgan").model_copy(update={"generator_width": 32, "discriminator_width": 32})
    gan = train(tiny_bundle, tmp_path / "gan", recipe, images_seen=12000, sheet_every=12000)
    real = to_float(load_pixels(tiny_bundle, 16)[tiny_bundle.primary_images])
    classes = torch.from_numpy(tiny_bundle.category_index)
    means = torch.stack([real[classes == index].mean(0).mean(0) for index in range(3)])
    z = latents(design_seeds(0, 32), recipe)
    for index in range(3):
        made = gan.sample(z, torch.full((32,), index)).mean(0).mean(0)
        distances = (means - made).square().mean((1, 2))
        assert distances.argmin() == index
        assert distances[index] < 0.5 * distances.sort().values[1]


# the artifact


def test_the_artifact_says_what_it_is(trained: Path, tiny_bundle: Bundle, gan: TrainedGAN) -> None:
    assert gan.recipe == RECIPE
    assert gan.size == 16
    assert list(gan.category_names) == tiny_bundle.category_names
    assert gan.catalogue_digest == tiny_bundle.catalogue_digest
    assert gan.transform == "letterbox-border-v1"
    part = image_split(tiny_bundle)[tiny_bundle.primary_images]
    assert gan.train_images.tolist() == np.bincount(tiny_bundle.category_index[part == 0], minlength=3).tolist()
    assert gan.manifest.facts["training_images"] == (part == 0).sum()
    assert not gan.generator.training
    assert not gan.discriminator.training
    assert gan.digest == open_artifact(trained, "gan", format_version=1).digest
    assert gan.class_index("dresses") == 1
    with pytest.raises(NotFoundError, match="no category 'dreses'; did you mean 'dresses'"):
        gan.class_index("dreses")


def test_no_file_holds_a_pickle(trained: Path) -> None:
    run = run_folder(trained)
    files = [path for folder in (trained, run) for path in folder.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files if "tensorboard" not in path.parts}
    assert kinds == {".json", ".safetensors", ".png", ".md"}
    for path in files:
        head = path.read_bytes()[:4]
        assert head[:2] != b"PK", path  # torch.save's zip
        assert not (head[:1] == b"\x80" and head[1] <= 5), path  # a bare pickle


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("part", ["generator.safetensors", "discriminator.safetensors", "categories.json"])
def test_a_flipped_byte_is_refused(tiny_bundle: Bundle, tmp_path: Path, part: str) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=4)
    flip_a_byte(tmp_path / "gan" / part)
    with pytest.raises(ArtifactError, match=f"'{part}' does not match its checksum"):
        load_gan(tmp_path / "gan")


def test_an_artifact_of_other_recipe_settings_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    train(tiny_bundle, tmp_path / "gan", images_seen=4)
    path = tmp_path / "gan" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["digest"]
    manifest["config"]["recipe"]["generator_width"] = 24
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="does not fit its recipe"):
        load_gan(tmp_path / "gan")
    manifest["config"]["recipe"]["of_a_later_version"] = 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="settings that this recgan does not know"):
        load_gan(tmp_path / "gan")


def test_the_run_shows_itself(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = run_folder(trained)
    assert json.loads((run / "config.json").read_text())["recipe"]["name"] == "small"
    assert [int(path.stem) for path in sorted((run / "sheets").iterdir())] == [20, 40]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "loss/discriminator",
        "loss/generator",
        "logits/real",
        "logits/fake",
        "discriminator/accuracy",
        "gradient/discriminator",
        "gradient/generator",
        "speed/images_per_second",
    }
    assert events.Scalars("loss/discriminator")[-1].step == IMAGES


def test_samples_use_the_averaged_weights(trained: Path) -> None:
    newest = latest_checkpoint(run_folder(trained) / "checkpoints")
    assert newest is not None
    state = load_file(newest / "networks.safetensors")
    written = weights(trained)["generator.dense.weight"]
    assert np.array_equal(written, state["average.dense.weight"])
    assert not np.array_equal(written, state["generator.dense.weight"])


def test_a_recipe_without_average_samples_with_its_last_weights(tiny_bundle: Bundle, tmp_path: Path) -> None:
    train(tiny_bundle, tmp_path / "gan", RECIPE.model_copy(update={"ema_half_life": 0}), images_seen=8)
    newest = latest_checkpoint(tmp_path / "gan.run" / "checkpoints")
    assert newest is not None
    state = load_file(newest / "networks.safetensors")
    assert not any(name.startswith("average.") for name in state)
    for name, array in load_file(tmp_path / "gan" / "generator.safetensors").items():
        assert np.array_equal(array, state[f"generator.{name}"]), name


# realism


def test_realism_of_an_image_does_not_depend_on_its_batch(gan: TrainedGAN) -> None:
    class_index = torch.arange(12) % 3
    images = gan.sample(latents(design_seeds(4, 12), RECIPE), class_index)
    together = gan.realism(images, class_index)
    others = torch.rand(7, 3, 16, 16) * 2 - 1
    for index in range(12):
        alone = gan.realism(images[index : index + 1], class_index[index : index + 1])
        mixed = gan.realism(
            torch.cat([images[index : index + 1], others]),
            torch.cat([class_index[index : index + 1], torch.zeros(7, dtype=torch.int64)]),
        )
        assert alone.item() == pytest.approx(together[index].item(), abs=1e-4)
        assert mixed[0].item() == pytest.approx(together[index].item(), abs=1e-4)


def test_realism_is_the_logit_on_the_scale_of_real_images(gan: TrainedGAN, tiny_bundle: Bundle) -> None:
    part = image_split(tiny_bundle)[tiny_bundle.primary_images]
    real = to_float(load_pixels(tiny_bundle, 16)[tiny_bundle.primary_images[part == 1]])
    class_index = torch.from_numpy(tiny_bundle.category_index[part == 1])
    logits = gan.discriminator(real, class_index)
    realism = gan.realism(real, class_index)
    expected = (logits - gan.realism_mean[class_index]) / gan.realism_deviation[class_index]
    torch.testing.assert_close(realism, expected)
    assert gan.manifest.facts["realism_images"] == (part == 1).sum()
    assert gan.manifest.facts["realism_part"] == ["validation"]
    assert abs(realism.mean().item()) < 0.1
    assert 0.7 < realism.std(correction=0).item() < 1.3


def test_realism_and_samples_are_differentiable_to_the_latent(gan: TrainedGAN) -> None:
    z = latents(design_seeds(0, 3), RECIPE).requires_grad_()
    class_index = torch.tensor([0, 1, 2])
    gan.realism(gan.generator(z, class_index), class_index).sum().backward()
    assert z.grad is not None
    assert (z.grad.abs().sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in gan.generator.parameters())


def test_a_loaded_gan_makes_the_same_images(tiny_bundle: Bundle, tmp_path: Path) -> None:
    made = train(tiny_bundle, tmp_path / "gan", images_seen=8)
    loaded = load_gan(tmp_path / "gan", "cpu")
    z, class_index = latents(design_seeds(0, 5), RECIPE), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(made.sample(z, class_index), loaded.sample(z, class_index))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_images_as_the_cpu(trained: Path) -> None:
    z, class_index = latents(design_seeds(0, 5), RECIPE), torch.tensor([0, 1, 2, 0, 1])
    on_cpu = load_gan(trained, "cpu").sample(z, class_index)
    on_gpu = load_gan(trained, "cuda").sample(z, class_index)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-3, rtol=1e-3)
