"""What every request passes, from the outside in: headers, the error boundary, the body limit, HEAD, encoded paths.

Plain ASGI, so that answers stream through untouched.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import ProblemError, answer, path_asked, problem_of

__all__ = ["IdConvertor", "install"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class IdConvertor(Convertor[str]):
    """One path segment that is an id: any Unicode, percent-encoded (``a/b`` is written ``a%2Fb``).

    It needs `EncodedPath`. Bytes that are no UTF-8 become lone surrogates, which the id's validation refuses.
    """

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value, errors="surrogateescape")

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("id", IdConvertor())


class EncodedPath:
    """Routes by the path as the client encoded it, so that an id with a slash stays one segment."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": path_asked(scope)}
        await self.app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD as GET, without the content (RFC 9110, 9.3.2); FastAPI's routes take GET alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_content(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, without_content)


class BodyLimit:
    """Refuses a body over ``limit`` bytes, by its announced length or, when that is missing or wrong, as it arrives."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # The connection is closed: what is still on its way is not read.
        too_large = ProblemError(
            "body-too-large", f"the body may have {self.limit:,} bytes at most", headers={"Connection": "close"}
        )
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self.limit:
            await answer(problem_of(too_large, path_asked(scope)), too_large.headers)(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                raise too_large
            return message

        await self.app(scope, counted, send)


class ErrorBoundary:
    """Answers what nobody expected with a bare 500 problem; `problem_of` logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await answer(problem_of(error, path_asked(scope)))(scope, receive, send)


class ResponseHeaders:
    """Gives every answer the security headers; and ``no-store``, unless the route says how long it keeps."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, with_headers)


def install(app: FastAPI, *, max_body_bytes: int) -> None:
    """Put the middleware around ``app``; the last one added is the outermost."""
    app.add_middleware(EncodedPath)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, limit=max_body_bytes)
    app.add_middleware(ErrorBoundary)
    app.add_middleware(ResponseHeaders)
