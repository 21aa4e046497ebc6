"""The tables of a bundle, brought into the form in which they are stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from recgan.dataset.bundle_format import INTERACTION_COLUMNS
from recgan.errors import DataError

__all__ = ["BASE_INTERACTIONS", "clean_interactions", "clean_items", "interaction_schema", "string_array"]

BASE_INTERACTIONS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("event", pa.string()),
        ("weight", pa.float32()),
    ]
)
"""The columns that all interactions have."""


def clean_items(items: pd.DataFrame) -> pd.DataFrame:
    """Return items with ``item_id``, ``category`` and ``available`` (default true) first, ids and categories as str.

    Raises:
        DataError: no items, a column missing, a duplicate, missing or empty id, an empty category, or an
            ``available`` that is not boolean.
    """
    for column in ("item_id", "category"):
        if column not in items:
            raise DataError(f"the items have no column '{column}'")
    if items.empty:
        raise DataError("no usable item is left; nothing to import")
    items = items.reset_index(drop=True).copy()
    if "available" not in items:
        items["available"] = True
    for column in ("item_id", "category"):
        items[column] = _text(items[column], f"an item has an empty {column}")
    if items["item_id"].duplicated().any():
        twice = items.loc[items["item_id"].duplicated(), "item_id"].iloc[0]
        raise DataError(f"item id '{twice}' is there twice")
    # astype(bool) would make the text "False" true.
    items["available"] = items["available"].infer_objects()
    if not pd.api.types.is_bool_dtype(items["available"]):
        raise DataError("the items' column 'available' must be boolean")
    items["available"] = items["available"].astype(bool)
    first = ["item_id", "category", "available"]
    return items[first + [column for column in items if column not in first]]


def clean_interactions(interactions: pd.DataFrame) -> pd.DataFrame:
    """Return interactions with all of `INTERACTION_COLUMNS` first, times in UTC without a zone, and further columns as
    they are.

    Raises:
        DataError: an id is missing.
    """
    frame = pd.DataFrame(index=pd.RangeIndex(len(interactions)))
    given = interactions.reset_index(drop=True)
    for column in ("user_id", "item_id"):
        frame[column] = _text(given[column], f"an interaction has an empty {column}")
    times = pd.to_datetime(given["timestamp"], utc=True) if "timestamp" in given else None
    frame["timestamp"] = pd.NaT if times is None else times.dt.tz_localize(None)
    frame["timestamp"] = frame["timestamp"].astype("datetime64[us]")
    frame["event"] = given["event"].astype(str) if "event" in given else "interaction"
    frame["weight"] = given["weight"].astype(np.float32) if "weight" in given else np.float32(1)
    for column in map(str, given.columns):
        if column not in INTERACTION_COLUMNS:
            frame[column] = given[column]
    return frame


def _text(column: pd.Series, complaint: str) -> pd.Series:
    """Return a column as str objects; a missing or empty value is refused (str(nan) would make it an id)."""
    empty = column.isna()
    column = column.astype(object).where(~empty, "").astype(str).astype(object)
    if (column == "").any():
        raise DataError(complaint)
    return column


def interaction_schema(frame: pd.DataFrame) -> pa.Schema:
    """Return the schema of cleaned interactions, by which later ones are stored as well."""
    further = frame.drop(columns=INTERACTION_COLUMNS)
    return pa.unify_schemas([BASE_INTERACTIONS, pa.Schema.from_pandas(further, preserve_index=False).remove_metadata()])


def string_array(texts: Sequence[str]) -> pa.Array:
    """Return texts as a column, whatever characters they hold."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:  # a file name may carry bytes that are no text
        return pa.array([text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.string())
