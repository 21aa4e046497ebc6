"""The models that have been served here, and which of them serves now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from recgan.errors import NotFoundError
from service.store.counters import count_up
from service.store.database import Database
from service.store.tables import activations, models
from service.store.types import now

__all__ = ["REVISION", "ModelTable", "StoredModel"]

REVISION = "models"


@dataclass(frozen=True)
class StoredModel:
    """A set of artifacts that belong together."""

    id: str
    data: str
    recommender: str
    gan: str | None
    version: Mapping[str, Any]
    """The digests of the three."""
    facts: Mapping[str, Any]
    """What it is: the kinds, how many users and items."""
    metrics: Mapping[str, Any]
    """How good it was at its training."""
    source: str
    """``given`` on the command line, or ``retrain``."""
    registered_at: datetime


class ModelTable:
    """Models, and the log of activations: the last one says what serves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, model: StoredModel, *, activate: str | None = None) -> bool:
        """Note a model; return whether it is new. A new one is activated at once if ``activate`` says why."""
        values = {name: getattr(model, name) for name in StoredModel.__dataclass_fields__}
        with self._database.writing() as connection:
            insertion = self._database.upsert(models).values(values).on_conflict_do_nothing().returning(models.c.id)
            new = connection.execute(insertion).first() is not None
            if new and activate is not None:
                self._activate(connection, model.id, activate)
        return new

    def get(self, id: str) -> StoredModel:
        """Return a model.

        Raises:
            NotFoundError: there is no such model.
        """
        with self._database.reading() as connection:
            row = connection.execute(select(models).where(models.c.id == id)).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"there is no model '{id}'; GET /v1/models lists them")
        return StoredModel(**row)

    def all(self) -> list[StoredModel]:
        """Return all models, the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(models).order_by(models.c.registered_at.desc(), models.c.id)).mappings()
            return [StoredModel(**row) for row in rows]

    def active(self) -> str | None:
        """Return the id of the model that is to serve; None before the first."""
        with self._database.reading() as connection:
            return self._active(connection)

    def activate(self, id: str, reason: str) -> None:
        """Let a model serve from now on.

        Raises:
            NotFoundError: there is no such model.
        """
        self.get(id)
        with self._database.writing() as connection:
            self._activate(connection, id, reason)

    def previous(self) -> str | None:
        """Return the model that served before the one that is to serve now; None if there was none."""
        history = select(activations.c.model).order_by(activations.c.seq.desc())
        with self._database.reading() as connection:
            steps = list(connection.execute(history).scalars())
        return next((id for id in steps if id != steps[0]), None) if steps else None

    def history(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the last activations as ``model``, ``at``, ``reason``, the newest first."""
        statement = select(activations.c.model, activations.c.at, activations.c.reason)
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(activations.c.seq.desc()).limit(limit)).mappings()
            return [dict(row) for row in rows]

    def _active(self, connection: Connection) -> str | None:
        return connection.scalar(select(activations.c.model).order_by(activations.c.seq.desc()).limit(1))

    def _activate(self, connection: Connection, id: str, reason: str) -> None:
        count_up(self._database, connection, REVISION)
        if self._active(connection) != id:
            connection.execute(insert(activations).values(model=id, at=now(), reason=reason))
