"""Edits: what they begin with, what they need, and what a request for one leaves out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recgan.config import EditSettings
from recgan.design.results import Design
from recgan.errors import SettingsError
from service.live.shop import Shop
from service.lookup import find_design
from service.models import Models
from service.photos import as_base64, photos_of
from service.pictures import decode_base64
from service.problems import ProblemError, invalid
from service.schemas import DesignEdit, DesignRequest, EditSubject, SliderMove
from service.settings import ServiceSettings
from service.store import Store
from service.store.designs import StoredDesign

if TYPE_CHECKING:
    from recgan.design.editing import Subject

__all__ = ["amounts", "completed", "subjects_of", "tailoring", "with_photos_taken_in"]


def with_photos_taken_in(edit: DesignEdit, settings: ServiceSettings, side: int) -> DesignEdit:
    """Return an edit whose photos are such as may be kept, at most ``side`` pixels a side.

    Raises:
        ProblemError: refused-picture (422), telling which.
    """
    subjects = []
    for place, one in enumerate(edit.of):
        if one.photo is not None:
            pointer = f"/edit/of/{place}/photo"
            photo = photos_of([one.photo], settings, side=side, pointer=pointer)[0]
            one = one.model_copy(update={"photo": as_base64(photo)})
        subjects.append(one)
    return edit.model_copy(update={"of": subjects})


def completed(asked: DesignRequest, shop: Shop, store: Store) -> DesignRequest:
    """Return a request with what one for an edit leaves out: the category of what it begins with (it names that of a
    photo itself), and, where nobody is named, those whom the first design was for.

    Raises:
        ProblemError: invalid-request (422), another category, or a slider does not go so far; no-sliders (422); as
            `subjects_of`.
    """
    edit = asked.edit
    if edit is None:
        return asked
    if edit.kind == "slide":
        _check_moves(edit.moves, shop.models)
    first = subjects_of(edit, asked.category, shop, store)[0]
    filled: dict[str, Any] = {}
    if all(one.photo is None for one in edit.of):
        if asked.category not in (None, first.category):
            raise invalid("/category", f"what is edited is of category '{first.category}'; leave it out")
        filled["category"] = first.category
    if asked.names_nobody:
        assert edit.of[0].design is not None
        assert edit.of[0].index is not None
        before, _ = find_design(store, edit.of[0].design, edit.of[0].index)
        whom = ("user_id", "liked", "photos", "users", "cohort")
        filled |= {name: before.request[name] for name in whom if name in before.request}
    return asked.model_copy(update=filled)


def subjects_of(edit: DesignEdit, category: str | None, shop: Shop, store: Store) -> list[Subject]:
    """Return what an edit begins with; its photos show something of ``category``.

    Raises:
        ProblemError: as `find_design`; mismatch (409), another generator made a design; invalid-data (422), it was made
            before the service kept what edits need; no-inverter (422), an item or a photo cannot be looked for;
            invalid-request (422), there is no such item, or its category cannot be designed; no-picture (422).
        DataError: a design mixes categories.
        SettingsError: a mix of two categories, and the generator was told none.
    """
    from recgan.design.editing import check_mix

    gan = shop.models.need_designer().gan
    subjects = [_subject(one, place, category, shop, store) for place, one in enumerate(edit.of)]
    if edit.kind == "mix":
        check_mix(subjects[0], subjects[1], gan)
    return subjects


def amounts(moves: Sequence[SliderMove]) -> dict[int, float]:
    """Return how far each slider is moved, by its number."""
    return {move.direction: move.units for move in moves}


def tailoring(edit: DesignEdit, usual: EditSettings) -> EditSettings:
    """Return how something is tailored: as usual, but for what the request says."""
    asked: dict[str, Any] = {"keep_colour": edit.keep_colour or usual.keep_colour}
    if edit.leash is not None:
        asked["leash"] = edit.leash
    return usual.model_copy(update=asked)


def _check_moves(moves: Sequence[SliderMove], models: Models) -> None:
    directions = models.need_sliders().directions
    for place, move in enumerate(moves):
        try:
            directions.amounts({move.direction: move.units})
        except SettingsError as error:
            raise invalid(f"/edit/moves/{place}", str(error)) from error


def _subject(one: EditSubject, place: int, category: str | None, shop: Shop, store: Store) -> Subject:
    from recgan.design.editing import subject_of_design, subject_of_photo

    gan = shop.models.need_designer().gan
    if one.design is not None:
        assert one.index is not None
        return subject_of_design(_design(one.design, one.index, store, shop.models), gan)
    shop.models.need_inverter()
    if one.item is not None:
        return _item(one.item, f"/edit/of/{place}/item", shop)
    assert one.photo is not None
    assert category is not None
    _check_designable(category, "/category", shop)
    return subject_of_photo(decode_base64(one.photo), category, gan)


def _item(item_id: str, pointer: str, shop: Shop) -> Subject:
    """Return an item as the catalogue has it now."""
    from recgan.design.editing import subject_of_photo

    shop.catalogue.check_items([item_id], pointer)
    item = shop.catalogue.get(item_id)
    _check_designable(item.category, pointer, shop)
    if not shop.catalogue.picture_count(item):
        raise ProblemError("no-picture", f"{pointer}: item '{item_id}' has no picture to begin with; choose another")
    photo = shop.catalogue.photo(item).data
    subject = subject_of_photo(photo, item.category, shop.models.need_designer().gan, name=f"item '{item_id}'")
    return replace(subject, told={"item": item_id})


def _check_designable(category: str, pointer: str, shop: Shop) -> None:
    shop.catalogue.check_categories([category], pointer)
    if category not in shop.models.designable:
        raise invalid(pointer, f"the generator does not know the category '{category}'")


def _design(id: str, index: int, store: Store, models: Models) -> Design:
    job, stored = find_design(store, id, index)
    assert job.model is not None
    if job.model["generator"] != models.version.generator:
        raise ProblemError(
            "mismatch",
            f"design '{job.id}' was made by a generator that does not serve now; let its model serve again "
            "(GET /v1/models lists them), or design anew",
        )
    latent = store.designs.latent(job, index)
    picture = store.designs.png(job, index)
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
