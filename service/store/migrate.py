"""Bring a database to the tables of this version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from service.store.database import Database
from service.store.errors import StoreUnavailable

__all__ = ["migrate", "migrations"]

_LOCK = 0x72656367
"""What processes that start together on one PostgreSQL wait for; any number of our own does."""


def migrations() -> Config:
    """Return alembic's settings for our migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(database: Database) -> None:
    """Run the migrations that the database lacks, in one transaction; several processes may do so at once.

    Raises:
        StoreUnavailable: it does not answer, or was made by a newer version.
    """
    config = migrations()
    with database.writing() as connection:
        database.lock(connection, _LOCK)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreUnavailable(
                f"the store cannot be brought to this version ({error}); it may be of a newer one"
            ) from error
