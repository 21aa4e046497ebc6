"""What trainings that can be resumed have in common: where they keep themselves, what they refuse, how they stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from recgan.artifacts import MANIFEST, check_out
from recgan.atomic import one_at_a_time
from recgan.errors import ArtifactError, MismatchError
from recgan.remote import is_remote

__all__ = ["check_same", "differences", "interrupts", "is_taken", "run_folder", "run_place"]


def run_folder(out: str | Path) -> Path:
    """Return where the working files of a training run for ``out`` lie."""
    url = str(out).rstrip("/")
    if is_remote(url):
        return Path(url.rsplit("/", 1)[1] + ".run")
    return Path(url.removeprefix("file://") + ".run")


@contextmanager
def run_place(
    out: str | Path, is_run: Callable[[Path], bool], *, resume: bool, overwrite: bool, grows: bool
) -> Iterator[Path]:
    """Refuse before the work what would fail after it; hold ``out`` for this training alone, and yield its run folder.

    Args:
        out: where the result will lie, a path or a URL.
        is_run: whether a folder is one that such a training has written; another is neither gone on with nor removed.
        resume: whether a run is gone on with.
        overwrite: whether ``out`` may exist.
        grows: whether the run of a finished training stays, so that it can be gone on with; else what is at ``out``
            is another training's result when one is resumed.

    Raises:
        ArtifactError: ``out`` or its run exists and is not to be replaced or gone on with; nothing to resume; another
            process trains for ``out``.
        StorageError: ``out`` cannot be written.
    """
    folder = run_folder(out)
    check_out(out, overwrite=True)
    with one_at_a_time(folder):
        if resume and not folder.is_dir():
            raise ArtifactError(f"there is no run to resume at '{folder}'; train without --resume")
        if folder.exists() and not (folder.is_dir() and (is_run(folder) or not any(folder.iterdir()))):
            raise ArtifactError(f"'{folder}' holds something that no such training has written; choose another --out")
        if not overwrite:
            _refuse_taken(out, folder, resume=resume, grows=grows)
        yield folder


def _refuse_taken(out: str | Path, folder: Path, *, resume: bool, grows: bool) -> None:
    if is_taken(out):
        if resume and grows:
            return
        if resume:
            raise ArtifactError(
                f"'{out}' exists already, and is not of the run in '{folder}'; "
                "replace it at the end with --resume --overwrite, or move it away"
            )
        go_on = "go on with --resume, " if grows and folder.is_dir() else ""
        raise ArtifactError(f"'{out}' exists already; {go_on}replace it with --overwrite, or choose another --out")
    if folder.exists() and not resume:
        raise ArtifactError(
            f"'{folder}' exists already; go on with --resume, begin anew with --overwrite, or choose another --out"
        )


def is_taken(out: str | Path) -> bool:
    """Return whether there is anything at ``out``: at a URL, an artifact."""
    url = str(out).removeprefix("file://")
    if not is_remote(url):
        return Path(url).exists()
    store, root = fsspec.core.url_to_fs(url)
    return bool(store.exists(f"{root}/{MANIFEST}"))


def check_same(place: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume at ``place`` what was begun otherwise; both say what determines its outcome.

    Raises:
        MismatchError: they differ; all differences are told.
    """
    if changed := differences(before, now):
        raise MismatchError(
            f"cannot resume '{place}', it was begun otherwise: {'; '.join(changed)}. "
            "Give it the same settings and data, begin anew with --overwrite, or choose another --out"
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return ``"name was x, is now y"`` for every entry in which two nested mappings differ."""
    found = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, is now {new}")
    return found


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into a flag, so that a step is never cut in two; a second interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def request(signum: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
