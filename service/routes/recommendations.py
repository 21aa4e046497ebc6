"""Recommendations: for a user, for an anonymous session, from item to item, and by photo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Query, Request
from starlette.concurrency import run_in_threadpool

from recgan.errors import ImageRefused
from service.context import CurrentShop, TheService
from service.links import item_image_path
from service.live.shop import Shop
from service.photos import photos_of
from service.pictures import taken_in
from service.problems import BODY, ProblemError, documented
from service.schemas import (
    Carrier,
    Explanation,
    ItemId,
    RecommendationList,
    RecommendationQuery,
    RecommendedItem,
    SessionRequest,
    SimilarQuery,
    UserId,
)
from service.security import READ

if TYPE_CHECKING:
    from recgan.recommenders import Recommendation
    from recgan.recommenders.explain import Explanation as Explained

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["recommendations"], dependencies=[READ])
_CARRIERS = 5


@router.get(
    "/users/{user_id:id}/recommendations",
    summary="Recommend to a known user",
    responses=documented("unknown-user", "loading"),
)
def user_recommendations(
    shop: CurrentShop, user_id: UserId, query: Annotated[RecommendationQuery, Query()]
) -> RecommendationList:
    """The items that the user is likely to prefer, best first; filtered first, so that k come if k are left. What the
    user did since the training counts."""
    shop.catalogue.check_categories(query.category, "?category")
    shop.catalogue.check_items(query.candidate, "?candidate")
    taste = shop.tastes.of_user(user_id)
    found = shop.ranking.for_taste(
        taste,
        query.k,
        exclude_seen=query.exclude_seen,
        categories=query.category or None,
        candidates=query.candidate or None,
    )
    why = shop.ranking.explain(taste, [one.item_id for one in found]) if query.explain else {}
    return _answer(shop, found, why)


@router.post(
    "/sessions/recommendations",
    summary="Recommend to somebody without an account",
    responses=documented(*BODY, "loading", "refused-picture", "no-eye"),
)
def session_recommendations(
    service: TheService, shop: CurrentShop, session: Annotated[SessionRequest, Body()]
) -> RecommendationList:
    """The same from liked and disliked items and photos, of which nothing is kept. What is named is not recommended."""
    shop.catalogue.check_items(session.liked, "/liked/{}")
    shop.catalogue.check_items(session.disliked, "/disliked/{}")
    shop.catalogue.check_categories(session.categories, "/categories")
    photos = [photo.data for photo in photos_of(session.photos, service.settings)]
    taste = shop.tastes.of_session(session.liked, session.disliked, photos)
    return _answer(shop, shop.ranking.for_taste(taste, session.k, categories=session.categories or None))


@router.get(
    "/items/{item_id:id}/similar",
    summary="Find similar items",
    responses=documented("unknown-item", "no-picture", "invalid-setting", "loading"),
)
def similar(shop: CurrentShop, item_id: ItemId, query: Annotated[SimilarQuery, Query()]) -> RecommendationList:
    """The items most like this one, nearest first."""
    item = shop.catalogue.get(item_id)
    shop.catalogue.check_categories(query.category, "?category")
    return _answer(shop, shop.ranking.like_item(item, query.k, categories=query.category or None))


@router.post(
    "/search",
    summary="Search by photo",
    responses=documented(*BODY, "loading", "refused-picture", "no-eye"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                name: {"schema": {"type": "string", "format": "binary"}}
                for name in ("image/jpeg", "image/png", "image/webp")
            },
        }
    },
)
async def search(
    service: TheService, shop: CurrentShop, query: Annotated[SimilarQuery, Query()], request: Request
) -> RecommendationList:
    """The items that look most like a photo, nearest first; the body is the file itself, and is not kept."""
    data = await request.body()
    settings = service.settings

    def found() -> RecommendationList:
        shop.catalogue.check_categories(query.category, "?category")
        try:
            photo = taken_in(data, max_pixels=settings.max_picture_pixels, side=settings.picture_side)
        except ImageRefused as error:
            raise ProblemError("refused-picture", f"the photo: {error.detail}") from error
        return _answer(shop, shop.ranking.like_photo(photo.data, query.k, categories=query.category or None))

    return await run_in_threadpool(found)


def _answer(
    shop: Shop, found: Iterable[Recommendation], why: Mapping[str, Explained] | None = None
) -> RecommendationList:
    catalogue = shop.catalogue
    items = []
    for one in found:
        explained = (why or {}).get(one.item_id)
        items.append(
            RecommendedItem(
                item_id=one.item_id,
                category=one.category,
                score=one.score,
                image_url=item_image_path(one.item_id) if catalogue.pictured(one.item_id) else None,
                explanation=_explanation(explained) if explained else None,
            )
        )
    return RecommendationList(items=items, model=shop.version)


def _explanation(explained: Explained) -> Explanation:
    carriers = [Carrier(item_id=item_id, influence=influence) for item_id, influence in explained.liked[:_CARRIERS]]
    return Explanation(parts=explained.parts, carried_by=carriers)
