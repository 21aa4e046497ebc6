"""What a long evaluation has finished, kept beside its ``--out``, so that a stopped one goes on where it stopped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

import recgan
from recgan.artifacts import json_digest, open_artifact, write_artifact

__all__ = ["KeptParts", "Part"]

_KIND = "evaluation-part"
_FORMAT_VERSION = 1
_PLACE = re.compile("[0-9a-f]{16}")

Part = tuple[dict[str, np.ndarray], dict[str, Any]]
"""Named arrays, and facts as JSON values."""


class KeptParts:
    """The finished parts of one evaluation: made once, read when the same evaluation is run again.

    They lie in ``<out>.run``. As a context manager it removes them when the evaluation has ended well, and says on
    Ctrl-C that they are kept.
    """

    def __init__(self, out: str | Path | None, about: Mapping[str, Any]) -> None:
        """Keep parts beside ``out`` (None: keep nothing); ``about`` is what all of them depend on, as JSON values."""
        self._run = None if out is None else Path(f"{out}.run")
        self._about = {**about, "recgan": recgan.__version__}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._run is None:
            return
        if kind is None and self._run.exists():
            for place in self._run.iterdir():
                if _PLACE.fullmatch(place.name):  # a training that was stopped may keep its own things here
                    shutil.rmtree(place)
            with suppress(OSError):  # not empty
                self._run.rmdir()
        elif kind is KeyboardInterrupt and self._run.exists():
            raise KeyboardInterrupt(f"What is done is kept in '{self._run}'; the same command goes on from there.")

    def of(self, name: str, about: Mapping[str, Any], make: Callable[[], Part]) -> Part:
        """Return the part, from what is kept or by ``make``; ``about`` is what it alone depends on.

        Raises:
            ArtifactError: what is kept is damaged.
            StorageError: it cannot be written.
        """
        if self._run is None:
            return make()
        config = {"name": name, **self._about, **about}
        place = self._run / json_digest(config)[:16]
        if place.exists():
            kept = open_artifact(place, _KIND, format_version=_FORMAT_VERSION)
            return kept.tensors("values"), kept.manifest.facts
        values, facts = make()
        with write_artifact(
            place, kind=_KIND, format_version=_FORMAT_VERSION, name=name, config=config, parents={}
        ) as writer:
            writer.tensors("values", values)
            writer.facts = facts
        return values, facts
