"""What every request passes, from the outside in: `service.observe`, headers, the error boundary, the body limit, HEAD,
encoded paths.

Plain ASGI, so that answers stream through untouched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote, unquote

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.observe import REQUEST_ID, Observe
from service.problems import ProblemError, answer, path_asked, problem_of
from service.settings import ServiceSettings
from service.tracing import Tracing

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
UPLOADS = ("/v1/items", "/v1/sessions/", "/v1/search", "/v1/designs")
"""Where pictures may come in."""


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
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        inner = {**scope, "path": path_asked(scope)}
        try:
            await self.app(inner, receive, send)
        finally:
            route = getattr(inner.get("route"), "path", None)
            if route is not None and "recgan.seen" in scope:
                scope["recgan.seen"]["route"] = route


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

        await self.app({**scope, "method": "GET", "recgan.head": True}, receive, without_content)


class BodyLimit:
    """Refuses a body that is too long, by its announced length or, when that is missing or wrong, as it arrives; and
    one that takes too long.

    Args:
        app: what is inside.
        limit: bytes.
        upload_limit: bytes of a request that may bring pictures.
        seconds: for the whole body.
    """

    def __init__(self, app: ASGIApp, limit: int, upload_limit: int, seconds: float) -> None:
        self.app = app
        self.limit = limit
        self.upload_limit = upload_limit
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.upload_limit if path_asked(scope).startswith(UPLOADS) else self.limit
        # The connection is closed: what is still on its way is not read.
        too_large = ProblemError(
            "body-too-large", f"the body may have {limit:,} bytes at most", headers={"Connection": "close"}
        )
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit:
            await answer(problem_of(too_large, path_asked(scope)), too_large.headers)(scope, receive, send)
            return
        taken, whole = 0, False
        until = asyncio.get_running_loop().time() + self.seconds

        async def counted() -> Message:
            nonlocal taken, whole
            if whole:  # from here on it waits for the client to leave
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise ProblemError(
                    "too-slow", f"the body took longer than {self.seconds:g} s", headers={"Connection": "close"}
                ) from error
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > limit:
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
            headers = error.headers if isinstance(error, ProblemError) else None
            await answer(problem_of(error, path_asked(scope)), headers)(scope, receive, send)


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


def install(
    app: FastAPI, settings: ServiceSettings, metrics: Callable[[], Metrics], tracing: Tracing | None = None
) -> None:
    """Put the middleware around ``app``; the last one added is the outermost."""
    app.add_middleware(EncodedPath)
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        BodyLimit,
        limit=settings.max_body_bytes,
        upload_limit=settings.max_upload_bytes,
        seconds=settings.body_seconds,
    )
    app.add_middleware(ErrorBoundary)
    if settings.cors_origins:  # without cookies: what a page of another origin does, it does with its own key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=(
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "Last-Event-ID",
                REQUEST_ID,
            ),
            expose_headers=("ETag", "Location", "Retry-After", REQUEST_ID),
            max_age=600,
        )
    app.add_middleware(ResponseHeaders)
    app.add_middleware(Observe, metrics=metrics, tracing=tracing)
