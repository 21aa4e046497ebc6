"""The worker that designs, as the service's settings want it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recgan.device import available_cores
from recgan.progress import Progress
from service.designs import make_designs
from service.holder import ModelHolder
from service.live.shop import ShopKeeper
from service.models import Models
from service.settings import ServiceSettings
from service.store import Store
from service.worker import Worker

__all__ = ["design_worker", "design_worker_alone"]


def design_worker(
    settings: ServiceSettings, store: Store, holder: ModelHolder, keeper: ShopKeeper, name: str | None = None
) -> Worker:
    """Return a worker that designs by the models of ``holder``; it is not started."""
    threads = settings.design_threads or max(1, available_cores() - 1)
    return Worker(
        store,
        make_designs(keeper.now, store),
        device=settings.device,
        name=name,
        thread_start=lambda: _give_threads(threads),
        ready=lambda: holder.serving is not None,
    )


def design_worker_alone(
    settings: ServiceSettings, store: Store, *, name: str, load: Callable[[ServiceSettings, Progress], Models]
) -> tuple[ModelHolder, Worker]:
    """Return the models and the worker of a process that does nothing but design; neither is started."""
    holder = ModelHolder(load, settings, store.models)
    return holder, design_worker(settings, store, holder, ShopKeeper(holder.get, store), name)


def _give_threads(count: int) -> None:
    """Give the calling thread ``count`` native torch threads, whatever other threads set later."""
    torch.set_num_threads(count)
    # torch reads the number that was set last when a thread first asks, and never again: ask now.
    torch.get_num_threads()
