"""One job of the queue: its states, its row as an object, and its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from service.store.tables import job_events, jobs
from service.store.types import now

__all__ = [
    "PICTURE",
    "QUEUE_LOCK",
    "UNFINISHED",
    "Job",
    "JobConflict",
    "JobEvent",
    "JobState",
    "QueueFull",
    "end",
    "held",
    "in_cohorts",
    "job_of",
    "note",
]

PICTURE = "picture"
"""Kind of the events that show what a running job is making."""
QUEUE_LOCK = 0x6A6F6273
"""Who decides by all that waits, how much it is or whose turn comes, locks this first."""


class JobState(StrEnum):
    """Where a job is."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"
    interrupted = "interrupted"


UNFINISHED = (JobState.queued, JobState.running)


@dataclass(frozen=True)
class Job:
    """A snapshot of one job."""

    seq: int
    id: str
    owner: str
    user_id: str | None
    request: Mapping[str, Any]
    asked: str | None
    """Fingerprint of what the client sent; None of a job that is older than these."""
    state: JobState
    attempt: int
    cancel_requested: bool
    progress: Mapping[str, Any] | None
    failure: Mapping[str, Any] | None
    model: Mapping[str, Any] | None
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    kept_until: datetime | None
    worker: str | None
    lease_until: datetime | None

    @property
    def finished(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state not in UNFINISHED


@dataclass(frozen=True)
class JobEvent:
    """One thing that happened to a job; numbers count up from 1."""

    number: int
    kind: str
    data: Mapping[str, Any]


class QueueFull(Exception):
    """No more jobs are taken."""

    def __init__(self, waiting: int, *, own: bool) -> None:
        super().__init__(f"{waiting} jobs are waiting already")
        self.waiting = waiting
        self.own = own
        """Whether it is the owner's share of the queue that is full."""


class JobConflict(Exception):
    """A job of this id was submitted before, with another request."""


def held(job: Job) -> Any:
    """Return the condition that a running job is still in the hands that took it.

    A lease that has lapsed is not renewed, even if nobody has noticed yet: somebody may have been told that the job is
    interrupted.
    """
    return and_(
        jobs.c.seq == job.seq,
        jobs.c.state == JobState.running,
        jobs.c.worker == job.worker,
        jobs.c.attempt == job.attempt,
        jobs.c.lease_until > now(),
    )


def note(connection: Connection, seq: int, kind: str, data: Mapping[str, Any]) -> None:
    """Add to a job's events; the caller has locked the job by writing to it."""
    last = connection.scalar(select(func.max(job_events.c.number)).where(job_events.c.job == seq)) or 0
    connection.execute(insert(job_events).values(job=seq, number=last + 1, kind=kind, data=dict(data)))


def in_cohorts(connection: Connection, user_id: str) -> list[int]:
    """Return the ``seq`` of the jobs that name a user among several."""
    # Databases look into JSON each in its own way; of jobs without one user there are as many as a queue keeps.
    rows = connection.execute(select(jobs.c.seq, jobs.c.request).where(jobs.c.user_id.is_(None)))
    return [row.seq for row in rows if user_id in row.request.get("users", ())]


def end(connection: Connection, seq: int, state: JobState, keep: timedelta, **values: Any) -> Job:
    """End a job that the caller has locked, and keep it for so long; further columns get ``values``."""
    finished = now()
    statement = update(jobs).where(jobs.c.seq == seq)
    statement = statement.values(
        state=state, finished_at=finished, kept_until=finished + keep, lease_until=None, **values
    )
    row = connection.execute(statement.returning(jobs)).one()
    note(connection, seq, "state", {"state": state})
    # After the note: its number stays larger than theirs.
    connection.execute(delete(job_events).where(job_events.c.job == seq, job_events.c.kind == PICTURE))
    return job_of(row)


def job_of(row: Row[Any]) -> Job:
    """Return a row as a job; one whose lease has lapsed is interrupted, even before that is written."""
    values = {**row._mapping, "state": JobState(row.state)}
    if values["state"] is JobState.running and row.lease_until is not None and row.lease_until <= now():
        values |= {"state": JobState.interrupted, "finished_at": row.lease_until}
    return Job(**values)
