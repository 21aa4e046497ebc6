"""Checkpoints of the trainings of factor models: what a stopped one needs to go on as if it had not been stopped."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recgan.artifacts import open_artifact, write_artifact
from recgan.errors import ArtifactError
from recgan.resume import check_same

__all__ = ["Checkpoints"]

_KIND = "recommender-checkpoint"
_FORMAT_VERSION = 1


_NAMES = re.compile(r"\d{6}|\.\d{6}\.(building|replaced)-.*|[0-9a-f]{16}")
"""What lies in a run folder: checkpoints, what a killed process left of them, and parts of an evaluation."""


class Checkpoints:
    """The checkpoints of one training, each an artifact ``<folder>/<epoch>``; the newest alone is kept.

    A new one is complete on disk before the old one goes, so a training killed at any moment has one to go on from.
    """

    def __init__(self, folder: Path, *, resume: bool = False, seconds: float = 300.0) -> None:
        """Args: ``resume`` from the newest; one every so many ``seconds``, at the end of an epoch."""
        self.folder, self._resume, self._seconds = folder, resume, seconds
        self._identity: dict[str, Any] = {}
        self._saved_at = time.monotonic()

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
        found = sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())
        if not found:
            raise ArtifactError(f"'{self.folder}' has no checkpoint to resume; train anew with --overwrite")
        checkpoint = open_artifact(found[-1], _KIND, format_version=_FORMAT_VERSION)
        check_same(self.folder, checkpoint.manifest.config, self._identity)
        return checkpoint.tensors("state")

    @property
    def due(self) -> bool:
        """Whether it is time for another one."""
        return time.monotonic() - self._saved_at >= self._seconds

    def save(self, epoch: int, state: Mapping[str, np.ndarray]) -> None:
        """Keep the state at the end of an epoch, and remove the older ones.

        Raises:
            StorageError: it cannot be written.
        """
        target = self.folder / f"{epoch:06d}"
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
