"""A ranking evaluation as a folder: ``ranking.json``, all that was measured, and ``ranking.png``, a plot of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

from recgan.atomic import atomic_folder
from recgan.evaluation.estimates import Estimate
from recgan.evaluation.plots import Panel, plot_estimates
from recgan.evaluation.ranking.report import ModelFigures, RankingReport

__all__ = ["save_ranking"]

_PANELS = (
    ("auc", "all", "AUC, all items"),
    ("auc", "cold", "AUC, items not in training"),
    ("ndcg@20", "all", "NDCG@20, all items"),
)


def save_ranking(report: RankingReport, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write the folder, whole or not at all.

    Raises:
        ArtifactError: it exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    lines = sorted(report.models.items(), key=lambda line: -line[1].values["auc"]["all"])
    panels = []
    for metric, group, label in _PANELS:
        rows = [_estimate(figures, metric, group) for _, figures in lines]
        if any(math.isfinite(row.value) for row in rows):  # there may be no cold item
            ceiling = report.oracle.values[metric][group] if report.oracle else math.nan
            panels.append(Panel(f"{label} (95% interval over users)", rows, ceiling, "oracle"))
    title = f"{report.bundle}: {report.part} part, {report.users:,} users, exact among {report.candidates:,} items"
    with atomic_folder(folder, overwrite=overwrite) as building:
        text = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
        (building / "ranking.json").write_text(text + "\n", encoding="utf-8")
        plot_estimates(building / "ranking.png", title, [name for name, _ in lines], panels)


def _estimate(figures: ModelFigures, metric: str, group: str) -> Estimate:
    return Estimate(figures.values[metric][group], *figures.intervals[metric][group])
