"""The screen of the exact top-k: coarse scores of a whole catalogue, each with a bound on its error.

Items lie in chunks of 32, and only the largest coarse score of each chunk is kept, in tiles that stay in a core's
cache. Every coarse score comes with a bound on its error (`Packed`), so that

* the k-th largest of the chunks' lower bounds is a lower bound on the user's k-th best score, and
* a chunk whose upper bound is below that holds nothing that can enter.

What is left, a few dozen chunks a user, is scored in float32, and the few items that reach the k-th best up to
float32's own error are the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

__all__ = [
    "Packed",
    "Screen",
    "column_balance",
    "fastest_screen",
    "lengths",
    "most_screened",
    "positions_in",
    "rounding_error",
]

Screen: TypeAlias = Literal["int8", "float32"]
"""In what numbers the coarse scores are taken."""

_CHUNK = 32
"""Items whose largest coarse score is kept."""
_TILE_CHUNKS = 32
"""Chunks in a tile, whose items share a scale: a tile's scores of a block of users (1 MB) stay in a core's cache."""
_GROUPS_PER_ITEM = 4
"""The bound on the k-th best is taken over at least 4 k groups of chunks."""
_CROWDED = 0.5
"""A user of whom the screen leaves more than this share of the chunks (ties, say) is crowded."""
_PIECE = 1024
"""Chunks scored in float32 at a time (8 MB at 64 factors)."""
_SLICE = 1 << 16
"""Chunks of float32 scores held at a time (8 MB)."""


def fastest_screen() -> Screen:
    """Return the screen that is fastest on this processor: ``int8`` where it multiplies bytes (AVX512-VNNI)."""
    return "int8" if torch.cpu._is_vnni_supported() else "float32"


def most_screened(items: int) -> int:
    """Return the largest k that a catalogue of so many items can be screened for."""
    return -(-items // _CHUNK) // _GROUPS_PER_ITEM


class Packed:
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
        self.position = positions_in(columns[order], len(item_factors))
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

    def candidates(
        self, vectors: np.ndarray, k: int, seen: Sequence[np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what may be among each user's k best.

        Args:
            vectors: float32 [B, D], a block of users.
            k: at least 1, at most `most_screened` of the items.
            seen: the rows of items to leave out, int64, for each user.

        Returns:
            pairs (user, row of an item), int64 [n] each, which hold the k best for sure; and the users, int64 [c], of
            whom the screen leaves too much: of them there are no pairs, score them in full.
        """
        users = self.balanced(vectors)
        known = self._known(seen)
        bounds = self.bounds(users)
        if len(known):
            self._without_known(users, known, bounds)
        mask = bounds.reached(k)[: self.chunks].T.contiguous().numpy()
        crowded = np.flatnonzero(mask.sum(axis=1) > _CROWDED * self.chunks)
        mask[crowded] = False
        return *self._reaching(users, known, mask, k), crowded

    def balanced(self, vectors: np.ndarray) -> np.ndarray:
        """Return user vectors such that their product with ``values`` is the score."""
        return np.ascontiguousarray(vectors * self._balance)

    def bounds(self, vectors: np.ndarray) -> _Bounds:
        """Return the bounds of all chunks for a block of `balanced` user vectors float32 [B, D]."""
        users = _Coarse.of(vectors, self.screen, np.abs(vectors).max(axis=1))
        slack = np.outer(self.norms, users.residuals) + np.outer(self.residuals, users.norms + users.residuals)
        slack += rounding_error(self.dim) * np.outer(self.norms, users.norms)
        error = torch.from_numpy((slack / users.scale * (1 + 1e-6)).astype(np.float32))
        lower = torch.full((len(self.tiles) * _TILE_CHUNKS, len(vectors)), -torch.inf)
        # Not `contiguous`, to which one row or column is in any order: `_int_mm` reads it by its strides, and wrongly.
        matrix = users.matrix.T.clone(memory_format=torch.contiguous_format)
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

    def _known(self, seen: Sequence[np.ndarray] | None) -> np.ndarray:
        """Return the seen items of the block's users as sorted int64 keys, user * positions + position."""
        if seen is None:
            return np.empty(0, dtype=np.int64)
        users = np.repeat(np.arange(len(seen)), [len(items) for items in seen])
        position = self.position[np.concatenate(seen)] if len(users) else users
        return np.sort((users * len(self.rows) + position)[position >= 0])

    def _without_known(self, users: np.ndarray, known: np.ndarray, bounds: _Bounds) -> None:
        """Lower the bounds of chunks to those of the items in them that their user has not seen."""
        pairs = np.unique(known // _CHUNK)
        for first in range(0, len(pairs), _SLICE):
            part = pairs[first : first + _SLICE]
            user, chunk = np.divmod(part, self.chunks)
            best = torch.from_numpy(self._scores(users, known, part).max(axis=1))
            bounds.lower[chunk, user] = best / bounds.unit[user] - bounds.error[chunk // _TILE_CHUNKS, user]

    def _reaching(
        self, users: np.ndarray, known: np.ndarray, mask: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs (user, item row), int64 [n] each, that may be among their user's k best; ``mask`` bool
        [B, chunks] says in which chunks these are."""
        ends = np.cumsum(mask.sum(axis=1))
        slack = 2 * rounding_error(self.dim) * lengths(users) * self.norms.max()
        found_users, found_rows = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        first = 0
        while first < len(users):
            held = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, held + _SLICE, side="right")))
            pairs = np.flatnonzero(mask[first:last]) + first * self.chunks
            scores = self._scores(users, known, pairs)
            user, chunk = np.divmod(pairs, self.chunks)
            # Of a chunk at least its best item is there: the k-th largest of these bounds the k-th best from below.
            starts = np.searchsorted(user, np.arange(first, last))
            place = np.arange(len(user)) - starts[user - first]
            largest = np.full((last - first, max(k, int(place.max(initial=0)) + 1)), -np.inf, dtype=np.float32)
            largest[user - first, place] = scores.max(axis=1, initial=-np.inf)
            bound = np.partition(largest, -k, axis=1)[:, -k] - slack[first:last]
            pair, slot = np.nonzero((scores >= bound[user - first, None]) & (scores > -np.inf))
            found_users.append(user[pair])
            found_rows.append(self.rows[chunk[pair] * _CHUNK + slot])
            first = last
        return np.concatenate(found_users), np.concatenate(found_rows)

    def _scores(self, users: np.ndarray, known: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Return the scores float32 [n, 32] of chunks for users; -inf for items that the user has seen and for padding.

        ``pairs`` int64 [n], sorted: user * chunks + chunk.
        """
        user, chunk = np.divmod(pairs, self.chunks)
        chunks = self.values.reshape(self.chunks, _CHUNK, -1)
        scores = np.empty((len(pairs), _CHUNK), dtype=np.float32)
        for first in range(0, len(pairs), _PIECE):
            part = slice(first, first + _PIECE)
            np.matmul(chunks[chunk[part]], users[user[part], :, None], out=scores[part, :, None])
        scores[chunk == self.chunks - 1, _CHUNK - self.padding :] = -np.inf
        if len(pairs) and len(known):
            place = np.minimum(np.searchsorted(pairs, known // _CHUNK), len(pairs) - 1)
            here = pairs[place] == known // _CHUNK
            scores[place[here], known[here] % _CHUNK] = -np.inf
        return scores


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
        norms = lengths(vectors)
        if screen == "float32":
            return cls(torch.from_numpy(vectors), np.ones(len(vectors)), norms, np.zeros(len(vectors)))
        scale = np.where(largest > 0, largest, 1) / 127
        matrix = np.rint(vectors / scale[:, None]).astype(np.int8)
        return cls(torch.from_numpy(matrix), scale, norms, lengths(vectors - scale[:, None] * matrix))


def column_balance(vectors: np.ndarray, item_factors: np.ndarray) -> np.ndarray:
    """Return b, float32 [D], powers of two such that ``vectors * b`` and ``item_factors / b`` vary alike along each
    column. Nothing is rounded, and the inner products stay what they are."""
    ratio = _column_sizes(item_factors) / _column_sizes(vectors)
    return np.exp2(np.rint(np.log2(ratio) / 2)).astype(np.float32)


def _column_sizes(vectors: np.ndarray) -> np.ndarray:
    """Return the root mean square of each column; 1 for a column of zeros."""
    sizes = np.sqrt(np.einsum("nd,nd->d", vectors, vectors, dtype=np.float64) / len(vectors))
    return np.where(sizes > 0, sizes, 1)


def positions_in(columns: np.ndarray, count: int) -> np.ndarray:
    """Return where each of ``count`` rows stands in ``columns``, int64 [count]; -1: nowhere."""
    found = np.full(count, -1, dtype=np.int64)
    found[columns] = np.arange(len(columns))
    return found


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the norm of each row, float64 [N]."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def rounding_error(dim: int) -> float:
    """Return a bound on the relative error, against the product of the norms, of a float32 inner product, of the
    arithmetic done with it here, and of rounding it once more (Higham 2002, section 3.1, with room to spare)."""
    return (2 * dim + 16) * 2.0**-24
