"""An open-loop load generator for one service on this machine: requests are sent when they are due, whether or not
those before were answered, and a request's time runs from when it was due."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

__all__ = ["MAX_REQUESTS", "MAX_SECONDS", "Outcome", "apply_load"]

MAX_REQUESTS = 100_000
MAX_SECONDS = 120.0
"""Bounds of one load, whatever is asked for."""
_GIVE_UP_SECONDS = 10.0


@dataclass
class Outcome:
    """What came of one load."""

    offered: float
    """Requests a second that were due."""
    seconds: float = 0.0
    """From the first request due to the last answer."""
    times: list[float] = field(default_factory=list)
    """Seconds from when a request was due to the end of its answer, of those answered with 200."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How many were answered how; ``failed``: not at all."""

    def figures(self) -> dict[str, float | dict[str, int]]:
        """Return them as JSON: times in milliseconds."""
        times = 1000 * np.array(self.times or [float("nan")])
        quantiles = {f"p{q:g}_ms": round(float(np.percentile(times, q)), 2) for q in (50, 90, 99, 100)}
        answered = len(self.times) / self.seconds if self.seconds else 0.0
        statuses = dict(sorted(self.statuses.items()))
        return {"offered_per_s": self.offered, "answered_per_s": round(answered, 1), **quantiles, "statuses": statuses}


class _Connection:
    """One kept connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request, read the answer to its end, and return its status."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        assert self._reader is not None
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        await self._reader.readexactly(int(length))
        return int(head[9:12])

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _run(url: str, paths: Sequence[str], rate: float, headers: str, connections: int, seed: int) -> Outcome:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    if not ipaddress.ip_address(parts.hostname).is_loopback:
        raise SystemExit(f"{url} is not on this machine; the load is for loopback alone")
    count = min(len(paths), MAX_REQUESTS, int(rate * MAX_SECONDS))
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))  # as from many independent clients
    free: asyncio.Queue[_Connection] = asyncio.Queue()  # all are used in turn, so that all processes are
    pool = [_Connection(parts.hostname, parts.port) for _ in range(connections)]
    for connection in pool:
        free.put_nowait(connection)
    outcome = Outcome(offered=rate)
    tail = f" HTTP/1.1\r\nHost: {parts.netloc}\r\n{headers}\r\n"

    async def one(path: str, at: float) -> None:
        connection = await free.get()
        try:
            async with asyncio.timeout_at(at + _GIVE_UP_SECONDS):
                status = await connection.ask(f"GET {path}{tail}".encode())
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            outcome.statuses["failed"] += 1
            connection.close()
        else:
            outcome.statuses[str(status)] += 1
            if status == 200:
                outcome.times.append(loop.time() - at)
        finally:
            free.put_nowait(connection)

    loop = asyncio.get_running_loop()
    begun = loop.time() + 0.1
    async with asyncio.TaskGroup() as group:
        for path, moment in zip(paths[:count], begun + due):
            await asyncio.sleep(max(0.0, moment - loop.time()))
            group.create_task(one(path, float(moment)))
    outcome.seconds = loop.time() - begun
    for connection in pool:
        connection.close()
    return outcome


def apply_load(
    url: str, paths: Sequence[str], *, rate: float, key: str | None = None, connections: int = 64, seed: int = 0
) -> Outcome:
    """Ask for each of the paths once, at Poisson times of a rate, and return what came of it.

    Args:
        url: a service on this machine.
        paths: one a request; at most `MAX_REQUESTS`, or as many as are due in `MAX_SECONDS`.
        rate: requests a second.
        key: an API key.
        connections: kept open; a request that finds none free waits, and that counts.
        seed: of the times.
    """
    headers = f"Authorization: Bearer {key}\r\n" if key else ""
    gc.collect()
    gc.freeze()  # a round over all that is imported here would hold every request up for 0.2 s
    return asyncio.run(_run(url, paths, rate, headers, connections, seed))
