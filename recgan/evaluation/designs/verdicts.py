"""What all judges say of all methods' pictures, a category at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recgan.design import Designer
from recgan.evaluation.designs.judges import SCORER, Judge, Verdict
from recgan.evaluation.designs.methods import Made
from recgan.evaluation.designs.reading import PhotosOf
from recgan.evaluation.showcase import ShownUser
from recgan.progress import Progress, quiet

__all__ = ["Verdicts", "judged"]

ByJudge = dict[str, dict[str, np.ndarray]]
"""By method and judge."""


@dataclass(frozen=True)
class Verdicts:
    """What judges say of D pictures a user, by each method."""

    scores: ByJudge
    """float [U, D], as of `recgan.evaluation.designs.judges.Verdict`."""
    above: ByJudge
    """Likewise."""
    cross: dict[str, dict[str, list[np.ndarray]]]
    """By method and judge, one a category: what its users think of each other's pictures, [u, u, D]."""
    started: dict[str, np.ndarray]
    """By method: the scorer's score of what its searches began with, [U, D]; NaN where nothing was searched."""

    @classmethod
    def empty(cls, methods: Sequence[str], judges: Sequence[str], shape: tuple[int, int]) -> Verdicts:
        """Return room for the verdicts on ``shape`` = (U, D) pictures by each method."""
        return cls(
            scores={method: {judge: np.empty(shape) for judge in judges} for method in methods},
            above={method: {judge: np.empty(shape) for judge in judges} for method in methods},
            cross={method: {judge: [] for judge in judges} for method in methods},
            started={method: np.full(shape, np.nan) for method in methods},
        )

    def take(self, judge: str, rows: np.ndarray, told: Verdict, methods: Sequence[str], begun: Sequence[str]) -> None:
        """Take over what a judge said of the pictures of the users at ``rows``, those of each method after the other,
        and behind them of what the searches of the methods in ``begun`` began with."""
        users = len(rows)
        each = next(iter(self.started.values())).shape[1]
        own = np.arange(users)
        by_all, above = (
            np.moveaxis(values.reshape(users, -1, users, each), 1, 0) for values in (told.scores, told.above)
        )
        for place, method in enumerate(methods):
            self.scores[method][judge][rows] = by_all[place][own, own]
            self.above[method][judge][rows] = above[place][own, own]
            self.cross[method][judge].append(by_all[place])
        for place, method in enumerate(begun, len(methods)):
            self.started[method][rows] = by_all[place][own, own]


def judged(
    designer: Designer,
    judges: Sequence[Judge],
    users: Sequence[ShownUser],
    made: Mapping[str, Made],
    photos_of: PhotosOf,
    progress: Progress = quiet,
) -> Verdicts:
    """Return what the judges say of all pictures, in units of the items that each user has not seen.

    Args:
        designer: with the scorer, whose items and histories they are.
        judges: the scorer is the one of the name `SCORER`; it alone is shown what searches began with.
        users: each with a category, in which all pictures are.
        made: by method.
        photos_of: real pictures of the same size.
        progress: told of each category.
    """
    methods = list(made)
    begun = [method for method, pictures in made.items() if pictures.started is not None]
    shape = (len(users), made[methods[0]].pixels.shape[1])
    verdicts = Verdicts.empty(methods, [judge.name for judge in judges], shape)
    categories = sorted({user.category for user in users})
    for done, category in enumerate(categories):
        rows = np.array([row for row, user in enumerate(users) if user.category == category])
        ids = [users[row].user_id for row in rows]
        items = designer.sight.in_category(category)
        left = np.stack([np.isin(items, designer.real_items(user_id, category).rows) for user_id in ids])
        pictures = [_flat(made[method].pixels, rows) for method in methods]
        begins = [_flat(made[method].started, rows) for method in begun]
        pixels, shown = np.concatenate([*pictures, *begins]), sum(map(len, pictures))
        photos = photos_of(items)
        for judge in judges:
            scorer = judge.name == SCORER
            real = judge.real(ids, category, items, photos)
            told = judge.verdict(ids, category, pixels if scorer else pixels[:shown], real, left)
            verdicts.take(judge.name, rows, told, methods, begun if scorer else ())
        progress("judging", done + 1, len(categories), category)
    return verdicts


def _flat(pictures: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Return the pictures [U, D, S, S, 3] of users, one after the other."""
    assert pictures is not None
    return pictures[rows].reshape(-1, *pictures.shape[2:])
