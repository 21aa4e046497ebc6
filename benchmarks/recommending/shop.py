"""Training at a large shop's size: seconds an epoch and peak memory."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from recgan.config import VBPRSettings
from recgan.recommenders import create_recommender
from recommending.data import HIDDEN, drawn_shop
from recommending.timing import Clock

__all__ = ["shop_scale"]

SHOPS = {
    "tiny": (2_000, 500, 40_000, 64),
    "small": (100_000, 25_000, 2_500_000, 512),
    "full": (2_000_000, 500_000, 50_000_000, 512),
}
"""Users, items, events, width of the features."""
SHOP_EPOCHS = 2


def shop_scale(scale: str, model: str = "vbpr") -> dict[str, Any]:
    """Train a model on a shop and on a tenth of it, each in a process of its own."""
    *shape, width = SHOPS[scale]
    result = {}
    for name, part in (("tenth_", 10), ("", 1)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(_train_shop, (*(n // part for n in shape), width, model))
            result |= {f"{name}{key}": value for key, value in found.items()}
    return result | {"cpu_seconds_over_tenth": result["fit_cpu_seconds"] / result["tenth_fit_cpu_seconds"]}


def _train_shop(n_users: int, n_items: int, events: int, width: int, model: str = "vbpr") -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(1)
        features = np.memmap(Path(folder) / "features", dtype=np.float16, mode="w+", shape=(n_items, width))
        looks = rng.standard_normal((HIDDEN, width), dtype=np.float32)
        for start in range(0, n_items, 8192):
            count = min(8192, n_items - start)
            drawn = rng.standard_normal((count, HIDDEN), dtype=np.float32) @ looks
            features[start : start + count] = drawn + rng.standard_normal((count, width), dtype=np.float32)
        clock = Clock()
        data = drawn_shop(n_users, n_items, events, features, validation=min(20_000, events // 10))
        drawn_in, clock = clock.stop(), Clock()
        settings = VBPRSettings(latent_dim=32, visual_dim=32, epochs=SHOP_EPOCHS) if model == "vbpr" else None
        trained = create_recommender(model, settings).fit(data, seed=0, device="cpu")
        trained_in = clock.stop()
    found = {
        "users": n_users,
        "items": n_items,
        "events": len(data.train),
        "drawing_seconds": drawn_in[0],
        "fit_seconds": trained_in[0],
        "fit_cpu_seconds": trained_in[1],
        "validation_auc": trained.metrics["validation_auc"],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if pace := trained.metrics.get("triples_per_second"):  # a model that learns in epochs
        found |= {"epochs": SHOP_EPOCHS, "epoch_seconds": len(data.train) / pace, "triples_per_second": pace}
    return found
