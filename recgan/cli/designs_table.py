"""The figures of judged designs as a table for a person."""

from __future__ import annotations

from rich.table import Table

from recgan.evaluation.designs.report import DesignsReport, columns

__all__ = ["designs_table"]


def designs_table(report: DesignsReport) -> Table:
    """Return a row a method: wins by judge, lifts, transfer and what the designs cost in likeness."""
    heads, rows = columns(report.methods)
    shown = Table(title=f"{report.budget['users']:,} users, {report.budget['designs_per_user']} designs each")
    for place, head in enumerate(heads):
        shown.add_column(head, justify="left" if place == 0 else "right")
    for row in rows:
        shown.add_row(*row)
    return shown
