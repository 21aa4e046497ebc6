"""The blind test: its page, and the votes that it sends."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from service.context import TheService
from service.problems import BODY, documented
from service.schemas import BlindVotes, VotesTaken
from service.security import READ, WRITE

__all__ = ["router"]

router = APIRouter(prefix="/blindtest", tags=["blind test"])


@router.get("/", include_in_schema=False, dependencies=[READ])
def page(service: TheService) -> Response:
    """The page as it was made, but for its style and script, which lie beside it: the content-security policy allows
    none inside."""
    return Response(service.need_blindtest().parts.html, media_type="text/html; charset=utf-8")


@router.get("/page.css", include_in_schema=False, dependencies=[READ])
def style(service: TheService) -> Response:
    """Its style sheet."""
    return Response(service.need_blindtest().parts.style, media_type="text/css; charset=utf-8")


@router.get("/page.js", include_in_schema=False, dependencies=[READ])
def script(service: TheService) -> Response:
    """Its script."""
    return Response(service.need_blindtest().parts.script, media_type="text/javascript; charset=utf-8")


@router.post(
    "/votes",
    summary="Vote in the blind test",
    responses=documented(*BODY, "no-blindtest", "invalid-data"),
    dependencies=[WRITE],
)
def vote(service: TheService, given: Annotated[BlindVotes, Body()]) -> VotesTaken:
    """Write down what a person answered: all of it or nothing, and on disk before this is answered. A vote that comes
    again, or otherwise, counts as it came last."""
    return VotesTaken(written=service.need_blindtest().box.take(given.model_dump()))
