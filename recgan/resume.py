"""What trainings that can be resumed have in common: where they keep themselves, what they refuse, how they stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from recgan.artifacts import MANIFEST, check_out
from recgan.errors import ArtifactError, MismatchError
from recgan.remote import is_remote

__all__ = ["check_places", "check_same", "differences", "interrupts", "run_folder"]


def run_folder(out: str | Path) -> Path:
    """Return where the working files of a training run for ``out`` lie."""
    url = str(out).rstrip("/")
    if is_remote(url):
        return Path(url.rsplit("/", 1)[1] + ".run")
    return Path(url.removeprefix("file://") + ".run")


def check_places(out: str | Path, folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse before the work what would fail after it; ``folder`` is the run's.

    Raises:
        ArtifactError: ``out`` or its run exists and neither ``resume`` nor ``overwrite`` is given; nothing to resume.
        StorageError: ``out`` cannot be written.
    """
    check_out(out, overwrite=True)
    if resume:
        if not folder.is_dir():
            raise ArtifactError(f"there is no run to resume at '{folder}'; train without --resume")
    elif not overwrite:
        _refuse_taken(out, folder)


def _refuse_taken(out: str | Path, folder: Path) -> None:
    url = str(out).removeprefix("file://")
    if is_remote(url):
        store, root = fsspec.core.url_to_fs(url)
        taken = url if store.exists(f"{root}/{MANIFEST}") else None
    else:
        taken = url if Path(url).exists() else None
    if taken is None and folder.exists():
        taken = str(folder)
    if taken is not None:
        raise ArtifactError(
            f"'{taken}' exists already; go on with --resume, begin anew with --overwrite, or choose another --out"
        )


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
    """Turn the first Ctrl-C into a flag, so that a step is never cut in two; a second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def request(signum: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, request)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
