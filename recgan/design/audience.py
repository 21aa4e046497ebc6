"""Whom a design is for: one user, a visitor without an id, or a cohort; and what the shop has for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recgan.design.preference import Cohort, Eye
from recgan.design.real_items import RealItems, unit_rows
from recgan.design.sight import Sight
from recgan.errors import SettingsError
from recgan.recommenders import UserVector

__all__ = [
    "Audience",
    "Someone",
    "audience_of",
    "companion_vectors",
    "eye_of",
    "real_items_of",
    "units_of",
    "unseen_of",
]

Someone = str | UserVector | Sequence[str | UserVector]
"""A user's id, a vector from ``fold_in``, or a cohort of those."""


@dataclass(frozen=True, eq=False)
class Audience:
    """The users whom designs of one category are for, with the category's real items."""

    category: str
    users: tuple[str | UserVector, ...]
    vectors: tuple[UserVector, ...]
    """By the recommender that the designs are made with."""
    rows: np.ndarray
    """Items of the catalogue with a picture that they have not seen (of a cohort: that some have not), int64 [m]."""
    scores: np.ndarray
    """Each user's preference for them, float32 [users, m]."""

    def together(self, scores: np.ndarray, cohort: Cohort, units: np.ndarray | None) -> np.ndarray:
        """Return one number a picture for everybody's scores [users, N], float32 [N].

        One user's is the score itself, on the recommender's scale; several users' are standardised by ``units``
        [users, 2] (mean, std) first, for theirs do not compare.
        """
        if len(self.users) == 1:
            return scores[0]
        assert units is not None
        best = self.scores.max(axis=1, keepdims=True)
        told = (scores - units[:, :1]) / units[:, 1:]
        if cohort == "share":
            return (scores > best).mean(axis=0).astype(np.float32)
        return (told.min(axis=0) if cohort == "min" else told.mean(axis=0)).astype(np.float32)


def audience_of(sight: Sight, someone: Someone, category: str) -> Audience:
    """Return the audience of a request.

    Raises:
        NotFoundError: an unknown user or category.
        MismatchError: a vector is another model's.
        SettingsError: nobody is named, a user has no history, or no real item is left to compare with.
    """
    users = (someone,) if isinstance(someone, str | UserVector) else tuple(someone)
    if not users:
        raise SettingsError("the cohort is empty; name at least one user")
    vectors = tuple(sight.vector(user) for user in users)
    sight.gan.class_index(category)
    rows = sight.in_category(category)
    if not len(rows):
        raise SettingsError(f"category '{category}' has no item with a picture to compare a design with; add some")
    unseen = unseen_of(sight, vectors, category)
    if not len(unseen):
        raise SettingsError(
            f"the user has seen every item of category '{category}', so none is left to compare a design with; "
            "choose another category"
        )
    left = np.isin(rows, unseen)
    scores = np.stack([sight.scores_of_items(vector, category)[left] for vector in vectors])
    return Audience(category, users, vectors, unseen, scores)


def unseen_of(sight: Sight, vectors: Sequence[UserVector], category: str) -> np.ndarray:
    """Return the rows of a category's items with a picture that not everybody has seen, int64 [m]."""
    seen = vectors[0].seen
    for vector in vectors[1:]:
        seen = np.intersect1d(seen, vector.seen)
    rows = sight.in_category(category)
    return rows[~np.isin(rows, seen)]


def real_items_of(
    sight: Sight, audience: Audience, cohort: Cohort = "mean", units: np.ndarray | None = None
) -> RealItems:
    """Return the audience's real items with what it thinks of each."""
    if units is None and len(audience.users) > 1:
        units = units_of(sight, audience, audience.vectors)
    return RealItems(
        audience.rows,
        sight.recommender.item_ids[audience.rows],
        audience.together(audience.scores, cohort, units),
        unit_rows(sight.features(audience.rows)),
    )


def units_of(sight: Sight, audience: Audience, vectors: Sequence[UserVector]) -> np.ndarray:
    """Return mean and standard deviation of each user's preference for the real items by ``sight``, [users, 2].

    Raises:
        SettingsError: a user likes all pictures alike.
    """
    places = np.flatnonzero(np.isin(sight.in_category(audience.category), audience.rows))
    units = []
    for vector in vectors:
        units.append(sight.unit(vector, audience.category, sight.scores_of_items(vector, audience.category)[places]))
    return np.array(units)


def companion_vectors(sight: Sight, main: Sight, audience: Audience) -> list[UserVector]:
    """Return the audience's vectors by another recommender of the same catalogue; a visitor is folded in again, from
    the items that were liked.

    Raises:
        SettingsError: a visitor is known by photos or dislikes, which a vector does not keep.
    """
    vectors = []
    for user in audience.users:
        if not isinstance(user, UserVector):
            vectors.append(sight.vector(user))
        elif user.liked_alone:
            liked = [str(item_id) for item_id in main.recommender.item_ids[user.seen]]
            vectors.append(sight.recommender.fold_in(liked))
        else:
            raise SettingsError(
                "companions (--beside) know a visitor by liked items alone, not by photos or dislikes; leave them out, "
                "or the photos and dislikes"
            )
    return vectors


def eye_of(
    sight: Sight,
    vectors: Sequence[Sequence[UserVector]],
    units: Sequence[np.ndarray | None],
    *,
    shares_features: bool,
) -> Eye:
    """Return the eye that looks at designs for several audiences; a unit of None leaves
    the preference raw."""
    most = max(len(users) for users in vectors)
    device = sight.gan.device
    width = len(vectors[0][0].values)
    table = np.zeros((len(vectors), most, width), dtype=np.float32)
    mean, std = np.zeros((len(vectors), most), np.float32), np.ones((len(vectors), most), np.float32)
    for row, users in enumerate(vectors):
        table[row, : len(users)] = [user.values for user in users]
        unit = units[row]
        if unit is not None:
            mean[row, : len(users)], std[row, : len(users)] = unit.T
    return Eye(
        sight.factors,
        vectors=torch.from_numpy(table).to(device),
        mean=torch.from_numpy(mean).to(device),
        std=torch.from_numpy(std).to(device),
        encoder=None if shares_features else sight.encoder,
    )
