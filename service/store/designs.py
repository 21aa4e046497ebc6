"""The designs that finished jobs have made, and what people think of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import exists, insert, select, update

from service.store.database import Database
from service.store.job import Job
from service.store.tables import designs, jobs, opinions
from service.store.types import now

__all__ = ["DesignTable", "Opinion", "StoredDesign"]

_KEPT = ("approved",)


@dataclass(frozen=True)
class StoredDesign:
    """One design, without its picture."""

    place: int
    etag: str
    category: str
    facts: Mapping[str, Any]
    """seed, score, percentile, realism, nearest and settings."""
    starred: bool
    verdict: str | None
    """``approved``, ``rejected``, or nothing said."""


@dataclass(frozen=True)
class Opinion:
    """What was said of a design, and when."""

    job_id: str
    place: int
    opinion: str
    at: datetime


class DesignTable:
    """Designs by job and place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, wanted: list[Job]) -> dict[int, list[StoredDesign]]:
        """Return the designs of some jobs, best first, by the job's ``seq``."""
        columns = [column for column in designs.columns if column.name not in ("png", "latent")]
        statement = select(*columns).where(designs.c.job.in_([job.seq for job in wanted]))
        found: dict[int, list[StoredDesign]] = {job.seq: [] for job in wanted}
        with self._database.reading() as connection:
            for row in connection.execute(statement.order_by(designs.c.job, designs.c.place)).mappings():
                values = dict(row)
                found[values.pop("job")].append(StoredDesign(**values))
        return found

    def png(self, job: Job, place: int) -> tuple[bytes, str] | None:
        """Return a design's picture and its entity tag."""
        statement = select(designs.c.png, designs.c.etag).where(designs.c.job == job.seq, designs.c.place == place)
        with self._database.reading() as connection:
            row = connection.execute(statement).one_or_none()
        return (bytes(row.png), row.etag) if row else None

    def latent(self, job: Job, place: int) -> np.ndarray | None:
        """Return where a design lies in its generator's space, float32 [dz]; None if that was not kept."""
        statement = select(designs.c.latent).where(designs.c.job == job.seq, designs.c.place == place)
        with self._database.reading() as connection:
            data = connection.scalar(statement)
        return None if data is None else np.frombuffer(data, dtype="<f4").astype(np.float32)

    def say(self, job: Job, place: int, opinion: str, *, keep: datetime) -> bool:
        """Note what is thought of a design: ``starred``, ``unstarred``, ``approved``, ``rejected``, ``undecided``.

        A job with a starred or approved design is kept for good, any other until ``keep``. Return whether there is
        such a design.
        """
        if opinion in ("starred", "unstarred"):
            values: dict[str, Any] = {"starred": opinion == "starred"}
        else:
            values = {"verdict": None if opinion == "undecided" else opinion}
        with self._database.writing() as connection:
            statement = update(designs).where(designs.c.job == job.seq, designs.c.place == place).values(values)
            if not connection.execute(statement).rowcount:
                return False
            connection.execute(
                insert(opinions).values(user_id=job.user_id, job_id=job.id, place=place, opinion=opinion, at=now())
            )
            valued = exists().where(designs.c.job == job.seq, designs.c.starred | designs.c.verdict.in_(_KEPT))
            kept = None if connection.scalar(select(valued)) else keep
            connection.execute(update(jobs).where(jobs.c.seq == job.seq).values(kept_until=kept))
        return True

    def opinions_of(self, user_id: str) -> list[Opinion]:
        """Return all that was said of designs for a user."""
        statement = select(opinions.c.job_id, opinions.c.place, opinions.c.opinion, opinions.c.at)
        with self._database.reading() as connection:
            rows = connection.execute(statement.where(opinions.c.user_id == user_id).order_by(opinions.c.id))
            return [Opinion(**row) for row in rows.mappings()]
