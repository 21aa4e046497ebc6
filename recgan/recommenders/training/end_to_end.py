"""The trainer of models that learn to see: users' factors on Phi(image), and Phi itself, from pixels.

Phi is a trunk and a head, which is a linear layer. A pretrained trunk first stands still, while users and head learn
from what it sees, looked at once; then all move. Moved from the start, it would forget what it knows for the sake of
users who know nothing yet (Kumar et al., ICLR 2022).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from recgan.config import DVBPRSettings
from recgan.dataset.pixels import to_float
from recgan.device import torch_threads
from recgan.encoders import Encoder, embed_pixels
from recgan.errors import DataError, TrainingError
from recgan.progress import Progress
from recgan.recommenders.data import ItemImages, TrainingData, concatenated
from recgan.recommenders.training.losses import pairwise_loss, sampled_softmax_loss, warp_loss
from recgan.recommenders.training.sampler import InBatchNegatives, NegativeSampler, popularity_weights
from recgan.recommenders.training.validation import Validation

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
        self.images_seen, self.seconds = 0, 0.0
        self.resident = self._resident()

    def run(self, validation: Validation, progress: Progress) -> tuple[LearnedToSee, dict[str, float]]:
        """Train until validation has stopped rising; the encoder is left as it was in the best epoch.

        Returns:
            The best epoch's parameters, and figures of the training.

        Raises:
            TrainingError: the loss is not finite.
        """
        s = self.settings
        best_value, best_epoch, kept, network = -np.inf, 0, self._learned(progress), self._network()
        for epoch in range(1, s.epochs + 1):
            if epoch > self.frozen_epochs:
                self._move_all()
            began = time.perf_counter()
            loss = self._epoch(epoch, progress)
            self.seconds += time.perf_counter() - began
            if not np.isfinite(loss):
                raise TrainingError(f"dvbpr: the loss is not finite in epoch {epoch}; lower learning_rate")
            learned = self._learned(progress)
            value = validation(learned.users, learned.items)
            progress("training dvbpr", epoch, s.epochs, f"loss {loss:.4f}, {validation.told(value)}")
            if not value <= best_value:  # also without validation pairs, where it is NaN: the last epoch is kept
                best_value, best_epoch, kept, network = value, epoch, learned, self._network()
            elif epoch - best_epoch >= s.patience and epoch > self.frozen_epochs:
                break
        self.encoder.body.load_state_dict(network)
        self.encoder.body.requires_grad_(False).eval()
        metrics = {"epochs": epoch, "loss": loss, "images_per_second": self.images_seen / max(self.seconds, 1e-9)}
        if np.isfinite(best_value):
            metrics |= {"best_epoch": best_epoch, validation.metric: best_value}
        return kept, metrics

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

    # ---- an epoch

    def _epoch(self, epoch: int, progress: Progress) -> float:
        frozen = self.seen is not None
        self.encoder.body.requires_grad_(not frozen).train(not frozen)
        self.head.requires_grad_(True)
        total, done = 0.0, 0
        # Dropout draws from torch's own generator.
        with torch.random.fork_rng(), torch_threads():
            torch.manual_seed(int(torch.randint(1 << 62, (), generator=self.generator)))
            for step, pixels in self._fetched(self._steps(), not frozen):
                total += self._learn(step, pixels)
                done += len(step.taken[0])
                if not frozen:
                    progress(
                        f"epoch {epoch}: learning from pictures", done, len(self.users), f"loss {total / done:.4f}"
                    )
        return total / len(self.users)

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
            self.images_seen += len(rows)
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


def _on_gpu(encoder: Encoder) -> bool:
    return next(encoder.buffers()).device.type == "cuda"
