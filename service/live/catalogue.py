"""The catalogue as it is now: the bundle's items, changed, added and deleted."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice

import numpy as np

from recgan.errors import nearest_name
from service.catalogue import Catalogue, Photo
from service.live.changes import Changes, LiveItem
from service.problems import FieldProblem, ProblemError
from service.store.items import ItemTable

__all__ = ["LiveCatalogue"]


class LiveCatalogue:
    """The items of one moment, looked up by id and listed in an order that later moments keep."""

    def __init__(self, base: Catalogue, changes: Changes, table: ItemTable) -> None:
        self.base = base
        self.digest = base.digest
        self.categories = base.categories
        self._changes = changes
        self._table = table

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._changes.items or (
            self.base.find(item_id) is not None and item_id not in self._changes.deleted
        )

    def get(self, item_id: str) -> LiveItem:
        """Return an item.

        Raises:
            ProblemError: unknown-item (404).
        """
        changed = self._changes.items.get(item_id)
        if changed is not None:
            return changed
        row = None if item_id in self._changes.deleted else self.base.find(item_id)
        if row is None:
            raise ProblemError(
                "unknown-item", f"there is no item '{item_id}' in the catalogue; GET /v1/items lists them"
            )
        return self._unchanged(row)

    def check_items(self, item_ids: Sequence[str], field: str) -> None:
        """Refuse a request that names unknown items in ``field``, telling each.

        Raises:
            ProblemError: invalid-request (422).
        """
        faults = [
            FieldProblem(pointer=field.format(place), detail=f"there is no item '{item_id}' in the catalogue")
            for place, item_id in enumerate(item_ids)
            if item_id not in self
        ]
        if faults:
            more = f" (and {len(faults) - 1} more unknown)" if len(faults) > 1 else ""
            raise ProblemError("invalid-request", f"{faults[0].pointer}: {faults[0].detail}{more}", errors=faults[:100])

    def check_categories(self, names: Sequence[str], field: str) -> None:
        """Refuse a request that names a category that the catalogue does not have.

        Raises:
            ProblemError: invalid-request (422), with the nearest name.
        """
        for place, name in enumerate(names):
            if name not in self.base.category_set:
                hint = nearest_name(name, self.categories[:2000]) or "; GET /v1/categories lists them"
                pointer = field.format(place)
                fault = FieldProblem(pointer=pointer, detail=f"there is no category '{name}'{hint}")
                raise ProblemError("invalid-request", f"{pointer}: {fault.detail}", errors=[fault])

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many items each category has."""
        counted = Counter(dict(zip(self.categories, self.base.counts.tolist())))
        counted.subtract(self.base.category_of(int(row)) for row in self._changes.hidden)
        counted.update(item.category for item in self._changes.items.values())
        return counted

    def page(self, category: str | None, start: int, limit: int) -> tuple[list[LiveItem], int | None]:
        """Return up to ``limit`` items from the place ``start`` on, and the place to go on from; None at the end."""
        unchanged = self.base.rows_from(category, start)
        # Of so many, at least limit + 1 are left when the changed ones are taken out.
        unchanged = unchanged[: limit + 1 + len(self._changes.hidden)]
        unchanged = unchanged[~np.isin(unchanged, self._changes.hidden)]
        changed = sorted(
            (item.place, item)
            for item in self._changes.items.values()
            if item.place >= start and category in (None, item.category)
        )
        merged = heapq.merge(((int(row), None) for row in unchanged), changed, key=lambda pair: pair[0])
        found = list(islice(merged, limit + 1))
        items = [item if item is not None else self._unchanged(place) for place, item in found[:limit]]
        return items, found[limit][0] if len(found) > limit else None

    def _unchanged(self, row: int) -> LiveItem:
        base = self.base
        return LiveItem(
            item_id=base.item_id(row),
            category=base.category_of(row),
            available=base.available(row),
            attributes=base.attributes(row),
            picture=None,
            base_row=row,
            place=row,
        )

    # ---- pictures

    def pictured(self, item_id: str) -> bool:
        """Return whether an item of the catalogue has a picture."""
        item = self._changes.items.get(item_id)
        if item is not None:
            return self.picture_count(item) > 0
        row = self.base.find(item_id)
        return row is not None and item_id in self and self.base.has_photo(row)

    def picture_count(self, item: LiveItem) -> int:
        """Return how many pictures an item has."""
        if item.picture is not None:
            return 1
        return self.base.photo_count(item.base_row) if item.base_row is not None else 0

    def photo_etag(self, item: LiveItem) -> str:
        """Return the entity tag of an item's first picture.

        Raises:
            ProblemError: not-found (404), it has none.
        """
        if item.picture is not None:
            return f'"{item.picture[:32]}"'
        if item.base_row is None:
            raise ProblemError("not-found", f"item '{item.item_id}' has no picture")
        return self.base.photo_etag(item.base_row)

    def photo(self, item: LiveItem) -> Photo:
        """Return an item's first picture in a format that browsers show.

        Raises:
            ProblemError: as `photo_etag`.
        """
        etag = self.photo_etag(item)
        if item.picture is None:
            assert item.base_row is not None
            return self.base.photo(item.base_row)
        kept = self._table.picture(item.picture)
        if kept is None:  # it was replaced a moment ago
            raise ProblemError("not-found", f"item '{item.item_id}' has another picture now; ask again")
        return Photo(kept.data, kept.media_type, etag)
