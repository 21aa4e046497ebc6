"""Files and folders that are whole or not there: built beside their place under another name, then moved in one step.

What a killed process leaves behind (``.NAME.building-…``) is removed by the next writer of the same name. Whoever
builds holds a lock on what is built, so what can be locked belongs to nobody. Where a file system has no locks,
nothing is removed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from recgan.errors import ArtifactError, StorageError, is_full, os_mend

__all__ = ["atomic_file", "atomic_folder", "check_place", "one_at_a_time"]

MARKS = (
    "backtest.json",
    "dataset.json",
    "designs.json",
    "gaps.json",
    "generative.json",
    "generator.json",
    "key.json",
    "manifest.json",
    "map-000.png",
    "ranking.json",
)
"""Every folder that recgan writes has one of these; a folder without is somebody else's, and is never replaced."""
_BUNDLE = "dataset.json"
"""What a bundle has, and nothing else."""
_UMASK = os.umask(0o022)  # it can only be read by setting it
os.umask(_UMASK)


def check_place(target: str | Path, *, overwrite: bool = False, file: bool = False, bundle: bool = False) -> None:
    """Refuse, before the work, a local place that cannot be written after it; its parent folder is made.

    Args:
        target: the place.
        overwrite: whether it may exist.
        file: whether it will be a file, which replaces no folder.
        bundle: whether it will be a bundle, which alone replaces a bundle.

    Raises:
        ArtifactError: ``target`` exists already and ``overwrite`` is false, or is a folder where a file is to be, a
            file where a folder is to be, a bundle where something else is to be, or a folder that recgan has not
            written.
        StorageError: the place cannot be written.
    """
    target = Path(target)
    if file and target.is_dir():
        raise ArtifactError(f"'{target}' is a folder; give the name of a file with --out")
    with _writing(target), _beside(target, os.mkdir, overwrite=overwrite):
        if not file:
            _check_own(target)
            if not bundle:
                _check_no_bundle(target)


@contextmanager
def atomic_folder(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling folder that becomes ``target`` when the block ends without an error.

    On any error, Ctrl-C included, the temporary folder is removed and ``target`` is left as it was.

    Raises:
        ArtifactError: ``target`` exists already and ``overwrite`` is false, or it is a file, or a folder that recgan
            has not written, or a bundle that is to become something else.
        StorageError: the disk is full or the place cannot be written.
    """
    target = Path(target)
    with ExitStack() as stack:
        with _writing(target):
            building = stack.enter_context(_beside(target, partial(os.mkdir, mode=0o700), overwrite=overwrite))
            _check_own(target)
        with _writing(target, inside=building):
            yield building
        if not (building / _BUNDLE).exists():
            _check_no_bundle(target)
        with _writing(target):
            for path in [*sorted(building.rglob("*")), building]:
                if path.is_dir() or path.stat().st_nlink == 1:  # a hard link is another folder's file too
                    # Temporary folders and safetensors files are made for their owner alone; a service may be another.
                    os.chmod(path, (0o777 if path.is_dir() else 0o666) & ~_UMASK)
                _fsync(path)
            if target.exists():
                _replace(target, building)
            else:
                os.rename(building, target)
            _fsync(target.parent)


@contextmanager
def atomic_file(target: str | Path, *, room: str = "choose another --out") -> Iterator[Path]:
    """Yield the path of an empty temporary sibling that becomes the file ``target``, replacing what is there, when the
    block ends without an error. ``room`` is what to do, besides freeing space, when the disk is full.

    Raises:
        StorageError: the disk is full or the place cannot be written.
    """
    target = Path(target)
    with ExitStack() as stack:
        with _writing(target, room=room):
            building = stack.enter_context(_beside(target, partial(Path.touch, exist_ok=False), overwrite=True))
        with _writing(target, inside=building, room=room):
            yield building
        with _writing(target, room=room):
            _fsync(building)
            os.replace(building, target)


@contextmanager
def one_at_a_time(target: str | Path) -> Iterator[None]:
    """Hold a place for this process alone while the block runs, by a locked file ``.NAME.lock`` beside it, which goes
    with the block. Where a file system has no locks, nothing is held.

    Raises:
        ArtifactError: another process holds it.
        StorageError: the place cannot be written.
    """
    target = Path(target)
    path = target.with_name(f".{target.name}.lock")
    with _writing(target):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = None
        while descriptor is None:
            descriptor = _new_lock(path, target)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _new_lock(path: Path, target: Path) -> int | None:
    """Return a descriptor that holds the lock of the file at ``path``, or None if that has just been given up."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ArtifactError(
            f"another process is at work on '{target}'; wait until it has ended, or choose another --out"
        ) from None
    except OSError:  # a file system without locks
        return descriptor
    if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
        return descriptor
    os.close(descriptor)
    return None


def _check_own(target: Path) -> None:
    """Refuse to replace a file, or a folder with anything in it that recgan has not written, by a folder: it may be all
    that somebody has."""
    if target.is_file():
        raise ArtifactError(f"'{target}' is a file, and a folder is to be written; choose another --out")
    if target.is_dir() and any(target.iterdir()) and not any((target / mark).exists() for mark in MARKS):
        raise ArtifactError(f"'{target}' holds something that recgan has not written; choose another --out")


def _check_no_bundle(target: Path) -> None:
    """Refuse to replace a bundle by what is none: it may be the one that is being read."""
    if (target / _BUNDLE).exists():
        raise ArtifactError(f"'{target}' is a bundle, which nothing but a bundle replaces; choose another --out")


@contextmanager
def _writing(target: Path, *, inside: Path | None = None, room: str = "choose another --out") -> Iterator[None]:
    """Tell of the system's errors as failures to write ``target``: all of them, or with ``inside``, for a block that
    may read as well, those that are surely about writing."""
    try:
        yield
    except OSError as error:
        names = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
        if inside is not None and not is_full(error) and not any(name.is_relative_to(inside) for name in names):
            raise
        raise StorageError(f"cannot write '{target}': {_reason(error, target, room)}. Nothing was changed") from error


def _reason(error: OSError, target: Path, room: str) -> str:
    """Return why ``target`` could not be written, and what can be done about it."""
    for parent in target.parents:
        if os.path.exists(parent) and not os.path.isdir(parent):  # Path's own raise where they may not look
            return f"'{parent}' is a file, not a folder; {room}"
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason}; {os_mend(error, room)}"


@contextmanager
def _beside(target: Path, make: Callable[[Path], None], *, overwrite: bool) -> Iterator[Path]:
    """Yield a new sibling of ``target``, made by ``make`` and locked; what is left of it at the end is removed."""
    if target.name in ("", ".."):
        raise ArtifactError(f"'{target}' is no name for something new; choose another --out")
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    if target.exists() and not overwrite:
        raise ArtifactError(f"'{target}' exists already; choose another --out or pass --overwrite")
    lock = None
    while lock is None:  # another writer's sweep may come between making and locking it
        path = target.with_name(f".{target.name}.building-{secrets.token_hex(8)}")
        make(path)
        lock = _own_lock(path)
    try:
        yield path
    finally:
        _remove(path)
        os.close(lock)


def _own_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a new file or folder, or None if that has been swept away."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with suppress(OSError):  # a file system without locks: nobody sweeps there either
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if path.exists():
        return descriptor
    os.close(descriptor)
    return None


def _sweep(target: Path) -> None:
    """Remove what killed writers of ``target`` have left, and put back what they had moved out of its way."""
    for path in target.parent.iterdir():
        if path.name.startswith((f".{target.name}.building-", f".{target.name}.replaced-")):
            with suppress(OSError), _lock(path):
                if ".replaced-" in path.name and not target.exists():
                    os.rename(path, target)
                else:
                    _remove(path)


def _replace(target: Path, building: Path) -> None:
    retired = target.with_name(f".{target.name}.replaced-{secrets.token_hex(8)}")
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(_lock(target))  # so that it is not taken for a dead process's
        os.rename(target, retired)
        try:
            os.rename(building, target)
        except BaseException:
            os.rename(retired, target)
            raise
        _remove(retired)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file or a folder that nobody else holds; OSError if somebody does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
