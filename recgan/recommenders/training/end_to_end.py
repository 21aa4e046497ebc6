"""The trainer of models that learn to see: users' factors on Phi(image), and Phi itself, from pixels.

Phi is a trunk and a head, which is a linear layer. A pretrained trunk first stands still, while users and head learn
from what it sees, looked at once; then all move. Moved from the start, it would forget what it knows for the sake of
users who know nothing yet (Kumar et al., ICLR 2022).
"""

from __future__ import annotations

import copy
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
from recgan.recommenders.training.validation import Validation
from recgan.resume import interrupts

__all__ = ["EndToEndTrainer", "LearnedToSee", "see_all"]

_AHEAD = 2
_BLOCK = 64
_RESIDENT = 0.25
"""Share of a GPU's free memory that the catalogue's pixels may take."""


@dataclass(frozen=True, eq=False)
class LearnedToSee:
    """The parameters of the best epoch; the network is in the encoder that was trained."""

    users: np.ndarray
    """float32 [n_users, 1 + dim]: 1, t_u."""
    items: np.ndarray
    """float32 [n_items, 1 + dim]: b_i + b'.Phi, Phi."""
    visual_bias: np.ndarray
    """float32 [dim]: b'; zeros where items have no bias."""


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
    """Adam on the network, its lazy sparse kind on users and biases; a step looks at each of its items once."""

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
        # Kang et al. as released: t_u ~ U(0, 0.01).
        start = torch.rand(data.n_users, encoder.dim, generator=self.generator) * 0.01
        self.user_table = start.to(device).requires_grad_(True)
        self.bias = torch.from_numpy(bias).to(device).requires_grad_(True)
        self.prior = self.bias.detach().clone()
        tables = [self.user_table, *([self.bias] if settings.item_bias else [])]
        self.table_optimiser = torch.optim.SparseAdam(tables, lr=settings.factor_learning_rate)
        self.visual_bias = torch.zeros(encoder.dim, device=device)
        trunk, self.head = encoder.body.children()
        self.parameters = [*trunk.parameters(), *self.head.parameters()]
        self.anchors = None if looked is None else [parameter.detach().clone() for parameter in self.parameters]
        self.network_optimiser = torch.optim.Adam(
            [
                {"params": list(trunk.parameters()), "lr": settings.learning_rate},
                {"params": list(self.head.parameters()), "lr": settings.head_learning_rate},
                {"params": [self.visual_bias], "lr": settings.head_learning_rate},
            ]
        )
        self.frozen_epochs = settings.frozen_epochs if looked is not None else 0
        self.seen: torch.Tensor | None = None
        """What the trunk sees of all items, while it stands still."""
        if looked is not None and self.frozen_epochs:
            self.seen = torch.from_numpy(looked).to(device)
        self.epoch_start = self.generator.get_state()
        self.dropout: dict[str, torch.Tensor] = {}
        """Where dropout's generators were within an epoch that is gone on with, by the device ("" is the CPU)."""
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
        reached = _Reached(self._learned(progress), self._network())
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
                    self._move_all()
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
            reached.best, reached.best_network = learned, self._network()
            reached.best_value, reached.best_epoch = value, reached.epoch

    def _move_all(self) -> None:
        """From now on the network moves as a whole; a pretrained one with its head, at one rate."""
        self.seen = None
        if self.anchors is not None:
            for group in self.network_optimiser.param_groups:
                group["lr"] = self.settings.learning_rate

    def _network(self) -> dict[str, torch.Tensor]:
        return copy.deepcopy(self.encoder.body.state_dict())

    def _learned(self, progress: Progress) -> LearnedToSee:
        if self.seen is None:
            looks = see_all(self.encoder, self.images, progress)
        else:
            with torch.inference_mode():
                looks = self.head(self.seen).cpu().numpy()
            looks[self.images.rows < 0] = 0
        users, bias = self.user_table.detach().cpu().numpy(), self.bias.detach().cpu().numpy()
        visual_bias = self.visual_bias.cpu().numpy().copy()
        items = np.concatenate([(bias + looks @ visual_bias)[:, None], looks], axis=1)
        return LearnedToSee(np.concatenate([np.ones_like(users[:, :1]), users], axis=1), items, visual_bias)

    # ---- what a training goes on from

    def _identity(self) -> dict[str, Any]:
        seen = {"encoder": self.eye, "size": self.images.size, "transform": self.images.transform}
        seed = self.generator.initial_seed()
        return identity("dvbpr", self.settings, seed, self.device.type, self.data, seen)

    @property
    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"tables": self.table_optimiser, "network": self.network_optimiser}

    def _state(self, reached: _Reached) -> dict[str, np.ndarray]:
        """Return all that the next steps depend on."""
        state = {
            "user_table": self.user_table.detach(),
            "bias": self.bias.detach(),
            "visual_bias": self.visual_bias,
            "generator": self.epoch_start if reached.step else self.generator.get_state(),
            "dropout": torch.get_rng_state(),
            **{f"network.{name}": value for name, value in self.encoder.body.state_dict().items()},
            **{f"best_network.{name}": value for name, value in reached.best_network.items()},
        }
        if self.device.type == "cuda":
            state["dropout.cuda"] = torch.cuda.get_rng_state(self.device)
        arrays = {name: np.ascontiguousarray(value.cpu().numpy()) for name, value in state.items()}
        for name, optimiser in self._optimisers.items():
            for place, of_one in optimiser.state_dict()["state"].items():
                for key, value in of_one.items():
                    array = value.cpu().numpy() if isinstance(value, torch.Tensor) else np.array(value)
                    arrays[f"optimiser.{name}.{place}.{key}"] = np.ascontiguousarray(array)
        arrays |= {f"best.{one.name}": getattr(reached.best, one.name) for one in fields(LearnedToSee)}
        arrays["counters"] = np.array([float(getattr(reached, name)) for name in _COUNTERS])
        return arrays

    def _restore(self, state: Mapping[str, np.ndarray], reached: _Reached) -> None:
        for name, value in zip(_COUNTERS, state["counters"].tolist()):
            setattr(reached, name, type(getattr(reached, name))(value))
        reached.best = LearnedToSee(**{one.name: state[f"best.{one.name}"] for one in fields(LearnedToSee)})
        reached.best_network = _under(state, "best_network.")
        with torch.no_grad():
            self.encoder.body.load_state_dict(_under(state, "network."))
            for name in ("user_table", "bias", "visual_bias"):
                getattr(self, name).copy_(torch.from_numpy(state[name]))
        for name, optimiser in self._optimisers.items():
            parameters = [one for group in optimiser.param_groups for one in group["params"]]
            for key, value in _under(state, f"optimiser.{name}.").items():
                place, what = key.split(".")
                parameter = parameters[int(place)]
                optimiser.state[parameter][what] = _steps(value) if what == "step" else _like(parameter, value)
        self.generator.set_state(torch.from_numpy(state["generator"]))
        self.dropout = _under(state, "dropout")

    # ---- an epoch

    def _epoch(self, reached: _Reached, progress: Progress, keep: Callable[[], None]) -> None:
        """Do what is left of the epoch under way, letting it be kept after each step."""
        frozen = self.seen is not None
        self.encoder.body.requires_grad_(not frozen).train(not frozen)
        self.head.requires_grad_(True)
        self.epoch_start = self.generator.get_state()
        # Dropout draws from torch's own generator.
        with torch.random.fork_rng(), torch_threads():
            torch.manual_seed(int(torch.randint(1 << 62, (), generator=self.generator)))
            steps = islice(self._steps(), reached.step, None)
            if reached.step:
                torch.set_rng_state(self.dropout[""])
                if ".cuda" in self.dropout:
                    torch.cuda.set_rng_state(self.dropout[".cuda"], self.device)
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
        s = self.settings
        rows, user_rows = step.rows.to(self.device), step.users.to(self.device)
        if self.seen is not None:
            looks = self.head(self.seen[rows])
        else:
            assert pixels is not None
            with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
                looks = self.encoder(to_float(pixels, self.device)).float()
        users, seen = self.user_table.detach()[user_rows], looks.detach()
        with_one = torch.cat([torch.ones_like(users[:, :1]), users], dim=1)
        bias = self.bias.detach()[rows]
        items = torch.cat([(bias + seen @ self.visual_bias)[:, None], seen], dim=1)
        losses, to_users, to_items = self._loss(step, with_one, items)
        to_bias = to_items[:, 0]
        self.table_optimiser.zero_grad()
        self.network_optimiser.zero_grad()
        self.user_table.grad = _sparse(user_rows, to_users[:, 1:] + s.user_regularisation * users, self.user_table)
        if s.item_bias:
            self.bias.grad = _sparse(rows, to_bias + s.bias_regularisation * (bias - self.prior[rows]), self.bias)
            self.visual_bias.grad = to_bias @ seen
        self.table_optimiser.step()
        if looks.requires_grad:
            looks.backward(to_items[:, 1:] + torch.outer(to_bias, self.visual_bias))
        for place, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                away = parameter.detach() - self.anchors[place] if self.anchors else parameter.detach()
                parameter.grad.add_(away, alpha=s.network_regularisation)
        self.network_optimiser.step()
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


def _sparse(rows: torch.Tensor, values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a table that is 0 but in ``rows``; rows that come twice are summed."""
    return torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=False).coalesce()


def _under(state: Mapping[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    """Return what is named after ``prefix``, by the rest of its name."""
    return {name.removeprefix(prefix): torch.tensor(a) for name, a in state.items() if name.startswith(prefix)}


def _like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return what an optimiser remembers of a parameter, laid out as the parameter is."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _steps(value: torch.Tensor) -> torch.Tensor | int:
    """Return an optimiser's count of steps, a tensor of a float or a plain number as it was."""
    return value.reshape(()) if value.is_floating_point() else int(value)


def _on_gpu(encoder: Encoder) -> bool:
    return next(encoder.buffers()).device.type == "cuda"
