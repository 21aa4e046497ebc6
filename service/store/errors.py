"""What can go wrong with the store itself."""

from __future__ import annotations

from recgan.errors import RecganError

__all__ = ["StoreBusy", "StoreUnavailable"]


class StoreUnavailable(RecganError):
    """The database does not answer, or is not what it should be."""

    exit_code = 1
    http_status = 503


class StoreBusy(StoreUnavailable):
    """Others have kept the database locked for longer than a request should wait."""
