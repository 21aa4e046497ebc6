"""Recommendations: for a known user, for an anonymous session, and from item to item."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Query

from service.context import CurrentModels
from service.links import item_image_path
from service.models import Models
from service.paging import place_of, to_cursor
from service.problems import documented
from service.schemas import (
    ItemId,
    RecommendationList,
    RecommendationQuery,
    RecommendedItem,
    SessionRequest,
    SimilarQuery,
    UserId,
    UserPage,
    UserQuery,
)

if TYPE_CHECKING:
    from recgan.recommenders import Recommendation

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.get("/users", summary="List the known users", responses=documented("loading"))
def users(models: CurrentModels, query: Annotated[UserQuery, Query()]) -> UserPage:
    """The users whom the recommender knows, a page at a time."""
    known = models.recommender.user_ids
    start = place_of(query.cursor, models.version.recommender)
    page = [str(user_id) for user_id in known[start : start + query.limit]]
    stop = start + len(page)
    following = to_cursor(models.version.recommender, stop) if stop < len(known) else None
    return UserPage(users=page, next_cursor=following, model=models.version)


@router.get(
    "/users/{user_id:id}/recommendations",
    summary="Recommend to a known user",
    responses=documented("unknown-user", "loading"),
)
def user_recommendations(
    models: CurrentModels, user_id: UserId, query: Annotated[RecommendationQuery, Query()]
) -> RecommendationList:
    """The items that the user is likely to prefer, best first; filtered first, so that k come if k are left."""
    models.check_user(user_id)
    models.catalogue.check_categories(query.category, "?category")
    found = models.recommender.recommend(
        [user_id], query.k, exclude_seen=query.exclude_seen, categories=query.category or None
    )
    return _answer(models, found[0])


@router.post(
    "/sessions/recommendations",
    summary="Recommend to somebody without an account",
    responses=documented("unsupported-media-type", "body-too-large", "loading"),
)
def session_recommendations(models: CurrentModels, session: Annotated[SessionRequest, Body()]) -> RecommendationList:
    """The same from liked and disliked items, of which nothing is kept. What is named is not recommended."""
    models.catalogue.check_items(session.liked, "liked")
    models.catalogue.check_items(session.disliked, "disliked")
    models.catalogue.check_categories(session.categories, "/categories")
    somebody = models.recommender.fold_in(session.liked, disliked=session.disliked)
    found = models.recommender.recommend([somebody], session.k, categories=session.categories or None)
    return _answer(models, found[0])


@router.get(
    "/items/{item_id:id}/similar",
    summary="Find similar items",
    responses=documented("unknown-item", "loading"),
)
def similar(models: CurrentModels, item_id: ItemId, query: Annotated[SimilarQuery, Query()]) -> RecommendationList:
    """The items most like this one, nearest first."""
    models.catalogue.row(item_id)
    return _answer(models, models.recommender.similar(item_id, query.k))


def _answer(models: Models, found: Iterable[Recommendation]) -> RecommendationList:
    catalogue = models.catalogue
    items = [
        RecommendedItem(
            item_id=one.item_id,
            category=one.category,
            score=one.score,
            image_url=item_image_path(one.item_id) if catalogue.has_photo(catalogue.row(one.item_id)) else None,
        )
        for one in found
    ]
    return RecommendationList(items=items, model=models.version)
