"""The figures of judged designs as tables for a person."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table

from recgan.evaluation.designs.report import DesignsReport, columns

__all__ = ["designs_table"]

_WINS, _LIFTS, _GAINS, _LIKENESS = slice(1, 4), slice(4, 8), slice(8, 12), slice(12, None)
"""Columns that are shown together, so that each table fits 80 columns of text."""


def designs_table(report: DesignsReport) -> Group:
    """Return a row a method: wins by judge, lifts, what others see of them, and how like photos the designs are."""
    heads, rows = columns(report.methods)
    users, each = report.budget["users"], report.budget["designs_per_user"]
    titles = {
        f"{users:,} users, {each} {'design' if each == 1 else 'designs'} each: preferred to A's best real item": _WINS,
        "lift over the mean real item, in standard deviations": _LIFTS,
        "what others see of it, how often nothing is to be seen, whose designs they are": _GAINS,
        "how real, how various, how near and far from training pictures": _LIKENESS,
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
