"""Exact top-k by inner product, for one user or for all: a coarse screen finds what may enter, exact scores settle it.

The score of an item is the float64 inner product rounded to float32, and of equal scores the item that comes first in
the catalogue wins. That is a property of two vectors alone, so the answer depends neither on the number of threads nor
on how users and items are cut into blocks, nor on the precision of the screen.

For many users the catalogue is packed once. Items lie in chunks of 32, and only the largest coarse score of each chunk
is kept, in tiles that stay in a core's cache. Every coarse score comes with a bound on its error (`_Packed`), so that

* the k-th largest of the chunks' lower bounds is a lower bound on the user's k-th best score, and
* a chunk whose upper bound is below that holds nothing that can enter.

What is left, a few dozen chunks a user, is scored in float32, and the few items that reach the k-th best up to
float32's own error are scored in float64.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from recgan.device import available_cores
from recgan.errors import SettingsError
from recgan.recommenders.data import UserRows

__all__ = ["Best", "Screen", "Seen", "best_blocks", "best_items", "column_balance", "fastest_screen"]

Screen: TypeAlias = Literal["int8", "float32"]
"""In what numbers the coarse scores are taken."""
Seen: TypeAlias = Sequence[np.ndarray] | UserRows
"""For each user the rows of items to leave out, int64."""

_CHUNK = 32
"""Items whose largest coarse score is kept."""
_TILE_CHUNKS = 32
"""Chunks in a tile, whose items share a scale: a tile's scores of a block of users (1 MB) stay in a core's cache."""
_BLOCK_USERS = 256
_GROUPS_PER_ITEM = 4
"""The bound on the k-th best is taken over at least 4 k groups of chunks."""
_CROWDED = 0.5
"""A user of whom the screen leaves more than this share of the chunks (ties, say) is scored in full."""
_PIECE = 1024
"""Chunks scored in float32 at a time (8 MB at 64 factors)."""
_SLICE = 1 << 16
"""Chunks of float32 scores held at a time (8 MB)."""
_DENSE_VALUES = 1 << 23
"""Scores held at a time where users are scored in full (32 MB): users x items is never materialised."""
_FEW_USERS = 32
"""For fewer users than this, packing the catalogue costs more than it saves."""


@dataclass(frozen=True, eq=False)
class Best:
    """The best items of a block of users."""

    start: int
    """Position of the block's first user."""
    rows: np.ndarray
    """int64 [B, k], rows of the items, best first; -1 where fewer than k items were left."""
    scores: np.ndarray
    """float32 [B, k]; -inf where there is no item."""


def fastest_screen() -> Screen:
    """Return the screen that is fastest on this processor: ``int8`` where it multiplies bytes (AVX512-VNNI)."""
    return "int8" if torch.cpu._is_vnni_supported() else "float32"


def best_items(
    vectors: np.ndarray,
    item_factors: np.ndarray,
    k: int,
    *,
    allowed: np.ndarray,
    seen: Seen | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each user the rows of the best items, int64 [m], and their scores, float32 [m]: see `best_blocks`;
    m = min(k, what is left)."""
    for best in best_blocks(vectors, item_factors, k, allowed=allowed, seen=seen):
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
    screen: Screen | None = None,
    threads: int | None = None,
) -> Iterator[Best]:
    """Yield the best items of all users, a block of users at a time, in order; what is held does not grow with their
    number.

    Args:
        vectors: float32 [U, D], finite, a row a user.
        item_factors: float32 [I, D], finite.
        k: at least 1.
        allowed: bool [I], the items that may be returned; applied before the top-k.
        seen: what to leave out as well.
        screen: of the coarse scores; None: the fastest here. The answer is the same.
        threads: blocks worked on at once; None: one a core. The answer is the same.

    Raises:
        SettingsError: k < 1.
    """
    if k < 1:
        raise SettingsError(f"k={k}: ask for at least one item")
    columns = np.flatnonzero(allowed)
    chunks = -(-len(columns) // _CHUNK)
    if len(vectors) < _FEW_USERS or chunks < _GROUPS_PER_ITEM * k:
        yield from _scored_in_full(vectors, item_factors, k, columns, seen)
        return
    packed = _Packed(item_factors, columns, vectors, screen or fastest_screen())

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


# ---- everybody scored in full: few users, a small catalogue, ties without end


def _scored_in_full(
    vectors: np.ndarray,
    item_factors: np.ndarray,
    k: int,
    columns: np.ndarray,
    seen: Seen | None,
    start: int = 0,
) -> Iterator[Best]:
    """Yield the best of the items ``columns``, all of which are scored in float32."""
    factors = item_factors if len(columns) == len(item_factors) else item_factors[columns]
    column_of = _positions(columns, len(item_factors))
    largest = float(_norms(factors).max(initial=0))
    step = max(1, _DENSE_VALUES // max(1, len(columns)))
    for first in range(0, len(vectors), step):
        part = vectors[first : first + step]
        scores = part @ factors.T
        if seen is not None:
            for row in range(len(part)):
                known = column_of[seen[first + row]]
                scores[row, known[known >= 0]] = -np.inf
        bounds = np.full(len(part), -np.inf)
        if k < len(columns):
            bounds = np.partition(scores, len(columns) - k, axis=1)[:, len(columns) - k]
        bounds = bounds - 2 * _rounding(factors.shape[1]) * _norms(part) * largest
        users, found = np.nonzero((scores >= bounds[:, None]) & (scores > -np.inf))
        yield _settled(users, columns[found], part, item_factors, k, start + first)


def _settled(
    users: np.ndarray, rows: np.ndarray, vectors: np.ndarray, item_factors: np.ndarray, k: int, start: int
) -> Best:
    """Return the k best of the pairs (user, item row), which hold them for sure, by their exact scores."""
    scores = np.empty(len(users), dtype=np.float32)
    for first in range(0, len(users), _SLICE):
        part = slice(first, first + _SLICE)
        ours, theirs = vectors[users[part]].astype(np.float64), item_factors[rows[part]].astype(np.float64)
        scores[part] = np.einsum("nd,nd->n", ours, theirs)  # without BLAS: each row is summed in the same order
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


def _positions(columns: np.ndarray, count: int) -> np.ndarray:
    """Return where each of ``count`` rows stands in ``columns``, int64 [count]; -1: nowhere."""
    positions = np.full(count, -1, dtype=np.int64)
    positions[columns] = np.arange(len(columns))
    return positions


def _norms(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def _rounding(dim: int) -> float:
    """Return a bound on the relative error, against the product of the norms, of a float32 inner product, of the
    arithmetic done with it here, and of rounding it once more (Higham 2002, section 3.1, with room to spare)."""
    return (2 * dim + 16) * 2.0**-24


# ---- many users


@dataclass(frozen=True, eq=False)
class _Coarse:
    """Vectors in the screen's numbers, x = scale * matrix + residual, and what bounds the error of their products."""

    matrix: torch.Tensor
    """int8 or float32 [N, D]"""
    scale: np.ndarray
    """float64 [N]"""
    norms: np.ndarray
    """float64 [N], |x|"""
    residuals: np.ndarray
    """float64 [N], |x - scale * matrix|"""

    @classmethod
    def of(cls, vectors: np.ndarray, screen: Screen, largest: np.ndarray) -> _Coarse:
        """Round vectors float32 [N, D]; ``largest`` [N] is at least the largest absolute value of each."""
        norms = _norms(vectors)
        if screen == "float32":
            return cls(torch.from_numpy(vectors), np.ones(len(vectors)), norms, np.zeros(len(vectors)))
        scale = np.where(largest > 0, largest, 1) / 127
        matrix = np.rint(vectors / scale[:, None]).astype(np.int8)
        return cls(torch.from_numpy(matrix), scale, norms, _norms(vectors - scale[:, None] * matrix))


class _Packed:
    """The allowed items, arranged for the screen.

    A user u and an item i are known to the screen as u' and i', rounded to a grid. The error of the coarse score is
    |u.i - u'.i'| = |(u - u').i + u'.(i - i')| <= |u - u'| |i| + |u'| |i - i'|, and all four norms are known. An item is
    given the largest norms of its tile; items are sorted by their largest value, so that those of a tile, which share a
    grid, are alike.
    """

    def __init__(self, item_factors: np.ndarray, columns: np.ndarray, vectors: np.ndarray, screen: Screen) -> None:
        self.item_factors, self.columns, self.screen = item_factors, columns, screen
        self.dim = item_factors.shape[1]
        # A bias of 10 against a user's 1 would make a coarse grid for all the rest.
        self._balance = column_balance(vectors, item_factors)
        largest = np.empty(len(columns), dtype=np.float32)
        for first in range(0, len(columns), _SLICE):
            part = slice(first, first + _SLICE)
            largest[part] = np.abs(item_factors[columns[part]] / self._balance).max(axis=1)
        order = np.argsort(-largest, kind="stable")
        self.chunks = -(-len(order) // _CHUNK)
        self.padding = self.chunks * _CHUNK - len(order)
        self.position = _positions(columns[order], len(item_factors))
        order = np.append(order, np.repeat(order[-1:], self.padding))  # the last chunk is filled with its last item
        self.rows = columns[order]
        """int64 [chunks * _CHUNK], the item at each position"""
        self.values = item_factors[self.rows]
        self.values /= self._balance
        tile = _CHUNK * _TILE_CHUNKS
        scales = np.maximum.reduceat(largest[order].astype(np.float64), np.arange(0, len(order), tile))
        self.tiles: list[tuple[torch.Tensor, float]] = []
        """The items of each tile [<= 1024, D] and their scale."""
        norms = []
        for number, first in enumerate(range(0, len(order), tile)):
            part = self.values[first : first + tile]
            coarse = _Coarse.of(part, screen, np.full(len(part), scales[number]))
            self.tiles.append((coarse.matrix, float(coarse.scale[0])))
            norms.append((coarse.norms.max(), coarse.residuals.max()))
        self.norms, self.residuals = np.array(norms).T
        """float64 [tiles]: the largest |i| and |i - i'| of each"""

    def balanced(self, vectors: np.ndarray) -> np.ndarray:
        """Return user vectors such that their product with ``values`` is the score."""
        return np.ascontiguousarray(vectors * self._balance)

    def screened(self, vectors: np.ndarray) -> _Bounds:
        """Return the bounds of all chunks for a block of `balanced` user vectors float32 [B, D]."""
        users = _Coarse.of(vectors, self.screen, np.abs(vectors).max(axis=1))
        slack = np.outer(self.norms, users.residuals) + np.outer(self.residuals, users.norms + users.residuals)
        slack += _rounding(self.dim) * np.outer(self.norms, users.norms)
        error = torch.from_numpy((slack / users.scale * (1 + 1e-6)).astype(np.float32))
        lower = torch.full((len(self.tiles) * _TILE_CHUNKS, len(vectors)), -torch.inf)
        matrix = users.matrix.T.contiguous()
        whole = self.screen == "int8"
        multiply = torch._int_mm if whole else torch.mm
        products = torch.empty((_CHUNK * _TILE_CHUNKS, len(vectors)), dtype=torch.int32 if whole else torch.float32)
        largest = torch.empty((_TILE_CHUNKS, len(vectors)), dtype=products.dtype)
        for number, (items, scale) in enumerate(self.tiles):
            count = len(items) // _CHUNK
            multiply(items, matrix, out=products[: len(items)])
            torch.amax(products[: len(items)].view(count, _CHUNK, -1), 1, out=largest[:count])
            place = lower[number * _TILE_CHUNKS :][:count]
            torch.mul(largest[:count], scale, out=place)
            place -= error[number]
        return _Bounds(lower, error, torch.from_numpy(users.scale.astype(np.float32)))


@dataclass(frozen=True, eq=False)
class _Bounds:
    """Between what the largest score of each chunk lies for each user, in the user's own unit."""

    lower: torch.Tensor
    """float32 [tiles * 32, B]; -inf where there is no such chunk. The upper bounds are 2 ``error`` above."""
    error: torch.Tensor
    """float32 [tiles, B]"""
    unit: torch.Tensor
    """float32 [B]"""

    def reached(self, k: int) -> torch.Tensor:
        """Return which chunks may hold one of the k best items, bool [tiles * 32, B]."""
        rows, users = self.lower.shape
        # Groups take their chunks from all over the catalogue: what is good for a user often lies close together.
        per_group = _TILE_CHUNKS
        while rows // per_group < _GROUPS_PER_ITEM * k:
            per_group //= 2
        largest = self.lower.view(per_group, -1, users).amax(0)
        bound = largest.T.contiguous().topk(k, sorted=False).values.amin(1)
        lower = self.lower.view(len(self.error), _TILE_CHUNKS, users)
        return (lower >= bound - 2 * self.error[:, None]).view(rows, users)


def column_balance(vectors: np.ndarray, item_factors: np.ndarray) -> np.ndarray:
    """Return b, float32 [D], powers of two such that ``vectors * b`` and ``item_factors / b`` vary alike along each
    column. Nothing is rounded, and the inner products stay what they are."""
    ratio = _column_sizes(item_factors) / _column_sizes(vectors)
    return np.exp2(np.rint(np.log2(ratio) / 2)).astype(np.float32)


def _column_sizes(vectors: np.ndarray) -> np.ndarray:
    """Return the root mean square of each column; 1 for a column of zeros."""
    sizes = np.sqrt(np.einsum("nd,nd->d", vectors, vectors, dtype=np.float64) / len(vectors))
    return np.where(sizes > 0, sizes, 1)


def _screened(packed: _Packed, vectors: np.ndarray, k: int, seen: list[np.ndarray] | None, start: int) -> Best:
    """Return the best items of a block of users."""
    users = packed.balanced(vectors)
    known = _known(packed, seen)
    bounds = packed.screened(users)
    if len(known):
        _without_known(packed, users, known, bounds)
    mask = bounds.reached(k)[: packed.chunks].T.contiguous().numpy()
    crowded = np.flatnonzero(mask.sum(axis=1) > _CROWDED * packed.chunks)
    mask[crowded] = False
    best = _settled(*_candidates(packed, users, known, mask, k), vectors, packed.item_factors, k, start)
    if len(crowded):
        theirs = [seen[user] for user in crowded] if seen is not None else None
        for part in _scored_in_full(vectors[crowded], packed.item_factors, k, packed.columns, theirs):
            place = crowded[part.start : part.start + len(part.rows)]
            best.rows[place], best.scores[place] = part.rows, part.scores
    return best


def _known(packed: _Packed, seen: list[np.ndarray] | None) -> np.ndarray:
    """Return the seen items of the block's users as sorted int64 keys, user * positions + position."""
    if seen is None:
        return np.empty(0, dtype=np.int64)
    users = np.repeat(np.arange(len(seen)), [len(items) for items in seen])
    position = packed.position[np.concatenate(seen)] if len(users) else users
    return np.sort((users * len(packed.rows) + position)[position >= 0])


def _without_known(packed: _Packed, users: np.ndarray, known: np.ndarray, bounds: _Bounds) -> None:
    """Lower the bounds of chunks to those of the items in them that their user has not seen."""
    pairs = np.unique(known // _CHUNK)
    for first in range(0, len(pairs), _SLICE):
        part = pairs[first : first + _SLICE]
        user, chunk = np.divmod(part, packed.chunks)
        best = torch.from_numpy(_scores(packed, users, known, part).max(axis=1))
        bounds.lower[chunk, user] = best / bounds.unit[user] - bounds.error[chunk // _TILE_CHUNKS, user]


def _candidates(
    packed: _Packed, users: np.ndarray, known: np.ndarray, mask: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (user, item row), int64 [n] each, that may be among their user's k best; ``mask`` bool
    [B, chunks] says in which chunks these are."""
    ends = np.cumsum(mask.sum(axis=1))
    rounding = 2 * _rounding(packed.dim) * _norms(users) * packed.norms.max()
    found_users, found_rows = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    first = 0
    while first < len(users):
        held = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, held + _SLICE, side="right")))
        pairs = np.flatnonzero(mask[first:last]) + first * packed.chunks
        scores = _scores(packed, users, known, pairs)
        user, chunk = np.divmod(pairs, packed.chunks)
        # Of a chunk at least its best item is there: the k-th largest of these bounds the k-th best item from below.
        starts = np.searchsorted(user, np.arange(first, last))
        place = np.arange(len(user)) - starts[user - first]
        largest = np.full((last - first, max(k, int(place.max(initial=0)) + 1)), -np.inf, dtype=np.float32)
        largest[user - first, place] = scores.max(axis=1, initial=-np.inf)
        bound = np.partition(largest, -k, axis=1)[:, -k] - rounding[first:last]
        pair, slot = np.nonzero((scores >= bound[user - first, None]) & (scores > -np.inf))
        found_users.append(user[pair])
        found_rows.append(packed.rows[chunk[pair] * _CHUNK + slot])
        first = last
    return np.concatenate(found_users), np.concatenate(found_rows)


def _scores(packed: _Packed, users: np.ndarray, known: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the scores float32 [n, 32] of chunks for users; -inf for items that the user has seen and for padding.

    ``pairs`` int64 [n], sorted: user * chunks + chunk.
    """
    user, chunk = np.divmod(pairs, packed.chunks)
    chunks = packed.values.reshape(packed.chunks, _CHUNK, -1)
    scores = np.empty((len(pairs), _CHUNK), dtype=np.float32)
    for first in range(0, len(pairs), _PIECE):
        part = slice(first, first + _PIECE)
        np.matmul(chunks[chunk[part]], users[user[part], :, None], out=scores[part, :, None])
    scores[chunk == packed.chunks - 1, _CHUNK - packed.padding :] = -np.inf
    if len(pairs) and len(known):
        place = np.minimum(np.searchsorted(pairs, known // _CHUNK), len(pairs) - 1)
        here = pairs[place] == known // _CHUNK
        scores[place[here], known[here] % _CHUNK] = -np.inf
    return scores
