"""Column types that are the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer
from sqlalchemy.types import TypeDecorator

__all__ = ["Instant", "Json", "Key", "now"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Json = JSON(none_as_null=True)
Key = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database counts up; SQLite counts only columns of its INTEGER."""


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Instant(TypeDecorator[datetime]):
    """A point of time as microseconds since 1970: it compares and sorts alike everywhere, and no zone is lost."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """Return the number that is stored."""
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        """Return the time, in UTC."""
        return None if value is None else EPOCH + timedelta(microseconds=value)
