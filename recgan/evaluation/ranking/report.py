"""What a ranking evaluation found: figures with intervals, comparisons, as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from recgan.evaluation.estimates import without_nan

__all__ = ["Comparison", "ModelFigures", "RankingReport"]


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one model."""

    values: dict[str, dict[str, float]]
    """By metric (``auc``, ``ndcg@20``, …) and group (``all``, ``warm``, ``cold``, ``under_5``): the mean over users."""
    intervals: dict[str, dict[str, tuple[float, float]]]
    """Their 95% bootstrap intervals over users."""
    lists: dict[str, float]
    """Of everybody's list: ``coverage@20``, ``gini@20``, ``novelty@20`` (bits), ``category_diversity@20`` and, where
    the evaluation looked at pictures, ``image_diversity@20``."""
    share: dict[str, float] = field(default_factory=dict)
    """By group: (AUC - 0.5) / (the oracle's - 0.5); only for simulated users."""
    about: dict[str, Any] = field(default_factory=dict)
    """Model, settings, seconds to train or load, figures of the training."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; what does not exist (no cold item is judged) is null."""
        return without_nan(
            {**self.values, **self.lists, "share": self.share or None, "intervals": self.intervals, "about": self.about}
        )


@dataclass(frozen=True)
class Comparison:
    """One model against another, user by user."""

    model: str
    against: str
    metric: str
    group: str
    difference: float
    """Mean over users of the model's value less the other's."""
    low: float
    high: float
    """95% interval of the difference."""
    p: float
    """Two-sided, paired bootstrap over users."""
    p_holm: float
    """The same after Holm's correction over all comparisons of the report."""


@dataclass(frozen=True)
class RankingReport:
    """What `evaluate_ranking` returns."""

    bundle: str
    simulated: bool
    """Users are simulated: a visual model wins here by construction; what counts is the share of the oracle."""
    pseudo_users: bool
    """A seed item stands for a user: these are item-to-item figures."""
    part: str
    split: dict[str, Any]
    embed: dict[str, Any] | None
    """Encoder, size and pixel transform that models trained here looked through."""
    seed: int
    users: int
    """Users judged."""
    skipped: int
    """Users without a held-out interaction."""
    positives: dict[str, int]
    """Held-out interactions by group."""
    candidates: int
    models: dict[str, ModelFigures]
    oracle: ModelFigures | None
    comparisons: list[Comparison]

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as JSON values."""
        return {
            "bundle": self.bundle,
            "simulated": self.simulated,
            "pseudo_users": self.pseudo_users,
            "part": self.part,
            "split": self.split,
            "embed": self.embed,
            "seed": self.seed,
            "users": self.users,
            "skipped": self.skipped,
            "positives": self.positives,
            "candidates": self.candidates,
            "models": {name: figures.as_json() for name, figures in self.models.items()},
            "oracle": self.oracle.as_json() if self.oracle else None,
            "comparisons": [without_nan(asdict(comparison)) for comparison in self.comparisons],
        }
