"""What can be made of designs, items and photos."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from service.caching import picture
from service.context import CurrentShop
from service.links import direction_path
from service.problems import ProblemError, documented
from service.schemas import MAX_DIRECTIONS, Editing, EditKind, InverterFacts, Slider
from service.security import READ
from service.sliders import Sliders

__all__ = ["router"]

router = APIRouter(prefix="/v1/editing", tags=["designs"], dependencies=[READ])
Number = Annotated[int, Path(ge=0, le=10_000, description="The direction's number.", examples=[0])]


@router.get("", summary="See what can be edited", responses=documented("no-generator", "loading"))
def editing(shop: CurrentShop) -> Editing:
    """What `edit` of a design request can do here: with finished designs, along which directions, and whether with
    items and photos, too."""
    models = shop.models
    models.need_designer()
    kinds: list[EditKind] = ["like", "mix", "tailor"]
    if models.sliders is not None:
        kinds.insert(2, "slide")
    metrics = None if models.inverter is None else models.inverter.metrics
    return Editing(
        kinds=kinds,
        sliders=[] if models.sliders is None else _sliders(models.sliders),
        inverter=None
        if metrics is None
        else InverterFacts(pixel_error=metrics["pixel_error"], by_chance=metrics["by_chance"]),
        model=shop.version,
    )


@router.get(
    "/directions/{number:int}.png",
    summary="See what a direction changes",
    response_class=Response,
    responses={
        200: {
            "description": "The sheet",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already (If-None-Match)"},
        **documented("not-found", "no-generator", "no-sliders", "loading"),
    },
)
def sheet(shop: CurrentShop, number: Number, request: Request) -> Response:
    """Some samples, a row each, moved from the direction's low end to its high one."""
    shop.models.need_designer()
    sliders = shop.models.need_sliders()
    if number >= len(sliders.sheets):
        raise ProblemError("not-found", f"there is no direction {number}; there are 0 to {len(sliders.sheets) - 1}")
    file = sliders.sheets[number]
    return picture(request, sliders.etags[number], "private, max-age=3600", lambda: (file.read_bytes(), "image/png"))


def _sliders(sliders: Sliders) -> list[Slider]:
    found = sliders.directions
    rows = zip(found.low.tolist(), found.high.tolist(), found.shares.tolist())
    return [
        Slider(
            direction=number,
            name=found.name_of(number),
            low=low,
            high=high,
            share=share,
            image_url=direction_path(number),
        )
        for number, (low, high, share) in enumerate(islice(rows, MAX_DIRECTIONS))
    ]
