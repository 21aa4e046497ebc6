"""The queue of design jobs, as clients see it: it outlives the process, and several services may share it.

What workers do with it is in `service.store.leases`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update

from service.store.database import Database
from service.store.job import (
    QUEUE_LOCK,
    UNFINISHED,
    Job,
    JobConflict,
    JobEvent,
    JobState,
    QueueFull,
    end,
    in_cohorts,
    job_of,
    note,
)
from service.store.tables import designs, job_events, jobs
from service.store.types import now

__all__ = ["JobTable"]


class JobTable:
    """The queue.

    Args:
        database: where it is.
        keep_seconds: how long a finished job is kept, unless a design of it is starred or approved.
    """

    def __init__(self, database: Database, *, keep_seconds: float = 3600) -> None:
        self._database = database
        self.keep = timedelta(seconds=keep_seconds)

    def submit(
        self,
        request: Mapping[str, Any],
        *,
        id: str | None = None,
        asked: str | None = None,
        owner: str = "",
        user_id: str | None = None,
        bound: int,
        share: int | None = None,
    ) -> Job:
        """Put a request into the queue; one of an ``id`` that is there already is returned as it is.

        Args:
            request: JSON values.
            id: the client's; None draws one.
            asked: fingerprint of what the client sent, of which ``request`` was made.
            owner: whose turn it takes.
            user_id: whose data it is.
            bound: how many jobs may wait.
            share: how many of one owner may wait.

        Raises:
            QueueFull: as many wait as may.
            JobConflict: the id came with another request, or from another owner.
        """
        id = id or uuid.uuid4().hex
        with self._database.writing() as connection:
            self._database.lock(connection, QUEUE_LOCK)
            if (found := self._find(connection, id)) is not None:
                if found.owner != owner or dict(found.request) != dict(request):
                    raise JobConflict(id)
                return found
            self._delete_expired(connection, id)
            self._check_room(connection, owner, bound, share)
            row = connection.execute(
                insert(jobs)
                .values(
                    id=id,
                    owner=owner,
                    user_id=user_id,
                    request=dict(request),
                    asked=asked,
                    state=JobState.queued,
                    attempt=1,
                    cancel_requested=False,
                    submitted_at=now(),
                )
                .returning(jobs)
            ).one()
            note(connection, row.seq, "state", {"state": JobState.queued})
            return job_of(row)

    def get(self, id: str) -> Job | None:
        """Return a job as it is now; None if there is none, or it is kept no longer."""
        with self._database.reading() as connection:
            return self._find(connection, id)

    def page(
        self, *, before: int | None, limit: int, user_id: str | None = None, state: str | None = None, starred: bool
    ) -> list[Job]:
        """Return jobs, the newest first, from before a ``seq`` on."""
        statement = select(jobs).where(or_(jobs.c.kept_until.is_(None), jobs.c.kept_until > now()))
        if before is not None:
            statement = statement.where(jobs.c.seq < before)
        if user_id is not None:
            statement = statement.where(jobs.c.user_id == user_id)
        if state is not None:
            lapsed = and_(jobs.c.state == JobState.running, jobs.c.lease_until <= now())
            if state == JobState.interrupted:
                statement = statement.where(or_(jobs.c.state == state, lapsed))
            else:
                statement = statement.where(jobs.c.state == state, ~lapsed)
        if starred:
            statement = statement.where(exists().where(designs.c.job == jobs.c.seq, designs.c.starred))
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(jobs.c.seq.desc()).limit(limit))
            return [job_of(row) for row in rows]

    def ahead(self, job: Job) -> int:
        """Return how many jobs are likely to be taken before a queued one; 0 for any other.

        Owners take turns, so it is this owner's earlier jobs, and as many of each other owner.
        """
        if job.state is not JobState.queued:
            return 0
        own = jobs.c.owner == job.owner
        with self._database.reading() as connection:
            queued = jobs.c.state == JobState.queued
            before = connection.scalar(select(func.count()).where(queued, own, jobs.c.seq < job.seq)) or 0
            running = connection.scalar(select(func.count()).where(jobs.c.state == JobState.running)) or 0
            statement = select(jobs.c.owner, func.count()).where(queued, ~own).group_by(jobs.c.owner)
            others = sum(min(count, before + 1) for _, count in connection.execute(statement))
        return int(before + running + others)

    def cancel(self, id: str) -> Job | None:
        """Cancel a queued job at once and a running one at its next step; one that has ended is returned as it is."""
        with self._database.writing() as connection:
            job = self._find(connection, id, lock=True)
            if job is None or job.finished:
                return job
            if job.state is JobState.queued:
                return end(connection, job.seq, JobState.cancelled, self.keep, cancel_requested=True)
            statement = update(jobs).where(jobs.c.seq == job.seq).values(cancel_requested=True).returning(jobs)
            return job_of(connection.execute(statement).one())

    def retry(self, id: str, *, bound: int, share: int | None = None) -> Job | None:
        """Queue a job again that has failed, or was cancelled or interrupted; any other is returned as it is.

        Raises:
            QueueFull: as `submit`.
        """
        with self._database.writing() as connection:
            self._database.lock(connection, QUEUE_LOCK)
            job = self._find(connection, id, lock=True)
            if job is None or job.state in (*UNFINISHED, JobState.succeeded):
                return job
            self._check_room(connection, job.owner, bound, share)
            cleared = dict.fromkeys(("progress", "failure", "started_at", "finished_at", "kept_until", "worker"))
            statement = update(jobs).where(jobs.c.seq == job.seq)
            statement = statement.values(
                state=JobState.queued, attempt=job.attempt + 1, cancel_requested=False, lease_until=None, **cleared
            )
            row = connection.execute(statement.returning(jobs)).one()
            note(connection, job.seq, "state", {"state": JobState.queued})
            return job_of(row)

    def delete(self, id: str) -> bool:
        """Delete a job and its designs; a worker that runs it stops at its next step. Return whether it was there."""
        with self._database.writing() as connection:
            return bool(connection.execute(delete(jobs).where(jobs.c.id == id)).rowcount)

    def events_after(self, job: Job, number: int, limit: int = 100) -> list[JobEvent]:
        """Return what happened to a job after an event."""
        statement = select(job_events.c.number, job_events.c.kind, job_events.c.data)
        statement = statement.where(job_events.c.job == job.seq, job_events.c.number > number)
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(job_events.c.number).limit(limit))
            return [JobEvent(row.number, row.kind, row.data) for row in rows]

    def waiting(self) -> dict[str, int]:
        """Return how many jobs there are in each state."""
        statement = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._database.reading() as connection:
            counted = {str(row[0]): int(row[1]) for row in connection.execute(statement)}
        return {state.value: counted.get(state.value, 0) for state in JobState}

    def of_user(self, user_id: str) -> list[Job]:
        """Return all jobs of a user, also those for several, the oldest first."""
        with self._database.reading() as connection:
            own = or_(jobs.c.user_id == user_id, jobs.c.seq.in_(in_cohorts(connection, user_id)))
            rows = connection.execute(select(jobs).where(own).order_by(jobs.c.seq))
            return [job_of(row) for row in rows]

    def expire(self) -> int:
        """Delete finished jobs that are kept no longer; return how many."""
        with self._database.reading() as connection:
            statement = select(jobs.c.seq).where(jobs.c.kept_until <= now()).limit(1)
            if connection.execute(statement).first() is None:
                return 0
        with self._database.writing() as connection:
            return connection.execute(delete(jobs).where(jobs.c.kept_until <= now())).rowcount

    # ---- parts

    def _find(self, connection: Connection, id: str, *, lock: bool = False) -> Job | None:
        statement = select(jobs).where(jobs.c.id == id)
        if lock and not self._database.is_sqlite:
            statement = statement.with_for_update()
        row = connection.execute(statement).one_or_none()
        if row is None or (row.kept_until is not None and row.kept_until <= now()):
            return None
        return job_of(row)

    def _delete_expired(self, connection: Connection, id: str) -> None:
        connection.execute(delete(jobs).where(jobs.c.id == id, jobs.c.kept_until <= now()))

    def _check_room(self, connection: Connection, owner: str, bound: int, share: int | None) -> None:
        statement = select(jobs.c.owner).where(jobs.c.state == JobState.queued)
        queued = list(connection.execute(statement).scalars())
        if len(queued) >= bound:
            raise QueueFull(len(queued), own=False)
        if share is not None and queued.count(owner) >= share:
            raise QueueFull(queued.count(owner), own=True)
