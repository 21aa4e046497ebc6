"""Whether the process lives, whether it can serve, and what it is."""

from __future__ import annotations

import importlib.metadata

from fastapi import APIRouter, Response

from service.context import TheService
from service.schemas import Health, Readiness, Version

__all__ = ["router"]

router = APIRouter(tags=["health"])


@router.get("/health/live", summary="Does the process answer?")
async def live() -> Health:
    """Answers as long as the event loop turns; restart the process when it does not."""
    return Health(status="live")


@router.get(
    "/health/ready",
    summary="Can requests be served?",
    responses={503: {"model": Readiness, "description": "Not yet, or not any more: see the reasons"}},
)
async def ready(service: TheService, response: Response) -> Readiness:
    """Ready once the models are loaded and the design worker runs; send traffic only then."""
    reasons = service.holder.reasons()
    if not service.jobs.alive:
        reasons.append("the design worker does not run")
    if reasons:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return Readiness(status="not ready" if reasons else "ready", reasons=reasons)


@router.get("/version", summary="What runs here?")
async def version(service: TheService) -> Version:
    """The software's version and the digests of the artifacts that it serves."""
    return Version(recgan=importlib.metadata.version("recgan"), api="v1", model=service.holder.version)
