"""What models with an item bias share, and what `bpr_mf`, `vbpr` and `vbpr_ssm` do: they have one trainer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd

from recgan.config import FactorSettings
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData, UserRows
from recgan.recommenders.fold_in import FoldIn, fold_in_bpr, fold_in_softmax
from recgan.recommenders.models.popularity import log_popularity
from recgan.recommenders.training.parameters import Learned, VisualPart
from recgan.recommenders.training.trainer import Loss, Trainer
from recgan.recommenders.training.validation import Validation, best_cold_bias, best_value

__all__ = ["BiasedModel", "FactorModel"]


_FOLDED_USERS, _FOLDED_ITEMS = 32, 2048
_LOG_PULL, _LOG_PULL_TOLERANCE = (-3.0, 0.5), 0.1


class BiasedModel(Recommender):
    """The user's vector is [1, …], the item's [b_i, …]; items without a training interaction share one bias.

    Training stops where validation says, long before each user's vector is at the minimum of its loss, which lies
    further out. A new user's is therefore pulled back: to stop early is nearly to have more L2 (Ali, Kolter &
    Tibshirani, AISTATS 2019). How much more, `_choose_pull` finds by users whose vectors training gave.
    """

    chosen_by_validation: ClassVar[Mapping[str, str]] = {"epochs": "best_epoch", "cold_bias": "cold_bias"}
    _warm: np.ndarray
    """bool: the items that somebody took in training."""
    _cold_bias: float
    _pull: float = 0.0
    """L2 of a new user's vector beside what users had in training, for where training stopped."""

    @property
    @abstractmethod
    def _softmax(self) -> bool:
        """Whether it was trained with a softmax; else by pairs."""

    @abstractmethod
    def _penalties(self) -> np.ndarray:
        """Return the L2 of each value of a user's vector, float [D]; infinite for the constant 1."""

    def _complete(self, data: TrainingData, validation: Validation, *, choose: bool) -> None:
        """Give users without training the average vector and, with ``choose``, cold items their bias by validation."""
        unseen = np.bincount(data.train.users, minlength=data.n_users) == 0
        self.user_factors[unseen] = self.user_factors[~unseen].mean(axis=0)
        self._warm = data.item_counts > 0
        if choose:
            found = best_cold_bias(validation, self.user_factors, self.item_factors, ~self._warm, self._cold_bias)
            if found is not None:
                self._cold_bias, self.metrics[validation.metric] = found
                self.metrics["cold_bias"] = self._cold_bias
        if not self._softmax:  # which is at its minimum when it stops
            self._choose_pull(data)

    def _choose_pull(self, data: TrainingData) -> None:
        """Choose the pull with which users who are folded in score items as training had them do, on a sample."""
        rng = np.random.default_rng([self.facts["seed"], 13])
        taken = UserRows.of(data.train, data.n_users)
        active = np.flatnonzero(np.diff(taken.indptr))
        users = rng.permutation(active)[:_FOLDED_USERS]
        items = self.item_factors[rng.permutation(np.flatnonzero(self._warm))[:_FOLDED_ITEMS]].astype(np.float64)
        wanted = _standardised(self.user_factors[users] @ items.T)

        def agreement(log_pull: float) -> float:
            self._pull = 10**log_pull
            folded = [self._fold_in(rows := self.item_factors[taken[user]], rows[:0], taken[user]) for user in users]
            return float((_standardised(np.array(folded) @ items.T) * wanted).mean())

        log_pull, _ = best_value(agreement, -np.inf, _LOG_PULL, _LOG_PULL_TOLERANCE)
        self._pull = 10**log_pull

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return self._problem(liked, disliked, seen).vector()

    def _contributions(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return self._problem(liked, disliked, seen).contributions()

    def _problem(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> FoldIn:
        # As in training, only items that somebody took can stand against what the user took.
        warm = np.zeros(len(self.item_factors), dtype=bool)
        warm[: len(self._warm)] = self._warm
        fold_in = fold_in_softmax if self._softmax else fold_in_bpr
        return fold_in(
            self.item_factors,
            liked,
            disliked,
            np.union1d(seen, np.flatnonzero(~warm)),
            regularisation=self._penalties() + self._pull,
            start=self.user_factors.mean(axis=0),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        own = {"warm": self._warm, "cold_bias": np.array([self._cold_bias]), "pull": np.array([self._pull])}
        return {**super().tensors(), **own}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self._cold_bias, self._warm = float(tensors["cold_bias"][0]), tensors["warm"]
        self._pull = float(tensors["pull"][0])
        super().restore(user_ids, items, tensors)


class FactorModel(BiasedModel):
    """score(u, i) = b_i + g_u . g_i and, for models that see, more: the user's vector is [1, g_u, …].

    b_i starts at the log of the item's popularity (`log_popularity`; less of it, where negatives are drawn by
    popularity) and is regularised towards it. An item without an interaction has no g_i, and one b_i that all such
    items share, whether it was in the catalogue at training or came later. That constant is chosen by validation
    (``cold_bias``).
    """

    resumable = True
    settings: FactorSettings
    loss: ClassVar[Loss] = "bpr"

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        settings = self.settings
        visual = self._visual_part(data, seed)
        # One more count of 0, which is no item's: the estimate for items yet to come.
        counts = np.append(data.item_counts, 0)
        # Against negatives that are drawn by popularity, popularity is no merit.
        prior = log_popularity(counts, np.append(data.candidates, False)) * np.float32(1 - settings.negative_power)
        self._cold_bias = float(prior[-1]) if settings.cold_bias is None else settings.cold_bias
        prior[counts == 0] = self._cold_bias
        validation = Validation(data, settings.criterion)
        trainer = Trainer(
            self.name, data, prior[:-1], settings, loss=self.loss, visual=visual, seed=seed, device=device
        )
        learned, self.metrics = trainer.run(validation, progress, self._checkpoints)
        self._take(learned)
        self.user_factors, self.item_factors = learned.users, learned.items(visual.features if visual else None)
        self._complete(data, validation, choose=settings.cold_bias is None)

    def _visual_part(self, data: TrainingData, seed: int) -> VisualPart | None:
        """Return what the trainer sees; None: nothing."""
        return None

    @property
    def _softmax(self) -> bool:
        return self.loss == "ssm"

    def _take(self, learned: Learned) -> None:
        """Keep what scores pictures that are not in the catalogue."""

    def _penalties(self) -> np.ndarray:
        return np.repeat((np.inf, self.settings.latent_regularisation), (1, self.settings.latent_dim))

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The bias is popularity, the rest is latent."""
        column = np.arange(self.item_factors.shape[1])
        factors = self.item_factors[rows].astype(np.float64)
        latent = (column > 0) & (column <= self.settings.latent_dim)
        return {"popularity": factors * (column == 0), "latent": factors * latent}


def _standardised(scores: np.ndarray) -> np.ndarray:
    """Return each row of scores [U, N] with mean 0 and variance 1; zeros where all are the same."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
