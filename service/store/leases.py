"""The queue of design jobs, as workers see it.

A worker *claims* a job and holds it by a *lease*, which it renews. A lease that lapses means that the worker is gone:
its job is then `interrupted`, and may be tried again. Whatever a worker writes, it writes only to a job that it still
holds, so that one that was taken for dead cannot disturb the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from service.store.database import Database
from service.store.job import PICTURE, QUEUE_LOCK, Job, JobState, end, held, job_of, note
from service.store.tables import designs, jobs
from service.store.types import now

__all__ = ["LeaseTable"]


class LeaseTable:
    """The jobs that run, and who runs them.

    Args:
        database: where the queue is.
        keep_seconds: how long a finished job is kept, unless a design of it is starred or approved.
        lease_seconds: how long a worker may be silent.
    """

    def __init__(self, database: Database, *, keep_seconds: float = 3600, lease_seconds: float = 15) -> None:
        self._database = database
        self._keep = timedelta(seconds=keep_seconds)
        self.duration = timedelta(seconds=lease_seconds)

    def claim(self, worker: str) -> Job | None:
        """Take the next job: of the owner whose last turn is longest ago, the oldest. No two workers get the same."""
        turns = select(jobs.c.owner, func.max(jobs.c.started_at).label("last")).group_by(jobs.c.owner).subquery()
        following = (
            select(jobs.c.seq)
            .join(turns, turns.c.owner == jobs.c.owner)
            .where(jobs.c.state == JobState.queued)
            .order_by(turns.c.last.asc().nulls_first(), jobs.c.seq)
            .limit(1)
        )
        with self._database.reading() as connection:
            if connection.scalar(following) is None:
                return None
        with self._database.writing() as connection:
            # One claim at a time: whose turn it is depends on the claim before.
            self._database.lock(connection, QUEUE_LOCK)
            seq = connection.scalar(following)
            if seq is None:
                return None
            started = now()
            row = connection.execute(
                update(jobs)
                .where(jobs.c.seq == seq)
                .values(state=JobState.running, started_at=started, worker=worker, lease_until=started + self.duration)
                .returning(jobs)
            ).one()
            note(connection, row.seq, "state", {"state": JobState.running})
            return job_of(row)

    def wanted(self, job: Job) -> bool:
        """Return whether a running job is still this worker's, and nobody has cancelled it."""
        statement = select(jobs.c.cancel_requested).where(held(job))
        with self._database.reading() as connection:
            return connection.scalar(statement) is False

    def renew(self, job: Job) -> bool:
        """Renew the lease of a running job; return whether it is still held."""
        with self._database.writing() as connection:
            statement = update(jobs).where(held(job)).values(lease_until=now() + self.duration)
            return bool(connection.execute(statement).rowcount)

    def report(self, job: Job, progress: Mapping[str, Any]) -> bool:
        """Write how far a running job is; return whether it is still held and wanted."""
        with self._database.writing() as connection:
            statement = update(jobs).where(held(job))
            statement = statement.values(progress=dict(progress), lease_until=now() + self.duration)
            row = connection.execute(statement.returning(jobs.c.cancel_requested)).one_or_none()
            if row is None:
                return False
            note(connection, job.seq, "progress", progress)
            return not row.cancel_requested

    def show(self, job: Job, picture: Mapping[str, Any]) -> None:
        """Add to a running job's events a picture of what it is making; it goes when the job ends."""
        with self._database.writing() as connection:
            renewed = update(jobs).where(held(job)).values(lease_until=now() + self.duration)
            if connection.execute(renewed).rowcount:
                note(connection, job.seq, PICTURE, picture)

    def finish(
        self,
        job: Job,
        state: JobState,
        *,
        results: list[dict[str, Any]] | None = None,
        model: Mapping[str, Any] | None = None,
        failure: Mapping[str, Any] | None = None,
    ) -> Job | None:
        """End a running job, with all its results or none; None when it is held no longer, and nothing is written."""
        with self._database.writing() as connection:
            mine = select(jobs.c.cancel_requested).where(held(job))
            mine = mine if self._database.is_sqlite else mine.with_for_update()
            cancelled = connection.scalar(mine)
            if cancelled is None:
                return None
            if cancelled:
                return end(connection, job.seq, JobState.cancelled, self._keep)
            if results:
                connection.execute(
                    insert(designs),
                    [{"job": job.seq, "place": place, "starred": False, **one} for place, one in enumerate(results)],
                )
            values = {"model": None if model is None else dict(model), "failure": failure and dict(failure)}
            return end(connection, job.seq, state, self._keep, **values)

    def interrupt(self, worker: str | None = None) -> int:
        """Mark as interrupted the running jobs whose lease has lapsed, or all of one worker; return how many."""
        gone = jobs.c.worker == worker if worker is not None else jobs.c.lease_until <= now()
        lapsed = select(jobs.c.seq).where(jobs.c.state == JobState.running, gone)
        with self._database.reading() as connection:
            if connection.execute(lapsed.limit(1)).first() is None:
                return 0
        with self._database.writing() as connection:
            if not self._database.is_sqlite:
                lapsed = lapsed.with_for_update(skip_locked=True)
            found = list(connection.execute(lapsed).scalars())
            for seq in found:
                end(connection, seq, JobState.interrupted, self._keep)
        return len(found)
