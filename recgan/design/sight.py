"""How one recommender sees designs and real items alike: its encoder, its whitening, its users' liking."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recgan.design.fitting import check_fit
from recgan.design.preference import crowd_taste
from recgan.encoders import Features
from recgan.errors import SettingsError
from recgan.gan import TrainedGAN
from recgan.recommenders import Recommender, UserVector, VisualRecommender

__all__ = ["Sight"]

_CROWD = 10_000


class Sight:
    """A trained visual recommender beside a GAN of the same catalogue."""

    def __init__(self, recommender: Recommender, gan: TrainedGAN, real_features: Features | None = None) -> None:
        """Args and errors as `recgan.design.Designer`."""
        if not isinstance(recommender, VisualRecommender):
            raise SettingsError(
                f"'{recommender.name}' does not look at pictures, so it cannot say what to design; "
                "use vbpr or visual_knn"
            )
        if not recommender.fitted:
            raise SettingsError(f"this {recommender.name} is not trained yet; train it, or load a trained one")
        if recommender.whitening is None:
            raise SettingsError(
                f"this {recommender.name} is a control that knows nothing about pictures; train it with features=real"
            )
        check_fit(recommender, gan, real_features)
        self.recommender = recommender
        self.gan = gan
        self.encoder = recommender.load_encoder(str(gan.device))
        self.whitening = recommender.whitening
        self._real_features = None
        if real_features is not None:
            whitened = recommender.whitening.apply(real_features.values)
            whitened[~real_features.has_image] = 0
            self._real_features = whitened
        self._known: tuple[object, object] = (None, None)
        self._by_category: dict[str, tuple[np.ndarray, Tensor]] = {}
        self._crowds: dict[str, tuple[Tensor, float]] = {}

    @property
    def comparable(self) -> int:
        """How many items, from the first, have features at the GAN's size."""
        return len(self.recommender.items if self._real_features is None else self._real_features)

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return the whitened features of items of the recommender's catalogue, float32 [n, width]."""
        features = self.recommender.item_features if self._real_features is None else self._real_features
        return features[rows].astype(np.float32)

    def in_category(self, category: str) -> np.ndarray:
        """Return the rows of the category's items with a picture, int64 [n]."""
        return self._of_category(category)[0]

    def vector(self, user: str | UserVector) -> UserVector:
        """Return a user's vector.

        Raises:
            NotFoundError: an unknown user.
            MismatchError: another model's vector.
            SettingsError: the user has no history.
        """
        if isinstance(user, UserVector):
            self.recommender.check_vector(user)
            return user
        vector = self.recommender.user_vector(user)
        if not len(vector.seen):
            raise SettingsError(
                f"user '{user}' has no history in the training data, so no taste is known; "
                "give some liked items instead (--liked ITEM, or fold_in)"
            )
        return vector

    @torch.no_grad()
    def whitened(self, features: Tensor) -> np.ndarray:
        """Return the encoder's features [N, d] whitened, float32 [N, width]."""
        return self.whitening(features).cpu().numpy()

    @torch.no_grad()
    def scores(self, vector: UserVector, whitened: np.ndarray, category: str) -> np.ndarray:
        """Return what `VisualRecommender.preference` gives for features that are whitened already, float32 [N]."""
        return (self._item_factors(whitened, category) @ torch.from_numpy(vector.values)).numpy()

    def scores_of_items(self, vector: UserVector, category: str) -> np.ndarray:
        """Return the same for the items of `in_category`, float32 [n]."""
        return (self._of_category(category)[1] @ torch.from_numpy(vector.values)).numpy()

    def unit(self, vector: UserVector, category: str, scores: np.ndarray) -> tuple[float, float]:
        """Return mean and standard deviation of the ``scores`` [n] of a category's real items.

        Raises:
            SettingsError: the user likes all pictures alike.
        """
        spread = _spread(scores)
        if spread == 0:  # one item, or all alike: the unit is taken from the whole catalogue
            features = self.features(np.arange(self.comparable))
            spread = _spread(self.scores(vector, features[features.any(axis=1)], category))
        if spread == 0:
            raise SettingsError(
                f"the {self.recommender.name} likes every picture alike for this user, so there is nothing to climb; "
                "train it longer, or choose another user"
            )
        return float(scores.mean()), spread

    def crowd(self, category: str) -> tuple[Tensor, float]:
        """Return what users in general like of a category (`recgan.design.preference.crowd_taste`): the mean of at most
        10,000 users of the training."""
        _, factors = self._of_category(category)
        if category not in self._crowds:
            users = self.recommender.user_factors
            rows = np.linspace(0, len(users) - 1, min(len(users), _CROWD)).astype(np.int64)
            self._crowds[category] = crowd_taste(factors, torch.from_numpy(users[rows].astype(np.float32)))
        return self._crowds[category]

    def factors(self, features: Tensor, class_index: Tensor) -> Tensor:
        """Return the factors of items that look like the encoder's features [N, d], float32 [N, D], differentiably."""
        return self.recommender.factors_from(self.whitening(features), class_index)

    def _of_category(self, category: str) -> tuple[np.ndarray, Tensor]:
        """Return the rows and the factors of a category's items with a picture; kept until the catalogue changes."""
        now = (self.recommender.items, self.recommender.item_features)
        if any(one is not other for one, other in zip(self._known, now)):
            self._known, self._by_category, self._crowds = now, {}, {}
        if category not in self._by_category:
            rows = np.flatnonzero(self.recommender.items["category"].to_numpy()[: self.comparable] == category)
            features = self.features(rows)
            pictured = features.any(axis=1)  # an item without a picture has zeros for features
            with torch.no_grad():
                self._by_category[category] = rows[pictured], self._item_factors(features[pictured], category)
        return self._by_category[category]

    def _item_factors(self, whitened: np.ndarray, category: str) -> Tensor:
        categories = torch.full((len(whitened),), self.gan.class_index(category))
        return self.recommender.factors_from(torch.from_numpy(whitened), categories)


def _spread(scores: np.ndarray) -> float:
    """Return the standard deviation, or 0 where rounding alone makes the scores differ."""
    spread = float(scores.astype(np.float64).std())
    return spread if spread > 1e-6 * float(np.abs(scores).max()) else 0.0
