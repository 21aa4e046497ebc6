"""Errors as RFC 9457 problem+json, each with a stable ``type`` that a client can switch on.

A `RecganError` keeps its message, which was written for a person, and takes its status from ``http_status``. Anything
else is a bug of ours: it is logged with its traceback and answered with a bare 500 that tells nothing of the inside.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Mount

from recgan import errors
from service.store.errors import StoreBusy, StoreUnavailable

__all__ = [
    "BODY",
    "FILE",
    "MEDIA_TYPE",
    "PROBLEMS",
    "Problem",
    "ProblemError",
    "ProblemKind",
    "answer",
    "described",
    "documented",
    "install",
    "invalid",
    "problem_of",
]

logger = logging.getLogger("recgan.service")
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class ProblemKind:
    """One kind of problem: its slug (the end of ``type``), its status and its title, none of which ever change."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The stable URI that names the kind."""
        return f"urn:recgan:problem:{self.slug}"


PROBLEMS = {
    kind.slug: kind
    for kind in (
        ProblemKind("bad-request", 400, "The request cannot be read"),
        ProblemKind("refused", 400, "The request cannot be carried out"),
        ProblemKind("no-key", 401, "An API key is needed"),
        ProblemKind("not-allowed", 403, "The API key does not allow this"),
        ProblemKind("no-such-path", 404, "There is nothing at this path"),
        ProblemKind("not-found", 404, "What was asked for does not exist"),
        ProblemKind("unknown-user", 404, "The user is not known"),
        ProblemKind("unknown-item", 404, "The item is not in the catalogue"),
        ProblemKind("unknown-design", 404, "There is no such design"),
        ProblemKind("unknown-model", 404, "There is no such model"),
        ProblemKind("no-gaps", 404, "No gaps are shown here"),
        ProblemKind("no-blindtest", 404, "No blind test is shown here"),
        ProblemKind("method-not-allowed", 405, "The method is not allowed here"),
        ProblemKind("too-slow", 408, "The request did not arrive in time"),
        ProblemKind("not-ready", 409, "The picture is not ready"),
        ProblemKind("already-finished", 409, "The design has already finished"),
        ProblemKind("not-retriable", 409, "The design cannot be tried again"),
        ProblemKind("other-request", 409, "The same id or key came with another request before"),
        ProblemKind("mismatch", 409, "The parts do not belong together"),
        ProblemKind("unusable-artifact", 409, "An artifact cannot be used"),
        ProblemKind("body-too-large", 413, "The request's body is too large"),
        ProblemKind("unsupported-media-type", 415, "The body's media type is not supported"),
        ProblemKind("no-such-range", 416, "The file does not reach that far"),
        ProblemKind("invalid-request", 422, "The request is not valid"),
        ProblemKind("invalid-setting", 422, "A setting is not valid"),
        ProblemKind("invalid-data", 422, "The data are not valid"),
        ProblemKind("refused-picture", 422, "A picture cannot be used"),
        ProblemKind("no-picture", 422, "The item has no picture"),
        ProblemKind("no-eye", 422, "The model does not look at pictures"),
        ProblemKind("no-sliders", 422, "The service runs without sliders"),
        ProblemKind("no-inverter", 422, "The service runs without an inverter"),
        ProblemKind("rate-limit", 429, "Too many requests"),
        ProblemKind("queue-full", 429, "Too many designs are waiting"),
        ProblemKind("internal", 500, "Something went wrong inside the service"),
        ProblemKind("loading", 503, "The service is not ready yet"),
        ProblemKind("no-memory", 503, "There is not enough memory"),
        ProblemKind("store-busy", 503, "The store is busy"),
        ProblemKind("store-unavailable", 503, "The store does not answer"),
        ProblemKind("too-many-streams", 503, "Too many clients follow designs"),
        ProblemKind("no-generator", 503, "The service runs without a generator"),
        ProblemKind("storage", 507, "There is no room to store the result"),
    )
}

_OF_ERROR: tuple[tuple[type[errors.RecganError], str], ...] = (
    (StoreBusy, "store-busy"),
    (StoreUnavailable, "store-unavailable"),
    (errors.ImageRefused, "refused-picture"),
    (errors.NotFoundError, "not-found"),
    (errors.SettingsError, "invalid-setting"),
    (errors.DataError, "invalid-data"),
    (errors.MismatchError, "mismatch"),
    (errors.ArtifactError, "unusable-artifact"),
    (errors.StorageError, "storage"),
    (errors.TrainingError, "internal"),
    (errors.RecganError, "refused"),
)


class FieldProblem(BaseModel):
    """One fault of a request: where it is, and what is wrong with it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    pointer: str = Field(examples=["/liked/0"])
    """JSON pointer into the body, or ``?name`` for a query parameter, or ``{name}`` for a part of the path."""
    detail: str = Field(examples=["there is no item 'jackett-7' in the catalogue"])
    """What is wrong with it."""


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = Field(examples=["urn:recgan:problem:unknown-user"])
    """Names the kind of problem; it never changes, so switch on this."""
    title: str = Field(examples=["The user is not known"])
    """The kind in words."""
    status: int = Field(examples=[404])
    """The HTTP status."""
    detail: str = Field(
        examples=["there is no user 'anna'; for a new user, send liked items to POST /v1/sessions/recommendations"]
    )
    """What went wrong this time, and the mend."""
    instance: str | None = Field(default=None, examples=["/v1/users/anna/recommendations"])
    """The path that was asked for."""
    errors: list[FieldProblem] | None = None
    """Each fault of an invalid request."""


class ProblemError(HTTPException):
    """Raised by a route to answer with a problem of one kind."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = PROBLEMS[slug]
        self.errors = list(errors) if errors else None
        super().__init__(self.kind.status, detail, dict(headers) if headers else None)


def invalid(pointer: str, detail: str) -> ProblemError:
    """Return the problem of a request that is not valid in one place."""
    return ProblemError(
        "invalid-request", f"{pointer}: {detail}", errors=[FieldProblem(pointer=pointer, detail=detail)]
    )


def problem_of(error: Exception, instance: str | None = None) -> Problem:
    """Return ``error`` as a problem. What is a fault of ours (5xx) is logged and told without its inside."""
    faults = None
    if isinstance(error, ProblemError):
        kind, detail, faults = error.kind, error.detail, error.errors
    elif isinstance(error, HTTPException):
        kind, detail = _kind_of_status(error.status_code), _DETAILS.get(error.status_code, error.detail)
    elif isinstance(error, errors.RecganError):
        slug = next(slug for cls, slug in _OF_ERROR if isinstance(error, cls))
        kind, detail = PROBLEMS[slug], str(error)
    else:
        kind, detail = PROBLEMS["no-memory" if _is_of_memory(error) else "internal"], ""
    if isinstance(error, StoreBusy):
        logger.warning("%s: %s", instance or "a design", error)
        detail = "others keep the store busy; try again in a moment"
    elif kind.status >= 500 and not isinstance(error, HTTPException):
        logger.error("%s failed", instance or "a design", exc_info=error)
        detail = "the service's log has the details; try again, and tell its operator when it goes on"
        if kind.slug == "no-memory":
            detail = "it needs more memory than there is now; ask for less, or try again in a moment"
    return Problem(
        type=kind.type, title=kind.title, status=kind.status, detail=detail, instance=instance, errors=faults
    )


def _is_of_memory(error: Exception) -> bool:
    """Return whether the computer or its GPU has no memory left, which torch tells in ways of its own."""
    of_torch = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or of_torch


_DETAILS = {
    400: "the body cannot be read; send JSON in UTF-8",
    404: "no resource has this path; /openapi.json lists them all (a slash inside an id is written %2F)",
    405: "this path does not take that method; the Allow header lists those that it does",
}


def _kind_of_status(status: int) -> ProblemKind:
    slugs = {400: "bad-request", 404: "no-such-path", 405: "method-not-allowed", 413: "body-too-large"}
    if status in slugs:
        return PROBLEMS[slugs[status]]
    return PROBLEMS["internal"] if status >= 500 else ProblemKind("refused", status, PROBLEMS["refused"].title)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the HTTP answer that carries ``problem``."""
    content = problem.model_dump_json(exclude_none=True)
    return Response(content, problem.status, headers=dict(headers) if headers else None, media_type=MEDIA_TYPE)


def path_asked(scope: Mapping[str, Any]) -> str:
    """Return the path of a request as the client wrote it, still percent-encoded."""
    raw = scope.get("raw_path")
    return raw.decode("latin-1") if raw else str(scope["path"])


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405 and (allowed := _methods_at(request)):
        headers["Allow"] = ", ".join(allowed)
    return answer(problem_of(error, path_asked(request.scope)), headers)


def _methods_at(request: Request) -> list[str]:
    """Return the methods that a path takes: all of them, where starlette names those of the first route alone."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]  # a mount tells by itself
    methods = [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return [*methods, *(["HEAD"] if "GET" in methods else [])]


async def _on_recgan(request: Request, error: Exception) -> Response:
    headers = {"Retry-After": "1"} if isinstance(error, StoreUnavailable) else None
    return answer(problem_of(error, path_asked(request.scope)), headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [_fault(item) for item in error.errors()]
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    unread = error.errors()[0]["type"] == "model_attributes_type" and error.errors()[0]["loc"] == ("body",)
    if unread and not (media_type == "application/json" or media_type.endswith("+json")):
        given = f"'{media_type}'" if media_type else "no Content-Type"
        mended = ProblemError("unsupported-media-type", f"the body came with {given}; send application/json")
    else:
        first = "; ".join(f"{fault.pointer or 'the body'}: {fault.detail}" for fault in faults[:3])
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        mended = ProblemError("invalid-request", first + more, errors=faults[:100])
    return await _on_http(request, mended)


def _fault(item: Mapping[str, Any]) -> FieldProblem:
    place, *rest = item["loc"]
    detail = item["msg"]
    if item["type"] == "model_attributes_type":
        detail = "send a JSON object"
    if item["type"] == "json_invalid":
        return FieldProblem(pointer="", detail=f"not JSON at character {rest[0]}: {item['ctx']['error']}")
    if field := item.get("ctx", {}).get("field"):
        rest.append(field)
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in rest]
    match place:
        case "query":
            pointer = "?" + ".".join(parts)
        case "path":
            pointer = "{" + ".".join(parts) + "}"
        case _:
            pointer = "".join(f"/{part}" for part in parts)
    return FieldProblem(pointer=pointer, detail=detail[:1].lower() + detail[1:])


FILE = ("too-slow",)
"""Problems of a request whose body is a file."""
BODY = ("unsupported-media-type", *FILE)
"""Problems of a request whose body is JSON."""
_ANYWHERE = (
    "bad-request",
    "no-key",
    "not-allowed",
    "body-too-large",
    "invalid-request",
    "rate-limit",
    "internal",
    "no-memory",
    "store-busy",
    "store-unavailable",
    "storage",
)


def documented(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI ``responses`` for the problems that a route may answer with; those that any may are added."""
    return described(*slugs, *_ANYWHERE)


def described(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI ``responses`` for these problems alone."""
    by_status: dict[int, list[ProblemKind]] = {}
    for slug in dict.fromkeys(slugs):
        by_status.setdefault(PROBLEMS[slug].status, []).append(PROBLEMS[slug])
    return {
        status: {
            "description": "; or ".join(kind.title for kind in kinds),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {kind.slug: {"value": _example(kind)} for kind in kinds},
                }
            },
        }
        for status, kinds in sorted(by_status.items())
    }


def _example(kind: ProblemKind) -> dict[str, Any]:
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title[0].lower()}{kind.title[1:]}: …",
    }


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error as a problem (unknown exceptions: see `service.middleware.ErrorBoundary`)."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(errors.RecganError, _on_recgan)
