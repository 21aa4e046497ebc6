"""How many recommendations the service gives a second, how fast, and in how much memory; all on this machine.

    python benchmarks/service.py --scale small --workers 1 2 --rates 100 300 --json service.json

``recgan serve`` runs as a shop would run it, with API keys, metrics and its log, over a synthetic catalogue (100,000
items; with ``--scale full`` 500,000 items and 2 million users; factors of 64) that is searched exactly. An open-loop
generator on the same machine asks for the 20 best items of distinct users, at Poisson times of a rate: a request's time
runs from when it was due, and nothing is answered from a cache. With ``--designs CATALOGUE RECOMMENDER GAN`` all is
measured again while designs are made beside it, as the service's own worker makes them.

Over the small catalogue 300 requests/s are to be answered at a p99 under 60 ms, and 100/s under 250 ms beside a design,
with one of the numbers of web processes. Where what was measured misses that, it is said, and the exit code is 1.

Only loopback is asked, for at most 100,000 requests and 120 seconds a rate. Timings mean something on a machine that
does nothing else; the load average is in the result. Seconds of the processor suffer less from other work.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print what was found and, with ``--json``, write it."""
    here = Path(__file__).resolve().parent
    if str(here) in sys.path:  # last, because this file is called as the package that it measures
        sys.path.remove(str(here))
        sys.path += [str(here.parent), str(here)]
    from serving.bench import main as measure

    return measure(__doc__.splitlines()[0], arguments)


if __name__ == "__main__":
    sys.exit(1 if main()["missed"] else 0)
