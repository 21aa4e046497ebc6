"""Users as they are now: what the model has learned of them, and what they have done since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recgan.config import SplitSettings
from recgan.recommenders import UserVector
from service.live.changes import Changes
from service.models import Models
from service.problems import ProblemError
from service.store.events import Event, EventTable

__all__ = ["Taste", "Tastes", "liking", "stacked"]

_RULES = SplitSettings()
_CACHED = 10_000


@dataclass(frozen=True, eq=False)
class Taste:
    """A user, ready to be recommended to."""

    vector: UserVector
    """As the recommender sees one; ``seen`` are rows of the bundle."""
    seen: frozenset[str] = frozenset()
    """Ids of the new items that the user has had."""
    learned: str | None = None
    """The user's id, if the vector is what the training made of it."""
    liked: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Otherwise the rows that it was folded in from."""
    disliked: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """And those that it was folded away from."""
    more: Mapping[str | int, np.ndarray] = field(default_factory=dict)
    """What else it was folded in from: item factors, float32 [D], by the id of a new item or the place of a photo, from
    1."""
    against: Mapping[str | int, np.ndarray] = field(default_factory=dict)
    """The new items that it was folded away from."""


def liking(event: Event) -> bool:
    """Return whether an event says that the user likes the item, by the rules that training goes by."""
    if event.event == "rating":
        return event.weight >= _RULES.min_rating
    return event.event not in _RULES.negative_events


def stacked(factors: Mapping[str | int, np.ndarray]) -> np.ndarray | None:
    """Return factors as rows, float32 [n, D]; None of none."""
    return np.stack(list(factors.values())) if factors else None


class Tastes:
    """The users of one moment."""

    def __init__(self, models: Models, changes: Changes, events: EventTable) -> None:
        self._models = models
        self._recommender = models.recommender
        self._changes = changes
        self._events = events
        self._new = {item.item_id: row for row, item in enumerate(changes.scored) if item.base_row is None}
        self._known: OrderedDict[tuple[str, int, bool], Taste] = OrderedDict()
        """Users with events, by the newest of them."""

    def of_user(self, user_id: str) -> Taste:
        """Return a user whom the recommender knows, or who has done something since.

        Raises:
            ProblemError: unknown-user (404).
        """
        history = self._events.history(user_id)
        learned = not history.forgotten and self._recommender.knows(user_id)
        since = [event for event in history.events if self._unlearned(event)]
        if not learned and not history.events:
            raise ProblemError(
                "unknown-user",
                f"there is no user '{user_id}': neither in this model, nor with events since; for a new user, post "
                "events to /v1/events, or send liked items to POST /v1/sessions/recommendations",
            )
        if not history.events:
            return self._as_learned(user_id)
        key = (user_id, history.events[-1].id, history.forgotten)
        taste = self._recalled(key)
        if taste is None:
            if learned and not since:
                taste = self._as_learned(user_id)
            else:
                before = self._recommender.user_vector(user_id).seen if learned else ()
                taste = self._fold(before, since if learned else history.events)
            self._known[key] = taste
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return taste

    def at_hand(self, user_ids: Sequence[str]) -> list[Taste | None]:
        """Return the users for whom nothing is to be computed, and None for the others, whom `of_user` is to be asked
        for; the store is asked once for all."""
        newest = self._events.newest(user_ids)
        found: list[Taste | None] = []
        for user_id in user_ids:
            if user_id in newest:
                found.append(self._recalled((user_id, *newest[user_id])))
            else:
                found.append(self._as_learned(user_id) if self._recommender.knows(user_id) else None)
        return found

    def _recalled(self, key: tuple[str, int, bool]) -> Taste | None:
        """Return what was made of a user's events, if it is still here; it is the newest now."""
        taste = self._known.pop(key, None)
        if taste is not None:
            self._known[key] = taste
        return taste

    def _as_learned(self, user_id: str) -> Taste:
        return Taste(self._recommender.user_vector(user_id), learned=user_id)

    def _unlearned(self, event: Event) -> bool:
        """Whether the training did not see an event: it was later, or of an item that is not in the bundle."""
        return event.id > self._models.events_to or self._models.catalogue.find(event.item_id) is None

    def of_session(self, liked: Sequence[str], disliked: Sequence[str] = (), photos: Sequence[bytes] = ()) -> Taste:
        """Return somebody who likes some items, and photos of things that need not be in the catalogue.

        Raises:
            ProblemError: no-eye (422), photos for a model that does not look at pictures.
        """
        factors = self._photo_factors(photos) if photos else ()
        return self._folded_in(dict.fromkeys(liked, True) | dict.fromkeys(disliked, False), (), factors)

    def _photo_factors(self, photos: Sequence[bytes]) -> np.ndarray:
        eye = self._models.need_eye()
        return eye.factors(eye.look(photos))

    def _fold(self, before: Iterable[int], events: Sequence[Event]) -> Taste:
        liked: dict[str, bool] = {}
        for event in events:
            liked.pop(event.item_id, None)
            liked[event.item_id] = liking(event)
        return self._folded_in(liked, before)

    def _folded_in(
        self, liked: dict[str, bool], before: Iterable[int], photos: Sequence[np.ndarray] | np.ndarray = ()
    ) -> Taste:
        find = self._models.catalogue.find
        rows = {True: set(map(int, before)), False: set()}
        for item_id, liked_it in liked.items():
            row = find(item_id)
            if row is not None:
                rows[liked_it].add(row)
                rows[not liked_it].discard(row)
        positive, negative = (np.array(sorted(rows[sign]), dtype=np.int64) for sign in (True, False))
        more, against = (self._factors_of_new(liked, sign) for sign in (True, False))
        more |= enumerate(photos, start=1)
        values = self._recommender.folded(positive, negative, stacked(more), stacked(against))
        seen = frozenset(item_id for item_id in liked if find(item_id) is None)
        vector = UserVector(values, np.union1d(positive, negative))
        return Taste(vector, seen, liked=positive, disliked=negative, more=more, against=against)

    def _factors_of_new(self, liked: dict[str, bool], sign: bool) -> dict[str | int, np.ndarray]:
        """Return the factors, among what has changed, of the new items that are liked, or are not."""
        ids = [item_id for item_id, liked_it in liked.items() if liked_it == sign and item_id in self._new]
        return {item_id: self._changes.factors[self._new[item_id]] for item_id in ids}
