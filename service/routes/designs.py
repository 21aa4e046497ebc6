"""Designs: asked for, looked after, looked at, cancelled."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response

from recgan.errors import NotFoundError
from service.caching import picture
from service.context import CurrentModels, Service, TheService
from service.designs import DesignJobResult
from service.jobs import Job, JobFinished, JobState, QueueFull
from service.links import design_image_path, design_path, item_image_path
from service.models import Models
from service.problems import FieldProblem, ProblemError, documented
from service.schemas import (
    DesignedItem,
    DesignProgress,
    DesignRequest,
    DesignStatus,
    NearItem,
)

__all__ = ["router"]

router = APIRouter(prefix="/v1/designs", tags=["designs"])

DesignId = Annotated[
    str, Path(max_length=64, description="The design request's id.", examples=["0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
]
DesignJob = Job[DesignRequest, DesignJobResult]


@router.post(
    "",
    status_code=202,
    summary="Ask for designs",
    responses={
        202: {
            "description": "Accepted: ask for its state at Location",
            "headers": {
                "Location": {"description": "Where the request's state is", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds until it is worth asking", "schema": {"type": "integer"}},
            },
        },
        **documented(
            "unknown-user", "unsupported-media-type", "body-too-large", "queue-full", "loading", "no-generator"
        ),
    },
)
def submit(
    service: TheService, models: CurrentModels, asked: Annotated[DesignRequest, Body()], response: Response
) -> DesignStatus:
    """Design new items of a category that a user would prefer. It takes a while: 202, then poll, then the pictures."""
    models.need_designer()
    if asked.user_id is not None:
        models.check_user(asked.user_id)
    models.catalogue.check_items(asked.liked, "liked")
    models.catalogue.check_categories([asked.category], "/category")
    if asked.category not in models.designable:
        raise _invalid("/category", f"the generator does not know the category '{asked.category}'")
    _check_preset(asked.preset)
    if asked.seed is None:
        asked = asked.model_copy(update={"seed": secrets.randbelow(2**32)})
    try:
        job = service.jobs.submit(asked)
    except QueueFull as error:
        raise ProblemError(
            "queue-full",
            f"{error.waiting} designs are waiting already; ask again in {error.retry_after} s",
            headers={"Retry-After": str(error.retry_after)},
        ) from error
    response.headers["Location"] = design_path(job.id)
    response.headers["Retry-After"] = "1"
    return _status(service, models, job)


# The rest only looks up what is there, so it runs on the event loop and never waits for a thread.
@router.get("/{design_id}", summary="Look after a design", responses=documented("unknown-design", "loading"))
async def status(service: TheService, models: CurrentModels, design_id: DesignId) -> DesignStatus:
    """The request's state and progress and, once it has succeeded, the designs, best first."""
    return _status(service, models, _find(service, design_id))


@router.delete(
    "/{design_id}",
    status_code=202,
    summary="Cancel a design",
    responses=documented("unknown-design", "already-finished", "loading"),
)
async def cancel(service: TheService, models: CurrentModels, design_id: DesignId) -> DesignStatus:
    """Cancel a waiting request at once and a running one at its next step. Doing so twice is as good as once."""
    try:
        return _status(service, models, service.jobs.cancel(design_id))
    except NotFoundError as error:
        raise ProblemError("unknown-design", str(error)) from error
    except JobFinished as error:
        raise ProblemError(
            "already-finished", f"design '{design_id}' has {error.state.value}; it is dropped by itself later"
        ) from error


@router.get(
    "/{design_id}/{index:int}.png",
    summary="Get a design's picture",
    response_class=Response,
    responses={
        200: {
            "description": "The picture",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already (If-None-Match)"},
        **documented("unknown-design", "not-found", "not-ready"),
    },
)
async def design_image(
    service: TheService,
    design_id: DesignId,
    index: Annotated[int, Path(ge=0, description="The design's place among the results.", examples=[0])],
    request: Request,
) -> Response:
    """The picture of one design; what is at this path never changes."""
    job = _find(service, design_id)
    if job.result is None:
        unfinished = job.state in (JobState.queued, JobState.running)
        raise ProblemError(
            "not-ready",
            f"design '{design_id}' is {job.state.value}"
            + ("; ask again later" if unfinished else ": it has no pictures"),
            headers={"Retry-After": "1"} if unfinished else None,
        )
    designs = job.result.designs
    if index >= len(designs):
        raise ProblemError("not-found", f"design '{design_id}' has {len(designs)} pictures, numbered from 0")
    design = designs[index]
    return picture(request, design.etag, "public, max-age=31536000, immutable", lambda: (design.png, "image/png"))


def _find(service: Service, design_id: str) -> DesignJob:
    try:
        return service.jobs.get(design_id)
    except NotFoundError as error:
        raise ProblemError("unknown-design", str(error)) from error


def _check_preset(name: str) -> None:
    from recgan.design.presets import load_preset

    try:
        load_preset(name)
    except NotFoundError as error:
        raise _invalid("/preset", str(error)) from error


def _invalid(pointer: str, detail: str) -> ProblemError:
    return ProblemError(
        "invalid-request", f"{pointer}: {detail}", errors=[FieldProblem(pointer=pointer, detail=detail)]
    )


def _status(service: Service, models: Models, job: DesignJob) -> DesignStatus:
    progress = job.progress
    results = [
        DesignedItem(
            index=index,
            image_url=design_image_path(job.id, index),
            category=design.category,
            seed=design.seed,
            score=design.score,
            percentile=design.percentile,
            realism=design.realism,
            nearest=[
                NearItem(item_id=item_id, distance=distance, image_url=item_image_path(item_id))
                for item_id, distance in design.nearest
            ],
            settings=design.settings,
        )
        for index, design in enumerate(job.result.designs if job.result else ())
    ]
    return DesignStatus(
        id=job.id,
        url=design_path(job.id),
        state=job.state,
        cancel_requested=job.cancel_requested,
        ahead=service.jobs.ahead(job.id),
        request=job.request,
        progress=DesignProgress(step=progress.step, done=progress.done, total=progress.total, note=progress.note)
        if progress
        else None,
        results=results,
        problem=job.failure,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        kept_until=job.kept_until,
        model=job.result.model if job.result else models.version,
    )
