"""The trainer that the factor models share: `bpr_mf`, `warp`, `vbpr`, `vbpr_ssm` differ in loss and what they see."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
from recgan.recommenders.training.checkpoint import Checkpoints, identity, look
from recgan.recommenders.training.losses import rank_weights
from recgan.recommenders.training.parameters import Learned, Parameters, VisualPart
from recgan.recommenders.training.sampler import InBatchNegatives, NegativeSampler, popularity_weights
from recgan.recommenders.training.validation import Validation
from recgan.resume import interrupts

__all__ = ["Loss", "Trainer"]

Loss: TypeAlias = Literal["bpr", "warp", "ssm"]
"""``bpr``: triples (user, taken, not taken); ``warp``: triples with the first of some items not taken that comes too
near; ``ssm``: sampled softmax, the items of a batch being the negatives."""

_DIVERGED = 1e9
"""No factor of use is larger, and products of larger ones would overflow."""
_TOGETHER = 64
"""Batches that are handed over at once, where nothing is to be done between them."""
_TRIALS = 10
"""Items that WARP draws at most, to find one that comes too near."""


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
    """Draws what each step learns from, judges each epoch and stops in time. On a CPU a seed gives the same bits."""

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
        self.parameters = Parameters(data.n_users, data.item_counts, prior, settings, visual, self.generator)
        if isinstance(self.negatives, NegativeSampler) and target.type == "cpu":
            self.parameters.compile()
            self.negatives.compile()

    def run(
        self, validation: Validation, progress: Progress, checkpoints: Checkpoints | None = None
    ) -> tuple[Learned, dict[str, float]]:
        """Train until validation has stopped rising; return the best epoch's parameters and figures of the training.

        With ``checkpoints``, which are under way, it goes on from what they hold, and keeps itself there: from time to
        time, and on Ctrl-C or SIGTERM at the end of the epoch.

        Raises:
            TrainingError: the loss is not finite.
            KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; the message says how to go on.
        """
        most, reached = self.settings.epochs, _Reached(self.parameters.learned())
        if checkpoints is not None and (state := checkpoints.begin(self._identity())) is not None:
            reached = self._restore(state)
        with interrupts() if checkpoints else nullcontext() as interrupted:
            while not self._over(reached):
                self._judged_epoch(reached, validation, progress)
                stopped = interrupted is not None and interrupted.is_set()
                finished = checkpoints is not None and checkpoints.keep_finished and self._over(reached)
                if checkpoints is not None and (stopped or finished or checkpoints.due):
                    checkpoints.save(reached.epoch, self._state(reached))
                    if stopped:
                        raise KeyboardInterrupt(
                            f"stopped after epoch {reached.epoch} of at most {most}; go on with --resume "
                            f"(the training is kept in '{checkpoints.folder}')"
                        )
        metrics = {
            "epochs": reached.epoch,
            "loss": reached.loss,
            "triples_per_second": reached.epoch * len(self.users) / reached.seconds,
        }
        if np.isfinite(reached.best_value):
            metrics |= {"best_epoch": reached.best_epoch, validation.metric: reached.best_value}
        return reached.best, metrics

    def _over(self, reached: _Reached) -> bool:
        most, patience = self.settings.epochs, self.settings.patience
        return reached.epoch >= most or reached.epoch - reached.best_epoch >= patience

    def _judged_epoch(self, reached: _Reached, validation: Validation, progress: Progress) -> None:
        start = time.perf_counter()
        # The steps are small: more threads than asked for would slow them, and bits would depend on the number.
        with torch_threads(1):
            reached.loss = self._epoch()
        reached.seconds += time.perf_counter() - start
        reached.epoch += 1
        if not (np.isfinite(reached.loss) and self.parameters.largest < _DIVERGED):
            raise TrainingError(
                f"{self.name}: the training diverged in epoch {reached.epoch}; lower the learning rates"
            )
        learned = self.parameters.learned()
        value = validation(learned.users, learned.items(self.visual.features if self.visual else None))
        note = f"loss {reached.loss:.4f}, {validation.told(value)}"
        progress(f"training {self.name}", reached.epoch, self.settings.epochs, note)
        if not value <= reached.best_value:  # also without validation pairs, where it is NaN: the last epoch is kept
            reached.best, reached.best_value, reached.best_epoch = learned, value, reached.epoch

    def _identity(self) -> dict[str, Any]:
        seed, seen = self.generator.initial_seed(), look(self.data) if self.visual else None
        return identity(self.name, self.settings, seed, self.device.type, self.data, seen)

    def _state(self, reached: _Reached) -> dict[str, np.ndarray]:
        """Return all that the next epochs depend on."""
        counters = [float(getattr(reached, name)) for name in _COUNTERS]
        return {
            **self.parameters.state(),
            **{f"best.{one.name}": getattr(reached.best, one.name) for one in fields(Learned)},
            "generator": self.generator.get_state().numpy(),
            "counters": np.array(counters, dtype=np.float64),
        }

    def _restore(self, state: Mapping[str, np.ndarray]) -> _Reached:
        self.parameters.restore(state)
        self.generator.set_state(torch.from_numpy(state["generator"]))
        reached = _Reached(Learned(**{one.name: state[f"best.{one.name}"] for one in fields(Learned)}))
        for name, value in zip(_COUNTERS, state["counters"].tolist()):
            setattr(reached, name, type(getattr(reached, name))(value))
        return reached

    def _epoch(self) -> float:
        order = torch.randperm(len(self.users), generator=self.generator, device=self.device)
        total, size = 0.0, self.settings.batch_size
        if self.loss == "bpr":
            assert isinstance(self.negatives, NegativeSampler)
            worse = self.negatives.draw(self.users, self.generator)
            for batches in order.split(size * _TOGETHER):
                users, items = self.users.index_select(0, batches), self.items.index_select(0, batches)
                total += self.parameters.pairwise_steps(users, items, worse.index_select(0, batches), size)
            return total / len(self.users)
        for batch in order.split(size):
            users, items = self.users.index_select(0, batch), self.items.index_select(0, batch)
            if isinstance(self.negatives, InBatchNegatives):
                total += self.parameters.softmax_step(self.negatives.batch(users, items))
            else:
                too_near, trials = self._too_near(users, items)
                weights = rank_weights(trials, self.negatives.free.index_select(0, users))
                total += self.parameters.pairwise_step(users, items, too_near, weights)
        return total / len(self.users)

    def _too_near(self, users: torch.Tensor, better: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return for each pair the first of some items not taken that comes within 1 of the one taken (any, if none
        does), and how many were drawn until then, int64 [B] each."""
        assert isinstance(self.negatives, NegativeSampler)
        drawn = self.negatives.draw(users.repeat_interleave(_TRIALS), self.generator).view(-1, _TRIALS)
        scores = self.parameters.scores(users, torch.cat([better[:, None], drawn], dim=1))
        first = (scores[:, 1:] > scores[:, :1] - 1).int().argmax(dim=1)
        return drawn.gather(1, first[:, None])[:, 0], first + 1
