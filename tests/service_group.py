"""Two web processes over the models of `service_world`: ``python -m tests.service_group BUNDLE STORE_URL``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from recgan.progress import Progress
from service.run import serve
from service.settings import ServiceSettings, service_settings

if TYPE_CHECKING:
    from service.models import Models

LONG = 1
"""Seed of a design that takes minutes."""


def load(settings: ServiceSettings, progress: Progress) -> Models:
    """The models, in each process."""
    from tests.service_world import load_world  # here: who watches over the processes needs no torch

    models = load_world(settings, progress)
    designer = models.need_designer()
    make = designer.design

    def maybe_long(*given, seed, progress, **options):
        for step in range(3000 if seed == LONG else 0):
            progress("climbing", step, 3000)
            time.sleep(0.1)
        return make(*given, seed=seed, progress=progress, **options)

    designer.design = maybe_long  # type: ignore[method-assign]
    return models


if __name__ == "__main__":
    bundle = Path(sys.argv[1])
    places = {"data": bundle, "recommender": bundle, "gan": bundle, "store": sys.argv[2]}
    serve(service_settings(**places, port=0, workers=2, log_format="json", shutdown_seconds=90), load=load)
