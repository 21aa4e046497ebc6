"""Negatives: items that a user has not taken, exactly, without a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from recgan.dataset.split import Pairs
from recgan.recommenders.data import UserRows

__all__ = ["Batch", "InBatchNegatives", "NegativeSampler", "popularity_weights"]

_WEIGHT_SCALE = 16
_NO_COLUMN = -1


def popularity_weights(counts: np.ndarray, power: float) -> np.ndarray:
    """Return whole-numbered weights int64 [n_items], about proportional to ``counts`` (int [n_items]) to a power.

    Items that nobody took have weight 0. With ``power`` 0 all others have weight 1, with 1 their count.
    """
    taken = counts > 0
    if power in (0, 1):
        return np.where(taken, counts ** int(power), 0)
    return np.where(taken, np.rint(_WEIGHT_SCALE * np.maximum(counts, 1).astype(np.float64) ** power), 0).astype(int)


class NegativeSampler:
    """Draws for each user an item that is not among the user's known positives, in proportion to the items' weights.

    Nothing is drawn and thrown away. Lay the items out in a row, each as long as its weight, and take out those that a
    user has taken: the item at place r of what is left is found directly. If the taken items t_0 < t_1 < … begin at
    b_s and are w_s long, it lies at r + the sum of those w_s for which b_s - (w_0 + … + w_(s-1)) <= r. These values
    ascend within a user, so one sorted array of (user, value) keys and one binary search a draw answer for all users
    at once. Weights are whole numbers, so all of it is exact.
    """

    def __init__(self, known: Pairs, n_users: int, weights: np.ndarray, device: torch.device | str = "cpu") -> None:
        """Prepare for drawing.

        Args:
            known: pairs that must never be drawn.
            n_users: number of users.
            weights: int [n_items]; an item of weight 0 is never drawn.
            device: where the draws are made.
        """
        ends = np.cumsum(weights)
        rows = UserRows.of(known, n_users)
        counts = np.diff(rows.indptr)
        users = np.repeat(np.arange(n_users), counts)
        lengths = np.concatenate([[0], np.cumsum(weights[rows.items])])
        before = lengths[:-1] - lengths[rows.indptr[:-1]][users]  # of the user's own taken items
        self._stride = int(ends[-1]) + 1
        values = (ends - weights)[rows.items] - before
        self._keys = torch.from_numpy(users * self._stride + values).to(device)
        self._lengths = torch.from_numpy(lengths).to(device)
        self._before = torch.from_numpy(lengths[rows.indptr[:-1]]).to(device)
        self._laid_out = torch.from_numpy(np.repeat(np.arange(len(weights), dtype=np.int32), weights)).to(device)
        taken = lengths[rows.indptr[1:]] - lengths[rows.indptr[:-1]]
        self.free = torch.from_numpy(int(ends[-1]) - taken).to(device)
        """Weight of the items each user may be given, int64 [n_users]."""
        self._starts, self._values = rows.indptr, values
        self._compiled: Callable[..., None] | None = None

    def compile(self) -> None:
        """Have the draws made by compiled code, which gives the same; on a CPU only."""
        from recgan.recommenders.training.kernels import draw_negatives

        self._compiled = draw_negatives
        self._keys = torch.empty(0, dtype=torch.int64)

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return one item for each entry of ``users`` int64 [B]; every such user must have something ``free``.

        It is faster for users in ascending order, whose keys lie side by side.
        """
        # 62 random bits modulo what is free: even for ten million items the bias is under 1e-11.
        bits = torch.randint(0, 1 << 62, users.shape, generator=generator, device=users.device)
        if self._compiled is not None:
            tables = (each.numpy() for each in (self._lengths, self._before, self._laid_out))
            out = torch.empty_like(bits)
            own = (self.free.numpy(), self._starts, self._values)
            self._compiled(users.numpy(), bits.numpy(), *own, *tables, out.numpy())
            return out
        place = bits % self.free.index_select(0, users)
        passed = torch.searchsorted(self._keys, users * self._stride + place, right=True)
        place += self._lengths.index_select(0, passed) - self._before.index_select(0, users)
        return self._laid_out.index_select(0, place).long()


class Batch(NamedTuple):
    """Pairs (user, taken item) whose items serve each other's users as negatives."""

    users: torch.Tensor
    """int64 [U], each user of the batch once."""
    items: torch.Tensor
    """int64 [M], each item of the batch once."""
    taken: tuple[torch.Tensor, torch.Tensor]
    """The pairs: (place in ``users``, place in ``items``), int64 [B] each."""
    known: tuple[torch.Tensor, torch.Tensor]
    """All known positives of these users among these items, those of ``taken`` included, in the same form."""
    log_weights: torch.Tensor
    """float32 [M]: log of how often an item is in the batch, over how often it is expected to be."""


class InBatchNegatives:
    """Makes of pairs a `Batch`."""

    def __init__(self, known: Pairs, n_users: int, item_counts: np.ndarray, device: torch.device | str = "cpu") -> None:
        """Prepare.

        Args:
            known: pairs that never count as negatives.
            n_users: number of users.
            item_counts: int [n_items], how often each item is among the pairs that batches are drawn from.
            device: where the batches are made.
        """
        pool = item_counts > 0
        rows = UserRows.of(known.where(pool[known.items]), n_users)
        self._starts = torch.from_numpy(rows.indptr).to(device)
        self._items = torch.from_numpy(rows.items).to(device)
        self._shares = torch.from_numpy((item_counts / item_counts.sum()).astype(np.float32)).to(device)
        self._columns = torch.full((len(item_counts),), _NO_COLUMN, device=device)
        self.free = torch.from_numpy(int(pool.sum()) - np.diff(rows.indptr)).to(device)
        """Number of items that can be each user's negatives, int64 [n_users]."""

    def batch(self, users: torch.Tensor, items: torch.Tensor) -> Batch:
        """Return the batch of the pairs (users[b], items[b]), int64 [B] each."""
        each_user, user_places = torch.unique(users, return_inverse=True)
        each_item, item_places, counts = torch.unique(items, return_inverse=True, return_counts=True)
        starts = self._starts.index_select(0, each_user)
        lengths = self._starts.index_select(0, each_user + 1) - starts
        places = torch.repeat_interleave(lengths)
        steps = torch.arange(len(places), device=users.device) - (lengths.cumsum(0) - lengths).index_select(0, places)
        known = self._items.index_select(0, starts.index_select(0, places) + steps)
        self._columns[each_item] = torch.arange(len(each_item), device=users.device)
        columns = self._columns.index_select(0, known)
        self._columns[each_item] = _NO_COLUMN
        here = columns != _NO_COLUMN
        log_weights = torch.log(counts / (len(items) * self._shares.index_select(0, each_item)))
        return Batch(each_user, each_item, (user_places, item_places), (places[here], columns[here]), log_weights)
