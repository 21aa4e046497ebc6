"""A server process over the models of `service_world`, with the real protocol around it; `Server` starts and ends it.

``python -m tests.service_program`` takes its settings from the environment and prints its port. Its designs take a
moment, so that a kill finds some of them running.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from recgan.progress import Progress
from service.settings import PREFIX, ServiceSettings, service_settings
from tests.service_world import PATIENCE, load_world, until

if TYPE_CHECKING:
    from service.models import Models

__all__ = ["HUNGRY", "LONG", "Server"]

LONG = 1
"""Seed of a design that takes minutes."""
HUNGRY = 2
"""Seed of a design that takes memory until there is none left."""
_ROOM = 256 << 20
_STEP_SECONDS = 0.03


class Server:
    """The process, and a client of it.

    Args:
        bundle: the catalogue of `service_world`.
        store: URL of the database.
        settings: further ones of the service.
    """

    def __init__(self, bundle: Path, store: str, **settings: Any) -> None:
        given = {
            "data": bundle,
            "recommender": bundle,
            "gan": bundle,
            "store": store,
            "design_worker": "thread",
            "design_queue": 1000,
            "lease_seconds": 5,
            **settings,
        }
        self.store = store
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.service_program"],
            cwd=Path(__file__).parents[1],
            env={**os.environ, **{f"{PREFIX}{name.upper()}": str(value) for name, value in given.items()}},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline() or 0)
        assert self.port, self.log
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE)
        until(self.ready)

    @property
    def log(self) -> str:
        """What it has logged."""
        self._log.seek(0)
        return self._log.read()

    def begin_peak(self) -> float:
        """Return the megabytes that the process has now; from here on `peak` looks for the most."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._status("VmRSS") / 1024

    def peak(self) -> float:
        """Return the most megabytes that it has had since then."""
        return self._status("VmHWM") / 1024

    def _status(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1])

    @property
    def descriptors(self) -> int:
        """How many files and connections it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def children(self) -> set[int]:
        """The processes that it has started."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return {int(child) for thread in threads for child in (thread / "children").read_text().split()}

    def ready(self) -> bool:
        """Whether it serves."""
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()
        self.client.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


def load(settings: ServiceSettings, progress: Progress) -> Models:
    """The models, which are others for each name of the recommender's folder."""
    models = load_world(settings, progress)
    designer = models.need_designer()
    make = designer.design

    def slowly(*given: Any, seed: int, progress: Progress, **options: Any) -> Any:
        """Design, in some steps."""
        steps = 10_000 if seed == LONG else 4
        for step in range(steps):
            progress("scoring samples", step, steps)
            time.sleep(_STEP_SECONDS)
        if seed == HUNGRY:
            _take_all_memory()
        return make(*given, seed=seed, progress=progress, **options)

    designer.design = slowly  # type: ignore[method-assign]
    digest = Path(settings.recommender).name.ljust(64, "-")
    served = replace(models, version=models.version.model_copy(update={"recommender": digest}))
    vars(served)["editor"] = models.editor
    return served


def _take_all_memory() -> None:
    """Take memory up to a limit a little above what this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM, before[1]))
    try:
        taken = []
        while True:
            taken.append(np.ones(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


if __name__ == "__main__":
    from service.store import Store
    from service.web import Web
    from service.worker_process import WorkerProcess

    settings = service_settings()
    worker = None
    if settings.design_worker == "process":
        worker = WorkerProcess(settings, Store(settings.store_url, lease_seconds=settings.lease_seconds), load)
    web = Web(settings, load, worker=worker)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    web.run(listener)
