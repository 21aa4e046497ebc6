"""What Prometheus is told: requests by route, the queue, the models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE", "SHARED_FOLDER", "Metrics"]

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that tells prometheus_client, before it is imported, where processes count together."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """The figures of one process, or of all that share a folder; those of the store are asked for when looked at.

    Args:
        gauges: returns named figures as ``{name: (help, {label: value})}``; the label is called ``kind``.
    """

    def __init__(self, gauges: Callable[[], dict[str, tuple[str, dict[str, float]]]]) -> None:
        counted = self._registry = CollectorRegistry()
        if SHARED_FOLDER in os.environ:
            MultiProcessCollector(self._registry)
            counted = CollectorRegistry()  # what this process has counted is in the folder, too
        self._gauges = gauges
        labels = ("route", "method", "status")
        self.requests = Counter("recgan_requests_total", "Requests answered.", labels, registry=counted)
        self.seconds = Histogram(
            "recgan_request_seconds",
            "Time to the end of an answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=counted,
        )
        self._registry.register(self)

    def answered(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """Count one request of a path's pattern, and its time if that says anything."""
        self.requests.labels(route, method, str(status)).inc()
        if seconds is not None:
            self.seconds.labels(route).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        for name, (told, values) in self._gauges().items():
            family = GaugeMetricFamily(name, told, labels=("kind",))
            for kind, value in values.items():
                family.add_metric((kind,), value)
            yield family

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: the store need not answer when the service starts."""
        return []

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        return generate_latest(self._registry)
