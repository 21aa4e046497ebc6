"""What every request passes, from the outside in: `service.observe`, headers, plain refusals, other origins' pages, the
error boundary, the body limit, HEAD, encoded paths.

Plain ASGI, so that answers stream through untouched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote, unquote

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers, MutableHeaders
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
MODEL = "X-Recgan-Model"
"""Names the model that serves, on every answer of the API."""
PLAIN = {400: "bad-request", 416: "no-such-range"}
"""The problems of what starlette refuses in plain text."""
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


class PlainRefusals:
    """Answers with a problem where starlette refuses in plain text: a page of another origin, a range of a file."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: Message | None = None
        told = b""

        async def watched(message: Message) -> None:
            nonlocal refused, told
            if message["type"] == "http.response.start" and _is_plain_refusal(message):
                refused = message
            elif refused is None:
                await send(message)
            else:
                told += message.get("body", b"")

        await self.app(scope, receive, watched)
        if refused is not None:
            error = ProblemError(PLAIN[refused["status"]], _in_a_line(told.decode()))
            kept = {
                name: value
                for name, value in Headers(scope=refused).items()
                if name not in ("content-type", "content-length")
            }
            await answer(problem_of(error, path_asked(scope)), kept)(scope, receive, send)


def _is_plain_refusal(start: Message) -> bool:
    return start["status"] in PLAIN and Headers(scope=start).get("content-type", "").startswith("text/plain")


def _in_a_line(told: str) -> str:
    if "CORS" in told:
        return f"{told[0].lower()}{told[1:]}; the service's cors_origins name who may ask, and /openapi.json for what"
    return "the Range header cannot be served; ask for another range, or for the whole"


class ResponseHeaders:
    """Gives every answer the security headers; ``no-store``, unless the route says how long it keeps; and, where it is
    the API's, the model that serves."""

    def __init__(self, app: ASGIApp, serving: Callable[[], str | None]) -> None:
        self.app = app
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        of_api = scope["type"] == "http" and path_asked(scope).startswith("/v1/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if of_api and (model := self._serving()) is not None:
                    headers[MODEL] = model
            await send(message)

        await self.app(scope, receive, with_headers)


def install(
    app: FastAPI,
    settings: ServiceSettings,
    metrics: Callable[[], Metrics],
    serving: Callable[[], str | None],
    tracing: Tracing | None = None,
) -> None:
    """Put the middleware around ``app``; the last one added is the outermost. ``serving`` tells the id of the model."""
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
            expose_headers=("ETag", "Location", "Retry-After", REQUEST_ID, MODEL),
            max_age=600,
        )
    app.add_middleware(PlainRefusals)
    app.add_middleware(ResponseHeaders, serving=serving)
    app.add_middleware(Observe, metrics=metrics, tracing=tracing)
