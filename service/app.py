"""The FastAPI application."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
import torch
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from threadpoolctl import threadpool_limits

from recgan.device import available_cores, torch_threads
from recgan.progress import Progress
from service import middleware, problems
from service.context import DesignQueue, Service
from service.designs import make_designs
from service.models import ModelHolder, Models, load_models
from service.routes import catalogue, designs, health, page, recommendations
from service.settings import ServiceSettings

__all__ = ["create_app"]

logger = logging.getLogger("recgan.service")

DESCRIPTION = """\
Recommendations from a fashion catalogue, and designs of new items that a user would prefer.

* Ids are the shop's own strings; in a path they are percent-encoded (a slash is written `%2F`).
* Every error is an RFC 9457 `application/problem+json` with a stable `type`.
* The *recommender* has learned what each user takes and, where it is a visual one, how that looks. The *generator* is a
  network that has learned from the catalogue's photos to draw new items. A *design* is such a drawing, searched for so
  that the recommender scores it high for one user; whether the user agrees, only the user can tell.
* Every answer names the `model` that gave it: the digests (fingerprints) of the catalogue, the recommender and the
  generator. Another digest means other figures.
* Lists are paged: pass an answer's `next_cursor` as `cursor`.
* Designing takes seconds to minutes: `POST /v1/designs` answers 202 with a `Location` to ask until it is finished.
"""
TAGS = [
    {"name": "recommendations", "description": "What would this user like? What is like this item?"},
    {"name": "designs", "description": "New items that a user would prefer, beside the nearest real ones."},
    {"name": "catalogue", "description": "Items, categories and photos."},
    {"name": "health", "description": "For probes and operators."},
]


def create_app(
    settings: ServiceSettings,
    *,
    load: Callable[[ServiceSettings, Progress], Models] = load_models,
    on_load_failure: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the application; its models are loaded once it has started (see ``/health/ready``).

    Args:
        settings: the service's settings.
        load: makes the models of the settings.
        on_load_failure: told when the models cannot be loaded.
    """
    holder = ModelHolder(lambda progress: load(settings, progress), on_load_failure)
    design_threads = settings.design_threads or max(1, available_cores() - 1)
    jobs: DesignQueue = DesignQueue(
        make_designs(holder.get),
        bound=settings.design_queue,
        keep_seconds=settings.keep_seconds,
        keep_jobs=settings.keep_designs,
        thread_start=lambda: _give_threads(design_threads),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.request_threads
        # One request's arithmetic stays on few threads: several requests run at once, beside the design worker.
        # The worker first: torch gives a new thread the number that was set last, and that is to be the requests'.
        jobs.start()
        with torch_threads(settings.torch_threads), threadpool_limits(settings.torch_threads, user_api="blas"):
            holder.start()
            yield
            if not await anyio.to_thread.run_sync(jobs.close, settings.shutdown_seconds):
                logger.warning("a design was still running after %g s; it was dropped", settings.shutdown_seconds)

    app = FastAPI(
        title="recgan",
        version=importlib.metadata.version("recgan"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,  # FastAPI's pages for these load scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever host the request names
        lifespan=lifespan,
    )
    app.state.service = Service(settings, holder, jobs)
    for room in (recommendations, designs, catalogue, health, page):
        app.include_router(room.router)
    app.mount("/static", StaticFiles(directory=page.STATIC), name="static")
    problems.install(app)
    middleware.install(app, max_body_bytes=settings.max_body_bytes)
    _describe_problems(app)
    return app


def _give_threads(count: int) -> None:
    """Give the calling thread ``count`` native torch threads, whatever other threads set later."""
    torch.set_num_threads(count)
    # torch reads the number that was set last when a thread first asks, and never again: ask now.
    torch.get_num_threads()


def _describe_problems(app: FastAPI) -> None:
    """Put the problem's schema into the OpenAPI document, which the routes refer to."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        described = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas["Problem"] = described
        return document

    app.openapi = openapi  # type: ignore[method-assign]
