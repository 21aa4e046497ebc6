"""Tailoring: a user's liking is climbed from where a picture lies, on a leash; and the record of an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recgan.config import DesignSettings, EditSettings, overridden
from recgan.dataset.pixels import to_float, to_uint8
from recgan.design.audience import Someone
from recgan.design.designer import Designer, Request, seed_of_design
from recgan.design.editing.colour import colour_kept
from recgan.design.editing.places import Inversion, Places
from recgan.design.editing.subjects import Subject
from recgan.design.editing.usual import UsualDistances
from recgan.design.objective import Candidates, Term
from recgan.design.results import Design
from recgan.design.search import Preview
from recgan.design.terms import leash
from recgan.encoders.perceptual import PerceptualDistance
from recgan.errors import SettingsError
from recgan.gan.latent import LatentSpace
from recgan.progress import Progress, quiet

__all__ = ["climb_settings", "perceptual_leash", "tailored", "unsearched", "with_edit"]

_ONE = ("samples", "starts", "pool")
"""Settings of a search that tailoring has no use for: each design begins at one point."""


def climb_settings(settings: DesignSettings, assignments: Sequence[str], option: str = "--search") -> DesignSettings:
    """Return ``settings`` with ``name=value`` assignments applied, for `tailored`.

    Raises:
        SettingsError: as `recgan.config.overridden`; or it is a setting that tailoring itself sets.
    """
    for assignment in assignments:
        name = assignment.partition("=")[0].strip()
        if name in _ONE:
            raise SettingsError(
                f"{option} {assignment}: tailoring begins at the picture itself, and nothing is drawn to choose from; "
                "leave it out (-n makes more designs)"
            )
        if name == "space":
            raise SettingsError(f"{option} {assignment}: tailoring moves in the inverter's own space; leave it out")
        if name == "visible":
            raise SettingsError(f"{option} {assignment}: a tailored picture is to look like itself; leave it out")
    return overridden(settings, assignments, option)


def tailored(
    designer: Designer,
    places: Places,
    usual: UsualDistances,
    settings: EditSettings,
    pairs: Sequence[tuple[Subject, Someone]],
    n: int,
    *,
    seed: int,
    search: DesignSettings | None = None,
    progress: Progress = quiet,
    preview: Preview | None = None,
) -> list[list[Design]]:
    """Return n designs of each picture for its user: see `recgan.design.editing.editor.Editor.tailor_many`."""
    given = search if search is not None else DesignSettings()
    # A leash keeps the picture near what it was; whether enough has changed to be seen is for who looks.
    search = overridden(given, [*(f"{name}=1" for name in _ONE), f"space={places.space.name}", "visible=False"])
    subjects = [subject for subject, _ in pairs]
    requests = [Request(user, subject.category, n, seed) for subject, user in pairs]
    lengths = np.array([settings.leash * usual(subject.category) for subject in subjects])
    points, told = places.of(subjects, steps=settings.inversion_steps, progress=progress)
    starts = []
    for point, subject in zip(points, subjects):
        starts.append(point[None])
        for place in range(1, n):
            own = seed_of_design(seed, place)
            starts.append(places.near(point, subject.category, settings.spread, 1, seed=own))
    originals = np.stack([subject.image for subject in subjects])
    terms = [(settings.leash_weight, perceptual_leash(places.eye, originals, n, lengths, designer.device))]
    if settings.keep_colour:
        terms.append((settings.colour_weight, colour_kept(originals.repeat(n, axis=0), designer.device)))
    made = designer.design_many(
        requests, settings=search, terms=terms, starts=torch.stack(starts), progress=progress, preview=preview
    )
    kinds = torch.tensor([designer.gan.class_index(subject.category) for subject in subjects])
    began = to_uint8(places.space.images(points, kinds))
    out = []
    for row, (designs, (subject, user)) in enumerate(zip(made, pairs)):
        scores = [
            designer.as_design(image, points[row], user, subject.category, seed, unsearched(places.space)).score
            for image in (subject.image, began[row])
        ]
        record = {"leash": float(lengths[row]), "score_of_subject": scores[0], "score_of_start": scores[1]}
        out.append(
            [with_edit(design, "tailor", subject, told[row], record, places.eye, settings) for design in designs]
        )
    return out


def perceptual_leash(
    eye: PerceptualDistance, originals: np.ndarray, n: int, lengths: np.ndarray, device: torch.device
) -> Term:
    """Return the leash to pictures uint8 [m, S, S, 3], each of which holds n designs in turn: free up to its length
    (float [m], perceptual distances), then one unit a tenth of it."""
    with torch.no_grad():  # one at a time, so that a design does not depend on what is tailored beside it
        targets = torch.cat([eye.maps(to_float(one[None], device)) for one in originals])
    own_length = torch.from_numpy(lengths).float().to(device)

    def share(candidates: Candidates) -> Tensor:
        own = candidates.design // n
        return (eye.maps(candidates.images) - targets[own]).square().sum(dim=1) / own_length[own]

    return leash(share, 1.0)


def unsearched(space: LatentSpace) -> DesignSettings:
    """Return the settings of a design that no search made."""
    return DesignSettings(samples=1, starts=1, steps=0, space=space.name)


def with_edit(
    design: Design,
    verb: str,
    subject: Subject,
    inversion: Inversion | None,
    record: Mapping[str, Any],
    eye: PerceptualDistance,
    settings: EditSettings,
) -> Design:
    """Return a design with the record of its edit in ``settings["edit"]``: what was done to what, how far off the
    inversion was, and ``distance``, how unlike the subject it looks (perceptual)."""
    distance = float(eye(subject.image[None], design.image[None])[0])
    edit = {"verb": verb, "of": subject.told, "inversion": inversion, "distance": distance, **record}
    if "leash" in edit:
        edit["within_leash"] = distance <= edit["leash"]
    searched = verb in ("tailor", "like")
    kept = {name: value for name, value in design.settings.items() if searched or name != "objective"}
    return replace(design, settings={**kept, "edit": {**edit, "settings": settings.model_dump()}})
