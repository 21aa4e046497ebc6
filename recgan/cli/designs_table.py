"""The figures of judged designs as tables for a person."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table

from recgan.evaluation.designs.report import DesignsReport, columns

__all__ = ["designs_table"]

_WINS, _LIFTS, _COSTS = slice(1, 4), slice(4, 10), slice(10, None)
"""Columns that are shown together: three tables, so that each fits 80 columns of text."""


def designs_table(report: DesignsReport) -> Group:
    """Return a row a method: wins by judge; lifts and what others see of them; what the designs cost in likeness."""
    heads, rows = columns(report.methods)
    users, each = report.budget["users"], report.budget["designs_per_user"]
    titles = {
        f"{users:,} users, {each} {'design' if each == 1 else 'designs'} each: preferred to A's best real item": _WINS,
        "lift over the mean real item, in standard deviations, and what others see of it": _LIFTS,
        "whose they are, how real, how various": _COSTS,
    }
    tables = []
    for title, part in titles.items():
        table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        table.add_column(heads[0], no_wrap=True)
        for head in heads[part]:
            table.add_column(head, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(row[0], *row[part])
        tables.append(table)
    return Group(*tables)
