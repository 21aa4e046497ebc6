"""Image-free BPR beside implicit's BPR and ALS."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recgan.config import BPRMFSettings
from recgan.device import available_cores, torch_threads
from recgan.recommenders.training.trainer import Trainer
from recommending.data import FACTORS, SIZES, World, drawn_shop, world
from recommending.timing import EPOCHS, PATIENCE, ROUNDS, Chooser, Clock, trained

__all__ = ["bpr_vs_implicit"]

OURS_BPR = [(rate, pull) for rate in (0.05, 0.2) for pull in (0.03, 0.3, 3.0)]
IMPLICIT_BPR = [(rate, pull) for rate in (0.02, 0.05, 0.1) for pull in (0.01, 0.1)]
"""Learning rates and regularisations tried, as many for each side."""
IMPLICIT_ALS = [(pull, weight) for pull in (1.0, 10.0) for weight in (1.0, 5.0, 20.0)]
"""Its regularisations and confidences tried."""
IMPLICIT_JUDGED_EVERY = 5
"""An epoch of implicit's learns less than one of ours: it has so many for each of ours."""


def bpr_vs_implicit(scale: str, seed: int = 0) -> dict[str, Any]:
    """Compare image-free BPR, 64 factors, with implicit's: triples a second, and the AUC of the best of six choices,
    implicit's ALS beside them."""
    drawn = world(scale, seed)
    ours = []
    for rate, pull in OURS_BPR if scale != "tiny" else OURS_BPR[:1]:
        settings = BPRMFSettings(
            latent_dim=FACTORS,
            learning_rate=rate,
            latent_regularisation=pull,
            epochs=EPOCHS[scale],
            patience=PATIENCE,
        )
        ours.append(trained(drawn, "bpr_mf", settings)[0] | {"choice_ours": [rate, pull]})
    theirs = [
        _implicit_bpr(drawn, scale, *choice) for choice in (IMPLICIT_BPR if scale != "tiny" else IMPLICIT_BPR[:1])
    ]
    als = [_implicit_als(drawn, scale, *choice) for choice in (IMPLICIT_ALS if scale != "tiny" else IMPLICIT_ALS[:1])]
    best = max(ours, key=lambda one: one["validation_auc_ours"])
    rival = max(theirs, key=lambda one: one["validation_auc_implicit"])
    other = max(als, key=lambda one: one["validation_auc_implicit_als"])
    rates: dict[str, Any] = {}
    for threads in sorted({1, available_cores()}):
        rates |= _triples_per_second(scale, threads)
    return best | rival | other | rates


def _matrix(users: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> Any:
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
    chooser = Chooser(drawn, EPOCHS[scale])

    def judge(epoch: int, *_: Any) -> None:
        if epoch % IMPLICIT_JUDGED_EVERY == IMPLICIT_JUDGED_EVERY - 1:
            chooser.judge(model.user_factors, model.item_factors)

    with contextlib.suppress(StopIteration), threadpool_limits(1, "blas"):
        model.fit(matrix, show_progress=False, callback=judge)
    return chooser.result("implicit") | {"choice_implicit": [rate, pull]}


def _implicit_als(drawn: World, scale: str, pull: float, weight: float) -> dict[str, Any]:
    from implicit.cpu.als import AlternatingLeastSquares

    train = drawn.data.train
    matrix = _matrix(train.users, train.items, drawn.data.n_users, drawn.data.n_items)
    model = AlternatingLeastSquares(
        factors=FACTORS, regularization=pull, alpha=weight, iterations=EPOCHS[scale], num_threads=1, random_state=0
    )
    chooser = Chooser(drawn, EPOCHS[scale])

    def judge(*_: Any) -> None:
        chooser.judge(model.user_factors, model.item_factors)

    with contextlib.suppress(StopIteration), threadpool_limits(1, "blas"):
        model.fit(matrix, show_progress=False, callback=judge)
    return chooser.result("implicit_als") | {"choice_implicit_als": [pull, weight]}


def _triples_per_second(scale: str, threads: int) -> dict[str, float]:
    """Time epochs of both by turns: triples a second by the wall and a second of the processor, the medians."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    data = drawn_shop(*SIZES[scale][:2], 8 * SIZES[scale][0], np.zeros((0, 0)))
    users, items = data.train.users, data.train.items
    settings, prior = BPRMFSettings(latent_dim=FACTORS), np.zeros(data.n_items, np.float32)
    trainer = Trainer("bpr_mf", data, prior, settings, loss="bpr", visual=None, seed=0, device="cpu")
    model = BayesianPersonalizedRanking(factors=FACTORS, iterations=1, num_threads=threads, random_state=0)
    matrix = _matrix(users, items, data.n_users, data.n_items)

    def ours() -> np.ndarray:
        clock = Clock()
        with torch_threads(threads):
            trainer._epoch()
        return clock.stop()

    def theirs(epochs: int = 3) -> np.ndarray:
        marks: list[np.ndarray] = []
        clock, model.iterations = Clock(), epochs + 1

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
