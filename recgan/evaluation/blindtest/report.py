"""What the votes of a blind test say, with intervals.

People differ more than votes do, so intervals are by bootstrap over people. Under `FEWEST` people that would be far
too sure of itself; then they are Wilson's over votes, as if each vote were another person's, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recgan.errors import DataError
from recgan.evaluation.blindtest.votes import DESIGNED, NEITHER, REAL, UNSURE, VOTES, Key, Vote, load_key, read_votes
from recgan.metrics.stats import bootstrap_counts, interval, wilson

__all__ = ["FEWEST", "BlindTestReport", "Share", "report_votes"]

FEWEST = 10
"""People from which on the bootstrap is over people."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Share:
    """A share of votes with its 95% interval; NaN where there are no votes."""

    share: float
    low: float
    high: float
    votes: int

    def as_json(self) -> dict[str, Any]:
        """Return the share as JSON values."""
        return {"share": self.share, "low": self.low, "high": self.high, "votes": self.votes}


@dataclass(frozen=True)
class BlindTestReport:
    """The figures of one blind test."""

    test: str
    about: dict[str, Any]
    people: int
    votes: int
    method: str
    """``bootstrap over people`` or ``Wilson over votes``."""
    figures: dict[str, Share]
    """``real_items_called_real`` and ``designs_called_real`` (of those who could say), ``told_apart`` (right answers
    among them, designs and items counting alike; 0.5 is chance), ``designs_stocked`` (of the pairs in which one was
    chosen), ``neither_stocked`` (of all pairs), ``left_chosen`` (0.5 unless people favour a side)."""
    categories: dict[str, dict[str, Share]]
    """The same by category."""
    pictures: list[dict[str, Any]]
    """Each design: what it is (from the key), and how its votes went."""
    median_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "test": self.test,
            "about": self.about,
            "people": self.people,
            "votes": self.votes,
            "intervals": self.method,
            "figures": {name: share.as_json() for name, share in self.figures.items()},
            "categories": {
                category: {name: share.as_json() for name, share in figures.items()}
                for category, figures in self.categories.items()
            },
            "designs": self.pictures,
            "median_seconds": self.median_seconds,
        }


def report_votes(folder: str | Path, files: Iterable[str | Path] = (), *, seed: int = 0) -> BlindTestReport:
    """Return what was voted on the blind test in ``folder``.

    Args:
        folder: of the test; its ``votes.jsonl``, if there is one, is read too.
        files: votes that people downloaded.
        seed: of the bootstrap.

    Raises:
        ArtifactError: the folder holds no blind test.
        DataError: there are no votes, or a file holds something else.
    """
    key = load_key(folder)
    paths = [Path(path) for path in files]
    own = Path(folder) / VOTES
    if own.is_file():
        paths.insert(0, own)
    votes = read_votes(paths, key)
    if not votes:
        raise DataError(
            f"there are no votes on '{folder}' yet; run 'recgan blindtest serve {folder}', or name the files that "
            "people downloaded"
        )
    return _report(key, votes, seed)


def _report(key: Key, votes: Sequence[Vote], seed: int) -> BlindTestReport:
    people, person = np.unique([vote.person for vote in votes], return_inverse=True)
    category = np.array([key.pictures[key.trials[vote.trial][0]]["category"] for vote in votes], dtype=object)
    counts = bootstrap_counts(len(people), _RESAMPLES, np.random.default_rng(seed)) if len(people) >= FEWEST else None
    outcomes = _outcomes(key, votes)

    def figures(among: np.ndarray) -> dict[str, Share]:
        found = {}
        for name, groups in outcomes.items():
            parts = [np.where(among, part, np.nan) for part in groups]
            found[name] = _share(parts, person, len(people), counts)
        return found

    return BlindTestReport(
        test=key.test,
        about=dict(key.about),
        people=len(people),
        votes=len(votes),
        method="Wilson over votes" if counts is None else "bootstrap over people",
        figures=figures(np.ones(len(votes), dtype=bool)),
        categories={name: figures(category == name) for name in sorted(set(category))},
        pictures=_designs(key, votes),
        median_seconds=float(np.median([vote.seconds for vote in votes])),
    )


def _outcomes(key: Key, votes: Sequence[Vote]) -> dict[str, list[np.ndarray]]:
    """Return each figure's outcomes: 1, 0, or NaN for votes that it is not about, float [votes]; a figure of several
    parts is the mean of their shares."""

    def per_vote(outcome: Callable[[Vote, Sequence[str]], bool | None]) -> np.ndarray:
        found = [outcome(vote, key.trials[vote.trial]) for vote in votes]
        return np.array([np.nan if one is None else float(one) for one in found])

    def called(kind: str, answer: str) -> np.ndarray:
        def outcome(vote: Vote, shown: Sequence[str]) -> bool | None:
            asked = len(shown) == 1 and key.pictures[shown[0]]["kind"] == kind and vote.answer != UNSURE
            return vote.answer == answer if asked else None

        return per_vote(outcome)

    def chosen(vote: Vote, shown: Sequence[str]) -> bool | None:
        decided = len(shown) == 2 and vote.answer != NEITHER
        return key.pictures[vote.answer]["kind"] == "design" if decided else None

    return {
        "real_items_called_real": [called("item", REAL)],
        "designs_called_real": [called("design", REAL)],
        "told_apart": [called("item", REAL), called("design", DESIGNED)],
        "designs_stocked": [per_vote(chosen)],
        "neither_stocked": [per_vote(lambda vote, shown: vote.answer == NEITHER if len(shown) == 2 else None)],
        "left_chosen": [per_vote(lambda vote, shown: vote.side == "left" if vote.side else None)],
    }


def _share(parts: Sequence[np.ndarray], person: np.ndarray, people: int, counts: np.ndarray | None) -> Share:
    asked = [np.isfinite(part) for part in parts]
    n = [int(mask.sum()) for mask in asked]
    if min(n) == 0:
        return Share(float("nan"), float("nan"), float("nan"), sum(n))
    yes = [float(part[mask].sum()) for part, mask in zip(parts, asked)]
    share = float(np.mean([hits / size for hits, size in zip(yes, n)]))
    if counts is None:
        # Of a mean of two shares: as if it were one share of all their votes.
        low, high = wilson(share * sum(n), sum(n))
        return Share(share, low, high, sum(n))
    drawn = []
    for part, mask in zip(parts, asked):
        hits = np.bincount(person[mask], weights=part[mask], minlength=people)
        drawn.append((counts @ hits, counts @ np.bincount(person[mask], minlength=people)))
    whole = np.all([size > 0 for _, size in drawn], axis=0)  # a resample may hold nobody who was asked
    shares = np.mean([hits[whole] / size[whole] for hits, size in drawn], axis=0)
    low, high = interval(shares)
    return Share(share, low, high, sum(n))


def _designs(key: Key, votes: Sequence[Vote]) -> list[dict[str, Any]]:
    """Return each design with its votes, those stocked the most first."""
    tally: dict[str, dict[str, int]] = {
        name: {"stocked": 0, "not_stocked": 0, "called_real": 0, "called_designed": 0}
        for name, picture in key.pictures.items()
        if picture["kind"] == "design"
    }
    for vote in votes:
        for name in key.trials[vote.trial]:
            if name not in tally or vote.answer == UNSURE:
                continue
            if len(key.trials[vote.trial]) == 1:
                tally[name][f"called_{vote.answer}"] += 1
            else:
                tally[name]["stocked" if vote.answer == name else "not_stocked"] += 1
    rows = [{"picture": name, **key.pictures[name], **counted} for name, counted in tally.items()]
    return sorted(
        rows, key=lambda row: (row["not_stocked"] - row["stocked"], row["called_designed"] - row["called_real"])
    )
