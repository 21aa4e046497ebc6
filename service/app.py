"""The FastAPI application."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from threadpoolctl import threadpool_limits

from recgan.device import torch_threads
from recgan.progress import Progress
from service import middleware, problems
from service.blindtest import open_blindtest
from service.context import DesignWorker, Service
from service.design_worker import design_worker
from service.gaps import read_gaps
from service.holder import ModelHolder
from service.live.shop import ShopKeeper
from service.metrics import Metrics
from service.models import Models, load_models
from service.recommending import Recommending
from service.routes import (
    blindtest,
    design_results,
    designs,
    editing,
    events,
    gaps,
    health,
    items,
    models,
    page,
    recommendations,
    users,
)
from service.security import Gate
from service.settings import ServiceSettings
from service.store import Store
from service.streams import Streams
from service.tracing import tracing_of
from service.worker_process import WorkerProcess

__all__ = ["create_app"]

logger = logging.getLogger("recgan.service")
_TRACING_SECONDS = 2.0

DESCRIPTION = """\
Recommendations from a fashion catalogue, and designs of new items that a user would prefer.

* Ids are the shop's own strings; in a path they are percent-encoded (a slash is written `%2F`).
* Every error is an RFC 9457 `application/problem+json` with a stable `type`.
* The *recommender* has learned what each user takes and, where it is a visual one, how that looks. The *generator* is a
  network that has learned from the catalogue's photos to draw new items. A *design* is such a drawing, searched for so
  that the recommender scores it high for one user; whether the user agrees, only the user can tell.
* Every answer of `/v1` names the model that serves in its header `X-Recgan-Model`, by its id in `/v1/models`. What a
  model has computed names, as `model`, the digests (fingerprints) of the catalogue, the recommender and the generator:
  another digest means other figures.
* Where the service asks for API keys, send one as `Authorization: Bearer rg_…`. A key may `read`, `write` or `admin`.
* Lists are paged: pass an answer's `next_cursor` as `cursor`.
* Designing takes seconds to minutes: `POST /v1/designs` answers 202 with a `Location` to ask until it is finished;
  `/v1/designs/{id}/events` tells of it as it goes on.
* Pictures come in as JPEG, PNG or WebP; inside JSON as Base64 text.
"""
TAGS = [
    {"name": "recommendations", "description": "What would this user like? What is like this item?"},
    {"name": "events", "description": "What users do; it counts from the next request on."},
    {"name": "users", "description": "Who is known, what is held of one, and forgetting one."},
    {"name": "models", "description": "What has been served, what serves, and changing it."},
    {"name": "designs", "description": "New items that a user would prefer, beside the nearest real ones."},
    {"name": "gaps", "description": "What the catalogue lacks, and for whom."},
    {"name": "blind test", "description": "What people say, who do not know what is real and what is designed."},
    {"name": "catalogue", "description": "Items, categories and photos."},
    {"name": "health", "description": "For probes and operators."},
]


def create_app(
    settings: ServiceSettings,
    *,
    load: Callable[[ServiceSettings, Progress], Models] = load_models,
    on_load_failure: Callable[[], None] = lambda: None,
    on_loaded: Callable[[], None] = lambda: None,
    worker: DesignWorker | None = None,
    patient: bool = False,
) -> FastAPI:
    """Return the application; its models are loaded once it has started (see ``/health/ready``).

    Args:
        settings: the service's settings.
        load: makes the models of the settings.
        on_load_failure: told when the models cannot be loaded.
        on_loaded: told whenever other models serve.
        worker: makes the designs; None: one of its own, as the settings want it.
        patient: start only once the models are loaded.
    """
    tracing = tracing_of(settings)
    store = Store(
        settings.store_url,
        keep_seconds=settings.keep_seconds,
        lease_seconds=settings.lease_seconds,
        connections=settings.request_threads + 4,
    )
    holder = ModelHolder(load, settings, store.models, on_load_failure, on_loaded)
    keeper = ShopKeeper(holder.get, store)
    if worker is None and settings.gan is not None and settings.design_worker == "process":
        worker = WorkerProcess(settings, store)
    elif worker is None and settings.gan is not None and settings.design_worker == "thread":
        worker = design_worker(settings, store, holder, keeper)
    service = Service(
        settings=settings,
        store=store,
        holder=holder,
        keeper=keeper,
        recommending=Recommending(keeper),
        gate=Gate(settings, store),
        metrics=Metrics(lambda: _gauges(store, holder)),
        streams=Streams(store, settings.max_streams),
        worker=worker,
        blindtest=None if settings.blindtest is None else open_blindtest(settings.blindtest),
        gaps=None if settings.gaps is None else read_gaps(settings.gaps),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.request_threads
        # One request's arithmetic stays on few threads: several requests run at once, beside the design worker.
        # The worker first: torch gives a new thread the number that was set last, and that is to be the requests'.
        if worker is not None:
            worker.start()
        with torch_threads(settings.torch_threads), threadpool_limits(settings.torch_threads, user_api="blas"):
            holder.start()
            if patient:
                await anyio.to_thread.run_sync(holder.wait)
                if holder.failure is not None:
                    raise holder.failure
            yield
            holder.stop()
            service.recommending.close()
            if worker is not None and not await anyio.to_thread.run_sync(worker.close, settings.shutdown_seconds):
                logger.warning("a design was still running after %g s; it was dropped", settings.shutdown_seconds)
            store.close()
            if tracing is not None:
                await anyio.to_thread.run_sync(tracing.close, _TRACING_SECONDS)

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
    app.state.service = service
    for room in (
        recommendations,
        users,
        events,
        items,
        designs,
        design_results,
        editing,
        gaps,
        blindtest,
        models,
        health,
        page,
    ):
        app.include_router(room.router)
    app.mount("/static", StaticFiles(directory=page.STATIC), name="static")
    problems.install(app)
    middleware.install(app, settings, lambda: service.metrics, lambda: holder.serving, tracing)
    _describe(app, with_keys=settings.needs_keys)
    return app


def _gauges(store: Store, holder: ModelHolder) -> dict[str, tuple[str, dict[str, float]]]:
    """Return what the store and the models have to tell Prometheus."""
    jobs = {state: float(count) for state, count in store.jobs.waiting().items()}
    living = float(store.workers.living())
    serving = {holder.serving: 1.0} if holder.serving else {}
    return {
        "recgan_designs": ("Design requests that are kept, by state.", jobs),
        "recgan_workers": ("Design workers that live.", {"design": living}),
        "recgan_model": ("The model that serves, by id.", serving),
    }


def _describe(app: FastAPI, *, with_keys: bool) -> None:
    """Put the problem's schema into the OpenAPI document, which the routes refer to; and take API keys out of it where
    none are asked for."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        described = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas["Problem"] = described
        if not with_keys:
            document["components"].pop("securitySchemes", None)
            for methods in document["paths"].values():
                for operation in methods.values():
                    operation.pop("security", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
