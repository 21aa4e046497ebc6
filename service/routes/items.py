"""Items: listed, looked at, changed, added, deleted; and the categories."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service.caching import picture
from service.context import CurrentShop, Service, TheService
from service.item_changes import ItemWrite, put, write
from service.links import item_image_path
from service.live.catalogue import LiveCatalogue
from service.live.changes import LiveItem
from service.live.shop import Shop
from service.paging import place_of, to_cursor
from service.problems import BODY, FILE, documented
from service.schemas import (
    Category,
    CategoryList,
    Item,
    ItemBatch,
    ItemChange,
    ItemDetail,
    ItemId,
    ItemPage,
    ItemPut,
    ItemQuery,
    ItemsChanged,
)
from service.security import READ, WRITE
from service.store.items import StoredItem

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["catalogue"])
_PICTURES = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in ("image/jpeg", "image/png", "image/webp", "image/gif")
}


@router.get("/categories", summary="List the categories", responses=documented("loading"), dependencies=[READ])
def categories(shop: CurrentShop) -> CategoryList:
    """All categories by name, with how many items each has and whether the generator can design it."""
    designable, counts = shop.models.designable, shop.catalogue.counts
    listed = [Category(name=name, items=counts[name], designable=name in designable) for name in counts]
    return CategoryList(categories=listed, model=shop.version)


@router.get("/items", summary="List items", responses=documented("loading"), dependencies=[READ])
def items(shop: CurrentShop, query: Annotated[ItemQuery, Query()]) -> ItemPage:
    """Items in the catalogue's order, new ones last, a page at a time. While others change items, no item that was
    there all the time is left out or comes twice."""
    catalogue = shop.catalogue
    if query.category is not None:
        catalogue.check_categories([query.category], "?category")
    start = place_of(query.cursor, catalogue.digest)
    found, following = catalogue.page(query.category, start, query.limit)
    cursor = to_cursor(catalogue.digest, following) if following is not None else None
    return ItemPage(items=[Item(**_item(catalogue, one)) for one in found], next_cursor=cursor, model=shop.version)


@router.post(
    "/items",
    summary="Put many items",
    responses=documented(*BODY, "loading", "refused-picture"),
    dependencies=[WRITE],
)
def put_items(service: TheService, shop: CurrentShop, batch: Annotated[ItemBatch, Body()]) -> ItemsChanged:
    """Add items, or put them in the place of those that are there, all or none. From the answer on they are
    recommended, on every worker: a new one from its picture alone."""
    writes = {
        item.item_id: ItemWrite(put(item), image=item.image, category=item.category, pointer=f"/items/{place}")
        for place, item in enumerate(batch.items)
    }
    return _changed(service, shop, writes)


# An id is one path segment, so these paths do not shadow each other whatever the id is.
@router.get(
    "/items/{item_id:id}", summary="Get an item", responses=documented("unknown-item", "loading"), dependencies=[READ]
)
def item(shop: CurrentShop, item_id: ItemId) -> ItemDetail:
    """One item with its attributes."""
    return ItemDetail(**_item(shop.catalogue, shop.catalogue.get(item_id)), model=shop.version)


@router.put(
    "/items/{item_id:id}",
    summary="Put an item",
    responses=documented(*BODY, "loading", "refused-picture"),
    dependencies=[WRITE],
)
def put_item(
    service: TheService, shop: CurrentShop, item_id: ItemId, given: Annotated[ItemPut, Body()]
) -> ItemsChanged:
    """Add an item, or put it in the place of the one that is there. From the answer on it is recommended, on every
    worker: a new one from its picture alone."""
    return _changed(service, shop, {item_id: ItemWrite(put(given), image=given.image, category=given.category)})


@router.patch(
    "/items/{item_id:id}",
    summary="Change an item",
    responses=documented(*BODY, "loading", "unknown-item"),
    dependencies=[WRITE],
)
def change_item(
    service: TheService, shop: CurrentShop, item_id: ItemId, given: Annotated[ItemChange, Body()]
) -> ItemsChanged:
    """Change what is named and leave the rest: availability, category, single attributes."""
    shop.catalogue.get(item_id)

    def change(now: StoredItem) -> dict[str, Any]:
        attributes = {**now.attributes, **(given.attributes or {})}
        values: dict[str, Any] = {
            "attributes": {name: value for name, value in attributes.items() if value is not None}
        }
        return values | given.model_dump(include={"category", "available"}, exclude_none=True)

    return _changed(service, shop, {item_id: ItemWrite(change, category=given.category, must_exist=True)})


@router.put(
    "/items/{item_id:id}/image",
    summary="Put an item's picture",
    responses=documented(*FILE, "loading", "unknown-item", "refused-picture"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {name: content for name, content in _PICTURES.items() if name != "image/gif"},
        }
    },
    dependencies=[WRITE],
)
async def put_image(service: TheService, shop: CurrentShop, item_id: ItemId, request: Request) -> ItemsChanged:
    """Give an item another picture: the body is the file itself."""
    shop.catalogue.get(item_id)
    data = await request.body()
    write_image = ItemWrite(lambda now: {}, image=data, must_exist=True)
    return await run_in_threadpool(_changed, service, shop, {item_id: write_image})


@router.delete(
    "/items/{item_id:id}",
    status_code=204,
    summary="Delete an item",
    responses=documented("unknown-item", "loading"),
    dependencies=[WRITE],
)
def delete_item(service: TheService, shop: CurrentShop, item_id: ItemId) -> Response:
    """Delete an item: from now on it is not listed, found or recommended. What users did with it is kept."""
    shop.catalogue.get(item_id)
    _changed(service, shop, {item_id: ItemWrite(lambda now: {"deleted": True}, must_exist=True)})
    return Response(status_code=204)


@router.get(
    "/items/{item_id:id}/image",
    summary="Get an item's picture",
    response_class=Response,
    responses={
        200: {"description": "The picture as the catalogue has it (TIFF and BMP as PNG)", "content": _PICTURES},
        304: {"description": "The client has it already (If-None-Match)"},
        **documented("unknown-item", "not-found", "loading"),
    },
    dependencies=[READ],
)
def item_image(shop: CurrentShop, item_id: ItemId, request: Request) -> Response:
    """The first picture of an item. It may be kept for an hour, and asked for again with its ETag."""
    found = shop.catalogue.get(item_id)

    def load() -> tuple[bytes, str]:
        photo = shop.catalogue.photo(found)
        return photo.data, photo.media_type

    return picture(request, shop.catalogue.photo_etag(found), "private, max-age=3600", load)


def _changed(service: Service, shop: Shop, writes: dict[str, ItemWrite]) -> ItemsChanged:
    write(service.settings, service.store.items, shop, writes)
    now = service.keeper.now()
    scored = {item.item_id for item in now.changes.scored if item.available}
    count = sum(item_id in scored for item_id in writes)
    return ItemsChanged(items=len(writes), recommendable=count, model=now.version)


def _item(catalogue: LiveCatalogue, item: LiveItem) -> dict[str, Any]:
    count = catalogue.picture_count(item)
    return {
        "item_id": item.item_id,
        "category": item.category,
        "available": item.available,
        "image_count": count,
        "image_url": item_image_path(item.item_id) if count else None,
        "attributes": item.attributes,
    }
