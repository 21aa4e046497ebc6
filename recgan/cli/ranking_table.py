"""The figures of a ranking evaluation as a table for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from recgan.evaluation.ranking.report import RankingReport

__all__ = ["ranking_table"]

_COLUMNS = (("auc", "all"), ("auc", "warm"), ("auc", "cold"), ("ndcg@20", "all"))


def ranking_table(report: RankingReport) -> Table:
    """Return the main figures as a table for `rich`, the best model first."""
    who = "simulated users" if report.simulated else "pseudo-users (item to item)" if report.pseudo_users else "users"
    table = Table(
        title=f"{report.bundle}: {report.part} part, {report.users:,} {who}, {report.candidates:,} candidates",
        caption="below each figure its 95% bootstrap interval over users; exact, unsampled",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", overflow="fold", min_width=14)
    for metric, group in _COLUMNS:
        name = metric.replace("auc", "AUC").replace("ndcg", "NDCG")
        table.add_column(f"{name}\n{group}", justify="right", no_wrap=True)
    if report.oracle:
        table.add_column("share of\noracle", justify="right", no_wrap=True)
    lines = sorted(report.models.items(), key=lambda line: -line[1].values["auc"]["all"])
    if report.oracle:
        lines.append(("oracle", report.oracle))
    for name, figures in lines:
        cells: list[Text | str] = [
            _cell(figures.values[metric][group], figures.intervals[metric][group]) for metric, group in _COLUMNS
        ]
        if report.oracle:
            cells.append(f"{figures.share['all']:.1%}" if figures.share else "")
        table.add_row(Text(name), *cells)
    return table


def _cell(value: float, limits: tuple[float, float]) -> Text:
    if math.isnan(value):
        return Text("-")
    return Text.assemble(f"{value:.4f}\n", (f"{limits[0]:.3f}-{limits[1]:.3f}", "dim"))
