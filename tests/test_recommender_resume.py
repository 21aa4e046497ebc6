"""A training that was stopped goes on to the same bits; another one is refused."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recgan.artifacts import open_artifact
from recgan.config import (
    BlendSettings,
    BPRMFSettings,
    DVBPRSettings,
    EmbedSettings,
    Settings,
    VBPRSettings,
    VBPRSSMSettings,
    WARPSettings,
)
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import Pairs, make_split
from recgan.errors import ArtifactError, MismatchError, SettingsError, StorageError
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommender, TrainingData, create_recommender, train_recommender
from recgan.recommenders.base import FORMAT_VERSION
from recgan.recommenders.train import data_for
from recgan.recommenders.training.checkpoint import Checkpoints
from recgan.resume import run_folder

EPOCHS = 6
SETTINGS: dict[str, Settings] = {
    "bpr_mf": BPRMFSettings(epochs=EPOCHS, latent_dim=4, batch_size=16, patience=EPOCHS),
    "warp": WARPSettings(epochs=EPOCHS, latent_dim=4, batch_size=16, patience=EPOCHS),
    "vbpr": VBPRSettings(epochs=EPOCHS, latent_dim=4, visual_dim=3, width=6, batch_size=16, patience=EPOCHS),
    "vbpr_ssm": VBPRSSMSettings(epochs=EPOCHS, latent_dim=4, visual_dim=3, width=6, batch_size=16, patience=EPOCHS),
}


def train(bundle: Bundle, model: str, settings: Settings | None = None, **options: Any) -> Recommender:
    embed = EmbedSettings(encoder="efficientnet_lite0", size=32)
    return train_recommender(bundle, model, settings or SETTINGS[model], embed=embed, device="cpu", **options)


class Stop:
    """Sends a signal, Ctrl-C's as a terminal does, when an epoch is reported."""

    def __init__(self, epoch: int, number: int = signal.SIGINT) -> None:
        self.epoch, self.number = epoch, number

    def __call__(self, step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step.startswith("training") and done == self.epoch:
            os.kill(os.getpid(), self.number)


def stopped(bundle: Bundle, model: str, out: Path, *, epoch: int, number: int = signal.SIGINT, **options: Any) -> None:
    told = (
        rf"stopped after epoch {epoch} of at most {EPOCHS}; go on with --resume \(the training is kept in '.*\.run'\)"
    )
    with pytest.raises(KeyboardInterrupt, match=told):
        train(bundle, model, out=out, progress=Stop(epoch, number), **options)
    assert options.get("overwrite") or not out.exists()


@pytest.mark.parametrize("model", SETTINGS)
def test_a_stopped_training_goes_on_to_the_same_bits(tiny_bundle, tmp_path, model):
    whole = train(tiny_bundle, model)
    out = tmp_path / "model"
    stopped(tiny_bundle, model, out, epoch=2)
    stopped(tiny_bundle, model, out, epoch=5, number=signal.SIGTERM, resume=True)
    assert [path.name for path in run_folder(out).iterdir()] == ["000005"]
    resumed = train(tiny_bundle, model, out=out, resume=True)
    for name, array in whole.tensors().items():
        np.testing.assert_array_equal(resumed.tensors()[name], array)
    timeless = [{k: v for k, v in one.metrics.items() if k != "triples_per_second"} for one in (resumed, whole)]
    assert timeless[0] == timeless[1]
    assert not run_folder(out).exists()


SEEING = DVBPRSettings(
    backbone="efficientnet_lite0", input_size=32, dim=6, epochs=3, frozen_epochs=1, patience=3, batch_size=8
)
FROM_SCRATCH = DVBPRSettings(
    backbone="cnn_f", input_size=32, hidden=16, dim=6, epochs=2, frozen_epochs=0, patience=2, batch_size=8, loss="ssm"
)


class StopAt:
    """Sends Ctrl-C's signal at a report that begins so, when so much is done; SIGKILL's place is taken by an error."""

    def __init__(self, step: str, done: int, error: type[Exception] | None = None) -> None:
        self.step, self.done, self.error = step, done, error

    def __call__(self, step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step.startswith(self.step) and done >= self.done:
            if self.error is not None:
                raise self.error("killed")
            os.kill(os.getpid(), signal.SIGINT)


def same(one: Recommender, other: Recommender) -> None:
    for name, array in other.tensors().items():
        np.testing.assert_array_equal(one.tensors()[name], array, err_msg=name)
    speeds = ("triples_per_second", "images_per_second")
    timeless = [{k: v for k, v in model.metrics.items() if k not in speeds} for model in (one, other)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("settings", [SEEING, FROM_SCRATCH], ids=["pretrained", "from scratch"])
def test_one_that_learns_to_see_goes_on_from_within_an_epoch(tiny_bundle, tmp_path, settings):
    whole = train(tiny_bundle, "dvbpr", settings)
    out = tmp_path / "model"
    moving = settings.frozen_epochs + 1
    with pytest.raises(KeyboardInterrupt, match=rf"stopped in epoch {moving} of at most {settings.epochs}; go on with"):
        train(tiny_bundle, "dvbpr", settings, out=out, progress=StopAt(f"epoch {moving}: learning", 16))
    (first,) = run_folder(out).iterdir()
    again = StopAt(f"epoch {moving + 1}: learning", 24, RuntimeError)
    with pytest.raises(RuntimeError, match="killed"):
        train(tiny_bundle, "dvbpr", settings, out=out, resume=True, checkpoint_seconds=0, progress=again)
    (second,) = run_folder(out).iterdir()
    assert int(second.name) > int(first.name)
    other = settings.model_copy(update={"learning_rate": 0.5})
    with pytest.raises(MismatchError, match=r"settings.learning_rate was 0.0001, is now 0.5\. Give"):
        train(tiny_bundle, "dvbpr", other, out=out, resume=True)
    same(train(tiny_bundle, "dvbpr", settings, out=out, resume=True), whole)
    assert not run_folder(out).exists()


def test_one_that_learns_to_see_goes_on_while_the_network_stands_still(tiny_bundle, tmp_path):
    settings = SEEING.model_copy(update={"frozen_epochs": 2})
    whole = train(tiny_bundle, "dvbpr", settings)
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 1 of at most 3"):
        train(tiny_bundle, "dvbpr", settings, out=out, progress=StopAt("training dvbpr", 1))
    (first,) = run_folder(out).iterdir()
    die = StopAt("training dvbpr", 2, RuntimeError)
    with pytest.raises(RuntimeError, match="killed"):  # before its end is kept: the one of its last step is
        train(tiny_bundle, "dvbpr", settings, out=out, resume=True, checkpoint_seconds=0, progress=die)
    (second,) = run_folder(out).iterdir()
    assert int(second.name) == 2 * int(first.name)
    same(train(tiny_bundle, "dvbpr", settings, out=out, resume=True), whole)


def test_ctrl_c_in_the_last_look_is_not_swallowed(tiny_bundle, tmp_path):
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 2 of at most 2"):
        train(tiny_bundle, "dvbpr", FROM_SCRATCH, out=out, progress=StopAt("training dvbpr", 2))
    again: list[str] = []
    resumed = train(
        tiny_bundle, "dvbpr", FROM_SCRATCH, out=out, resume=True, progress=lambda step, *_: again.append(step)
    )
    assert not [step for step in again if step.startswith(("epoch", "training"))]  # nothing was left to do
    same(resumed, train(tiny_bundle, "dvbpr", FROM_SCRATCH))


def test_a_blend_goes_on_with_the_part_that_was_under_way(tiny_bundle, tmp_path):
    shape = {"epochs": EPOCHS, "patience": EPOCHS, "latent_dim": 4, "batch_size": 16}
    options = {"vbpr": {**shape, "visual_dim": 3}, "bpr_mf": shape}
    settings = BlendSettings(parts=("vbpr", "visual_knn", "bpr_mf"), options=options, width=6)
    whole = train(tiny_bundle, "blend", settings)
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt, match=r"stopped after epoch 3 .*\.run/part-bpr_mf'"):
        train(tiny_bundle, "blend", settings, out=out, progress=StopAt("training bpr_mf", 3))
    assert {path.name for path in run_folder(out).iterdir()} == {"000000", "part-vbpr", "part-bpr_mf"}
    with pytest.raises(ArtifactError, match=r"model\.run' exists already"):
        train(tiny_bundle, "blend", settings, out=out)

    told: list[tuple[str, int]] = []

    def note(step: str, done: int, total: int | None = None, note: str = "") -> None:
        told.append((step, done))

    resumed = train(tiny_bundle, "blend", settings, out=out, resume=True, progress=note)
    assert [done for step, done in told if step == "training bpr_mf"] == [4, 5, 6]
    assert not [done for step, done in told if step == "training vbpr"]
    same(resumed, whole)
    assert not run_folder(out).exists()


def test_a_blend_that_is_begun_anew_forgets_its_parts(tiny_bundle, tmp_path):
    shape = {"epochs": EPOCHS, "patience": EPOCHS, "latent_dim": 4, "batch_size": 16}
    settings = BlendSettings(parts=("visual_knn", "bpr_mf"), options={"bpr_mf": shape}, width=6)
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train(tiny_bundle, "blend", settings, out=out, progress=StopAt("training bpr_mf", 3))
    other = settings.model_copy(update={"options": {"bpr_mf": {**shape, "learning_rate": 0.05}}})
    with pytest.raises(MismatchError, match=r"settings.options.bpr_mf.learning_rate was None, is now 0.05"):
        train(tiny_bundle, "blend", other, out=out, resume=True)
    same(train(tiny_bundle, "blend", other, out=out, overwrite=True), train(tiny_bundle, "blend", other))


def test_a_blend_does_not_go_on_with_what_is_not_its_own(tiny_bundle, tmp_path):
    """What is kept of another training would be removed at its end."""
    out, shape = tmp_path / "model", {"epochs": EPOCHS, "patience": EPOCHS, "latent_dim": 4, "batch_size": 16}
    blend = BlendSettings(parts=("visual_knn", "bpr_mf"), options={"bpr_mf": shape}, width=6)
    stopped(tiny_bundle, "bpr_mf", out, epoch=2)
    with pytest.raises(MismatchError, match=r"begun otherwise: model was bpr_mf, is now blend\. Give"):
        train(tiny_bundle, "blend", blend, out=out, resume=True)
    assert [path.name for path in run_folder(out).iterdir()] == ["000002"]
    train(tiny_bundle, "bpr_mf", out=out, resume=True)

    with pytest.raises(KeyboardInterrupt):
        train(tiny_bundle, "blend", blend, out=out, overwrite=True, progress=StopAt("training bpr_mf", 3))
    fewer = BlendSettings(parts=("visual_knn",), width=6)
    for other, told in (
        ({"settings": fewer}, r"settings.parts was \['visual_knn', 'bpr_mf'\], is now \['visual_knn'\]"),
        ({"settings": blend.model_copy(update={"criterion": "auc"})}, "settings.criterion was both, is now auc"),
        ({"settings": blend, "seed": 1}, "seed was 0, is now 1"),
    ):
        with pytest.raises(MismatchError, match=told):
            train(tiny_bundle, "blend", out=out, resume=True, overwrite=True, **other)
    with pytest.raises(MismatchError, match="model was blend, is now bpr_mf"):
        train(tiny_bundle, "bpr_mf", out=out, resume=True, overwrite=True)
    note = run_folder(out) / "part-bpr_mf" / "thesis.txt"
    note.write_text("years of work")
    with pytest.raises(ArtifactError, match=r"part-bpr_mf' holds something that no such training has written"):
        train(tiny_bundle, "blend", blend, out=out, resume=True, overwrite=True)
    assert {path.name for path in note.parent.iterdir()} == {"000003", "thesis.txt"}


def test_ctrl_c_beside_the_steps_says_how_to_go_on(tiny_bundle, tmp_path, monkeypatch):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    out, shape = tmp_path / "model", {"epochs": 2, "patience": 2, "latent_dim": 4, "batch_size": 16}
    blend = BlendSettings(parts=("visual_knn", "bpr_mf"), options={"bpr_mf": shape}, width=6)
    with monkeypatch.context() as patched:
        patched.setattr("recgan.recommenders.models.blend.Blend._choose", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"^stopped; go on with --resume .*kept in '.*model\.run'\)"):
            train(tiny_bundle, "blend", blend, out=out)
    same(train(tiny_bundle, "blend", blend, out=out, resume=True), train(tiny_bundle, "blend", blend))
    with monkeypatch.context() as patched:
        patched.setattr("recgan.recommenders.train.make_split", interrupt)
        with pytest.raises(KeyboardInterrupt) as nothing:
            train(tiny_bundle, "blend", blend, out=tmp_path / "other")
    assert nothing.value.args == ()


def test_a_model_that_has_no_room_is_kept_and_saved_later(tiny_bundle, tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise StorageError("cannot write it; free some space")

    out = tmp_path / "model"
    with monkeypatch.context() as patched:
        patched.setattr(Recommender, "save", full)
        told = (
            r"^cannot write it; free some space; then go on with --resume \(the training is kept in '.*model\.run'\)$"
        )
        with pytest.raises(StorageError, match=told):
            train(tiny_bundle, "bpr_mf", out=out, checkpoint_seconds=0)
        with pytest.raises(StorageError, match=r"free some space$"):
            train(tiny_bundle, "bpr_mf", out=tmp_path / "other")  # too soon for a checkpoint
    same(train(tiny_bundle, "bpr_mf", out=out, resume=True), train(tiny_bundle, "bpr_mf"))


@pytest.mark.parametrize("change", ["candidates", "order"])
def test_what_changes_daily_must_be_the_same(tiny_bundle, tmp_path, change):
    """The digests of catalogue and split are those of the same products and pairs whatever is available, in any order:
    the training that follows is not."""
    data = data_for("bpr_mf", tiny_bundle, make_split(tiny_bundle), device="cpu")
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", progress=Stop(2))
    if change == "candidates":
        other = replace(data, candidates=np.append(data.candidates[:-1], not data.candidates[-1]))
    else:
        other = replace(data, train=Pairs(data.train.users[::-1].copy(), data.train.items[::-1].copy()))
    assert (other.split_digest, other.catalogue_digest) == (data.split_digest, data.catalogue_digest)
    with pytest.raises(MismatchError, match=r"begun otherwise: learned_from was \w{64}, is now \w{64}\. Give"):
        fit(other, tmp_path / "run", resume=True)
    np.testing.assert_array_equal(
        fit(data, tmp_path / "run", resume=True).item_factors, fit(data, tmp_path / "new").item_factors
    )


def fit(data: TrainingData, folder: Path, *, resume: bool = False, progress: Progress = quiet) -> Recommender:
    kept = Checkpoints(folder, resume=resume)
    return create_recommender("bpr_mf", SETTINGS["bpr_mf"]).fit(data, device="cpu", progress=progress, checkpoints=kept)


def test_what_an_evaluation_keeps_is_no_checkpoint(tiny_bundle, tmp_path):
    out = tmp_path / "model"
    (run_folder(out) / "0123456789abcdef").mkdir(parents=True)
    (run_folder(out) / "0123456789012345").mkdir()
    with pytest.raises(ArtifactError, match=r"model\.run' has no checkpoint to resume"):
        train(tiny_bundle, "bpr_mf", out=out, resume=True)


def test_it_is_kept_from_time_to_time_and_a_killed_one_goes_on(tiny_bundle, tmp_path):
    def die(step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step.startswith("training") and done == 4:
            raise RuntimeError("killed")

    out = tmp_path / "model"
    with pytest.raises(RuntimeError, match="killed"):
        train(tiny_bundle, "bpr_mf", out=out, checkpoint_seconds=0, progress=die)
    assert [path.name for path in run_folder(out).iterdir()] == ["000003"]
    resumed = train(tiny_bundle, "bpr_mf", out=out, resume=True)
    np.testing.assert_array_equal(resumed.item_factors, train(tiny_bundle, "bpr_mf").item_factors)


def test_other_settings_and_data_are_refused(tiny_bundle, make_bundle, tmp_path):
    out = tmp_path / "model"
    stopped(tiny_bundle, "bpr_mf", out, epoch=2)
    other = SETTINGS["bpr_mf"].model_copy(update={"learning_rate": 0.01})
    with pytest.raises(MismatchError, match=r"begun otherwise: settings.learning_rate was 0.2, is now 0.01\. Give"):
        train(tiny_bundle, "bpr_mf", other, out=out, resume=True)
    with pytest.raises(MismatchError, match="seed was 0, is now 1"):
        train(tiny_bundle, "bpr_mf", out=out, resume=True, seed=1)
    with pytest.raises(MismatchError, match=r"catalogue was .* split was "):
        train(make_bundle(seed=1), "bpr_mf", out=out, resume=True)
    with pytest.raises(MismatchError, match=r"begun otherwise: model was bpr_mf, is now vbpr\. Give"):
        train(tiny_bundle, "vbpr", out=out, resume=True)
    assert run_folder(out).exists()


def test_what_is_there_is_neither_taken_up_nor_lost_unasked(tiny_bundle, tmp_path):
    out = tmp_path / "model"
    with pytest.raises(ArtifactError, match=r"no run to resume.*without --resume"):
        train(tiny_bundle, "bpr_mf", out=out, resume=True)
    with pytest.raises(SettingsError, match="'popularity' is not kept while it runs"):
        train_recommender(tiny_bundle, "popularity", out=out, resume=True)
    stopped(tiny_bundle, "bpr_mf", out, epoch=2)
    with pytest.raises(ArtifactError, match=r"model\.run' exists already.*--resume.*--overwrite"):
        train(tiny_bundle, "bpr_mf", out=out)
    train(tiny_bundle, "bpr_mf", out=out, overwrite=True)
    assert out.is_dir()
    assert not run_folder(out).exists()


def test_a_finished_model_is_replaced_only_where_that_is_said(tiny_bundle, tmp_path):
    out = tmp_path / "model"
    train(tiny_bundle, "bpr_mf", out=out, seed=1)
    before = open_artifact(out, "recommender", format_version=FORMAT_VERSION).digest
    with pytest.raises(ArtifactError, match=r"model' exists already; replace it with --overwrite, or choose another"):
        train(tiny_bundle, "bpr_mf", out=out)
    stopped(tiny_bundle, "bpr_mf", out, epoch=2, overwrite=True)
    with pytest.raises(ArtifactError, match=r"is not of the run in '.*model\.run'; .* --resume --overwrite"):
        train(tiny_bundle, "bpr_mf", out=out, resume=True)
    assert open_artifact(out, "recommender", format_version=FORMAT_VERSION).digest == before
    resumed = train(tiny_bundle, "bpr_mf", out=out, resume=True, overwrite=True)
    np.testing.assert_array_equal(resumed.item_factors, train(tiny_bundle, "bpr_mf").item_factors)


@pytest.mark.parametrize("options", [{"overwrite": True}, {"resume": True}, {}])
def test_a_folder_that_is_no_run_is_left_alone(tiny_bundle, tmp_path, options):
    (tmp_path / "notes.run").mkdir()
    (tmp_path / "notes.run" / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"notes\.run' holds something that no such training has written"):
        train(tiny_bundle, "bpr_mf", out=tmp_path / "notes", **options)
    assert (tmp_path / "notes.run" / "thesis.txt").read_text() == "years of work"


def test_two_trainings_do_not_share_a_place(tiny_bundle, tmp_path):
    def another(step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step.startswith("training") and done == 2:
            with pytest.raises(ArtifactError, match=r"another process is at work on '.*model\.run'"):
                train(tiny_bundle, "bpr_mf", out=tmp_path / "model", overwrite=True)

    train(tiny_bundle, "bpr_mf", out=tmp_path / "model", progress=another)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_damaged_checkpoint_is_told(tiny_bundle, tmp_path):
    out = tmp_path / "model"
    stopped(tiny_bundle, "bpr_mf", out, epoch=2)
    path = run_folder(out) / "000002" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = r"cannot resume: .*'state\.safetensors' does not match its checksum \(.*\); begin anew with --overwrite, or"
    with pytest.raises(ArtifactError, match=told):
        train(tiny_bundle, "bpr_mf", out=out, resume=True)
    (path.parent / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"cannot resume: .* was not finished; begin anew with --overwrite, or"):
        train(tiny_bundle, "bpr_mf", out=out, resume=True)
