"""Uniform negatives: items that a user has not taken, exactly, without a loop."""

from __future__ import annotations

import numpy as np
import torch

from recgan.dataset.split import Pairs
from recgan.recommenders.data import UserRows

__all__ = ["NegativeSampler"]


class NegativeSampler:
    """Draws for each user an item of a pool, uniformly among those that are not among the user's known positives.

    Nothing is drawn and thrown away: the r-th item that a user has *not* taken is found directly. With the taken
    items sorted, t_0 < t_1 < …, it is r + #{s: t_s - s <= r}; the values t_s - s ascend within a user, so one sorted
    array of (user, t_s - s) keys and one binary search a draw answer for all users at once.
    """

    def __init__(self, known: Pairs, n_users: int, pool: np.ndarray, device: torch.device | str = "cpu") -> None:
        """Prepare for drawing.

        Args:
            known: pairs that must never be drawn.
            n_users: number of users.
            pool: bool [n_items], the items that may be drawn.
            device: where the draws are made.
        """
        place = np.cumsum(pool) - 1
        inside = pool[known.items]
        rows = UserRows.of(Pairs(known.users[inside], place[known.items[inside]]), n_users)
        counts = np.diff(rows.indptr)
        users = np.repeat(np.arange(n_users), counts)
        self._stride = int(pool.sum()) + 1
        shifted = rows.items - (np.arange(len(users)) - rows.indptr[users])
        self._keys = torch.from_numpy(users * self._stride + shifted).to(device)
        self._before = torch.from_numpy(rows.indptr[:-1]).to(device)
        self._pool = torch.from_numpy(np.flatnonzero(pool)).to(device)
        self.free = torch.from_numpy(int(pool.sum()) - counts).to(device)
        """Number of items each user may be given, int64 [n_users]."""

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return one item for each entry of ``users`` int64 [B]; every such user must have a ``free`` item."""
        free = self.free[users]
        # 62 random bits modulo the number of free items: even for ten million items the bias is under 1e-11.
        rank = torch.randint(0, 1 << 62, users.shape, generator=generator, device=users.device) % free
        passed = torch.searchsorted(self._keys, users * self._stride + rank, right=True) - self._before[users]
        return self._pool[rank + passed]
