"""Does the service keep its memory? A mixed load for twenty minutes, and what each process holds meanwhile.

    python benchmarks/soak.py --minutes 20 --json soak.json
    python benchmarks/soak.py --minutes 20 CATALOGUE RECOMMENDER GAN

``recgan serve`` runs as a shop would run it, with two web processes, one that designs, API keys, metrics and its log,
over a drawn catalogue or the one that is given. It is asked for recommendations, similar items, searches by photo,
sessions, pictures and pages; told events (with idempotency keys) and items with pictures, which are deleted again;
asked for designs, which are followed, left in mid-stream, cancelled and deleted; and asked for much that it refuses.

Every ten seconds each process's resident memory (RSS; PSS counts what is shared once in all) and open descriptors are
read. The aim: in all they have under 5% more resident memory at the end than after the first minute, none has more
descriptors, none has ended, and no request was answered with 5xx or not at all. Where that is missed, the exit code
is 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Put the service under load, print what was found and, with ``--json``, write it."""
    here = Path(__file__).resolve().parent
    if str(here) in sys.path:  # last, because this folder has a file that is called as the package that it measures
        sys.path.remove(str(here))
        sys.path += [str(here.parent), str(here)]
    from serving.soak import main as soak

    return soak(__doc__.splitlines()[0], arguments)


if __name__ == "__main__":
    sys.exit(1 if main()["missed"] else 0)
