"""The step of the pairwise losses on a CPU, compiled: each row of a batch passes through the cache twice, not a dozen
times as with one tensor operation after another.

Import it where a training begins, not with the package: that takes a second, or some where nothing is compiled yet.
What is compiled is kept beside this file or, where that is read-only, in the user's cache folder (NUMBA_CACHE_DIR names
another).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

__all__ = ["pairwise_step"]

_EPSILON = np.float32(1e-16)
_ZERO, _ONE = np.float32(0), np.float32(1)
_VECTOR, _MATRIX, _ROWS = "float32[::1]", "float32[:, ::1]", "int64[::1]"
_SIGNATURE = (
    f"float64({', '.join([_ROWS] * 3 + [_VECTOR, _MATRIX] + [_MATRIX, _MATRIX, _VECTOR, _VECTOR] * 2 + [_VECTOR])})"
)


def _compiled(*signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile, at once if there is a signature. One thread, so that a seed gives the same bits.

    The flags allow sums in lanes and 1/sqrt by the processor's estimate with a Newton step, as a vector unit needs
    them; NaN and infinities stay what they are.
    """
    jit: Any = njit  # whose types take no options from a mapping
    options = {"fastmath": {"reassoc", "contract", "nsz", "arcp", "afn"}, "error_model": "numpy", "nogil": True}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return jit(*signature, cache=True, **options)(function)
        except RuntimeError:  # there is no folder that it may write to: it is compiled in each process
            return jit(*signature, **options)(function)

    return decorate


@_compiled(_SIGNATURE)
def pairwise_step(
    users: np.ndarray,
    better: np.ndarray,
    worse: np.ndarray,
    weights: np.ndarray,
    visual: np.ndarray,
    user_table: np.ndarray,
    user_squares: np.ndarray,
    user_rates: np.ndarray,
    user_pulls: np.ndarray,
    item_table: np.ndarray,
    item_squares: np.ndarray,
    item_rates: np.ndarray,
    item_pulls: np.ndarray,
    prior: np.ndarray,
) -> float:
    """Do one step of Adagrad on a batch of triples, in place, and return the sum of their losses.

    All slopes are those of the values before the step, and all squares of a row are added before it moves, however
    often it is in the batch.

    Args:
        users: int64 [B], rows of ``user_table``.
        better: int64 [B], rows of ``item_table``: the items taken.
        worse: int64 [B], the items not taken.
        weights: float32 [B], of the hinges of `ranked_hinge_loss`; [0]: the loss is that of `pairwise_loss`.
        visual: float32 [B, V], what the features' difference adds to the last V - 1 factors and the bias, which comes
            first; afterwards the gradients of the losses to it. V is 0 without features.
        user_table: float32 [n_users, L + max(V, 1)]: g_u, 1, t_u.
        user_squares: of that shape, the sums of squared gradients.
        user_rates: float32, a learning rate a column.
        user_pulls: float32, L2 a column.
        item_table: float32 [n_items, L + 1]: g_i, b_i.
        item_squares: as those of the users.
        item_rates: as those of the users.
        item_pulls: as those of the users.
        prior: float32 [n_items], what the biases are pulled towards.
    """
    count, width, own, latent = len(users), user_table.shape[1], item_table.shape[1], item_table.shape[1] - 1
    to_user = np.empty((count, width), np.float32)
    to_item = np.empty((2, count, own), np.float32)
    difference = np.zeros(width, np.float32)
    total: Any = 0.0
    # Loops over few arrays each: those are the ones that are turned into vector instructions.
    for b in range(count):
        u, i, j = users[b], better[b], worse[b]
        for d in range(own):
            difference[d] = item_table[i, d] - item_table[j, d]
        if visual.shape[1]:
            difference[latent] += visual[b, 0]
        for d in range(1, visual.shape[1]):
            difference[latent + d] = visual[b, d]
        margin = _ZERO
        for d in range(width):
            margin += user_table[u, d] * difference[d]
        if len(weights):
            hinge = _ONE - margin
            slope = -weights[b] if hinge > 0 else _ZERO
            if not hinge <= 0:  # also NaN, which must be seen
                total += weights[b] * hinge
        else:
            small = np.float32(math.exp(-abs(margin)))
            slope = -(small if margin > 0 else _ONE) / (_ONE + small)
            total += math.log1p(small) + (_ZERO if margin > 0 else -margin)
        for d in range(width):
            to_user[b, d] = slope * difference[d] + user_pulls[d] * user_table[u, d]
        for d in range(latent):
            to_item[0, b, d] = item_pulls[d] * item_table[i, d] + slope * user_table[u, d]
        for d in range(latent):
            to_item[1, b, d] = item_pulls[d] * item_table[j, d] - slope * user_table[u, d]
        # The difference first: what rounding left of two products would be a whole step where there is nothing else.
        to_item[0, b, latent] = item_pulls[latent] * (item_table[i, latent] - prior[i]) + slope
        to_item[1, b, latent] = item_pulls[latent] * (item_table[j, latent] - prior[j]) - slope
        for d in range(visual.shape[1]):
            visual[b, d] = slope * user_table[u, latent + d]
        for d in range(width):
            user_squares[u, d] += to_user[b, d] * to_user[b, d]
        for d in range(own):
            item_squares[i, d] += to_item[0, b, d] * to_item[0, b, d]
        for d in range(own):
            item_squares[j, d] += to_item[1, b, d] * to_item[1, b, d]
    for b in range(count):
        u, i, j = users[b], better[b], worse[b]
        for d in range(width):
            user_table[u, d] -= user_rates[d] * to_user[b, d] / np.float32(math.sqrt(user_squares[u, d] + _EPSILON))
        for d in range(own):
            item_table[i, d] -= item_rates[d] * to_item[0, b, d] / np.float32(math.sqrt(item_squares[i, d] + _EPSILON))
        for d in range(own):
            item_table[j, d] -= item_rates[d] * to_item[1, b, d] / np.float32(math.sqrt(item_squares[j, d] + _EPSILON))
    return total
