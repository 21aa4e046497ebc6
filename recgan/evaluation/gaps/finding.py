"""Finding gaps: for each cohort, a design that a judge prefers to everything in stock.

Recommender A and the generator design for the cohort; of the designs A chooses the one it likes best. Judge B, who
looks through another encoder, then compares it with the item in stock that B itself likes best for the cohort. So
nothing is chosen on the design's side by B, and everything on the stock's side: a gap is hard to find, and means
something where it is found. Beside it stands the comparison on equal terms, with the item that A likes best.

Both are in standard deviations of what the stock of the category is worth to a user under B, averaged over the cohort;
intervals are bootstrapped over its users, each cohort by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recgan.config import DesignSettings, check_request
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels, to_float
from recgan.design import Design, Designer
from recgan.design.audience import audience_of, units_of
from recgan.design.sight import Sight
from recgan.errors import SettingsError
from recgan.evaluation.gaps.cases import Case, cases_of, stock_of, stocked_categories
from recgan.evaluation.gaps.cohorts import taste_cohorts
from recgan.evaluation.gaps.looks import Swatch, attributes_of, palette, style_words
from recgan.metrics.stats import bootstrap_means, interval
from recgan.progress import Progress, quiet

__all__ = ["Difference", "Gap", "Gaps", "find_gaps"]

_NEAREST, _LOOKED_AT = 5, 12
"""Items in stock shown beside a design, and those whose attributes are told."""
_FEWEST_JUDGED = 5
"""Users from whose judgements on an interval says anything: that of a single one has no width."""


@dataclass(frozen=True)
class Difference:
    """A mean over a cohort's users with its 95% interval, in standard deviations of the stock."""

    mean: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Return the difference as JSON values."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class Gap:
    """What one cohort would like of one category."""

    cohort: int
    """Number of the cohort, from 1, the largest first."""
    category: str
    users: int
    """Users of the cohort."""
    user_share: float
    """Of all users that were clustered."""
    judged: int
    """Users that the figures are of."""
    taken: int
    """Items of the category that the cohort took."""
    design: Design
    gap: Difference
    """By B: the design less the item in stock that B likes best for the cohort. Above 0 the stock lacks it."""
    like_for_like: Difference
    """By B: the design less the item in stock that A likes best."""
    preferred_by: float
    """Share of the users whose B prefers the design to the item that B likes best for the cohort."""
    percentile: float
    """Share, in percent, of the stock that B likes less for the cohort than the design."""
    best: tuple[str, str]
    """Items in stock that B, and that A, likes best for the cohort."""
    nearest: list[tuple[str, float]]
    """Items in stock that look most like the design, with their cosine distance by A's encoder."""
    palette: list[Swatch]
    style: list[str]
    """How it differs from the stock."""
    attributes: dict[str, tuple[str, float]]
    """What most of the items that look most like it have in common, and the share that has it."""

    @property
    def found(self) -> bool:
        """Whether there is a gap at all: the whole interval, of users enough, lies above 0."""
        return self.gap.low > 0 and self.judged >= _FEWEST_JUDGED

    def as_json(self, picture: str) -> dict[str, Any]:
        """Return the gap as JSON values; ``picture`` is the name of its picture file."""
        return {
            "cohort": self.cohort,
            "category": self.category,
            "found": self.found,
            "users": self.users,
            "user_share": self.user_share,
            "judged": self.judged,
            "taken": self.taken,
            "gap": self.gap.as_json(),
            "like_for_like": self.like_for_like.as_json(),
            "preferred_by": self.preferred_by,
            "percentile": self.percentile,
            "best_in_stock": {"by_judge": self.best[0], "by_recommender": self.best[1]},
            "nearest": [{"item_id": item_id, "distance": distance} for item_id, distance in self.nearest],
            "palette": [{"hex": one.hex, "name": one.name, "share": one.share} for one in self.palette],
            "style": self.style,
            "attributes": {name: {"value": value, "share": share} for name, (value, share) in self.attributes.items()},
            "design": self.design.as_json(picture),
        }


@dataclass(frozen=True)
class Gaps:
    """All that was looked for, the widest gap first."""

    gaps: list[Gap]
    cohorts: int
    users: int
    """Users that were clustered."""
    about: dict[str, Any]
    """Settings, seed, and what designed and judged."""


def find_gaps(
    bundle: Bundle,
    designer: Designer,
    judge: Sight,
    *,
    cohorts: int = 6,
    categories: Sequence[str] = (),
    categories_each: int = 2,
    designs: int = 4,
    members: int = 200,
    users: int = 5000,
    settings: DesignSettings | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> Gaps:
    """Cluster users by taste, design for each cohort, and compare with the stock under a judge.

    Args:
        bundle: the one that all models were trained on.
        designer: of recommender A and the generator.
        judge: B (`choose_judge`, `load_judge`).
        cohorts: clusters of users.
        categories: to design in; none: for each cohort the ``categories_each`` that it took most from.
        designs: for each cohort and category; A chooses the one that is judged.
        members: users of a cohort that are designed for and judged by, those nearest to its centre.
        users: that are clustered; of more, so many are drawn.
        settings: how to design.
        seed: of everything random.

    Raises:
        MismatchError: the parts are of different catalogues, or the judge knows nobody of a cohort.
        NotFoundError: an unknown category.
        SettingsError, DataError: as `taste_cohorts` and `Designer.design`; a number is too small, or nothing is in
            stock. What cannot be done is told before anything is designed.
    """
    for name, value in (("categories_each", categories_each), ("members", members), ("users", users)):
        if value < 1:
            raise SettingsError(f"{name}={value}: give 1 or more")
    check_request(designs, seed)
    designer.recommender.check_fits(bundle)
    settings = settings if settings is not None else DesignSettings()
    stocked = stocked_categories(designer, categories)
    progress("clustering users", 0, 1)
    found = taste_cohorts(designer.sight, cohorts, stocked, most=users, seed=seed)
    progress("clustering users", 1, 1)
    clustered = sum(len(cohort.users) for cohort in found)
    cases = cases_of(designer, judge, found, categories=categories, favourites=categories_each, members=members)
    gaps = []
    for done, case in enumerate(cases):
        progress("looking for gaps", done, len(cases), f"cohort {case.number}, {case.category}")
        gaps.append(_look(bundle, designer, judge, case, designs, clustered, settings, seed))
    progress("looking for gaps", len(cases), len(cases))
    gaps.sort(key=lambda gap: -gap.gap.mean)
    about = {
        "bundle": bundle.name,
        "catalogue": bundle.catalogue_digest,
        "seed": seed,
        "designs": designs,
        "members": members,
        "search": settings.model_dump(),
        "recommender": {"name": designer.recommender.name, "digest": designer.recommender.digest},
        "judge": {
            "name": judge.recommender.name,
            "digest": judge.recommender.digest,
            "encoder": judge.recommender.encoder_name,
        },
        "gan": {"recipe": designer.gan.recipe.name, "digest": designer.gan.digest},
        "intervals": "95%, bootstrap over the cohort's users, each cohort by itself",
    }
    return Gaps(gaps, len(found), clustered, about)


def _look(
    bundle: Bundle,
    designer: Designer,
    judge: Sight,
    case: Case,
    count: int,
    clustered: int,
    settings: DesignSettings,
    seed: int,
) -> Gap:
    cohort, category, users = case.cohort, case.category, case.users
    made = designer.design(users, category, count, seed=seed, settings=settings)
    design = max(made, key=lambda one: one.score)
    stock = stock_of(designer.sight, category)
    by_a, _ = _liking(designer.sight, users, category, stock, design)
    by_b, of_design = _liking(judge, users, category, stock, design)
    best_b, best_a = int(by_b.mean(axis=0).argmax()), int(by_a.mean(axis=0).argmax())
    ids = designer.recommender.item_ids
    looks = designer.sight.whitened(designer.sight.encoder(to_float(design.image[None], designer.device)))[0]
    alike = _alike(designer.sight.features(stock), looks)
    nearest = [(str(ids[stock[place]]), float(alike[place])) for place in np.argsort(alike, kind="stable")]
    items = designer.recommender.items.iloc[stock]
    pixels = load_pixels(bundle, designer.gan.size)
    photos = np.stack(
        [pixels[place] for place in bundle.primary_images[bundle.item_rows([str(i) for i in ids[stock]])]]
    )
    return Gap(
        cohort=case.number,
        category=category,
        users=len(cohort.users),
        user_share=len(cohort.users) / clustered,
        judged=len(users),
        taken=cohort.taken.get(category, 0),
        design=design,
        gap=_difference(of_design - by_b[:, best_b]),
        like_for_like=_difference(of_design - by_b[:, best_a]),
        preferred_by=float(np.mean(of_design > by_b[:, best_b])),
        percentile=100.0 * float(np.mean(by_b.mean(axis=0) < of_design.mean())),
        best=(str(ids[stock[best_b]]), str(ids[stock[best_a]])),
        nearest=nearest[:_NEAREST],
        palette=palette(design.image),
        style=style_words(design.image, photos),
        attributes=attributes_of(items.iloc[np.argsort(alike, kind="stable")[:_LOOKED_AT]], items),
    )


def _liking(
    sight: Sight, users: Sequence[str], category: str, stock: np.ndarray, design: Design
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each user thinks of the stock, float [U, m], and of the design, float [U]: in standard deviations of
    the user's own liking of the category's items."""
    audience = audience_of(sight, users, category)
    units = units_of(sight, audience, audience.vectors)
    whitened = sight.whitened(sight.encoder(to_float(design.image[None], sight.gan.device)))
    features = np.concatenate([sight.features(stock), whitened])
    scores = np.stack([sight.scores(vector, features, category) for vector in audience.vectors]).astype(np.float64)
    told = (scores - units[:, :1]) / units[:, 1:]
    return told[:, :-1], told[:, -1]


def _alike(rows: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Return the cosine distance of each row [m, d] to one [d], float [m], from 0 to 2."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(one), 1e-12)
    return np.clip(1 - rows @ one / lengths, 0, 2)


def _difference(values: np.ndarray) -> Difference:
    low, high = interval(bootstrap_means(values[:, None])[:, 0])
    return Difference(float(values.mean()), low, high)
