"""Ours beside the public implementations: one run, one machine, the same data.

    python benchmarks/recommender.py --scale full --json recommender.json

``topk_vs_implicit``
    The 20 best of all items for all users, exact, against implicit's ``recommend``, faiss's flat index and a plain
    blocked ``torch.topk``. The rivals are timed on a share of the users, in turn with ours, so that a load on the
    machine hits all alike.
``bpr_vs_implicit``
    Image-free BPR (``bpr_mf``) against implicit's. Triples a second at the shape of ``topk_vs_implicit`` and equal
    factors, with one thread each and with all, by turns; and the exact test AUC of each one's best of six choices of
    learning rate and regularisation, chosen by validation, beside the best of six of implicit's ALS.
``vbpr_vs_cornac``
    VBPR, 32 + 32 factors, features of 512, against cornac's, one thread each: the exact test AUC of cornac's best
    epoch, with the batch size and the learning rate of nine choices that validation prefers; and after how many seconds
    ours, with the better of its default rates and half of them by validation, whitening and validation included, first
    has at least cornac's AUC on both parts. cornac is only
    needed here: ``pip install 'recgan[bench]'``.
``shop_scale``
    Two epochs of ``vbpr`` on drawn interactions of a large shop, its features a half-precision memory map: seconds an
    epoch and the peak memory of the process, and the same for a tenth of it.
``shop_scale_ideal_point``
    The same for ``ideal_point``, which is learned in closed form.

Timings mean something on a machine that does nothing else; the load average is in the result. Seconds of the processor
(``cpu_…``) suffer less from other work on the machine than those of the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from recgan.device import available_cores
from recommending.bpr import bpr_vs_implicit
from recommending.data import SIZES
from recommending.shop import shop_scale
from recommending.topk import topk_vs_implicit
from recommending.vbpr import vbpr_vs_cornac

TRAININGS: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "vbpr_vs_cornac": vbpr_vs_cornac,
    "bpr_vs_implicit": bpr_vs_implicit,
}
SCALES: dict[str, Callable[[str], dict[str, Any]]] = {
    "topk_vs_implicit": topk_vs_implicit,
    "shop_scale": shop_scale,
    "shop_scale_ideal_point": partial(shop_scale, model="ideal_point"),
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmarks, print what they found and, with ``--json``, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=list(SIZES), default="small")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    parser.add_argument("--only", choices=[*TRAININGS, *SCALES], action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the interactions drawn for the two trainings")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {
        "scale": options.scale,
        "seed": options.seed,
        "cores": available_cores(),
        "load_before": os.getloadavg()[0],
    }
    for name in options.only or [*TRAININGS, *SCALES]:
        start = time.perf_counter()
        result[name] = (
            TRAININGS[name](options.scale, options.seed) if name in TRAININGS else SCALES[name](options.scale)
        )
        print(f"{name} ({time.perf_counter() - start:.0f} s)", file=sys.stderr)
        for key, value in result[name].items():
            print(
                f"    {key:32} {value:,.4g}" if isinstance(value, float) else f"    {key:32} {value}", file=sys.stderr
            )
    result["load_after"] = os.getloadavg()[0]
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
