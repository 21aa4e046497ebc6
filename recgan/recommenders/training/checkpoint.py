"""Checkpoints of trainings: what a stopped one needs to go on as if it had not been stopped."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recgan.artifacts import open_artifact, write_artifact
from recgan.config import Settings
from recgan.errors import ArtifactError
from recgan.recommenders.data import TrainingData
from recgan.resume import check_same

__all__ = ["Checkpoints", "identity", "look"]

_KIND = "recommender-checkpoint"
_FORMAT_VERSION = 2
_CHECKPOINT = re.compile(r"\d{6,15}")
_NAMES = re.compile(r"\d{6,15}|\.\d{6,15}\.(building|replaced)-.*|[0-9a-f]{16}|part-[a-z_]+")
"""What lies in a run folder: checkpoints, what a killed process left of them, parts of an evaluation or of a model."""


def identity(
    model: str, settings: Settings, seed: int, device: str, data: TrainingData, seen: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what must be the same for a training to be gone on with, as JSON values; ``seen``: what it looks at."""
    return {
        "model": model,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "device": device,
        "catalogue": data.catalogue_digest,
        "split": data.split_digest,
        "learned_from": _digest_of_pairs(data),
        "features": seen,
    }


def look(data: TrainingData) -> dict[str, Any] | None:
    """Return what tells the features that a model looks at from others, for `identity`; None: it has none."""
    if (features := data.features) is None:
        return None
    return {"encoder": features.encoder_digest, "size": features.size, "transform": features.transform}


def _digest_of_pairs(data: TrainingData) -> str:
    """Return the sha256 of what the digests of catalogue and split leave open and a training depends on: the order of
    its pairs, what was taken again, and what can be recommended, which changes daily."""
    hashed = hashlib.sha256(np.packbits(data.candidates).tobytes())
    for pairs in (data.train, data.validation, data.withheld, data.repeats):
        for rows in (pairs.users, pairs.items):
            hashed.update(f"|{len(rows)}|".encode() + np.asarray(rows, dtype="<i8").tobytes())
    return hashed.hexdigest()


class Checkpoints:
    """The checkpoints of one training, each an artifact ``<folder>/<how far it is>``; the newest alone is kept.

    A new one is complete on disk before the old one goes, so a training killed at any moment has one to go on from.
    """

    def __init__(
        self, folder: Path, *, resume: bool = False, seconds: float = 120.0, keep_finished: bool = False
    ) -> None:
        """Prepare.

        Args:
            folder: where they lie.
            resume: from the newest.
            seconds: from one to the next, at least.
            keep_finished: whether there is to be one of the training's end, since more comes after it.
        """
        self.folder, self.keep_finished = folder, keep_finished
        self._resume, self._seconds = resume, seconds
        self._identity: dict[str, Any] = {}
        self._saved_at = time.monotonic()

    def part(self, name: str) -> Checkpoints:
        """Return the checkpoints of the training of one part of a model; what is finished is gone on with at once.

        Raises:
            ArtifactError: what lies in their place is none.
        """
        folder = self.folder / f"part-{name}"
        if folder.exists() and not (folder.is_dir() and self.is_run(folder)):
            raise ArtifactError(
                f"'{folder}' holds something that no such training has written; take it away, or choose another --out"
            )
        resume = self._resume and folder.is_dir() and any(self._found(folder))
        return Checkpoints(folder, resume=resume, seconds=self._seconds, keep_finished=True)

    @staticmethod
    def _found(folder: Path) -> list[Path]:
        """Return the checkpoints in a folder, the newest last."""
        found = (one for one in folder.iterdir() if _CHECKPOINT.fullmatch(one.name) and one.is_dir())
        return sorted(found, key=lambda one: int(one.name))

    @staticmethod
    def is_run(folder: Path) -> bool:
        """Return whether nothing but checkpoints of trainings, or parts of evaluations, lie in a folder."""
        return all(_NAMES.fullmatch(path.name) for path in folder.iterdir())

    def begin(self, identity: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """Begin a training, or go on: return what the newest checkpoint holds, None for a new training.

        Args:
            identity: what the training is (model, settings, seed, data), JSON values; it must not change.

        Raises:
            ArtifactError: there is nothing to resume, or it is damaged.
            MismatchError: it is of another training; the difference is told.
        """
        self._identity, self._saved_at = dict(identity), time.monotonic()
        if not self._resume:
            self.remove()
            return None
        if not self.kept:
            raise ArtifactError(f"'{self.folder}' has no checkpoint to resume; train anew with --overwrite")
        newest = self._found(self.folder)[-1]
        try:
            checkpoint = open_artifact(newest, _KIND, format_version=_FORMAT_VERSION)
        except ArtifactError as error:
            why = str(error).rpartition(";")[0] or error  # without its mend, which is that of a model
            raise ArtifactError(
                f"cannot resume: {why}; begin anew with --overwrite, or choose another --out"
            ) from error
        check_same(self.folder, *_told(checkpoint.manifest.config, self._identity))
        return checkpoint.tensors("state")

    @property
    def kept(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.folder.is_dir() and bool(self._found(self.folder))

    @property
    def due(self) -> bool:
        """Whether it is time for another one."""
        return time.monotonic() - self._saved_at >= self._seconds

    def save(self, done: int, state: Mapping[str, np.ndarray]) -> None:
        """Keep the state after so many epochs or steps, and remove the older ones.

        Raises:
            StorageError: it cannot be written.
        """
        target = self.folder / f"{done:06d}"
        if not target.exists():
            with write_artifact(
                target, kind=_KIND, format_version=_FORMAT_VERSION, name=target.name, config=self._identity, parents={}
            ) as writer:
                writer.tensors("state", state)
        for path in self.folder.iterdir():
            if path != target:  # older ones, and what a killed process left half-written
                shutil.rmtree(path, ignore_errors=True)
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """Remove all of it: the training is over, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _told(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return what is compared of two identities: where the models are others, their settings tell no more."""
    if before["model"] == now["model"]:
        return before, now
    return {"model": before["model"]}, {"model": now["model"]}
