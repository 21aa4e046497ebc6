"""What has changed in the catalogue since the bundle was made, in the form that requests need.

A `Changes` never changes itself: each revision of the store's items is a new one, made from the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.live.eye import Eye
from service.models import Models
from service.store.items import ItemTable, StoredItem

__all__ = ["Changes", "LiveItem", "seen_in"]


@dataclass(frozen=True)
class LiveItem:
    """An item as it is now."""

    item_id: str
    category: str
    available: bool
    attributes: Mapping[str, Any]
    picture: str | None
    """Digest of its picture in the store; None: it has the bundle's, or none."""
    base_row: int | None
    """Its row in the bundle; None for a new item."""
    place: int
    """Where it stands among all items, new ones last; it never changes."""


@dataclass(frozen=True)
class Changes:
    """The changed and the new items, and the bundle's rows that they replace."""

    revision: int = 0
    items: Mapping[str, LiveItem] = field(default_factory=dict)
    """By id; deleted ones are not among them."""
    hidden: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Rows of the bundle that count no longer, sorted: replaced, or deleted."""
    deleted: frozenset[str] = frozenset()
    scored: Sequence[LiveItem] = ()
    """Those of ``items`` that the recommender can score, row by row of what follows."""
    factors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """float32 [len(scored), D]"""
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """Where they lie in the space that likeness is measured in, normalised, float32 [len(scored), w]; w = 0 for a
    recommender that knows no likeness."""

    def followed_by(self, changed: Sequence[StoredItem], models: Models, table: ItemTable) -> Changes:
        """Return what holds after further changes."""
        if not changed:
            return self
        items, deleted = dict(self.items), set(self.deleted)
        for stored in changed:
            items.pop(stored.item_id, None)
            deleted.discard(stored.item_id)
            if stored.deleted:
                deleted.add(stored.item_id)
            else:
                items[stored.item_id] = _live(stored, models)
        rows = [models.catalogue.find(item_id) for item_id in (*items, *deleted)]
        hidden = np.unique(np.array([row for row in rows if row is not None], dtype=np.int64))
        known = {item.item_id: place for place, item in enumerate(self.scored)}
        kept = [item for place, item in enumerate(self.scored) if items.get(item.item_id) is item]
        fresh = [item for id, item in items.items() if id not in known or self.scored[known[id]] is not item]
        added, factors, vectors = _scored(fresh, models, table)
        if kept:
            places = [known[item.item_id] for item in kept]
            factors = np.concatenate([self.factors[places], factors])
            vectors = np.concatenate([self.vectors[places], vectors])
        return Changes(
            revision=changed[-1].revision,
            items=items,
            hidden=hidden,
            deleted=frozenset(deleted),
            scored=(*kept, *added),
            factors=factors,
            vectors=vectors,
        )


def seen_in(pictures: Mapping[str, bytes], eye: Eye, table: ItemTable) -> dict[str, np.ndarray]:
    """Return what an eye sees in pictures by digest, float32 [d] each; it is kept, so that it is looked at once."""
    seen = table.features(list(pictures), eye.key)
    fresh = [digest for digest in pictures if digest not in seen]
    if fresh:
        looked = dict(zip(fresh, eye.look([pictures[digest] for digest in fresh])))
        table.keep_features(eye.key, looked)
        seen |= looked
    return seen


def _live(stored: StoredItem, models: Models) -> LiveItem:
    row = models.catalogue.find(stored.item_id)
    return LiveItem(
        item_id=stored.item_id,
        category=stored.category,
        available=stored.available,
        attributes=stored.attributes,
        picture=stored.picture,
        base_row=row,
        place=row if row is not None else len(models.catalogue) + stored.seq,
    )


def _scored(
    items: Sequence[LiveItem], models: Models, table: ItemTable
) -> tuple[list[LiveItem], np.ndarray, np.ndarray]:
    """Return the items that the recommender can score, with their factors and vectors.

    An item of the bundle keeps the factors that it has learned; a new one has those of its picture.
    """
    recommender, eye = models.recommender, models.eye
    alike = recommender.similarity_space != "none"
    old = [item for item in items if item.base_row is not None]
    rows = np.array([item.base_row for item in old], dtype=np.int64)
    factors = [recommender.item_factors[rows]]
    vectors = [recommender.similarity_vectors(rows)] if alike else [np.empty((len(rows), 0), dtype=np.float32)]
    new = [item for item in items if item.base_row is None and item.picture is not None] if eye else []
    if eye and new:
        digests = list(dict.fromkeys(item.picture for item in new if item.picture))
        seen = table.features(digests, eye.key)
        unseen = [digest for digest in digests if digest not in seen]
        seen |= seen_in(table.pictures(unseen), eye, table) if unseen else {}
        new = [item for item in new if item.picture in seen]  # one whose picture is gone has been changed since
        looks = np.stack([seen[item.picture or ""] for item in new]) if new else None
        if looks is not None:
            factors.append(eye.factors(looks, [item.category for item in new]))
            vectors.append(eye.vectors(looks) if alike else np.empty((len(new), 0), dtype=np.float32))
    joined = np.concatenate(vectors).astype(np.float32)
    norms = np.linalg.norm(joined, axis=1, keepdims=True)
    return [*old, *new], np.concatenate(factors).astype(np.float32), joined / np.maximum(norms, 1e-12)
