"""Users to show: drawn by a seed, not chosen, with what is designed for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgan.config import DesignSettings
from recgan.design import Design, Designer
from recgan.errors import DataError, SettingsError
from recgan.progress import Progress, quiet

__all__ = ["ShownUser", "design_for_shown", "draw_users"]

_HISTORY = 2
"""A user is shown who took at least this many items."""


@dataclass(frozen=True)
class ShownUser:
    """A user who is shown, and the category that is designed for the user."""

    user_id: str
    category: str


def draw_users(designer: Designer, count: int, *, seed: int = 0) -> list[ShownUser]:
    """Draw users at random among those who took at least two items, each with a category to design in.

    The category is the one that the user took most from (of equals, the first by name) of those that can be designed
    and have items left that the user has not seen. A larger ``count`` only appends to the list, which is shorter where
    there are not so many users.

    Raises:
        SettingsError: count < 1.
        DataError: there is no such user.
    """
    if count < 1:
        raise SettingsError(f"users={count}: show at least one")
    recommender = designer.recommender
    category = recommender.items["category"].to_numpy(dtype=object)
    names = np.array(sorted(designer.category_names), dtype=object)
    place = {name: index for index, name in enumerate(names)}
    of_item = np.array([place.get(name, -1) for name in category])
    stock = np.bincount(of_item[of_item >= 0], minlength=len(names))
    shown: list[ShownUser] = []
    for row in np.random.default_rng([seed, 3]).permutation(len(recommender.user_ids)):
        seen = recommender.seen[int(row)]
        if len(seen) < _HISTORY:
            continue
        taken = np.bincount(of_item[seen][of_item[seen] >= 0], minlength=len(names))
        taken[taken == stock] = 0  # none is left
        if taken.max(initial=0) == 0:
            continue
        shown.append(ShownUser(str(recommender.user_ids[row]), str(names[taken.argmax()])))
        if len(shown) == count:
            break
    if not shown:
        raise DataError(
            f"no user took {_HISTORY} items or more in the training data with some of their category left to compare "
            "designs with; train on more interactions"
        )
    return shown


def design_for_shown(
    designer: Designer,
    users: Sequence[ShownUser],
    n: int,
    *,
    seed: int = 0,
    settings: DesignSettings | None = None,
    progress: Progress = quiet,
) -> dict[str, list[Design]]:
    """Return ``n`` designs for each user, by user id.

    Raises:
        SettingsError, TrainingError: as `Designer.design`.
    """
    designs = {}
    for done, user in enumerate(users):
        progress("designing for users", done, len(users), user.user_id)
        designs[user.user_id] = designer.design(
            user.user_id, user.category, n, seed=seed, settings=settings, progress=_within(progress, done, len(users))
        )
    progress("designing for users", len(users), len(users))
    return designs


def _within(progress: Progress, finished: int, users: int) -> Progress:
    """Return a progress that tells the search's steps in the note of the whole."""

    def tell(step: str, done: int, total: int | None = None, note: str = "") -> None:
        progress("designing for users", finished, users, f"{step} {done}/{total}  {note}".rstrip())

    return tell
