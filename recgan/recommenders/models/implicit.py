"""`bpr` and `als`: thin adapters over the package ``implicit``, the image-free baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recgan.config import ALSSettings, BPRSettings
from recgan.errors import TrainingError
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData
from recgan.recommenders.fold_in import FoldIn, fold_in_bpr

__all__ = ["ImplicitALS", "ImplicitBPR"]


class _Implicit(Recommender):
    """What both have in common: the matrix that goes in, the factors that come out."""

    settings: ALSSettings | BPRSettings

    def _learn(self, kind: Any, data: TrainingData, seed: int, progress: Progress, **options: Any) -> None:
        """Train implicit's model of a kind, and take over its factors; ``options`` are what that kind alone has."""
        from implicit.recommender_base import ModelFitError

        s = self.settings
        matrix = csr_matrix(
            (np.ones(len(data.train), dtype=np.float32), (data.train.users, data.train.items)),
            shape=(data.n_users, data.n_items),
        )
        # implicit numbers the epochs it has finished from 0.
        keywords: dict[str, Any] = {"show_progress": False}
        keywords["callback"] = lambda epoch, *rest: progress(f"training {self.name}", epoch + 1, s.epochs)
        try:
            with threadpool_limits(1, "blas"):  # implicit runs its own threads, and warns of others
                model = kind(
                    factors=s.factors, iterations=s.epochs, random_state=seed, num_threads=s.threads, **options
                )
                model.fit(matrix, **keywords)
        except ModelFitError as error:
            raise TrainingError(
                f"{self.name}: the training diverged ({error}); lower the learning rate or raise the regularisation"
            ) from error
        self.user_factors = np.array(model.user_factors, dtype=np.float32)
        self.item_factors = np.array(model.item_factors, dtype=np.float32)
        trained = np.bincount(data.train.users, minlength=data.n_users) > 0
        self.user_factors[~trained] = self.user_factors[trained].mean(axis=0)

    @property
    def similarity_space(self) -> str:
        """`similar` measures between item factors, without the bias."""
        return "factors"

    def _similarity_vectors(self) -> np.ndarray:
        return self.item_factors


class ImplicitBPR(_Implicit):
    """score(u, i) = g_u . g_i + b_i (Rendle et al. 2009); the bias is the last factor, against a 1 of the user."""

    name = "bpr"
    settings_type = BPRSettings
    settings: BPRSettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        options = {"learning_rate": self.settings.learning_rate, "regularization": self.settings.regularisation}
        self._learn(BayesianPersonalizedRanking, data, seed, progress, verify_negative_samples=True, **options)
        untrained = data.item_counts == 0
        # implicit leaves the random start in items it never saw: that is no knowledge.
        self.item_factors[untrained, :-1] = 0

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The bias is popularity, the rest is latent."""
        bias = np.arange(self.item_factors.shape[1]) == self.settings.factors
        factors = self.item_factors[rows].astype(np.float64)
        return {"popularity": factors * bias, "latent": factors * ~bias}

    def _similarity_vectors(self) -> np.ndarray:
        return self.item_factors[:, :-1]

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return self._problem(liked, disliked, seen).vector()

    def _contributions(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return self._problem(liked, disliked, seen).contributions()

    def _problem(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> FoldIn:
        return fold_in_bpr(
            self.item_factors,
            liked,
            disliked,
            seen,
            regularisation=np.repeat((self.settings.regularisation, np.inf), (self.settings.factors, 1)),
            start=self.user_factors.mean(axis=0),
        )


class ImplicitALS(_Implicit):
    """score(u, i) = g_u . g_i, fitted to 1 (taken) with confidence and to 0 (the rest) (Hu, Koren & Volinsky 2008)."""

    name = "als"
    settings_type = ALSSettings
    settings: ALSSettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        options = {"regularization": self.settings.regularisation, "alpha": self.settings.confidence}
        self._learn(AlternatingLeastSquares, data, seed, progress, **options)

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.linalg.solve(*self._equations(liked, disliked))

    def _contributions(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        gram, wanted = self._equations(liked, disliked)
        whole, confidence = np.linalg.solve(gram, wanted), self.settings.confidence
        left = [
            np.linalg.solve(gram - (confidence - 1) * np.outer(item, item), wanted - confidence * item)
            for item in liked.astype(np.float64)
        ]
        return whole - np.reshape(left, (len(liked), len(whole)))

    def _equations(self, liked: np.ndarray, disliked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The least-squares step of one user: a liked item is 1, a disliked one -1, both with the full confidence.
        y = self.item_factors.astype(np.float64)
        given = np.concatenate([liked, disliked]).astype(np.float64)
        gram = y.T @ y + self.settings.regularisation * np.eye(y.shape[1])
        gram += (self.settings.confidence - 1) * given.T @ given
        wanted = liked.sum(axis=0, dtype=np.float64) - disliked.sum(axis=0, dtype=np.float64)
        return gram, self.settings.confidence * wanted
