"""Who judges designs: the scorer that made them, a judge that never saw them made, and two oracles that know the truth.

Every judge looks at the same 8-bit pixels of the generator's size, of designs and of real items alike, and tells how
much each user likes each picture. Its unit is the user's own: standard deviations from the mean of the category's
real items that the user has not seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgan.dataset.oracle import StyleOracle
from recgan.design.sight import Sight
from recgan.encoders import embed_pixels
from recgan.evaluation.designs.attributes import CATEGORY, Attribute, AttributeReader

__all__ = [
    "ATTRIBUTE",
    "JUDGE",
    "SCORER",
    "STYLE",
    "AttributeJudge",
    "Judge",
    "RecommenderJudge",
    "StyleJudge",
    "Verdict",
]

SCORER, JUDGE, STYLE, ATTRIBUTE = "a", "b", "style", "attribute"
"""Names: the scorer that made the designs, the judge that never saw them made, and the oracles."""

_PRIOR = 20
"""Items of the mean taste, that the mean taste of an attribute's value is drawn towards."""


@dataclass(frozen=True)
class Verdict:
    """What a judge says of N pictures of one category, for U users."""

    scores: np.ndarray
    """float64 [U, N], in standard deviations from the mean of the user's real items."""
    above: np.ndarray
    """Share of the user's real items that the judge says the user likes less, float64 [U, N]."""


class Judge(ABC):
    """Tells how much users like pictures."""

    name: str

    @abstractmethod
    def raw(self, users: Sequence[str], category: str, pixels: np.ndarray) -> np.ndarray:
        """Return how much each user likes each picture uint8 [N, S, S, 3] of a category, float [users, N]."""

    def real(self, users: Sequence[str], category: str, rows: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Return the same of real items at ``rows`` of the catalogue, whose first pictures are ``pixels``."""
        return self.raw(users, category, pixels)

    def verdict(
        self,
        users: Sequence[str],
        category: str,
        pixels: np.ndarray,
        real: np.ndarray,
        left: np.ndarray,
    ) -> Verdict:
        """Return what it says of pictures.

        Args:
            users: ids.
            category: of all.
            pixels: uint8 [N, S, S, 3].
            real: what `real` gave for the category's items, float [users, m].
            left: which of those each user has not seen, bool [users, m].
        """
        told = self.raw(users, category, pixels).astype(np.float64)
        scores, above = np.empty_like(told), np.empty_like(told)
        for row in range(len(users)):
            own = np.sort(real[row, left[row]].astype(np.float64))
            scores[row] = (told[row] - own.mean()) / max(own.std(), 1e-12)
            above[row] = np.searchsorted(own, told[row], side="left") / len(own)
        return Verdict(scores, above)


class RecommenderJudge(Judge):
    """A recommender: A, who made the designs, or B, who did not."""

    def __init__(self, name: str, sight: Sight) -> None:
        self.name = name
        self._sight = sight

    def raw(self, users: Sequence[str], category: str, pixels: np.ndarray) -> np.ndarray:
        """Return its preference, float32 [users, N]."""
        whitened = self._sight.whitening.apply(embed_pixels(self._sight.encoder, pixels))
        return np.stack([self._sight.scores(self._sight.vector(user), whitened, category) for user in users])

    def real(self, users: Sequence[str], category: str, rows: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Return its preference for items, from the features that it keeps."""
        features = self._sight.features(rows)
        return np.stack([self._sight.scores(self._sight.vector(user), features, category) for user in users])


class StyleJudge(Judge):
    """The style oracle: the true taste of simulated users (`recgan.dataset.oracle`)."""

    name = STYLE

    def __init__(self, oracle: StyleOracle) -> None:
        self._oracle = oracle

    def raw(self, users: Sequence[str], category: str, pixels: np.ndarray) -> np.ndarray:
        """Return the true taste, float32 [users, N]."""
        return self._oracle.taste(users, pixels, [category] * len(pixels))


class AttributeJudge(Judge):
    """The attribute oracle: attributes read off a picture, each worth to a user what items with it are truly worth.

    The worth of a value (a colour, a use) is the mean true taste of the catalogue's items of the category that have it;
    a picture's is the sum over attributes of the mean worth under the probabilities that `AttributeReader` reads. So it
    knows the truth as the style oracle does, but sees a picture through photos, not through pixel measurements.
    """

    name = ATTRIBUTE

    def __init__(
        self,
        oracle: StyleOracle,
        reader: AttributeReader,
        attributes: Sequence[Attribute],
        category_index: np.ndarray,
        reading: np.ndarray,
    ) -> None:
        """Args: ``category_index`` and ``reading`` (bool: whether the item has a picture), [n_items]."""
        self._oracle = oracle
        self._reader = reader
        self._attributes = attributes
        self._category = category_index
        self._known = reading

    def raw(self, users: Sequence[str], category: str, pixels: np.ndarray) -> np.ndarray:
        """Return the sum of worths, float64 [users, N]."""
        probabilities, _ = self._reader.look(pixels)
        items = np.flatnonzero(self._known & (self._category == self._oracle.category_names.index(category)))
        taste = self._oracle.taste_of_items(users, items).astype(np.float64)
        taste -= taste.mean(axis=1, keepdims=True)
        total = np.zeros((len(users), len(pixels)))
        for attribute, read in zip(self._attributes, probabilities):
            if attribute.name == CATEGORY:
                continue  # all pictures here are of one
            value = attribute.index[items]
            has = np.zeros((len(items), len(attribute.values)))
            has[np.flatnonzero(value >= 0), value[value >= 0]] = 1
            worth = taste @ has / (has.sum(axis=0) + _PRIOR)
            total += worth @ read.T.astype(np.float64)
        return total
