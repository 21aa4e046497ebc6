"""A small server for one blind test: it shows the page and writes down votes. It never shows the key.

It is for a few dozen people on one network, over the standard library alone; the service, which also asks for keys, can
show the same test (``recgan serve --blindtest``).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from recgan.errors import DataError, SettingsError, StorageError
from recgan.evaluation.blindtest.ballot import LARGEST_BODY, BallotBox

__all__ = ["VoteServer"]

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class VoteServer(ThreadingHTTPServer):
    """Serves the blind test of a folder: ``GET /`` is the page, ``POST /votes`` takes ``{"votes": [...]}``.

    ::

        with VoteServer("runs/blindtest", port=8765) as server:
            server.serve_forever()
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: str | Path, host: str = "127.0.0.1", port: int = 8765) -> None:
        """Open the test and the port (0: any that is free; see `url`).

        Raises:
            ArtifactError: the folder holds no blind test.
            SettingsError: the port cannot be had.
        """
        self.box = BallotBox(folder)
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise SettingsError(f"cannot listen on {host}:{port} ({error}); choose another --host or --port") from error

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}/"


class _Handler(BaseHTTPRequestHandler):
    server: VoteServer
    server_version = "recgan"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/":
            return self._answer(HTTPStatus.NOT_FOUND, {"error": "there is only the page, at /"})
        return self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.box.page)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        if self.path != "/votes":
            return self._answer(HTTPStatus.NOT_FOUND, {"error": "votes go to /votes"})
        # A form of another site cannot send this type without asking first, and is never allowed to.
        if self.headers.get_content_type() != "application/json":
            return self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "send application/json"})
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self._answer(HTTPStatus.LENGTH_REQUIRED, {"error": "say the length of the body"})
        if int(length) > LARGEST_BODY:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"at most {LARGEST_BODY} bytes"})
        try:
            written = self.server.box.take(json.loads(self.rfile.read(int(length))))
        except (ValueError, RecursionError) as error:
            return self._answer(HTTPStatus.BAD_REQUEST, {"error": f"not JSON: {error}"})
        except DataError as error:
            return self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        except StorageError as error:
            return self._answer(HTTPStatus.INSUFFICIENT_STORAGE, {"error": str(error)})
        return self._answer(HTTPStatus.OK, {"written": written})

    def _answer(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing: who votes is nobody's business."""
