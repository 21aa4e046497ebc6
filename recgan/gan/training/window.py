"""The figures of a training run between two reports."""

from __future__ import annotations

import time
from typing import Any

import torch

from recgan.gan.training.steps import Figures, TrainingState

__all__ = ["Window"]


class Window:
    """The figures of the batches since the last report, kept on the device."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self.open()

    def open(self) -> None:
        """Begin anew, without the figures so far."""
        self.batches = 0
        self._sums: Figures = {}
        self._counts: dict[str, int] = {}
        self._first = self._state.images_seen
        self._timed_from, self._seconds = self._first, 0.0
        self._began = time.monotonic()

    def add(self, figures: Figures) -> None:
        """Add one step's figures."""
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self.batches += 1

    def start_clock(self) -> None:
        """Count time from now on: training begins, or goes on."""
        self._timed_from, self._began = self._state.images_seen, time.monotonic()

    def count_time(self) -> None:
        """Add the time since it was last counted to the run's."""
        now = time.monotonic()
        self._seconds += now - self._began
        self._state.seconds += now - self._began
        self._began = now

    def means(self) -> dict[str, float]:
        """Return the mean figures by name, over all processes, and the speed."""
        sums = self._summed()
        self.count_time()
        images = self._state.images_seen - self._timed_from
        speed = {"speed/images_per_second": images / max(self._seconds, 1e-9)}
        return {name: value / self._counts[name] for name, value in zip(self._sums, sums)} | speed

    @property
    def first(self) -> int:
        """Images seen when it began."""
        return self._first

    def as_json(self) -> dict[str, Any]:
        """Return what is in it as JSON values, exactly."""
        sums = dict(zip(self._sums, self._summed()))
        return {"batches": self.batches, "first": self._first, "sums": sums, "counts": dict(self._counts)}

    def restore(self, saved: dict[str, Any], device: torch.device) -> None:
        """Go on with what `as_json` gave."""
        self.open()
        self.batches, self._first, self._counts = saved["batches"], saved["first"], dict(saved["counts"])
        self._sums = {name: torch.tensor(value, device=device) for name, value in saved["sums"].items()}

    def _summed(self) -> list[float]:
        if not self._sums:
            return []
        sums = torch.stack(list(self._sums.values()))
        self._state.world.average([sums])
        return sums.tolist()  # one copy from the device for all
