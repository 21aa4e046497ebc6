"""Designs: asked for, looked after, followed, cancelled, tried again, listed, deleted."""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from recgan.config import MAX_SEED
from recgan.errors import NotFoundError
from service.context import CurrentShop, Service, TheService
from service.design_answers import status, statuses
from service.edits import completed, with_photos_taken_in
from service.links import design_path
from service.live.shop import Shop
from service.lookup import find_job, unknown_design
from service.paging import place_of, to_cursor
from service.photos import as_base64, photos_of
from service.problems import BODY, ProblemError, documented, invalid
from service.schemas import DesignId, DesignPage, DesignQuery, DesignRequest, DesignStatus
from service.security import READ, WRITE, Caller, Writer
from service.store.job import Job, JobConflict, JobState, QueueFull
from service.streams import MEDIA_TYPE
from service.whom import check_users, with_members

__all__ = ["router"]

router = APIRouter(prefix="/v1/designs", tags=["designs"])
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted: ask for its state at Location",
        "headers": {
            "Location": {"description": "Where the request's state is", "schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds until it is worth asking", "schema": {"type": "integer"}},
        },
    }
}
_SUBMITTED = (
    *BODY,
    "unknown-user",
    "unknown-design",
    "not-found",
    "not-ready",
    "mismatch",
    "invalid-data",
    "invalid-setting",
    "no-picture",
    "no-sliders",
    "no-inverter",
    "no-gaps",
    "refused-picture",
    "no-eye",
    "queue-full",
    "loading",
    "no-generator",
)
_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"enum": ["state", "progress", "picture"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["id", "event", "data"],
}
_CURSOR = "designs"
_PHOTO_SIDE = 256


@router.post("", status_code=202, summary="Ask for designs", responses={**_ACCEPTED, **documented(*_SUBMITTED)})
def submit(
    service: TheService, shop: CurrentShop, caller: Writer, asked: Annotated[DesignRequest, Body()], response: Response
) -> DesignStatus:
    """Design new items of a category that a user would prefer, or, with `edit`, make something of designs, items or
    photos (`GET /v1/editing` says what can be made). It takes a while: 202, then poll or follow, then the pictures."""
    return _submit(service, shop, caller, uuid.uuid4().hex, asked, response)


@router.put(
    "/{design_id}",
    status_code=202,
    summary="Ask for designs once",
    responses={**_ACCEPTED, **documented(*_SUBMITTED, "other-request")},
)
def submit_once(
    service: TheService,
    shop: CurrentShop,
    caller: Writer,
    design_id: DesignId,
    asked: Annotated[DesignRequest, Body()],
    response: Response,
) -> DesignStatus:
    """The same under an id of the client's own. Sent again, it is the same request: nothing is designed twice."""
    return _submit(service, shop, caller, design_id, asked, response)


@router.get("", summary="List design requests", responses=documented("loading"), dependencies=[READ])
def listed(service: TheService, shop: CurrentShop, query: Annotated[DesignQuery, Query()]) -> DesignPage:
    """Design requests that are kept, the newest first, a page at a time."""
    before = place_of(query.cursor, _CURSOR) if query.cursor else None
    jobs = service.store.jobs.page(
        before=before, limit=query.limit + 1, user_id=query.user_id, state=query.state, starred=query.starred
    )
    page = jobs[: query.limit]
    following = to_cursor(_CURSOR, page[-1].seq) if len(jobs) > len(page) else None
    return DesignPage(designs=statuses(service.store, shop.version, page), next_cursor=following)


@router.get(
    "/{design_id}",
    summary="Look after a design",
    responses=documented("unknown-design", "loading"),
    dependencies=[READ],
)
def look_after(service: TheService, shop: CurrentShop, design_id: DesignId) -> DesignStatus:
    """The request's state and progress and, once it has succeeded, the designs, best first."""
    return status(service.store, shop.version, find_job(service.store, design_id))


@router.post(
    "/{design_id}/cancel",
    status_code=202,
    summary="Cancel a design",
    responses=documented("unknown-design", "already-finished", "loading"),
    dependencies=[WRITE],
)
def cancel(service: TheService, shop: CurrentShop, design_id: DesignId) -> DesignStatus:
    """Cancel a waiting request at once and a running one at its next step. Doing so twice is as good as once."""
    job = service.store.jobs.cancel(design_id)
    if job is None:
        raise unknown_design(design_id)
    if job.finished and job.state is not JobState.cancelled:
        raise ProblemError("already-finished", f"design '{design_id}' has {job.state}; DELETE it to be rid of it")
    return status(service.store, shop.version, job)


@router.post(
    "/{design_id}/retry",
    status_code=202,
    summary="Try a design again",
    responses={**_ACCEPTED, **documented("unknown-design", "not-retriable", "queue-full", "loading")},
    dependencies=[WRITE],
)
def retry(service: TheService, shop: CurrentShop, design_id: DesignId, response: Response) -> DesignStatus:
    """Queue a request again that was interrupted or cancelled, or has failed."""
    before = find_job(service.store, design_id)
    if before.state in (JobState.queued, JobState.running, JobState.succeeded):
        raise ProblemError("not-retriable", f"design '{design_id}' is {before.state}: there is nothing to try again")
    settings = service.settings
    try:
        job = service.store.jobs.retry(design_id, bound=settings.design_queue, share=settings.queue_share)
    except QueueFull as error:
        raise _full(service, error) from error
    if job is None:
        raise unknown_design(design_id)
    _accepted(response, job)
    return status(service.store, shop.version, job)


@router.delete(
    "/{design_id}",
    status_code=204,
    summary="Delete a design",
    responses=documented("unknown-design"),
    dependencies=[WRITE],
)
def delete(service: TheService, design_id: DesignId) -> Response:
    """Delete a request and its designs; one that runs is stopped at its next step."""
    find_job(service.store, design_id)
    service.store.jobs.delete(design_id)
    return Response(status_code=204)


@router.get(
    "/{design_id}/events",
    summary="Follow a design",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events, `state`, `progress` and `picture` (a design as it is now: `index`, and "
            "`png` as Base64), until the request has ended. Each has an id: a "
            "client that comes back with it as Last-Event-ID misses none.",
            "content": {MEDIA_TYPE: {"itemSchema": _EVENT}},
        },
        204: {"description": "It has ended, and the client has seen all"},
        **documented("unknown-design", "too-many-streams"),
    },
    dependencies=[READ],
)
async def events(
    service: TheService,
    design_id: DesignId,
    request: Request,
    last_event_id: Annotated[int, Header(alias="Last-Event-ID", ge=0, le=2**31)] = 0,
) -> Response:
    """The request's progress as it is made (server-sent events)."""
    job = await run_in_threadpool(find_job, service.store, design_id)
    request.scope.get("recgan.seen", {})["stream"] = "yes"
    if request.scope.get("recgan.head"):  # the head alone, and not after all that is to come
        return Response(media_type=MEDIA_TYPE)
    return await run_in_threadpool(service.streams.follow, job, last_event_id)


def _submit(
    service: Service, shop: Shop, caller: Caller, id: str, asked: DesignRequest, response: Response
) -> DesignStatus:
    # Without what is left out: it stays the same when requests can say more one day.
    fingerprint = hashlib.sha256(asked.model_dump_json(exclude_defaults=True).encode()).hexdigest()
    job = service.store.jobs.get(id)
    # The same as before is not looked into again: what it is made from may be gone by now.
    if job is None or job.owner != caller.owner or job.asked != fingerprint:
        job = _queued(service, shop, caller, id, asked, fingerprint)
    _accepted(response, job)
    return status(service.store, shop.version, job)


def _queued(service: Service, shop: Shop, caller: Caller, id: str, asked: DesignRequest, fingerprint: str) -> Job:
    """Return the job of a request that is now in the queue, or was already."""
    shop.models.need_designer()
    settings = service.settings
    if asked.edit is not None:
        asked = asked.model_copy(update={"edit": with_photos_taken_in(asked.edit, settings, _PHOTO_SIDE)})
    full = completed(with_members(asked, shop, service.need_gaps), shop, service.store)
    _check(shop, full)
    photos = full.photos
    if asked.photos:
        shop.models.need_eye()
        photos = [as_base64(photo) for photo in photos_of(asked.photos, settings, side=_PHOTO_SIDE)]
    seed = asked.seed if asked.seed is not None else _seed_of(id)  # of the id: asked again, it is the same request
    request = full.model_copy(update={"seed": seed, "photos": photos}).model_dump(mode="json")
    try:
        return service.store.jobs.submit(
            request,
            id=id,
            asked=fingerprint,
            owner=caller.owner,
            user_id=full.user_id,
            bound=settings.design_queue,
            share=settings.queue_share,
        )
    except JobConflict as error:
        before = service.store.jobs.get(id)
        if before is not None and before.owner == caller.owner and _is_same(before, request):
            return before
        raise ProblemError("other-request", f"the id '{id}' was used for another request; take another id") from error
    except QueueFull as error:
        raise _full(service, error) from error


def _is_same(job: Job, request: dict[str, Any]) -> bool:
    """Return whether a job is of a request, which was stored when requests could say less: what they could not say then
    is as if it had been left out."""
    return DesignRequest.model_validate(job.request).model_dump(mode="json") == request


def _check(shop: Shop, asked: DesignRequest) -> None:
    from recgan.design.presets import load_preset

    if asked.user_id is not None:
        shop.tastes.of_user(asked.user_id)
    check_users(asked, shop)
    shop.catalogue.check_items(asked.liked, "/liked/{}")
    assert asked.category is not None
    shop.catalogue.check_categories([asked.category], "/category")
    if asked.category not in shop.models.designable:
        raise invalid("/category", f"the generator does not know the category '{asked.category}'")
    try:
        load_preset(asked.preset)
    except NotFoundError as error:
        raise invalid("/preset", str(error)) from error


def _seed_of(id: str) -> int:
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8]) % (MAX_SEED + 1)


def _accepted(response: Response, job: Job) -> None:
    response.headers["Location"] = design_path(job.id)
    response.headers["Retry-After"] = "1"


def _full(service: Service, error: QueueFull) -> ProblemError:
    seconds = max(1, round(service.store.workers.seconds_a_job()))
    whose = "designs of this key" if error.own else "designs"
    return ProblemError(
        "queue-full",
        f"{error.waiting} {whose} are waiting already; ask again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )
