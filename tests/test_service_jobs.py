"""The design queue: its states, its bound, cancelling, keeping and stopping."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from recgan.errors import NotFoundError, SettingsError
from recgan.progress import Progress
from service.jobs import JobFinished, JobProgress, JobQueue, JobState, QueueFull

PATIENCE = 30.0


class Work:
    """Work that stops at a gate: ``entered`` is set when it begins, and it goes on when ``gate`` is."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.order: list[int] = []

    def __call__(self, request: int, progress: Progress) -> int:
        self.order.append(request)
        progress("first", 1, 2, "a note")
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        progress("second", 2, 2)
        return request * 10


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2025, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def started() -> Iterator[Callable[..., JobQueue]]:
    """A function that makes a queue and starts it; all are closed at the end."""
    queues = []

    def make(work: Callable, *, bound: int = 8, keep_seconds: float = 100, keep_jobs: int = 100, **options) -> JobQueue:
        queue = JobQueue(work, bound=bound, keep_seconds=keep_seconds, keep_jobs=keep_jobs, **options)
        queue.start()
        queues.append((queue, work))
        return queue

    yield make
    for queue, work in queues:
        if isinstance(work, Work):
            work.gate.set()
        assert queue.close(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail when it does not come."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never came about")


def ended(queue: JobQueue, id: str) -> JobState:
    """Wait until a job has ended, and return how."""
    until(lambda: queue.get(id).finished_at is not None)
    return queue.get(id).state


def test_a_job_goes_from_queued_to_running_to_succeeded(started):
    work = Work()
    queue = started(work)
    first, second = queue.submit(1), queue.submit(2)
    assert work.entered.wait(PATIENCE)
    running = queue.get(first.id)
    assert running.state is JobState.running
    assert running.progress == JobProgress("first", 1, 2, "a note")
    assert running.result is None
    assert queue.get(second.id).state is JobState.queued
    assert (queue.ahead(first.id), queue.ahead(second.id)) == (0, 1)
    work.gate.set()
    assert ended(queue, second.id) is JobState.succeeded
    assert [queue.get(job.id).result for job in (first, second)] == [10, 20]
    assert work.order == [1, 2]
    done = queue.get(first.id)
    assert done.submitted_at <= done.started_at <= done.finished_at


def test_a_snapshot_does_not_change_afterwards(started):
    work = Work()
    queue = started(work)
    job = queue.submit(1)
    work.gate.set()
    assert ended(queue, job.id) is JobState.succeeded
    assert job.state is JobState.queued


def test_a_full_queue_refuses_and_says_when_to_come_again(started):
    work = Work()
    queue = started(work, bound=2)
    running = queue.submit(0)
    assert work.entered.wait(PATIENCE)
    waiting = [queue.submit(1), queue.submit(2)]
    with pytest.raises(QueueFull) as refusal:
        queue.submit(3)
    assert refusal.value.waiting == 2
    assert refusal.value.retry_after >= 1
    work.gate.set()
    assert {ended(queue, job.id) for job in (running, *waiting)} == {JobState.succeeded}
    assert queue.submit(4).state is JobState.queued
    assert 3 not in work.order


def test_cancelling_a_queued_job_keeps_it_from_running_and_frees_its_place(started):
    work = Work()
    queue = started(work, bound=1)
    first = queue.submit(1)
    assert work.entered.wait(PATIENCE)
    second = queue.submit(2)
    assert queue.cancel(second.id).state is JobState.cancelled
    assert queue.cancel(second.id).state is JobState.cancelled
    third = queue.submit(3)
    work.gate.set()
    assert ended(queue, third.id) is JobState.succeeded
    assert queue.get(first.id).state is JobState.succeeded
    assert work.order == [1, 3]


def test_cancelling_a_running_job_stops_it_at_its_next_step(started):
    work = Work()
    queue = started(work)
    job = queue.submit(1)
    assert work.entered.wait(PATIENCE)
    asked = queue.cancel(job.id)
    assert (asked.state, asked.cancel_requested) == (JobState.running, True)
    work.gate.set()
    assert ended(queue, job.id) is JobState.cancelled
    assert queue.get(job.id).result is None
    assert queue.get(job.id).progress == JobProgress("first", 1, 2, "a note")


def test_a_job_cancelled_after_its_last_step_is_cancelled_all_the_same(started):
    entered, gate = threading.Event(), threading.Event()

    def work(request: int, progress: Progress) -> int:
        entered.set()
        assert gate.wait(PATIENCE)
        return request

    queue = started(work)
    job = queue.submit(1)
    assert entered.wait(PATIENCE)
    queue.cancel(job.id)
    gate.set()
    assert ended(queue, job.id) is JobState.cancelled


def test_what_has_ended_cannot_be_cancelled(started):
    queue = started(lambda request, progress: request)
    job = queue.submit(1)
    assert ended(queue, job.id) is JobState.succeeded
    with pytest.raises(JobFinished) as refusal:
        queue.cancel(job.id)
    assert refusal.value.state is JobState.succeeded


def test_an_expected_failure_keeps_its_message_and_the_worker_goes_on(started):
    def work(request: int, progress: Progress) -> int:
        if request == 1:
            raise SettingsError("preset 'x' is not for this")
        return request

    queue = started(work)
    first, second = queue.submit(1), queue.submit(2)
    assert ended(queue, second.id) is JobState.succeeded
    failed = queue.get(first.id)
    assert failed.state is JobState.failed
    assert failed.failure.type == "urn:recgan:problem:invalid-setting"
    assert failed.failure.detail == "preset 'x' is not for this"


def test_a_bug_is_logged_and_told_without_its_inside(started, caplog):
    def work(request: int, progress: Progress) -> int:
        raise ZeroDivisionError("the secret of /srv/model")

    queue = started(work)
    job = queue.submit(1)
    with caplog.at_level(logging.ERROR, logger="recgan.service"):
        assert ended(queue, job.id) is JobState.failed
    failure = queue.get(job.id).failure
    assert failure.type == "urn:recgan:problem:internal"
    assert "secret" not in failure.model_dump_json()
    assert "the secret of /srv/model" in caplog.text


def test_a_finished_job_is_kept_for_the_stated_time(started):
    clock = Clock()
    queue = started(lambda request, progress: request, keep_seconds=100, now=clock)
    job = queue.submit(1)
    assert ended(queue, job.id) is JobState.succeeded
    assert queue.get(job.id).kept_until == clock.time + timedelta(seconds=100)
    clock.time += timedelta(seconds=99)
    assert queue.get(job.id).result == 1
    clock.time += timedelta(seconds=1)
    with pytest.raises(NotFoundError, match="kept for 100 seconds"):
        queue.get(job.id)


def test_no_more_finished_jobs_are_kept_than_stated_and_the_oldest_go_first(started):
    queue = started(lambda request, progress: request, keep_jobs=2)
    jobs = []
    for request in range(4):
        jobs.append(queue.submit(request))
        until(lambda: queue.get(jobs[-1].id).finished_at is not None)
    assert [queue.get(job.id).result for job in jobs[2:]] == [2, 3]
    for job in jobs[:2]:
        with pytest.raises(NotFoundError):
            queue.get(job.id)


def test_an_unfinished_job_is_never_forgotten(started):
    clock, work = Clock(), Work()
    queue = started(work, now=clock)
    first, second = queue.submit(1), queue.submit(2)
    assert work.entered.wait(PATIENCE)
    clock.time += timedelta(days=30)
    assert queue.get(first.id).state is JobState.running
    assert queue.get(second.id).state is JobState.queued


def test_closing_cancels_everything_and_takes_nothing_more():
    work = Work()
    queue = JobQueue(work, bound=4, keep_seconds=100, keep_jobs=100)
    queue.start()
    running, waiting = queue.submit(1), queue.submit(2)
    assert work.entered.wait(PATIENCE)
    assert not queue.close(0.01)
    with pytest.raises(QueueFull):
        queue.submit(3)
    work.gate.set()
    assert queue.close(PATIENCE)
    assert not queue.alive
    assert queue.get(running.id).state is JobState.cancelled
    assert queue.get(waiting.id).state is JobState.cancelled
    assert work.order == [1]


def test_the_worker_prepares_its_own_thread(started):
    threads = []
    queue = started(
        lambda request, progress: threading.get_ident(), thread_start=lambda: threads.append(threading.get_ident())
    )
    job = queue.submit(1)
    assert ended(queue, job.id) is JobState.succeeded
    assert threads == [queue.get(job.id).result]
    assert threads != [threading.get_ident()]
