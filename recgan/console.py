"""What the command line shows: answers on standard output, progress and remarks on standard error."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from recgan.progress import Progress

__all__ = ["answer", "fail", "remark", "shown_progress"]

# No markup and no emoji: an item's id may well be "[/red]" or "shop:women:7".
_stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)
_stdout = Console(highlight=False, markup=False, emoji=False)
_LINE_SECONDS = 10.0


def answer(value: dict[str, Any], text: Any, *, as_json: bool) -> None:
    """Print an answer on standard output: one JSON object, or ``text`` (anything rich can print) for a person."""
    if as_json:
        plain = _plain(value)
        try:
            sys.stdout.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")
        except UnicodeEncodeError:  # a path may hold bytes that are no text, and a terminal may know ASCII only
            sys.stdout.write(json.dumps(plain, allow_nan=False) + "\n")
        sys.stdout.flush()
    else:
        _stdout.print(text, soft_wrap=isinstance(text, str))  # a line to be copied stays one line


def _plain(value: Any) -> Any:
    """Return ``value`` with numbers that JSON cannot hold (nan, inf) as null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def remark(text: Any) -> None:
    """Print a remark on standard error: what was written, where, and the next command to run."""
    _stderr.print(text, soft_wrap=True)


def fail(message: str) -> None:
    """Print a person's error on standard error, on one line."""
    _stderr.print(Text.assemble(("error:", "bold red"), " ", " ".join(message.split())), soft_wrap=True)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Yield a progress callback: bars on a terminal, a line every ten seconds elsewhere."""
    if _stderr.is_terminal:
        with Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", markup=False),
            console=_stderr,
        ) as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total, note=note)
        self._bars.update(self._tasks[step], completed=done, total=total, note=note)


class _Lines:
    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int | None = None, note: str = "") -> None:
        now = time.monotonic()
        finished = total is not None and done >= total
        if step in self._told and not finished and now - self._told[step] < _LINE_SECONDS:
            return
        if self._told.get(step) == math.inf:
            return
        self._told[step] = math.inf if finished else now
        of = f"/{total:,}" if total else ""
        counted = f"{done:,}{of}  " if done or total or not note else ""  # an event counts nothing
        remark(f"{step}: {counted}{note}".rstrip())
