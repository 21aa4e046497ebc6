"""The catalogue: categories, items, photos."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.caching import picture
from service.catalogue import Catalogue
from service.context import CurrentModels
from service.links import item_image_path
from service.paging import place_of, to_cursor
from service.problems import documented
from service.schemas import Category, CategoryList, Item, ItemDetail, ItemId, ItemPage, ItemQuery

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/categories", summary="List the categories", responses=documented("loading"))
def categories(models: CurrentModels) -> CategoryList:
    """All categories by name, with how many items each has and whether the generator can design it."""
    designable = models.designable
    listed = [
        Category(name=name, items=int(count), designable=name in designable)
        for name, count in zip(models.catalogue.categories, models.catalogue.counts)
    ]
    return CategoryList(categories=listed, model=models.version)


@router.get("/items", summary="List items", responses=documented("loading"))
def items(models: CurrentModels, query: Annotated[ItemQuery, Query()]) -> ItemPage:
    """Items in the catalogue's order, a page at a time."""
    catalogue = models.catalogue
    if query.category is not None:
        catalogue.check_categories([query.category], "?category")
    start = place_of(query.cursor, catalogue.digest)
    rows, more = catalogue.page(query.category, start, query.limit)
    following = to_cursor(catalogue.digest, start + len(rows)) if more else None
    return ItemPage(items=[Item(**_item(catalogue, row)) for row in rows], next_cursor=following, model=models.version)


# An id is one path segment, so these two paths do not shadow each other whatever the id is.
@router.get("/items/{item_id:id}", summary="Get an item", responses=documented("unknown-item", "loading"))
def item(models: CurrentModels, item_id: ItemId) -> ItemDetail:
    """One item with its attributes."""
    return ItemDetail(**_item(models.catalogue, models.catalogue.row(item_id)), model=models.version)


@router.get(
    "/items/{item_id:id}/image",
    summary="Get an item's picture",
    response_class=Response,
    responses={
        200: {
            "description": "The picture as the catalogue has it (TIFF and BMP as PNG)",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in ("image/jpeg", "image/png", "image/webp", "image/gif")
            },
        },
        304: {"description": "The client has it already (If-None-Match)"},
        **documented("unknown-item", "not-found", "loading"),
    },
)
def item_image(models: CurrentModels, item_id: ItemId, request: Request) -> Response:
    """The first picture of an item. It may be kept for an hour, and asked for again with its ETag."""
    row = models.catalogue.row(item_id)

    def load() -> tuple[bytes, str]:
        photo = models.catalogue.photo(row)
        return photo.data, photo.media_type

    return picture(request, models.catalogue.photo_etag(row), "public, max-age=3600", load)


def _item(catalogue: Catalogue, row: int) -> dict[str, object]:
    item_id = catalogue.item_id(row)
    return {
        "item_id": item_id,
        "category": catalogue.category_of(row),
        "available": catalogue.available(row),
        "image_count": catalogue.photo_count(row),
        "image_url": item_image_path(item_id) if catalogue.has_photo(row) else None,
        "attributes": catalogue.attributes(row),
    }
