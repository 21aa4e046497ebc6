"""Exact search for the largest inner products: a filtered row-wise top-k with settled ties; a flat index (faiss)."""

from __future__ import annotations

from typing import Any

import numpy as np

from recgan.errors import DataError, SettingsError

__all__ = ["FlatIndex", "check_k", "top_k"]


def check_k(k: int) -> None:
    """Refuse a number of items that is none.

    Raises:
        SettingsError: k < 1, or no whole number.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise SettingsError(f"k={k}: ask for a whole number of items, at least one")


def top_k(scores: np.ndarray, k: int) -> list[np.ndarray]:
    """Return the columns of the k largest scores of each row, best first; of equal scores the lower column first.

    Args:
        scores: float [N, M]; -inf marks a column that must not be returned.
        k: at least 1.

    Returns:
        N int64 arrays, each of length min(k, number of columns in the row that are not -inf).
    """
    check_k(k)
    width = scores.shape[1]
    if width == 0:
        return [np.empty(0, dtype=np.int64)] * len(scores)
    if k < width:
        # The k-th largest value bounds the answer; all columns that reach it are sorted, so ties are settled exactly.
        bounds = np.partition(scores, width - k, axis=1)[:, width - k]
    else:
        bounds = np.full(len(scores), -np.inf)
    found = []
    for row, bound in zip(scores, bounds):
        columns = np.flatnonzero((row >= bound) & (row > -np.inf))
        found.append(columns[np.argsort(-row[columns], kind="stable")[:k]])
    return found


class FlatIndex:
    """Exact inner-product search over a fixed set of vectors (faiss, one thread)."""

    def __init__(self, vectors: np.ndarray) -> None:
        """Index ``vectors`` float32 [N, d]; they are copied."""
        import faiss

        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise DataError("an index takes finite vectors [N, d]")
        self._faiss: Any = faiss
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def __len__(self) -> int:
        return self._index.ntotal

    def search(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return for each query the rows with the k largest inner products, and these, largest first.

        Args:
            queries: float32 [Q, d].
            k: at least 1.
            allowed: bool [N], the rows that may be returned; applied before the search, so k of them come back where
                there are k.

        Returns:
            Q pairs of (rows int64, scores float32), each of length min(k, number of allowed rows). Equal scores come
            in row order.

        Raises:
            SettingsError: k < 1.
            DataError: the queries are of another width, or not finite.
        """
        if queries.ndim != 2 or queries.shape[1] != self._index.d or not np.isfinite(queries).all():
            raise DataError(f"what is searched for must be finite vectors of {self._index.d} values")
        check_k(k)
        if allowed is None:
            parameters = None
            k = min(k, len(self))
        else:
            chosen = np.packbits(np.asarray(allowed, dtype=bool), bitorder="little")
            selector = self._faiss.IDSelectorBitmap(chosen)
            parameters = self._faiss.SearchParameters(sel=selector)
            k = min(k, int(np.count_nonzero(allowed)))
        if k == 0:
            return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)  # faiss's and torch's thread pools fight for the same cores
        try:
            scores, rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k, params=parameters)
        finally:
            self._faiss.omp_set_num_threads(before)
        found = []
        for row, score in zip(rows, scores):
            order = np.lexsort((row, -score))
            found.append((row[order], score[order]))
        return found
