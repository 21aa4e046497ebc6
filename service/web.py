"""One web process: the application under uvicorn, until it is told to stop."""

from __future__ import annotations

import math
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recgan.errors import RecganError
from recgan.progress import Progress
from service.app import create_app
from service.context import DesignWorker
from service.holder import ModelHolder
from service.logs import log_config
from service.models import Models
from service.processes import heed_interrupts, settle
from service.protocol import timed_protocol
from service.settings import ServiceSettings
from service.streams import Streams

__all__ = ["Web"]


class Web:
    """The server of this process.

    Args:
        settings: of the service.
        load: makes the models of settings.
        worker: makes the designs; None: one of its own, as the settings want it.
        patient: listen only once the models are loaded, because others answer meanwhile.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        load: Callable[[ServiceSettings, Progress], Models],
        *,
        worker: DesignWorker | None = None,
        patient: bool = False,
    ) -> None:
        self.app = create_app(
            settings, load=load, on_load_failure=self.stop, on_loaded=settle, worker=worker, patient=patient
        )
        service = self.app.state.service
        self._server = _Server(
            uvicorn.Config(
                _PlainStart(self.app, service.holder),
                log_config=log_config(settings.log_format),
                access_log=False,  # `service.observe` does it
                http=timed_protocol(settings.header_seconds),
                server_header=False,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
            ),
            service.streams,
        )

    @property
    def failure(self) -> Exception | None:
        """Why the models could not be loaded."""
        failure: Exception | None = self.app.state.service.holder.failure
        return failure

    def stop(self) -> None:
        """End soon."""
        self._server.should_exit = True

    def run(self, listener: socket.socket) -> None:
        """Serve until `stop`, SIGINT or SIGTERM; then end the open requests and return."""
        with _terminated_as_interrupted(), suppress(KeyboardInterrupt):
            heed_interrupts()
            self._server.run(sockets=[listener])

    def run_watched(self, listener: socket.socket, line: Connection) -> None:
        """The same until the other end of ``line`` is closed, too. There it is told when requests are answered (None),
        or why they never will be (a kind of error, and what it says)."""
        holder = self.app.state.service.holder

        def tell() -> None:
            holder.wait()
            with suppress(OSError):
                failure = holder.failure
                line.send(None if failure is None else (type(failure).__name__, str(failure)))

        def listen() -> None:
            with suppress(EOFError, OSError):
                line.recv()
            self.stop()

        for target in (tell, listen):
            threading.Thread(target=target, name="supervisor-line", daemon=True).start()
        self.run(listener)


class _PlainStart:
    """The application, whose expected errors at the start and the end uvicorn logs on one line, without a traceback."""

    def __init__(self, app: ASGIApp, holder: ModelHolder) -> None:
        self._app = app
        self._holder = holder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def plainly(message: Message) -> None:
            error = sys.exc_info()[1]  # it is being told of
            if message["type"].endswith(".failed") and isinstance(error, RecganError):
                known = error is self._holder.failure  # which has logged it
                message = {**message, "message": "" if known else str(error)}
            await send(message)

        await self._app(scope, receive, plainly if scope["type"] == "lifespan" else send)


class _Server(uvicorn.Server):
    """Ends the open streams when it is told to stop, instead of waiting for them."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._streams.close()
        await super().shutdown(sockets)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does: uvicorn, once it has stopped, raises the signal again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
