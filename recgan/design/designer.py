"""The designer: new items of a category that a user would prefer, by a recommender's eye and a generator's hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import recgan
from recgan.config import MAX_SEED, DesignSettings, EmbedSettings, check_request
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import to_float
from recgan.design.audience import Audience, Someone, audience_of, real_items_of
from recgan.design.composing import Composer
from recgan.design.objective import Term
from recgan.design.presets import load_preset
from recgan.design.real_items import RealItems
from recgan.design.results import Design
from recgan.design.search import Found, Preview, search
from recgan.design.select import k_dpp, mmr
from recgan.design.sight import Sight
from recgan.device import resolve_device
from recgan.encoders import Features, embed_items
from recgan.errors import SettingsError
from recgan.gan import TrainedGAN, load_gan
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommender, UserVector, VisualRecommender, load_recommender

__all__ = ["Designer", "Request", "load_designer", "seed_of_design"]

_CHOICES = {"mmr": mmr, "k_dpp": k_dpp}


def seed_of_design(seed: int, place: int) -> int:
    """Return the seed of the design at ``place`` (from 0) of a request with ``seed``.

    The first design has the request's own seed: asking for one design with any design's seed gives that design again.
    """
    if place == 0:
        return seed
    high, low = np.random.SeedSequence([seed, place]).generate_state(2, np.uint32)
    return (int(high) << 21 | int(low) >> 11) & MAX_SEED


@dataclass(frozen=True)
class Request:
    """What one audience wants designed."""

    user: Someone
    """A user's id, a vector from the recommender's ``fold_in``, or a cohort of those."""
    category: str
    n: int = 8
    seed: int = 0


class Designer:
    """Designs with one visual recommender and one GAN of the same catalogue; keep one and ask it often.

    ::

        designer = Designer(load_recommender("runs/vbpr"), load_gan("runs/gan"))
        designs = designer.design("user-00001", "dress", n=8, seed=0)
        save_designs(designs, "designs")
    """

    def __init__(
        self,
        recommender: Recommender,
        gan: TrainedGAN,
        *,
        real_features: Features | None = None,
        companions: Sequence[Recommender] = (),
        companion_features: Sequence[Features | None] = (),
        device: str = "auto",
    ) -> None:
        """Bring a recommender and a GAN together.

        Args:
            recommender: a visual one (``vbpr``, ``visual_knn``), trained on real features.
            gan: trained on the same catalogue, at the size that the recommender was shown.
            real_features: the catalogue's features at the GAN's size, where the recommender was shown another.
            companions: other visual recommenders of the same catalogue. They help to score designs, or are held back
                to choose among them: see ``DesignSettings.validate_by``.
            companion_features: for each of them what ``real_features`` is for the recommender, or none at all where
                all were shown images of the GAN's size.
            device: where the GAN was loaded; the encoders go there too.

        Raises:
            SettingsError: a recommender does not look at pictures, or the GAN is on another device.
            MismatchError: they are of different catalogues, categories, image sizes or pixel transforms.
        """
        if device != "auto" and resolve_device(device) != gan.device:
            raise SettingsError(f"the GAN was loaded on {gan.device}, not on {device}; load it with device='{device}'")
        self.sight = Sight(recommender, gan, real_features)
        theirs = companion_features or [None] * len(companions)
        self.companions = tuple(Sight(one, gan, features) for one, features in zip(companions, theirs, strict=True))
        self.recommender: VisualRecommender = self.sight.recommender
        self.gan = gan
        self.device = gan.device
        self._composer = Composer(self.sight, self.companions)

    @property
    def category_names(self) -> list[str]:
        """The categories that can be designed: those that the GAN saw a training image of."""
        return [name for name, images in zip(self.gan.category_names, self.gan.train_images) if images]

    def real_items(self, user: Someone, category: str) -> RealItems:
        """Return the real items of a category for a user, scored as designs are.

        Raises:
            NotFoundError: an unknown user or category.
            SettingsError: the user has no history, or no real item is left.
        """
        return real_items_of(self.sight, audience_of(self.sight, user, category))

    def design(
        self,
        user: Someone,
        category: str,
        n: int = 8,
        *,
        seed: int = 0,
        settings: DesignSettings | None = None,
        terms: Sequence[tuple[float, Term]] = (),
        starts: Tensor | None = None,
        progress: Progress = quiet,
        preview: Preview | None = None,
        time_limit: float | None = None,
    ) -> list[Design]:
        """Design ``n`` items of ``category`` for a user, in the order of their seeds (not of their scores).

        Each design is searched by itself, from its own seed, so the first design of a request does not depend on how
        many there are, and any design comes again from its own ``seed`` with n=1: equal to the bit on the CPU of one
        machine. (With ``settings.pool`` more than 1 it comes again with ``pool=1``.) The cost is told in
        `recgan.design.search`.

        Args:
            user: an id, or a vector from the recommender's ``fold_in``; or several of them: a cohort.
            category: one of `category_names`.
            n: 1 to `recgan.config.MAX_DESIGNS`.
            seed: 0 to `recgan.config.MAX_SEED`.
            settings: how to search; see `recgan.design.presets`.
            terms: what else is wanted, with weights, added to the objective that the settings compose.
            starts: latents to search from instead of drawn ones, float32 [n * pool, samples, dz]; a design is then not
                told by its seed alone.
            progress: raising from it stops the search between two steps.
            preview: shown the designs while they are climbed.
            time_limit: seconds after which the search ends with what it has found by then. A design that more was to
                be done for says so (``settings["unfinished"]``), and does not come again from its seed.

        Returns:
            The designs. One whose climb looked no different from its start is that start, and says so
            (``settings["unseen"]``).

        Raises:
            NotFoundError: an unknown user, category or preset.
            MismatchError: the user vector is another model's.
            SettingsError: n, seed or the time limit out of range; the user has no history; no real item is left to
                compare with.
            TrainingError: the search met values that are not finite.
        """
        request = Request(user, category, n, seed)
        return self.design_many(
            [request],
            settings=settings,
            terms=terms,
            starts=starts,
            progress=progress,
            preview=preview,
            time_limit=time_limit,
        )[0]

    def design_many(
        self,
        requests: Sequence[Request],
        *,
        settings: DesignSettings | None = None,
        terms: Sequence[tuple[float, Term]] = (),
        starts: Tensor | None = None,
        progress: Progress = quiet,
        preview: Preview | None = None,
        time_limit: float | None = None,
    ) -> list[list[Design]]:
        """Design for many users at once, each as `design` would: on an accelerator they share batches.

        Raises:
            As `design`; of the first request that is wrong, before anything is searched.
        """
        settings = settings if settings is not None else DesignSettings()
        for request in requests:
            check_request(request.n, request.seed)
        if time_limit is not None and not 0 < time_limit < math.inf:
            raise SettingsError(f"time_limit={time_limit}: give seconds above 0, or leave it out for no limit")
        if not requests:
            return []
        audiences = [audience_of(self.sight, request.user, request.category) for request in requests]
        records = [self._record(request.user, settings) for request in requests]
        places = [(which, place) for which, one in enumerate(requests) for place in range(one.n * settings.pool)]
        seeds = [seed_of_design(requests[which].seed, place) for which, place in places]
        for_whom = [audiences[which] for which, _ in places]
        plan = self._composer.plan(for_whom, settings, terms)
        classes = torch.tensor([self.gan.class_index(audience.category) for audience in for_whom])
        found = search(
            plan.space,
            plan.objective,
            plan.draw(seeds, classes) if starts is None else starts.to(self.device),
            classes.to(self.device),
            settings,
            progress,
            preview,
            seeds=seeds,
            std=plan.std,
            validate=plan.validate,
            differs=plan.differs,
            time_limit=time_limit,
        )
        made: list[list[Design]] = []
        for which, request in enumerate(requests):
            rows = np.array([row for row, (whose, _) in enumerate(places) if whose == which])
            found.whole[rows] &= settings.pool == 1 or found.whole[rows].all()  # a pool is chosen from as a whole
            if settings.pool > 1:
                rows = np.sort(rows[self._chosen(found, rows, classes, request.n, settings)])
            real = real_items_of(self.sight, audiences[which], settings.cohort)
            made.append(
                [self._told(found, row, seeds[row], audiences[which], real, settings, records[which]) for row in rows]
            )
        return made

    def as_design(
        self, image: np.ndarray, z: Tensor, user: Someone, category: str, seed: int, settings: DesignSettings
    ) -> Design:
        """Return an image uint8 [S, S, 3] that was made otherwise as `design` tells its own.

        Raises:
            As `design`, of user and category.
        """
        audience = audience_of(self.sight, user, category)
        with torch.no_grad():
            features = self.sight.encoder(to_float(image[None], self.device))
        whole, unseen = np.ones(1, bool), np.zeros(1, bool)
        found = Found(z[None].cpu(), image[None], features, np.zeros(1, np.float32), image[None], whole, unseen)
        real = real_items_of(self.sight, audience, settings.cohort)
        return self._told(found, 0, seed, audience, real, settings, self._record(user, settings))

    # ---- parts

    def _chosen(self, found: Found, rows: np.ndarray, classes: Tensor, n: int, settings: DesignSettings) -> np.ndarray:
        """Return which of a request's designs are kept, by what the discriminator sees: no eye of the search."""
        with torch.no_grad():
            images = to_float(found.pixels[rows], self.device)
            features = self.gan.discriminator.features(images, classes[rows].to(self.device))  # type: ignore[operator]
        choose = _CHOICES[settings.select]
        return choose(found.objective[rows], features.float().cpu().numpy(), n, settings.balance)

    def _told(
        self,
        found: Found,
        place: int,
        seed: int,
        audience: Audience,
        real: RealItems,
        settings: DesignSettings,
        record: dict[str, Any],
    ) -> Design:
        # One at a time: the last bits of a matrix product depend on the number of its rows.
        row = slice(place, place + 1)
        whitened = self.sight.whitened(found.features[row])
        score = float(self._composer.judged(audience, whitened, settings.cohort)[0])
        return Design(
            image=found.pixels[place],
            z=found.z[place].numpy(),
            category=audience.category,
            seed=seed,
            score=score,
            percentile=real.percentile(score),
            realism=self._realism(found.pixels[row], audience.category),
            nearest=real.nearest(whitened[0], settings.neighbours),
            settings={
                **record,
                "objective": float(found.objective[place]),
                **({} if found.whole[place] else {"unfinished": "the time limit ended its search"}),
                **({"unseen": "its climb would not be seen, so it is where that began"} if found.unseen[place] else {}),
            },
            start=found.start[place],
        )

    @torch.no_grad()
    def _realism(self, pixels: np.ndarray, category: str) -> float:
        images = to_float(pixels, self.device)
        classes = torch.full((len(images),), self.gan.class_index(category), dtype=torch.int64, device=self.device)
        return float(self.gan.realism(images, classes)[0])

    def _record(self, user: Someone, settings: DesignSettings) -> dict[str, Any]:
        """Return what, with a design's seed, reproduces it."""
        named = load_preset(settings.preset).model_dump()
        search_settings = settings.model_dump()

        def told(one: str | UserVector) -> Any:
            if not isinstance(one, UserVector):
                return one
            seen = [str(item_id) for item_id in self.recommender.item_ids[one.seen]]
            return {"vector": [float(value) for value in one.values], "seen": seen}

        encoder = self.sight.encoder
        record = {
            "preset": settings.preset,
            "changed": {name: value for name, value in search_settings.items() if value != named[name]},
            "search": search_settings,
            "user": told(user) if isinstance(user, str | UserVector) else [told(one) for one in user],
            "size": self.gan.size,
            "catalogue": self.gan.catalogue_digest,
            "recommender": {"name": self.recommender.name, "digest": self.recommender.digest},
            "gan": {"recipe": self.gan.recipe.name, "digest": self.gan.digest},
            "encoder": {"name": encoder.name, "digest": encoder.digest},
            "nearest_by": "cosine distance of whitened encoder features",
            "recgan": recgan.__version__,
            "torch": torch.__version__,
            "device": self.device.type,
        }
        if self.companions and settings.companions:
            record["companions"] = [
                {"name": sight.recommender.name, "digest": sight.recommender.digest} for sight in self.companions
            ]
        return record


def load_designer(
    recommender: str | Path,
    gan: str | Path,
    *,
    bundle: Bundle | None = None,
    companions: Sequence[str | Path] = (),
    device: str = "auto",
    progress: Progress = quiet,
) -> Designer:
    """Return the designer of a saved recommender and a saved GAN, and of saved companions of the recommender.

    ``bundle`` is needed only where a recommender was shown images of another size than the GAN makes: its images are
    then embedded at the GAN's size (once; they are cached).

    Raises:
        ArtifactError: one of them is not there, or damaged.
        SettingsError, MismatchError: as `Designer`.
    """
    generator = load_gan(gan, device)
    loaded, *others = [load_recommender(folder) for folder in (recommender, *companions)]

    def at_its_size(model: Recommender) -> Features | None:
        if bundle is None:
            return None
        model.check_fits(bundle)
        if not isinstance(model, VisualRecommender) or model.size == generator.size:
            return None
        embed, encoder = EmbedSettings(size=generator.size), model.load_encoder(device)
        return embed_items(bundle, embed, encoder=encoder, device=device, progress=progress)

    return Designer(
        loaded,
        generator,
        real_features=at_its_size(loaded),
        companions=others,
        companion_features=[at_its_size(other) for other in others],
        device=device,
    )
