"""The contract of all recommenders.

Every model ends as one inner product, ``score(u, i) = user_factors[u] . item_factors[i]``, with its biases folded in.
Scoring, filters, top-k, similar items, saving and the index are therefore written once, here; a model's own file says
how the factors come about, and how the vector of a new user does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from recgan.artifacts import write_artifact
from recgan.config import Settings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import Pairs
from recgan.errors import DataError, MismatchError, SettingsError, TrainingError
from recgan.progress import Progress, quiet
from recgan.recommenders.ann import ApproximateIndex
from recgan.recommenders.data import TrainingData, UserRows, concatenated
from recgan.recommenders.exact import best_items
from recgan.recommenders.filters import Where, admitted, rows_of
from recgan.recommenders.index import FlatIndex

__all__ = ["FORMAT_VERSION", "KIND", "Recommendation", "Recommender", "UserVector"]

KIND = "recommender"
FORMAT_VERSION = 1


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


class Recommender(ABC):
    """Base of all models; make one with `create_recommender`, train it with `fit`, or get it by `load_recommender`."""

    name: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    visual: ClassVar[bool] = False
    """Whether the model looks at pictures: then it is a `recgan.recommenders.visual.VisualRecommender`."""
    end_to_end: ClassVar[bool] = False
    """Whether it learns to see: then it is trained on pixels and holds its encoder itself."""

    user_ids: np.ndarray
    """Object array [n_users] of str."""
    items: pd.DataFrame
    """The catalogue the model knows: ``item_id``, ``category``, ``available`` and the attributes, one row an item."""
    category_names: tuple[str, ...]
    seen: UserRows
    """What each user is known to have taken: in train, or withheld by the split."""
    user_factors: np.ndarray
    """float32 [n_users, D]"""
    item_factors: np.ndarray
    """float32 [n_items, D]"""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings if settings is not None else self.settings_type()
        if not isinstance(settings, self.settings_type):
            raise SettingsError(f"{self.name} takes {self.settings_type.__name__}, not {type(settings).__name__}")
        self.settings = settings
        self.fitted = False
        self.metrics: dict[str, Any] = {}
        """Figures of the training, such as the best epoch and its validation AUC; saved with the model."""
        self.facts: dict[str, Any] = {}
        """Whence the model comes: split settings, seed, encoder; saved with the model."""
        self.catalogue_digest = ""
        """Identity of the items, categories and images that the model was trained on."""
        self.split_digest = ""
        self.digest: str | None = None
        """Identity of the artifact that the model was loaded from; None for one that was just trained."""

    # ---- training

    def fit(self, data: TrainingData, *, seed: int = 0, device: str = "auto", progress: Progress = quiet) -> Self:
        """Learn from ``data.train`` and return self.

        On the CPU of one machine the same seed gives the same model to the bit (``bpr`` and ``als``: with their one
        thread). On a GPU it gives the same random draws, but sums are taken in any order, so that the last digits
        differ from run to run, and what follows from them may.

        Raises:
            DataError: the data lack what the model needs (features, for instance).
            TrainingError: the training diverged.
        """
        self.user_ids = data.user_ids
        self.category_names = data.category_names
        self.seen = UserRows.of(concatenated(data.train, data.withheld), data.n_users)
        self.catalogue_digest = data.catalogue_digest
        self.split_digest = data.split_digest
        self.facts = {"seed": seed, "split": data.split_settings}
        self.metrics = {}
        self._set_items(data.items)
        self._train(data, seed, device, progress)
        self._check_factors()
        self.fitted = True
        return self

    @abstractmethod
    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        """Set ``user_factors`` and ``item_factors`` (and ``metrics``)."""

    def _set_items(self, items: pd.DataFrame) -> None:
        self.items = items
        self._item_index = pd.Index(items["item_id"].to_numpy(dtype=object))
        self._user_index = pd.Index(self.user_ids)
        self._similarity: FlatIndex | None = None
        self._index: ApproximateIndex | None = None

    def use_index(self, index: ApproximateIndex | None) -> None:
        """Search approximately from now on, until items are added, or with None exactly.

        Raises:
            MismatchError: the index was built for other item factors.
        """
        self._require_fitted()
        if index is not None and not index.fits(self.item_factors):
            raise MismatchError(f"the index was built for other items than this {self.name}'s; build it for this one")
        self._index = index

    def update_items(self, items: pd.DataFrame) -> None:
        """Take over a newer table of the same items: what is available, and the attributes, change from day to day.

        Raises:
            MismatchError: the items are not those that the model knows, in its order.
        """
        self._require_fitted()
        if not np.array_equal(self.item_ids, items["item_id"].to_numpy(dtype=object)):
            raise MismatchError(f"the items are not those that this {self.name} was trained on; train it on them")
        self.items = items

    def _check_factors(self) -> None:
        shapes = (len(self.user_ids), len(self.items))
        if (len(self.user_factors), len(self.item_factors)) != shapes:
            raise AssertionError(
                f"{self.name}: factors of {self.user_factors.shape}, {self.item_factors.shape} for {shapes}"
            )
        if not (np.isfinite(self.user_factors).all() and np.isfinite(self.item_factors).all()):
            raise TrainingError(
                f"{self.name}: the training diverged (factors are not finite); lower the learning rates"
            )

    def partial_fit(self, user_ids: Sequence[str], item_ids: Sequence[str]) -> None:
        """Take in new interactions, one a place of the two lists, without training again.

        Items stay as they are (`popularity` counts on); the vector of each user named is folded in anew from all that
        the user is known to have taken. Users not known before are added. Train again now and then, so that items
        learn too. From then on the model has seen more than its split, and is not judged by it.

        Raises:
            DataError: lists of different lengths.
            NotFoundError: an unknown item.
        """
        self._require_fitted()
        if len(user_ids) != len(item_ids):
            raise DataError(f"{len(user_ids)} users and {len(item_ids)} items: give one item for each user")
        items = rows_of(self._item_index, item_ids, "item")
        names = pd.Index(np.asarray(user_ids, dtype=object))
        added = names[~names.isin(self._user_index)].unique()
        self.user_ids = np.concatenate([self.user_ids, added.to_numpy(dtype=object)])
        self._user_index = pd.Index(self.user_ids)
        users = self._user_index.get_indexer(names)
        known, n_items = self.seen.as_pairs(), len(self.items)
        keys = np.concatenate([known.users * n_items + known.items, users * n_items + items])
        pairs, first = np.unique(keys, return_index=True)
        self.seen = UserRows.of(Pairs(pairs // n_items, pairs % n_items), len(self.user_ids))
        fresh = np.sort(first[first >= len(known)]) - len(known)
        self._count(items[fresh])
        # All against the users as they were: a fold-in may start at their mean.
        vectors = {
            row: self._fold_in(self.item_factors[self.seen[row]], self.item_factors[:0], self.seen[row])
            for row in np.unique(users)
        }
        new_rows = np.empty((len(added), self.user_factors.shape[1]), dtype=np.float32)
        self.user_factors = np.concatenate([self.user_factors, new_rows])
        for row, vector in vectors.items():
            self.user_factors[row] = vector
        self.split_digest = ""

    def _count(self, items: np.ndarray) -> None:
        """Learn of new interactions with items (rows, int64 [n]) what does not depend on the user: here, nothing."""
        return

    # ---- asking

    @property
    def item_ids(self) -> np.ndarray:
        """Object array [n_items] of str."""
        return self.items["item_id"].to_numpy(dtype=object)

    def score(self, user_ids: Sequence[str | UserVector], item_ids: Sequence[str] | None = None) -> np.ndarray:
        """Return the scores float32 [len(user_ids), len(item_ids)]; all items by default.

        Raises:
            NotFoundError: an unknown id.
        """
        self._require_fitted()
        vectors, _ = self._users(user_ids)
        factors = (
            self.item_factors if item_ids is None else self.item_factors[rows_of(self._item_index, item_ids, "item")]
        )
        return vectors @ factors.T

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
            where: a condition on the items' attributes, see `recgan.recommenders.filters.Where`.
            candidates: only these item ids.

        Raises:
            SettingsError: k < 1, or a filter of a wrong form.
            NotFoundError: an unknown user, category, attribute or candidate.
        """
        allowed = self.admitted(categories=categories, where=where, candidates=candidates)
        if k < 1:
            raise SettingsError(f"k={k}: ask for at least one item")
        vectors, seen = self._users(users)
        known = seen if exclude_seen else None
        if self._index is not None:
            found = self._index.best_items(vectors, k, allowed=allowed, seen=known)
        else:
            found = best_items(vectors, self.item_factors, k, allowed=allowed, seen=known)
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
        return admitted(self.items, self._item_index, categories=categories, where=where, candidates=candidates)

    def rows_of_items(self, item_ids: Sequence[str]) -> np.ndarray:
        """Return the rows of items, int64 [n].

        Raises:
            NotFoundError: an unknown item.
        """
        self._require_fitted()
        return rows_of(self._item_index, item_ids, "item")

    def _answer(self, rows: np.ndarray, scores: np.ndarray) -> list[Recommendation]:
        ids = self.items["item_id"].to_numpy()[rows]
        categories = self.items["category"].to_numpy()[rows]
        return [Recommendation(str(i), float(s), str(c)) for i, s, c in zip(ids, scores, categories)]

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
        allowed[np.asarray(without, dtype=np.int64)] = False
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

    # ---- keeping

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model as an artifact; `load_recommender` reads it, and it serves alone, without the bundle.

        Raises:
            ArtifactError: the folder exists and ``overwrite`` is false.
            StorageError: it cannot be written.
        """
        self._require_fitted()
        parents = {"catalogue": self.catalogue_digest, "split": self.split_digest}
        with write_artifact(
            folder,
            kind=KIND,
            format_version=FORMAT_VERSION,
            name=self.name,
            config=self.settings.model_dump(mode="json"),
            parents=parents,
            overwrite=overwrite,
        ) as writer:
            writer.metrics = dict(self.metrics)
            writer.facts = {**self.facts, "category_names": list(self.category_names)}
            writer.table("items", self.items)
            writer.table("users", pd.DataFrame({"user_id": self.user_ids}))
            writer.tensors("model", self.tensors())

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        return {
            "user_factors": self.user_factors,
            "item_factors": self.item_factors,
            "seen_indptr": self.seen.indptr,
            "seen_items": self.seen.items,
        }

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self.user_ids = user_ids
        self.user_factors = tensors["user_factors"]
        self.item_factors = tensors["item_factors"]
        self.seen = UserRows(tensors["seen_indptr"], tensors["seen_items"])
        self._set_items(items)
        self._check_factors()
        self.fitted = True

    def check_fits(self, bundle: Bundle) -> None:
        """Check that the model was trained on this bundle's catalogue.

        Raises:
            MismatchError: other items, categories or images.
        """
        if self.catalogue_digest != bundle.catalogue_digest:
            raise MismatchError(
                f"this {self.name} was trained on another catalogue than bundle '{bundle.path}' "
                "(items, categories or images differ); train it on this one"
            )

    def _require_fitted(self) -> None:
        if not self.fitted:
            raise SettingsError(f"this {self.name} is not trained yet; call fit first, or load a trained one")

    # ---- users

    def user_vector(self, user_id: str) -> UserVector:
        """Return the vector of a user the model was trained on.

        Raises:
            NotFoundError: the user is unknown.
        """
        self._require_fitted()
        row = int(rows_of(self._user_index, [user_id], "user")[0])
        return UserVector(self.user_factors[row], self.seen[row])

    def fold_in(self, liked: Sequence[str] = (), disliked: Sequence[str] = (), *, images: Any = None) -> UserVector:
        """Return the vector of a new user, without retraining.

        Args:
            liked: item ids that the user likes.
            disliked: item ids that the user does not like.
            images: photos that the user likes, of items that need not be in the catalogue (visual models only);
                see `recgan.recommenders.visual.pixels_of` for the forms they may have.

        With nothing given it is the average user. What was given counts as seen.

        Raises:
            NotFoundError: an unknown item.
            DataError: an item is both liked and disliked.
            SettingsError: images for a model that does not look at pictures.
        """
        self._require_fitted()
        liked_rows = np.unique(rows_of(self._item_index, liked, "item"))
        disliked_rows = np.unique(rows_of(self._item_index, disliked, "item"))
        both = np.intersect1d(liked_rows, disliked_rows)
        if len(both):
            raise DataError(f"item '{self.item_ids[both[0]]}' is given as both liked and disliked")
        extra = self._factors_of_images(images) if images is not None else self.item_factors[:0]
        return UserVector(self.folded(liked_rows, disliked_rows, extra), np.union1d(liked_rows, disliked_rows))

    def folded(
        self,
        liked: np.ndarray,
        disliked: np.ndarray,
        extra: np.ndarray | None = None,
        *,
        others: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return what `fold_in` makes of rows of items, float32 [D].

        Args:
            liked: int64 [n], rows of liked items.
            disliked: int64 [m]
            extra: float32 [e, D], factors of more that is liked.
            others: rows of items that are not to stand against the liked ones either.
        """
        extra = self.item_factors[:0] if extra is None else extra
        if not (len(liked) or len(disliked) or len(extra)):
            return self.user_factors.mean(axis=0).astype(np.float32)
        seen = np.union1d(liked, disliked)
        apart = seen if others is None else np.union1d(seen, others)
        values = self._fold_in(np.concatenate([self.item_factors[liked], extra]), self.item_factors[disliked], apart)
        return np.asarray(values, dtype=np.float32)

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the item factors of some rows as a sum of named parts, float64 [n, D] each: what a score is made of.

        The names are ``popularity`` (whatever does not depend on the user), ``latent``, ``visual bias`` and ``visual``.
        """
        return {"latent": self.item_factors[rows].astype(np.float64)}

    @abstractmethod
    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return a user vector [D] from the factors [n, D] of liked and of disliked items; ``seen``: their rows."""

    def _factors_of_images(self, images: Any) -> np.ndarray:
        raise SettingsError(f"'{self.name}' does not look at pictures; use a visual model, such as vbpr")

    def add_items(self, item_ids: Sequence[str], images: Any, categories: Sequence[str]) -> None:
        """Add new items, scored from their pictures alone (visual models only)."""
        raise SettingsError(f"'{self.name}' cannot score an item from its picture; use a visual model, such as vbpr")

    def _users(self, users: Sequence[str | UserVector]) -> tuple[np.ndarray, list[np.ndarray]]:
        if isinstance(users, (str, UserVector)):
            raise SettingsError("give a list of users, not a single one")
        named = [user for user in users if not isinstance(user, UserVector)]
        rows = iter(rows_of(self._user_index, named, "user"))
        vectors = np.empty((len(users), self.item_factors.shape[1]), dtype=np.float32)
        seen = []
        for place, user in enumerate(users):
            if isinstance(user, UserVector):
                if user.values.shape != vectors.shape[1:]:
                    raise MismatchError(
                        f"a user vector of {len(user.values)} values does not fit this {self.name} of "
                        f"{vectors.shape[1]}; fold the user in with this model"
                    )
                vectors[place] = user.values
                seen.append(user.seen)
            else:
                row = next(rows)
                vectors[place] = self.user_factors[row]
                seen.append(self.seen[row])
        return vectors, seen
