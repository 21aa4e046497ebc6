"""The best of all items for all users, exact: users a second."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from recgan.device import torch_threads
from recgan.recommenders.topk.exact import best_blocks
from recgan.recommenders.topk.screen import Screen, fastest_screen
from recommending.data import FACTORS, SIZES
from recommending.timing import ROUNDS

__all__ = ["topk_vs_implicit"]

K = 20


def topk_vs_implicit(scale: str) -> dict[str, Any]:
    """Time the exact top 20 and check that all find the same."""
    import faiss
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    n_users, n_items, share = SIZES[scale]
    users, items = _factors(n_users, n_items)
    some = np.random.default_rng(1).choice(n_users, share, replace=False)
    nothing = csr_matrix((share, n_items), dtype=np.float32)
    model = AlternatingLeastSquares(factors=FACTORS)
    model.user_factors, model.item_factors = users, items
    flat = faiss.IndexFlatIP(FACTORS)
    flat.add(items)
    faiss.omp_set_num_threads(1)  # beside torch's pool a second thread makes it twenty times slower

    def implicit() -> np.ndarray:
        return model.recommend(some, nothing, N=K, filter_already_liked_items=False)[0]

    def blocked() -> np.ndarray:
        found = []
        with torch_threads(), torch.inference_mode():
            for part in torch.from_numpy(users[some]).split(256):
                found.append((part @ torch.from_numpy(items).T).topk(K).indices)
        return torch.cat(found).numpy()

    def plain(block: int = 64) -> np.ndarray:
        """The definition: float64, sorted."""
        wide, found = items.astype(np.float64), []
        for start in range(0, len(judged), block):
            scores = (users[judged[start : start + block]].astype(np.float64) @ wide.T).astype(np.float32)
            found.append(np.argsort(-scores, axis=1, kind="stable")[:, :K])
        return np.concatenate(found)

    contestants: dict[str, tuple[int, Callable[[], np.ndarray]]] = {
        "ours": (n_users, lambda: _ours(users, items)),
        "ours_float32": (n_users, lambda: _ours(users, items, "float32")),
        "implicit": (share, implicit),
        "faiss": (share, lambda: flat.search(users[some], K)[1]),
        "torch": (share, blocked),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    lists: dict[str, np.ndarray] = {}
    for turn in range(ROUNDS + 1):  # the first warms up
        for name, (count, run) in contestants.items():
            start = time.perf_counter()
            lists[name] = run()
            if turn:
                rates[name].append(count / (time.perf_counter() - start))
    judged = some[:256]
    per_second = {name: statistics.median(values) for name, values in rates.items()}
    # The rivals' float32 sums may order neighbours otherwise: their lists are held to the scores, not to the ids.
    agrees = {name: _same_scores(users[some], items, lists[name], lists["ours"][some]) for name in list(rates)[2:]}
    equal = (
        bool(np.array_equal(lists["ours"], lists["ours_float32"]))
        and bool(np.array_equal(lists["ours"][judged], plain()))
        and all(agrees.values())
    )
    return {
        "users": n_users,
        "items": n_items,
        "factors": FACTORS,
        "screen": fastest_screen(),
        **{f"users_per_second_{name}": rate for name, rate in per_second.items()},
        "ours_over_implicit": statistics.median(np.divide(rates["ours"], rates["implicit"]).tolist()),
        "float32_over_implicit": statistics.median(np.divide(rates["ours_float32"], rates["implicit"]).tolist()),
        "peak_memory_mb": _peak_memory(scale),
        "equal": equal,
    }


def _factors(n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, FACTORS), dtype=np.float32) for n in (n_users, n_items))  # type: ignore[return-value]


def _ours(users: np.ndarray, items: np.ndarray, screen: Screen | None = None) -> np.ndarray:
    allowed = np.ones(len(items), dtype=bool)
    return np.concatenate([best.rows for best in best_blocks(users, items, K, allowed=allowed, screen=screen)])


def _same_scores(users: np.ndarray, items: np.ndarray, found: np.ndarray, ours: np.ndarray) -> bool:
    """Return whether the items at each place of two lists [n, K] have the same scores, up to float32 sums."""
    theirs, own = (np.einsum("ud,ukd->uk", users, items[rows], dtype=np.float64) for rows in (found, ours))
    return bool(np.allclose(theirs, own, rtol=1e-5, atol=1e-5))


def _peak_memory(scale: str) -> float:
    """Return the most memory (MB) that a process of its own holds, libraries included, which only does ours."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run_alone, (scale,))


def _run_alone(scale: str) -> float:
    _ours(*_factors(*SIZES[scale][:2]))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
