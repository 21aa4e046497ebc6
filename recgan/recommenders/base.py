"""The contract of all recommenders.

Every model ends as one inner product, ``score(u, i) = user_factors[u] . item_factors[i]``, with its biases folded in;
a model of what is taken again adds something to the items that a user took before (``own_scores``). Scoring, filters,
top-k and similar items (`recgan.recommenders.scoring`), saving and new users are therefore written once; a model's own
file says how the factors come about, and how the vector of a new user does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
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
from recgan.recommenders.data import TrainingData, UserRows, concatenated
from recgan.recommenders.scoring import FactorScorer, UserVector
from recgan.recommenders.topk.ann import digest_of_factors
from recgan.recommenders.topk.filters import new_ids, rows_of
from recgan.recommenders.training.checkpoint import Checkpoints

__all__ = ["FORMAT_VERSION", "KIND", "Recommender"]

KIND = "recommender"
FORMAT_VERSION = 1


class Recommender(FactorScorer):
    """Base of all models; make one with `create_recommender`, train it with `fit`, or get it by `load_recommender`."""

    settings_type: ClassVar[type[Settings]]
    visual: ClassVar[bool] = False
    """Whether the model looks at pictures: then it is a `recgan.recommenders.models.visual.VisualRecommender`."""
    resumable: ClassVar[bool] = False
    """Whether a training that was stopped can go on."""
    end_to_end: ClassVar[bool] = False
    """Whether it learns to see: then it is trained on pixels and holds its encoder itself."""

    chosen_by_validation: ClassVar[Mapping[str, str]] = {}
    """Settings that training chooses by its validation part, and the figure among ``metrics`` that tells it."""

    category_names: tuple[str, ...]

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
        self.space = None
        self.digest: str | None = None
        """Identity of the artifact that the model was loaded from; None for one that was just trained."""

    # ---- training

    def fit(
        self,
        data: TrainingData,
        *,
        seed: int = 0,
        device: str = "auto",
        progress: Progress = quiet,
        checkpoints: Checkpoints | None = None,
    ) -> Self:
        """Learn from ``data.train`` and return self; with ``checkpoints`` a `resumable` model can be stopped meanwhile.

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
        self._checkpoints = checkpoints
        self._train(data, seed, device, progress)
        self._check_factors()
        self.space = digest_of_factors(self.item_factors)
        self.fitted = True
        return self

    @abstractmethod
    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        """Set ``user_factors`` and ``item_factors`` (and ``metrics``)."""

    def _check_factors(self) -> None:
        shapes = (len(self.user_ids), len(self.items))
        if (len(self.user_factors), len(self.item_factors)) != shapes:
            raise AssertionError(
                f"{self.name}: factors of {self.user_factors.shape}, {self.item_factors.shape} for {shapes}"
            )
        if self.own_scores is not None and len(self.own_scores) != len(self.seen.items):
            raise AssertionError(f"{self.name}: {len(self.own_scores)} own scores for {len(self.seen.items)} pairs")
        if not (np.isfinite(self.user_factors).all() and np.isfinite(self.item_factors).all()):
            raise TrainingError(
                f"{self.name}: the training diverged (factors are not finite); lower the learning rates"
            )

    def chosen_settings(self) -> Settings:
        """Return the settings with what validation chose in this training filled in: with them a model can be trained
        on everything, where nothing is left to choose by."""
        names = self.chosen_by_validation.keys() & type(self.settings).model_fields.keys()
        figures = {name: self.metrics.get(self.chosen_by_validation[name]) for name in names}
        found = {name: value for name, value in figures.items() if value is not None}
        return type(self.settings)(**{**self.settings.model_dump(), **found})

    def untuned(self) -> list[str]:
        """Return the names of the settings that were left to validation, where this training had none to choose by."""
        if any(name.startswith("validation_") for name in self.metrics):
            return []
        return [name for name in self.chosen_by_validation if getattr(self.settings, name, 0) is None]

    def notes(self) -> list[str]:
        """Return what whoever trained this should know: where it is not what the settings say, a line each."""
        if not (untuned := self.untuned()):
            return []
        return [
            f"no validation part, so not tuned: {', '.join(untuned)}; "
            "train with one, and give what it chooses with --set"
        ]

    def partial_fit(self, user_ids: Sequence[str], item_ids: Sequence[str]) -> None:
        """Take in new interactions, one a place of the two lists, without training again.

        Items stay as they are (`popularity` counts on); the vector of each user named is folded in anew from all that
        the user is known to have taken. Users not known before are added. Train again now and then, so that items
        learn too. From then on the model has seen more than its split, and is not judged by it.

        Raises:
            DataError: lists of different lengths.
            NotFoundError: an unknown item.
            SettingsError: ids that are not strings.
        """
        self._require_fitted()
        if len(user_ids) != len(item_ids):
            raise DataError(f"{len(user_ids)} users and {len(item_ids)} items: give one item for each user")
        items = rows_of(self._item_index, item_ids, "item")
        names = pd.Index(new_ids(user_ids, "user"), dtype=object)
        added = names[~names.isin(self._user_index)].unique()
        self.user_ids = np.concatenate([self.user_ids, added.to_numpy(dtype=object)])
        self._user_index = pd.Index(self.user_ids, dtype=object)
        users = self._user_index.get_indexer(names)
        known, n_items = self.seen.as_pairs(), len(self.items)
        keys = np.concatenate([known.users * n_items + known.items, users * n_items + items])
        pairs, first = np.unique(keys, return_index=True)
        self.seen = UserRows.of(Pairs(pairs // n_items, pairs % n_items), len(self.user_ids))
        fresh = np.sort(first[first >= len(known)]) - len(known)
        self._count(items[fresh])
        if self._index is not None and not self._index.fits(self.item_factors):
            self._index = None
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
            writer.facts = {**self.facts, "category_names": list(self.category_names), "space": self.space}
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

    # ---- users

    def fold_in(self, liked: Sequence[str] = (), disliked: Sequence[str] = (), *, images: Any = None) -> UserVector:
        """Return the vector of a new user, without retraining.

        Args:
            liked: item ids that the user likes.
            disliked: item ids that the user does not like.
            images: photos that the user likes, of items that need not be in the catalogue (visual models only);
                see `recgan.recommenders.models.visual.pixels_of` for the forms they may have.

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
        extra = None if images is None else self.factors_of_images(images)
        seen = np.union1d(liked_rows, disliked_rows)
        alone = images is None and not len(disliked_rows)
        values, own = self.folded(liked_rows, disliked_rows, extra), self._own_of(liked_rows, seen)
        return UserVector(values, seen, own, alone, self.space)

    def _own_of(self, liked: np.ndarray, seen: np.ndarray) -> np.ndarray | None:
        """Return what is added to the scores of the items ``seen`` of a new user who likes some of them (rows)."""
        return None

    def folded(
        self,
        liked: np.ndarray,
        disliked: np.ndarray,
        extra: np.ndarray | None = None,
        against: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return what `fold_in` makes of rows of items, float32 [D].

        Args:
            liked: int64 [n], rows of liked items.
            disliked: int64 [m]
            extra: float32 [e, D], factors of more that is liked.
            against: float32 [a, D], factors of more that is disliked.
        """
        likes, dislikes = self._joined(liked, extra), self._joined(disliked, against)
        if not (len(likes) or len(dislikes)):
            return self.user_factors.mean(axis=0).astype(np.float32)
        return np.asarray(self._fold_in(likes, dislikes, np.union1d(liked, disliked)), dtype=np.float32)

    def _joined(self, rows: np.ndarray, more: np.ndarray | None) -> np.ndarray:
        factors = self.item_factors[rows]
        return factors if more is None else np.concatenate([factors, more])

    def contributions(
        self,
        liked: np.ndarray,
        disliked: np.ndarray,
        extra: np.ndarray | None = None,
        against: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return by how much each liked item moves the vector of `folded`: it, less the one without the item.

        All stand against the same draw of other items. Models that fold in by Newton's method tell it of long histories
        nearly (`recgan.recommenders.fold_in.FoldIn.contributions`), the others exactly.

        Args:
            liked: int64 [n], rows of liked items, each once.
            disliked: int64 [m]
            extra: float32 [e, D], factors of more that is liked.
            against: float32 [a, D], factors of more that is disliked.

        Returns:
            float64 [n + e, D]
        """
        likes, dislikes = self._joined(liked, extra), self._joined(disliked, against)
        if len(likes) == 1 and not len(dislikes):  # without it nothing is given
            return (self.folded(liked, disliked, extra) - self.user_factors.mean(axis=0))[None].astype(np.float64)
        return self._contributions(likes, dislikes, np.union1d(liked, disliked))

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the item factors of some rows as a sum of named parts, float64 [n, D] each: what a score is made of.

        The names are ``popularity`` (whatever does not depend on the user), ``category``, ``latent``, ``visual bias``
        and ``visual``.
        """
        return {"latent": self.item_factors[rows].astype(np.float64)}

    @abstractmethod
    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return a user vector [D] from the factors [n, D] of liked and of disliked items; ``seen``: their rows."""

    def _contributions(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return by how much each liked item moves what `_fold_in` gives, float64 [n, D]: by folding in without it."""
        whole = np.asarray(self._fold_in(liked, disliked, seen), dtype=np.float64)
        left = [self._fold_in(np.delete(liked, row, axis=0), disliked, seen) for row in range(len(liked))]
        return whole - np.reshape(left, (len(liked), len(whole)))

    def factors_of_images(self, images: Any) -> np.ndarray:
        """Return the item factors of new items that look so, float32 [N, D] (visual models only)."""
        raise SettingsError(f"'{self.name}' does not look at pictures; use a visual model, such as vbpr")

    def add_items(self, item_ids: Sequence[str], images: Any, categories: Sequence[str]) -> None:
        """Add new items, scored from their pictures alone (visual models only)."""
        raise SettingsError(f"'{self.name}' cannot score an item from its picture; use a visual model, such as vbpr")
