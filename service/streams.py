"""Server-sent events: what happens to a design, as it happens."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.problems import ProblemError
from service.store import Store
from service.store.job import Job, JobEvent, JobState

__all__ = ["MEDIA_TYPE", "Streams"]

MEDIA_TYPE = "text/event-stream"
LOOK_SECONDS = 0.25
SILENCE_SECONDS = 15.0
"""After so long a comment is sent, so that proxies keep the connection and a client that left is noticed."""
_CHUNK = 100


class _Stream(StreamingResponse):
    """A stream that says when it has ended, whether all of it was sent or its client has left, even before it began."""

    def __init__(self, events: AsyncIterator[str], headers: Mapping[str, str], ended: Callable[[], None]) -> None:
        super().__init__(events, media_type=MEDIA_TYPE, headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


class Streams:
    """The streams that are open.

    Args:
        store: where the jobs are.
        most: how many may be open at the same time.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self.open = 0
        """How many are open."""
        self._counting = threading.Lock()
        self._closing = False

    def close(self) -> None:
        """End all streams soon: the service stops, and clients come back to where it starts again."""
        self._closing = True

    def follow(self, job: Job, after: int) -> Response:
        """Return the events of a job after one, until it has ended; 204 if none will come: a browser then stops asking.

        Raises:
            ProblemError: too-many-streams (503).
        """
        if job.finished and not self._store.jobs.events_after(job, after, 1):
            return Response(status_code=204)
        with self._counting:
            if self.open >= self._most:
                raise ProblemError(
                    "too-many-streams",
                    f"{self._most} streams are open; ask for the design's state instead",
                    headers={"Retry-After": "5"},
                )
            self.open += 1
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return _Stream(self._events(job, after), headers, self._ended)

    def _ended(self) -> None:
        with self._counting:
            self.open -= 1

    async def _events(self, job: Job, after: int) -> AsyncIterator[str]:
        jobs = self._store.jobs
        yield "retry: 1000\n\n"
        spoke = time.monotonic()
        while not self._closing:
            # The job first: what happened before it ended is then among the events.
            current = await run_in_threadpool(jobs.get, job.id)
            if current is not None and current.state is JobState.interrupted:
                await run_in_threadpool(self._store.leases.interrupt)  # so that it is among them, too
            events = await run_in_threadpool(jobs.events_after, job, after, _CHUNK)
            for event in events:
                yield _written(event)
                after, spoke = event.number, time.monotonic()
            if len(events) == _CHUNK:
                continue
            if current is None or current.finished:
                return
            if time.monotonic() - spoke > SILENCE_SECONDS:
                yield ": still there\n\n"
                spoke = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)


def _written(event: JobEvent) -> str:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(dict(event.data))}\n\n"
