"""What training by pairs does most on a CPU, compiled: the steps, in which each row of a batch passes through the cache
twice, not a dozen times as with one tensor operation after another, and the draw of negatives.

Import it where a training begins, not with the package: that takes a second, or some where nothing is compiled yet.
What is compiled is kept beside this file or, where that is read-only, in the user's cache folder (NUMBA_CACHE_DIR names
another).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["draw_negatives", "pairwise_step", "pairwise_steps"]

_EPSILON = np.float32(1e-16)
_ZERO, _ONE = np.float32(0), np.float32(1)
_AHEAD = 4
"""Triples between the one that is worked on and the one whose rows are fetched: rows lie all over large tables, and
waiting for them would take longer than the arithmetic."""
_LINE = 16
"""float32 values that memory delivers at once."""
_VECTOR, _MATRIX, _ROWS = "float32[::1]", "float32[:, ::1]", "int64[::1]"
_TABLES = ", ".join([_MATRIX, _MATRIX, _VECTOR, _VECTOR] * 2 + [_VECTOR])


def _near(typing_context: Any, table: Any, place: Any) -> Any:
    """Have a value of a table, counted in C order, brought near for being changed soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte = ir.IntType(8).as_pointer()
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # To be written; near for long; data, not code.
        builder.call(function, [address, *(ir.Constant(number, value) for value in (1, 3, 1))])
        return context.get_dummy_value()

    return types.void(table, place), code


_fetch: Any = intrinsic(_near)  # whose types do not tell that the first argument is the compiler's


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


@_compiled(f"float64({_ROWS}, {_ROWS}, {_ROWS}, {_VECTOR}, {_MATRIX}, {_TABLES})")
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
        if b + _AHEAD < count:
            of_user, of_better, of_worse = users[b + _AHEAD] * width, better[b + _AHEAD] * own, worse[b + _AHEAD] * own
            # A row may begin anywhere in a line, so one line more than it is long; at the very end that is no row's.
            for d in range(0, width + _LINE - 1, _LINE):
                _fetch(user_table, of_user + d)
                _fetch(user_squares, of_user + d)
            for d in range(0, own + _LINE - 1, _LINE):
                _fetch(item_table, of_better + d)
                _fetch(item_squares, of_better + d)
                _fetch(item_table, of_worse + d)
                _fetch(item_squares, of_worse + d)
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


@_compiled(f"float64({_ROWS}, {_ROWS}, {_ROWS}, int64, {_TABLES})")
def pairwise_steps(
    users: np.ndarray,
    better: np.ndarray,
    worse: np.ndarray,
    batch_size: int,
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
    """Do `pairwise_step` by `pairwise_loss`, without features, on one batch of triples after the other."""
    nothing, unseen = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    total: Any = 0.0
    for start in range(0, len(users), batch_size):
        stop = start + batch_size
        total += pairwise_step(
            users[start:stop],
            better[start:stop],
            worse[start:stop],
            nothing,
            unseen,
            user_table,
            user_squares,
            user_rates,
            user_pulls,
            item_table,
            item_squares,
            item_rates,
            item_pulls,
            prior,
        )
    return total


@_compiled(f"void({', '.join([_ROWS] * 7)}, int32[::1], {_ROWS})")
def draw_negatives(
    users: np.ndarray,
    bits: np.ndarray,
    free: np.ndarray,
    starts: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    before: np.ndarray,
    laid_out: np.ndarray,
    out: np.ndarray,
) -> None:
    """Find what `NegativeSampler.draw` gives, from its tables.

    Args:
        users: int64 [B].
        bits: int64 [B], random and not negative.
        free: int64 [n_users].
        starts: int64 [n_users + 1], where each user's taken items begin among all.
        values: int64 [n], of each taken item the place from which on it is passed.
        lengths: int64 [n + 1], the weights of the taken items added up.
        before: int64 [n_users], what of that lies before the user's own.
        laid_out: int32, the items, each as often as its weight.
        out: int64 [B], takes the items.
    """
    for b in range(len(users)):
        user = users[b]
        place = bits[b] % free[user]
        low, high = starts[user], starts[user + 1]
        while low < high:
            middle = (low + high) >> 1
            if values[middle] <= place:
                low = middle + 1
            else:
                high = middle
        out[b] = laid_out[place + lengths[low] - before[user]]
