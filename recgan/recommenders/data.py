"""What a recommender is trained on: one bundle, one split of it and, for visual models, its features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import TRANSFORM, load_pixels
from recgan.dataset.split import Pairs, Split, no_pairs
from recgan.encoders.features import Features
from recgan.errors import DataError, MismatchError
from recgan.progress import Progress, quiet

__all__ = [
    "USER_CHUNK",
    "ItemImages",
    "TrainingData",
    "UserRows",
    "UserValues",
    "concatenated",
    "item_images",
    "training_data",
]

USER_CHUNK = 1 << 16
"""Users of whom something is computed at a time, where there may be millions."""


@dataclass(frozen=True)
class ItemImages:
    """The picture of every item, for models that learn from pixels."""

    pixels: np.ndarray
    """uint8 [n_images, size, size, 3], letterboxed; a memory map."""
    rows: np.ndarray
    """int64 [n_items]: the row of each item's first image, -1 where it has none."""
    size: int
    transform: str

    def of(self, items: np.ndarray) -> np.ndarray:
        """Return the pixels of items (rows of the catalogue that have an image), uint8 [n, size, size, 3]."""
        return self.pixels[self.rows[items]]

    def permuted(self, rng: np.random.Generator) -> ItemImages:
        """Return the same with each picture given to another item that has one: a control."""
        rows = self.rows.copy()
        rows[rows >= 0] = rng.permutation(rows[rows >= 0])
        return replace(self, rows=rows)


def item_images(bundle: Bundle, size: int, *, progress: Progress = quiet) -> ItemImages:
    """Return the pictures of a bundle's items at ``size``; errors as `recgan.dataset.pixels.load_pixels`."""
    return ItemImages(load_pixels(bundle, size, progress=progress), bundle.primary_images, size, TRANSFORM)


@dataclass(frozen=True)
class TrainingData:
    """Users, items and the pairs that a model may learn from; made by `training_data`.

    The test part is not in it, so no model can see it by mistake.
    """

    user_ids: np.ndarray
    """Object array [n_users] of str."""
    items: pd.DataFrame
    """``item_id``, ``category``, ``available`` and the attributes: one row an item, in the bundle's order."""
    category_names: tuple[str, ...]
    """In the order that gives the class indices."""
    category_index: np.ndarray
    """int64 [n_items]"""
    candidates: np.ndarray
    """bool [n_items]: items that count as negatives when a model is judged."""
    train: Pairs
    validation: Pairs
    """Chooses the epoch; never trained on."""
    withheld: Pairs
    """Known positives that are neither trained on nor judged."""
    features: Features | None
    catalogue_digest: str
    split_digest: str
    split_settings: dict[str, Any]
    images: ItemImages | None = None
    repeats: Pairs = field(default_factory=no_pairs)
    """What was taken again: later interactions of pairs in train, which has each pair once."""

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.items)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """Number of users in train who took each item, int64 [n_items]."""
        return np.bincount(self.train.items, minlength=self.n_items)


def training_data(
    bundle: Bundle, split: Split, features: Features | None = None, images: ItemImages | None = None
) -> TrainingData:
    """Put together what models are trained on.

    Raises:
        MismatchError: the split or the features belong to another bundle.
        DataError: the split has no training interaction, or fewer than two items have an image.
    """
    if split.n_items != len(bundle.items):
        raise MismatchError(
            f"the split has {split.n_items:,} items, bundle '{bundle.path}' has {len(bundle.items):,}; "
            "split this bundle anew"
        )
    if features is not None and (
        features.images_digest != bundle.images_digest or len(features.values) != len(bundle.items)
    ):
        raise MismatchError(f"the features were not made from the images of bundle '{bundle.path}'; embed it again")
    if not len(split.train):
        raise DataError(
            f"bundle '{bundle.path}' has no training interaction in this split; "
            "use more data or a smaller --split cold_share"
        )
    pictures = images.rows >= 0 if images is not None else features.has_image if features is not None else None
    if pictures is not None and (pictured := int(pictures.sum())) < 2:
        raise DataError(
            f"bundle '{bundle.path}' has {pictured} item{'s' * (pictured != 1)} with an image, and visual models "
            "compare at least two; import more, or train --model popularity"
        )
    return TrainingData(
        user_ids=split.user_ids,
        items=bundle.items,
        category_names=tuple(bundle.category_names),
        category_index=bundle.category_index,
        candidates=split.candidates,
        train=split.train,
        validation=split.validation,
        withheld=split.withheld,
        features=features,
        images=images,
        catalogue_digest=bundle.catalogue_digest,
        split_digest=split.digest,
        split_settings=split.settings.model_dump(mode="json"),
        repeats=split.repeats,
    )


@dataclass(frozen=True)
class UserRows:
    """Each user's items in compressed rows."""

    indptr: np.ndarray
    """int64 [n_users + 1]: user u's items are ``items[indptr[u] : indptr[u + 1]]``, sorted."""
    items: np.ndarray
    """int64 [n]"""

    @classmethod
    def of(cls, pairs: Pairs, n_users: int) -> UserRows:
        """Sort pairs into rows."""
        indptr = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(pairs.users, minlength=n_users), out=indptr[1:])
        # One key a pair: sorted in place, many times as fast as by two columns.
        width = int(pairs.items.max(initial=0)) + 1
        keys = pairs.users * width + pairs.items
        keys.sort()
        keys %= width
        return cls(indptr, keys)

    def __getitem__(self, user: int) -> np.ndarray:
        """Return one user's items."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def as_pairs(self) -> Pairs:
        """Return all rows as pairs, by user and item."""
        return Pairs(np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr)), self.items)

    def pairs(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return all items of some users as (position in ``users``, item), int64 [m] each."""
        counts = self.indptr[users + 1] - self.indptr[users]
        places = np.repeat(np.arange(len(users)), counts)
        offsets = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, self.items[self.indptr[users][places] + offsets]

    def sums(self, values: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the sum of the values, float [n_items, d], of each one's items, for the users in a range: [n, d], of
        the values' type. There is no array of a row an interaction."""
        stop = len(self.indptr) - 1 if stop is None else min(stop, len(self.indptr) - 1)
        out = np.empty((stop - start, values.shape[1]), dtype=values.dtype)
        for first in range(start, stop, USER_CHUNK):
            last = min(first + USER_CHUNK, stop)
            indptr = self.indptr[first : last + 1]
            items = self.items[indptr[0] : indptr[-1]]
            ones = np.ones(len(items), dtype=values.dtype)
            taken = csr_matrix((ones, items, indptr - indptr[0]), shape=(last - first, len(values)))
            out[first - start : last - start] = taken @ values
        return out


@dataclass(frozen=True)
class UserValues:
    """A value beside each item of `UserRows`."""

    indptr: np.ndarray
    """That of the rows."""
    values: np.ndarray
    """[n]"""

    def __getitem__(self, user: int) -> np.ndarray:
        """Return the values beside one user's items."""
        return self.values[self.indptr[user] : self.indptr[user + 1]]


def concatenated(*parts: Pairs) -> Pairs:
    """Return several sets of pairs as one, without times."""
    return Pairs(np.concatenate([part.users for part in parts]), np.concatenate([part.items for part in parts]))
