"""Users: who is known, what is held of one, and how it is deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.context import CurrentShop, TheService
from service.design_answers import statuses
from service.paging import place_of, to_cursor
from service.problems import ProblemError, documented
from service.schemas import DesignStatus, StoredEvent, StoredOpinion, UserId, UserPage, UserQuery, UserRecord
from service.security import READ, WRITE

__all__ = ["router"]

router = APIRouter(prefix="/v1/users", tags=["users"])


@router.get("", summary="List the known users", responses=documented("loading"), dependencies=[READ])
def users(shop: CurrentShop, query: Annotated[UserQuery, Query()]) -> UserPage:
    """The users whom the recommender was trained on, a page at a time."""
    known = shop.models.recommender.user_ids
    digest = shop.version.recommender
    start = place_of(query.cursor, digest)
    page = [str(user_id) for user_id in known[start : start + query.limit]]
    stop = start + len(page)
    following = to_cursor(digest, stop) if stop < len(known) else None
    return UserPage(users=page, next_cursor=following, model=shop.version)


@router.get(
    "/{user_id:id}",
    summary="Export what is held of a user",
    responses=documented("unknown-user", "loading"),
    dependencies=[WRITE],
)
def export(service: TheService, shop: CurrentShop, user_id: UserId) -> UserRecord:
    """Everything that the service holds of one user."""
    store = service.store
    history = store.events.history(user_id)
    events = store.events.export(
        user_id,
        lambda one: StoredEvent(item_id=one.item_id, event=one.event, weight=one.weight, timestamp=one.happened_at),
    )
    jobs = store.jobs.of_user(user_id)
    opinions = store.designs.opinions_of(user_id)
    learned = shop.models.recommender.knows(user_id) and not history.forgotten
    if not (learned or events or jobs or opinions):
        raise ProblemError("unknown-user", f"nothing is held of a user '{user_id}'")
    recommender = shop.models.recommender
    seen = recommender.item_ids[recommender.user_vector(user_id).seen].tolist() if learned else []
    return UserRecord(
        user_id=user_id,
        learned_from=seen,
        events=events,
        designs=[_of_one(design, user_id) for design in statuses(store, shop.version, jobs)],
        opinions=[
            StoredOpinion(design=one.job_id, index=one.place, opinion=one.opinion, at=one.at) for one in opinions
        ],
        model=shop.version,
    )


@router.delete(
    "/{user_id:id}",
    status_code=204,
    summary="Forget a user",
    responses=documented(),
    dependencies=[WRITE],
)
def forget(service: TheService, user_id: UserId) -> Response:
    """Delete everything that is held of a user. What the model has learned of them is not used any more, and the next
    training leaves them out. Doing so twice is as good as once."""
    service.store.events.forget(user_id)
    return Response(status_code=204)


def _of_one(design: DesignStatus, user_id: str) -> DesignStatus:
    """Return a design that was for several users without the others' ids, which why it failed may name, too."""
    if not design.request.users:
        return design
    request = design.request.model_copy(update={"users": [user_id]})
    problem = design.problem and design.problem.model_copy(update={"detail": "", "errors": None})
    return design.model_copy(update={"request": request, "problem": problem})
