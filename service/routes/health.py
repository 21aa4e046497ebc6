"""Whether the process lives, whether it can serve, and what it is."""

from __future__ import annotations

import asyncio
import importlib.metadata

from fastapi import APIRouter, Response

from service.context import TheService
from service.metrics import CONTENT_TYPE
from service.problems import described, documented
from service.schemas import Health, Readiness, Version
from service.security import READ
from service.store.database import alive

__all__ = ["router"]

router = APIRouter(tags=["health"])
_PROBLEMS = described("bad-request", "body-too-large", "internal")  # no key, nothing asked for


@router.get("/health/live", summary="Does the process answer?", responses=_PROBLEMS)
async def live() -> Health:
    """Answers as long as the event loop turns; restart the process when it does not."""
    return Health(status="live")


@router.get(
    "/health/ready",
    summary="Can requests be served?",
    responses={503: {"model": Readiness, "description": "Not yet, or not any more: see the reasons"}, **_PROBLEMS},
)
async def ready(service: TheService, response: Response) -> Readiness:
    """Ready once the models are loaded, the store answers and the design worker runs; send traffic only then."""
    reasons = service.holder.reasons()
    if service.worker is not None and not service.worker.alive:
        reasons.append("the design worker does not run")
    # In asyncio's own threads, which no request takes: a probe is answered however busy the others are.
    if not await asyncio.to_thread(alive, service.store.database):
        reasons.append("the store does not answer")
    if reasons:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return Readiness(status="not ready" if reasons else "ready", reasons=reasons)


@router.get("/version", summary="What runs here?", responses=_PROBLEMS)
async def version(service: TheService) -> Version:
    """The software's version and the digests of the artifacts that it serves."""
    return Version(recgan=importlib.metadata.version("recgan"), api="v1", model=service.holder.version)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(),
    },
    dependencies=[READ],
)
def metrics(service: TheService) -> Response:
    """Requests of this service by route, method and status, with their times; the store's queue, workers and models."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
