"""The measurements of ``benchmarks/service.py``, in turn."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recgan.device import available_cores
from serving.load import MAX_REQUESTS, MAX_SECONDS, apply_load
from serving.processes import Served, designing, floor, serving
from serving.world import SIZES, make_shop, user_id

K = 20
_WARM_UP = 100
_AIMS = ((False, 300.0, 60.0), (True, 100.0, 250.0))
"""Over the small shop, with the best number of web processes: whether designs are made, requests a second, and the
milliseconds in which 99 of 100 are to be answered."""


def main(description: str, arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print what was found and, with ``--json``, write it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scale", choices=list(SIZES), default="small")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 300.0], help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help=f"of each rate; at most {MAX_SECONDS:g}")
    parser.add_argument("--designs", type=Path, nargs=3, metavar=("CATALOGUE", "RECOMMENDER", "GAN"))
    parser.add_argument("--folder", type=Path, help="where the synthetic shop is kept for another time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    options = parser.parse_args(arguments)
    items, users = SIZES[options.scale]
    result: dict[str, Any] = {
        "scale": options.scale,
        "items": items,
        "users": users,
        "k": K,
        "seed": options.seed,
        "seconds": min(options.seconds, MAX_SECONDS),
        "cores": available_cores(),
        "load_before": os.getloadavg()[0],
        "runs": [],
    }
    with tempfile.TemporaryDirectory(prefix="recgan-bench-") as temporary:
        data, recommender = make_shop(options.folder or Path(temporary), options.scale, options.seed)
        for workers in options.workers:
            with serving(data, recommender, workers) as served:
                result["runs"] += _measured(served, workers, options)
    result["load_after"] = os.getloadavg()[0]
    result["missed"] = missed(result["runs"]) if options.scale == "small" else []
    for line in result["missed"]:
        print(line, file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


def missed(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the aims that no run reached, a line each; one that was not measured is not among them."""
    found = []
    for designs, rate, aim in _AIMS:
        same = [run for run in runs if (run["designs"], run["offered_per_s"]) == (designs, rate)]
        if not same:
            continue
        best = min(run["p99_ms"] if set(run["statuses"]) == {"200"} else math.inf for run in same)
        if not best < aim:
            beside = " beside a design" if designs else ""
            found.append(f"{rate:g} requests/s{beside}: p99 {best:g} ms at best; the aim is under {aim:g} ms")
    return found


def _measured(served: Served, workers: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures of all rates at one number of web processes."""
    order = np.random.default_rng(options.seed).permutation(SIZES[options.scale][1])
    paths = (f"/v1/users/{user_id(row)}/recommendations?k={K}" for row in order)

    def load(rate: float) -> dict[str, Any]:
        count = min(int(rate * options.seconds), MAX_REQUESTS)
        asked = [path for _, path in zip(range(count), paths)]
        if len(asked) < count:
            raise SystemExit("there are not enough users that were not asked for yet; give fewer --rates or --seconds")
        served.shares()
        before, loaded = served.cpu_seconds(), os.getloadavg()[0]
        outcome = apply_load(served.url, asked, rate=rate, key=served.key, seed=options.seed)
        cpu = served.cpu_seconds() - before
        shares = served.shares(outcome.statuses.total() - outcome.statuses["failed"])
        return {
            "workers": workers,
            **outcome.figures(),
            "cpu_ms_a_request": round(1000 * cpu / max(1, sum(shares)), 2),
            "requests_by_process": shares,
            **{f"{name}_mb": value for name, value in served.megabytes().items()},
            "load": loaded,
        }

    apply_load(served.url, [next(paths) for _ in range(_WARM_UP)], rate=50, key=served.key)
    runs = [_told({"designs": False, "floor_ms": floor(served), **load(rate)}) for rate in options.rates]
    if options.designs:
        with designing(*options.designs):
            runs += [_told({"designs": True, "floor_ms": floor(served), **load(rate)}) for rate in options.rates]
    return runs


def _told(run: dict[str, Any]) -> dict[str, Any]:
    print(*(f"{name}={value}" for name, value in run.items()), file=sys.stderr, flush=True)
    return run
