"""Gaps: what the catalogue lacks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from service.caching import picture
from service.context import CurrentShop, TheService
from service.links import item_image_path
from service.live.catalogue import LiveCatalogue
from service.problems import ProblemError, documented
from service.schemas import Brief, GapList
from service.security import READ

__all__ = ["router"]

router = APIRouter(prefix="/v1/gaps", tags=["gaps"], dependencies=[READ])
Index = Annotated[int, Path(ge=0, le=10_000, description="The brief's place.", examples=[0])]


@router.get("", summary="See what the catalogue lacks", responses=documented("no-gaps", "loading"))
def gaps(service: TheService, shop: CurrentShop) -> GapList:
    """The briefs that were found last, for the cohorts of users that they are for, the widest gap first."""
    told = service.need_gaps().told
    return told.model_copy(update={"briefs": [_pictured(brief, shop.catalogue) for brief in told.briefs]})


@router.get(
    "/{index:int}.png",
    summary="Get a brief's picture",
    response_class=Response,
    responses={
        200: {
            "description": "The picture",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already (If-None-Match)"},
        **documented("no-gaps", "not-found"),
    },
)
def brief_picture(service: TheService, index: Index, request: Request) -> Response:
    """The design that a brief is about."""
    pictures = service.need_gaps().pictures
    if index >= len(pictures):
        raise ProblemError("not-found", f"there are {len(pictures)} briefs, numbered from 0")
    png, etag = pictures[index]
    return picture(request, etag, "private, max-age=3600", lambda: (png, "image/png"))


def _pictured(brief: Brief, catalogue: LiveCatalogue) -> Brief:
    """Return a brief that points to the pictures of the items that have one now."""
    nearest = [
        one.model_copy(update={"image_url": item_image_path(one.item_id)}) if catalogue.pictured(one.item_id) else one
        for one in brief.nearest
    ]
    return brief.model_copy(update={"nearest": nearest})
