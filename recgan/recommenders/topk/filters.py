"""Which items a request admits. Filters are applied before the top-k, so that a filtered list is never short."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from recgan.errors import DataError, NotFoundError, SettingsError, nearest_id, nearest_name

__all__ = ["ItemFilters", "Where", "new_ids", "rows_of"]

Where: TypeAlias = Mapping[str, Any] | np.ndarray | Callable[[pd.DataFrame], Any]
"""A condition on items: ``{"colour": "Red", "gender": ["Women", "Unisex"]}`` (every attribute has the value, or one of
the values), a bool mask [n_items], or a function from the items table to such a mask."""


_FEW_IDS = 32
"""So many are looked up one by one, a hundred times as fast as by a table of them."""
_STRANGERS = {
    "user": "; for somebody new give items that they like (--liked ITEM, or fold_in)",
    "item": "; the model knows the items of the bundle it was trained on",
}


def rows_of(index: pd.Index, ids: Sequence[str], what: str) -> np.ndarray:
    """Return the positions int64 [n] of ids in an index of known ones.

    Raises:
        NotFoundError: one is unknown; the nearest known one is suggested.
    """
    if isinstance(ids, str):
        raise SettingsError(f"give a list of {what} ids, not the single string '{ids}'")
    if len(ids) <= _FEW_IDS and all(isinstance(one, str) and one in index for one in ids):
        return np.array([index.get_loc(one) for one in ids], dtype=np.int64)
    wanted = np.empty(len(ids), dtype=object)
    wanted[:] = list(ids)
    rows = index.get_indexer(pd.Index(wanted))
    if (rows < 0).any():
        missing = wanted[rows < 0][0]
        if isinstance(missing, str):
            hint = nearest_id(missing, index) or _STRANGERS[what]
        else:
            hint = f"; {what} ids are strings, this is {type(missing).__name__}"
        raise NotFoundError(f"there is no {what} '{missing}'{hint}")
    return rows.astype(np.int64)


def new_ids(ids: Sequence[str], what: str) -> np.ndarray:
    """Return ids that need not be known, an object array [n] of str.

    Raises:
        SettingsError: a single string, an id that is not a string, or an empty one.
    """
    if isinstance(ids, str):
        raise SettingsError(f"give a list of {what} ids, not the single string '{ids}'")
    found = np.empty(len(ids), dtype=object)
    found[:] = list(ids)
    for one in found:
        if not isinstance(one, str):
            raise SettingsError(f"{what} ids are strings, and {one!r} is {type(one).__name__}; give str({one!r})")
        if not one:
            raise SettingsError(f"a {what} id is empty; every {what} needs one")
    return found


class ItemFilters:
    """The filters over one table of items, which is not changed: what a request asks again and again is looked up once.

    Args:
        items: ``item_id``, ``category``, ``available`` and the attributes.
        index: the item ids.

    Raises:
        DataError: ``available`` is not bool, or an item has no category.
    """

    def __init__(self, items: pd.DataFrame, index: pd.Index) -> None:
        if not pd.api.types.is_bool_dtype(items["available"]) or items["available"].isna().any():
            raise DataError(f"the items' 'available' must be true or false, not {items['available'].dtype}")
        if items["category"].isna().any():
            raise DataError(f"item '{items['item_id'][items['category'].isna()].iloc[0]}' has no category; give it one")
        self.items, self._index = items, index
        self._available = items["available"].to_numpy(dtype=bool)

    @cached_property
    def _coded(self) -> tuple[np.ndarray, np.ndarray]:
        """For each item the place of its category among the names, int64 [n_items], and the names, object array."""
        return pd.factorize(self.items["category"].to_numpy(dtype=object))

    def categories_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the categories of items, an object array [n] of str."""
        codes, names = self._coded
        return names[codes[rows]]

    def admitted(
        self,
        *,
        categories: Sequence[str] | None = None,
        where: Where | None = None,
        candidates: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Return which items are available and pass every filter, bool [n_items].

        Args:
            categories: names; an item must be of one of them.
            where: a condition on the items, see `Where`.
            candidates: item ids; nothing else is admitted.

        Raises:
            NotFoundError: a category, an attribute or a candidate is unknown.
            SettingsError: a mask of another length or type.
        """
        mask = self._available.copy()
        if categories is not None:
            mask &= self._in(categories)
        if where is not None:
            mask &= _condition(self.items, where)
        if candidates is not None:
            listed = np.zeros(len(mask), dtype=bool)
            listed[rows_of(self._index, candidates, "item")] = True
            mask &= listed
        return mask

    def _in(self, categories: Sequence[str]) -> np.ndarray:
        if isinstance(categories, str):
            raise SettingsError(f"give a list of categories, not the single string '{categories}'")
        codes, names = self._coded
        known = names.tolist()
        wanted = np.zeros(len(known), dtype=bool)
        for category in categories:
            if category not in known:
                hint = nearest_name(category, known) or f"; the categories are: {', '.join(sorted(known)[:20])}"
                raise NotFoundError(f"there is no category '{category}'{hint}")
            wanted[known.index(category)] = True
        return wanted[codes]


def _condition(items: pd.DataFrame, where: Where) -> np.ndarray:
    if isinstance(where, Mapping):
        mask = np.ones(len(items), dtype=bool)
        for name, value in where.items():
            if name not in items:
                raise NotFoundError(f"items have no attribute '{name}'{nearest_name(name, map(str, items.columns))}")
            values = list(value) if isinstance(value, (list, tuple, set, frozenset, np.ndarray)) else [value]
            column = items[name]
            # Compared as text as well: what comes from a command line or a URL is a string.
            mask &= (column.isin(values) | column.astype(str).isin([str(one) for one in values])).to_numpy()
        return mask
    mask = np.asarray(where(items) if callable(where) else where)
    if mask.shape != (len(items),) or mask.dtype != bool:
        raise SettingsError(
            f"a filter must give bool [{len(items)}], one value an item, not {mask.dtype} {list(mask.shape)}"
        )
    return mask
