"""The designs of a request: pictures, settings, and what is thought of them."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from starlette.responses import JSONResponse

from service.caching import picture
from service.context import Service, TheService
from service.design_answers import statuses
from service.lookup import find_design, find_job, finished_job, no_design
from service.pictures import encode_webp
from service.problems import BODY, documented
from service.schemas import DesignId, DesignStatus, DesignVerdict
from service.security import READ, WRITE
from service.store.designs import StoredDesign
from service.store.job import Job

__all__ = ["router"]

router = APIRouter(prefix="/v1/designs", tags=["designs"])
FOREVER = "private, max-age=31536000, immutable"

Index = Annotated[int, Path(ge=0, le=10_000, description="The design's place among the results.", examples=[0])]
_PROBLEMS = documented("unknown-design", "not-found", "not-ready")


def _pictured(media_type: str) -> dict[int | str, dict[str, object]]:
    return {
        200: {
            "description": "The picture",
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already (If-None-Match)"},
        **_PROBLEMS,
    }


@router.get(
    "/{design_id}/{index:int}.png",
    summary="Get a design's picture",
    response_class=Response,
    responses=_pictured("image/png"),
    dependencies=[READ],
)
def png(service: TheService, design_id: DesignId, index: Index, request: Request) -> Response:
    """The picture of one design; what is at this path never changes."""
    data, etag = _picture(service, design_id, index)
    return picture(request, etag, FOREVER, lambda: (data, "image/png"))


@router.get(
    "/{design_id}/{index:int}.webp",
    summary="Get a design's picture as WebP",
    response_class=Response,
    responses=_pictured("image/webp"),
    dependencies=[READ],
)
def webp(service: TheService, design_id: DesignId, index: Index, request: Request) -> Response:
    """The same pixels as a WebP without loss, which is smaller."""
    data, etag = _picture(service, design_id, index)
    return picture(request, f'{etag[:-1]}-webp"', FOREVER, lambda: (encode_webp(data), "image/webp"))


@router.get(
    "/{design_id}/{index:int}.json",
    summary="Get a design's settings",
    response_class=JSONResponse,
    responses={
        200: {"description": "The settings", "content": {"application/json": {"schema": {"type": "object"}}}},
        **_PROBLEMS,
    },
    dependencies=[WRITE],  # as a user's export: it tells of whom it is for what they did
)
def settings(service: TheService, design_id: DesignId, index: Index) -> JSONResponse:
    """All that reproduces one design with the same models, as a file."""
    job, design = find_design(service.store, design_id, index)
    name = f'attachment; filename="design-{job.id}-{index}.json"'
    return JSONResponse(_settings(job, design), headers={"Content-Disposition": name})


@router.get(
    "/{design_id}/all.zip",
    summary="Get all designs as a ZIP",
    response_class=Response,
    responses={
        200: {
            "description": "Pictures and settings",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **documented("unknown-design", "not-ready"),
    },
    dependencies=[WRITE],
)
def download(service: TheService, design_id: DesignId) -> Response:
    """The pictures of all designs of a request, each with the settings that reproduce it."""
    job = finished_job(service.store, design_id)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for design in service.store.designs.of([job])[job.seq]:
            found = service.store.designs.png(job, design.place)
            if found is not None:  # it was deleted meanwhile
                archive.writestr(f"design-{design.place:02d}.png", found[0])
                archive.writestr(f"design-{design.place:02d}.json", json.dumps(_settings(job, design), indent=1))
    name = f'attachment; filename="designs-{job.id}.zip"'
    return Response(out.getvalue(), media_type="application/zip", headers={"Content-Disposition": name})


@router.patch(
    "/{design_id}/{index:int}",
    summary="Star, approve or reject a design",
    responses=documented(*BODY, "unknown-design", "not-found", "not-ready"),
    dependencies=[WRITE],
)
def say(service: TheService, design_id: DesignId, index: Index, said: Annotated[DesignVerdict, Body()]) -> DesignStatus:
    """Say what is thought of a design. A request with a starred or approved design is kept until it is deleted."""
    job, _ = find_design(service.store, design_id, index)
    opinions = []
    if said.starred is not None:
        opinions.append("starred" if said.starred else "unstarred")
    if said.verdict is not None:
        opinions.append(said.verdict)
    for opinion in opinions:
        service.store.designs.say(job, index, opinion, keep=datetime.now(UTC) + service.store.jobs.keep)
    after = find_job(service.store, design_id)
    return statuses(service.store, service.holder.get().version, [after])[0]


def _settings(job: Job, design: StoredDesign) -> dict[str, Any]:
    return {
        "request": job.request,
        "seed": design.facts["seed"],
        "category": design.category,
        "settings": design.facts["settings"],
        "model": job.model,
        "picture": design.etag.strip('"'),
    }


def _picture(service: Service, design_id: str, index: int) -> tuple[bytes, str]:
    job = finished_job(service.store, design_id)
    found = service.store.designs.png(job, index)
    if found is None:
        raise no_design(service.store, job)
    return found
