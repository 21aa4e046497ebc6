"""Errors that a person can act on.

A message is one line that names what failed, where (file, row, id), and the mend. The command line prints the
message and exits with ``exit_code``; the service turns it into a problem+json answer with ``http_status``.
Anything that is not a `RecganError` is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import string
from collections.abc import Collection, Iterable, Iterator, Sequence

__all__ = [
    "ArtifactError",
    "DataError",
    "DeviceError",
    "ImageRefused",
    "MismatchError",
    "NotFoundError",
    "RecganError",
    "SettingsError",
    "StorageError",
    "TrainingError",
    "is_full",
    "nearest_id",
    "nearest_name",
    "os_mend",
]

_COMPARED = 20_000
"""Known ids that an unknown one is compared with; of more, only those that are one slip away are looked up."""
_LONGEST = 100
_LETTERS = string.ascii_letters + string.digits + "-_.:/ "
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MENDS = {
    errno.EACCES: "choose a place you may read and write",
    errno.EPERM: "choose a place you may read and write",
    errno.EROFS: "choose a place you may write",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files ('ulimit -n')",
}


class RecganError(Exception):
    """Base of all errors that recgan raises on purpose."""

    exit_code = 2
    http_status = 400


class SettingsError(RecganError):
    """A setting or an option has an unknown name or a value out of range."""

    http_status = 422


class DataError(RecganError):
    """A source, a bundle or an interaction log is not what it should be."""

    http_status = 422


class ImageRefused(DataError):
    """One image cannot be used; ``reason`` is a stable word that the quarantine counts by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class NotFoundError(RecganError):
    """An id, a category, a file or a registered name does not exist."""

    http_status = 404


class ArtifactError(RecganError):
    """An artifact is missing, incomplete, damaged, or of another kind or version."""

    http_status = 409


class MismatchError(RecganError):
    """What does not belong together: artifacts of other catalogues, categories, pixels or splits; a run that is resumed
    with other settings."""

    http_status = 409


class TrainingError(RecganError):
    """Training cannot go on (a loss is not finite)."""

    exit_code = 1
    http_status = 500


class StorageError(RecganError):
    """Writing failed: the disk is full or the place cannot be written."""

    http_status = 507


class DeviceError(RecganError):
    """The device asked for is not there."""


def is_full(error: OSError) -> bool:
    """Return whether the system refused to write because there is no more room."""
    return error.errno in _FULL


def os_mend(error: OSError, room: str = "choose another --out") -> str:
    """Return what a person can do about the system's error, as the end of a message; ``room`` is what to do, besides
    freeing space, about a full disk."""
    if is_full(error):
        return f"free some space or {room}"
    return _MENDS.get(error.errno or 0, "check the place and try again")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, or ``""`` when none is near.

    Of names equally near, the one that begins most like it, then the first by the alphabet.
    """
    name = str(name)
    return _suggestion(name, difflib.get_close_matches(name, list(known), n=20, cutoff=0.6))


def _suggestion(name: str, near: Sequence[str]) -> str:
    if not near:
        return ""

    def likeness(other: str) -> tuple[float, int]:
        shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(other, name))
        return difflib.SequenceMatcher(None, other, name).ratio(), len(list(shared))

    return f"; did you mean '{max(sorted(near), key=likeness)}'?"


def nearest_id(name: str, known: Collection[str]) -> str:
    """Return what `nearest_name` does, for ids of which there may be millions: ``known`` finds one without searching
    (a pandas Index, a set)."""
    if len(known) <= _COMPARED:
        return nearest_name(name, known)
    if len(name) > _LONGEST:
        return ""
    return _suggestion(name, sorted({one for one in _one_slip_away(name) if one in known}))


def _one_slip_away(name: str) -> Iterator[str]:
    """Yield what ``name`` becomes in another case, or with one letter more, less, or another, or two swapped."""
    yield from (name.strip(), name.lower(), name.upper())
    for place in range(len(name) + 1):
        before, after = name[:place], name[place:]
        yield from (before + letter + after for letter in _LETTERS)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in _LETTERS)
            yield before + after[1:2] + after[0] + after[2:]
