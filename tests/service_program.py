"""A server process over the models of `service_world`: ``python -m tests.service_program BUNDLE STORE_URL``.

It prints its port. Its designs take a moment, so that a kill finds some of them running.
"""

from __future__ import annotations

import socket
import sys
import time

import uvicorn

from recgan.dataset.bundle import Bundle
from service.app import create_app
from service.settings import ServiceSettings
from tests.service_world import models_of

if __name__ == "__main__":
    bundle = Bundle.open(sys.argv[1])
    models, _, designer, _ = models_of(bundle)
    make = designer.design

    def slowly(*given, progress, **options):
        """Design, in some steps."""
        for step in range(4):
            progress("scoring samples", step, 4)
            time.sleep(0.03)
        return make(*given, progress=progress, **options)

    designer.design = slowly  # type: ignore[method-assign]
    settings = ServiceSettings(
        data=bundle.path,
        recommender=bundle.path,
        gan=bundle.path,
        store=sys.argv[2],
        design_worker="thread",
        design_queue=1000,
        lease_seconds=5,
    )
    app = create_app(settings, load=lambda settings, progress: models)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
