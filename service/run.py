"""``recgan serve``: the service under uvicorn, until it is told to stop."""

from __future__ import annotations

import errno
import logging
import math
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn

from recgan.errors import SettingsError
from service.app import create_app
from service.logs import log_config
from service.protocol import timed_protocol
from service.settings import ServiceSettings

__all__ = ["serve"]

logger = logging.getLogger("recgan.service")


def serve(settings: ServiceSettings) -> None:
    """Serve until SIGINT or SIGTERM; then end the open requests, cancel the designs and return.

    Raises:
        SettingsError: the address or the port cannot be had; or the recommender cannot lead a design.
        ArtifactError: the bundle, the recommender or the GAN cannot be loaded.
        MismatchError: they do not belong together.
    """
    with _listen(settings.host, settings.port) as listener:

        def stop() -> None:
            server.should_exit = True

        app = create_app(settings, on_load_failure=stop)
        server = _Server(
            uvicorn.Config(
                app,
                log_config=log_config(settings.log_format),
                access_log=False,  # `service.observe` does it
                http=timed_protocol(settings.header_seconds),
                server_header=False,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
            )
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        logger.info("recgan is at http://%s:%d/ (Ctrl-C stops it)", shown, port)
        with _terminated_as_interrupted(), suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        failure = app.state.service.holder.failure
        if failure is not None:
            raise failure


class _Server(uvicorn.Server):
    """Ends the open streams when it is told to stop, instead of waiting for them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self.config.app.state.service.streams.close()  # type: ignore[union-attr]
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


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(
            f"host '{host}' is no address of this machine ({error.strerror}); give another with --host"
        ) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise SettingsError(_why_not(error, host, port)) from error
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what listens there, or give another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this account; give one above 1023 with --port"
    return f"cannot listen on {host}:{port} ({error.strerror}); give another --host or --port"
