"""Several web processes at one address, and who watches over them.

They share the socket, on which each takes the next connection that comes; the models' arrays, which are mapped from
their files; and one process that designs. Who watches loads no models and answers no requests, so that it lives on
whatever happens to them.
"""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING, Any

from recgan import errors
from recgan.errors import RecganError
from recgan.progress import Progress
from service.logs import log_config
from service.metrics import SHARED_FOLDER
from service.processes import SPAWN, start_unheeding
from service.settings import ServiceSettings
from service.store import Store
from service.worker_process import WorkerProcess

if TYPE_CHECKING:
    from service.models import Models

__all__ = ["Load", "Supervisor"]

Load = Callable[[ServiceSettings, Progress], "Models"]

logger = logging.getLogger("recgan.service")
_PAUSE = (0.0, 1.0, 5.0, 30.0)
"""Seconds before a web process is started again, after so many ends in a row."""
_WELL_SECONDS = 60.0
"""One that has answered for so long has not ended because of what it is."""
_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 2.0
"""On top of ``shutdown_seconds``, before a process that does not end is killed."""


class Supervisor:
    """Starts the processes, starts again what dies, and ends all.

    Args:
        settings: of the service.
        listener: the socket, bound to the address.
        load: makes the models of settings, in each process; None: `service.models.load_models`.

    Raises:
        StoreUnavailable: the store does not answer, or was made by a newer version.
    """

    def __init__(self, settings: ServiceSettings, listener: socket.socket, load: Load | None = None) -> None:
        self._settings = settings
        self._listener = listener
        self._load = load
        self._store = Store(
            settings.store_url, keep_seconds=settings.keep_seconds, lease_seconds=settings.lease_seconds
        )
        self._stopping = False
        self._served = False
        self._designs = SPAWN.RawValue("b", 0)

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            RecganError: of the kind that the first web processes met when they loaded the models.
        """
        settings = self._settings
        designer: WorkerProcess | None = None
        if settings.gan is not None and settings.design_worker == "process":
            designer = WorkerProcess(settings, self._store, self._load)
        slots = [_Slot() for _ in range(settings.workers)]
        with self._until_told(), _shared_metrics():
            try:
                if designer is not None:
                    designer.start()
                while not self._stopping:
                    self._designs.value = designer is not None and designer.alive
                    for slot in slots:
                        if slot.process is None and time.monotonic() >= slot.start_at:
                            self._start(slot)
                    self._look(slots)
            finally:
                self._end(slots, designer)
                self._store.close()

    def _start(self, slot: _Slot) -> None:
        ours, theirs = SPAWN.Pipe()
        given = (self._settings, self._listener, theirs, self._designs, self._served, self._load)
        slot.process = SPAWN.Process(target=_answer, args=given, name="recgan-web")
        slot.line, slot.ready_at, slot.patient, slot.failure = ours, None, self._served, None
        start_unheeding(slot.process)
        theirs.close()

    def _look(self, slots: list[_Slot]) -> None:
        """Wait a little for something to happen, and see to it."""
        running = [slot for slot in slots if slot.process is not None]
        lines = [slot.line for slot in running if slot.line is not None]
        happened = wait([*lines, *(slot.process.sentinel for slot in running if slot.process)], _LOOK_SECONDS)
        for slot in running:
            assert slot.process is not None
            if slot.line in happened:
                self._hear(slot)
            if slot.process.sentinel in happened:
                self._bury(slot)

    def _hear(self, slot: _Slot) -> None:
        assert slot.line is not None
        try:
            told = slot.line.recv()
        except (EOFError, OSError):
            slot.line.close()
            slot.line = None  # it ends, or has ended
            return
        if told is None:
            slot.ready_at, self._served = time.monotonic(), True
        else:
            slot.failure = told

    def _bury(self, slot: _Slot) -> None:
        process, slot.process = slot.process, None
        assert process is not None
        process.join()
        while slot.line is not None:  # what it said before it ended
            self._hear(slot)
        if self._stopping:
            return
        if slot.failure is not None and not self._served:
            kind, told = slot.failure
            expected = getattr(errors, kind, None)
            raise expected(told) if expected else RecganError(f"the models cannot be loaded ({kind}: {told})")
        well = slot.ready_at is not None and time.monotonic() - slot.ready_at > _WELL_SECONDS
        slot.deaths = 0 if well else slot.deaths
        pause = _PAUSE[min(slot.deaths, len(_PAUSE) - 1)]
        slot.deaths, slot.start_at = slot.deaths + 1, time.monotonic() + pause
        told = "a web process (%d) ended (exit code %s); it is started again in %g s"
        logger.error(told, process.pid, process.exitcode, pause)

    def _end(self, slots: list[_Slot], designer: WorkerProcess | None) -> None:
        """End all processes, all at the same time."""
        until = time.monotonic() + self._settings.shutdown_seconds + _GRACE_SECONDS
        for slot in slots:
            if slot.line is not None:
                slot.line.close()
            if slot.process is None or slot.ready_at is not None:
                continue
            if slot.patient:
                slot.process.kill()  # it loads, and has no requests
            else:
                slot.process.terminate()  # it may still import, and not see that its line is closed
        if designer is not None and not designer.close(self._settings.shutdown_seconds):
            logger.warning("a design was still running after %g s; it was dropped", self._settings.shutdown_seconds)
        for slot in slots:
            if slot.process is None:
                continue
            slot.process.join(max(0.0, until - time.monotonic()))
            if slot.process.is_alive():
                logger.warning("web process %d did not end in time; it is killed", slot.process.pid)
                slot.process.kill()
                slot.process.join()

    @contextmanager
    def _until_told(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the word to stop."""

        def stop(number: int, frame: FrameType | None) -> None:
            self._stopping = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Slot:
    """The place of one web process."""

    process: BaseProcess | None = None
    line: Connection | None = None
    patient = False
    ready_at: float | None = None
    failure: tuple[str, str] | None = None
    deaths = 0
    start_at = 0.0


class _SharedWorker:
    """The design worker as a web process sees it."""

    def __init__(self, designs: Any) -> None:
        self._designs = designs

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return bool(self._designs.value)

    def start(self) -> None:
        """It is started by who watches over it."""

    def close(self, timeout: float) -> bool:
        """It is closed by who watches over it."""
        return True


def _answer(
    settings: ServiceSettings,
    listener: socket.socket,
    line: Connection,
    designs: Any,
    patient: bool,
    load: Load | None,
) -> None:
    """Answer requests in this process until the other end of ``line`` is closed."""
    logging.config.dictConfig(log_config(settings.log_format))
    from service.models import load_models
    from service.web import Web

    shared = _SharedWorker(designs) if settings.gan is not None and settings.design_worker == "process" else None
    try:
        web = Web(settings, load or load_models, worker=shared, patient=patient)
    except RecganError as error:
        line.send((type(error).__name__, str(error)))
        raise SystemExit(error.exit_code) from None
    web.run_watched(listener, line)
    logging.shutdown()
    os._exit(0)  # to take torch apart first takes its time, and who watches waits for us


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Let the processes that are started in the block count together."""
    before = os.environ.get(SHARED_FOLDER)
    with tempfile.TemporaryDirectory(prefix="recgan-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(SHARED_FOLDER)
            else:
                os.environ[SHARED_FOLDER] = before
