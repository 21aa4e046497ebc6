"""What a backtest and a reproduction found, as tables for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from recgan.evaluation.backtest.report import BacktestReport
    from recgan.evaluation.estimates import Estimate
    from recgan.evaluation.reproduce import Kang2017Report

__all__ = ["backtest_table", "ladder_table"]


def backtest_table(report: BacktestReport) -> Group:
    """Return the figures by week and over all weeks, and below them the answers, for `rich`."""
    from recgan.evaluation.backtest.report import ALL_WEEKS, metric_name

    table = _table(f"{report.bundle}: {metric_name(report.metric)} by week, models updated by: {report.update}")
    judged = "all that known users took" if report.repeats else "new items of known users"
    table.caption = f"95% bootstrap intervals over users; exact among all candidates, {judged}"
    table.add_column("model", overflow="fold", min_width=14)
    for week in report.weeks:
        table.add_column(f"{week.first_day}\n{week.users:,} users", justify="right", no_wrap=True)
    table.add_column(f"{ALL_WEEKS}\n{report.users:,} users", justify="right", no_wrap=True)
    for name, by_metric in report.figures.items():
        groups = [*(week.first_day for week in report.weeks), ALL_WEEKS]
        table.add_row(Text(name), *(_cell(by_metric[report.metric][group]) for group in groups))
    return Group(table, *(Text(f"\n{sentence}") for sentence in report.answers.values()))


def ladder_table(report: Kang2017Report) -> Table:
    """Return what is published beside what is measured, for `rich`."""
    published = f"published\n{report.compared_with}" if report.compared_with else ""
    table = _table("AUC: all items, and cold items (fewer than 5 training actions)")
    table.caption = report.protocol
    table.add_column("paper")
    table.add_column("here")
    for group in ("all", "cold"):
        if published:
            table.add_column(f"{published}, {group}", justify="right")
        table.add_column(f"measured\n{group}", justify="right", no_wrap=True)
    for rung in report.rungs:
        cells: list[str | Text] = [rung.name, rung.model]
        for group in ("all", "cold"):
            if published:
                cells.append(f"{rung.published[group]:.3f}")
            cells.append(_cell(rung.measured[group]))
        table.add_row(*cells)
    return table


def _table(title: str) -> Table:
    return Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))


def _cell(one: Estimate) -> Text:
    if math.isnan(one.value):
        return Text("-")
    return Text.assemble(f"{one.value:.4f}\n", (f"{one.low:.4f}-{one.high:.4f}", "dim"))
