"""What is compared in the proof of designs: ways to make a picture for a user, and baselines out of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recgan.config import DesignSettings
from recgan.dataset.oracle import StyleOracle
from recgan.design import Designer, Request
from recgan.design.search import passes
from recgan.evaluation.kept import KeptParts, Part
from recgan.evaluation.showcase import ShownUser, draw_users
from recgan.progress import Progress, quiet

__all__ = ["BASELINES", "REAL", "Made", "design_settings", "looks", "make_all"]

RANDOM, BEST_OF_N, POPULAR = "random", "best_of_n", "popular"
REAL = "best_real"
ORACLE_20, ORACLE_ALL = "oracle_of_20", "oracle_of_all"
BASELINES = (RANDOM, BEST_OF_N, POPULAR, REAL, ORACLE_20, ORACLE_ALL)
_SHORT_LIST = 20
_CROWD = 32
"""Users whose mean liking a popular design is for."""


@dataclass(frozen=True)
class Made:
    """What one method shows the users, D pictures each."""

    pixels: np.ndarray
    """uint8 [U, D, S, S, 3]"""
    started: np.ndarray | None = None
    """The pictures that searches began with, likewise; None: nothing was searched."""
    rows: np.ndarray | None = None
    """Of real items: their rows in the catalogue, int64 [U, D]."""


def looks(settings: DesignSettings, designer: Designer) -> int:
    """Return how many pictures are looked at for a design, one that two networks look at counting twice."""
    helping = designer.companions if settings.companions else ()
    return passes(settings, len({sight.encoder.digest for sight in (designer.sight, *helping)}))


def design_settings(methods: Mapping[str, DesignSettings], main: str, designer: Designer) -> dict[str, DesignSettings]:
    """Return the settings of all methods that design, the baselines among them: random samples of the generator (from
    where the designer begins, nearer to the centre than the prior), and the best, by scorer A alone, of as many as
    ``main`` looks at."""
    plain = DesignSettings(
        steps=0, samples=1, starts=1, realism_weight=0, prior_weight=0, crowd_weight=0, companions=False
    )
    best_of_n = DesignSettings(
        steps=0,
        starts=1,
        samples=min(looks(methods[main], designer), 4096),
        crowd_weight=0.0,
        companions=False,
        realism_weight=1.0,
        prior_weight=0.0,
    )
    return {RANDOM: plain, BEST_OF_N: best_of_n, **methods}


def make_all(
    designer: Designer,
    users: Sequence[ShownUser],
    settings: Mapping[str, DesignSettings],
    main: str,
    photos: Callable[[np.ndarray], np.ndarray],
    oracle: StyleOracle | None,
    *,
    each: int,
    seed: int,
    kept: KeptParts,
    progress: Progress = quiet,
) -> dict[str, Made]:
    """Return what each method makes, by name.

    Args:
        designer: with scorer A.
        users: each with a category.
        settings: of the methods that design.
        main: whose settings are those of a popular user's design.
        photos: from rows of the catalogue int64 [n] to their first pictures uint8 [n, S, S, 3].
        oracle: of simulated users; None: the oracle's choices are left out.
        each: pictures a user, D.
        seed: of the designs; each user's are other ones.
        kept: where the designs of each method are kept once they are made.
        progress: told of each method's users.
    """
    made: dict[str, Made] = {}
    for name, chosen in settings.items():
        requests = [Request(user.user_id, user.category, each, seed + 1000 * place) for place, user in enumerate(users)]
        made[name] = _designed(designer, requests, chosen, name, kept, progress)
    crowd = draw_users(designer, _CROWD, seed=seed + 1)
    categories = sorted({user.category for user in users})
    requests = [Request([one.user_id for one in crowd], category, each, seed) for category in categories]
    everybodys = _designed(designer, requests, settings[main], POPULAR, kept, progress)
    place = [categories.index(user.category) for user in users]
    started = None if everybodys.started is None else everybodys.started[place]
    made[POPULAR] = Made(everybodys.pixels[place], started)

    best, of_20, of_all = [], [], []
    for user in users:
        real = designer.real_items(user.user_id, user.category)
        order = np.argsort(-real.scores, kind="stable")
        best.append(_first(real.rows[order], each))
        if oracle is not None:
            truth = oracle.taste_of_items([user.user_id], real.rows)[0]
            short = order[:_SHORT_LIST]
            of_20.append(_first(real.rows[short[np.argsort(-truth[short], kind="stable")]], each))
            of_all.append(_first(real.rows[np.argsort(-truth, kind="stable")], each))
    for name, rows in ((REAL, best), (ORACLE_20, of_20), (ORACLE_ALL, of_all)):
        if rows:
            chosen_rows = np.stack(rows)
            shape = chosen_rows.shape
            pixels = photos(chosen_rows.ravel())
            made[name] = Made(pixels.reshape(*shape, *pixels.shape[1:]), rows=chosen_rows)
    return made


def _designed(
    designer: Designer,
    requests: Sequence[Request],
    settings: DesignSettings,
    name: str,
    kept: KeptParts,
    progress: Progress,
) -> Made:
    """Return what a method that designs makes; on a CPU user by user, so that progress is told."""
    step = 1 if designer.device.type == "cpu" else max(1, len(requests))

    def make() -> Part:
        pixels, started = [], []
        for start in range(0, len(requests), step):
            for designs in designer.design_many(requests[start : start + step], settings=settings):
                pixels.append(np.stack([one.image for one in designs]))
                started.append(np.stack([one.image if one.start is None else one.start for one in designs]))
            progress(f"designing: {name}", len(pixels), len(requests))
        return {"pixels": np.stack(pixels), "started": np.stack(started)}, {}

    about = {
        "settings": settings.model_dump(mode="json"),
        "requests": [
            [one.user if isinstance(one.user, str) else repr(one.user), one.category, one.n, one.seed]
            for one in requests
        ],
    }
    arrays, _ = kept.of(f"designs {name}", about, make)
    return Made(arrays["pixels"], arrays["started"] if settings.steps else None)


def _first(rows: np.ndarray, count: int) -> np.ndarray:
    """Return the first rows; the last of them again where there are too few."""
    return rows[np.minimum(np.arange(count), len(rows) - 1)]
