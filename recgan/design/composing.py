"""From settings to a search: the space that it moves in, the objective that it climbs, the scorer that is held back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgan.config import DesignSettings, Recipe
from recgan.dataset.pixels import to_float, to_uint8
from recgan.design.audience import Audience, companion_vectors, eye_of, units_of
from recgan.design.objective import Candidates, Objective, Term
from recgan.design.preference import Cohort, crowd_term, preference_of
from recgan.design.sight import Sight
from recgan.design.space import Space
from recgan.design.terms import (
    FeatureClouds,
    calibrated_realism,
    class_kept,
    latent_shell,
    least_squares_realism,
    typicality,
    within_radius,
)
from recgan.design.visible import VisibleChange
from recgan.errors import SettingsError
from recgan.gan.latent import LatentSpace
from recgan.gan.sampling import design_seeds, latent_spread, latents

__all__ = ["Composer", "Plan"]

_CLOUD_SAMPLES = 256
"""Of the generator, of each class, that say what is usual of it."""
_CLOUD_SEED = 20_171


@dataclass(frozen=True)
class Plan:
    """What `recgan.design.search.search` needs."""

    space: Space
    objective: Objective
    validate: Callable[[Candidates], Tensor] | None
    differs: VisibleChange | None
    draw: Callable[[Sequence[int], Tensor], Tensor]
    """From designs' seeds and classes int64 [n] to their samples, float32 [n, samples, dz], on the device."""
    std: float
    """Spread of the samples."""


class Composer:
    """Composes searches for one designer; what does not depend on a request is kept."""

    def __init__(self, sight: Sight, companions: Sequence[Sight]) -> None:
        self._sight = sight
        self._companions = companions
        self._real: FeatureClouds | None = None
        self._generated: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._visible: VisibleChange | None = None

    def plan(
        self, audiences: Sequence[Audience], settings: DesignSettings, terms: Sequence[tuple[float, Term]] = ()
    ) -> Plan:
        """Return the plan for one design for each of the audiences.

        Raises:
            SettingsError: nothing to climb for a user; a space that the generator has not; companions that are missing.
        """
        gan = self._sight.gan
        std = settings.latent_std if settings.latent_std is not None else gan.recipe.latent_std
        changes: dict[str, float] = {"latent_std": std}
        if settings.truncation is not None:
            changes["truncation"] = settings.truncation
        prior = gan.recipe.model_copy(update=changes)
        classes = sorted({gan.class_index(audience.category) for audience in audiences})
        liking, validate = self._preferences(audiences, settings)
        composed = [
            (1.0, liking),
            (settings.crowd_weight, self._crowd(audiences)),
            (settings.realism_weight, self._realism(settings)),
            (settings.prior_weight, self._prior(settings, prior, classes)),
            *self._clouds(settings),
            *terms,
        ]
        space = Space(
            self._points(settings).decode if settings.space == "w" else gan.generator,
            self._sight.encoder,
            views=settings.views,
            box=settings.box * std if settings.box is not None else None,
        )
        differs = self._differs() if settings.visible and settings.steps else None
        return Plan(space, Objective(composed), validate, differs, self._drawing(settings, prior), latent_spread(prior))

    def judged(self, audience: Audience, whitened: np.ndarray, cohort: Cohort) -> np.ndarray:
        """Return what an audience thinks of pictures by their whitened features [N, width], as of its real items."""
        sight = self._sight
        scores = np.stack([sight.scores(vector, whitened, audience.category) for vector in audience.vectors])
        units = units_of(sight, audience, audience.vectors) if len(audience.users) > 1 else None
        return audience.together(scores, cohort, units)

    # ---- terms

    def _preferences(
        self, audiences: Sequence[Audience], settings: DesignSettings
    ) -> tuple[Term, Callable[[Candidates], Tensor] | None]:
        """Return the term of preference, and the scorer that is held back, if one is."""
        companions = self._companions if settings.companions else ()
        if settings.validate_by == "companions" and not companions:
            raise SettingsError("validate_by=companions: give the designer companions (--beside DIR)")
        if settings.cohort == "share" and companions:
            raise SettingsError(
                "cohort=share compares with each user's best real item as one recommender sees it; leave out the "
                "companions (--beside), or set cohort=mean"
            )
        one_each: dict[int, Audience] = {id(audience): audience for audience in audiences}
        sights = [self._sight, *companions]
        eyes = []
        best = None
        for sight in sights:
            by_audience = {}
            for key, audience in one_each.items():
                if sight is self._sight:
                    vectors: Sequence = audience.vectors
                else:
                    vectors = companion_vectors(sight, self._sight, audience)
                raw = settings.preference == "raw" and len(vectors) == 1 and not companions
                by_audience[key] = vectors, None if raw else units_of(sight, audience, vectors)
            units = [by_audience[id(audience)][1] for audience in audiences]
            eyes.append(
                eye_of(
                    sight,
                    [by_audience[id(audience)][0] for audience in audiences],
                    units,
                    shares_features=sight.encoder.digest == self._sight.encoder.digest,
                )
            )
            if sight is self._sight and settings.cohort == "share":
                best = eyes[0].mean.new_zeros(eyes[0].mean.shape)
                for row, audience in enumerate(audiences):
                    told = audience.scores.max(axis=1)
                    unit = units[row]
                    if unit is not None:
                        told = (told - unit[:, 0]) / unit[:, 1]
                    best[row, : len(told)] = torch.from_numpy(told.astype(np.float32))
        members = torch.zeros(eyes[0].mean.shape, dtype=torch.bool, device=self._sight.gan.device)
        for row, audience in enumerate(audiences):
            members[row, : len(audience.users)] = True
        held_back = settings.validate_by == "companions"
        scoring = eyes[:1] if held_back else eyes
        liking = preference_of(scoring, members, cohort=settings.cohort, best=best, kappa=settings.kappa)
        if not held_back:
            return liking, None
        return liking, preference_of(eyes[1:], members, cohort=settings.cohort, best=best, kappa=settings.kappa)

    def _crowd(self, audiences: Sequence[Audience]) -> Term:
        """Return what users in general think of a design for one user; of a cohort's, 0."""
        sight = self._sight
        tastes = [sight.crowd(audience.category) for audience in audiences]
        alone = torch.tensor([len(audience.users) == 1 for audience in audiences])
        vectors = torch.stack([vector for vector, _ in tastes]) * alone[:, None]
        means = torch.tensor([mean for _, mean in tastes]) * alone
        return crowd_term(sight.factors, vectors.to(sight.gan.device), means.to(sight.gan.device))

    def _realism(self, settings: DesignSettings) -> Term:
        gan = self._sight.gan
        if settings.realism == "least_squares":
            if gan.recipe.loss == "least_squares":
                return least_squares_realism(gan.discriminator)
            return least_squares_realism(lambda images, classes: 1 + gan.realism(images, classes))
        return calibrated_realism(gan.realism)

    def _prior(self, settings: DesignSettings, prior: Recipe, classes: Sequence[int]) -> Term:
        if settings.space == "z":
            return latent_shell(latent_spread(prior))
        gan, points = self._sight.gan, self._points(settings)
        centre = torch.zeros(len(gan.category_names), points.dim, device=gan.device)
        radius = torch.ones(len(gan.category_names), device=gan.device)
        for index in classes:
            kind = torch.full((_CLOUD_SAMPLES,), index, device=gan.device)
            drawn = points.draw(design_seeds(_CLOUD_SEED, _CLOUD_SAMPLES), kind)
            centre[index] = drawn.mean(dim=0)
            radius[index] = (drawn - centre[index]).square().sum(dim=1).mean().sqrt()
        return within_radius(centre, radius)

    def _clouds(self, settings: DesignSettings) -> list[tuple[float, Term]]:
        composed: list[tuple[float, Term]] = []
        if settings.typical_weight:
            clouds = self._real_clouds() if settings.typical_of == "real" else self._generated_clouds()
            composed.append((settings.typical_weight, typicality(clouds)))
        if settings.class_weight:
            composed.append((settings.class_weight, class_kept(self._real_clouds())))
        return composed

    def _real_clouds(self) -> FeatureClouds:
        if self._real is None:
            sight = self._sight
            features = sight.features(np.arange(sight.comparable))
            names = sight.recommender.items["category"].to_numpy()[: sight.comparable]
            place = {name: index for index, name in enumerate(sight.gan.category_names)}
            index = np.array([place[name] for name in names])
            self._real = self._fitted(features, index, np.asarray(features.any(axis=1)))
        return self._real

    @torch.no_grad()
    def _generated_clouds(self) -> FeatureClouds:
        """Return those of all classes, which share a covariance: a design must not depend on what else is asked."""
        sight = self._sight
        for index in np.flatnonzero(sight.gan.train_images).tolist():
            if index not in self._generated:
                kind = torch.full((_CLOUD_SAMPLES,), index)
                images = sight.gan.sample(latents(design_seeds(_CLOUD_SEED, _CLOUD_SAMPLES), sight.gan.recipe), kind)
                seen = [
                    sight.whitened(sight.encoder(to_float(to_uint8(part), sight.gan.device)))
                    for part in images.split(8)
                ]
                self._generated[index] = np.concatenate(seen), kind.numpy()
        parts = [self._generated[index] for index in sorted(self._generated)]
        features = np.concatenate([part[0] for part in parts])
        return self._fitted(features, np.concatenate([part[1] for part in parts]), np.ones(len(features), dtype=bool))

    def _fitted(self, features: np.ndarray, index: np.ndarray, kept: np.ndarray) -> FeatureClouds:
        gan = self._sight.gan
        return FeatureClouds.fitted(
            features[kept], index[kept], len(gan.category_names), self._sight.whitening, str(gan.device)
        )

    def _differs(self) -> VisibleChange:
        if self._visible is None:
            self._visible = VisibleChange(self._sight.gan)
        return self._visible

    # ---- space

    def _points(self, settings: DesignSettings) -> LatentSpace:
        gan = self._sight.gan
        return LatentSpace(gan.generator, gan.recipe, settings.space)

    def _drawing(self, settings: DesignSettings, prior: Recipe) -> Callable[[Sequence[int], Tensor], Tensor]:
        gan = self._sight.gan
        device = gan.device

        def draw(seeds: Sequence[int], classes: Tensor) -> Tensor:
            if settings.space == "z":
                drawn = [latents(design_seeds(seed, settings.samples), prior) for seed in seeds]
                return torch.stack(drawn).to(device)
            points = self._points(settings)
            # As near to the centre as the truncated prior is.
            kept = None if settings.truncation is None else latent_spread(prior) / latent_spread(gan.recipe)
            each = [
                points.draw(design_seeds(seed, settings.samples), kind.expand(settings.samples), kept)
                for seed, kind in zip(seeds, classes)
            ]
            return torch.stack(each)

        return draw
