"""recgan: learn each user's visual taste, recommend from a fashion catalogue, and design new items.

Every stage is one public function here and one verb of the command line. They are imported when first used, so that
training a generator needs neither fastapi nor faiss.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# Before torch is loaded, which reads it once: its threads sleep while they wait for each other, where nobody has said
# otherwise. By default they spin, and where other work shares the cores they then wait ten times longer than they work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "Bundle": "recgan.dataset.bundle",
    "import_bundle": "recgan.dataset.importers",
    "load_pixels": "recgan.dataset.pixels",
    "make_boutique": "recgan.dataset.boutique",
    "simulate_users": "recgan.dataset.simulate",
    "show_bundle": "recgan.dataset.show",
    "make_split": "recgan.dataset.split",
    "load_encoder": "recgan.encoders",
    "embed_items": "recgan.encoders",
    "train_recommender": "recgan.recommenders",
    "load_recommender": "recgan.recommenders",
    "train_gan": "recgan.gan",
    "load_gan": "recgan.gan",
    "shipped_gan": "recgan.gan",
    "export_gan": "recgan.gan",
    "load_designer": "recgan.design",
    "evaluate_ranking": "recgan.evaluation.ranking",
    "evaluate_generative": "recgan.evaluation.generative",
    "backtest": "recgan.evaluation.backtest",
    "tune": "recgan.evaluation.tune",
    "reproduce_kang2017": "recgan.evaluation.reproduce",
    "make_report": "recgan.evaluation.report",
    "run_demo": "recgan.demo",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recgan' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
