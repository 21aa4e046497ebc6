"""One database, SQLite or PostgreSQL: its connections, its transactions, its errors.

Transactions are of two kinds. `Database.reading` sees one state; `Database.writing` changes it. On SQLite a writer
takes the write lock when it begins, so two writers wait for each other at the start and never fail in the middle.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from recgan.errors import SettingsError, StorageError
from service.store.errors import StoreBusy, StoreUnavailable

__all__ = ["Database"]

BUSY_SECONDS = 10
_LOCKED = (
    "database is locked",
    "database table is locked",
    "locking protocol",
    "lock timeout",
    "deadlock detected",
)
_BROKEN = ("malformed", "not a database")
_FULL = ("database or disk is full", "disk full", "no space left on device", "could not extend file")


class Database:
    """The connections to one database.

    Args:
        url: ``sqlite:///file`` or ``postgresql://user@host/name``.
        connections: how many are kept open at most; as many again are opened under load.

    Raises:
        SettingsError: the URL is of neither kind.
    """

    def __init__(self, url: str, *, connections: int = 8) -> None:
        self.url = _parsed(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # What is written may be personal or secret: errors and logs show the statements without their values.
        options: dict[str, Any] = {
            "hide_parameters": True,
            "pool_size": connections,
            "max_overflow": connections,
            "pool_timeout": BUSY_SECONDS,
        }
        if not self.is_sqlite:
            options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": BUSY_SECONDS}}
        self.engine: Engine = create_engine(self.url, **options)
        self._writers = threading.Lock()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads.

        Raises:
            StoreBusy, StoreUnavailable: the database does not answer.
        """
        with _told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: all of it is kept, or nothing.

        Raises:
            StoreBusy, StoreUnavailable: the database does not answer.
            StorageError: it has no more room.
        """
        turn = self._turn() if self.is_sqlite else nullcontext()
        with _told(), turn, self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let writers of this process queue here, in order, rather than by SQLite's polling; and none for longer than
        the database itself is waited for."""
        if not self._writers.acquire(timeout=BUSY_SECONDS):
            raise StoreBusy(f"others of this process wrote to the store for longer than {BUSY_SECONDS} s")
        try:
            yield
        finally:
            self._writers.release()

    def lock(self, connection: Connection, number: int) -> None:
        """Keep others out of what ``number`` stands for until the transaction's end. (A SQLite writer is alone.)"""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(number)))

    def upsert(self, table: Any) -> Any:
        """Return an INSERT of this database that takes ``on_conflict_do_update``."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(
            "store: it is no database URL; give sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        if not Path(parsed.database).resolve().parent.is_dir():
            raise SettingsError(f"store: the folder of '{parsed.database}' does not exist; make it, or give another")
        return parsed.set(drivername="sqlite+pysqlite")
    raise SettingsError(f"store: '{backend}' is not supported; give sqlite:///FILE or postgresql://USER@HOST/NAME")


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say
    for pragma in (
        f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
        "journal_mode = WAL",
        "synchronous = FULL",  # what was acknowledged outlives a power cut too
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _told() -> Iterator[None]:
    """Tell the database's errors apart: busy, full, not there; a bug of ours stays what it is."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy(f"no connection to the store became free within {BUSY_SECONDS} s") from error
    except DBAPIError as error:
        told = str(error.orig).lower()
        if any(sign in told for sign in _LOCKED):
            raise StoreBusy(f"the store was locked for longer than {BUSY_SECONDS} s") from error
        if any(sign in told for sign in _FULL):
            raise StorageError("the store has no room left: free some space") from error
        if type(error.orig).__name__ in ("OperationalError", "InterfaceError") or any(sign in told for sign in _BROKEN):
            raise StoreUnavailable(f"the store does not answer: {error.orig}") from error
        raise


def alive(database: Database) -> bool:
    """Return whether the database answers."""
    try:
        with database.reading() as connection:
            connection.execute(text("SELECT 1"))
    except (StoreUnavailable, StorageError):
        return False
    return True
