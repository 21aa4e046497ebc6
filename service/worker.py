"""A design worker: takes jobs from the store one after the other, and tells how far they are.

It runs in a process of its own (`service.worker_process`), so that the event loop never waits on torch; in tests, in a
thread.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from recgan.design.search import Preview
from recgan.errors import RecganError
from recgan.progress import Progress
from service.pictures import encode_png
from service.problems import Problem, problem_of
from service.store import Store
from service.store.job import Job, JobState

__all__ = ["JobResult", "Worker"]

logger = logging.getLogger("recgan.service")

REPORT_SECONDS = 0.25
SHOW_SECONDS = 0.6
IDLE_SECONDS = 0.1


@dataclass(frozen=True)
class JobResult:
    """What a job has made: rows for `service.store.designs`, and the models that made them."""

    designs: list[dict[str, Any]]
    model: dict[str, Any]


class _Stopped(Exception):
    """Raised out of the progress callback to stop the work."""


class Worker:
    """Runs ``work(request, progress, preview)`` for each job.

    Args:
        store: where the queue is.
        work: does one job; calls ``progress`` often, and lets what that raises pass; may call ``preview``.
        device: told to the store.
        thread_start: called once in the worker's thread, before the first job.
        ready: whether it can work yet; until then it takes nothing.
    """

    def __init__(
        self,
        store: Store,
        work: Callable[[dict[str, Any], Progress, Preview], JobResult],
        *,
        device: str = "cpu",
        name: str | None = None,
        thread_start: Callable[[], None] = lambda: None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name or uuid.uuid4().hex
        self._store = store
        self._work = work
        self._device = device
        self._thread_start = thread_start
        self._ready = ready
        self._stop = threading.Event()
        self._seconds = 5.0
        self._running: Job | None = None
        self._thread = threading.Thread(target=self._serve, name="design-worker", daemon=True)
        self._pulse = threading.Thread(target=self._beat, name="design-worker-pulse", daemon=True)
        self._prepared = threading.Event()

    def start(self) -> None:
        """Start, and return once the worker's thread is prepared."""
        self._thread.start()
        self._prepared.wait()
        self._pulse.start()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive() and not self._stop.is_set()

    def close(self, timeout: float) -> bool:
        """Take no more jobs and interrupt the running one; return whether it ended within ``timeout`` seconds."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        ended = not self._thread.is_alive()
        with suppress(RecganError):
            self._store.leases.interrupt(self.name)
            self._store.workers.gone(self.name)
        return ended

    def _beat(self) -> None:
        """Tell that the worker lives, also while one step of the work takes long."""
        pause = self._store.leases.duration.total_seconds() / 4
        while True:
            try:
                self._store.workers.seen(self.name, self._device, self._seconds)
                self._store.leases.interrupt()
                self._store.jobs.expire()
                if (job := self._running) is not None:
                    self._store.leases.renew(job)
            except RecganError as error:
                logger.error("the design worker cannot reach the store: %s", error)
            if self._stop.wait(pause):
                return

    def _serve(self) -> None:
        try:
            self._thread_start()
        finally:
            self._prepared.set()
        while not self._stop.is_set():
            try:
                job = self._store.leases.claim(self.name) if self._ready() else None
                if job is None:
                    self._stop.wait(IDLE_SECONDS)
                    continue
                started = time.monotonic()
                self._run(job)
                self._seconds = 0.5 * self._seconds + 0.5 * (time.monotonic() - started)
            except RecganError as error:  # of the store: the job's lease lapses
                logger.error("the design worker cannot reach the store: %s", error)
                self._stop.wait(1)

    def _run(self, job: Job) -> None:
        self._running = job
        told = shown = 0.0

        def report(step: str, done: int, total: int | None = None, note: str = "") -> None:
            nonlocal told
            if self._stop.is_set() or not self._store.leases.wanted(job):
                raise _Stopped
            if told and time.monotonic() - told < REPORT_SECONDS and done != total:
                return
            if not self._store.leases.report(job, {"step": step, "done": done, "total": total, "note": note}):
                raise _Stopped
            told = time.monotonic()

        def preview(place: int, draw: Callable[[], np.ndarray]) -> None:
            nonlocal shown
            if time.monotonic() - shown >= SHOW_SECONDS:
                picture = base64.b64encode(encode_png(draw())).decode("ascii")
                self._store.leases.show(job, {"index": place, "png": picture})
                shown = time.monotonic()

        failure: Problem | None = None
        result: JobResult | None = None
        try:
            result = self._work(dict(job.request), report, preview)
            state = JobState.succeeded
        except _Stopped:
            state = JobState.interrupted if self._stop.is_set() else JobState.cancelled
        except Exception as error:
            state, failure = JobState.failed, problem_of(error)
        finally:
            self._running = None
        self._store.leases.finish(
            job,
            state,
            results=result.designs if result else None,
            model=result.model if result else None,
            failure=failure.model_dump(exclude_none=True) if failure else None,
        )
