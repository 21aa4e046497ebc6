"""From a bundle to a trained recommender, in one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recgan.artifacts import check_out
from recgan.config import EmbedSettings, Settings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import Split, make_split
from recgan.encoders import embed_items
from recgan.errors import SettingsError, StorageError
from recgan.progress import Progress, quiet
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData, item_images, training_data
from recgan.recommenders.registry import create_recommender, recommender_type
from recgan.recommenders.training.checkpoint import Checkpoints
from recgan.resume import run_place

__all__ = ["data_for", "train_recommender"]


def train_recommender(
    bundle: Bundle,
    model: str,
    settings: Settings | None = None,
    *,
    split: SplitSettings | None = None,
    embed: EmbedSettings | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    seed: int = 0,
    device: str = "auto",
    checkpoint_seconds: float = 120,
    progress: Progress = quiet,
) -> Recommender:
    """Train a model on the train part of a bundle's split and, with ``out``, save it.

    Args:
        bundle: catalogue and interactions.
        model: a name from `recommender_names`.
        settings: the model's own; its defaults if left out.
        split: which interactions are trained on; ``SplitSettings(protocol="all")`` is for production.
        embed: the encoder and the size, for visual models.
        out: folder or URL of the artifact.
        overwrite: whether ``out`` may exist; it is replaced at the end.
        resume: go on with a training for ``out`` that was stopped. On the CPU the result is, to the bit, that of a
            training that was not. Only for models that are `resumable`.
        seed: of everything random in the training (the split has its own).
        device: where features are computed and visual models are trained.
        checkpoint_seconds: how often such a model is kept in ``<out>.run`` meanwhile; it goes when the training ends.
        progress: told how far it is.

    Raises:
        SettingsError: an unknown model, settings of another one, or one that cannot be resumed.
        DataError: no interactions, or no images for a visual model.
        TrainingError: the training diverged.
        MismatchError: a resumed training has other settings or data than before.
        ArtifactError: ``out`` exists and ``overwrite`` is not given, or its run and neither that nor ``resume``;
            nothing to resume; another process trains for ``out``.
        StorageError: ``out`` cannot be written (told before the training).
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; the message says how to go on, where that is possible.
    """
    recommender = create_recommender(model, settings)
    if resume and not (out is not None and recommender.resumable):
        raise SettingsError(f"a training of '{model}' is not kept while it runs: train it without --resume")
    with ExitStack() as stack:
        checkpoints = None
        if out is not None and recommender.resumable:  # told now, not after the training
            folder = stack.enter_context(
                run_place(out, Checkpoints.is_run, resume=resume, overwrite=overwrite, grows=False)
            )
            checkpoints = Checkpoints(folder, resume=resume, seconds=checkpoint_seconds)
            stack.enter_context(_going_on(checkpoints))
        elif out is not None:
            check_out(out, overwrite=overwrite)
        parts = make_split(bundle, split)
        data = data_for(model, bundle, parts, embed, device=device, progress=progress)
        recommender.fit(data, seed=seed, device=device, progress=progress, checkpoints=checkpoints)
        if out is not None:
            recommender.save(out, overwrite=overwrite)
        if checkpoints is not None:
            checkpoints.remove()
    return recommender


@contextmanager
def _going_on(checkpoints: Checkpoints) -> Iterator[None]:
    """Say how to go on where a training was stopped beside its steps, or had no room, and what it did is kept."""
    go_on = f"go on with --resume (the training is kept in '{checkpoints.folder}')"
    try:
        yield
    except KeyboardInterrupt as stop:
        if stop.args or not checkpoints.kept:
            raise
        raise KeyboardInterrupt(f"stopped; {go_on}") from None
    except StorageError as error:
        if not checkpoints.kept:
            raise
        raise StorageError(f"{error}; then {go_on}") from error


def data_for(
    model: str,
    bundle: Bundle,
    split: Split,
    embed: EmbedSettings | None = None,
    *,
    device: str = "auto",
    progress: Progress = quiet,
) -> TrainingData:
    """Return what a model of that name is trained on: with features where it looks through an encoder, with images
    where it learns to see. Both are cached beside the bundle; errors as `embed_items` and `training_data`."""
    kind = recommender_type(model)
    if kind.end_to_end:
        size = (embed or EmbedSettings()).size
        return training_data(bundle, split, images=item_images(bundle, size, progress=progress))
    features = embed_items(bundle, embed, device=device, progress=progress) if kind.visual else None
    return training_data(bundle, split, features)
