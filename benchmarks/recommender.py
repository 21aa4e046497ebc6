"""Ours beside the public implementations: one run, one machine, the same data.

    python benchmarks/recommender.py --scale full --json recommender.json

``topk_vs_implicit``
    The 20 best of all items for all users, exact, against implicit's ``recommend``, faiss's flat index and a plain
    blocked ``torch.topk``. The rivals are timed on a share of the users, in turn with ours, so that a load on the
    machine hits all alike.
``bpr_vs_implicit``
    Image-free BPR (``bpr_mf``) against implicit's. Triples a second at the shape of ``topk_vs_implicit`` and equal
    factors, with one thread each and with all, by turns; and the exact test AUC of each one's best of six choices of
    learning rate and regularisation, chosen by validation.
``vbpr_vs_cornac``
    VBPR, 32 + 32 factors, features of 512, against cornac's, one thread each: the exact test AUC of cornac's best
    epoch, with the batch size and the learning rate of nine choices that validation prefers; and after how many seconds
    ours, as it is, whitening and validation included, first has at least cornac's AUC on both parts. cornac is only
    needed here: ``pip install 'recgan[bench]'``.
``shop_scale``
    Two epochs of ``vbpr`` on drawn interactions of a large shop, its features a half-precision memory map: seconds an
    epoch and the peak memory of the process, and the same for a tenth of it.

Timings mean something on a machine that does nothing else; the load average is in the result. Seconds of the processor
(``cpu_…``) suffer less from other work on the machine than those of the wall.
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
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

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
from recgan.recommenders.models import factors as factor_models
from recgan.recommenders.topk.exact import best_blocks
from recgan.recommenders.topk.screen import Screen, fastest_screen
from recgan.recommenders.training.trainer import Trainer
from recgan.recommenders.training.validation import Validation

K = 20
FACTORS = 64
SIZES = {"tiny": (600, 6_000, 300), "small": (8_192, 60_000, 1_024), "full": (64_583, 234_892, 4_096)}
"""Users, items, and users that a rival is timed on (full: the shape of Amazon Fashion as published)."""
ROUNDS = 3
WORLDS = {"tiny": (150, 200, 12, 32), "small": (1_000, 1_500, 17, 512), "full": (10_000, 8_000, 32, 512)}
"""Users, items, interactions of each user, width of the features."""
EPOCHS = {"tiny": 3, "small": 60, "full": 60}
"""At most, of each side."""
PATIENCE = 5
HIDDEN = 8
CORNAC = [(batch, rate) for batch in (256, 1024, 4096) for rate in (0.001, 0.003, 0.01)]
"""Batch sizes and learning rates tried for cornac. Its loss (3.0.1) adds a column [B, 1] to a row [B], so that it costs
B^2: larger batches are no faster."""
OURS_BPR = [(rate, pull) for rate in (0.05, 0.2) for pull in (0.03, 0.3, 3.0)]
IMPLICIT_BPR = [(rate, pull) for rate in (0.02, 0.05, 0.1) for pull in (0.01, 0.1)]
"""Learning rates and regularisations tried, as many for each side."""
IMPLICIT_JUDGED_EVERY = 5
"""An epoch of implicit's learns less than one of ours: it has so many for each of ours."""
SHOPS = {
    "tiny": (2_000, 500, 40_000, 64),
    "small": (100_000, 25_000, 2_500_000, 512),
    "full": (2_000_000, 500_000, 50_000_000, 512),
}
"""Users, items, events, width of the features."""
SHOP_EPOCHS = 2


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


class _Clock:
    """Seconds that count, by the wall and of this process's processor; it can stand still."""

    def __init__(self) -> None:
        self._spent = np.zeros(2)
        self.start()

    def start(self) -> None:
        self._since = np.array([time.perf_counter(), time.process_time()])

    def stop(self) -> np.ndarray:
        self._spent += np.array([time.perf_counter(), time.process_time()]) - self._since
        return self._spent.copy()


class _Chooser:
    """Stops a rival as ours stops: after some judgements without a better validation AUC; the best one is kept.

    It judges by the same users and pairs, while the clock stands still.
    """

    def __init__(self, drawn: World, most: int) -> None:
        self.drawn, self.left, self.validation = drawn, most, Validation(drawn.data)
        self.best, self.epoch, self.best_epoch = -np.inf, 0, 0
        self.seconds = self.best_seconds = np.zeros(2)
        self.factors: tuple[np.ndarray, np.ndarray] | None = None
        self.clock = _Clock()

    def judge(self, user_factors: np.ndarray, item_factors: np.ndarray) -> None:
        """Take note of one more epoch's factors; raises StopIteration when it is time to stop."""
        self.seconds = self.clock.stop()
        self.epoch += 1
        value = self.validation(user_factors, item_factors)
        if value > self.best:
            self.best, self.best_epoch, self.best_seconds = value, self.epoch, self.seconds
            self.factors = (user_factors.copy(), item_factors.copy())
        if self.epoch == self.left or self.epoch - self.best_epoch >= PATIENCE:
            raise StopIteration
        self.clock.start()

    def result(self, name: str) -> dict[str, Any]:
        """Return the best epoch's AUC and the seconds of training up to it."""
        assert self.factors is not None
        return {
            f"auc_{name}": self.drawn.auc(*self.factors, self.drawn.test),
            f"validation_auc_{name}": self.best,
            f"seconds_{name}": float(self.best_seconds[0]),
            f"cpu_seconds_{name}": float(self.best_seconds[1]),
            f"best_epoch_{name}": self.best_epoch,
        }


@dataclass(frozen=True)
class _Epoch:
    """What is known of an epoch of ours."""

    seconds: np.ndarray
    """By the wall and of the processor, whitening and validations included."""
    validation: float
    factors: tuple[np.ndarray, np.ndarray]


def _trained(drawn: World, name: str, settings: Settings, seed: int = 0) -> tuple[dict[str, Any], list[_Epoch]]:
    """Train ours on one thread: the seconds are those of the whole call. Return its figures, and its epochs."""
    epochs: list[_Epoch] = []

    class Watched(Validation):
        def __call__(self, user_factors: np.ndarray, item_factors: np.ndarray) -> float:
            value = super().__call__(user_factors, item_factors)
            seconds = clock.stop()
            epochs.append(_Epoch(seconds, value, (user_factors.copy(), item_factors.copy())))
            clock.start()
            return value

    with threadpool_limits(1), torch_threads(1):
        create_recommender(name, settings).fit(world("tiny").data, seed=0, device="cpu")  # loads what is loaded once
        with mock.patch.object(factor_models, "Validation", Watched):
            clock = _Clock()
            model = create_recommender(name, settings).fit(drawn.data, seed=seed, device="cpu")
            seconds = clock.stop()
    figures = {
        "auc_ours": drawn.auc(model.user_factors, model.item_factors, drawn.test),
        "validation_auc_ours": model.metrics["validation_auc"],
        "seconds_ours": float(seconds[0]),
        "cpu_seconds_ours": float(seconds[1]),
        "best_epoch_ours": model.metrics["best_epoch"],
    }
    return figures, epochs


def bpr_vs_implicit(scale: str) -> dict[str, Any]:
    """Compare image-free BPR, 64 factors, with implicit's: triples a second, and the AUC of the best of six choices."""
    drawn = world(scale)
    ours = []
    for rate, pull in OURS_BPR if scale != "tiny" else OURS_BPR[:1]:
        settings = BPRMFSettings(
            latent_dim=FACTORS,
            learning_rate=rate,
            latent_regularisation=pull,
            epochs=EPOCHS[scale],
            patience=PATIENCE,
        )
        ours.append(_trained(drawn, "bpr_mf", settings)[0] | {"choice_ours": [rate, pull]})
    theirs = [
        _implicit_bpr(drawn, scale, *choice) for choice in (IMPLICIT_BPR if scale != "tiny" else IMPLICIT_BPR[:1])
    ]
    best = max(ours, key=lambda one: one["validation_auc_ours"])
    rival = max(theirs, key=lambda one: one["validation_auc_implicit"])
    rates: dict[str, Any] = {}
    for threads in sorted({1, available_cores()}):
        rates |= _triples_per_second(scale, threads)
    return best | rival | rates


def _matrix(users: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((np.ones(len(users), np.float32), (users, items)), (n_users, n_items))


def _implicit_bpr(drawn: World, scale: str, rate: float, pull: float) -> dict[str, Any]:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    train = drawn.data.train
    matrix = _matrix(train.users, train.items, drawn.data.n_users, drawn.data.n_items)
    model = BayesianPersonalizedRanking(
        factors=FACTORS,
        learning_rate=rate,
        regularization=pull,
        iterations=EPOCHS[scale] * IMPLICIT_JUDGED_EVERY,
        num_threads=1,
        random_state=0,
    )
    chooser = _Chooser(drawn, EPOCHS[scale])

    def judge(epoch: int, *_: Any) -> None:
        if epoch % IMPLICIT_JUDGED_EVERY == IMPLICIT_JUDGED_EVERY - 1:
            chooser.judge(model.user_factors, model.item_factors)

    with contextlib.suppress(StopIteration), threadpool_limits(1, "blas"):
        model.fit(matrix, show_progress=False, callback=judge)
    return chooser.result("implicit") | {"choice_implicit": [rate, pull]}


def _triples_per_second(scale: str, threads: int) -> dict[str, float]:
    """Time epochs of both by turns: triples a second by the wall and a second of the processor, the medians."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    data = _shop(*SIZES[scale][:2], 8 * SIZES[scale][0], np.zeros((0, 0)))
    users, items = data.train.users, data.train.items
    settings, prior = BPRMFSettings(latent_dim=FACTORS), np.zeros(data.n_items, np.float32)
    trainer = Trainer("bpr_mf", data, prior, settings, loss="bpr", visual=None, seed=0, device="cpu")
    model = BayesianPersonalizedRanking(factors=FACTORS, iterations=1, num_threads=threads, random_state=0)
    matrix = _matrix(users, items, data.n_users, data.n_items)

    def ours() -> np.ndarray:
        clock = _Clock()
        with torch_threads(threads):
            trainer._epoch()
        return clock.stop()

    def theirs(epochs: int = 3) -> np.ndarray:
        marks: list[np.ndarray] = []
        clock, model.iterations = _Clock(), epochs + 1

        def mark(*_: Any) -> None:  # after each epoch: what comes before the first is not counted
            marks.append(clock.stop())
            clock.start()

        model.fit(matrix, show_progress=False, callback=mark)
        return (marks[-1] - marks[0]) / epochs

    found: dict[str, list[np.ndarray]] = {"ours": [], "implicit": []}
    for turn in range(ROUNDS + 1):  # the first warms up
        for name, run in (("ours", ours), ("implicit", theirs)):
            seconds = run()
            if turn:
                found[name].append(len(users) / seconds)
    medians = {name: np.median(values, axis=0) for name, values in found.items()}
    ratio = medians["implicit"] / medians["ours"]
    where = f"{threads}_thread{'s' * (threads > 1)}"
    rates = {f"triples_per_second_{name}_{where}": float(value[0]) for name, value in medians.items()}
    rates |= {f"triples_per_cpu_second_{name}_{where}": float(value[1]) for name, value in medians.items()}
    return rates | {f"implicit_over_ours_{where}": float(ratio[0]), f"implicit_over_ours_cpu_{where}": float(ratio[1])}


def vbpr_vs_cornac(scale: str) -> dict[str, Any]:
    """Train VBPR, 32 latent and 32 visual factors, by cornac and by ours."""
    drawn = world(scale)
    settings = VBPRSettings(latent_dim=32, visual_dim=32, epochs=EPOCHS[scale], patience=PATIENCE)
    ours, epochs = _trained(drawn, "vbpr", settings)
    try:
        tried = [_cornac(drawn, EPOCHS[scale], *choice) for choice in (CORNAC if scale != "tiny" else CORNAC[:1])]
    except ModuleNotFoundError as error:
        return ours | {"skipped": f"cornac is not installed ({error}); pip install 'recgan[bench]'"}
    theirs = max(tried, key=lambda one: one["validation_auc_cornac"])
    result = ours | theirs | {"tried_cornac": tried}
    for number, epoch in enumerate(epochs, start=1):
        if epoch.validation >= theirs["validation_auc_cornac"]:
            reached = drawn.auc(*epoch.factors, drawn.test)
            if reached >= theirs["auc_cornac"]:
                wall, cpu = epoch.seconds.tolist()
                return result | {
                    "reached_in_epoch": number,
                    "reached_auc": reached,
                    "reached_seconds": wall,
                    "reached_cpu_seconds": cpu,
                    "cornac_over_ours_seconds": theirs["seconds_cornac"] / wall,
                    "cornac_over_ours_cpu_seconds": theirs["cpu_seconds_cornac"] / cpu,
                }
    return result | {"reached_in_epoch": None}


def _cornac(drawn: World, epochs: int, batch_size: int, learning_rate: float) -> dict[str, Any]:
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
        model = VBPR(
            k=32,
            k2=32,
            n_epochs=epochs + 1,
            batch_size=batch_size,
            learning_rate=learning_rate,
            verbose=False,
            seed=0,
        )
        chooser.clock = _Clock()
        with contextlib.suppress(StopIteration), torch_threads(1), threadpool_limits(1):
            model.fit(train_set)
    finally:
        hook.remove()
    rate = len(data.train) * chooser.epoch / chooser.seconds[1]
    found = {"batch_size_cornac": batch_size, "learning_rate_cornac": learning_rate}
    return found | chooser.result("cornac") | {"triples_per_cpu_second_cornac": float(rate)}


# ---- a shop's size


def _shop(n_users: int, n_items: int, events: int, features: np.ndarray, validation: int = 0) -> TrainingData:
    """Draw interactions, a few items taking most of them."""
    rng = np.random.default_rng(0)
    keys = rng.integers(0, n_users, events)
    keys *= n_items
    keys += (n_items * rng.random(events, dtype=np.float32) ** 3).astype(np.int64).clip(max=n_items - 1)
    keys.sort()
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    held_out = np.zeros(len(keys), dtype=bool)
    held_out[rng.choice(len(keys), validation, replace=False)] = True
    train, judged = (Pairs(*np.divmod(keys[mask], n_items)) for mask in (~held_out, held_out))
    return TrainingData(
        user_ids=np.arange(n_users).astype(str).astype(object),
        items=pd.DataFrame({"item_id": np.arange(n_items).astype(str), "category": "all", "available": True}),
        category_names=("all",),
        category_index=np.zeros(n_items, dtype=np.int64),
        candidates=np.ones(n_items, dtype=bool),
        train=train,
        validation=judged,
        withheld=Pairs(train.users[:0], train.items[:0]),
        features=Features(features, np.ones(n_items, dtype=bool), "drawn", "", 0, "", ""),
        images=None,
        catalogue_digest="",
        split_digest="",
        split_settings={},
    )


def shop_scale(scale: str) -> dict[str, Any]:
    """Train on a shop and on a tenth of it, each in a process of its own."""
    *shape, width = SHOPS[scale]
    result = {}
    for name, part in (("tenth_", 10), ("", 1)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result |= {
                f"{name}{k}": v for k, v in pool.apply(_train_shop, (*(n // part for n in shape), width)).items()
            }
    return result | {"cpu_seconds_over_tenth": result["fit_cpu_seconds"] / result["tenth_fit_cpu_seconds"]}


def _train_shop(n_users: int, n_items: int, events: int, width: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(1)
        features = np.memmap(Path(folder) / "features", dtype=np.float16, mode="w+", shape=(n_items, width))
        looks = rng.standard_normal((HIDDEN, width), dtype=np.float32)
        for start in range(0, n_items, 8192):
            count = min(8192, n_items - start)
            drawn = rng.standard_normal((count, HIDDEN), dtype=np.float32) @ looks
            features[start : start + count] = drawn + rng.standard_normal((count, width), dtype=np.float32)
        clock = _Clock()
        data = _shop(n_users, n_items, events, features, validation=min(20_000, events // 10))
        drawn_in, clock = clock.stop(), _Clock()
        settings = VBPRSettings(latent_dim=32, visual_dim=32, epochs=SHOP_EPOCHS)
        model = create_recommender("vbpr", settings).fit(data, seed=0, device="cpu")
        trained_in = clock.stop()
    return {
        "users": n_users,
        "items": n_items,
        "events": len(data.train),
        "drawing_seconds": drawn_in[0],
        "fit_seconds": trained_in[0],
        "fit_cpu_seconds": trained_in[1],
        "epochs": SHOP_EPOCHS,
        "epoch_seconds": len(data.train) / model.metrics["triples_per_second"],
        "triples_per_second": model.metrics["triples_per_second"],
        "validation_auc": model.metrics["validation_auc"],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


BENCHMARKS: dict[str, Callable[[str], dict[str, Any]]] = {
    "vbpr_vs_cornac": vbpr_vs_cornac,
    "bpr_vs_implicit": bpr_vs_implicit,
    "topk_vs_implicit": topk_vs_implicit,
    "shop_scale": shop_scale,
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
