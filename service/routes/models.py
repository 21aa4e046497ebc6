"""Models: what has been served, what serves, and changing it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.convertors import StringConvertor, register_url_convertor

from recgan.errors import NotFoundError
from service.context import Service, TheService
from service.problems import ProblemError, documented
from service.schemas import Activation, ModelDetail, ModelList, ModelVersion
from service.security import ADMIN, READ
from service.store.models import StoredModel

__all__ = ["router"]


class _ModelIdConvertor(StringConvertor):
    """One path segment, but for ``rollback``, which is no model and takes POST alone."""

    regex = "(?!rollback$)[^/]+"


register_url_convertor("model", _ModelIdConvertor())
router = APIRouter(prefix="/v1/models", tags=["models"])
ModelId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The model's id.", examples=["4f1d2c3b4a596877"])]


@router.get("", summary="List the models", responses=documented(), dependencies=[READ])
def models(service: TheService) -> ModelList:
    """All sets of artifacts that were served here or were made by a retraining, and which of them served when."""
    active = service.store.models.active()
    return ModelList(
        models=[_detail(service, model, active) for model in service.store.models.all()],
        history=[Activation(**step) for step in service.store.models.history()],
    )


@router.get("/{model_id:model}", summary="Get a model", responses=documented("unknown-model"), dependencies=[READ])
def model(service: TheService, model_id: ModelId) -> ModelDetail:
    """One of them, with its metrics."""
    return _detail(service, _find(service, model_id), service.store.models.active())


@router.post(
    "/{model_id:model}/activate",
    status_code=202,
    summary="Let a model serve",
    responses=documented("unknown-model"),
    dependencies=[ADMIN],
)
def activate(service: TheService, model_id: ModelId) -> ModelDetail:
    """Let a model serve from now on. Every process loads it while it goes on with the one before; see `serving`."""
    _find(service, model_id)
    service.holder.forgive(model_id)
    service.store.models.activate(model_id, "asked for")
    return model(service, model_id)


@router.post(
    "/rollback",
    status_code=202,
    summary="Go back to the model before",
    responses=documented("unknown-model"),
    dependencies=[ADMIN],
)
def roll_back(service: TheService) -> ModelDetail:
    """Let the model serve again that served before the one that serves now."""
    previous = service.store.models.previous()
    if previous is None:
        raise ProblemError("unknown-model", "no other model has served before this one")
    service.holder.forgive(previous)
    service.store.models.activate(previous, "rolled back")
    return model(service, previous)


def _find(service: Service, model_id: str) -> StoredModel:
    try:
        return service.store.models.get(model_id)
    except NotFoundError as error:
        raise ProblemError("unknown-model", str(error)) from error


def _detail(service: Service, stored: StoredModel, active: str | None) -> ModelDetail:
    return ModelDetail(
        id=stored.id,
        active=stored.id == active,
        serving=stored.id == service.holder.serving,
        problem=service.holder.refused.get(stored.id),
        version=ModelVersion.model_validate(stored.version),
        facts=dict(stored.facts),
        metrics=dict(stored.metrics),
        source=stored.source,
        registered_at=stored.registered_at,
    )
