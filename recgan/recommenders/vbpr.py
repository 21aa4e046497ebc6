"""`vbpr`: visual Bayesian personalised ranking (He & McAuley, AAAI 2016)."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from recgan.config import VBPRSettings
from recgan.device import resolve_device, torch_threads
from recgan.errors import DataError, TrainingError
from recgan.progress import Progress
from recgan.recommenders.data import TrainingData, concatenated
from recgan.recommenders.fold_in import fold_in_bpr
from recgan.recommenders.popularity import log_popularity
from recgan.recommenders.sampler import NegativeSampler
from recgan.recommenders.validation import ValidationAUC
from recgan.recommenders.visual import VisualRecommender

__all__ = ["VBPR"]

_EPSILON = 1e-8
_COLD_BIAS_TOLERANCE = 0.05
_COLD_BIAS_TRIALS = 16


class VBPR(VisualRecommender):
    """score(u, i) = b_i + g_u . g_i + t_u . (E f_i) + b' . f_i, learned from triples (user, taken, not taken).

    Folded into one inner product: the user's vector is [1, g_u, t_u], the item's [b_i + b' . f_i, g_i, E f_i].

    b_i starts at the log of the item's popularity (`log_popularity`) and is regularised towards it. An item without an
    interaction has no g_i, and one b_i that all such items share: it is scored from its picture alone, whether it was
    in the catalogue at training or came later. That constant is chosen by the validation AUC (``cold_bias``).
    """

    name = "vbpr"
    settings_type = VBPRSettings
    settings: VBPRSettings

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        settings = self.settings
        features = self._look(data, settings.width, settings.whitening, settings.features, seed)
        target = resolve_device(device)
        # One more count of 0, which is no item's: the estimate for items yet to come.
        counts = np.append(data.item_counts, 0)
        prior = log_popularity(counts, np.append(data.candidates, False))
        self._cold_bias = float(prior[-1]) if settings.cold_bias is None else settings.cold_bias
        prior[counts == 0] = self._cold_bias
        judge = ValidationAUC(data)
        trainer = _Trainer(data, torch.from_numpy(features).to(target), prior[:-1], settings, judge, seed)
        best, self.metrics = trainer.run(progress)
        arrays = {name: tensor.cpu().numpy() for name, tensor in best.items()}
        self._projection = arrays["projection"]
        self._visual_bias = arrays["visual_bias"]
        self.item_factors = self._factors(features)
        self.item_factors[:, 0] += arrays["item_bias"] - self._cold_bias
        self.item_factors[:, 1 : 1 + settings.latent_dim] = arrays["item_latent"]
        factors = np.concatenate(
            [np.ones((data.n_users, 1), np.float32), arrays["user_latent"], arrays["user_visual"]], axis=1
        )
        unseen = np.bincount(data.train.users, minlength=data.n_users) == 0
        factors[unseen] = factors[~unseen].mean(axis=0)  # nothing is known of them: the average user
        self.user_factors = factors
        self._warm = data.item_counts > 0
        if settings.cold_bias is None:
            self._choose_cold_bias(judge, ~self._warm)

    def _choose_cold_bias(self, judge: ValidationAUC, cold: np.ndarray) -> None:
        """Move the bias of the cold items (bool [n_items]) to where the validation AUC is highest.

        It is the one parameter that training cannot learn: no triple holds a cold item. Popularity's estimate stands
        where there is no validation part, or none of its pairs depends on it.
        """
        biases, estimate = self.item_factors[:, 0].copy(), self._cold_bias
        if not len(judge.users) or not cold.any() or cold.all():
            return

        def loss(bias: float) -> float:
            self.item_factors[cold, 0] = biases[cold] + np.float32(bias - estimate)
            return -judge(self.user_factors, self.item_factors)

        limits = (min(estimate, float(biases[~cold].min())), max(estimate, float(biases[~cold].max())))
        options = {"xatol": _COLD_BIAS_TOLERANCE, "maxiter": _COLD_BIAS_TRIALS}
        found = minimize_scalar(loss, bounds=limits, method="bounded", options=options)
        self._cold_bias = estimate if loss(estimate) <= found.fun else float(found.x)
        self.metrics["validation_auc"] = -loss(self._cold_bias)  # and leaves the chosen bias in place
        self.metrics["cold_bias"] = self._cold_bias

    def factors_from(self, features: torch.Tensor) -> torch.Tensor:
        """Return [b_cold + b' . f, 0, E f] for each row f of the whitened features."""
        projection = torch.as_tensor(self._projection, device=features.device)
        visual_bias = torch.as_tensor(self._visual_bias, device=features.device)
        latent = features.new_zeros(len(features), self.settings.latent_dim)
        return torch.cat([(self._cold_bias + features @ visual_bias)[:, None], latent, features @ projection], dim=1)

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        settings = self.settings
        penalties = (np.inf, settings.latent_regularisation, settings.visual_regularisation)
        # As in training, only items that somebody took can stand against what the user took.
        warm = np.zeros(len(self.item_factors), dtype=bool)
        warm[: len(self._warm)] = self._warm
        return fold_in_bpr(
            self.item_factors,
            liked,
            disliked,
            np.union1d(seen, np.flatnonzero(~warm)),
            regularisation=np.repeat(penalties, (1, settings.latent_dim, settings.visual_dim)),
            start=self.user_factors.mean(axis=0),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        own = {"projection": self._projection, "visual_bias": self._visual_bias, "warm": self._warm}
        return {**super().tensors(), **own, "cold_bias": np.array([self._cold_bias])}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self._projection, self._visual_bias = tensors["projection"], tensors["visual_bias"]
        self._cold_bias, self._warm = float(tensors["cold_bias"][0]), tensors["warm"]
        super().restore(user_ids, items, tensors)


def triple_loss_and_gradients(
    parameters: Mapping[str, torch.Tensor],
    features: torch.Tensor,
    users: torch.Tensor,
    better: torch.Tensor,
    worse: torch.Tensor,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return -ln sigma(x_better - x_worse) of each triple, float32 [B], and the gradients of their sum.

    The gradients of the tables come a row a triple: ``user_latent``, ``user_visual`` [B, …] for ``users``;
    ``item_latent``, ``item_bias`` [B, …] for ``better``, and with the other sign for ``worse``. Those of ``projection``
    [width, visual] and ``visual_bias`` [width] are whole.
    """
    seen = features[better] - features[worse]
    latent_user, visual_user = parameters["user_latent"][users], parameters["user_visual"][users]
    latent_item = parameters["item_latent"][better] - parameters["item_latent"][worse]
    visual_item = seen @ parameters["projection"]
    margin = parameters["item_bias"][better] - parameters["item_bias"][worse] + seen @ parameters["visual_bias"]
    margin = margin + (latent_user * latent_item).sum(1) + (visual_user * visual_item).sum(1)
    slope = -torch.sigmoid(-margin)
    column = slope[:, None]
    gradients = {
        "user_latent": column * latent_item,
        "user_visual": column * visual_item,
        "item_latent": column * latent_user,
        "item_bias": slope,
        "projection": seen.T @ (column * visual_user),
        "visual_bias": slope @ seen,
    }
    return F.softplus(-margin), gradients


class _Trainer:
    """Stochastic training with Adagrad, whose state keeps rows that are rarely drawn moving.

    Only the rows of a batch are touched, so a step costs the same whatever the number of users and items.
    """

    def __init__(
        self,
        data: TrainingData,
        features: torch.Tensor,
        prior: np.ndarray,
        settings: VBPRSettings,
        judge: ValidationAUC,
        seed: int,
    ) -> None:
        self.data, self.features, self.settings, self.judge = data, features, settings, judge
        device = features.device
        self.generator = torch.Generator(device).manual_seed(seed)
        # Items without a training interaction are left alone: as negatives they would only be pushed down, though
        # nothing is known against them.
        self.sampler = NegativeSampler(
            concatenated(data.train, data.withheld), data.n_users, pool=data.item_counts > 0, device=device
        )
        users = torch.from_numpy(data.train.users).to(device)
        trainable = self.sampler.free[users] > 0
        if not trainable.any():
            raise DataError(
                "every user took every item there is to learn from: there is nothing to tell apart; use more items"
            )
        self.users = users[trainable]
        self.items = torch.from_numpy(data.train.items).to(device)[trainable]
        width, latent, visual = features.shape[1], settings.latent_dim, settings.visual_dim

        def normal(std: float, *shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=self.generator, device=device) * std

        self.parameters = {
            "user_latent": normal(settings.latent_std, data.n_users, latent),
            "item_latent": normal(settings.latent_std, data.n_items, latent),
            "user_visual": normal(settings.visual_std, data.n_users, visual),
            "projection": normal(settings.visual_std, width, visual),
            "item_bias": torch.from_numpy(prior).to(device),
            "visual_bias": torch.zeros(width, device=device),
        }
        self.parameters["item_latent"][torch.from_numpy(data.item_counts == 0).to(device)] = 0
        self.prior = self.parameters["item_bias"].clone()
        self.squares = {name: torch.zeros_like(value) for name, value in self.parameters.items()}

    def run(self, progress: Progress) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        """Train until the validation AUC has stopped rising; return the best epoch's parameters and the figures."""
        best = {name: value.clone() for name, value in self.parameters.items()}
        best_auc, best_epoch, seconds = -np.inf, 0, 0.0
        for epoch in range(1, self.settings.epochs + 1):
            start = time.perf_counter()
            with torch_threads(1):  # the steps are small: a second thread slows them, and bits would depend on it
                loss = self._epoch()
            seconds += time.perf_counter() - start
            if not np.isfinite(loss):
                raise TrainingError(
                    f"vbpr: the loss is not finite in epoch {epoch}; lower learning_rate or visual_learning_rate"
                )
            value = self._validation_auc()
            progress("training vbpr", epoch, self.settings.epochs, f"loss {loss:.4f}, validation AUC {value:.4f}")
            if not value <= best_auc:  # also without validation pairs, where it is NaN: the last epoch is kept
                best_auc, best_epoch = value, epoch
                best = {name: tensor.clone() for name, tensor in self.parameters.items()}
            elif epoch - best_epoch >= self.settings.patience:
                break
        metrics = {
            "best_epoch": best_epoch,
            "epochs": epoch,
            "loss": loss,
            "triples_per_second": epoch * len(self.users) / seconds,
        }
        return best, metrics | ({"validation_auc": best_auc} if np.isfinite(best_auc) else {})

    def _validation_auc(self) -> float:
        p = self.parameters
        items = torch.cat(
            [
                (p["item_bias"] + self.features @ p["visual_bias"])[:, None],
                p["item_latent"],
                self.features @ p["projection"],
            ],
            dim=1,
        )
        users = torch.cat([p["user_visual"].new_ones(self.data.n_users, 1), p["user_latent"], p["user_visual"]], dim=1)
        return self.judge(users.cpu().numpy(), items.cpu().numpy())

    def _epoch(self) -> float:
        order = torch.randperm(len(self.users), generator=self.generator, device=self.users.device)
        total = 0.0
        for batch in order.split(self.settings.batch_size):
            users, better = self.users[batch], self.items[batch]
            worse = self.sampler.draw(users, self.generator)
            losses, gradients = triple_loss_and_gradients(self.parameters, self.features, users, better, worse)
            total += losses.sum().item()
            self._step(users, better, worse, gradients)
        return total / len(self.users)

    def _step(
        self, users: torch.Tensor, better: torch.Tensor, worse: torch.Tensor, gradients: dict[str, torch.Tensor]
    ) -> None:
        s, p = self.settings, self.parameters
        items = torch.cat([better, worse])
        item_latent = torch.cat([gradients["item_latent"], -gradients["item_latent"]])
        item_bias = torch.cat([gradients["item_bias"], -gradients["item_bias"]])
        pull = s.bias_regularisation * (p["item_bias"][items] - self.prior[items])
        user_latent = gradients["user_latent"] + s.latent_regularisation * p["user_latent"][users]
        item_latent = item_latent + s.latent_regularisation * p["item_latent"][items]
        user_visual = gradients["user_visual"] + s.visual_regularisation * p["user_visual"][users]
        self._step_rows("user_latent", users, user_latent, s.learning_rate)
        self._step_rows("item_latent", items, item_latent, s.learning_rate)
        self._step_rows("item_bias", items, item_bias + pull, s.learning_rate)
        self._step_rows("user_visual", users, user_visual, s.visual_learning_rate)
        for name in ("projection", "visual_bias"):
            gradient = gradients[name] / len(users) + s.projection_regularisation * p[name]
            self.squares[name] += gradient * gradient
            p[name] -= s.visual_learning_rate * gradient / (self.squares[name].sqrt() + _EPSILON)

    def _step_rows(self, name: str, rows: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        value, squares = self.parameters[name], self.squares[name]
        squares.index_add_(0, rows, gradient * gradient)
        value.index_add_(0, rows, -rate * gradient / (squares[rows].sqrt() + _EPSILON))
