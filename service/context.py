"""What the routes share: the settings, the store, the models, the gate, and the shop as it is now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request

from service.blindtest import BlindTest
from service.gaps import GapFolder
from service.holder import ModelHolder
from service.live.shop import Shop, ShopKeeper
from service.metrics import Metrics
from service.problems import ProblemError
from service.recommending import Recommending
from service.security import Gate
from service.settings import ServiceSettings
from service.store import Store
from service.streams import Streams

__all__ = ["CurrentShop", "DesignWorker", "Service", "TheService"]


class DesignWorker(Protocol):
    """Whatever runs designs: `service.worker.Worker`, or `service.worker_process.WorkerProcess`."""

    @property
    def alive(self) -> bool:
        """Whether it works."""

    def start(self) -> None:
        """Start it."""

    def close(self, timeout: float) -> bool:
        """End it; return whether it ended within ``timeout`` seconds."""


@dataclass(frozen=True)
class Service:
    """One running service."""

    settings: ServiceSettings
    store: Store
    holder: ModelHolder
    keeper: ShopKeeper
    recommending: Recommending
    gate: Gate
    metrics: Metrics
    streams: Streams
    worker: DesignWorker | None
    """None where other processes make the designs, or there is no generator."""
    gaps: GapFolder | None = None
    """What the catalogue lacks; None: nothing is shown."""

    blindtest: BlindTest | None = None
    """The blind test that is shown; None: there is none."""

    def need_gaps(self) -> GapFolder:
        """Return what the catalogue lacks.

        Raises:
            ProblemError: no-gaps (404).
        """
        if self.gaps is None:
            raise ProblemError(
                "no-gaps", "no gaps are shown here; 'recgan gaps' finds them, and 'recgan serve --gaps' takes them"
            )
        return self.gaps

    def need_blindtest(self) -> BlindTest:
        """Return the blind test.

        Raises:
            ProblemError: no-blindtest (404).
        """
        if self.blindtest is None:
            raise ProblemError(
                "no-blindtest",
                "no blind test is shown here; 'recgan blindtest make' makes one, 'recgan serve --blindtest' takes it",
            )
        return self.blindtest


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


TheService = Annotated[Service, Depends(_service)]


def _shop(service: TheService) -> Shop:
    return service.keeper.now()


CurrentShop = Annotated[Shop, Depends(_shop)]
"""The shop as it is now; a 503 problem until there are models."""
