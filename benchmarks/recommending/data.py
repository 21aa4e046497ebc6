"""What the benchmarks of the recommender learn from: drawn, so that each machine has the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from recgan.dataset.split import Pairs
from recgan.encoders import Features
from recgan.metrics.ranking import auc, rank_counts
from recgan.recommenders import TrainingData
from recgan.recommenders.data import UserRows, concatenated

__all__ = ["FACTORS", "HIDDEN", "SIZES", "World", "drawn_shop", "world"]

FACTORS = 64
SIZES = {"tiny": (600, 6_000, 300), "small": (8_192, 60_000, 1_024), "full": (64_583, 234_892, 4_096)}
"""Users, items, and users that a rival is timed on (full: the shape of Amazon Fashion as published)."""
WORLDS = {"tiny": (150, 200, 12, 32), "small": (1_000, 1_500, 17, 512), "full": (10_000, 8_000, 32, 512)}
"""Users, items, interactions of each user, width of the features."""
HIDDEN = 8


@dataclass(frozen=True)
class World:
    """Drawn interactions that popularity, a hidden taste and a visual taste explain in about equal parts."""

    data: TrainingData
    """Trained on, and chosen by: one validation pair a user."""
    test: Pairs
    """One pair a user."""
    features: np.ndarray
    """float32 [n_items, width], of unit length: what both sides are given."""

    def auc(self, user_factors: np.ndarray, item_factors: np.ndarray, judged: Pairs) -> float:
        """Return the exact mean AUC over all users of the scores user_factors @ item_factors.T."""
        known = UserRows.of(concatenated(self.data.train, self.data.validation, self.test), self.data.n_users)
        positives = UserRows.of(judged, self.data.n_users)
        values = []
        for users in np.array_split(np.arange(self.data.n_users), -(-self.data.n_users // 512)):
            scores = user_factors[users] @ item_factors.T
            counts = rank_counts(scores, *positives.pairs(users), *known.pairs(users), self.data.candidates)
            values.append(auc(counts, len(users)))
        return float(np.nanmean(np.concatenate(values)))


@cache
def world(scale: str, seed: int = 0) -> World:
    """Draw a world: each user takes the items with the largest of utility plus Gumbel noise."""
    n_users, n_items, per_user, width = WORLDS[scale]
    rng = np.random.default_rng(seed)
    looks, taste = rng.normal(size=(n_items, HIDDEN)), rng.normal(size=(n_users, HIDDEN))
    hidden, liking = rng.normal(size=(n_items, HIDDEN)), rng.normal(size=(n_users, HIDDEN))
    features = np.tanh(looks @ rng.normal(size=(HIDDEN, width)) / 2) + 0.3 * rng.normal(size=(n_items, width))
    features = np.maximum(features, 0).astype(np.float32)  # as a network's last activations are
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    popularity = rng.normal(size=n_items)
    items = np.empty((n_users, per_user), dtype=np.int64)
    for user in range(n_users):
        utility = popularity + (looks @ taste[user] + hidden @ liking[user]) * HIDDEN**-0.5
        items[user] = np.argpartition(-(utility + rng.gumbel(size=n_items)), per_user)[:per_user]
    rng.permuted(items, axis=1, out=items)
    users = np.repeat(np.arange(n_users), per_user).reshape(items.shape)
    train, validation, test = (
        Pairs(users[:, part].ravel(), items[:, part].ravel()) for part in (slice(2, None), slice(0, 1), slice(1, 2))
    )
    return World(_training_data(n_users, n_items, train, validation, features), test, features)


def drawn_shop(n_users: int, n_items: int, events: int, features: np.ndarray, validation: int = 0) -> TrainingData:
    """Draw interactions, a few items taking most of them."""
    rng = np.random.default_rng(0)
    keys = rng.integers(0, n_users, events)
    keys *= n_items
    keys += (n_items * rng.random(events, dtype=np.float32) ** 3).astype(np.int64).clip(max=n_items - 1)
    keys.sort()
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    held_out = np.zeros(len(keys), dtype=bool)
    held_out[rng.choice(len(keys), validation, replace=False)] = True
    train, judged = (Pairs(*np.divmod(keys[mask], n_items)) for mask in (~held_out, held_out))
    return _training_data(n_users, n_items, train, judged, features)


def _training_data(n_users: int, n_items: int, train: Pairs, validation: Pairs, features: np.ndarray) -> TrainingData:
    """Return the pairs and features (float [n_items, width]) as what models are trained on; there is one category."""
    return TrainingData(
        user_ids=np.arange(n_users).astype(str).astype(object),
        items=pd.DataFrame({"item_id": np.arange(n_items).astype(str), "category": "all", "available": True}),
        category_names=("all",),
        category_index=np.zeros(n_items, dtype=np.int64),
        candidates=np.ones(n_items, dtype=bool),
        train=train,
        validation=validation,
        withheld=Pairs(train.users[:0], train.items[:0]),
        features=Features(features, np.ones(n_items, dtype=bool), "drawn", "", 0, "", ""),
        images=None,
        catalogue_digest="",
        split_digest="",
        split_settings={},
    )
