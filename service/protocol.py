"""The HTTP protocol of our server: uvicorn's, with a time-out for the request's head, which uvicorn does not have, and
with a problem for what is no valid HTTP, where uvicorn answers in plain text."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from service.middleware import HEADERS
from service.problems import MEDIA_TYPE, ProblemError, problem_of

__all__ = ["timed_protocol"]


def _refusal() -> bytes:
    problem = problem_of(ProblemError("bad-request", "it is no valid HTTP/1.1, or its head is longer than 64 KiB"))
    body = problem.model_dump_json(exclude_none=True).encode()
    length = str(len(body))
    headers = {**HEADERS, "Cache-Control": "no-store", "Content-Type": MEDIA_TYPE, "Content-Length": length}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 400 Bad Request\r\n{head}Connection: close\r\n\r\n".encode() + body


_REFUSAL = _refusal()


def timed_protocol(seconds: float) -> type[asyncio.Protocol]:
    """Return a protocol that closes a connection on which no whole request head has arrived after ``seconds``.

    A client that sends its head byte by byte costs a socket and a timer for so long, and no thread. It parses by h11,
    which bounds the head; httptools, a quarter of a millisecond faster, does not, and loses the body of a request that
    offers an upgrade to HTTP/2, as Java's client does.
    """

    class TimedProtocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            super().data_received(data)
            if self.cycle is not None and not (self.cycle.response_complete or self._refused):
                self._head_is_there()
            elif self._head_timer is None:  # the next request on a connection that was kept
                self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_is_there()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Refuse what is no valid HTTP. What still comes is read and dropped until the client closes or its time
            is over: a connection that is closed at once is reset, and the answer may be lost with it."""
            self._refused = True
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                if self.cycle.response_started:
                    self.transport.abort()
                    return
            self.transport.write(_REFUSAL)
            self.transport.write_eof()
            self.flow.resume_reading()
            if self._head_timer is None:
                self._wait_for_head()

        def _wait_for_head(self) -> None:
            self._head_timer = self.loop.call_later(seconds, self._give_up)

        def _head_is_there(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _give_up(self) -> None:
            self._head_timer = None
            if not self.transport.is_closing():
                self.transport.abort()

    return TimedProtocol
