"""What the routes share: the settings, the models that serve, the design queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service.designs import DesignJobResult
from service.jobs import JobQueue
from service.models import ModelHolder, Models
from service.schemas import DesignRequest
from service.settings import ServiceSettings

__all__ = ["CurrentModels", "DesignQueue", "Service", "TheService"]

DesignQueue = JobQueue[DesignRequest, DesignJobResult]


@dataclass(frozen=True)
class Service:
    """One running service."""

    settings: ServiceSettings
    holder: ModelHolder
    jobs: DesignQueue


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


TheService = Annotated[Service, Depends(_service)]


async def _models(service: TheService) -> Models:
    return service.holder.get()


CurrentModels = Annotated[Models, Depends(_models)]
"""The models that serve now; a 503 problem until there are any."""
