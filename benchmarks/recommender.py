"""Ours beside the public implementations: one run, one machine, the same data.

    python benchmarks/recommender.py --scale full --json recommender.json

``topk_vs_implicit``
    The 20 best of all items for all users, exact, against implicit's ``recommend``, faiss's flat index and a plain
    blocked ``torch.topk``. The rivals are timed on a share of the users, in turn with ours, so that a load on the
    machine hits all alike.
``bpr_vs_implicit``
    Image-free BPR (``bpr_mf``) against implicit's, on interactions drawn here: exact AUC and seconds.
``vbpr_vs_cornac``
    VBPR, 32 + 32 factors, features of 512, against cornac's: the exact test AUC of cornac's best epoch, and after how
    many seconds of training each reaches it. cornac is only needed here: ``pip install 'recgan[bench]'``.

Timings mean something on a machine that does nothing else; the load average is in the result.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch.optim.optimizer import register_optimizer_step_post_hook

from recgan.config import BPRMFSettings, Settings, VBPRSettings
from recgan.dataset.split import Pairs
from recgan.device import available_cores, torch_threads
from recgan.encoders import Features
from recgan.metrics.ranking import auc, rank_counts
from recgan.recommenders import TrainingData, create_recommender
from recgan.recommenders.data import UserRows, concatenated
from recgan.recommenders.exact import Screen, best_blocks, fastest_screen

K = 20
FACTORS = 64
SIZES = {"tiny": (600, 6_000, 300), "small": (8_192, 60_000, 1_024), "full": (64_583, 234_892, 4_096)}
"""Users, items, and users that a rival is timed on (full: the shape of Amazon Fashion as published)."""
ROUNDS = 3
WORLDS = {"tiny": (150, 200, 12, 32), "small": (1_000, 1_500, 17, 512), "full": (10_000, 8_000, 32, 512)}
"""Users, items, interactions of each user, width of the features."""
EPOCHS = {"tiny": 3, "small": 15, "full": 60}
"""At most, of each side."""
PATIENCE = 3
HIDDEN = 8
CORNAC = {"batch_size": 4096, "learning_rate": 0.01, "lambda_w": 0.01}
"""The batch size at which cornac makes the most triples a second."""


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


# ---- training


@dataclass(frozen=True)
class World:
    """Drawn interactions that popularity, a hidden taste and a visual taste explain in about equal parts."""

    data: TrainingData
    """Trained on, and chosen by: one validation pair a user."""
    test: Pairs
    """One pair a user."""
    features: np.ndarray
    """float32 [n_items, width], of unit length: what both sides are given."""

    def auc(self, user_factors: np.ndarray, item_factors: np.ndarray, judged: Pairs) -> float:
        """Return the exact mean AUC over all users of the scores user_factors @ item_factors.T."""
        known = UserRows.of(concatenated(self.data.train, self.data.validation, self.test), self.data.n_users)
        positives = UserRows.of(judged, self.data.n_users)
        values = []
        for users in np.array_split(np.arange(self.data.n_users), -(-self.data.n_users // 512)):
            scores = user_factors[users] @ item_factors.T
            counts = rank_counts(scores, *positives.pairs(users), *known.pairs(users), self.data.candidates)
            values.append(auc(counts, len(users)))
        return float(np.nanmean(np.concatenate(values)))


@cache
def world(scale: str) -> World:
    """Draw a world: each user takes the items with the largest of utility plus Gumbel noise."""
    n_users, n_items, per_user, width = WORLDS[scale]
    rng = np.random.default_rng(0)
    looks, taste = rng.normal(size=(n_items, HIDDEN)), rng.normal(size=(n_users, HIDDEN))
    hidden, liking = rng.normal(size=(n_items, HIDDEN)), rng.normal(size=(n_users, HIDDEN))
    features = np.tanh(looks @ rng.normal(size=(HIDDEN, width)) / 2) + 0.3 * rng.normal(size=(n_items, width))
    features = np.maximum(features, 0).astype(np.float32)  # as a network's last activations are
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    popularity = rng.normal(size=n_items)
    items = np.empty((n_users, per_user), dtype=np.int64)
    for user in range(n_users):
        utility = popularity + (looks @ taste[user] + hidden @ liking[user]) * HIDDEN**-0.5
        items[user] = np.argpartition(-(utility + rng.gumbel(size=n_items)), per_user)[:per_user]
    rng.permuted(items, axis=1, out=items)
    users = np.repeat(np.arange(n_users), per_user).reshape(items.shape)
    train, validation, test = (
        Pairs(users[:, part].ravel(), items[:, part].ravel()) for part in (slice(2, None), slice(0, 1), slice(1, 2))
    )
    ids = [str(item) for item in range(n_items)]
    data = TrainingData(
        user_ids=np.array([str(user) for user in range(n_users)], dtype=object),
        items=pd.DataFrame({"item_id": ids, "category": "all", "available": True}),
        category_names=("all",),
        category_index=np.zeros(n_items, dtype=np.int64),
        candidates=np.ones(n_items, dtype=bool),
        train=train,
        validation=validation,
        withheld=Pairs(train.users[:0], train.items[:0]),
        features=Features(features, np.ones(n_items, dtype=bool), "drawn", "", 0, "", ""),
        images=None,
        catalogue_digest="",
        split_digest="",
        split_settings={},
    )
    return World(data, test, features)


class _Chooser:
    """Stops a rival as ours stops: after some epochs without a better validation AUC; the best epoch is kept.

    The clock stands still while it judges.
    """

    def __init__(self, drawn: World, epochs: int) -> None:
        self.drawn, self.left = drawn, epochs
        self.best, self.epoch, self.best_epoch, self.seconds, self.best_seconds = -np.inf, 0, 0, 0.0, 0.0
        self.factors: tuple[np.ndarray, np.ndarray] | None = None
        self.started = time.perf_counter()

    def judge(self, user_factors: np.ndarray, item_factors: np.ndarray) -> None:
        """Take note of one more epoch's factors; raises StopIteration when it is time to stop."""
        self.seconds += time.perf_counter() - self.started
        self.epoch += 1
        value = self.drawn.auc(user_factors, item_factors, self.drawn.data.validation)
        if value > self.best:
            self.best, self.best_epoch, self.best_seconds = value, self.epoch, self.seconds
            self.factors = (user_factors.copy(), item_factors.copy())
        if self.epoch == self.left or self.epoch - self.best_epoch >= PATIENCE:
            raise StopIteration
        self.started = time.perf_counter()

    def result(self, name: str) -> dict[str, Any]:
        """Return the best epoch's test AUC and the seconds of training up to it."""
        assert self.factors is not None
        return {
            f"auc_{name}": self.drawn.auc(*self.factors, self.drawn.test),
            f"seconds_{name}": self.best_seconds,
            f"best_epoch_{name}": self.best_epoch,
            f"triples_per_second_{name}": len(self.drawn.data.train) * self.epoch / self.seconds,
        }


def _trained(drawn: World, name: str, settings: Settings) -> dict[str, Any]:
    """Train ours: the seconds are those of the whole call, whitening and validation included."""
    create_recommender(name, settings).fit(world("tiny").data, seed=0, device="cpu")  # loads what is loaded once
    start = time.perf_counter()
    model = create_recommender(name, settings).fit(drawn.data, seed=0, device="cpu")
    seconds = time.perf_counter() - start
    return {
        "auc_ours": drawn.auc(model.user_factors, model.item_factors, drawn.test),
        "seconds_ours": seconds,
        "best_epoch_ours": model.metrics["best_epoch"],
        "triples_per_second_ours": model.metrics["triples_per_second"],
    }


def bpr_vs_implicit(scale: str) -> dict[str, Any]:
    """Train image-free BPR, 64 factors, by implicit (all cores) and by ours."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from scipy.sparse import csr_matrix

    drawn = world(scale)
    train = drawn.data.train
    matrix = csr_matrix(
        (np.ones(len(train), np.float32), (train.users, train.items)), (drawn.data.n_users, drawn.data.n_items)
    )
    model = BayesianPersonalizedRanking(
        factors=FACTORS, learning_rate=0.05, regularization=0.02, iterations=EPOCHS[scale], random_state=0
    )
    chooser = _Chooser(drawn, EPOCHS[scale])
    with contextlib.suppress(StopIteration), threadpool_limits(1, "blas"):
        model.fit(
            matrix, show_progress=False, callback=lambda *_: chooser.judge(model.user_factors, model.item_factors)
        )
    settings = BPRMFSettings(latent_dim=FACTORS, epochs=EPOCHS[scale], patience=PATIENCE)
    return _trained(drawn, "bpr_mf", settings) | chooser.result("implicit")


def vbpr_vs_cornac(scale: str) -> dict[str, Any]:
    """Train VBPR, 32 latent and 32 visual factors, by cornac at its best batch size and by ours."""
    drawn = world(scale)
    settings = VBPRSettings(latent_dim=32, visual_dim=32, epochs=EPOCHS[scale], patience=PATIENCE)
    ours = _trained(drawn, "vbpr", settings)
    try:
        theirs = _cornac(drawn, EPOCHS[scale])
    except ModuleNotFoundError as error:
        return ours | {"skipped": f"cornac is not installed ({error}); pip install 'recgan[bench]'"}
    return ours | theirs | {"cornac_over_ours_seconds": theirs["seconds_cornac"] / ours["seconds_ours"]}


def _cornac(drawn: World, epochs: int) -> dict[str, Any]:
    from cornac.data import Dataset, ImageModality
    from cornac.models import VBPR

    data = drawn.data
    users, items = (OrderedDict((str(n), n) for n in range(count)) for count in (data.n_users, data.n_items))
    triples = [(str(user), str(item), 1.0) for user, item in zip(data.train.users, data.train.items)]
    train_set = Dataset.build(triples, global_uid_map=users, global_iid_map=items, seed=0)
    pictures = ImageModality(features=drawn.features, ids=list(items), normalized=False)
    train_set.add_modalities(item_image=pictures.build(id_map=items))
    chooser = _Chooser(drawn, epochs)
    parameters: list[torch.Tensor] = []
    draw = train_set.uij_iter

    def judged(*arguments: Any, **options: Any) -> Any:  # cornac asks for the triples of each epoch here
        if parameters:
            bias, user, item, visual, projection, visual_bias = (p.detach().numpy() for p in parameters)
            item_bias = bias[:, None] + drawn.features @ visual_bias
            ours = np.concatenate([np.ones((len(user), 1), np.float32), user, visual], axis=1)
            chooser.judge(ours, np.concatenate([item_bias, item, drawn.features @ projection], axis=1))
        return draw(*arguments, **options)

    def stepped(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        parameters[:] = optimiser.param_groups[0]["params"]

    train_set.uij_iter = judged
    hook = register_optimizer_step_post_hook(stepped)
    try:
        model = VBPR(k=32, k2=32, n_epochs=epochs + 1, verbose=False, seed=0, **CORNAC)
        chooser.started = time.perf_counter()
        with contextlib.suppress(StopIteration), torch_threads():
            model.fit(train_set)
    finally:
        hook.remove()
    return chooser.result("cornac")


BENCHMARKS: dict[str, Callable[[str], dict[str, Any]]] = {
    "vbpr_vs_cornac": vbpr_vs_cornac,
    "bpr_vs_implicit": bpr_vs_implicit,
    "topk_vs_implicit": topk_vs_implicit,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmarks, print what they found and, with ``--json``, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=list(SIZES), default="small")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    parser.add_argument("--only", choices=list(BENCHMARKS), action="append", help="only this one; may be repeated")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"scale": options.scale, "cores": available_cores(), "load_before": os.getloadavg()[0]}
    for name in options.only or BENCHMARKS:
        start = time.perf_counter()
        result[name] = BENCHMARKS[name](options.scale)
        print(f"{name} ({time.perf_counter() - start:.0f} s)", file=sys.stderr)
        for key, value in result[name].items():
            print(
                f"    {key:32} {value:,.4g}" if isinstance(value, float) else f"    {key:32} {value}", file=sys.stderr
            )
    result["load_after"] = os.getloadavg()[0]
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
