"""What is looked for: which cohort, in which category, judged by whom."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgan.design import Designer
from recgan.design.audience import audience_of, units_of, unseen_of
from recgan.design.sight import Sight
from recgan.errors import DataError, MismatchError, NotFoundError, SettingsError, nearest_name
from recgan.evaluation.gaps.cohorts import TasteCohort

__all__ = ["Case", "cases_of", "stock_of", "stocked_categories"]


@dataclass(frozen=True)
class Case:
    """One cohort and one category."""

    number: int
    """Of the cohort, from 1."""
    cohort: TasteCohort
    category: str
    users: tuple[str, ...]
    """Those of the cohort who are designed for, and whom the judge knows."""


def stock_of(sight: Sight, category: str) -> np.ndarray:
    """Return the rows of a category's items that are in stock and have a picture, int64 [m]."""
    rows = sight.in_category(category)
    return rows[sight.recommender.items["available"].to_numpy()[rows].astype(bool)]


def stocked_categories(designer: Designer, wanted: Sequence[str]) -> list[str]:
    """Return the categories that can be designed and have something in stock to compare with.

    Raises:
        NotFoundError: one that is wanted is unknown, or cannot be designed.
        SettingsError: one that is wanted has nothing in stock.
        DataError: none has.
    """
    known = designer.category_names
    for category in wanted:
        designer.gan.class_index(category)
        if category not in known:
            raise NotFoundError(f"category '{category}' cannot be designed{nearest_name(category, known)}")
    stocked = [name for name in known if len(stock_of(designer.sight, name))]
    for category in wanted:
        if category not in stocked:
            raise SettingsError(f"category '{category}' has nothing in stock to compare with; choose another category")
    if not stocked:
        raise DataError("nothing in stock has a picture, so there is nothing to compare designs with; bring some items")
    return stocked


def cases_of(
    designer: Designer,
    judge: Sight,
    cohorts: Sequence[TasteCohort],
    *,
    categories: Sequence[str],
    favourites: int,
    members: int,
) -> list[Case]:
    """Return what is to be looked for, all of which can be.

    Args:
        designer: of recommender A and the generator.
        judge: B.
        cohorts: of users, their ``taken`` being of categories in stock.
        categories: to design in; none: for each cohort as many ``favourites``, those that it took most from and has
            not all seen.
        members: users of a cohort, those nearest to its centre.

    Raises:
        MismatchError: the judge knows nobody of a cohort.
        DataError: the cohorts have no favourites.
        SettingsError: a cohort has seen all of a category, or likes all of its pictures alike.
    """
    known = set(judge.recommender.user_ids)
    cases = []
    for number, cohort in enumerate(cohorts, 1):
        of_judge = (user for user in cohort.users if user in known and len(judge.recommender.user_vector(user).seen))
        users = tuple(itertools.islice(of_judge, members))
        if not users:
            raise MismatchError(
                f"the judge knows none of the {len(cohort.users)} users of cohort {number}; "
                "train it on the same interactions"
            )
        chosen = categories or _favourites(designer.sight, cohort, users, favourites)
        cases += [Case(number, cohort, category, users) for category in chosen]
    if not cases:
        raise DataError("the cohorts took nothing of what is in stock; name what to design with --category")
    for case in cases:
        for sight in (designer.sight, judge):
            audience = audience_of(sight, case.users, case.category)
            units_of(sight, audience, audience.vectors)
    return cases


def _favourites(sight: Sight, cohort: TasteCohort, users: Sequence[str], count: int) -> list[str]:
    vectors = [sight.vector(user) for user in users]
    taken = (category for category, times in cohort.taken.items() if times)
    return [category for category in taken if len(unseen_of(sight, vectors, category))][:count]
