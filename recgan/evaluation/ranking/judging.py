"""Judging one scorer after another by the same held-out interactions, a chunk of users at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recgan.dataset.split import Split, no_pairs
from recgan.device import resolve_device
from recgan.errors import DataError, SettingsError, nearest_name
from recgan.evaluation.kept import Part
from recgan.metrics.lists import catalogue_coverage, category_diversity, feature_diversity, gini, mean_novelty
from recgan.metrics.ranking import RankCounts, auc, rank_counts, top_k_metrics
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import UserRows, concatenated
from recgan.recommenders.topk.index import top_k

__all__ = [
    "CUTOFFS",
    "GROUPS",
    "METRICS",
    "HeldOut",
    "Judged",
    "Scorer",
    "check_metric",
    "inner_products",
    "products_on",
]

CUTOFFS = (10, 20)
GROUPS = ("all", "warm", "cold", "under_5")
"""Which held-out items are judged: all; with and without a training interaction; with fewer than five of them."""
METRICS = ("auc", *(f"{name}@{k}" for name in ("recall", "ndcg", "hit_rate", "mrr", "map") for k in CUTOFFS))
"""What is known of each user (`recgan.metrics.ranking`)."""
LIST_LENGTH = 20
"""Length of the lists whose coverage, Gini coefficient, novelty and diversity are reported."""
_CHUNK_VALUES = 1 << 22

Scorer = Callable[[np.ndarray], np.ndarray]
"""From rows of `Split.user_ids` int64 [u] to finite scores float [u, n_items]."""


def inner_products(model: Recommender, device: str = "auto") -> Scorer:
    """Return a trained model as a scorer of the users it was trained on; the products are made on ``device``."""
    where = resolve_device(device)
    if where.type == "cpu" or model.own is not None:
        return model.scores_of
    return products_on(model, where)


def products_on(model: Recommender, device: torch.device) -> Scorer:
    """Return the same scorer by torch, the factors lying on ``device``."""
    user_factors, item_factors = (
        torch.tensor(table, device=device) for table in (model.user_factors, model.item_factors)
    )

    def scores(users: np.ndarray) -> np.ndarray:
        return (user_factors[torch.from_numpy(users).to(device)] @ item_factors.T).cpu().numpy()

    return scores


def check_metric(metric: str) -> None:
    """Refuse what is none of `METRICS`.

    Raises:
        SettingsError: it is not.
    """
    if metric not in METRICS:
        hint = nearest_name(metric, METRICS) or f"; use {', '.join(METRICS)}"
        raise SettingsError(f"there is no metric '{metric}'{hint}")


@dataclass(frozen=True)
class Judged:
    """How one scorer did."""

    per_user: dict[str, dict[str, np.ndarray]]
    """By metric and group: one value a judged user, float64 [n_users]; NaN where the user has no item in the group."""
    lists: dict[str, float]
    """Coverage, Gini coefficient, novelty and diversity of the lists of all judged users; NaN where unknown."""

    def as_part(self, about: Mapping[str, Any]) -> Part:
        """Return what `of_part` reads, with facts about the scorer (JSON values)."""
        arrays = {f"{metric}|{group}": v for metric, groups in self.per_user.items() for group, v in groups.items()}
        arrays["lists"] = np.array(list(self.lists.values()), dtype=np.float64)
        return arrays, {"about": dict(about), "lists": list(self.lists)}

    @classmethod
    def of_part(cls, part: Part) -> tuple[Judged, dict[str, Any]]:
        """Return how a scorer did, and the facts about it."""
        arrays, facts = part
        per_user = {metric: {group: arrays[f"{metric}|{group}"] for group in GROUPS} for metric in METRICS}
        lists = dict(zip(facts["lists"], arrays["lists"].tolist()))
        return cls(per_user, lists), facts["about"]


class HeldOut:
    """The held-out interactions of one part of a split, made ready for judging scorers by them.

    A positive is ranked among the candidates that are not known to have been taken by its user: those of train, those
    withheld, those judged here and, in the test part, those of validation. Validation knows nothing of the test part:
    there a user's test items are items like any other. With ``repeats`` what a user has taken before is a candidate
    like any other, too.
    """

    def __init__(self, split: Split, part: str, category_index: np.ndarray, *, repeats: bool = False) -> None:
        """Prepare; ``category_index`` int64 [n_items] is for the diversity of lists.

        Raises:
            DataError: the part is empty, or there is nothing that its items could be ranked against.
        """
        held_out = split.test if part == "test" else split.validation
        if not len(held_out):
            raise DataError(
                f"the split '{split.settings.protocol}' holds out nothing for {part}; "
                "use another --split protocol, or data with more interactions a user"
            )
        self.split = split
        self._category_index = category_index
        self.users = np.unique(held_out.users)
        """Rows of the judged users, int64 [n]."""
        self.skipped = split.n_users - len(self.users)
        """Users without a held-out interaction in this part."""
        self.counts = np.bincount(split.train.items, minlength=split.n_items)
        masks = (np.ones(split.n_items, dtype=bool), self.counts > 0, self.counts == 0, self.counts < 5)
        self.in_group = dict(zip(GROUPS, masks))
        self.positives = {name: int(mask[held_out.items].sum()) for name, mask in self.in_group.items()}
        self._held_out = UserRows.of(held_out, split.n_users)
        before = [split.train, split.withheld, *([split.validation] if part == "test" else [])]
        known = no_pairs() if repeats else concatenated(*before)
        self._known = UserRows.of(known, split.n_users)
        taken = concatenated(known, held_out)
        taken_candidates = np.bincount(taken.users[split.candidates[taken.items]], minlength=split.n_users)
        if (taken_candidates[self.users] >= np.count_nonzero(split.candidates)).all():
            raise DataError(
                f"every user who is judged by {part} took all that could be recommended: there is nothing to rank what "
                "they took against; use more items"
            )

    def judge(self, scorer: Scorer, report: Callable[[int, int], None], features: np.ndarray | None = None) -> Judged:
        """Judge a scorer; ``report`` is told the users done and their number. With ``features`` float32 [n_items, d]
        the diversity of its lists is known by pictures as well."""
        per_user: dict[str, dict[str, list[np.ndarray]]] = {}
        lists: list[np.ndarray] = []
        alike: list[tuple[np.ndarray, np.ndarray]] = []
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
            listed = self._lists(scores, rows, items, known_rows, known_items)
            lists += listed
            alike.append(self._diversity(listed, features))
            report(start + len(users), len(self.users))
        shown = np.concatenate(lists)
        by_category, by_image = (_mean(np.concatenate(values)) for values in zip(*alike))
        trained_users = len(np.unique(self.split.train.users))
        return Judged(
            per_user={m: {g: np.concatenate(parts) for g, parts in groups.items()} for m, groups in per_user.items()},
            lists={
                f"coverage@{LIST_LENGTH}": catalogue_coverage(shown, self.split.candidates),
                f"gini@{LIST_LENGTH}": gini(shown, self.split.candidates),
                f"novelty@{LIST_LENGTH}": mean_novelty(shown, self.counts, trained_users),
                f"category_diversity@{LIST_LENGTH}": by_category,
                f"image_diversity@{LIST_LENGTH}": by_image,
            },
        )

    def _lists(
        self, scores: np.ndarray, rows: np.ndarray, items: np.ndarray, known_rows: np.ndarray, known_items: np.ndarray
    ) -> list[np.ndarray]:
        """Return the items of each user's list: what is judged may be in a list, what is known may not."""
        open_scores = np.where(self.split.candidates, scores, -np.inf)
        open_scores[known_rows, known_items] = -np.inf
        open_scores[rows, items] = scores[rows, items]
        return top_k(open_scores, LIST_LENGTH)

    def _diversity(self, lists: list[np.ndarray], features: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the diversity of each list by category and by picture; NaN where there are no features."""
        by_image = np.full(len(lists), np.nan) if features is None else feature_diversity(lists, features)
        return category_diversity(lists, self._category_index), by_image


def _mean(values: np.ndarray) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _metrics(counts: RankCounts, n_users: int) -> dict[str, np.ndarray]:
    return {"auc": auc(counts, n_users), **top_k_metrics(counts, n_users, CUTOFFS)}
