"""The service as a shop starts it, what it costs, and a design that is made beside it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from recgan.device import available_cores
from service.client import Client
from service.settings import PREFIX
from service.store import Store
from service.store.keys import Scope

__all__ = ["Served", "Usage", "designing", "floor", "serving"]

_START_SECONDS = 600.0
_SPAWN = multiprocessing.get_context("spawn")
_LATE = 5.0
"""Seconds that a line of the log may be late."""


@dataclass(frozen=True)
class Usage:
    """What a process holds."""

    rss_mb: float
    """Resident memory: what it shares with others, whole."""
    pss_mb: float
    """The same, but of what it shares its part."""
    descriptors: int
    """Open files and connections."""


class Served:
    """A running ``recgan serve``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str, key: str) -> None:
        self.url, self.key = url, key
        self._process, self._log, self._read = process, log, 0
        self._web: set[int] = set()

    def pids(self) -> list[int]:
        """The service's processes: the one that was started, and those that it started."""
        pid = self._process.pid
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [pid, *(int(child) for thread in threads for child in (thread / "children").read_text().split())]

    def cpu_seconds(self) -> float:
        """Time of the processor that they have taken."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def usage(self) -> dict[int, Usage]:
        """What each process holds that is still there when it is looked at."""
        held = {}
        for pid in self.pids():
            with suppress(OSError):
                held[pid] = _usage(pid)
        return held

    def role(self, pid: int) -> str:
        """What a process is for, by its command and by what the log tells of it."""
        self._logged()
        if pid in self._web:
            return "web"
        if pid == self._process.pid:
            return "supervisor"
        tracks = b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return "resource tracker" if tracks else "designs"

    def megabytes(self) -> dict[str, float]:
        """Memory of all: ``rss`` counts what they share once each, ``pss`` once in all."""
        held = self.usage().values()
        return {"rss": round(sum(one.rss_mb for one in held), 1), "pss": round(sum(one.pss_mb for one in held), 1)}

    def shares(self, answered: int = 0) -> list[int]:
        """How many requests each web process has answered since this was last asked, by the log; it is waited for until
        it tells of ``answered`` ones, since an answer goes out before its line is written."""
        counted, until = self._logged(), time.monotonic() + _LATE
        while counted.total() < answered and time.monotonic() < until:
            time.sleep(0.05)
            counted += self._logged()
        return sorted(counted.values(), reverse=True)

    def _logged(self) -> Counter[int]:
        """Count the requests in the whole lines that are new in the log, by process."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        told = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        counted = Counter(line["process"] for line in told if "route" in line)
        self._web |= counted.keys()
        return counted


def _usage(pid: int) -> Usage:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    megabytes = {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return Usage(megabytes["Rss"], megabytes["Pss"], len(list(Path(f"/proc/{pid}/fd").iterdir())))


@contextmanager
def serving(
    data: Path,
    recommender: Path,
    workers: int,
    *,
    gan: Path | None = None,
    scope: Scope = Scope.read,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Served]:
    """Run the service, with keys, metrics and its log, and a store of its own, on loopback.

    Args:
        data: folder of the catalogue.
        recommender: folder of the recommender.
        workers: web processes.
        gan: folder of the GAN; with one, a further process designs.
        scope: of the key to it.
        settings: further ones of the service.
    """
    with tempfile.TemporaryDirectory(prefix="recgan-bench-") as folder:
        url, log = f"sqlite:///{folder}/store.sqlite", Path(folder) / "log"
        _, key = Store(url).keys.create("benchmark", scope, None)
        command = [sys.executable, "-m", "recgan.cli", "serve", "--data", str(data), "--recommender", str(recommender)]
        command += ["--store", url, "--port", "0", "--keys", "--workers", str(workers)]
        command += ["--gan", str(gan)] if gan else []
        given = {"rate_per_minute": 10_000_000, "log_format": "json", **settings}
        more = {f"{PREFIX}{name.upper()}": str(value) for name, value in given.items()}
        with log.open("wb") as err:
            process = subprocess.Popen(command, stderr=err, stdout=err, env={**os.environ, **more})
        try:
            yield Served(process, log, _address(process, log, workers + (gan is not None)), key)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path, processes: int) -> str:
    """Wait until so many processes have loaded the models, and return the address."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        lines = [json.loads(line)["message"] for line in log.read_text().splitlines() if line.startswith("{")]
        if sum(line.startswith("ready: ") for line in lines) >= processes:
            url: str = next(line.split()[3].rstrip("/") for line in lines if line.startswith("recgan is at "))
            with Client(url) as client:
                if client.ready().status == "ready":
                    return url
        time.sleep(0.2)
    raise SystemExit(f"the service did not start:\n{log.read_text()[-4000:]}")


@contextmanager
def designing(data: Path, recommender: Path, gan: Path) -> Iterator[None]:
    """Make designs all the time, in a process with as many threads as the service's own worker has."""
    begun, stop = _SPAWN.Event(), _SPAWN.Event()
    process = _SPAWN.Process(target=_design, args=(data, recommender, gan, begun, stop), daemon=True)
    process.start()
    try:
        if not begun.wait(_START_SECONDS):
            raise SystemExit("the design did not begin")
        yield
    finally:
        stop.set()
        process.join(60)
        if process.is_alive():
            process.kill()


def _design(data: Path, recommender: Path, gan: Path, begun: Event, stop: Event) -> None:
    import torch

    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer

    torch.set_num_threads(max(1, available_cores() - 1))
    designer = load_designer(recommender, gan, bundle=Bundle.open(data), device="cpu")
    user, category = str(designer.recommender.user_ids[0]), designer.category_names[0]

    class Stopped(Exception):
        """The measurement is over."""

    def progress(step: str, done: int, total: int | None = None, note: str = "") -> None:
        begun.set()
        if stop.is_set():
            raise Stopped

    try:
        for seed in range(1_000_000):
            designer.design(user, category, 4, seed=seed, progress=progress)
    except Stopped:
        return


def floor(served: Served) -> float:
    """Return the milliseconds that the smallest request takes, one after the other: the median of 200."""
    times = []
    with httpx.Client(base_url=served.url) as client:
        for _ in range(200):
            start = time.perf_counter()
            client.get("/health/live").raise_for_status()
            times.append(time.perf_counter() - start)
    return round(1000 * sorted(times)[100], 2)
