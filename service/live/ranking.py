"""Recommendations from the bundle's items and from what has changed since, as one list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from recgan.recommenders import Recommendation, UserVector
from recgan.recommenders.explain import Explanation, explain_vector
from service.live.changes import Changes, LiveItem
from service.live.tastes import Taste, stacked
from service.models import Models
from service.problems import ProblemError

__all__ = ["Ranking"]


class Ranking:
    """Best first, of one moment's items. Of equal scores the earlier item in the catalogue comes first."""

    def __init__(self, models: Models, changes: Changes) -> None:
        self._models = models
        self._recommender = models.recommender
        self._changes = changes

    def for_taste(
        self,
        taste: Taste,
        k: int,
        *,
        exclude_seen: bool = True,
        categories: Sequence[str] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[Recommendation]:
        """Return what a user is likely to prefer: see `for_tastes`."""
        return self.for_tastes([taste], k, exclude_seen=exclude_seen, categories=categories, candidates=candidates)[0]

    def for_tastes(
        self,
        tastes: Sequence[Taste],
        k: int,
        *,
        exclude_seen: bool = True,
        categories: Sequence[str] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[list[Recommendation]]:
        """Return for each user what is likely to be preferred; filtered first, so that k come if k are left.

        Args:
            tastes: the users.
            k: how many.
            exclude_seen: leave out what the user has had.
            categories: only these.
            candidates: only these items.
        """
        wanted = None if candidates is None else self._in_bundle(candidates)
        lists: list[list[Recommendation]] = [[] for _ in tastes]
        if wanted is None or wanted:
            users = [UserVector(taste.vector.values, self._left_out(taste, exclude_seen)) for taste in tastes]
            lists = self._recommender.recommend(users, k, categories=categories, candidates=wanted)
        if not len(self._changes.scored):
            return lists
        merged = []
        for taste, found in zip(tastes, lists):
            seen = self._seen_changed(taste) if exclude_seen else frozenset()
            # Summed as the exact search does, so that equal items have equal scores whether they have changed or not.
            scores = np.einsum("nd,d->n", self._changes.factors, taste.vector.values, dtype=np.float64)
            merged.append(
                self._with_changed(found, scores.astype(np.float32), k, self._admitted(categories, candidates, seen))
            )
        return merged

    def _left_out(self, taste: Taste, exclude_seen: bool) -> np.ndarray:
        hidden = self._changes.hidden
        if not exclude_seen:
            return hidden
        return np.union1d(taste.vector.seen, hidden) if len(hidden) else taste.vector.seen

    def like_item(self, item: LiveItem, k: int, *, categories: Sequence[str] | None = None) -> list[Recommendation]:
        """Return the items most like one.

        Raises:
            SettingsError: the model has no notion of likeness.
            ProblemError: no-picture (422), it is a new item without one.
        """
        scored = next((row for row, one in enumerate(self._changes.scored) if one is item), None)
        if scored is not None:
            vector = self._changes.vectors[scored]
        elif item.base_row is not None:
            vector = self._recommender.similarity_vectors(np.array([item.base_row]))[0]
        else:
            raise ProblemError(
                "no-picture", f"item '{item.item_id}' has no picture, so nothing is known to be like it; give it one"
            )
        return self._like(vector, k, categories, without=item)

    def like_photo(self, photo: bytes, k: int, *, categories: Sequence[str] | None = None) -> list[Recommendation]:
        """Return the items that look most like a photo.

        Raises:
            ProblemError: no-eye (422), the model does not look at pictures.
        """
        eye = self._models.need_eye()
        return self._like(eye.vectors(eye.look([photo]))[0], k, categories)

    def explain(self, taste: Taste, item_ids: Sequence[str]) -> dict[str, Explanation]:
        """Return why items of the bundle have their scores, by id; ``extra`` is of the taste's ``more``. What came
        later cannot be explained by what was learned."""
        known = self._in_bundle(item_ids)
        if not known:
            return {}
        rows = self._recommender.rows_of_items(known)
        liked = taste.vector.seen if taste.learned is not None else taste.liked
        extra, against = stacked(taste.more), stacked(taste.against)
        told = explain_vector(self._recommender, rows, taste.vector, liked, taste.disliked, extra, against)
        return {one.item_id: one for one in told}

    # ---- parts

    def _like(
        self, vector: np.ndarray, k: int, categories: Sequence[str] | None, without: LiveItem | None = None
    ) -> list[Recommendation]:
        rows = self._changes.hidden
        if without is not None and without.base_row is not None:
            rows = np.union1d(rows, [without.base_row])
        found = self._recommender.nearest(vector, k, without=rows, categories=categories)
        if not len(self._changes.scored):
            return found
        cosines = self._changes.vectors @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
        gone = frozenset() if without is None else frozenset([without.item_id])
        return self._with_changed(found, cosines, k, self._admitted(categories, None, gone))

    def _in_bundle(self, item_ids: Sequence[str]) -> list[str]:
        return [item_id for item_id in item_ids if self._models.catalogue.find(item_id) is not None]

    def _seen_changed(self, taste: Taste) -> frozenset[str]:
        """The changed items that the user has had: new ones by id, those of the bundle by the row they had."""
        rows = set(taste.vector.seen.tolist())
        return taste.seen | {item.item_id for item in self._changes.scored if item.base_row in rows}

    def _admitted(
        self, categories: Sequence[str] | None, candidates: Sequence[str] | None, without: frozenset[str]
    ) -> Callable[[LiveItem], bool]:
        wanted = None if candidates is None else frozenset(candidates)

        def admitted(item: LiveItem) -> bool:
            return (
                item.available
                and (categories is None or item.category in categories)
                and (wanted is None or item.item_id in wanted)
                and item.item_id not in without
            )

        return admitted

    def _with_changed(
        self, found: list[Recommendation], scores: np.ndarray, k: int, admitted: Callable[[LiveItem], bool]
    ) -> list[Recommendation]:
        changed = self._changes.scored
        order = np.lexsort((np.array([item.place for item in changed]), -scores))
        best = islice((row for row in order if admitted(changed[row])), k)
        find = self._models.catalogue.find
        merged = [(-one.score, find(one.item_id) or 0, one) for one in found]
        for row in best:
            item, score = changed[row], float(scores[row])
            merged.append((-score, item.place, Recommendation(item.item_id, score, item.category)))
        merged.sort(key=lambda one: one[:2])
        return [one for _, _, one in merged[:k]]
