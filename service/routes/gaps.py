"""Gaps: what the catalogue lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from service.caching import picture
from service.context import CurrentShop, TheService
from service.links import gap_image_path, item_image_path
from service.live.catalogue import LiveCatalogue
from service.problems import ProblemError, documented
from service.schemas import Brief, BriefColour, BriefTrait, Difference, GapCohort, GapList, NearItem
from service.security import READ

__all__ = ["router"]

router = APIRouter(prefix="/v1/gaps", tags=["gaps"], dependencies=[READ])
Index = Annotated[int, Path(ge=0, le=10_000, description="The brief's place.", examples=[0])]


@router.get("", summary="See what the catalogue lacks", responses=documented("no-gaps", "loading"))
def gaps(service: TheService, shop: CurrentShop) -> GapList:
    """The briefs that were found last, for the cohorts of users that they are for, the widest gap first."""
    folder = service.need_gaps()
    told = folder.told
    return GapList(
        catalogue=told["about"]["catalogue"],
        users=told["users"],
        found=told["found"],
        cohorts=[
            GapCohort(cohort=one.number, users=one.users, user_share=one.user_share, members=len(one.members))
            for one in folder.cohorts.values()
        ],
        briefs=[_brief(place, gap, shop.catalogue) for place, gap in enumerate(told["gaps"])],
    )


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
    file, etag = pictures[index]
    return picture(request, etag, "public, max-age=3600", lambda: (file.read_bytes(), "image/png"))


def _brief(place: int, gap: Mapping[str, Any], catalogue: LiveCatalogue) -> Brief:
    nearest = [
        NearItem(
            item_id=one["item_id"],
            distance=one["distance"],
            image_url=item_image_path(one["item_id"]) if catalogue.pictured(one["item_id"]) else None,
        )
        for one in gap["nearest"]
    ]
    same = ("cohort", "category", "found", "preferred_by", "percentile", "judged", "taken", "style")
    return Brief(
        index=place,
        image_url=gap_image_path(place),
        gap=Difference(**gap["gap"]),
        like_for_like=Difference(**gap["like_for_like"]),
        palette=[BriefColour(**one) for one in gap["palette"]],
        attributes=[BriefTrait(name=name, **one) for name, one in gap["attributes"].items()],
        nearest=nearest,
        **{name: gap[name] for name in same},
    )
