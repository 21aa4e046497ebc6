"""Recommendations: for a user, for an anonymous session, from item to item, and by photo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from recgan.errors import ImageRefused
from service.context import CurrentShop, TheService
from service.photos import photos_of
from service.pictures import taken_in
from service.problems import BODY, FILE, ProblemError, documented
from service.recommending import answer
from service.schemas import (
    ItemId,
    RecommendationList,
    RecommendationQuery,
    SessionRequest,
    SimilarQuery,
    UserId,
)
from service.security import READ

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["recommendations"], dependencies=[READ])


@router.get(
    "/users/{user_id:id}/recommendations",
    summary="Recommend to a known user",
    response_model=RecommendationList,
    responses=documented("unknown-user", "loading"),
)
async def user_recommendations(
    service: TheService, user_id: UserId, query: Annotated[RecommendationQuery, Query()]
) -> Response:
    """The items that the user is likely to prefer, best first; filtered first, so that k come if k are left. What the
    user did since the training counts."""
    return Response(await service.recommending.to_user(user_id, query), media_type="application/json")


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
    shop.catalogue.check_items(session.candidates, "/candidates/{}")
    photos = [photo.data for photo in photos_of(session.photos, service.settings)]
    taste = shop.tastes.of_session(session.liked, session.disliked, photos)
    found = shop.ranking.for_taste(
        taste, session.k, categories=session.categories or None, candidates=session.candidates or None
    )
    return answer(shop, found, taste if session.explain else None)


@router.get(
    "/items/{item_id:id}/similar",
    summary="Find similar items",
    responses=documented("unknown-item", "no-picture", "invalid-setting", "loading"),
)
def similar(shop: CurrentShop, item_id: ItemId, query: Annotated[SimilarQuery, Query()]) -> RecommendationList:
    """The items most like this one, nearest first."""
    item = shop.catalogue.get(item_id)
    shop.catalogue.check_categories(query.category, "?category")
    return answer(shop, shop.ranking.like_item(item, query.k, categories=query.category or None))


@router.post(
    "/search",
    summary="Search by photo",
    responses=documented(*FILE, "loading", "refused-picture", "no-eye"),
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
        return answer(shop, shop.ranking.like_photo(photo.data, query.k, categories=query.category or None))

    return await run_in_threadpool(found)
