"""How ours and a rival are timed and stopped alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from threadpoolctl import threadpool_limits

from recgan.config import Settings
from recgan.device import torch_threads
from recgan.recommenders import create_recommender
from recgan.recommenders.models import factors as factor_models
from recgan.recommenders.training.validation import Validation
from recommending.data import World, world

__all__ = ["EPOCHS", "PATIENCE", "ROUNDS", "Chooser", "Clock", "Epoch", "trained"]

ROUNDS = 3
"""Turns that count, of contestants that are timed by turns."""
EPOCHS = {"tiny": 3, "small": 60, "full": 60}
"""At most, of each side."""
PATIENCE = 5


class Clock:
    """Seconds that count, by the wall and of this process's processor; it can stand still."""

    def __init__(self) -> None:
        self._spent = np.zeros(2)
        self.start()

    def start(self) -> None:
        self._since = np.array([time.perf_counter(), time.process_time()])

    def stop(self) -> np.ndarray:
        self._spent += np.array([time.perf_counter(), time.process_time()]) - self._since
        return self._spent.copy()


class Chooser:
    """Stops a rival as ours stops: after some judgements without a better validation AUC; the best one is kept.

    It judges by the same users and pairs, while the clock stands still.
    """

    def __init__(self, drawn: World, most: int) -> None:
        self.drawn, self.left, self.validation = drawn, most, Validation(drawn.data)
        self.best, self.epoch, self.best_epoch = -np.inf, 0, 0
        self.seconds = self.best_seconds = np.zeros(2)
        self.factors: tuple[np.ndarray, np.ndarray] | None = None
        self.clock = Clock()

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
class Epoch:
    """What is known of an epoch of ours."""

    seconds: np.ndarray
    """By the wall and of the processor, whitening and validations included."""
    validation: float
    factors: tuple[np.ndarray, np.ndarray]


def trained(drawn: World, name: str, settings: Settings, seed: int = 0) -> tuple[dict[str, Any], list[Epoch]]:
    """Train ours on one thread: the seconds are those of the whole call. Return its figures, and its epochs."""
    epochs: list[Epoch] = []

    class Watched(Validation):
        def __call__(self, user_factors: np.ndarray, item_factors: np.ndarray) -> float:
            value = super().__call__(user_factors, item_factors)
            seconds = clock.stop()
            epochs.append(Epoch(seconds, value, (user_factors.copy(), item_factors.copy())))
            clock.start()
            return value

    with threadpool_limits(1), torch_threads(1):
        create_recommender(name, settings).fit(world("tiny").data, seed=0, device="cpu")  # loads what is loaded once
        with mock.patch.object(factor_models, "Validation", Watched):
            clock = Clock()
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
