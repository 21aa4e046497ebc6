"""The trainer that the factor models share: `bpr_mf`, `vbpr` and `vbpr_ssm` differ in their loss and in what they see.

Inside, a user is [g_u, 1, t_u] and an item [g_i, b_i + b'.f_i, E f_i]: the first columns of an item are its own row of
a table, the last ones come from its features f_i, and the bias has a share in both. So each loss is one function of
users' and items' factors, each table is touched once a step, and only in the rows of the batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from recgan.config import FactorSettings
from recgan.device import resolve_device, torch_threads
from recgan.errors import DataError, TrainingError
from recgan.progress import Progress
from recgan.recommenders.data import TrainingData, concatenated
from recgan.recommenders.training.checkpoint import Checkpoints
from recgan.recommenders.training.losses import (
    pairwise_loss,
    rank_weights,
    ranked_hinge_loss,
    sampled_softmax_loss,
)
from recgan.recommenders.training.sampler import InBatchNegatives, NegativeSampler, popularity_weights
from recgan.recommenders.training.validation import Validation
from recgan.resume import interrupts

__all__ = ["Learned", "Loss", "Trainer", "VisualPart"]

Loss: TypeAlias = Literal["bpr", "warp", "ssm"]
"""``bpr``: triples (user, taken, not taken); ``warp``: triples with the first of some items not taken that comes too
near; ``ssm``: sampled softmax, the items of a batch being the negatives."""

_EPSILON = 1e-16
_DIVERGED = 1e9
"""No factor of use is larger, and products of larger ones would overflow."""
_CHUNK = 1 << 16
_TRIALS = 10
"""Items that WARP draws at most, to find one that comes too near."""


@dataclass(frozen=True)
class VisualPart:
    """How a trainer learns from features."""

    features: np.ndarray
    """float16 [n_items, width]; may be a memory map, of which a batch reads its own rows."""
    dim: int
    """Length of t."""
    learning_rate: float
    std: float
    user_regularisation: float
    projection_regularisation: float


@dataclass(frozen=True)
class Learned:
    """The parameters of the best epoch, float32."""

    users: np.ndarray
    """[n_users, 1 + latent + visual]: 1, g_u, t_u."""
    item_latent: np.ndarray
    """[n_items, latent]: g_i."""
    item_bias: np.ndarray
    """[n_items]: b_i."""
    projection: np.ndarray
    """[width, visual]: E."""
    visual_bias: np.ndarray
    """[width]: b'."""

    def items(self, features: np.ndarray | None) -> np.ndarray:
        """Return the item factors [n_items, 1 + latent + visual]: b_i + b'.f_i, g_i, E f_i."""
        columns = [self.item_bias[:, None], self.item_latent]
        if features is None:
            return np.concatenate(columns, axis=1)
        out = np.empty((len(self.item_bias), self.users.shape[1]), dtype=np.float32)
        for start in range(0, len(out), _CHUNK):
            part = slice(start, start + _CHUNK)
            seen = np.asarray(features[part], dtype=np.float32)
            bias = self.item_bias[part] + seen @ self.visual_bias
            out[part] = np.concatenate([bias[:, None], self.item_latent[part], seen @ self.projection], axis=1)
        return out


@dataclass
class _Reached:
    """How far a training is."""

    best: Learned
    best_value: float = -np.inf
    best_epoch: int = 0
    epoch: int = 0
    seconds: float = 0.0
    loss: float = np.nan


_COUNTERS = [one.name for one in fields(_Reached) if one.name != "best"]


class Trainer:
    """Stochastic training with Adagrad, whose state keeps rows that are rarely drawn moving.

    A step costs the same whatever the number of users and items. On a CPU the same seed gives the same bits.
    """

    def __init__(
        self,
        name: str,
        data: TrainingData,
        prior: np.ndarray,
        settings: FactorSettings,
        *,
        loss: Loss,
        visual: VisualPart | None,
        seed: int,
        device: str,
    ) -> None:
        """Prepare.

        Args:
            name: of the model, for messages.
            data: what is learned from.
            prior: float32 [n_items], the biases that training starts at and is pulled towards.
            settings: of the latent part, the steps and when to stop.
            loss: which one.
            visual: None for a model without eyes.
            seed: of the start, the order and the draws.
            device: where the arithmetic is done.

        Raises:
            DataError: no user has an item that could be a negative.
        """
        self.name, self.data, self.settings, self.visual, self.loss = name, data, settings, visual, loss
        self.device = target = resolve_device(device)
        self.generator = torch.Generator(target).manual_seed(seed)
        # Items without a training interaction are left alone: as negatives they would only be pushed down, though
        # nothing is known against them.
        known = concatenated(data.train, data.withheld)
        weights = popularity_weights(data.item_counts, settings.negative_power)
        self.negatives = (
            NegativeSampler(known, data.n_users, weights, target)
            if loss != "ssm"
            else InBatchNegatives(known, data.n_users, data.item_counts, target)
        )
        users = torch.from_numpy(data.train.users).to(target)
        trainable = self.negatives.free.index_select(0, users) > 0
        if not trainable.any():
            raise DataError(
                "every user took every item there is to learn from: there is nothing to tell apart; use more items"
            )
        by_user = torch.argsort(users, stable=True)
        by_user = by_user[trainable[by_user]]
        self.users, self.items = users[by_user], torch.from_numpy(data.train.items).to(target)[by_user]
        self._start(prior)
        self.compiled: Callable[..., float] | None = None
        """The whole of a step of the pairwise losses, where the arithmetic is done on a CPU."""
        if loss != "ssm" and target.type == "cpu":
            from recgan.recommenders.training.kernels import pairwise_step

            self.compiled = pairwise_step
            state = (self.tables, self.squares, self.rates, self.pulls)
            self._arrays = [each[name].numpy() for name in ("user", "item") for each in state] + [self.prior.numpy()]

    def _start(self, prior: np.ndarray) -> None:
        s, data, latent = self.settings, self.data, self.settings.latent_dim

        def normal(std: float, *shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=self.generator, device=self.device) * std

        self.features = None
        user_table = [normal(s.latent_std, data.n_users, latent), torch.ones(data.n_users, 1, device=self.device)]
        item_latent = normal(s.latent_std, data.n_items, latent)
        item_latent[torch.from_numpy(data.item_counts == 0).to(self.device)] = 0
        bias = torch.from_numpy(prior).to(self.device)
        self.tables = {"item": torch.cat([item_latent, bias[:, None]], dim=1)}
        dim, rate, pull = 0, 0.0, 0.0
        if (v := self.visual) is not None:
            dim, rate, pull = v.dim, v.learning_rate, v.user_regularisation
            self.features = torch.from_numpy(v.features)
            user_table.append(normal(v.std, data.n_users, dim))
            width = v.features.shape[1]
            self.tables["projection"] = torch.cat(
                [torch.zeros(width, 1, device=self.device), normal(v.std, width, dim)], dim=1
            )
        self.tables["user"] = torch.cat(user_table, dim=1)
        self.squares = {name: torch.zeros_like(table) for name, table in self.tables.items()}
        self.prior = bias

        def columns(*parts: tuple[float, int]) -> torch.Tensor:
            return torch.tensor([value for value, count in parts for _ in range(count)], device=self.device)

        self.rates = {
            "user": columns((s.learning_rate, latent), (0.0, 1), (rate, dim)),
            "item": columns((s.learning_rate, latent + 1)),
        }
        self.pulls = {
            "user": columns((s.latent_regularisation, latent), (0.0, 1), (pull, dim)),
            "item": columns((s.latent_regularisation, latent), (s.bias_regularisation, 1)),
        }

    def run(
        self, validation: Validation, progress: Progress, checkpoints: Checkpoints | None = None
    ) -> tuple[Learned, dict[str, float]]:
        """Train until validation has stopped rising; return the best epoch's parameters and figures of the training.

        With ``checkpoints``, which are under way, it goes on from what they hold, and keeps itself there: from time to
        time, and on Ctrl-C at the end of the epoch.

        Raises:
            TrainingError: the loss is not finite.
            KeyboardInterrupt: stopped by Ctrl-C; the message says how to go on.
        """
        most, reached = self.settings.epochs, _Reached(self._learned())
        if checkpoints is not None and (state := checkpoints.begin(self._identity(validation))) is not None:
            reached = self._restore(state)
        with interrupts() if checkpoints else nullcontext() as interrupted:
            while reached.epoch < most and reached.epoch - reached.best_epoch < self.settings.patience:
                self._judged_epoch(reached, validation, progress)
                stopped = interrupted is not None and interrupted.is_set()
                if checkpoints is not None and (stopped or checkpoints.due):
                    checkpoints.save(reached.epoch, self._state(reached))
                    if stopped:
                        raise KeyboardInterrupt(
                            f"stopped after epoch {reached.epoch} of at most {most}; go on with --resume "
                            f"(the training is kept in '{checkpoints.folder}')"
                        )
        metrics = {
            "best_epoch": reached.best_epoch,
            "epochs": reached.epoch,
            "loss": reached.loss,
            "triples_per_second": reached.epoch * len(self.users) / reached.seconds,
        }
        found = {validation.metric: reached.best_value} if np.isfinite(reached.best_value) else {}
        return reached.best, metrics | found

    def _judged_epoch(self, reached: _Reached, validation: Validation, progress: Progress) -> None:
        start = time.perf_counter()
        # The steps are small: more threads than asked for would slow them, and bits would depend on the number.
        with torch_threads(1):
            reached.loss = self._epoch()
        reached.seconds += time.perf_counter() - start
        reached.epoch += 1
        largest = max(float(table.abs().max()) for table in self.tables.values())
        if not (np.isfinite(reached.loss) and largest < _DIVERGED):
            raise TrainingError(
                f"{self.name}: the training diverged in epoch {reached.epoch}; lower the learning rates"
            )
        learned = self._learned()
        value = validation(learned.users, learned.items(self.visual.features if self.visual else None))
        note = f"loss {reached.loss:.4f}, validation {validation.title} {value:.4f}"
        progress(f"training {self.name}", reached.epoch, self.settings.epochs, note)
        if not value <= reached.best_value:  # also without validation pairs, where it is NaN: the last epoch is kept
            reached.best, reached.best_value, reached.best_epoch = learned, value, reached.epoch

    def _identity(self, validation: Validation) -> dict[str, Any]:
        """Return what must be the same for this training to be gone on with, as JSON values."""
        features = self.data.features
        seen = {"encoder": features.encoder_digest, "size": features.size} if self.visual and features else None
        return {
            "model": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.generator.initial_seed(),
            "device": self.device.type,
            "catalogue": self.data.catalogue_digest,
            "split": self.data.split_digest,
            "features": seen,
        }

    def _state(self, reached: _Reached) -> dict[str, np.ndarray]:
        """Return all that the next epochs depend on."""
        counters = [float(getattr(reached, name)) for name in _COUNTERS]
        return {
            **{f"table.{name}": table.cpu().numpy() for name, table in self.tables.items()},
            **{f"squares.{name}": table.cpu().numpy() for name, table in self.squares.items()},
            **{f"best.{one.name}": getattr(reached.best, one.name) for one in fields(Learned)},
            "generator": self.generator.get_state().numpy(),
            "counters": np.array(counters, dtype=np.float64),
        }

    def _restore(self, state: Mapping[str, np.ndarray]) -> _Reached:
        for name, table in self.tables.items():
            table.copy_(torch.from_numpy(state[f"table.{name}"]))
            self.squares[name].copy_(torch.from_numpy(state[f"squares.{name}"]))
        self.generator.set_state(torch.from_numpy(state["generator"]))
        reached = _Reached(Learned(**{one.name: state[f"best.{one.name}"] for one in fields(Learned)}))
        for name, value in zip(_COUNTERS, state["counters"].tolist()):
            setattr(reached, name, type(getattr(reached, name))(value))
        return reached

    def _learned(self) -> Learned:
        latent = self.settings.latent_dim
        tables = {name: table.cpu().numpy() for name, table in self.tables.items()}
        user, item = tables["user"], tables["item"]
        projection = tables.get("projection", np.zeros((0, 1), np.float32))
        users = np.concatenate([user[:, latent : latent + 1], user[:, :latent], user[:, latent + 1 :]], axis=1)
        return Learned(
            users, item[:, :-1].copy(), item[:, -1].copy(), projection[:, 1:].copy(), projection[:, 0].copy()
        )

    def _epoch(self) -> float:
        order = torch.randperm(len(self.users), generator=self.generator, device=self.device)
        worse = None
        if self.loss == "bpr":
            assert isinstance(self.negatives, NegativeSampler)
            worse = self.negatives.draw(self.users, self.generator)
        total = 0.0
        for batch in order.split(self.settings.batch_size):
            users, items = self.users.index_select(0, batch), self.items.index_select(0, batch)
            if worse is not None:
                total += self._pairwise_step(users, items, worse.index_select(0, batch))
            elif self.loss == "warp":
                total += self._pairwise_step(users, items, *self._too_near(users, items))
            else:
                total += self._softmax_step(users, items)
        return total / len(self.users)

    def _too_near(self, users: torch.Tensor, better: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return for each pair the first of some items not taken that comes within 1 of the one taken (any, if none
        does), and how many were drawn until then, int64 [B] each."""
        assert isinstance(self.negatives, NegativeSampler)
        drawn = self.negatives.draw(users.repeat_interleave(_TRIALS), self.generator).view(-1, _TRIALS)
        rows = torch.cat([better[:, None], drawn], dim=1)
        item = self._factors(self._rows_of_items(rows.flatten()), self._features_of(rows.flatten()))
        user = self.tables["user"].index_select(0, users)
        scores = (item.view(*rows.shape, -1) @ user[:, :, None])[:, :, 0]
        first = (scores[:, 1:] > scores[:, :1] - 1).int().argmax(dim=1)
        return drawn.gather(1, first[:, None])[:, 0], first + 1

    def _pairwise_step(
        self, users: torch.Tensor, better: torch.Tensor, worse: torch.Tensor, trials: torch.Tensor | None = None
    ) -> float:
        count, seen = len(users), self._features_of(better)
        if seen is not None and (of_worse := self._features_of(worse)) is not None:
            seen -= of_worse
        weights = None if trials is None else rank_weights(trials, self.negatives.free.index_select(0, users))
        if self.compiled is not None:
            visual = torch.empty(count, 0) if seen is None else seen @ self.tables["projection"]
            weights = torch.empty(0) if weights is None else weights
            loss = self.compiled(*(one.numpy() for one in (users, better, worse, weights, visual)), *self._arrays)
            self._step_projection(seen, visual, count)
            return loss
        rows = torch.cat([better, worse])
        user, item = self.tables["user"].index_select(0, users), self._rows_of_items(rows)
        differences = self._factors(item[:count] - item[count:], seen)
        if weights is None:
            losses, to_user, to_item = pairwise_loss(user, differences)
        else:
            losses, to_user, to_item = ranked_hinge_loss(user, differences, weights)
        own = to_item[:, : item.shape[1]]
        self._step_projection(seen, to_item[:, self.settings.latent_dim :], count)
        self._step_rows("item", rows, torch.cat([own, -own]), self._from_rest(item, rows))
        self._step_rows("user", users, to_user, user)
        return float(losses.sum())

    def _softmax_step(self, users: torch.Tensor, items: torch.Tensor) -> float:
        assert isinstance(self.negatives, InBatchNegatives)
        batch = self.negatives.batch(users, items)
        user, item = self.tables["user"].index_select(0, batch.users), self._rows_of_items(batch.items)
        seen = self._features_of(batch.items)
        losses, to_user, to_item = sampled_softmax_loss(
            user, self._factors(item, seen), batch.taken, batch.known, batch.log_weights
        )
        self._step_projection(seen, to_item[:, self.settings.latent_dim :], len(users))
        self._step_rows("item", batch.items, to_item[:, : item.shape[1]], self._from_rest(item, batch.items))
        self._step_rows("user", batch.users, to_user, user)
        return float(losses.sum())

    def _rows_of_items(self, rows: torch.Tensor) -> torch.Tensor:
        return self.tables["item"].index_select(0, rows)

    def _from_rest(self, item: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Turn rows of the items' table, in place, into how far they are from where regularisation pulls them."""
        item[:, -1] -= self.prior.index_select(0, rows)
        return item

    def _features_of(self, rows: torch.Tensor) -> torch.Tensor | None:
        if self.features is None:
            return None
        return self.features.index_select(0, rows.to(self.features.device)).to(self.device, torch.float32)

    def _factors(self, item: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """Return the whole factors of items from their rows of the table and their features."""
        if seen is None:
            return item
        visual = seen @ self.tables["projection"]
        return torch.cat([item[:, :-1], item[:, -1:] + visual[:, :1], visual[:, 1:]], dim=1)

    def _step_projection(self, seen: torch.Tensor | None, to_visual: torch.Tensor, count: int) -> None:
        if seen is None or self.visual is None:
            return
        table, squares = self.tables["projection"], self.squares["projection"]
        gradient = seen.T @ to_visual / count
        gradient += self.visual.projection_regularisation * table
        squares += gradient * gradient
        table -= self.visual.learning_rate * gradient * (squares + _EPSILON).rsqrt()

    def _step_rows(self, name: str, rows: torch.Tensor, gradient: torch.Tensor, value: torch.Tensor) -> None:
        """Move the rows of a table against the gradient and, by L2, against ``value`` (how far from rest they are)."""
        gradient = torch.addcmul(gradient, self.pulls[name], value)
        squares = self.squares[name]
        squares.index_add_(0, rows, gradient * gradient)
        scale = squares.index_select(0, rows).add_(_EPSILON).rsqrt_().mul_(self.rates[name])
        self.tables[name].index_add_(0, rows, gradient.mul_(scale), alpha=-1)
