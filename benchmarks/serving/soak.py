"""The soak of ``benchmarks/soak.py``: a mixed load, and what each process holds meanwhile."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from recgan.device import available_cores
from service.store.keys import Scope
from serving.mixture import Mixture
from serving.processes import Served, Usage, serving
from serving.world import make_boutique_shop

__all__ = ["Sample", "found", "main"]

_WARM_SECONDS = 60.0
_SAMPLE_SECONDS = 10.0
_KEEP_SECONDS = 120.0
"""How long finished designs are kept: what is kept is of a fixed size soon."""
_DESCRIPTORS = 16
"""So many more at the end are connections, of clients and to the store, that come and go."""


@dataclass(frozen=True)
class Sample:
    """What all processes held at one moment."""

    seconds: float
    """Since the load began."""
    processes: dict[int, Usage]
    """By their ids."""


def main(description: str, arguments: list[str] | None = None) -> dict[str, Any]:
    """Put the service under load, print what was found and, with ``--json``, write it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("artifacts", type=Path, nargs="*", metavar="CATALOGUE RECOMMENDER GAN", help="or none: drawn")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2, help="web processes")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second, designs aside")
    parser.add_argument("--limit", type=float, default=5.0, help="growth of resident memory that is allowed, in %%")
    parser.add_argument("--folder", type=Path, help="where the drawn shop is kept for another time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    options = parser.parse_args(arguments)
    if len(options.artifacts) not in (0, 3):
        parser.error("give a catalogue, a recommender and a GAN, or none of them")
    result: dict[str, Any] = {
        "minutes": options.minutes,
        "workers": options.workers,
        "rate": options.rate,
        "seed": options.seed,
        "cores": available_cores(),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(prefix="recgan-bench-") as temporary:
        folder = options.folder or Path(temporary)
        data, recommender, gan = options.artifacts or make_boutique_shop(folder, options.seed)
        settings = {"keep_seconds": _KEEP_SECONDS}
        with serving(data, recommender, options.workers, gan=gan, scope=Scope.write, settings=settings) as served:
            mixture = Mixture(served.url, served.key, rate=options.rate, seed=options.seed)
            samples = _watched(served, mixture, 60 * options.minutes)
            roles = {pid: served.role(pid) for pid in samples[-1].processes}
    result |= found(samples, roles, limit=options.limit)
    result["load_after"] = os.getloadavg()[0]
    result["requests"] = {kind: dict(sorted(told.items())) for kind, told in sorted(mixture.statuses.items())}
    result["failures"] = mixture.failures
    if mixture.failures:
        result["missed"].append("requests were answered with 5xx or not at all; 'failures' has the first of them")
    result["samples"] = [asdict(one) for one in samples]
    _tell(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _watched(served: Served, mixture: Mixture, seconds: float) -> list[Sample]:
    """Keep up the load for so long, and return what the processes held meanwhile."""
    begun, every = time.monotonic(), min(_SAMPLE_SECONDS, seconds / 10)
    samples: list[Sample] = []
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(mixture.run, seconds)
        while not load.done():
            samples.append(Sample(round(time.monotonic() - begun, 1), served.usage()))
            wait([load], every)
    load.result()
    return samples


def found(samples: Sequence[Sample], roles: dict[int, str], *, limit: float) -> dict[str, Any]:
    """Return what the processes held after the first minute and at the end, and where the aim was missed.

    What is in flight comes and goes, so each is the median of a minute, or of a third of a run that is shorter than
    three.

    Args:
        samples: in their order.
        roles: what each process is for.
        limit: growth of resident memory, in all, that is allowed, in percent.
    """
    until = samples[-1].seconds
    warm = min(_WARM_SECONDS, until / 3)
    early = [one.processes for one in samples if warm <= one.seconds < 2 * warm]
    late = [one.processes for one in samples if one.seconds > until - warm]
    lasting = set.intersection(*(set(one.processes) for one in samples))
    processes = {f"{roles[pid]} {pid}": _grown(*_of(pid, early, late)) for pid in sorted(lasting)}
    in_all = _grown(*([list(held.values()) for held in part] for part in (early, late)))
    missed = []
    if in_all["rss_growth_percent"] >= limit:
        missed.append(f"resident memory grew by {in_all['rss_growth_percent']:g}%; the aim is under {limit:g}%")
    for name, told in processes.items():
        before, after = told["descriptors"]
        if after > before + _DESCRIPTORS:
            missed.append(f"{name} has {after:g} descriptors at the end, {before:g} after the first minute")
    if any(set(one.processes) != lasting for one in samples):
        missed.append("a process ended, or another came")
    return {"processes": processes, "in_all": in_all, "missed": missed}


def _of(pid: int, *parts: Sequence[dict[int, Usage]]) -> list[list[list[Usage]]]:
    """Return of each part of the run what one process held at each moment."""
    return [[[held[pid]] for held in part] for part in parts]


def _grown(*parts: Sequence[Sequence[Usage]]) -> dict[str, Any]:
    """Return what some processes held together after the first minute and at the end, as JSON."""

    def held(name: str) -> list[float]:
        return [round(median(sum(getattr(one, name) for one in moment) for moment in part), 1) for part in parts]

    rss, pss = held("rss_mb"), held("pss_mb")
    return {
        "rss_mb": rss,
        "rss_growth_percent": round(100 * (rss[1] / rss[0] - 1), 2),
        "pss_mb": pss,
        "pss_growth_percent": round(100 * (pss[1] / pss[0] - 1), 2),
        "descriptors": held("descriptors"),
    }


def _tell(result: dict[str, Any]) -> None:
    """Print it."""
    for name, held in [*result["processes"].items(), ("in all", result["in_all"])]:
        print(name, *(f"{figure}={value}" for figure, value in held.items()), file=sys.stderr)
    for kind, statuses in result["requests"].items():
        print(kind, *(f"{status}: {count}" for status, count in statuses.items()), sep="  ", file=sys.stderr)
    for line in [*result["failures"], *result["missed"]]:
        print(line, file=sys.stderr)
    print("missed" if result["missed"] else "the aim is reached", file=sys.stderr, flush=True)
