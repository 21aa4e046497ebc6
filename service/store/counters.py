"""Numbers that count changes up, so that every process sees with one small look whether anything is new."""

from __future__ import annotations

from sqlalchemy import Connection, select

from service.store.database import Database
from service.store.tables import counters

__all__ = ["count_up", "revisions"]

_REVISIONS = select(counters.c.name, counters.c.value)


def count_up(database: Database, connection: Connection, name: str) -> int:
    """Return the next revision of ``name``. Its row stays locked until the transaction ends: revisions are seen in
    order, and none is seen before a smaller one."""
    statement = database.upsert(counters).values(name=name, value=1)
    statement = statement.on_conflict_do_update(
        index_elements=[counters.c.name], set_={"value": counters.c.value + 1}
    ).returning(counters.c.value)
    return int(connection.execute(statement).scalar_one())


def revisions(database: Database) -> dict[str, int]:
    """Return the revision of everything that has ever changed."""
    with database.reading() as connection:
        return {name: int(value) for name, value in connection.execute(_REVISIONS)}
