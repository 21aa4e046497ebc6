"""``recgan serve``: the service at an address, until it is told to stop."""

from __future__ import annotations

import errno
import logging
import logging.config
import socket
from typing import TYPE_CHECKING

from recgan.errors import SettingsError
from service.logs import log_config
from service.settings import ServiceSettings

if TYPE_CHECKING:
    from service.supervisor import Load

__all__ = ["serve"]

logger = logging.getLogger("recgan.service")


def serve(settings: ServiceSettings, *, load: Load | None = None) -> None:
    """Serve until SIGINT or SIGTERM; then end the open requests, cancel the designs and return.

    Args:
        settings: of the service.
        load: makes the models of settings, in each process; None: `service.models.load_models`.

    Raises:
        SettingsError: the address or the port cannot be had; or the recommender cannot lead a design.
        ArtifactError: the bundle, the recommender or the GAN cannot be loaded.
        MismatchError: they do not belong together.
    """
    with _listen(settings.host, settings.port) as listener:
        logging.config.dictConfig(log_config(settings.log_format))
        if settings.workers > 1:
            from service.supervisor import Supervisor

            supervisor = Supervisor(settings, listener, load)
            _announce(listener)
            supervisor.run()
        else:
            from service.models import load_models
            from service.web import Web

            web = Web(settings, load or load_models)
            _announce(listener)
            web.run(listener)
            if web.failure is not None:
                raise web.failure


def _announce(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    logger.info("recgan is at http://%s:%d/ (Ctrl-C stops it)", shown, port)


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
