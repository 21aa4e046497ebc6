"""What can be asked of a model once its factors are there: scores, filtered top-k lists, similar items, users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd

from recgan.errors import DataError, MismatchError, SettingsError
from recgan.recommenders.data import UserRows, UserValues
from recgan.recommenders.topk.ann import ApproximateIndex
from recgan.recommenders.topk.exact import best_items
from recgan.recommenders.topk.filters import ItemFilters, Where, rows_of
from recgan.recommenders.topk.index import FlatIndex, check_k
from recgan.recommenders.topk.screen import lengths
from recgan.recommenders.topk.small import SmallScreen

__all__ = ["FactorScorer", "Recommendation", "UserVector"]


@dataclass(frozen=True)
class Recommendation:
    """One item of an answer."""

    item_id: str
    score: float
    """Larger is better. Scores of one model compare for one user; they are not probabilities."""
    category: str


@dataclass(frozen=True, eq=False)
class UserVector:
    """A user as a model sees one: a known one (`Recommender.user_vector`) or a new one (`Recommender.fold_in`)."""

    values: np.ndarray
    """float32 [D], to be multiplied with the model's item factors."""
    seen: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Rows of the items the user has seen, int64 [n], sorted: what ``exclude_seen`` leaves out."""
    own: np.ndarray | None = None
    """float32 [n], what is added to the scores of the items seen; None: nothing."""
    liked_alone: bool = False
    """Whether the items seen are all liked and all that is known of a new user, so that another model of the same
    catalogue can fold them in anew."""
    space: str | None = None
    """`FactorScorer.space` of the model that it comes from, which no other model takes; None: not known."""


class FactorScorer(ABC):
    """Users and items as factors, ``score(u, i) = user_factors[u] . item_factors[i]``, and every question to them.

    A model of what is taken again adds ``own_scores`` to the items that a user has seen.
    """

    name: ClassVar[str]
    user_ids: np.ndarray
    """Object array [n_users] of str."""
    seen: UserRows
    """What each user is known to have taken: in train, or withheld by the split."""
    user_factors: np.ndarray
    """float32 [n_users, D]"""
    item_factors: np.ndarray
    """float32 [n_items, D]"""
    own_scores: np.ndarray | None = None
    """float32 [n], beside ``seen.items``: what is added to the user's score of that item; None: nothing."""
    space: str | None
    """Identity of what users' vectors are multiplied with: the item factors as they were trained. None: not known."""
    fitted: bool
    """Whether the factors are there."""

    def _set_items(self, items: pd.DataFrame) -> None:
        # Of objects: an index of Arrow strings keeps them besides.
        self._item_index = pd.Index(items["item_id"].to_numpy(dtype=object), dtype=object)
        self._user_index = pd.Index(self.user_ids, dtype=object)
        self._filters = ItemFilters(items, self._item_index)
        self._similarity: FlatIndex | None = None
        self._index: ApproximateIndex | None = None
        self._measured: tuple[np.ndarray, float] | None = None
        self._small: SmallScreen | None = None

    def use_index(self, index: ApproximateIndex | None) -> None:
        """Search approximately from now on, or with None exactly; exactly again once items are added or change.

        Raises:
            MismatchError: the index was built for other item factors.
        """
        self._require_fitted()
        if index is not None and not index.fits(self.item_factors):
            raise MismatchError(f"the index was built for other items than this {self.name}'s; build it for this one")
        self._index = index

    def pack(self) -> None:
        """Pack the items for requests of few users at a time: the lists are the same, and found several times as fast.

        It takes some D + 4 bytes an item. Nothing is packed where the processor has no arithmetic of bytes
        (AVX512-VNNI); items that are added or change afterwards are searched as before, until they are packed. The item
        factors are not to be changed in place.
        """
        self._require_fitted()
        for index in (self._user_index, self._item_index):
            "" in index  # noqa: B015 (its table is made when it is first asked, which threads must not do together)
        self._small = SmallScreen(self.item_factors, self.user_factors) if SmallScreen.pays() else None

    def update_items(self, items: pd.DataFrame) -> None:
        """Take over a newer table of the same items: what is available, and the attributes, change from day to day.

        Raises:
            MismatchError: the items are not those that the model knows, in its order.
            DataError: a column is missing, or has holes, or says something else.
        """
        self._require_fitted()
        missing = {"item_id", "category", "available"} - set(items)
        if missing:
            raise DataError(f"the items have no column '{min(missing)}'; take the table of a bundle")
        if not np.array_equal(self.item_ids, items["item_id"].to_numpy(dtype=object)):
            raise MismatchError(f"the items are not those that this {self.name} was trained on; train it on them")
        self._filters = ItemFilters(items, self._item_index)

    # ---- asking

    @property
    def items(self) -> pd.DataFrame:
        """The catalogue the model knows, one row an item: ``item_id``, ``category``, ``available``, the attributes."""
        if not hasattr(self, "_filters"):
            self._require_fitted()
        return self._filters.items

    @items.setter
    def items(self, items: pd.DataFrame) -> None:
        self.update_items(items)

    @property
    def item_ids(self) -> np.ndarray:
        """Object array [n_items] of str."""
        return self._item_index.to_numpy()

    def score(self, user_ids: Sequence[str | UserVector], item_ids: Sequence[str] | None = None) -> np.ndarray:
        """Return the scores float32 [len(user_ids), len(item_ids)]; all items by default.

        Raises:
            NotFoundError: an unknown id.
        """
        self._require_fitted()
        vectors, seen, own = self._users(user_ids)
        rows = None if item_ids is None else rows_of(self._item_index, item_ids, "item")
        scores = vectors @ (self.item_factors if rows is None else self.item_factors[rows]).T
        if own is not None:
            added = np.zeros(len(self.items), dtype=np.float32)
            for place, (items, values) in enumerate(zip(seen, own)):
                added[items] = values
                scores[place] += added if rows is None else added[rows]
                added[items] = 0
        return scores

    def scores_of(self, users: np.ndarray) -> np.ndarray:
        """Return the scores float32 [n, n_items] of users by their rows, int64 [n]."""
        scores = self.user_factors[users] @ self.item_factors.T
        if (own := self.own) is not None:
            for place, user in enumerate(users):
                scores[place, self.seen[user]] += own[user]
        return scores

    @property
    def own(self) -> UserValues | None:
        """``own_scores`` by user."""
        return None if self.own_scores is None else UserValues(self.seen.indptr, self.own_scores)

    def recommend(
        self,
        users: Sequence[str | UserVector],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        categories: Sequence[str] | None = None,
        where: Where | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[list[Recommendation]]:
        """Return for each user the best items, best first; of equal scores the earlier item in the catalogue first.

        A list has exactly min(k, what is left after the filters) items; the filters come before the top-k. An item
        that is not available is never recommended. The search is exact, unless `use_index` was given an index.

        Args:
            users: user ids, or vectors from `fold_in` or `user_vector`.
            k: at least 1.
            exclude_seen: leave out what the user is known to have taken (or gave to `fold_in`): the training data and
                what the split withheld from them.
            categories: only these.
            where: a condition on the items' attributes, see `recgan.recommenders.topk.filters.Where`.
            candidates: only these item ids.

        Raises:
            SettingsError: k < 1, or a filter of a wrong form.
            NotFoundError: an unknown user, category, attribute or candidate.
        """
        allowed = self.admitted(categories=categories, where=where, candidates=candidates)
        check_k(k)
        vectors, seen, own = self._users(users)
        if exclude_seen:
            own = None
        known = seen if exclude_seen or own is not None else None
        if self._index is not None:
            found = self._index.best_items(vectors, k, allowed=allowed, seen=known, own=own)
        else:
            small = self._small if self._small and self._small.item_factors is self.item_factors else None
            longest = self._longest_item()
            found = best_items(
                vectors, self.item_factors, k, allowed=allowed, seen=known, own=own, longest=longest, small=small
            )
        return [self._answer(rows, scores) for rows, scores in found]

    def admitted(
        self,
        *,
        categories: Sequence[str] | None = None,
        where: Where | None = None,
        candidates: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Return which items are available and pass every filter of `recommend`, bool [n_items].

        Raises:
            SettingsError: a filter of a wrong form.
            NotFoundError: an unknown category, attribute or candidate.
        """
        self._require_fitted()
        return self._filters.admitted(categories=categories, where=where, candidates=candidates)

    def rows_of_items(self, item_ids: Sequence[str]) -> np.ndarray:
        """Return the rows of items, int64 [n].

        Raises:
            NotFoundError: an unknown item.
        """
        self._require_fitted()
        return rows_of(self._item_index, item_ids, "item")

    def _longest_item(self) -> float:
        """Return the norm of the longest of the item factors as they are; it is measured once."""
        if self._measured is None or self._measured[0] is not self.item_factors:
            self._measured = self.item_factors, float(lengths(self.item_factors).max(initial=0))
        return self._measured[1]

    def _answer(self, rows: np.ndarray, scores: np.ndarray) -> list[Recommendation]:
        found = zip(self.item_ids[rows], scores.tolist(), self._filters.categories_of(rows))
        return [Recommendation(item_id, score, category) for item_id, score, category in found]

    def similar(
        self,
        item_id: str,
        k: int = 10,
        *,
        categories: Sequence[str] | None = None,
        where: Where | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[Recommendation]:
        """Return the k items most like one item, itself left out, by cosine in the space that `similarity_space` names.

        The score is the cosine. Filters as in `recommend`.

        Raises:
            NotFoundError: an unknown item, category, attribute or candidate.
            SettingsError: k < 1, or the model has no notion of likeness.
        """
        self._require_fitted()
        row = int(rows_of(self._item_index, [item_id], "item")[0])
        vector = self.similarity_vectors(np.array([row]))[0]
        return self.nearest(vector, k, without=[row], categories=categories, where=where, candidates=candidates)

    def nearest(
        self,
        vector: np.ndarray,
        k: int = 10,
        *,
        without: Sequence[int] | np.ndarray = (),
        categories: Sequence[str] | None = None,
        where: Where | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[Recommendation]:
        """Return the k items nearest to a vector float32 [d] of the space that `similarity_space` names, by cosine.

        ``without`` are rows of items to leave out; the rest is as in `similar`.
        """
        allowed = self.admitted(categories=categories, where=where, candidates=candidates)
        gone = np.asarray(without, dtype=np.int64)
        if len(gone) and (gone.min() < 0 or gone.max() >= len(allowed)):
            raise DataError(f"rows to leave out must be from 0 to {len(allowed) - 1:,}")
        allowed[gone] = False
        if self._similarity is None:
            vectors = self._similarity_vectors()
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            self._similarity = FlatIndex(vectors / np.maximum(norms, 1e-12))
        query = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return self._answer(*self._similarity.search(query[None], k, allowed)[0])

    def similarity_vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of items in the space that `similarity_space` names, float32 [n, d].

        Raises:
            SettingsError: the model has no notion of likeness.
        """
        self._require_fitted()
        return self._similarity_vectors()[rows]

    @property
    @abstractmethod
    def similarity_space(self) -> str:
        """In what space `similar` measures: ``visual``, ``factors`` or ``none``."""

    @abstractmethod
    def _similarity_vectors(self) -> np.ndarray:
        """Return the vectors float32 [n_items, d] of that space."""

    # ---- users

    def knows(self, user_id: str) -> bool:
        """Return whether the model has learned of a user."""
        self._require_fitted()
        return user_id in self._user_index

    def user_vector(self, user_id: str) -> UserVector:
        """Return the vector of a user the model was trained on.

        Raises:
            NotFoundError: the user is unknown.
        """
        self._require_fitted()
        row = int(rows_of(self._user_index, [user_id], "user")[0])
        own = None if self.own is None else self.own[row]
        return UserVector(self.user_factors[row], self.seen[row], own, space=self.space)

    def check_vector(self, vector: UserVector) -> None:
        """Check that a user's vector is one of this model's.

        Raises:
            MismatchError: it comes from another model.
            DataError: it has values that are not finite.
        """
        width = self.item_factors.shape[1]
        if vector.values.shape != (width,) or (vector.own is not None and self.own_scores is None):
            raise MismatchError(
                f"a user vector of another model ({len(vector.values)} values) does not fit this {self.name} "
                f"({width}); fold the user in with this model"
            )
        if None not in (vector.space, self.space) and vector.space != self.space:
            raise MismatchError(
                f"a user vector of another model, or of another training, does not fit this {self.name}; "
                "fold the user in with this model"
            )
        largest = float(np.abs(vector.values).max(initial=0))
        if not np.isfinite(largest):
            raise DataError("a user vector has values that are not finite; fold the user in again")
        if largest * width**0.5 * self._longest_item() > float(np.finfo(np.float32).max):
            raise DataError("a user vector has values whose scores are too large; fold the user in again")
        seen = vector.seen
        if len(seen) and (seen.dtype.kind not in "iu" or seen.min() < 0 or seen.max() >= len(self._item_index)):
            raise DataError("what a user vector has seen are no rows of this model's items; fold the user in again")

    def _users(self, users: Sequence[str | UserVector]) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray] | None]:
        """Return the users' vectors, what they have seen and, where the model has such a thing, their ``own``."""
        if isinstance(users, (str, UserVector)):
            raise SettingsError("give a list of users, not a single one")
        named = [user for user in users if not isinstance(user, UserVector)]
        rows = iter(rows_of(self._user_index, named, "user"))
        vectors = np.empty((len(users), self.item_factors.shape[1]), dtype=np.float32)
        seen = []
        own: list[np.ndarray] | None = None if self.own_scores is None else []
        for place, user in enumerate(users):
            if isinstance(user, UserVector):
                self.check_vector(user)
                vectors[place] = user.values
                seen.append(user.seen)
                if own is not None:
                    own.append(np.zeros(len(user.seen), dtype=np.float32) if user.own is None else user.own)
            else:
                row = next(rows)
                vectors[place] = self.user_factors[row]
                seen.append(self.seen[row])
                if own is not None and self.own is not None:
                    own.append(self.own[row])
        return vectors, seen, own

    def _require_fitted(self) -> None:
        if not self.fitted:
            raise SettingsError(f"this {self.name} is not trained yet; call fit first, or load a trained one")
