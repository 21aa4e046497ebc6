"""The trainer of models that learn to see: users' factors on Phi(image), and Phi itself, from pixels.

Phi is a trunk and a head, which is a linear layer. A pretrained trunk first stands still, while users and head learn
from what it sees, looked at once; then all move. Moved from the start, it would forget what it knows for the sake of
users who know nothing yet (Kumar et al., ICLR 2022).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import torch

from recgan.config import DVBPRSettings
from recgan.dataset.pixels import to_float
from recgan.device import torch_threads
from recgan.encoders import Encoder, embed_pixels
from recgan.errors import DataError, TrainingError
from recgan.progress import Progress
from recgan.recommenders.data import ItemImages, TrainingData, concatenated
from recgan.recommenders.training.checkpoint import Checkpoints, identity
from recgan.recommenders.training.losses import pairwise_loss, sampled_softmax_loss, warp_loss
from recgan.recommenders.training.sampler import InBatchNegatives, NegativeSampler, popularity_weights
from recgan.recommenders.training.seeing import LearnedToSee, SeeingParameters
from recgan.recommenders.training.validation import Validation
from recgan.resume import interrupts

__all__ = ["EndToEndTrainer", "see_all"]

_AHEAD = 2
_BLOCK = 64
_RESIDENT = 0.25
"""Share of a GPU's free memory that the catalogue's pixels may take."""


@dataclass
class _Reached:
    """How far a training is: so many whole epochs, and so many steps of the next one."""

    best: LearnedToSee
    best_network: dict[str, torch.Tensor]
    best_value: float = -np.inf
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    steps: int = 0
    """Of all epochs."""
    total: float = 0.0
    """Sum of the losses of the epoch under way."""
    loss: float = np.nan
    """Mean of the last whole epoch."""
    images_seen: int = 0
    seconds: float = 0.0


_COUNTERS = [one.name for one in fields(_Reached) if not one.name.startswith("best")] + ["best_value", "best_epoch"]


@dataclass(frozen=True)
class _Step:
    """What one step learns from: places point into ``rows``, the items that it looks at, each once."""

    users: torch.Tensor
    taken: tuple[torch.Tensor, torch.Tensor]
    rows: torch.Tensor
    worse: torch.Tensor | None = None
    known: tuple[torch.Tensor, torch.Tensor] | None = None
    log_weights: torch.Tensor | None = None


def see_all(encoder: Encoder, images: ItemImages, progress: Progress) -> np.ndarray:
    """Return the features of every item's image, float32 [n_items, dim]; zeros where an item has none."""
    out = np.zeros((len(images.rows), encoder.dim), dtype=np.float32)
    pictured = np.flatnonzero(images.rows >= 0)
    encoder.body.eval()
    for start in range(0, len(pictured), _BLOCK * 8):
        chosen = pictured[start : start + _BLOCK * 8]
        with torch.autocast("cuda", torch.bfloat16, enabled=_on_gpu(encoder)):
            out[chosen] = embed_pixels(encoder, images.of(chosen), batch_size=_BLOCK)
        progress("looking at all items", start + len(chosen), len(pictured))
    return out


class EndToEndTrainer:
    """Epochs over all pairs; a step looks at each of its items once."""

    def __init__(
        self,
        data: TrainingData,
        images: ItemImages,
        encoder: Encoder,
        looked: np.ndarray | None,
        bias: np.ndarray,
        settings: DVBPRSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        """Prepare.

        Args:
            data: what is learned from.
            images: its pictures.
            encoder: Phi, on ``device``, its body being trunk and head; trained in place.
            looked: float32 [n_items, width] what a pretrained trunk sees of all items; None: it starts from nothing,
                and never stands still.
            bias: float32 [n_items] where the items' biases start; they stay there if the model has none.
            settings: the model's.
            seed: of users' start, order, negatives and dropout.
            device: where the arithmetic is done.

        Raises:
            DataError: no user has an item that could be a negative.
        """
        self.data, self.images, self.encoder, self.settings, self.device = data, images, encoder, settings, device
        self.generator = torch.Generator().manual_seed(seed)
        self.eye = encoder.tuned_from or encoder.name
        known = concatenated(data.train, data.withheld)
        # What has no picture cannot be learned from, and what nobody took has nothing against it.
        usable = (data.item_counts > 0) & (images.rows >= 0)
        counts = np.where(usable, data.item_counts, 0)
        self.sampler = NegativeSampler(known, data.n_users, popularity_weights(counts, 0))
        self.in_batch = InBatchNegatives(known, data.n_users, counts)
        trainable = usable[data.train.items] & (self.sampler.free.numpy()[data.train.users] > 0)
        if not trainable.any():
            raise DataError(
                "no user has both an item with a picture and one that could stand against it; use more items"
            )
        self.users = torch.from_numpy(data.train.users[trainable])
        self.items = torch.from_numpy(data.train.items[trainable])
        self.parameters = SeeingParameters(data.n_users, encoder, bias, settings, looked is not None, self.generator)
        self.frozen_epochs = settings.frozen_epochs if looked is not None else 0
        self.seen: torch.Tensor | None = None
        """What the trunk sees of all items, while it stands still."""
        if looked is not None and self.frozen_epochs:
            self.seen = torch.from_numpy(looked).to(device)
        self.epoch_start = self.generator.get_state()
        self.dropout: dict[str, torch.Tensor] = {}
        """Where dropout's generators were within an epoch that is gone on with: ``dropout`` and ``dropout.cuda``."""
        self.resident = self._resident()

    def run(
        self, validation: Validation, progress: Progress, checkpoints: Checkpoints | None = None
    ) -> tuple[LearnedToSee, dict[str, float]]:
        """Train until validation has stopped rising; the encoder is left as it was in the best epoch.

        With ``checkpoints``, which are under way, it goes on from what they hold, and keeps itself there: from time to
        time, and on Ctrl-C or SIGTERM after the step, or after the look at all items.

        Returns:
            The best epoch's parameters, and figures of the training.

        Raises:
            TrainingError: the loss is not finite.
            KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; the message says how to go on.
        """
        reached = _Reached(self._learned(progress), self.parameters.network_state())
        if checkpoints is not None and (state := checkpoints.begin(self._identity())) is not None:
            self._restore(state, reached)
        with interrupts() if checkpoints else nullcontext() as interrupted:

            def keep() -> None:
                if checkpoints is None or interrupted is None:
                    return
                stopped, finished = interrupted.is_set(), checkpoints.keep_finished and self._over(reached)
                if stopped or finished or checkpoints.due:
                    checkpoints.save(reached.steps, self._state(reached))
                if stopped:
                    where = f"in epoch {reached.epoch + 1}" if reached.step else f"after epoch {reached.epoch}"
                    raise KeyboardInterrupt(
                        f"stopped {where} of at most {self.settings.epochs}; go on with --resume "
                        f"(the training is kept in '{checkpoints.folder}')"
                    )

            while not self._over(reached):
                if reached.epoch >= self.frozen_epochs:
                    self.seen = None
                    self.parameters.move_all()
                self._epoch(reached, progress, keep)
                self._judge(reached, validation, progress)
                keep()
        self.encoder.body.load_state_dict(reached.best_network)
        self.encoder.body.requires_grad_(False).eval()
        speed = reached.images_seen / max(reached.seconds, 1e-9)
        metrics = {"epochs": reached.epoch, "loss": reached.loss, "images_per_second": speed}
        if np.isfinite(reached.best_value):
            metrics |= {"best_epoch": reached.best_epoch, validation.metric: reached.best_value}
        return reached.best, metrics

    def _over(self, reached: _Reached) -> bool:
        s = self.settings
        waited = reached.epoch - reached.best_epoch >= s.patience and reached.epoch > self.frozen_epochs
        return reached.epoch >= s.epochs or waited

    def _judge(self, reached: _Reached, validation: Validation, progress: Progress) -> None:
        learned = self._learned(progress)
        value = validation(learned.users, learned.items)
        note = f"loss {reached.loss:.4f}, {validation.told(value)}"
        progress("training dvbpr", reached.epoch, self.settings.epochs, note)
        if not value <= reached.best_value:  # also without validation pairs, where it is NaN: the last epoch is kept
            reached.best, reached.best_network = learned, self.parameters.network_state()
            reached.best_value, reached.best_epoch = value, reached.epoch

    def _learned(self, progress: Progress) -> LearnedToSee:
        if self.seen is None:
            looks = see_all(self.encoder, self.images, progress)
        else:
            with torch.inference_mode():
                looks = self.parameters.head(self.seen).cpu().numpy()
            looks[self.images.rows < 0] = 0
        return self.parameters.learned(looks)

    # ---- what a training goes on from

    def _identity(self) -> dict[str, Any]:
        seen = {"encoder": self.eye, "size": self.images.size, "transform": self.images.transform}
        seed = self.generator.initial_seed()
        return identity("dvbpr", self.settings, seed, self.device.type, self.data, seen)

    def _state(self, reached: _Reached) -> dict[str, np.ndarray]:
        arrays = self.parameters.state(reached.best, reached.best_network)
        generator = self.epoch_start if reached.step else self.generator.get_state()
        arrays |= {"generator": generator.numpy(), "dropout": torch.get_rng_state().numpy()}
        if self.device.type == "cuda":
            arrays["dropout.cuda"] = torch.cuda.get_rng_state(self.device).numpy()
        arrays["counters"] = np.array([float(getattr(reached, name)) for name in _COUNTERS])
        return arrays

    def _restore(self, state: Mapping[str, np.ndarray], reached: _Reached) -> None:
        for name, value in zip(_COUNTERS, state["counters"].tolist()):
            setattr(reached, name, type(getattr(reached, name))(value))
        reached.best, reached.best_network = self.parameters.restore(state)
        self.generator.set_state(torch.from_numpy(state["generator"]))
        self.dropout = {name: torch.tensor(state[name]) for name in ("dropout", "dropout.cuda") if name in state}

    # ---- an epoch

    def _epoch(self, reached: _Reached, progress: Progress, keep: Callable[[], None]) -> None:
        """Do what is left of the epoch under way, letting it be kept after each step."""
        frozen = self.seen is not None
        self.encoder.body.requires_grad_(not frozen).train(not frozen)
        self.parameters.head.requires_grad_(True)
        self.epoch_start = self.generator.get_state()
        # Dropout draws from torch's own generator.
        with torch.random.fork_rng(), torch_threads():
            torch.manual_seed(int(torch.randint(1 << 62, (), generator=self.generator)))
            steps = islice(self._steps(), reached.step, None)
            if reached.step:
                torch.set_rng_state(self.dropout["dropout"])
                if "dropout.cuda" in self.dropout:
                    torch.cuda.set_rng_state(self.dropout["dropout.cuda"], self.device)
            before = time.perf_counter()
            for step, pixels in self._fetched(steps, not frozen):
                reached.total += self._learn(step, pixels)
                reached.step, reached.steps = reached.step + 1, reached.steps + 1
                reached.images_seen += 0 if frozen else len(step.rows)
                reached.seconds += time.perf_counter() - before
                done = min(reached.step * self.settings.batch_size, len(self.users))
                if not frozen:
                    note = f"loss {reached.total / done:.4f}"
                    progress(f"epoch {reached.epoch + 1}: learning from pictures", done, len(self.users), note)
                keep()
                before = time.perf_counter()
        reached.loss = reached.total / len(self.users)
        reached.epoch, reached.step, reached.total = reached.epoch + 1, 0, 0.0
        if not np.isfinite(reached.loss):
            raise TrainingError(f"dvbpr: the loss is not finite in epoch {reached.epoch}; lower learning_rate")

    def _steps(self) -> Iterator[_Step]:
        order = torch.randperm(len(self.users), generator=self.generator)
        for places in order.split(self.settings.batch_size):
            users, items = self.users[places], self.items[places]
            if self.settings.loss == "bpr":
                others = self.sampler.draw(users, self.generator)
                rows, inverse = torch.unique(torch.cat([items, others]), return_inverse=True)
                pair = torch.arange(len(users))
                yield _Step(users, (pair, inverse[: len(users)]), rows, worse=inverse[len(users) :])
            else:
                batch = self.in_batch.batch(users, items)
                yield _Step(batch.users, batch.taken, batch.items, known=batch.known, log_weights=batch.log_weights)

    def _fetched(
        self, steps: Iterator[_Step], needed: bool
    ) -> Iterator[tuple[_Step, np.ndarray | torch.Tensor | None]]:
        """Yield each step with its pixels, which are read while the steps before it are computed."""
        if not needed or self.resident is not None:
            for step in steps:
                yield step, self.resident[self._rows_of_images(step)] if needed and self.resident is not None else None
            return
        with ThreadPoolExecutor(1) as reader:
            waiting: list[tuple[_Step, Future[np.ndarray]]] = []
            while True:
                for step in islice(steps, _AHEAD + 1 - len(waiting)):
                    waiting.append((step, reader.submit(self.images.of, step.rows.numpy())))
                if not waiting:
                    return
                step, pixels = waiting.pop(0)
                yield step, pixels.result()

    def _rows_of_images(self, step: _Step) -> torch.Tensor:
        return torch.from_numpy(self.images.rows[step.rows.numpy()]).to(self.device)

    def _resident(self) -> torch.Tensor | None:
        """Return the catalogue's pixels on the GPU where they fit."""
        if self.device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(self.device)
        return (
            torch.tensor(np.asarray(self.images.pixels)).to(self.device)
            if self.images.pixels.nbytes < free * _RESIDENT
            else None
        )

    # ---- a step

    def _learn(self, step: _Step, pixels: np.ndarray | torch.Tensor | None) -> float:
        rows, users = step.rows.to(self.device), step.users.to(self.device)
        if self.seen is not None:
            looks = self.parameters.head(self.seen[rows])
        else:
            assert pixels is not None
            with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
                looks = self.encoder(to_float(pixels, self.device)).float()
        losses, to_users, to_items = self._loss(step, *self.parameters.factors(users, rows, looks))
        self.parameters.step(users, rows, looks, to_users, to_items)
        return float(losses.sum())

    def _loss(
        self, step: _Step, users: torch.Tensor, items: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return losses [B] and the gradients of their sum to the users' [U, D] and the items' [M, D] factors."""
        taken = (step.taken[0].to(self.device), step.taken[1].to(self.device))
        if step.worse is not None:
            worse = step.worse.to(self.device)
            losses, to_users, to_differences = pairwise_loss(users, items[taken[1]] - items[worse])
            to_items = torch.zeros_like(items).index_add_(0, taken[1], to_differences)
            return losses, to_users, to_items.index_add_(0, worse, -to_differences)
        assert step.known is not None
        assert step.log_weights is not None
        known = (step.known[0].to(self.device), step.known[1].to(self.device))
        if self.settings.loss == "ssm":
            return sampled_softmax_loss(users, items, taken, known, step.log_weights.to(self.device))
        return warp_loss(users, items, taken, known, self.data.n_items)


def _on_gpu(encoder: Encoder) -> bool:
    return next(encoder.buffers()).device.type == "cuda"
