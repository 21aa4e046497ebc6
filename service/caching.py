"""Conditional answers: a picture that the client has already is not sent again."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from starlette.responses import Response

__all__ = ["picture"]


def picture(request: Request, etag: str, cache_control: str, load: Callable[[], tuple[bytes, str]]) -> Response:
    """Answer with the picture that ``load`` gives as (bytes, media type), or with 304 to a client that has ``etag``."""
    headers = {"ETag": etag, "Cache-Control": cache_control}
    if _has(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    data, media_type = load()
    return Response(data, headers=headers, media_type=media_type)


def _has(conditions: list[str], etag: str) -> bool:
    # If-None-Match compares weakly (RFC 9110, 13.1.2). Our tags hold no commas.
    given = [tag.strip().removeprefix("W/") for condition in conditions for tag in condition.split(",")]
    return "*" in given or etag.removeprefix("W/") in given
