"""Plots of figures with their intervals, as PNG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgan.evaluation.estimates import Estimate

__all__ = ["Panel", "plot_estimates", "plot_series"]

_INK = "#333333"
_NAME_LENGTH = 40


@dataclass(frozen=True)
class Panel:
    """One axis of values, a row a name."""

    label: str
    """What is measured and in what unit."""
    rows: Sequence[Estimate]
    line: float = math.nan
    """Where a dashed line is drawn."""
    line_name: str = ""


def plot_estimates(path: Path, title: str, names: Sequence[str], panels: Sequence[Panel]) -> None:
    """Draw a dot with its interval for each name (first at the top) in panels side by side."""
    figure = _figure(title, 3.4 * len(panels) + 1.4, 1.5 + 0.34 * len(names))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    places = list(range(len(names), 0, -1))
    for axis, panel in zip(axes, panels):
        shown = [(place, row) for place, row in zip(places, panel.rows) if math.isfinite(row.value)]
        for place, row in shown:
            axis.plot([row.low, row.high], [place, place], color="#4c72b0", linewidth=2.5, solid_capstyle="butt")
        axis.plot([row.value for _, row in shown], [place for place, _ in shown], "o", color=_INK, markersize=5)
        if math.isfinite(panel.line):
            axis.axvline(panel.line, color="#c44e52", linestyle="--", linewidth=1)
            label = {"xy": (panel.line, 1.0), "xycoords": ("data", "axes fraction"), "fontsize": 8, "color": "#c44e52"}
            axis.annotate(panel.line_name, xytext=(2, 2), textcoords="offset points", **label)
        axis.set_xlabel(panel.label, parse_math=False)
        axis.locator_params(axis="x", nbins=5)  # more of them would touch where they have three digits
        _plain(axis)
    axes[0].set_yticks(places, [_short(name) for name in names], parse_math=False)
    axes[0].set_ylim(0.4, len(names) + 0.6)
    figure.savefig(path, format="png")


def plot_series(
    path: Path, title: str, x_label: str, y_label: str, steps: Sequence[str], lines: dict[str, Sequence[Estimate]]
) -> None:
    """Draw for each name a line over the steps, its intervals as bars."""
    figure = _figure(title, 7.4, 4.2)
    axis = figure.add_subplot()
    for number, (name, row) in enumerate(lines.items()):
        shift = 0.06 * (number - (len(lines) - 1) / 2)  # so that intervals do not hide each other
        shown = [(place + shift, one) for place, one in enumerate(row) if math.isfinite(one.value)]
        values = [one.value for _, one in shown]
        axis.errorbar(
            [place for place, _ in shown],
            values,
            yerr=[[one.value - one.low for _, one in shown], [one.high - one.value for _, one in shown]],
            label=_short(name),
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.2,
        )
    axis.set_xticks(range(len(steps)), steps)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.set_ylim(bottom=0)
    _plain(axis)
    axis.grid(axis="x", visible=False)
    legend = axis.legend(frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.savefig(path, format="png")


def _figure(title: str, width: float, height: float) -> Any:
    # matplotlib takes a moment to import; the figure is made without pyplot, which keeps global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=10, color=_INK, parse_math=False)
    return figure


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)
    axis.grid(alpha=0.25)


def _short(name: str) -> str:
    """Return a name that fits: of a long path its end."""
    return name if len(name) <= _NAME_LENGTH else "…" + name[-_NAME_LENGTH + 1 :]
