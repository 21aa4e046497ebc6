"""From a question for recommendations to the answer's JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from service.links import item_image_path
from service.live.shop import Shop, ShopKeeper
from service.live.tastes import Taste
from service.live.together import Together
from service.problems import ProblemError
from service.schemas import Carrier, Explanation, RecommendationList, RecommendationQuery, RecommendedItem

if TYPE_CHECKING:
    from recgan.recommenders import Recommendation
    from recgan.recommenders.explain import Explanation as Explained

__all__ = ["Recommending", "answer"]

_CARRIERS = 5
_TOGETHER = 16


@dataclass(frozen=True)
class _Asked:
    """One user's question."""

    user_id: str
    query: RecommendationQuery

    @property
    def filters(self) -> tuple[object, ...]:
        """What questions that are answered by one search have in common."""
        query = self.query
        return query.k, query.exclude_seen, tuple(query.category), tuple(query.candidate)


class Recommending:
    """Answers for known users. Those who ask at the same moment are answered together, unless something is to be
    computed for one alone: a user who has just done something is folded in, and explained is one list at a time.

    Args:
        keeper: has the shop.
    """

    def __init__(self, keeper: ShopKeeper) -> None:
        self._keeper = keeper
        self._together = Together(self._at_once, _TOGETHER)

    async def to_user(self, user_id: str, query: RecommendationQuery) -> bytes:
        """Return the JSON of a `RecommendationList`.

        Raises:
            ProblemError: unknown-user (404), invalid-request (422), loading (503).
        """
        asked = _Asked(user_id, query)
        found = None if query.explain else await self._together(asked)
        return found if found is not None else await run_in_threadpool(self._alone, asked)

    def close(self) -> None:
        """End the thread that answers."""
        self._together.close()

    def _alone(self, asked: _Asked) -> bytes:
        shop = self._keeper.now()
        _check(shop, asked)
        taste = shop.tastes.of_user(asked.user_id)
        found = _search(shop, [taste], asked.query)[0]
        return _json(shop, found, taste if asked.query.explain else None)

    def _at_once(self, questions: Sequence[_Asked]) -> list[bytes | Exception | None]:
        """Return the answers to questions of one moment; None: it is to be asked alone."""
        shop = self._keeper.now()
        answers: list[bytes | Exception | None] = [None] * len(questions)
        alike: dict[tuple[object, ...], list[tuple[int, Taste]]] = defaultdict(list)
        tastes = shop.tastes.at_hand([asked.user_id for asked in questions])
        for place, (asked, taste) in enumerate(zip(questions, tastes)):
            try:
                _check(shop, asked)
            except ProblemError as problem:
                answers[place] = problem
                continue
            if taste is not None:
                alike[asked.filters].append((place, taste))
        # The others have other filters: they are better asked for beside each other than one after another.
        largest = max(alike.values(), key=len, default=[])
        if largest:
            with suppress(Exception):  # whose question it was is found out when each is asked alone
                found = _search(shop, [taste for _, taste in largest], questions[largest[0][0]].query)
                for (place, _), one in zip(largest, found):
                    answers[place] = _json(shop, one)
        return answers


def _check(shop: Shop, asked: _Asked) -> None:
    shop.catalogue.check_categories(asked.query.category, "?category")
    shop.catalogue.check_items(asked.query.candidate, "?candidate")


def _search(shop: Shop, tastes: Sequence[Taste], query: RecommendationQuery) -> list[list[Recommendation]]:
    return shop.ranking.for_tastes(
        tastes,
        query.k,
        exclude_seen=query.exclude_seen,
        categories=query.category or None,
        candidates=query.candidate or None,
    )


def _json(shop: Shop, found: Sequence[Recommendation], whose: Taste | None = None) -> bytes:
    return answer(shop, found, whose).model_dump_json().encode()


def answer(shop: Shop, found: Sequence[Recommendation], whose: Taste | None = None) -> RecommendationList:
    """Return what was found as the API shows it, and why, where it is told ``whose`` taste led to it."""
    why = shop.ranking.explain(whose, [one.item_id for one in found]) if whose is not None else {}
    items = []
    for one in found:
        explained = why.get(one.item_id)
        items.append(
            RecommendedItem(
                item_id=one.item_id,
                category=one.category,
                score=one.score,
                image_url=item_image_path(one.item_id) if shop.catalogue.pictured(one.item_id) else None,
                explanation=_explanation(explained, whose.more) if explained and whose else None,
            )
        )
    return RecommendationList(items=items, model=shop.version)


def _explanation(explained: Explained, more: Iterable[str | int]) -> Explanation:
    """``more`` are the ids of new items and the places of photos that are liked, too."""
    carriers = [Carrier(item_id=item_id, influence=influence) for item_id, influence in explained.liked]
    for one, influence in zip(more, explained.extra, strict=True):
        named = {"photo": one} if isinstance(one, int) else {"item_id": one}
        carriers.append(Carrier(**named, influence=influence))
    carriers.sort(key=lambda carrier: -abs(carrier.influence))
    return Explanation(parts=explained.parts, carried_by=carriers[:_CARRIERS])
