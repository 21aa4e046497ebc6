"""Which workers live: each tells so, from time to time."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select

from service.store.database import Database
from service.store.tables import workers
from service.store.types import now

__all__ = ["WorkerTable"]


class WorkerTable:
    """The design workers of all processes and replicas."""

    def __init__(self, database: Database, *, silent_seconds: float = 15) -> None:
        self._database = database
        self._silent = timedelta(seconds=silent_seconds)

    def seen(self, name: str, device: str, seconds_a_job: float) -> None:
        """Note that a worker lives, and how long a job takes it; forget those that have been silent for long."""
        values = {"name": name, "device": device, "seconds_a_job": seconds_a_job, "seen_at": now()}
        statement = self._database.upsert(workers).values(values)
        with self._database.writing() as connection:
            connection.execute(delete(workers).where(workers.c.seen_at < now() - 10 * self._silent))
            connection.execute(statement.on_conflict_do_update(index_elements=[workers.c.name], set_=values))

    def gone(self, name: str) -> None:
        """Note that a worker has ended."""
        with self._database.writing() as connection:
            connection.execute(delete(workers).where(workers.c.name == name))

    def living(self) -> int:
        """Return how many workers have told of themselves lately."""
        statement = select(func.count()).where(workers.c.seen_at > now() - self._silent)
        with self._database.reading() as connection:
            return int(connection.scalar(statement) or 0)

    def seconds_a_job(self) -> float:
        """Return how long a job takes, spread over the workers that live; 5 before any is known."""
        statement = select(func.avg(workers.c.seconds_a_job), func.count())
        statement = statement.where(workers.c.seen_at > now() - self._silent)
        with self._database.reading() as connection:
            mean, count = connection.execute(statement).one()
        return float(mean) / count if count else 5.0
