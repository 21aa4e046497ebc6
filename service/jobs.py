"""A bounded queue with one worker thread, so that long torch work runs one at a time and never on the event loop.

Jobs live in memory: they end with the process. A job is an immutable snapshot; each change puts a new one in its place.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from recgan.errors import NotFoundError
from recgan.progress import Progress
from service.problems import Problem, problem_of

__all__ = ["Job", "JobFinished", "JobProgress", "JobQueue", "JobState", "QueueFull"]

logger = logging.getLogger("recgan.service")

Q = TypeVar("Q")
R = TypeVar("R")


class JobState(StrEnum):
    """Where a job is."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


@dataclass(frozen=True)
class JobProgress:
    """How far a running job is: ``done`` of ``total`` units of ``step``."""

    step: str
    done: int
    total: int | None
    note: str


@dataclass(frozen=True)
class Job(Generic[Q, R]):
    """A snapshot of one job."""

    id: str
    request: Q
    submitted_at: datetime
    state: JobState = JobState.queued
    progress: JobProgress | None = None
    cancel_requested: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    kept_until: datetime | None = None
    result: R | None = None
    failure: Problem | None = None


class QueueFull(Exception):
    """No more jobs are taken; one is likely to end within ``retry_after`` seconds."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} jobs are waiting already")
        self.waiting = waiting
        self.retry_after = retry_after


class JobFinished(Exception):
    """A job that has ended cannot be cancelled."""

    def __init__(self, state: JobState) -> None:
        super().__init__(f"the job has {state.value} already")
        self.state = state


class _Cancelled(Exception):
    """Raised out of the progress callback to stop the work."""


class JobQueue(Generic[Q, R]):
    """Runs ``work(request, progress)`` for each submitted request, one after the other.

    Args:
        work: does one job; calls ``progress`` often, and lets what that raises pass.
        bound: how many jobs may wait (the running one not counted).
        keep_seconds: how long a finished job is kept.
        keep_jobs: how many finished jobs are kept at most.
        thread_start: called once in the worker's thread before the first job.
        now: the clock.
    """

    def __init__(
        self,
        work: Callable[[Q, Progress], R],
        *,
        bound: int,
        keep_seconds: float,
        keep_jobs: int,
        thread_start: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._work = work
        self._bound = bound
        self._keep = timedelta(seconds=keep_seconds)
        self._keep_jobs = keep_jobs
        self._thread_start = thread_start
        self._now = now
        self._changed = threading.Condition()
        self._jobs: dict[str, Job[Q, R]] = {}
        self._waiting: deque[str] = deque()
        self._finished: deque[str] = deque()
        self._seconds = 5.0
        self._closed = False
        self._prepared = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="design-worker", daemon=True)

    def start(self) -> None:
        """Start the worker, and return once its thread is prepared."""
        self._thread.start()
        self._prepared.wait()

    @property
    def alive(self) -> bool:
        """Whether the worker runs."""
        return self._thread.is_alive()

    def submit(self, request: Q) -> Job[Q, R]:
        """Put a request at the end of the queue.

        Raises:
            QueueFull: as many jobs wait as may.
        """
        with self._changed:
            self._forget()
            if len(self._waiting) >= self._bound or self._closed:
                raise QueueFull(len(self._waiting), max(1, math.ceil(self._seconds)))
            job: Job[Q, R] = Job(uuid.uuid4().hex, request, self._now())
            self._jobs[job.id] = job
            self._waiting.append(job.id)
            self._changed.notify()
            return job

    def get(self, id: str) -> Job[Q, R]:
        """Return the job as it is now.

        Raises:
            NotFoundError: there never was such a job, or it is kept no longer.
        """
        with self._changed:
            self._forget()
            return self._find(id)

    def ahead(self, id: str) -> int:
        """Return how many jobs must end before a queued one starts; 0 for any other."""
        with self._changed:
            if id not in self._waiting:
                return 0
            running = sum(job.state is JobState.running for job in self._jobs.values())
            return self._waiting.index(id) + running

    def cancel(self, id: str) -> Job[Q, R]:
        """Cancel a queued job at once, a running one at its next step; cancelling twice is as good as once.

        Raises:
            NotFoundError: as `get`.
            JobFinished: it has succeeded or failed.
        """
        with self._changed:
            self._forget()
            job = self._find(id)
            match job.state:
                case JobState.queued:
                    self._waiting.remove(id)
                    self._end(id, JobState.cancelled, cancel_requested=True)
                case JobState.running:
                    self._jobs[id] = replace(job, cancel_requested=True)
                case JobState.succeeded | JobState.failed:
                    raise JobFinished(job.state)
            return self._jobs[id]

    def close(self, timeout: float) -> bool:
        """Take no more jobs, cancel all, wait for the worker; return whether it ended within ``timeout`` seconds."""
        with self._changed:
            self._closed = True
            for job in list(self._jobs.values()):
                if job.state in (JobState.queued, JobState.running):
                    self.cancel(job.id)
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _find(self, id: str) -> Job[Q, R]:
        if id not in self._jobs:
            kept = f"{self._keep.total_seconds():g} seconds"
            raise NotFoundError(f"there is no design '{id}'; a finished one is kept for {kept}: ask for it anew")
        return self._jobs[id]

    def _forget(self) -> None:
        now = self._now()
        while self._finished:
            until = self._jobs[self._finished[0]].kept_until
            assert until is not None
            if len(self._finished) <= self._keep_jobs and until > now:
                break
            del self._jobs[self._finished.popleft()]

    def _end(self, id: str, state: JobState, **changes: object) -> None:
        now = self._now()
        self._jobs[id] = replace(
            self._jobs[id],
            state=state,
            finished_at=now,
            kept_until=now + self._keep,
            **changes,  # type: ignore[arg-type]
        )
        self._finished.append(id)
        self._forget()

    def _serve(self) -> None:
        try:
            self._thread_start()
        finally:
            self._prepared.set()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                id = self._waiting.popleft()
                self._jobs[id] = replace(self._jobs[id], state=JobState.running, started_at=self._now())
            started = time.monotonic()
            self._run(id)
            self._seconds = 0.5 * self._seconds + 0.5 * (time.monotonic() - started)

    def _run(self, id: str) -> None:
        def report(step: str, done: int, total: int | None = None, note: str = "") -> None:
            with self._changed:
                if self._jobs[id].cancel_requested:
                    raise _Cancelled
                self._jobs[id] = replace(self._jobs[id], progress=JobProgress(step, done, total, note))

        try:
            result = self._work(self._jobs[id].request, report)
        except _Cancelled:
            with self._changed:
                self._end(id, JobState.cancelled)
        except Exception as error:
            failure = problem_of(error)
            with self._changed:
                self._end(id, JobState.failed, failure=failure)
        else:
            with self._changed:
                if self._jobs[id].cancel_requested:
                    self._end(id, JobState.cancelled)
                else:
                    self._end(id, JobState.succeeded, result=result)
