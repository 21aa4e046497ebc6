"""What the proof of designs shows: figures a method, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recgan.evaluation.designs.judges import ATTRIBUTE, JUDGE, SCORER, STYLE
from recgan.evaluation.designs.methods import BEST_OF_N, Made
from recgan.evaluation.estimates import Estimate, without_nan
from recgan.evaluation.showcase import ShownUser

__all__ = ["JUDGES", "DesignsReport", "MethodFigures", "columns"]

JUDGES = (SCORER, JUDGE, STYLE, ATTRIBUTE)
FEW = 20
"""Users; of fewer the bootstrap says more than is known."""


@dataclass(frozen=True)
class MethodFigures:
    """One method; NaN where a figure cannot be had. Intervals are 95% bootstrap intervals over users."""

    win: dict[str, Estimate]
    """By judge (all but the scorer): share of users' pictures that are liked more than the scorer's best real item."""
    lift: dict[str, Estimate]
    """By judge: how much the pictures are liked, in standard deviations from the mean of the user's real items."""
    percentile: dict[str, Estimate]
    """By judge: share, in percent, of the user's real items that are liked less."""
    transfer: Estimate
    """Lift by the judge over lift by the scorer; NaN where that may be nought."""
    invisible: Estimate
    """Share of pictures whose score by the scorer rose by more than one standard deviation, while they look no
    different from what the search began with."""
    specificity: dict[str, Estimate]
    """By judge: share of pairs in which a user likes the own picture more than one made for another user of the same
    category."""
    kid: Estimate
    """To test photos at matched classes, by the reader; its interval is over pictures and photos."""
    class_accuracy: Estimate
    """Share of pictures that the reader takes for what they are to be."""
    diversity: dict[str, float]
    """``within`` a user's pictures and ``across`` users: mean distance as a share of that of test photos. (A resample
    holds pictures twice, which would count as no diversity: no interval.)"""
    novelty: dict[str, Estimate]
    """Share of pictures ``near`` a training photo and ``far`` from all."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "win": {name: _with_limits("share", one) for name, one in self.win.items()},
            "lift": {name: _with_limits("mean", one) for name, one in self.lift.items()},
            "percentile": {name: one.value for name, one in self.percentile.items()},
            "transfer": self.transfer.value,
            "invisible": self.invisible.value,
            "specificity": {name: _with_limits("share", one) for name, one in self.specificity.items()},
            "kid": self.kid.value,
            "class_accuracy": self.class_accuracy.value,
            "diversity": self.diversity,
            "novelty": {name: one.value for name, one in self.novelty.items()},
            "intervals": {
                "percentile": {name: _limits(one) for name, one in self.percentile.items()},
                "transfer": _limits(self.transfer),
                "invisible": _limits(self.invisible),
                "kid": _limits(self.kid),
                "class_accuracy": _limits(self.class_accuracy),
                "novelty": {name: _limits(one) for name, one in self.novelty.items()},
            },
        }


@dataclass(frozen=True)
class DesignsReport:
    """What `recgan.evaluation.designs.evaluate_designs` returns."""

    methods: dict[str, MethodFigures]
    main: str
    """The method that is to be shown good."""
    comparisons: dict[str, dict[str, Estimate]]
    """By other method and judge: how much more the main one's pictures are liked, in the users' units."""
    preferred: dict[str, dict[str, Estimate]]
    """By other method and judge: share of users' pairs of pictures of which the main one's is liked more."""
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
                "preferred": {
                    f"{self.main} > {other}": {name: _with_limits("share", one) for name, one in judges.items()}
                    for other, judges in self.preferred.items()
                },
                "headroom": self.headroom,
                "budget": self.budget,
            }
        )

    def findings(self) -> list[str]:
        """Return in words whether the designs hold, by every judge that did not make them."""
        against = {"the scorer's best real item": self.methods[self.main].win}
        if BEST_OF_N in self.preferred:
            against["the best sample for the same looks (4,096 at most)"] = self.preferred[BEST_OF_N]
        names = {JUDGE: "the judge", STYLE: "the style oracle", ATTRIBUTE: "the attribute oracle"}
        told = []
        if (users := self.budget["users"]) < FEW:
            told.append(f"only {users} users were asked: bootstrap intervals over fewer than {FEW} are too narrow")
        for other, shares in against.items():
            for name, who in names.items():
                share = shares.get(name)
                if share is None or np.isnan(share.value):
                    continue
                verdict = "more often than not" if share.low > 0.5 else "as likely as not"
                verdict = "less often than not" if share.high < 0.5 else verdict
                told.append(
                    f"{who} prefers a design of '{self.main}' to {other} {share.value:.0%} of the time "
                    f"(95% interval {share.low:.0%} to {share.high:.0%}): {verdict}"
                )
        return told


def _limits(one: Estimate) -> dict[str, float]:
    return {"low": one.low, "high": one.high}


def _with_limits(name: str, one: Estimate) -> dict[str, float]:
    return {name: one.value, "low": one.low, "high": one.high}


def columns(methods: dict[str, MethodFigures]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows, a method each, of the table that screens and pages show."""

    def share(one: Estimate | None, digits: int = 0) -> str:
        if one is None or np.isnan(one.value):
            return "–"
        return f"{one.value:.{digits}%} ({one.low:.{digits}%}–{one.high:.{digits}%})"

    def number(value: float, form: str = ".2f") -> str:
        return "–" if np.isnan(value) else format(value, form)

    def limited(one: Estimate, form: str = ".2f") -> str:
        return "–" if np.isnan(one.value) else f"{one.value:{form}} ({one.low:{form}}–{one.high:{form}})"

    heads = ["method", "win b", "win style", "win attribute", "lift a", "b", "style", "attribute", "transfer"]
    heads += ["invisible", "specific b", "style", "KID", "class", "diversity", "near/far"]
    rows: list[Sequence[str]] = []
    for name, one in methods.items():
        rows.append(
            [
                name,
                *(share(one.win.get(judge)) for judge in JUDGES[1:]),
                *(number(one.lift[judge].value) if judge in one.lift else "–" for judge in JUDGES),
                limited(one.transfer),
                share(one.invisible, 1),
                *(
                    number(one.specificity[judge].value) if judge in one.specificity else "–"
                    for judge in (JUDGE, STYLE)
                ),
                limited(one.kid, ".3f"),
                limited(one.class_accuracy),
                f"{number(one.diversity['within'])}/{number(one.diversity['across'])}",
                f"{number(one.novelty['near'].value, '.0%')}/{number(one.novelty['far'].value, '.0%')}",
            ]
        )
    return heads, [list(row) for row in rows]
