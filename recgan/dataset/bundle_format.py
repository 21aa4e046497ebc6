"""What a dataset bundle is made of: its header, its parts and their columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

__all__ = [
    "HEADER",
    "IMAGE_SCHEMA",
    "INTERACTION_COLUMNS",
    "QUARANTINE_COLUMNS",
    "ROW_GROUP",
    "SCHEMA_VERSION",
    "BundleHeader",
]

HEADER = "dataset.json"
SCHEMA_VERSION = 1
ROW_GROUP = 64
"""Images in a row group, at most: what is read to get at one of them."""
QUARANTINE_COLUMNS = ["kind", "id", "reason", "detail", "where"]
INTERACTION_COLUMNS = ["user_id", "item_id", "timestamp", "event", "weight"]
IMAGE_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("position", pa.int16()),
        ("role", pa.string()),
        ("sha256", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ]
)


class BundleHeader(BaseModel):
    """What ``dataset.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    name: str
    licence: str
    source: str
    counts: dict[str, int]
    quarantined: dict[str, int]
    pseudo_users: bool = False
    """Users are items (a seed article stands for a user): see `recgan.dataset.split`."""
    facts: dict[str, Any] = {}
    parts: dict[str, str]
