"""How long steps tell how far they are: one small callback, so that libraries, the CLI and the service share it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "quiet"]


class Progress(Protocol):
    """Called from time to time by a long step. Raising from it stops the step (that is how it is cancelled)."""

    def __call__(self, step: str, done: int, total: int | None = None, note: str = "") -> None:
        """Report that ``done`` of ``total`` units of ``step`` are finished; ``note`` is a short figure or remark."""


def quiet(step: str, done: int, total: int | None = None, note: str = "") -> None:
    """Report nothing: the default of every public function."""
