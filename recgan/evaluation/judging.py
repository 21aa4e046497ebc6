"""Judging one scorer after another by the same held-out interactions, a chunk of users at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recgan.dataset.split import Split
from recgan.errors import DataError
from recgan.metrics.ranking import (
    RankCounts,
    auc,
    catalogue_coverage,
    gini,
    mean_novelty,
    rank_counts,
    top_k_metrics,
)
from recgan.recommenders.data import UserRows, concatenated
from recgan.recommenders.index import top_k

__all__ = ["CUTOFFS", "GROUPS", "HeldOut", "Judged", "Scorer"]

CUTOFFS = (10, 20)
GROUPS = ("all", "warm", "cold", "under_5")
"""Which held-out items are judged: all; with and without a training interaction; with fewer than five of them."""
LIST_LENGTH = 20
"""Length of the lists whose coverage, Gini coefficient and novelty are reported."""
_CHUNK_VALUES = 1 << 22

Scorer = Callable[[np.ndarray], np.ndarray]
"""From rows of `Split.user_ids` int64 [u] to finite scores float [u, n_items]."""


@dataclass(frozen=True)
class Judged:
    """How one scorer did."""

    per_user: dict[str, dict[str, np.ndarray]]
    """By metric and group: one value a judged user, float64 [n_users]; NaN where the user has no item in the group."""
    lists: dict[str, float]
    """Coverage, Gini coefficient and novelty of the lists of all judged users."""


class HeldOut:
    """The held-out interactions of one part of a split, made ready for judging scorers by them.

    A positive is ranked among the candidates that are not known to have been taken by its user: those of train, those
    withheld, those judged here and, in the test part, those of validation. Validation knows nothing of the test part:
    there a user's test items are items like any other.
    """

    def __init__(self, split: Split, part: str) -> None:
        """Prepare.

        Raises:
            DataError: the part is empty.
        """
        held_out = split.test if part == "test" else split.validation
        if not len(held_out):
            raise DataError(
                f"the split '{split.settings.protocol}' holds out nothing for {part}; "
                "use another --split protocol, or data with more interactions a user"
            )
        self.split = split
        self.users = np.unique(held_out.users)
        """Rows of the judged users, int64 [n]."""
        self.skipped = split.n_users - len(self.users)
        """Users without a held-out interaction in this part."""
        self.counts = np.bincount(split.train.items, minlength=split.n_items)
        self.in_group = {
            "all": np.ones(split.n_items, dtype=bool),
            "warm": self.counts > 0,
            "cold": self.counts == 0,
            "under_5": self.counts < 5,
        }
        self.positives = {name: int(mask[held_out.items].sum()) for name, mask in self.in_group.items()}
        self._held_out = UserRows.of(held_out, split.n_users)
        before = [split.train, split.withheld, *([split.validation] if part == "test" else [])]
        self._known = UserRows.of(concatenated(*before), split.n_users)

    def judge(self, scorer: Scorer, report: Callable[[int, int], None]) -> Judged:
        """Judge a scorer; ``report`` is told the users done and their number."""
        per_user: dict[str, dict[str, list[np.ndarray]]] = {}
        lists = []
        step = max(1, _CHUNK_VALUES // self.split.n_items)
        for start in range(0, len(self.users), step):
            users = self.users[start : start + step]
            scores = scorer(users)
            if scores.shape != (len(users), self.split.n_items):
                raise AssertionError(
                    f"a scorer gave {scores.shape} for {len(users)} users and {self.split.n_items} items"
                )
            rows, items = self._held_out.pairs(users)
            known_rows, known_items = self._known.pairs(users)
            counts = rank_counts(scores, rows, items, known_rows, known_items, self.split.candidates)
            for group, mask in self.in_group.items():
                for metric, values in _metrics(counts.where(mask[items]), len(users)).items():
                    per_user.setdefault(metric, {}).setdefault(group, []).append(values)
            lists.append(self._lists(scores, rows, items, known_rows, known_items))
            report(start + len(users), len(self.users))
        shown = np.concatenate(lists)
        trained_users = len(np.unique(self.split.train.users))
        return Judged(
            per_user={m: {g: np.concatenate(parts) for g, parts in groups.items()} for m, groups in per_user.items()},
            lists={
                f"coverage@{LIST_LENGTH}": catalogue_coverage(shown, self.split.candidates),
                f"gini@{LIST_LENGTH}": gini(shown, self.split.candidates),
                f"novelty@{LIST_LENGTH}": mean_novelty(shown, self.counts, trained_users),
            },
        )

    def _lists(
        self, scores: np.ndarray, rows: np.ndarray, items: np.ndarray, known_rows: np.ndarray, known_items: np.ndarray
    ) -> np.ndarray:
        """Return the items of all users' lists in one array: what is judged may be in a list, what is known may not."""
        open_scores = np.where(self.split.candidates, scores, -np.inf)
        open_scores[known_rows, known_items] = -np.inf
        open_scores[rows, items] = scores[rows, items]
        return np.concatenate(top_k(open_scores, LIST_LENGTH))


def _metrics(counts: RankCounts, n_users: int) -> dict[str, np.ndarray]:
    return {"auc": auc(counts, n_users), **top_k_metrics(counts, n_users, CUTOFFS)}
