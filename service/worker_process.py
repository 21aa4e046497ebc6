"""The process that a design worker lives in, and who watches over it."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import threading
import uuid
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from recgan.errors import RecganError
from recgan.progress import Progress
from service.logs import log_config
from service.processes import SPAWN, start_unheeding
from service.settings import ServiceSettings
from service.store import Store

if TYPE_CHECKING:
    from service.models import Models

__all__ = ["WorkerProcess"]

logger = logging.getLogger("recgan.service")
_PAUSE = (0.2, 1.0, 5.0, 30.0)
"""Seconds before it is started again, after so many ends in a row."""


class WorkerProcess:
    """Starts the worker's process, and starts it again when it has died; its running job is then interrupted at once.

    Args:
        settings: of the service.
        store: to tell what became of its jobs.
        load: makes the models of settings; None: `service.models.load_models`.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        store: Store,
        load: Callable[[ServiceSettings, Progress], Models] | None = None,
    ) -> None:
        self._settings = settings
        self._load = load
        self._store = store
        self._line: Connection | None = None
        self._closing = threading.Event()
        self._changing = threading.Lock()
        self._process: BaseProcess | None = None
        self._watcher = threading.Thread(target=self._watch, name="design-worker-watch", daemon=True)

    def start(self) -> None:
        """Start the process."""
        self._watcher.start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid if self._process is not None else None

    def close(self, timeout: float) -> bool:
        """End the process, its running job interrupted; return whether it ended by itself within ``timeout`` s."""
        with self._changing:
            self._closing.set()
            if self._line is not None:
                self._line.close()
            if self._process is not None:
                self._process.terminate()  # while it imports it does not see that its line is closed
        self._watcher.join(timeout)
        ended = not self.alive
        if self._process is not None and not ended:
            self._process.kill()
            self._watcher.join(10)
        return ended

    def _watch(self) -> None:
        deaths = 0
        while True:
            name = uuid.uuid4().hex
            with self._changing:
                if self._closing.is_set():
                    return
                # The process ends when this end of the line closes: because we say so, or because we are gone. (An
                # event that is shared would stay locked if the process were killed while it looks at it.)
                held, self._line = SPAWN.Pipe(duplex=False)
                self._process = SPAWN.Process(
                    target=_work,
                    args=(self._settings, name, held, self._load),
                    name="recgan-design-worker",
                    daemon=True,
                )
                start_unheeding(self._process)
                held.close()
            self._process.join()
            try:
                self._store.leases.interrupt(name)
                self._store.workers.gone(name)
            except RecganError as error:
                logger.error("cannot tell the store that a design worker has ended: %s", error)
            if self._closing.is_set():
                return
            pause = _PAUSE[min(deaths, len(_PAUSE) - 1)]
            deaths += 1
            logger.error(
                "the design worker ended (exit code %s); it is started again in %g s", self._process.exitcode, pause
            )
            self._closing.wait(pause)


def _work(
    settings: ServiceSettings,
    name: str,
    line: Connection,
    load: Callable[[ServiceSettings, Progress], Models] | None,
) -> None:
    """Run a worker in this process until the other end of ``line`` is closed, or SIGTERM."""
    logging.config.dictConfig(log_config(settings.log_format))
    # Here, because who watches over this process needs no torch.
    from service.design_worker import design_worker_alone
    from service.models import load_models

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: terminated.set())

    def told_to_stop(seconds: float) -> bool:
        return line.poll(seconds) or terminated.is_set()

    try:
        store = Store(settings.store_url, keep_seconds=settings.keep_seconds, lease_seconds=settings.lease_seconds)
    except RecganError as error:
        logger.error("the design worker cannot begin: %s", error)
        raise SystemExit(error.exit_code) from None
    holder, worker = design_worker_alone(settings, store, name=name, load=load or load_models)
    holder.start()
    while not holder.loaded:
        if told_to_stop(0.1):
            return
    if holder.failure is not None:
        raise SystemExit(2)  # the holder has logged why
    worker.start()
    while not told_to_stop(0.2):
        if not worker.alive:
            raise SystemExit(1)
    holder.stop()
    worker.close(settings.shutdown_seconds)
    logging.shutdown()
    os._exit(0)  # to take torch apart first takes its time, and who watches waits for us
