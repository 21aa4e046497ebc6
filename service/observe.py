"""Every request is given an id, counted, timed and logged."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import request_id
from service.metrics import Metrics
from service.tracing import Tracing

__all__ = ["REQUEST_ID", "Observe"]

REQUEST_ID = "X-Request-ID"
logger = logging.getLogger("recgan.service.requests")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_LEFT = 499  # what nginx writes, too: the client left before there was an answer


class Observe:
    """The outermost middleware.

    Requests are counted and logged by the path's pattern, never by what a client wrote: ids of users are personal, and
    numberless.
    """

    def __init__(self, app: ASGIApp, metrics: Callable[[], Metrics], tracing: Tracing | None = None) -> None:
        self.app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        seen: dict[str, str] = {}
        started, status = time.perf_counter(), _LEFT

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = id
            await send(message)

        token = request_id.set(id)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        traced = self._tracing.request(method, Headers(scope=scope)) if self._tracing is not None else nullcontext()
        with traced as span:
            try:
                await self.app({**scope, "recgan.seen": seen}, receive, watched)
            finally:
                seconds, route = time.perf_counter() - started, seen.get("route", "none")
                if self._tracing is not None and span is not None:
                    self._tracing.answered(span, method=method, route=route, status=status, id=id)
                # A stream lasts as long as the client likes: its time says nothing of the service.
                self._metrics().answered(route, method, status, None if "stream" in seen else seconds)
                level = logging.DEBUG if route.startswith("/health/") else logging.INFO
                noted = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
                told = (method, route, status, 1000 * seconds)
                logger.log(level, "%s %s %s %.1f ms", *told, extra={"noted": noted})
                request_id.reset(token)
