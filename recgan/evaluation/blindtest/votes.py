"""The key of a blind test, and the votes that people gave.

::

    page.html      what people are shown; it does not say what is real
    key.json       what each picture is
    votes.jsonl    one vote a line, as they came in (where the page was served by recgan)

A vote that a person changed is there twice; the last one counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgan.errors import ArtifactError, DataError

__all__ = ["KEY", "PAGE", "VOTES", "Key", "Vote", "load_key", "parse_vote", "read_votes"]

PAGE, KEY, VOTES = "page.html", "key.json", "votes.jsonl"
FORMAT = 1
NEITHER, UNSURE = "neither", "unsure"
REAL, DESIGNED = "real", "designed"
_PERSON = re.compile(r"[0-9a-f-]{8,64}")
_LONGEST = 86_400.0
"""Seconds; who took longer was away."""


@dataclass(frozen=True)
class Key:
    """What the pictures of one blind test are."""

    test: str
    """Identity of the test: votes name it."""
    pictures: Mapping[str, Mapping[str, Any]]
    """By opaque id: ``kind`` (``design`` or ``item``), ``category``, and what it is (item id, or user, seed, score)."""
    trials: Mapping[str, Sequence[str]]
    """By opaque id: the one picture of "real or designed?", or the two of "which would you stock?"."""
    about: Mapping[str, Any]
    """Bundle, seed, digests."""

    def answers(self, trial: str) -> tuple[str, ...]:
        """Return what may be answered to a trial."""
        shown = self.trials[trial]
        return (REAL, DESIGNED, UNSURE) if len(shown) == 1 else (*shown, NEITHER)

    def as_json(self) -> dict[str, Any]:
        """Return the key as JSON values."""
        pictures = {name: dict(picture) for name, picture in self.pictures.items()}
        trials = {name: list(shown) for name, shown in self.trials.items()}
        return {"format": FORMAT, "test": self.test, "about": dict(self.about), "pictures": pictures, "trials": trials}


@dataclass(frozen=True)
class Vote:
    """One person's answer to one trial."""

    person: str
    """An opaque id of who voted."""
    trial: str
    answer: str
    """``real``, ``designed`` or ``unsure``; of two pictures the chosen one's id, or ``neither``."""
    side: str
    """Of two pictures, where the chosen one stood: ``left`` or ``right``; else empty."""
    seconds: float
    """From being shown to answering."""

    def as_json(self, test: str) -> dict[str, Any]:
        """Return the vote as JSON values."""
        return {
            "test": test,
            "person": self.person,
            "trial": self.trial,
            "answer": self.answer,
            "side": self.side,
            "seconds": self.seconds,
        }


def load_key(folder: str | Path) -> Key:
    """Return the key of the blind test in ``folder``.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    path = Path(folder) / KEY
    if not path.is_file():
        raise ArtifactError(f"'{folder}' holds no {KEY}; give a folder that 'recgan blindtest make' wrote")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ArtifactError(f"'{path}' is of another version of recgan; make the test again")
        key = Key(found["test"], found["pictures"], found["trials"], found["about"])
        for shown in key.trials.values():
            for name in shown:
                key.pictures[name]["kind"], key.pictures[name]["category"]
        return key
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); make the test again") from error


def parse_vote(value: Any, key: Key) -> Vote:
    """Return a vote that came as JSON values.

    Raises:
        DataError: it is none, or of another test.
    """
    if not isinstance(value, dict):
        raise DataError("a vote is a JSON object")
    if value.get("test") != key.test:
        raise DataError(f"it is of another blind test ('{value.get('test')}', not '{key.test}')")
    person, trial, answer = value.get("person"), value.get("trial"), value.get("answer")
    side, seconds = value.get("side", ""), value.get("seconds", 0.0)
    if not isinstance(person, str) or not _PERSON.fullmatch(person):
        raise DataError("'person' must be 8 to 64 of 0-9, a-f and -")
    if not isinstance(trial, str) or trial not in key.trials:
        raise DataError(f"there is no trial '{str(trial)[:40]}'")
    if answer not in key.answers(trial):
        raise DataError(f"'{str(answer)[:40]}' is no answer to trial '{trial}'")
    if side not in ("", "left", "right"):
        raise DataError("'side' must be left, right or empty")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST:
        raise DataError("'seconds' must be a number from 0 to 86400")
    return Vote(person, trial, answer, side, float(seconds))


def read_votes(paths: Iterable[str | Path], key: Key) -> list[Vote]:
    """Return the votes in files, one a person and trial (the last one), ordered by person and trial.

    Args:
        paths: ``votes.jsonl`` of a served page, and files that people downloaded from it.

    Raises:
        DataError: a file is none of these, or has votes on another test.
    """
    votes: dict[tuple[str, str], Vote] = {}
    for path in map(Path, paths):
        for place, value in _values(path):
            try:
                vote = parse_vote(value, key)
            except DataError as error:
                raise DataError(f"'{path}', {place}: {error}") from error
            votes[vote.person, vote.trial] = vote
    return [votes[pair] for pair in sorted(votes)]


def _values(path: Path) -> list[tuple[str, Any]]:
    """Return (place in the file, JSON value) of each vote."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{path}' cannot be read ({error}); give votes.jsonl, or a file downloaded from the page"
        ) from error
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) and isinstance(whole.get("votes"), list):
        return [(f"vote {number}", value) for number, value in enumerate(whole["votes"], 1)]
    values = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                values.append((f"line {number}", json.loads(line)))
            except ValueError as error:
                raise DataError(f"'{path}', line {number}: not JSON ({error}); remove the line") from error
    return values
