"""Edits of finished designs: what they begin with, and what a request for one leaves out."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recgan.design.results import Design
from service.lookup import find_design
from service.models import Models
from service.problems import FieldProblem, ProblemError
from service.schemas import DesignEdit, DesignRef, DesignRequest
from service.store import Store
from service.store.designs import StoredDesign

if TYPE_CHECKING:
    from recgan.design.editing import Subject

__all__ = ["completed", "subjects_of"]


def completed(asked: DesignRequest, store: Store, models: Models) -> DesignRequest:
    """Return a request with what one for an edit leaves out: the category of the first design, and, where nobody is
    named, those whom that design was for.

    Raises:
        ProblemError: invalid-request (422), another category; as `subjects_of`.
    """
    if asked.edit is None:
        return asked
    first = subjects_of(asked.edit, store, models)[0]
    if asked.category not in (None, first.category):
        detail = f"the design is of category '{first.category}', and an edit begins there; leave it out"
        raise ProblemError(
            "invalid-request", f"/category: {detail}", errors=[FieldProblem(pointer="/category", detail=detail)]
        )
    filled: dict[str, Any] = {"category": first.category}
    if asked.names_nobody:
        before, _ = find_design(store, asked.edit.of[0].design, asked.edit.of[0].index)
        filled |= {name: before.request[name] for name in ("user_id", "liked", "photos")}
    return asked.model_copy(update=filled)


def subjects_of(edit: DesignEdit, store: Store, models: Models) -> list[Subject]:
    """Return the designs that an edit begins with.

    Raises:
        ProblemError: as `find_design`; mismatch (409), another generator made it; invalid-data (422), it was made
            before the service kept what edits need.
        DataError: it mixes categories.
        SettingsError: a mix of two categories, and the generator was told none.
    """
    from recgan.design.editing import check_mix, subject_of_design

    gan = models.need_designer().gan
    subjects = [subject_of_design(_design(one, store, models), gan) for one in edit.of]
    if edit.kind == "mix":
        check_mix(subjects[0], subjects[1], gan)
    return subjects


def _design(named: DesignRef, store: Store, models: Models) -> Design:
    job, stored = find_design(store, named.design, named.index)
    assert job.model is not None
    if job.model["generator"] != models.version.generator:
        raise ProblemError(
            "mismatch",
            f"design '{job.id}' was made by a generator that does not serve now; let its model serve again "
            "(GET /v1/models lists them), or design anew",
        )
    latent = store.designs.latent(job, named.index)
    picture = store.designs.png(job, named.index)
    if latent is None or picture is None:
        raise ProblemError(
            "invalid-data",
            f"design '{job.id}' was made before the service kept what edits need; the same request with the same seed "
            "makes it again",
        )
    return _as_designed(stored, picture[0], latent)


def _as_designed(stored: StoredDesign, png: bytes, latent: np.ndarray) -> Design:
    facts = dict(stored.facts)
    nearest = [(item_id, distance) for item_id, distance in facts.pop("nearest")]
    image = np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)))
    return Design(image=image, z=latent, category=stored.category, nearest=nearest, **facts)
