"""Items that were changed since the bundle was made, and new ones, with their pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, exists, select

from service.store.counters import count_up
from service.store.database import Database
from service.store.tables import items, picture_features, pictures
from service.store.types import now

__all__ = ["REVISION", "ItemTable", "Picture", "StoredItem"]

REVISION = "items"
_CHUNK = 500
"""Values of one ``IN (…)``."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Its name in the store."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class StoredItem:
    """An item as it is to be from now on, whatever the bundle says."""

    item_id: str
    category: str
    available: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)
    picture: str | None = None
    """Digest of its picture; None: the bundle's, if the bundle has the item."""
    deleted: bool = False
    seq: int = 0
    """Its place among the stored items; 0 before it is stored."""
    revision: int = 0


Change = Callable[[StoredItem | None], StoredItem]
"""Makes of an item as it is stored (None: not yet) what it is to be."""


class ItemTable:
    """What the store knows of items."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changed_since(self, revision: int) -> list[StoredItem]:
        """Return the items of later revisions, in the order of the changes."""
        statement = select(*_columns()).where(items.c.revision > revision).order_by(items.c.revision, items.c.seq)
        with self._database.reading() as connection:
            return [StoredItem(**row) for row in connection.execute(statement).mappings()]

    def change(self, changes: Mapping[str, Change], new_pictures: Sequence[Picture] = ()) -> list[StoredItem]:
        """Change items by id, all or none, and return them as they are now.

        A change sees what is stored at that moment, so two that run together both count.
        """
        with self._database.writing() as connection:
            revision = count_up(self._database, connection, REVISION)
            for picture in {picture.digest: picture for picture in new_pictures}.values():
                statement = self._database.upsert(pictures).values(
                    digest=picture.digest, media_type=picture.media_type, data=picture.data
                )
                connection.execute(statement.on_conflict_do_nothing())
            before = _by_id(connection, list(changes))
            changed = {
                item_id: replace(change(before.get(item_id)), item_id=item_id, revision=revision)
                for item_id, change in changes.items()
            }
            for item in changed.values():
                values = {**asdict(item), "attributes": dict(item.attributes), "updated_at": now()}
                del values["seq"]
                upsert = self._database.upsert(items).values(values)
                connection.execute(upsert.on_conflict_do_update(index_elements=[items.c.item_id], set_=values))
            _drop_unused(connection, {item.picture for item in before.values() if item.picture})
            after = _by_id(connection, list(changes))
        return [after[item_id] for item_id in changes]

    def picture(self, digest: str) -> Picture | None:
        """Return a picture."""
        statement = select(pictures.c.data, pictures.c.media_type).where(pictures.c.digest == digest)
        with self._database.reading() as connection:
            row = connection.execute(statement).one_or_none()
        return Picture(bytes(row.data), row.media_type) if row else None

    def pictures(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of pictures by digest; those that are not there are left out."""
        found: dict[str, bytes] = {}
        with self._database.reading() as connection:
            for chunk in _chunks(digests):
                statement = select(pictures.c.digest, pictures.c.data).where(pictures.c.digest.in_(chunk))
                found |= {row.digest: bytes(row.data) for row in connection.execute(statement)}
        return found

    def features(self, digests: Sequence[str], eye: str) -> dict[str, np.ndarray]:
        """Return what an eye has seen in pictures, float32 [width] by digest; what it has not seen yet is left out."""
        found: dict[str, np.ndarray] = {}
        with self._database.reading() as connection:
            for chunk in _chunks(digests):
                statement = select(picture_features.c.digest, picture_features.c.data).where(
                    picture_features.c.eye == eye, picture_features.c.digest.in_(chunk)
                )
                found |= {
                    row.digest: np.frombuffer(row.data, dtype="<f4").copy() for row in connection.execute(statement)
                }
        return found

    def keep_features(self, eye: str, seen: Mapping[str, np.ndarray]) -> None:
        """Keep what an eye has seen in pictures, float32 [width] by digest."""
        rows = [
            {"digest": digest, "eye": eye, "data": np.asarray(values, dtype="<f4").tobytes()}
            for digest, values in seen.items()
        ]
        if not rows:
            return
        with self._database.writing() as connection:
            connection.execute(self._database.upsert(picture_features).on_conflict_do_nothing(), rows)


def _columns() -> list[Any]:
    return [column for column in items.columns if column.name != "updated_at"]


def _by_id(connection: Connection, item_ids: Sequence[str]) -> dict[str, StoredItem]:
    found: dict[str, StoredItem] = {}
    for chunk in _chunks(item_ids):
        rows = connection.execute(select(*_columns()).where(items.c.item_id.in_(chunk))).mappings()
        found |= {row["item_id"]: StoredItem(**row) for row in rows}
    return found


def _drop_unused(connection: Connection, digests: set[str]) -> None:
    for chunk in _chunks(sorted(digests)):
        used = exists(select(items.c.seq).where(items.c.picture == pictures.c.digest))
        connection.execute(delete(pictures).where(pictures.c.digest.in_(chunk), ~used))
        used = exists(select(pictures.c.digest).where(pictures.c.digest == picture_features.c.digest))
        connection.execute(delete(picture_features).where(picture_features.c.digest.in_(chunk), ~used))


def _chunks(values: Sequence[str]) -> list[list[str]]:
    return [list(values[start : start + _CHUNK]) for start in range(0, len(values), _CHUNK)]
