"""The editor: designs made from items, photos and other designs.

What is edited is first found in the generator's space: a design lies there, a photo is brought back by an inverter,
which is never exact (``settings["edit"]["inversion"]`` says how far off it is). Then the point is moved, and what the
generator makes of it is told as any design: with its score, its nearest real items, and what reproduces it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recgan.config import DesignSettings, EditSettings, check_request
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels, to_uint8
from recgan.design.audience import Someone
from recgan.design.designer import Designer, seed_of_design
from recgan.design.editing.places import Inversion, Places
from recgan.design.editing.subjects import Subject, check_mix, subject_of_design, subject_of_item, subject_of_photo
from recgan.design.editing.tailoring import tailored, unsearched, with_edit
from recgan.design.editing.usual import UsualDistances
from recgan.design.results import Design
from recgan.design.search import Preview
from recgan.encoders.perceptual import PerceptualDistance
from recgan.errors import SettingsError
from recgan.gan.conditioning import one_hot
from recgan.gan.latent import Directions, Inverter
from recgan.progress import Progress, quiet

__all__ = ["Editor"]

_TOGETHER = 16
"""Subjects that are tailored together: the leash keeps some megabytes of each."""


class Editor:
    """Edits with one designer; keep one and ask it often.

    ::

        editor = Editor(designer, bundle, load_inverter("runs/inverter", designer.gan))
        designs = editor.tailor(editor.item("15970"), "user-00001", n=4)
    """

    def __init__(
        self,
        designer: Designer,
        bundle: Bundle,
        inverter: Inverter | None = None,
        settings: EditSettings | None = None,
    ) -> None:
        """Bring a designer and its catalogue together.

        Args:
            designer: of recommender and generator.
            bundle: the one that they were trained on.
            inverter: of the same generator: needed for items and photos, which no latent is known of.
            settings: of all edits.

        Raises:
            MismatchError: the parts are of different catalogues or generators.
        """
        designer.recommender.check_fits(bundle)
        self.designer, self.bundle = designer, bundle
        self.settings = settings if settings is not None else EditSettings()
        gan = designer.gan
        self.eye = PerceptualDistance(str(designer.device))
        self.places = Places(gan, inverter, self.eye)
        self.space = self.places.space
        self.usual = UsualDistances(bundle, gan.size, self.eye)

    # ---- what is edited

    def item(self, item_id: str) -> Subject:
        """Return an item of the catalogue; errors as `subject_of_item`."""
        return subject_of_item(self.bundle, self.designer.gan, item_id)

    def photo(self, data: bytes, category: str, *, name: str = "the photo") -> Subject:
        """Return an encoded photo of a category; errors as `subject_of_photo`."""
        return subject_of_photo(data, category, self.designer.gan, name=name)

    def of_design(self, design: Design) -> Subject:
        """Return a design; errors as `subject_of_design`."""
        return subject_of_design(design, self.designer.gan)

    def photos(self, rows: np.ndarray) -> np.ndarray:
        """Return the first pictures of items at ``rows`` of the catalogue, uint8 [n, S, S, 3]."""
        pixels = load_pixels(self.bundle, self.designer.gan.size)
        return np.asarray(pixels[self.bundle.primary_images[rows]])

    # ---- edits

    def tailor(
        self,
        subject: Subject,
        user: Someone | None = None,
        n: int = 1,
        *,
        seed: int = 0,
        settings: EditSettings | None = None,
        search: DesignSettings | None = None,
        progress: Progress = quiet,
        preview: Preview | None = None,
    ) -> list[Design]:
        """Change a picture so that a user likes it more and it still looks like itself (after Kang et al. 2017).

        The user's liking is climbed from where the picture lies in the generator's space, held by a leash on the
        perceptual distance to the picture itself. The first design begins there, the others a little beside it.

        Args:
            subject: an item, a photo or a design.
            user: as in `Designer.design`; None: the average user.
            settings: how far it may go, and what is kept; None: the editor's own.
            n, seed, search, preview: as there; but ``samples``, ``starts`` and ``pool`` are 1, and ``space`` is the
                inverter's.

        Raises:
            SettingsError: an item or a photo without an inverter; as `Designer.design`.
        """
        check_request(n, seed)
        return self._tailored([(subject, user)], n, seed, settings, search, progress, preview)[0]

    def tailor_many(
        self,
        pairs: Sequence[tuple[Subject, Someone | None]],
        n: int = 1,
        *,
        seed: int = 0,
        search: DesignSettings | None = None,
        progress: Progress = quiet,
    ) -> list[list[Design]]:
        """Tailor each of many pictures to its user, as `tailor` would."""
        check_request(n, seed)
        made: list[list[Design]] = []
        for start in range(0, len(pairs), _TOGETHER):
            progress("tailoring", start, len(pairs))
            made += self._tailored(pairs[start : start + _TOGETHER], n, seed, None, search, progress)
        progress("tailoring", len(pairs), len(pairs))
        return made

    def like(
        self,
        subject: Subject,
        user: Someone | None = None,
        n: int = 4,
        *,
        seed: int = 0,
        progress: Progress = quiet,
    ) -> list[Design]:
        """Return variations of a picture: of ``settings.samples`` points near it each, the one that a user likes best.

        Args and errors as `tailor`.
        """
        check_request(n, seed)
        (point,), told = self.places.of([subject], steps=self.settings.inversion_steps, progress=progress)
        samples = self.settings.samples
        seeds = [seed_of_design(seed, place) for place in range(n)]
        spread = self.settings.spread
        near = [self.places.near(point, subject.category, spread, samples, seed=one) for one in seeds]
        search = DesignSettings(samples=samples, starts=1, steps=0, space=self.space.name)
        someone = self._someone(user)
        designs = self.designer.design(
            someone,
            subject.category,
            n,
            seed=seed,
            settings=search,
            starts=torch.stack(near),
            progress=progress,
        )
        return [self._with(design, "like", subject, told[0]) for design in designs]

    def mix(
        self,
        start: Subject,
        end: Subject,
        user: Someone | None = None,
        n: int = 5,
        *,
        seed: int = 0,
        progress: Progress = quiet,
    ) -> list[Design]:
        """Return ``n`` pictures on the way from one to another, both included: an arc in z, a line in w; of two
        categories the class changes evenly with it.

        Raises:
            SettingsError: two categories, and the generator was told none; as `tailor`.
        """
        check_request(n, seed, least=2)
        check_mix(start, end, self.designer.gan)
        points, told = self.places.of([start, end], steps=self.settings.inversion_steps, progress=progress)
        shares = torch.linspace(0, 1, n)
        way = self.space.between(points[:1], points[1:], shares)[0]
        record = {"end": end.told, "end_inversion": told[1]}
        return self._along(way, shares, start, end.category, user, seed, "mix", told[0], record, progress)

    def recategorise(
        self,
        subject: Subject,
        category: str,
        user: Someone | None = None,
        n: int = 5,
        *,
        seed: int = 0,
        progress: Progress = quiet,
    ) -> list[Design]:
        """Return ``n`` pictures while the category changes evenly and all else stays: in z the same point, in w moved
        by what lies between the categories' means.

        Raises:
            NotFoundError: an unknown category.
            SettingsError: the generator was told no category, or it is the subject's own; as `tailor`.
        """
        check_request(n, seed, least=2)
        gan = self.designer.gan
        target = gan.class_index(category)
        if not self.space.knows_classes:
            raise SettingsError(f"this GAN ({gan.recipe.name}) was told no category, so there is none to change")
        if category == subject.category:
            raise SettingsError(f"it is of the category '{category}' already; name another one to change it to")
        (point,), told = self.places.of([subject], steps=self.settings.inversion_steps, progress=progress)
        shares = torch.linspace(0, 1, n)
        way = point.expand(n, -1)
        if self.space.name == "w":
            ends = torch.tensor([gan.class_index(subject.category), target], device=gan.device)
            centres = self.space.centre(ends)
            way = way + shares.to(way)[:, None] * (centres[1] - centres[0])
        return self._along(way, shares, subject, category, user, seed, "recategorise", told[0], {}, progress)

    def arithmetic(
        self,
        subject: Subject,
        plus: Sequence[Subject],
        minus: Sequence[Subject],
        user: Someone | None = None,
        *,
        strength: float = 1.0,
        seed: int = 0,
        progress: Progress = quiet,
    ) -> Design:
        """Give a picture what some examples have and others lack: "this minus plain plus striped" (Radford et al. 2016,
        section 6.3.2).

        Raises:
            SettingsError: an empty set; as `tailor`.
        """
        check_request(1, seed)
        if not plus or not minus:
            raise SettingsError(
                "arithmetic needs examples on both sides; name at least one to add and one to take away"
            )
        points, told = self.places.of([subject, *plus, *minus], steps=self.settings.inversion_steps, progress=progress)
        more, less = points[1 : 1 + len(plus)], points[1 + len(plus) :]
        moved = self.space.combine(points[:1], more, less, strength)[0]
        record = {"plus": [one.told for one in plus], "minus": [one.told for one in minus], "strength": strength}
        return self._at(moved, subject, user, seed, "arithmetic", told[0], record)

    def slide(
        self,
        subject: Subject,
        directions: Directions,
        amounts: Mapping[int, float],
        user: Someone | None = None,
        *,
        seed: int = 0,
        progress: Progress = quiet,
    ) -> Design:
        """Move a picture along named directions (`recgan.gan.latent.find_directions`), each by so many of its units.

        Raises:
            SettingsError: there is no such direction, or an amount goes beyond where its pictures stay believable.
            MismatchError: the directions are of another space.
        """
        check_request(1, seed)
        if not amounts:
            raise SettingsError("name at least one direction to move along, such as 0=1.5")
        wanted = directions.amounts(amounts)
        (point,), told = self.places.of([subject], steps=self.settings.inversion_steps, progress=progress)
        moved = directions.moved(self.space, point[None], wanted)[0]
        record = {"amounts": {str(number): float(amount) for number, amount in amounts.items()}}
        return self._at(moved, subject, user, seed, "slide", told[0], record)

    # ---- parts

    def _someone(self, user: Someone | None) -> Someone:
        return self.designer.recommender.fold_in() if user is None else user

    def _tailored(
        self,
        pairs: Sequence[tuple[Subject, Someone | None]],
        n: int,
        seed: int,
        settings: EditSettings | None,
        search: DesignSettings | None,
        progress: Progress,
        preview: Preview | None = None,
    ) -> list[list[Design]]:
        named = [(subject, self._someone(user)) for subject, user in pairs]
        return tailored(
            self.designer,
            self.places,
            self.usual,
            settings if settings is not None else self.settings,
            named,
            n,
            seed=seed,
            search=search,
            progress=progress,
            preview=preview,
        )

    def _at(
        self,
        point: Tensor,
        subject: Subject,
        user: Someone | None,
        seed: int,
        verb: str,
        inversion: Inversion | None,
        record: dict[str, Any],
    ) -> Design:
        """Return what the generator makes of a point [dz], of the subject's category."""
        kind = torch.tensor([self.designer.gan.class_index(subject.category)])
        image = to_uint8(self.space.images(point[None], kind))[0]
        design = self.designer.as_design(
            image, point, self._someone(user), subject.category, seed, unsearched(self.space)
        )
        return self._with(design, verb, subject, inversion, record)

    def _along(
        self,
        way: Tensor,
        shares: Tensor,
        start: Subject,
        category: str,
        user: Someone | None,
        seed: int,
        verb: str,
        inversion: Inversion | None,
        record: dict[str, Any],
        progress: Progress,
    ) -> list[Design]:
        """Return what the generator makes of points [n, dz] while the class changes from the start's to ``category``;
        each is told as of the nearer one."""
        gan, someone = self.designer.gan, self._someone(user)
        ends = torch.tensor([gan.class_index(start.category), gan.class_index(category)])
        labels = one_hot(ends, len(gan.category_names)).to(gan.device)
        weights = torch.lerp(labels[0], labels[1], shares.to(gan.device)[:, None])
        pixels = to_uint8(self.space.images(way, weights))
        designs = []
        for place, share in enumerate(shares.tolist()):
            progress("judging", place, len(shares))
            nearer = start.category if share < 0.5 else category
            design = self.designer.as_design(pixels[place], way[place], someone, nearer, seed, unsearched(self.space))
            own = {**record, "share": share}
            if self.space.name == "z" and 0 < share < 1 and start.category != category:
                own["weights"] = {start.category: 1 - share, category: share}
            designs.append(self._with(design, verb, start, inversion, own))
        progress("judging", len(shares), len(shares))
        return designs

    def _with(
        self,
        design: Design,
        verb: str,
        subject: Subject,
        inversion: Inversion | None,
        record: Mapping[str, Any] | None = None,
    ) -> Design:
        return with_edit(design, verb, subject, inversion, record or {}, self.eye, self.settings)
