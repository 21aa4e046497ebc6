"""Changes of items, from the request to the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from recgan.errors import ImageRefused
from service.live.changes import seen_in
from service.live.shop import Shop
from service.pictures import decode_base64, taken_in
from service.problems import FieldProblem, ProblemError
from service.schemas import ItemPut
from service.settings import ServiceSettings
from service.store.items import ItemTable, Picture, StoredItem

__all__ = ["ItemWrite", "put", "write"]


@dataclass(frozen=True)
class ItemWrite:
    """What is to become of one item."""

    values: Callable[[StoredItem], Mapping[str, Any]]
    """Makes of the item as it is the values that change."""
    image: str | bytes | None = None
    """A new picture, as Base64 text or as it is."""
    category: str | None = None
    """Its new category, to be checked."""
    must_exist: bool = False
    """Whether it is left alone if somebody has deleted it meanwhile."""
    pointer: str = ""
    """Where in the request it stands."""


def put(given: ItemPut) -> Callable[[StoredItem], Mapping[str, Any]]:
    """Return the values of an item that is put as a whole."""
    values = {**given.model_dump(include={"category", "available", "attributes"}), "deleted": False}
    return lambda now: values


def write(settings: ServiceSettings, table: ItemTable, shop: Shop, writes: Mapping[str, ItemWrite]) -> None:
    """Change items, all or none. Their pictures are looked at before, so that they are recommended at once.

    Raises:
        ProblemError: invalid-request, refused-picture (422); unknown-item (404), it was deleted meanwhile.
    """
    pictures: dict[str, Picture] = {}
    for item_id, one in writes.items():
        if one.category is not None:
            shop.catalogue.check_categories([one.category], f"{one.pointer}/category")
        if one.image is not None:
            pictures[item_id] = _picture(settings, one)
    if shop.models.eye is not None and pictures:
        seen_in({picture.digest: picture.data for picture in pictures.values()}, shop.models.eye, table)

    def change(item_id: str) -> Callable[[StoredItem | None], StoredItem]:
        def changed(stored: StoredItem | None) -> StoredItem:
            now = stored or _as_it_is(shop, item_id)
            if now.deleted and writes[item_id].must_exist:
                raise ProblemError("unknown-item", f"item '{item_id}' was deleted a moment ago")
            kept = None if now.deleted else now.picture  # what was deleted does not come back with its old picture
            picture = pictures[item_id].digest if item_id in pictures else kept
            after = replace(now, **writes[item_id].values(now), picture=picture)
            return replace(after, picture=None) if after.deleted else after

        return changed

    table.change({item_id: change(item_id) for item_id in writes}, list(pictures.values()))


def _as_it_is(shop: Shop, item_id: str) -> StoredItem:
    """Return an item that was never changed: the bundle's, or an empty place for a new one."""
    if item_id not in shop.catalogue:
        return StoredItem(item_id, category="", deleted=False)
    item = shop.catalogue.get(item_id)
    return StoredItem(item_id, item.category, item.available, item.attributes, item.picture)


def _picture(settings: ServiceSettings, one: ItemWrite) -> Picture:
    try:
        data = one.image if isinstance(one.image, bytes) else decode_base64(one.image or "")
        return taken_in(data, max_pixels=settings.max_picture_pixels, side=settings.picture_side)
    except ImageRefused as error:
        pointer = "" if isinstance(one.image, bytes) else f"{one.pointer}/image"
        raise ProblemError(
            "refused-picture",
            f"{pointer or 'the picture'}: {error.detail}",
            errors=[FieldProblem(pointer=pointer, detail=error.detail)],
        ) from error
