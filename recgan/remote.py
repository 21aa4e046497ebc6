"""Folders on an object store, by their fsspec URL: whether they can be written, and copies to and fro; and where this
machine keeps copies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec

from recgan.errors import ArtifactError, RecganError, SettingsError, StorageError, is_full

__all__ = ["absolute", "cached", "caching", "check_remote", "download", "is_remote", "upload"]

_PROBE = ".recgan-writes-here"


def is_remote(place: str | Path) -> bool:
    """Return whether a place is an fsspec URL of something else than this machine's files."""
    return "://" in str(place) and not str(place).startswith("file://")


def absolute(place: str | Path) -> str:
    """Return a place as any process may be given it: a URL as it is, a local path from the root."""
    text = str(place)
    return text if is_remote(text) else str(Path(text.removeprefix("file://")).absolute())


def cached(digest: str) -> Path:
    """Return where this machine keeps its copy of the artifact of a digest, there or not: in ``artifacts`` of
    ``RECGAN_CACHE``, by default ``~/.cache/recgan``."""
    try:
        place = Path(os.environ.get("RECGAN_CACHE") or "~/.cache/recgan").expanduser()
    except RuntimeError as error:  # a user without a home
        raise StorageError("there is no home for copies of artifacts; set RECGAN_CACHE to a folder of yours") from error
    return place / "artifacts" / digest


@contextmanager
def caching(copy: Path) -> Iterator[None]:
    """Hold the place of a copy while the block writes it; whoever else would, waits.

    Raises:
        StorageError: nothing can be kept there.
    """
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(copy.with_name(f".{copy.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(
            f"no copy can be kept in '{copy.parent}' ({error.strerror}); set RECGAN_CACHE to a folder of yours"
        ) from error
    try:
        with suppress(OSError):  # a file system without locks: the last one who writes wins
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def check_remote(url: str, last: str, *, overwrite: bool) -> None:
    """Refuse a URL that cannot be written, or at which there is the file ``last`` and ``overwrite`` is false.

    Raises:
        ArtifactError: it is there.
        StorageError: it cannot be written.
        SettingsError: no file system of the URL's kind is installed.
    """
    store, root = _store(url)
    try:
        if not overwrite and store.exists(f"{root}/{last}"):
            raise ArtifactError(f"'{url}' exists already; choose another --out or pass --overwrite")
        store.makedirs(root, exist_ok=True)
        store.pipe_file(f"{root}/{_PROBE}", b"")
        store.rm_file(f"{root}/{_PROBE}")
    except RecganError:
        raise
    except Exception as error:  # each store has its own kinds of errors
        raise StorageError(f"cannot write '{url}': {error}; choose an --out that you may write") from error


def upload(folder: Path, url: str, parts: Sequence[str], last: str) -> None:
    """Copy ``parts`` of a local folder, then ``last``, without which nobody reads them.

    Raises:
        StorageError: it cannot be written.
        SettingsError: as `check_remote`.
    """
    store, root = _store(url)
    try:
        if store.exists(f"{root}/{last}"):
            store.rm(f"{root}/{last}")
        for part in [*parts, last]:
            store.makedirs(f"{root}/{part}".rsplit("/", 1)[0], exist_ok=True)
            store.put_file(str(folder / part), f"{root}/{part}")
    except Exception as error:  # as above
        raise StorageError(
            f"cannot write '{url}': {error}; the manifest was not written, so nothing half-done is readable"
        ) from error


def download(url: str, parts: Sequence[str], folder: Path) -> None:
    """Copy those of ``parts`` that are there into a local folder.

    Raises:
        ArtifactError: they cannot be fetched.
        StorageError: there is no room for them.
        SettingsError: as `check_remote`.
    """
    store, root = _store(url)
    try:
        for part in parts:
            if store.exists(f"{root}/{part}"):
                (folder / part).parent.mkdir(parents=True, exist_ok=True)
                store.get_file(f"{root}/{part}", str(folder / part))
    except Exception as error:  # as above
        if isinstance(error, OSError) and is_full(error):
            raise StorageError(f"there is no room for a copy of '{url}' in '{folder.parent}'; make room") from error
        raise ArtifactError(f"'{url}' cannot be fetched: {error}; try again") from error


def _store(url: str) -> tuple[Any, str]:
    try:
        store, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SettingsError(
            f"'{url}' cannot be reached: {error}; install the store's package, or give a local folder"
        ) from error
    return store, root
