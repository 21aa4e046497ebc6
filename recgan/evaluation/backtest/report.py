"""What a backtest found: figures by week and over all weeks, comparisons, and the answer in plain words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recgan.atomic import atomic_folder
from recgan.evaluation.estimates import Estimate, without_nan
from recgan.evaluation.plots import plot_series
from recgan.evaluation.ranking.report import Comparison

__all__ = ["ALL_TIME", "ALL_WEEKS", "RECENT", "REPURCHASE", "BacktestReport", "WeekFacts", "save_backtest"]

ALL_TIME, RECENT = "popularity", "recent_popularity"
"""The two baselines that every backtest has."""
REPURCHASE = "repurchase"
"""The third, where repeats are judged."""
_IN_WORDS = {RECENT: "recent popularity", REPURCHASE: "repurchase"}
ALL_WEEKS = "all weeks"
_LEVEL = 0.05
_PLAIN = ("bundle", "metric", "update", "repeats", "seed", "users", "about")


@dataclass(frozen=True)
class WeekFacts:
    """One judged week."""

    first_day: str
    last_day: str
    users: int
    """Judged: they were known before the week and took something in it, new to them unless repeats are judged."""
    new_users: int
    """Not judged: nothing was known of them before the week."""
    interactions: int
    """Judged."""
    cold_interactions: int
    """Of these, with items that nobody had taken before the week."""
    repeated_interactions: int = 0
    """Of these, with items that the user had taken before the week."""


@dataclass(frozen=True)
class BacktestReport:
    """What `backtest` returns."""

    bundle: str
    metric: str
    """By which models are compared."""
    update: str
    """How models were kept up to date from week to week."""
    repeats: bool
    """Whether what users took again was judged, too."""
    seed: int
    weeks: list[WeekFacts]
    users: int
    """Different users judged in all weeks."""
    figures: dict[str, dict[str, dict[str, Estimate]]]
    """By model, metric and week (its first day, or ``all weeks``): the mean over users, with its 95% interval."""
    comparisons: list[Comparison]
    """Each model against the baselines, by week and over all weeks (``group``). Holm's correction is over the latter;
    for a single week ``p_holm`` is NaN."""
    about: dict[str, Any]
    """By model: settings, and seconds of training."""

    @property
    def answers(self) -> dict[str, str]:
        """By model, whether it beats recent popularity and, where repeats are judged, repurchase, in plain words."""
        found: dict[str, list[str]] = {}
        for against in _IN_WORDS:
            for one in self._deciding(against):
                found.setdefault(one.model, []).append(self._answer(one))
        return {model: " ".join(sentences) for model, sentences in found.items()}

    @property
    def beats_recent_popularity(self) -> dict[str, bool | None]:
        """By model the same in one word: True, False (it is worse), or None where it cannot be told."""
        return {one.model: _verdict(one) for one in self._deciding(RECENT)}

    @property
    def beats_repurchase(self) -> dict[str, bool | None]:
        """The same against repurchase; empty where repeats are not judged."""
        return {one.model: _verdict(one) for one in self._deciding(REPURCHASE)}

    def _deciding(self, against: str) -> list[Comparison]:
        return [one for one in self.comparisons if one.against == against and one.group == ALL_WEEKS]

    def _answer(self, one: Comparison) -> str:
        verdict = _verdict(one)
        metric = metric_name(self.metric)
        own, other = (self.figures[name][self.metric][ALL_WEEKS].value for name in (one.model, one.against))
        said = {
            True: f"Yes: {one.model} beats {_IN_WORDS[one.against]}",
            False: f"No: {one.model} does worse than {_IN_WORDS[one.against]}",
            None: f"It cannot be told whether {one.model} beats {_IN_WORDS[one.against]}",
        }[verdict]
        number = f"{len(self.weeks)} weeks" if len(self.weeks) > 1 else "week"
        sentence = (
            f"{said} on the last {number} ({self.weeks[0].first_day} to {self.weeks[-1].last_day}, {self.users:,} "
            f"users): {metric} is {own:.4f} against {other:.4f}, a difference of {one.difference:+.4f} "
            f"(95% interval {one.low:+.4f} to {one.high:+.4f})"
        )
        if verdict is None:
            inside = one.low <= 0 <= one.high
            why = "the interval holds 0" if inside else "too little for so many comparisons (Holm's correction)"
            sentence += f"; {why}: more weeks or users would tell"
        return sentence + "."

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as JSON values."""
        return without_nan(
            {
                **{name: getattr(self, name) for name in _PLAIN},
                "answers": self.answers,
                "beats_recent_popularity": self.beats_recent_popularity,
                "beats_repurchase": self.beats_repurchase,
                "weeks": [asdict(week) for week in self.weeks],
                "models": {
                    model: {
                        metric: {week: asdict(one) for week, one in by_week.items()} for metric, by_week in by.items()
                    }
                    for model, by in self.figures.items()
                },
                "comparisons": [asdict(one) for one in self.comparisons],
            }
        )


def _verdict(one: Comparison) -> bool | None:
    return one.difference > 0 if one.p_holm <= _LEVEL else None


def metric_name(metric: str) -> str:
    """Return what a metric is called in a text: ``ndcg@20`` is NDCG@20."""
    name, at, k = metric.partition("@")
    short = {"hit_rate": "hit rate", "recall": "recall"}
    return short.get(name, name.upper()) + at + k


def save_backtest(report: BacktestReport, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write ``backtest.json``, ``answer.txt`` and ``backtest.png``, all of them or none.

    Raises:
        ArtifactError: the folder exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    steps = [week.first_day for week in report.weeks]
    lines: Mapping[str, list[Estimate]] = {
        name: [by_metric[report.metric][step] for step in steps] for name, by_metric in report.figures.items()
    }
    users = f"{report.users:,} users"
    with atomic_folder(folder, overwrite=overwrite) as building:
        text = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
        (building / "backtest.json").write_text(text + "\n", encoding="utf-8")
        (building / "answer.txt").write_text("\n".join(report.answers.values()) + "\n", encoding="utf-8")
        plot_series(
            building / "backtest.png",
            f"{report.bundle}: the last {len(steps)} weeks, {users}, models updated by: {report.update}"
            + ", repeats judged" * report.repeats,
            "week (first day)",
            f"{metric_name(report.metric)} (mean over users, 95% interval)",
            steps,
            dict(lines),
        )
