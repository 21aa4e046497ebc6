"""Exact top-k by inner product, for one user or for all: a coarse screen finds what may enter, exact scores settle it.

The score of an item is the float64 inner product rounded to float32, and of equal scores the item that comes first in
the catalogue wins. That is a property of two vectors alone, so the answer depends neither on the number of threads nor
on how users and items are cut into blocks, nor on the precision of the screen.

For many users the catalogue is packed once, and a screen (`recgan.recommenders.topk.screen`) finds the few items that
may enter; only these are scored in float64. For few users, or a small catalogue, everything is scored in float32 first,
unless one who is asked again and again keeps a screen for them (`recgan.recommenders.topk.small`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from recgan.device import available_cores
from recgan.recommenders.data import UserRows, UserValues
from recgan.recommenders.topk.index import check_k
from recgan.recommenders.topk.screen import (
    Packed,
    Screen,
    fastest_screen,
    lengths,
    most_screened,
    positions_in,
    rounding_error,
)
from recgan.recommenders.topk.small import SmallScreen

__all__ = ["Best", "Own", "Seen", "best_blocks", "best_items", "with_own"]

Seen: TypeAlias = Sequence[np.ndarray] | UserRows
"""For each user the rows of items to leave out, int64."""
Own: TypeAlias = Sequence[np.ndarray] | UserValues
"""For each user what is added to the scores of the items of `Seen`, float32: then they are not left out."""

_BLOCK_USERS = 256
_PAIRS = 1 << 16
"""Pairs scored in float64 at a time (64 MB at 64 factors)."""
_DENSE_VALUES = 1 << 23
"""Scores held at a time where users are scored in full (32 MB): users x items is never materialised."""
_RUN = 64
"""Scores next to each other whose largest one stands for them: it is found many times faster than their order."""
_FEW_USERS = 32
"""For fewer users than this, packing the catalogue costs more than it saves."""


@dataclass(frozen=True, eq=False)
class Best:
    """The best items of a block of users."""

    start: int
    """Position of the block's first user."""
    rows: np.ndarray
    """int64 [B, m], m = min(k, allowed items), rows of the items, best first; -1 where fewer were left."""
    scores: np.ndarray
    """float32 [B, m]; -inf where there is no item."""


def best_items(
    vectors: np.ndarray,
    item_factors: np.ndarray,
    k: int,
    *,
    allowed: np.ndarray,
    seen: Seen | None = None,
    own: Own | None = None,
    longest: float | None = None,
    small: SmallScreen | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each user the rows of the best items, int64 [m], and their scores, float32 [m]: see `best_blocks`;
    m = min(k, what is left)."""
    blocks = best_blocks(vectors, item_factors, k, allowed=allowed, seen=seen, own=own, longest=longest, small=small)
    for best in blocks:
        for rows, scores in zip(best.rows, best.scores):
            found = rows >= 0
            yield rows[found], scores[found]


def best_blocks(
    vectors: np.ndarray,
    item_factors: np.ndarray,
    k: int,
    *,
    allowed: np.ndarray,
    seen: Seen | None = None,
    own: Own | None = None,
    screen: Screen | None = None,
    threads: int | None = None,
    longest: float | None = None,
    small: SmallScreen | None = None,
) -> Iterator[Best]:
    """Yield the best items of all users, a block of users at a time, in order; what is held does not grow with their
    number.

    Args:
        vectors: float32 [U, D], finite, a row a user.
        item_factors: float32 [I, D], finite.
        k: at least 1.
        allowed: bool [I], the items that may be returned; applied before the top-k.
        seen: what to leave out as well.
        own: what to add to the scores of the items ``seen``, which are then not left out.
        screen: of the coarse scores; None: the fastest here. The answer is the same.
        threads: blocks worked on at once; None: one a core. The answer is the same.
        longest: the norm of the longest item, or more, which a few users' answer would wait for; None: it is measured.
        small: the screen of ``item_factors`` that few users pass; None: all is scored for them. The answer is the same.

    Raises:
        SettingsError: k < 1.
    """
    check_k(k)
    if own is not None and seen is not None:
        others = best_blocks(
            vectors,
            item_factors,
            k,
            allowed=allowed,
            seen=seen,
            screen=screen,
            threads=threads,
            longest=longest,
            small=small,
        )
        for best in others:
            yield with_own(best, vectors, item_factors, allowed, seen, own)
        return
    if small is not None and len(vectors) < _FEW_USERS:
        admitted = int(np.count_nonzero(allowed))
        if small.suits(min(k, admitted), admitted):
            yield from _screened_for_few(small, vectors, item_factors, min(k, admitted), ~allowed, seen)
            return
    columns = np.flatnonzero(allowed)
    k = min(k, len(columns))
    if len(vectors) < _FEW_USERS or not 0 < k <= most_screened(len(columns)):
        yield from _scored_in_full(vectors, item_factors, k, columns, seen, longest)
        return
    packed = Packed(item_factors, columns, vectors, screen or fastest_screen())

    def block(start: int) -> Best:
        stop = start + _BLOCK_USERS
        return _screened(packed, vectors[start:stop], k, _part(seen, start, min(stop, len(vectors))), start)

    yield from _in_threads(block, range(0, len(vectors), _BLOCK_USERS), threads or available_cores())


def _in_threads(work: Callable[[int], Best], starts: Sequence[int], threads: int) -> Iterator[Best]:
    """Yield ``work(start)`` of each start, in order, a few ahead of what is asked for."""
    before = torch.get_num_threads()
    waiting: deque[Future[Best]] = deque()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for start in starts:
                waiting.append(pool.submit(work, start))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(before)


# ---- many users


def _screened(packed: Packed, vectors: np.ndarray, k: int, seen: list[np.ndarray] | None, start: int) -> Best:
    """Return the best items of a block of users."""
    users, rows, crowded = packed.candidates(vectors, k, seen)
    best = _settled(users, rows, vectors, packed.item_factors, k, start)
    if len(crowded):
        theirs = [seen[user] for user in crowded] if seen is not None else None
        for part in _scored_in_full(vectors[crowded], packed.item_factors, k, packed.columns, theirs):
            place = crowded[part.start : part.start + len(part.rows)]
            best.rows[place], best.scores[place] = part.rows, part.scores
    return best


# ---- few users


def _screened_for_few(
    small: SmallScreen, vectors: np.ndarray, item_factors: np.ndarray, k: int, shut: np.ndarray, seen: Seen | None
) -> Iterator[Best]:
    step = max(1, _DENSE_VALUES // max(1, len(item_factors)))
    for start in range(0, len(vectors), step):
        part = vectors[start : start + step]
        rows = small.candidates(part, k, shut, _part(seen, start, start + len(part)))
        users = np.repeat(np.arange(len(part)), [len(one) for one in rows])
        yield _settled(users, np.concatenate(rows), part, item_factors, k, start)


# ---- everybody scored in full: few users, a small catalogue, ties without end


def _scored_in_full(
    vectors: np.ndarray,
    item_factors: np.ndarray,
    k: int,
    columns: np.ndarray,
    seen: Seen | None,
    longest: float | None = None,
) -> Iterator[Best]:
    """Yield the best of the items ``columns``, all of which are scored in float32."""
    # Most items: scored where they lie, which costs less than to copy them.
    whole = 2 * len(columns) > len(item_factors)
    factors = item_factors if whole else item_factors[columns]
    column_of = None if whole else positions_in(columns, len(item_factors))
    shut = np.delete(np.arange(len(item_factors)), columns) if whole else columns[:0]
    largest = float(lengths(factors).max(initial=0)) if longest is None else longest
    step = max(1, _DENSE_VALUES // max(1, len(factors)))
    for first in range(0, len(vectors), step):
        part = vectors[first : first + step]
        scores = part @ factors.T
        scores[:, shut] = -np.inf
        if seen is not None:
            for row in range(len(part)):
                known = seen[first + row]
                if column_of is not None:
                    known = column_of[known]
                    known = known[known >= 0]
                scores[row, known] = -np.inf
        bounds = _below_the_best(scores, k) if k < len(columns) else np.full(len(part), -np.inf)
        bounds = bounds - 2 * rounding_error(factors.shape[1]) * lengths(part) * largest
        lowest = np.nextafter(bounds.astype(np.float32), np.float32(-np.inf))  # compared in float32: rounded down
        users, found = np.nonzero(scores >= np.maximum(lowest, np.finfo(np.float32).min)[:, None])
        yield _settled(users, found if whole else columns[found], part, item_factors, k, first)


def _below_the_best(scores: np.ndarray, k: int) -> np.ndarray:
    """Return for each row of ``scores`` float32 [B, n] a number that at least k of them reach, float64 [B]: the k-th
    best, or where there are many more than k, what the k-th best of the runs of `_RUN` has at most."""
    runs = scores.shape[1] // _RUN
    if runs > k:
        scores = scores[:, : runs * _RUN].reshape(len(scores), runs, _RUN).max(axis=2)
    return np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k].astype(np.float64)


def with_own(
    best: Best, vectors: np.ndarray, item_factors: np.ndarray, allowed: np.ndarray, seen: Seen, own: Own
) -> Best:
    """Return the best of ``best``, which hold nothing of ``seen``, and of the items ``seen`` with ``own`` added."""
    block = range(best.start, best.start + len(best.rows))
    places, place = np.nonzero(best.rows >= 0)
    users, rows, added = [places], [best.rows[places, place]], [np.zeros(len(places), dtype=np.float32)]
    for user in block:
        items, values = seen[user], own[user]
        open_items = allowed[items]
        users.append(np.full(np.count_nonzero(open_items), user - best.start))
        rows.append(items[open_items])
        added.append(values[open_items])
    theirs = vectors[best.start : best.start + len(best.rows)]
    pairs = (np.concatenate(users), np.concatenate(rows))
    return _settled(*pairs, theirs, item_factors, best.rows.shape[1], best.start, np.concatenate(added))


def _settled(
    users: np.ndarray,
    rows: np.ndarray,
    vectors: np.ndarray,
    item_factors: np.ndarray,
    k: int,
    start: int,
    added: np.ndarray | None = None,
) -> Best:
    """Return the k best of the pairs (user, item row), which hold them for sure, by their exact scores, to which
    ``added`` float32 comes."""
    scores = np.empty(len(users), dtype=np.float32)
    for first in range(0, len(users), _PAIRS):
        part = slice(first, first + _PAIRS)
        ours, theirs = vectors[users[part]].astype(np.float64), item_factors[rows[part]].astype(np.float64)
        exact = np.einsum("nd,nd->n", ours, theirs)  # without BLAS: each row is summed in the same order
        scores[part] = exact if added is None else exact + added[part]
    order = np.lexsort((rows, -scores, users))
    users, rows, scores = users[order], rows[order], scores[order]
    place = np.arange(len(users)) - np.searchsorted(users, users)
    kept = place < k
    best = Best(start, np.full((len(vectors), k), -1), np.full((len(vectors), k), -np.inf, dtype=np.float32))
    best.rows[users[kept], place[kept]] = rows[kept]
    best.scores[users[kept], place[kept]] = scores[kept]
    return best


def _part(seen: Seen | None, start: int, stop: int) -> list[np.ndarray] | None:
    return None if seen is None else [seen[user] for user in range(start, stop)]
