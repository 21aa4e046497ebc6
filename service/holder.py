"""Which models serve: those that the store says are active, loaded while the ones before go on serving."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recgan.errors import RecganError
from recgan.progress import Progress
from service.models import Models
from service.problems import ProblemError
from service.schemas import ModelVersion
from service.settings import ServiceSettings
from service.store.models import ModelTable, StoredModel
from service.store.types import now

__all__ = ["ModelHolder", "stored_model"]

logger = logging.getLogger("recgan.service")

_PAUSE, _LONGEST_PAUSE = 30.0, 3600.0
"""Seconds until a model that could not be loaded is tried again: at first, and at most."""


def stored_model(models: Models, settings: ServiceSettings, *, source: str, metrics: Mapping[str, Any]) -> StoredModel:
    """Return loaded models as the store notes them."""
    recommender = models.recommender
    return StoredModel(
        id=models.id,
        data=str(settings.data.absolute()),
        recommender=settings.recommender,
        gan=settings.gan,
        version=models.version.model_dump(),
        facts={
            "recommender": recommender.name,
            "users": len(recommender.user_ids),
            "items": len(models.catalogue),
            "designable": sorted(models.designable),
        },
        metrics=dict(metrics),
        source=source,
        registered_at=now(),
    )


class ModelHolder:
    """Holds the models that serve now. They are loaded in a thread of their own: the service answers meanwhile, first
    that it is loading, later from the models before.

    The models of the settings are noted in the store, and are activated if the store has never seen them: who starts
    the service with new models wants them served. Otherwise what was active stays so over a restart.

    Args:
        load: loads the models of settings.
        settings: the service's.
        table: which models are active.
        on_failure: told when no models can be loaded at the start.
        on_loaded: told whenever other models serve.
        look_seconds: how often the store is asked.
    """

    def __init__(
        self,
        load: Callable[[ServiceSettings, Progress], Models],
        settings: ServiceSettings,
        table: ModelTable,
        on_failure: Callable[[], None] = lambda: None,
        on_loaded: Callable[[], None] = lambda: None,
        look_seconds: float = 1.0,
    ) -> None:
        self._load = load
        self._settings = settings
        self._table = table
        self._on_failure = on_failure
        self._on_loaded = on_loaded
        self._look_seconds = look_seconds
        self._models: Models | None = None
        self._step = "starting"
        self._stop = threading.Event()
        self._loaded = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)
        self.failure: Exception | None = None
        """Why no models could be loaded at the start."""
        self.refused: dict[str, str] = {}
        """Models that were activated later but cannot be loaded, and why. They are tried again after a while, for what
        keeps them may have been away; each failure doubles the pause."""
        self._again: dict[str, float] = {}
        self._pauses: dict[str, float] = {}

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the first loading has ended, well or not."""
        self._loaded.wait(timeout)

    @property
    def loaded(self) -> bool:
        """Whether the first loading has ended, well or not."""
        return self._loaded.is_set()

    def stop(self) -> None:
        """Follow activations no longer."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._begin()
            self._on_loaded()
            logger.info("ready: %s items in the catalogue", f"{len(self.get().catalogue):,}")
        except Exception as error:
            self.failure = error
            expected = isinstance(error, RecganError)
            logger.error("the models cannot be loaded: %s", error, exc_info=None if expected else error)
            self._on_failure()
            return
        finally:
            self._loaded.set()
        while not self._stop.wait(self._look_seconds):
            before = self.serving
            try:
                self._follow()
            except Exception as error:  # the store may be away for a moment
                logger.error("cannot see which models are active: %s", error)
            if self.serving != before:
                self._on_loaded()

    def _begin(self) -> None:
        """Load what was given, or what has been activated instead."""
        given = self._load(self._settings, self._note)
        metrics = getattr(given.recommender, "metrics", {})
        noted = stored_model(given, self._settings, source="given", metrics=metrics)
        self._table.register(noted, activate="given when the service was started")
        if self._table.active() != given.id:
            self._follow()
        self._models = self._models or given

    def _follow(self) -> None:
        """Load what has been activated, unless it serves already; a failure leaves what serves as it is."""
        active = self._table.active()
        if active is None or (self._models is not None and self._models.id == active):
            return
        if active in self.refused and time.monotonic() < self._again[active]:
            return
        wanted = self._table.get(active)
        places = {"data": Path(wanted.data), "recommender": wanted.recommender, "gan": wanted.gan}
        if wanted.gan != self._settings.gan:  # they are another generator's
            places |= {"directions": None, "inverter": None}
        settings = self._settings.model_copy(update=places)
        try:
            loaded = self._load(settings, self._note)
            if loaded.id != active:
                raise ProblemError("mismatch", "the artifacts at its place are others now")
        except Exception as error:
            self.refused[active] = str(getattr(error, "detail", "") or error)
            self._pauses[active] = min(2 * self._pauses.get(active, _PAUSE / 2), _LONGEST_PAUSE)
            self._again[active] = time.monotonic() + self._pauses[active]
            expected = isinstance(error, RecganError | ProblemError)
            logger.error("model %s cannot be served: %s", active, error, exc_info=None if expected else error)
            return
        self.forgive(active)
        self._models = loaded
        logger.info("model %s serves now", active)

    def _note(self, step: str, done: int, total: int | None = None, note: str = "") -> None:
        self._step = step

    @property
    def version(self) -> ModelVersion | None:
        """What serves now; None before anything does."""
        return self._models.version if self._models else None

    @property
    def serving(self) -> str | None:
        """Id of what serves now; None before anything does."""
        return self._models.id if self._models else None

    def forgive(self, id: str) -> None:
        """Try a model again that could not be served, at once."""
        for kept in (self.refused, self._again, self._pauses):
            kept.pop(id, None)

    def reasons(self) -> list[str]:
        """Return why no request can be served; nothing when they can."""
        if self._models is not None:
            return []
        if self.failure is not None:
            return ["the models could not be loaded; the service's log says why"]
        return [self._step]

    def get(self) -> Models:
        """Return the models that serve now.

        Raises:
            ProblemError: loading (503).
        """
        if self._models is None:
            raise ProblemError("loading", f"not ready yet: {self.reasons()[0]}", headers={"Retry-After": "2"})
        return self._models
