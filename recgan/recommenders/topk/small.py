"""The screen for small requests: all items in 8-bit numbers, packed once and kept.

A request for one user reads the whole catalogue once, and that is what it waits for; in 8 bits it is a quarter as much
as in float32. As in `recgan.recommenders.topk.screen` each coarse score comes with a bound on its error, so that what
is left holds the best for sure. Items stay in the catalogue's order, each on a grid of its own, so whatever filter a
request brings is a mask.
"""

from __future__ import annotations

import numpy as np
import torch

from recgan.recommenders.topk.screen import column_balance, fastest_screen, lengths, rounding_error

__all__ = ["SmallScreen"]

_RUN = 64
"""Items next to each other whose largest coarse score, and largest error, stand for them."""
_NARROW = 10
"""Where a request admits a tenth of the items or less, these alone are scored faster."""
_SLICE = 1 << 16
_SAMPLE = 1 << 12
_LOWEST = np.finfo(np.float32).min
_ROOM = 1 + 1e-6
"""What the float32 arithmetic of the coarse scores and of their errors may add to these."""
_LEAST = 2.0**-148
"""What rounding a score to the smallest float32 numbers may add to it, whatever the score."""


class SmallScreen:
    """All items of a catalogue, packed: some D + 4 bytes an item.

    Args:
        item_factors: float32 [I, D], finite.
        vectors: float32 [U, D], users like those that will come, for the scale of each column; answers do not depend
            on them.
    """

    def __init__(self, item_factors: np.ndarray, vectors: np.ndarray) -> None:
        count, self.dim = item_factors.shape
        self.item_factors = item_factors
        some = vectors[:: max(1, len(vectors) // _SAMPLE)]
        self._balance = column_balance(some if len(some) else np.ones_like(item_factors[:1]), item_factors)
        self._runs = -(-count // _RUN)
        self._items = torch.zeros((self._runs * _RUN, self.dim), dtype=torch.int8)
        self._scales = np.zeros(self._runs * _RUN, dtype=np.float32)
        norms, residuals = np.zeros((2, self._runs * _RUN))
        for first in range(0, count, _SLICE):
            part = slice(first, min(first + _SLICE, count))
            values = item_factors[part] / self._balance
            matrix, scales, norms[part], residuals[part] = _rounded(values)
            self._items[part] = torch.from_numpy(matrix)
            self._scales[part] = scales
        self._norms, self._residuals = (each.reshape(-1, _RUN).max(axis=1) for each in (norms, residuals))

    @staticmethod
    def pays() -> bool:
        """Return whether this processor multiplies bytes faster than it reads floats."""
        return fastest_screen() == "int8"

    def suits(self, k: int, admitted: int) -> bool:
        """Return whether the k best are few enough among the items, and those that a request admits so many that it is
        best to look at all."""
        return 0 < k < self._runs and admitted * _NARROW > len(self.item_factors)

    def candidates(
        self, vectors: np.ndarray, k: int, shut: np.ndarray, seen: list[np.ndarray] | None
    ) -> list[np.ndarray]:
        """Return for each user the rows of the items that may be among the k best, int64 [n], ascending; they hold
        the k best for sure.

        Args:
            vectors: float32 [B, D], finite.
            k: such that `suits`.
            shut: bool [I], items to leave out for all.
            seen: and for each user, int64 rows.
        """
        torch.get_num_threads()  # asked for once, a new thread knows the number that was set: `_int_mm` would take all
        users, scales, norms, residuals = _rounded(vectors * self._balance)
        # Not `contiguous`, to which one row or column is in any order: `_int_mm` reads it by its strides, and wrongly.
        matrix = torch.from_numpy(users).T.clone(memory_format=torch.contiguous_format)
        products = torch._int_mm(self._items, matrix).numpy()
        found = []
        for user in range(len(vectors)):
            # In the user's unit, so that nothing but the items' own scales is multiplied.
            scores = products[:, user].astype(np.float32)
            scores *= self._scales
            kept = scores[: len(shut)]
            kept[shut] = -np.inf
            scores[len(shut) :] = -np.inf
            if seen is not None:
                kept[seen[user]] = -np.inf
            error = self._norms * (residuals[user] + rounding_error(self.dim) * norms[user])
            error += self._residuals * (norms[user] + residuals[user])
            error = (error * _ROOM + _LEAST) / np.float64(scales[user])
            runs = scores.reshape(-1, _RUN)
            best = runs.max(axis=1)
            bound = np.partition(best - error, -k)[-k]
            reach = np.maximum(bound - error, _LOWEST).astype(np.float32)
            with np.errstate(over="ignore"):  # below the lowest number there is none
                reach = np.maximum(np.nextafter(reach, np.float32(-np.inf)), _LOWEST)
            here = np.flatnonzero(best >= reach)
            run, place = np.nonzero(runs[here] >= reach[here, None])
            found.append(here[run] * _RUN + place)
        return found


def _rounded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors float32 [N, D] as int8 [N, D], the scale of each float32 [N], and float64 [N] the norms of the
    vectors and of what the rounding took."""
    largest = np.abs(values).max(axis=1, initial=0)
    scales = np.maximum(np.where(largest > 0, largest, 1) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    matrix = np.rint(values / scales[:, None]).astype(np.int8)
    return matrix, scales, lengths(values), lengths(values - scales[:, None].astype(np.float64) * matrix)
