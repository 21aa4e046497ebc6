"""API keys: only their hashes are kept. And how many requests each has made this minute."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import delete, insert, select, update

from recgan.errors import NotFoundError
from service.store.counters import count_up
from service.store.database import Database
from service.store.tables import api_keys, rate_counts
from service.store.types import now

__all__ = ["REVISION", "ApiKey", "KeyTable", "RateTable", "Scope"]

REVISION = "keys"
_PREFIX = "rg"
_NOBODY = hashlib.sha256(b"").hexdigest()


class Scope(StrEnum):
    """What a key may do; each scope includes those before it."""

    read = "read"
    write = "write"
    admin = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key, without its secret."""

    id: str
    name: str
    scope: Scope
    per_minute: int | None
    """Requests that it may make in a minute; None: as many as the service's settings allow."""
    created_at: datetime
    revoked_at: datetime | None

    def may(self, scope: Scope) -> bool:
        """Return whether its scope includes another."""
        order = list(Scope)
        return order.index(self.scope) >= order.index(scope)


class KeyTable:
    """The keys.

    A key reads ``rg_<id>_<secret>``. The secret has 256 random bits, so one round of SHA-256 keeps it: there is nothing
    to guess.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scope: Scope, per_minute: int | None = None) -> tuple[ApiKey, str]:
        """Make a key, and return it with its text, which is told this once and never again."""
        id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        key = ApiKey(id, name, scope, per_minute, now(), None)
        with self._database.writing() as connection:
            connection.execute(
                insert(api_keys).values(
                    id=id,
                    name=name,
                    hash=_hash(secret),
                    scope=scope.value,
                    per_minute=per_minute,
                    created_at=key.created_at,
                )
            )
        return key, f"{_PREFIX}_{id}_{secret}"

    def find(self, text: str) -> ApiKey | None:
        """Return the key that ``text`` is; None for one that never was or is revoked."""
        prefix, _, rest = text.partition("_")
        id, _, secret = rest.partition("_")
        if prefix != _PREFIX or not id.isalnum() or not id.isascii():
            id = ""
        with self._database.reading() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == id)).one_or_none()
        # Compared in constant time, and also when there is no such key.
        right = hmac.compare_digest(_hash(secret), row.hash if row else _NOBODY)
        if row is None or not right or row.revoked_at is not None:
            return None
        return _key(row)

    def all(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first."""
        with self._database.reading() as connection:
            return [_key(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.created_at))]

    def revoke(self, id: str) -> None:
        """Make a key worthless.

        Raises:
            NotFoundError: there is no such key.
        """
        with self._database.writing() as connection:
            statement = update(api_keys).where(api_keys.c.id == id, api_keys.c.revoked_at.is_(None))
            if not connection.execute(statement.values(revoked_at=now())).rowcount:
                raise NotFoundError(f"there is no key '{id}' in use; list them")
            count_up(self._database, connection, REVISION)


class RateTable:
    """How many requests each owner has made, minute by minute, counted over all processes.

    A process takes requests from the store some at a time, so that not every request writes; what it has taken and not
    used by the end of the minute is lost. So never more are let through than allowed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, owner: str, minute: int, wanted: int, limit: int) -> int:
        """Return how many of ``wanted`` requests the owner may still make in this minute, and count them as made."""
        with self._database.writing() as connection:
            connection.execute(delete(rate_counts).where(rate_counts.c.minute < minute - 1))
            start = self._database.upsert(rate_counts).values(owner=owner, minute=minute, taken=0)
            connection.execute(start.on_conflict_do_nothing())
            count = select(rate_counts.c.taken).where(rate_counts.c.owner == owner, rate_counts.c.minute == minute)
            count = count if self._database.is_sqlite else count.with_for_update()
            taken = connection.execute(count).scalar_one()
            granted = max(0, min(wanted, limit - taken))
            statement = update(rate_counts).where(rate_counts.c.owner == owner, rate_counts.c.minute == minute)
            connection.execute(statement.values(taken=taken + granted))
        return granted


def this_minute() -> tuple[int, int]:
    """Return the number of this minute, and the seconds that are left of it (at least 1)."""
    seconds = int(time.time())
    return seconds // 60, 60 - seconds % 60


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: object) -> ApiKey:
    values = {name: getattr(row, name) for name in ("id", "name", "per_minute", "created_at", "revoked_at")}
    return ApiKey(scope=Scope(row.scope), **values)  # type: ignore[attr-defined]
