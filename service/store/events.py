"""What users did, as it was told to the service, and who wants to be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Text, bindparam, delete, exists, func, insert, literal, select, union_all

from service.store.counters import count_up
from service.store.database import Database
from service.store.job import in_cohorts
from service.store.tables import event_batches, events, forgotten, jobs, opinions
from service.store.types import now

__all__ = ["REVISION", "BatchConflict", "Event", "EventTable", "UserHistory"]

REVISION = "events"
BATCHES_KEPT = timedelta(hours=24)
NEWEST = 5000
"""Events of one user that count; older ones are kept, and learned from by the next training."""


@dataclass(frozen=True)
class Event:
    """One thing that a user did with an item."""

    user_id: str
    item_id: str
    event: str
    weight: float
    happened_at: datetime
    id: int = 0
    """Its place in the log; 0 before it is there."""


@dataclass(frozen=True)
class UserHistory:
    """What the store knows of a user."""

    events: tuple[Event, ...]
    """In the order they were told, the newest 5,000."""
    forgotten: bool
    """Whether what the model knows of the user is not to be used."""


class BatchConflict(Exception):
    """The idempotency key was used for another batch."""


class EventTable:
    """The log of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, batch: Sequence[Event], *, owner: str = "", key: str | None = None, fingerprint: str = ""
    ) -> dict[str, Any]:
        """Write events to the log, all or none, and return ``{"accepted": n, "first": id, "last": id}``.

        The same ``key`` of the same owner within 24 hours writes nothing and returns the first answer; ``fingerprint``
        tells whether it came with the same events.

        Raises:
            BatchConflict: the key came with other events before.
        """
        received = now()
        with self._database.writing() as connection:
            if key is not None:
                connection.execute(delete(event_batches).where(event_batches.c.received_at < received - BATCHES_KEPT))
                claim = self._database.upsert(event_batches).values(
                    owner=owner, key=key, fingerprint=fingerprint, answer={}, received_at=received
                )
                claim = claim.on_conflict_do_nothing().returning(event_batches.c.key)
                if connection.execute(claim).first() is None:
                    earlier = connection.execute(select(event_batches).filter_by(owner=owner, key=key)).one()
                    if earlier.fingerprint != fingerprint:
                        raise BatchConflict
                    return dict(earlier.answer)
            # Ids are given out in the order of commits: who reads up to one has missed none before it.
            count_up(self._database, connection, REVISION)
            rows = [{**asdict(event), "received_at": received} for event in batch]
            for row in rows:
                del row["id"]
            ids = connection.execute(
                insert(events).returning(events.c.id, sort_by_parameter_order=True), rows
            ).scalars()
            written = list(ids)
            answer = {"accepted": len(written), "first": written[0], "last": written[-1]}
            if key is not None:
                statement = event_batches.update().values(answer=answer)
                connection.execute(statement.where(event_batches.c.owner == owner, event_batches.c.key == key))
        return answer

    def history(self, user_id: str) -> UserHistory:
        """Return what the store knows of a user."""
        with self._database.reading() as connection:
            found = [Event(**row) for row in connection.execute(_HISTORY, {"user": user_id}).mappings()]
            gone = connection.execute(_FORGOTTEN, {"user": user_id}).first() is not None
        return UserHistory(tuple(reversed(found)), gone)

    def newest(self, user_ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        """Return for each user of whom the store knows anything the id of the newest event, 0 without any, and whether
        the user is forgotten."""
        named = {f"user_{place}": user_id for place, user_id in enumerate(user_ids)}
        with self._database.reading() as connection:
            rows = connection.execute(_newest(len(named)), named).all() if named else []
        return {user_ids[place]: (newest or 0, bool(gone)) for place, newest, gone in rows if newest or gone}

    def read(self, after: int = 0, chunk: int = 10_000) -> Iterator[list[Event]]:
        """Yield the whole log after an id, a chunk at a time."""
        while True:
            statement = select(*_columns()).where(events.c.id > after).order_by(events.c.id).limit(chunk)
            with self._database.reading() as connection:
                found = [Event(**row) for row in connection.execute(statement).mappings()]
            if not found:
                return
            yield found
            after = found[-1].id

    def forgotten(self) -> set[str]:
        """Return the users whom no training may use from a bundle."""
        with self._database.reading() as connection:
            return set(connection.execute(select(forgotten.c.user_id)).scalars())

    def forget(self, user_id: str) -> None:
        """Delete all that is held of a user, and remember not to use what the model has learned of them."""
        with self._database.writing() as connection:
            for table in (events, jobs, opinions):
                connection.execute(delete(table).where(table.c.user_id == user_id))
            connection.execute(delete(jobs).where(jobs.c.seq.in_(in_cohorts(connection, user_id))))
            note = self._database.upsert(forgotten).values(user_id=user_id, at=now())
            connection.execute(note.on_conflict_do_nothing())

    def export(self, user_id: str, each: Callable[[Event], Any]) -> list[Any]:
        """Return all events of a user, ``each`` as it is to be shown."""
        statement = select(*_columns()).where(events.c.user_id == user_id).order_by(events.c.id)
        with self._database.reading() as connection:
            return [each(Event(**row)) for row in connection.execute(statement).mappings()]


def _columns() -> list[Any]:
    return [column for column in events.columns if column.name != "received_at"]


# Made once: to make a statement takes longer than to execute it.
_HISTORY = select(*_columns()).where(events.c.user_id == bindparam("user")).order_by(events.c.id.desc()).limit(NEWEST)
_FORGOTTEN = select(forgotten.c.user_id).where(forgotten.c.user_id == bindparam("user"))


@cache
def _newest(count: int) -> Any:
    """Return a statement of so many users: for each place the newest event's id, and whether the user is forgotten. An
    index knows either at once, however much a user has done."""
    parts = []
    for place in range(count):
        user: BindParameter[str] = bindparam(f"user_{place}", type_=Text)
        newest = select(func.max(events.c.id)).where(events.c.user_id == user).scalar_subquery()
        gone = exists().where(forgotten.c.user_id == user)
        parts.append(select(literal(place), newest, gone))
    return union_all(*parts) if count > 1 else parts[0]
