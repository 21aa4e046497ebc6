"""For whom designs are asked: several users, by name or as a cohort of the gaps that are shown."""

from __future__ import annotations

from collections.abc import Callable

from service.gaps import GapFolder
from service.live.shop import Shop
from service.problems import FieldProblem, ProblemError, invalid
from service.schemas import MAX_COHORT, DesignRequest

__all__ = ["check_users", "with_members"]


def with_members(asked: DesignRequest, shop: Shop, gaps: Callable[[], GapFolder]) -> DesignRequest:
    """Return a request that names the members of its cohort, as far as they are known still.

    Raises:
        ProblemError: invalid-request (422), there is no such cohort, nobody of it is left, or the request names users,
            too; no-gaps (404), as ``gaps``.
    """
    if asked.cohort is None:
        return asked
    if asked.users:
        raise invalid("/users", "they are those of the cohort; leave them out, or the cohort")
    cohorts = gaps().cohorts
    if asked.cohort not in cohorts:
        known = ", ".join(map(str, cohorts)) or "none"
        raise invalid("/cohort", f"there is no cohort {asked.cohort} among the gaps shown; there are: {known}")
    members = cohorts[asked.cohort].members[:MAX_COHORT]
    left = [user_id for user_id in members if _why_unknown(shop, user_id) is None]
    if not left:
        raise invalid("/cohort", f"nobody of cohort {asked.cohort} is known here any more; look for gaps anew")
    return asked.model_copy(update={"users": left})


def check_users(asked: DesignRequest, shop: Shop) -> None:
    """Refuse a request that names unknown users.

    Raises:
        ProblemError: invalid-request (422), telling each.
    """
    told = [(place, _why_unknown(shop, user_id)) for place, user_id in enumerate(asked.users)]
    faults = [FieldProblem(pointer=f"/users/{place}", detail=why) for place, why in told if why is not None]
    if faults:
        raise ProblemError("invalid-request", f"{faults[0].pointer}: {faults[0].detail}", errors=faults[:100])


def _why_unknown(shop: Shop, user_id: str) -> str | None:
    try:
        shop.tastes.of_user(user_id)
    except ProblemError as error:
        return str(error.detail)
    return None
