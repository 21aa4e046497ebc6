"""The figures of a ranking evaluation as tables for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from recgan.evaluation.ranking.report import Comparison, RankingReport

__all__ = ["ranking_tables"]

_COLUMNS = (("auc", "all"), ("auc", "warm"), ("auc", "cold"), ("ndcg@20", "all"))


def ranking_tables(report: RankingReport) -> RenderableType:
    """Return the main figures, the best model first, and the differences that were tested, for `rich`."""
    return Group(_figures(report), _differences(report)) if report.comparisons else _figures(report)


def _figures(report: RankingReport) -> Table:
    who = "simulated users" if report.simulated else "pseudo-users (item to item)" if report.pseudo_users else "users"
    table = Table(
        title=f"{report.bundle}: {report.part} part, {report.users:,} {who}, {report.candidates:,} candidates",
        caption="below each figure its 95% bootstrap interval over users; exact, unsampled",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", overflow="fold", min_width=14)
    for metric, group in _COLUMNS:
        table.add_column(f"{_named(metric)}\n{group}", justify="right", no_wrap=True)
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


def _differences(report: RankingReport) -> Table:
    table = Table(
        title="one less the other, user by user",
        caption="95% interval; p after Holm's correction for all of these: a difference where it is at most .05",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", overflow="fold", min_width=14)
    measures = sorted({(one.metric, one.group) for one in report.comparisons})
    for metric, group in measures:
        table.add_column(f"{_named(metric)}\n{group}", justify="right", no_wrap=True)
    for pair in dict.fromkeys((one.model, one.against) for one in report.comparisons):
        tested = {(one.metric, one.group): one for one in report.comparisons if (one.model, one.against) == pair}
        table.add_row(Text("\n- ".join(pair)), *(_difference(tested.get(measure)) for measure in measures))
    return table


def _difference(one: Comparison | None) -> Text:
    if one is None or math.isnan(one.difference):
        return Text("-")
    p = "<.001" if one.p_holm < 0.001 else f"{one.p_holm:.3f}".removeprefix("0")
    return Text.assemble(f"{one.difference:+.4f} p {p}\n", (f"{one.low:+.3f} to {one.high:+.3f}", "dim"))


def _named(metric: str) -> str:
    return metric.replace("auc", "AUC").replace("ndcg", "NDCG")


def _cell(value: float, limits: tuple[float, float]) -> Text:
    if math.isnan(value):
        return Text("-")
    return Text.assemble(f"{value:.4f}\n", (f"{limits[0]:.3f}-{limits[1]:.3f}", "dim"))
