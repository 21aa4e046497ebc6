"""From what judges and the reader say of one method's pictures to its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgan.design import Designer
from recgan.encoders.perceptual import PerceptualDistance
from recgan.evaluation.designs.figures import (
    diversity,
    estimate,
    kid_at_matched_classes,
    novelty,
    preferred,
    specificity,
    transfer,
)
from recgan.evaluation.designs.judges import ATTRIBUTE, JUDGE, SCORER
from recgan.evaluation.designs.methods import REAL, Made
from recgan.evaluation.designs.reading import PhotosOf, Reading
from recgan.evaluation.designs.report import MethodFigures
from recgan.evaluation.designs.verdicts import Verdicts
from recgan.evaluation.estimates import Estimate
from recgan.evaluation.showcase import ShownUser

__all__ = ["Invisibility", "method_figures"]

_RISE = 1.0
"""Standard deviations by which the scorer must like a picture more before that ought to be seen."""


class Invisibility:
    """How often the scorer likes a picture much more than what its search began with, though it looks the same."""

    def __init__(self, designer: Designer, photos_of: PhotosOf, pairs: int, seed: int) -> None:
        """Args: ``pairs`` of real photos of a category say how different its pictures usually look."""
        self._designer, self._photos_of = designer, photos_of
        self._pairs, self._seed = pairs, seed
        self._perceptual = PerceptualDistance(str(designer.device))
        self._usual: dict[str, float] = {}

    def share(self, users: Sequence[ShownUser], pictures: Made, rise: np.ndarray) -> np.ndarray:
        """Return the share of such pictures of each user, float [U]; ``rise`` [U, D] in standard deviations. NaN where
        nothing was searched."""
        if pictures.started is None:
            return np.full(len(users), np.nan)
        side = pictures.pixels.shape[2:]
        far = self._perceptual(pictures.pixels.reshape(-1, *side), pictures.started.reshape(-1, *side))
        usual = np.array([self._alike(user.category) for user in users])
        return np.asarray(((rise > _RISE) & (far.reshape(rise.shape) < usual[:, None])).mean(axis=1))

    def _alike(self, category: str) -> float:
        """Return the 5th percentile of the perceptual distance between two real photos of a category."""
        if category not in self._usual:
            items = self._designer.sight.in_category(category)
            rng = np.random.default_rng([self._seed, 31])
            pairs = rng.integers(len(items), size=(2, self._pairs))
            pairs = pairs[:, pairs[0] != pairs[1]]
            left, right = (self._photos_of(items[side]) for side in pairs)
            self._usual[category] = float(np.quantile(self._perceptual(left, right), 0.05)) if len(left) else 0.0
        return self._usual[category]


def method_figures(
    name: str,
    pictures: Made,
    verdicts: Verdicts,
    reading: Reading,
    invisibility: Invisibility,
    users: Sequence[ShownUser],
    class_index: np.ndarray,
    seed: int,
) -> MethodFigures:
    """Return one method's figures. Of real items all but their likeness is told of the first alone.

    Args:
        name: of the method.
        pictures: that it made.
        verdicts: on all methods.
        reading: of the catalogue.
        invisibility: how often a gain is not to be seen.
        users: for whom.
        class_index: of their categories, int64 [U].
        seed: of the bootstrap and of the photos for KID.
    """
    shown = slice(1) if pictures.rows is not None else slice(None)
    scores = {who: told[:, shown] for who, told in verdicts.scores[name].items()}
    judges = [who for who in scores if who != SCORER]
    cross = {who: [told[:, :, shown] for told in verdicts.cross[name][who]] for who in judges}
    best_real = {who: verdicts.scores[REAL][who][:, 0] for who in judges}
    known = np.nan if name == REAL else 1.0  # it is what wins are counted against
    lift = {who: told.mean(axis=1) for who, told in scores.items()}
    side = pictures.pixels.shape
    told, features = reading.reader.look(pictures.pixels.reshape(-1, *side[2:]))
    classes = np.repeat(class_index, side[1])

    def over_users(values: np.ndarray) -> Estimate:
        """Of what is told of each picture, those of a user together."""
        return estimate(values.reshape(side[:2]).mean(axis=1), seed)

    return MethodFigures(
        win={who: estimate(preferred(scores[who], best_real[who]) * known, seed) for who in judges},
        lift={who: estimate(values, seed) for who, values in lift.items()},
        percentile={
            who: estimate(100 * above[:, shown].mean(axis=1), seed) for who, above in verdicts.above[name].items()
        },
        transfer=transfer(lift[JUDGE], lift[SCORER], seed),
        invisible=estimate(
            invisibility.share(users, pictures, verdicts.scores[name][SCORER] - verdicts.started[name]), seed
        ),
        specificity={who: estimate(specificity(cross[who]), seed) for who in judges if who != ATTRIBUTE},
        kid=kid_at_matched_classes(features, classes, reading.photos, seed),
        class_accuracy=over_users(told[reading.category].argmax(axis=1) == classes),
        diversity=diversity(features.reshape(*side[:2], -1), class_index, reading.photos),
        novelty={tail: over_users(flags) for tail, flags in novelty(features, classes, reading.photos).items()},
    )
