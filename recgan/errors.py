"""Errors that a person can act on.

A message is one line that names what failed, where (file, row, id), and the mend. The command line prints the
message and exits with ``exit_code``; the service turns it into a problem+json answer with ``http_status``.
Anything that is not a `RecganError` is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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
    "nearest_name",
]


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
    """Two artifacts do not belong together (other catalogue, categories, pixels or split)."""

    http_status = 409


class TrainingError(RecganError):
    """Training cannot go on (a loss is not finite, a resume with other settings)."""

    exit_code = 1
    http_status = 500


class StorageError(RecganError):
    """Writing failed: the disk is full or the place cannot be written."""

    exit_code = 1
    http_status = 507


class DeviceError(RecganError):
    """The device asked for is not there."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, or ``""`` when none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
