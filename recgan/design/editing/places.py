"""Where pictures lie in a generator's space: known of a design, looked for by an inverter of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recgan.dataset.pixels import to_float, to_uint8
from recgan.design.editing.subjects import Subject
from recgan.encoders.perceptual import PerceptualDistance
from recgan.errors import MismatchError, SettingsError
from recgan.gan import TrainedGAN
from recgan.gan.latent import Inverter, LatentSpace
from recgan.gan.sampling import design_seeds
from recgan.progress import Progress, quiet

__all__ = ["Inversion", "Places"]

Inversion = dict[str, float]
"""How far off a picture is that was brought back: ``pixel_error`` (root mean square, in steps of 255),
``pixel_error_of_guess`` (before the descent) and ``distance`` (perceptual)."""

_UNITS = 512
"""Points that say how far a class spreads in w."""


class Places:
    """Finds pictures in one of a generator's spaces: the inverter's, or without one w where it has one, else z."""

    def __init__(self, gan: TrainedGAN, inverter: Inverter | None, eye: PerceptualDistance) -> None:
        """Raises MismatchError: the inverter was loaded for another generator."""
        if inverter is not None and inverter.space.generator is not gan.generator:
            raise MismatchError("the inverter was loaded for another GAN; load it with this designer's")
        self.gan, self.inverter, self.eye = gan, inverter, eye
        self.space = inverter.space if inverter is not None else LatentSpace(gan.generator, gan.recipe)

    def of(
        self, subjects: Sequence[Subject], *, steps: int | None = None, progress: Progress = quiet
    ) -> tuple[Tensor, list[Inversion | None]]:
        """Return where subjects lie, float32 [N, dz], and, of those that had to be looked for, how far off that is.

        Args:
            steps: of the inverter's descent; None: as it was trained to.

        Raises:
            SettingsError: an item or a photo, and no inverter.
            MismatchError: a design that was made in another space.
        """
        device = self.gan.device
        points = torch.zeros(len(subjects), self.space.dim, device=device)
        told: list[Inversion | None] = [None] * len(subjects)
        unknown = [place for place, subject in enumerate(subjects) if subject.point is None]
        for place, subject in enumerate(subjects):
            if subject.point is not None:
                points[place] = self._moved_over(torch.from_numpy(subject.point).to(device), subject)
        if unknown:
            if self.inverter is None:
                raise SettingsError(
                    "items and photos must be found in the generator's space first; give an inverter (--inverter DIR), "
                    "which 'recgan train inverter' makes"
                )
            images = to_float(np.stack([subjects[place].image for place in unknown]))
            classes = torch.tensor([self.gan.class_index(subjects[place].category) for place in unknown])
            guessed, found = self.inverter.invert(images, classes, steps=steps, progress=progress)
            shown = to_uint8(found.images)
            far = self.eye(np.stack([subjects[place].image for place in unknown]), shown)
            for row, place in enumerate(unknown):
                points[place] = found.points[row]
                told[place] = {
                    "pixel_error_of_guess": float(guessed.error[row]),
                    "pixel_error": float(found.error[row]),
                    "distance": float(far[row]),
                }
        return points, told

    def _moved_over(self, point: Tensor, subject: Subject) -> Tensor:
        """Return a design's point [dz] in this editor's space."""
        if subject.space == self.space.name:
            return point
        if subject.space == "w":
            raise MismatchError(
                "the design was made in w, and this editor moves in z; give an inverter of w (--inverter)"
            )
        kind = torch.tensor([self.gan.class_index(subject.category)], device=point.device)
        with torch.no_grad():
            return self.gan.generator.mapping(point[None], kind)[0]  # type: ignore[operator]

    def near(self, point: Tensor, category: str, spread: float, count: int, *, seed: int) -> Tensor:
        """Return ``count`` points ``spread`` standard deviations beside one [dz], settled, float32 [count, dz]."""
        noise = np.random.default_rng([seed, 43]).standard_normal((count, self.space.dim), dtype=np.float32)
        step = spread * self._unit(category) * torch.from_numpy(noise).to(point)
        around = point.expand(count, -1)
        return self.space.settled(around + step, around)

    def _unit(self, category: str) -> Tensor:
        """Return how far a category's points spread in each number, float32 [dz] or []."""
        gan = self.gan
        if self.space.name == "z":
            return torch.tensor(gan.recipe.latent_std, device=gan.device)
        kind = torch.full((_UNITS,), gan.class_index(category), device=gan.device)
        return self.space.draw(design_seeds(0, _UNITS), kind).std(dim=0)
