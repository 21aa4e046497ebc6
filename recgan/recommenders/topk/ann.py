"""Approximate search for large catalogues: faster than the exact one, and honest about what it misses.

The largest inner products become the nearest neighbours (Bachrach et al., RecSys 2014): each item gets one more
coordinate, sqrt(M^2 - |item|^2) with M the largest norm, each query a zero there. Then |query - item|^2 differs from
-2 query.item by a constant of the query, and indexes made for distances do not lose the items of large norm. Columns
are balanced first (`column_balance`): a bias against a constant 1 would otherwise rule the distances.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from recgan.artifacts import open_artifact, write_artifact
from recgan.config import IndexSettings
from recgan.errors import ArtifactError, DataError, SettingsError
from recgan.recommenders.topk.exact import Best, Own, Seen, best_items, with_own
from recgan.recommenders.topk.index import check_k
from recgan.recommenders.topk.screen import column_balance

__all__ = ["RECALL_AT", "ApproximateIndex", "digest_of_factors"]

KIND = "item-index"
FORMAT_VERSION = 1
RECALL_AT = 20
"""k of the recall that is measured when an index is built."""
_JUDGED = 1000
_TRAINED_PER_LIST = 64


class ApproximateIndex:
    """An IVF or HNSW index (faiss, one thread) over the item factors of one model."""

    settings: IndexSettings
    recall: float
    """Share of the exact `RECALL_AT` best items that a search finds, the mean over up to 1,000 users of the model."""
    factors_digest: str
    """Identity of the item factors."""

    @classmethod
    def build(
        cls, item_factors: np.ndarray, user_factors: np.ndarray, settings: IndexSettings, seed: int = 0
    ) -> ApproximateIndex:
        """Index items, and measure the recall.

        Args:
            item_factors: float32 [I, D].
            user_factors: float32 [U, D], for whom the recall is measured (a seeded sample of them).
            settings: ``ivf`` or ``hnsw``.
            seed: of the sample and of the clustering.

        Raises:
            SettingsError: ``flat``, which is the exact search and needs no index.
            DataError: factors that are not finite.
        """
        faiss = _faiss()
        if settings.kind == "flat":
            raise SettingsError("the exact search ('flat') needs no index; choose ivf or hnsw to build one")
        if not np.isfinite(item_factors).all():
            raise DataError("an index takes finite vectors [N, d]")
        balance = column_balance(user_factors, item_factors)
        vectors = np.empty((len(item_factors), item_factors.shape[1] + 1), dtype=np.float32)
        np.divide(item_factors, balance, out=vectors[:, :-1])
        squares = np.einsum("nd,nd->n", vectors[:, :-1], vectors[:, :-1], dtype=np.float64)
        vectors[:, -1] = np.sqrt(squares.max(initial=0) - squares)
        if settings.kind == "hnsw":
            index = faiss.IndexHNSWFlat(vectors.shape[1], settings.links)
            index.hnsw.efConstruction = settings.build_width
        else:
            lists = min(settings.lists or round(4 * len(vectors) ** 0.5), len(vectors))
            index = faiss.IndexIVFFlat(faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], lists)
            index.cp.seed = seed
            index.cp.min_points_per_centroid = 1
            index.cp.max_points_per_centroid = _TRAINED_PER_LIST
        with _one_thread():
            if not index.is_trained:
                index.train(vectors)
            index.add(vectors)
        made = cls(index, settings, item_factors, balance)
        rng = np.random.default_rng(seed)
        judged = user_factors[rng.permutation(len(user_factors))[:_JUDGED]]
        made.recall = made._measured(judged)
        return made

    def __init__(self, index: Any, settings: IndexSettings, item_factors: np.ndarray, balance: np.ndarray) -> None:
        self._index, self.settings, self._item_factors, self._balance = index, settings, item_factors, balance
        self.factors_digest = digest_of_factors(item_factors)

    def __len__(self) -> int:
        return self._index.ntotal

    def __str__(self) -> str:
        found = f"finds {self.recall:.1%} of the exact {RECALL_AT} best (measured on users of this model)"
        return f"{self.settings.kind}: {found}"

    def _measured(self, queries: np.ndarray) -> float:
        everything = np.ones(len(self), dtype=bool)
        exact = best_items(queries, self._item_factors, RECALL_AT, allowed=everything)
        shares = [
            np.isin(rows, self._nearest(query, RECALL_AT, None)).mean() for query, (rows, _) in zip(queries, exact)
        ]
        return float(np.mean(shares))

    def fits(self, item_factors: np.ndarray) -> bool:
        """Return whether the index was built for these item factors."""
        return item_factors is self._item_factors or digest_of_factors(item_factors) == self.factors_digest

    def best_items(
        self, vectors: np.ndarray, k: int, *, allowed: np.ndarray, seen: Seen | None = None, own: Own | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each user what `recgan.recommenders.topk.exact.best_items` would, as far as the index finds it."""
        for user, vector in enumerate(vectors):
            open_items = allowed
            if seen is not None:
                open_items = allowed.copy()
                open_items[seen[user]] = False
            rows, scores = self.search(vector, k, open_items)
            if own is not None and seen is not None:
                wide = min(k, int(np.count_nonzero(allowed)))
                best = Best(user, np.full((1, wide), -1), np.full((1, wide), -np.inf, dtype=np.float32))
                best.rows[0, : len(rows)] = rows
                best = with_own(best, vectors, self._item_factors, allowed, seen, own)
                rows, scores = best.rows[0], best.scores[0]
            yield rows, scores

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the best items that are found, int64 [m], and their exact scores, float32 [m], best first.

        Args:
            query: float32 [D].
            k: at least 1.
            allowed: bool [I], the items that may be returned; applied while searching.

        Returns:
            m = min(k, number of allowed items), always: where the index finds fewer (a narrow filter), the search is
            exact.
        """
        check_k(k)
        wanted = min(k, int(np.count_nonzero(allowed)))
        found = self._nearest(query, k, allowed)
        if len(found) >= wanted:
            allowed = np.zeros(len(self), dtype=bool)
            allowed[found] = True
        return next(best_items(query[None], self._item_factors, k, allowed=allowed))

    def _nearest(self, query: np.ndarray, k: int, allowed: np.ndarray | None) -> np.ndarray:
        faiss = _faiss()
        settings, options, k = self.settings, {}, min(k, len(self))
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        if settings.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(settings.search_width, k), **options)
        else:
            parameters = faiss.SearchParametersIVF(nprobe=settings.probes, **options)
        with _one_thread():
            query = np.append(query * self._balance, np.float32(0))[None]
            _, rows = self._index.search(query, k, params=parameters)
        return rows[0][rows[0] >= 0]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the index as an artifact, with its recall.

        Raises:
            ArtifactError: the folder exists and ``overwrite`` is false.
            StorageError: it cannot be written.
        """
        faiss = _faiss()
        with write_artifact(
            folder,
            kind=KIND,
            format_version=FORMAT_VERSION,
            name=self.settings.kind,
            config=self.settings.model_dump(mode="json"),
            parents={"item_factors": self.factors_digest},
            overwrite=overwrite,
        ) as writer:
            writer.metrics = {f"recall@{RECALL_AT}": self.recall}
            writer.tensors("index", {"faiss": faiss.serialize_index(self._index), "balance": self._balance})

    @classmethod
    def load(cls, folder: str | Path, item_factors: np.ndarray) -> ApproximateIndex:
        """Read an index that `save` wrote.

        Raises:
            ArtifactError: no such artifact, a damaged one, or one made for other item factors.
        """
        faiss = _faiss()
        artifact = open_artifact(folder, KIND, format_version=FORMAT_VERSION)
        if artifact.manifest.parents.get("item_factors") != digest_of_factors(item_factors):
            raise ArtifactError(f"index '{folder}' was made for another model; build it for this one")
        tensors = artifact.tensors("index")
        settings = IndexSettings(**artifact.manifest.config)
        made = cls(faiss.deserialize_index(tensors["faiss"]), settings, item_factors, tensors["balance"])
        made.recall = artifact.manifest.metrics[f"recall@{RECALL_AT}"]
        return made


def _faiss() -> Any:
    """Return faiss, which takes a while to load, and whose types say little of what it takes."""
    return importlib.import_module("faiss")


def digest_of_factors(item_factors: np.ndarray) -> str:
    """Return the identity of item factors [n_items, D]."""
    digest = hashlib.sha256(np.ascontiguousarray(item_factors).ravel().data)
    digest.update(repr(item_factors.shape).encode())
    return digest.hexdigest()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Search with one thread: faiss's and torch's thread pools fight for the same cores."""
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
