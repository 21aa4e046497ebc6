"""The artifacts that the service answers from: loaded once, checked to belong together, shared by all requests."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from recgan.errors import MismatchError, SettingsError
from recgan.progress import Progress, quiet
from service.catalogue import Catalogue
from service.live.eye import Eye, eye_of
from service.problems import ProblemError
from service.schemas import ModelVersion
from service.settings import ServiceSettings
from service.sliders import Sliders, load_sliders

if TYPE_CHECKING:
    from recgan.design import Designer
    from recgan.design.editing import Editor
    from recgan.gan.latent import Inverter
    from recgan.recommenders import Recommender

__all__ = ["Models", "load_models"]

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
    eye: Eye | None = None
    """What the recommender sees in a picture; None for one that does not look."""
    events_to: int = 0
    """The last event of the store that the recommender was trained on."""
    sliders: Sliders | None = None
    """What designs are moved along; None: there are none."""
    inverter: Inverter | None = None
    """What finds items and photos in the generator's space; None: there is none."""

    @cached_property
    def id(self) -> str:
        """Names this set of artifacts: the same digests, the same id."""
        return hashlib.sha256(self.version.model_dump_json().encode()).hexdigest()[:16]

    def need_eye(self) -> Eye:
        """Return the eye.

        Raises:
            ProblemError: no-eye (422).
        """
        if self.eye is None:
            raise ProblemError("no-eye", f"the recommender '{self.recommender.name}' does not look at pictures")
        return self.eye

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

    def need_sliders(self) -> Sliders:
        """Return the sliders.

        Raises:
            ProblemError: no-sliders (422).
        """
        if self.sliders is None:
            raise ProblemError(
                "no-sliders",
                "no directions serve with this generator; 'recgan sample directions' finds them, and 'recgan serve "
                "--directions' takes them",
            )
        return self.sliders

    def need_inverter(self) -> Inverter:
        """Return the inverter.

        Raises:
            ProblemError: no-inverter (422).
        """
        if self.inverter is None:
            raise ProblemError(
                "no-inverter",
                "no inverter serves with this generator, so items and photos cannot be edited; 'recgan train inverter' "
                "makes one, and 'recgan serve --inverter' takes it",
            )
        return self.inverter

    @cached_property
    def editor(self) -> Editor:
        """The editor of designs, items and photos, made when it is first asked for (not by several threads).

        Raises:
            ProblemError: no-generator (503).
        """
        from recgan.design.editing import Editor

        return Editor(self.need_designer(), self.catalogue.bundle, self.inverter)


def load_models(settings: ServiceSettings, progress: Progress = quiet) -> Models:
    """Load the bundle, the recommender and, where there is one, the GAN; all are checked against their checksums.

    Raises:
        ArtifactError: one of them is missing, damaged or of another kind.
        MismatchError: they are not of one catalogue, categories and pixels, or of one generator.
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
    if recommender.own is not None:
        raise SettingsError(
            f"'{settings.recommender}' is a {recommender.name} model, whose lists are of what a user took before: "
            "'recgan recommend --all --include-seen' writes them; serve another model"
        )
    recommender.check_fits(bundle)
    try:
        recommender.update_items(bundle.items)  # the bundle is the newer of the two
    except MismatchError as error:
        raise MismatchError(f"'{settings.recommender}' does not fit '{settings.data}': {error}") from error
    if recommender.similarity_space != "none":
        progress("building the index", 2, 3)
        recommender.similar(catalogue.item_id(0), 1)
    index = index_settings(settings.index)
    if index.kind == "flat":
        recommender.pack()
    else:
        progress("building the index", 2, 3)
        approximate = ApproximateIndex.build(recommender.item_factors, recommender.user_factors, index)
        recommender.use_index(approximate)
        logger.info("recommendations are searched by %s", approximate)
    sliders, inverter = _parts(settings, designer)
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
        eye=eye_of(recommender, settings.device),
        events_to=int(recommender.facts.get("events_to", 0)),
        sliders=sliders,
        inverter=inverter,
    )


def _parts(settings: ServiceSettings, designer: Designer | None) -> tuple[Sliders | None, Inverter | None]:
    """Load what belongs to the generator."""
    if designer is None:
        return None, None
    from recgan.gan.latent import LatentSpace, load_inverter

    sliders = load_sliders(settings.directions, designer.gan) if settings.directions else None
    inverter = load_inverter(settings.inverter, designer.gan) if settings.inverter else None
    space = inverter.space if inverter else LatentSpace(designer.gan.generator, designer.gan.recipe)  # as editors do
    if sliders and sliders.directions.space != space.name:
        raise MismatchError(
            f"'{settings.directions}' holds directions of {sliders.directions.space}, and designs are edited in "
            f"{space.name} here; find directions with --space {space.name}"
        )
    return sliders, inverter
