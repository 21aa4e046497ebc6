"""The artifacts that the service answers from: loaded once, checked to belong together, shared by all requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from recgan.errors import RecganError
from recgan.progress import Progress, quiet
from service.catalogue import Catalogue
from service.problems import ProblemError
from service.schemas import ModelVersion
from service.settings import ServiceSettings

if TYPE_CHECKING:
    from recgan.design import Designer
    from recgan.recommenders.base import Recommender

__all__ = ["ModelHolder", "Models", "load_models"]

logger = logging.getLogger("recgan.service")


@dataclass(frozen=True)
class Models:
    """One set of artifacts that belong together."""

    catalogue: Catalogue
    recommender: Recommender
    designer: Designer | None
    designable: frozenset[str]
    """The categories that the generator knows."""
    version: ModelVersion

    @cached_property
    def _users(self) -> frozenset[str]:
        return frozenset(self.recommender.user_ids)

    def check_user(self, user_id: str) -> None:
        """Refuse a user whom the recommender does not know.

        Raises:
            ProblemError: unknown-user (404).
        """
        if user_id not in self._users:
            raise ProblemError(
                "unknown-user",
                f"there is no user '{user_id}' in this model; for a new user, send liked items to "
                "POST /v1/sessions/recommendations",
            )

    def need_designer(self) -> Designer:
        """Return the designer.

        Raises:
            ProblemError: no-generator (503).
        """
        if self.designer is None:
            raise ProblemError(
                "no-generator", "the service was started without a generator; start it with --gan to design"
            )
        return self.designer


def load_models(settings: ServiceSettings, progress: Progress = quiet) -> Models:
    """Load the bundle, the recommender and, where there is one, the GAN; all are checked against their checksums.

    Raises:
        ArtifactError: one of them is missing, damaged or of another kind.
        MismatchError: they are not of one catalogue, categories and pixels.
        SettingsError: there is a GAN, and the recommender sees no pictures, so it cannot lead a design.
    """
    from recgan.config import index_settings
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer
    from recgan.recommenders import load_recommender
    from recgan.recommenders.topk.ann import ApproximateIndex

    progress("loading the catalogue", 0, 3)
    bundle = Bundle.open(settings.data, verify=True)
    catalogue = Catalogue(bundle)
    if settings.gan is None:
        progress("loading the recommender", 1, 3)
        designer, recommender = None, load_recommender(settings.recommender)
    else:
        progress("loading the recommender and the generator", 1, 3)
        designer = load_designer(
            settings.recommender, settings.gan, bundle=bundle, device=settings.device, progress=progress
        )
        recommender = designer.recommender
    recommender.check_fits(bundle)
    recommender.update_items(bundle.items)  # the bundle is the newer of the two
    if recommender.similarity_space != "none":
        progress("building the index", 2, 3)
        recommender.similar(catalogue.item_id(0), 1)
    index = index_settings(settings.index)
    if index.kind != "flat":
        progress("building the index", 2, 3)
        approximate = ApproximateIndex.build(recommender.item_factors, recommender.user_factors, index)
        recommender.use_index(approximate)
        logger.info("recommendations are searched by %s", approximate)
    return Models(
        catalogue=catalogue,
        recommender=recommender,
        designer=designer,
        designable=frozenset(designer.category_names if designer else ()),
        version=ModelVersion(
            catalogue=catalogue.digest,
            recommender=recommender.digest,
            generator=designer.gan.digest if designer else None,
        ),
    )


class ModelHolder:
    """Holds the models that serve now; they are loaded in a thread of their own, so that the service answers meanwhile.

    Args:
        load: makes the models; called once, in the thread.
        on_failure: told when it raises.
    """

    def __init__(self, load: Callable[[Progress], Models], on_failure: Callable[[], None] = lambda: None) -> None:
        self._load = load
        self._on_failure = on_failure
        self._models: Models | None = None
        self._step = "starting"
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until loading has ended, well or not."""
        self._thread.join(timeout)

    def _run(self) -> None:
        def note(step: str, done: int, total: int | None = None, note: str = "") -> None:
            self._step = step

        try:
            self._models = self._load(note)
            logger.info("ready: %s items in the catalogue", f"{len(self._models.catalogue):,}")
        except Exception as error:
            self.failure = error
            expected = isinstance(error, RecganError)
            logger.error("the models cannot be loaded: %s", error, exc_info=None if expected else error)
            self._on_failure()

    @property
    def version(self) -> ModelVersion | None:
        """What serves now; None before anything does."""
        return self._models.version if self._models else None

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
