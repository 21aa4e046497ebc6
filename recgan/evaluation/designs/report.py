"""What the proof of designs shows: figures a method, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recgan.evaluation.designs.judges import ATTRIBUTE, JUDGE, SCORER, STYLE
from recgan.evaluation.designs.methods import Made
from recgan.evaluation.estimates import Estimate, without_nan
from recgan.evaluation.showcase import ShownUser

__all__ = ["JUDGES", "DesignsReport", "MethodFigures", "columns"]

JUDGES = (SCORER, JUDGE, STYLE, ATTRIBUTE)


@dataclass(frozen=True)
class MethodFigures:
    """One method; NaN where a figure cannot be had. Intervals are 95% bootstrap intervals over users."""

    win: dict[str, Estimate]
    """By judge (all but the scorer): share of users' pictures that are liked more than the scorer's best real item."""
    lift: dict[str, Estimate]
    """By judge: how much the pictures are liked, in standard deviations from the mean of the user's real items."""
    percentile: dict[str, float]
    """By judge: share, in percent, of the user's real items that are liked less."""
    transfer: float
    """Lift by the judge over lift by the scorer; NaN where that may be nought."""
    invisible: float
    """Share of pictures whose score by the scorer rose by more than one standard deviation, while they look no
    different from what the search began with."""
    specificity: dict[str, Estimate]
    """By judge: share of pairs in which a user likes the own picture more than one made for another user of the same
    category."""
    kid: float
    """To test photos at matched classes, by the reader."""
    class_accuracy: float
    diversity: dict[str, float]
    novelty: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "win": {name: _with_limits("share", one) for name, one in self.win.items()},
            "lift": {name: _with_limits("mean", one) for name, one in self.lift.items()},
            "percentile": self.percentile,
            "transfer": self.transfer,
            "invisible": self.invisible,
            "specificity": {name: _with_limits("share", one) for name, one in self.specificity.items()},
            "kid": self.kid,
            "class_accuracy": self.class_accuracy,
            "diversity": self.diversity,
            "novelty": self.novelty,
        }


@dataclass(frozen=True)
class DesignsReport:
    """What `recgan.evaluation.designs.evaluate_designs` returns."""

    methods: dict[str, MethodFigures]
    main: str
    """The method that is to be shown good."""
    comparisons: dict[str, dict[str, Estimate]]
    """By other method and judge: how much more the main one's pictures are liked, in the users' units."""
    headroom: dict[str, Any]
    """What the style oracle says of the scorer's best real item, of the best of its first twenty, and of the
    category's best: what is left to gain."""
    budget: dict[str, Any]
    """What it cost and of what it was made."""
    users: list[ShownUser]
    made: dict[str, Made]
    scores: dict[str, dict[str, np.ndarray]]
    """By method and judge: each picture's score, float [U, D]."""
    percentiles: dict[str, dict[str, np.ndarray]]
    """By method and judge: in percent, float [U, D]."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; what is not known is null."""
        return without_nan(
            {
                "methods": {name: figures.as_json() for name, figures in self.methods.items()},
                "main": self.main,
                "comparisons": {
                    f"{self.main} - {other}": {name: _with_limits("mean", one) for name, one in judges.items()}
                    for other, judges in self.comparisons.items()
                },
                "headroom": self.headroom,
                "budget": self.budget,
            }
        )

    def findings(self) -> list[str]:
        """Return in words whether the designs hold, by every judge that did not make them."""
        main = self.methods[self.main]
        told = []
        names = {JUDGE: "the judge", STYLE: "the style oracle", ATTRIBUTE: "the attribute oracle"}
        for name, who in names.items():
            share = main.win.get(name)
            if share is None or np.isnan(share.value):
                continue
            verdict = "more often than not" if share.low > 0.5 else "as likely as not"
            verdict = "less often than not" if share.high < 0.5 else verdict
            told.append(
                f"{who} prefers a design of '{self.main}' to the scorer's best real item {share.value:.0%} of the time "
                f"(95% interval {share.low:.0%} to {share.high:.0%}): {verdict}"
            )
        return told


def _with_limits(name: str, one: Estimate) -> dict[str, float]:
    return {name: one.value, "low": one.low, "high": one.high}


def columns(methods: dict[str, MethodFigures]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows, a method each, of the table that screens and pages show."""

    def share(one: Estimate | None) -> str:
        if one is None or np.isnan(one.value):
            return "–"
        return f"{one.value:.0%} ({one.low:.0%}–{one.high:.0%})"

    def number(value: float, form: str = ".2f") -> str:
        return "–" if np.isnan(value) else format(value, form)

    heads = ["method", "win b", "win style", "win attribute", "lift a", "b", "style", "attribute", "transfer"]
    heads += ["invisible", "specific b", "style", "KID", "class", "diversity", "near/far"]
    rows: list[Sequence[str]] = []
    for name, one in methods.items():
        rows.append(
            [
                name,
                *(share(one.win.get(judge)) for judge in JUDGES[1:]),
                *(number(one.lift[judge].value) if judge in one.lift else "–" for judge in JUDGES),
                number(one.transfer),
                number(one.invisible, ".1%"),
                *(
                    number(one.specificity[judge].value) if judge in one.specificity else "–"
                    for judge in (JUDGE, STYLE)
                ),
                number(one.kid, ".3f"),
                number(one.class_accuracy),
                f"{number(one.diversity['within'])}/{number(one.diversity['across'])}",
                f"{number(one.novelty['near'], '.0%')}/{number(one.novelty['far'], '.0%')}",
            ]
        )
    return heads, [list(row) for row in rows]
