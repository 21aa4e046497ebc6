"""A ranking report's figures as the rows and marks of a page. No files, no pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from recgan.evaluation.ranking.report import ModelFigures, RankingReport

__all__ = ["Cell", "Mark", "Plot", "comparison_rows", "interval_plot", "labels", "ranking_heads", "ranking_rows"]

GROUPS = ("all", "warm", "cold")
METRICS = (("auc", "AUC"), ("ndcg@20", "NDCG@20"), ("recall@20", "Recall@20"))
_TICK_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Mark:
    """One model in a plot; positions in percent of the axis."""

    name: str
    at: float
    low: float
    width: float


@dataclass(frozen=True)
class Plot:
    """A dot with its interval for each model, and the ceiling where there is one."""

    title: str
    axis: str
    alt: str
    marks: list[Mark]
    ticks: list[dict[str, Any]]
    ceiling: float | None


def _label(name: str, figures: ModelFigures) -> str:
    """Return what a model is called on the page: a saved one by its model's name, not by its folder."""
    return str(figures.about["model"]) if figures.about.get("saved") else name


@dataclass(frozen=True)
class Cell:
    """One cell of the table."""

    text: str
    interval: str = ""
    best: bool = False


def labels(report: RankingReport) -> dict[str, str]:
    """Return what each model is called on the page; models that would be called alike keep their own names."""
    short = {name: _label(name, figures) for name, figures in report.models.items()}
    called = list(short.values())
    return {name: label if called.count(label) == 1 else name for name, label in short.items()}


def _lines(report: RankingReport) -> list[tuple[str, ModelFigures]]:
    """Return (label, figures) of the models, the best AUC first."""
    named = labels(report)
    ordered = sorted(report.models.items(), key=lambda line: -line[1].values["auc"]["all"])
    return [(named[name], figures) for name, figures in ordered]


def ranking_heads(report: RankingReport) -> list[dict[str, Any]]:
    """Return the table's column groups."""
    heads: list[dict[str, Any]] = [{"name": label, "columns": list(GROUPS)} for _, label in METRICS]
    if report.oracle:
        heads.append({"name": "Oracle share", "columns": ["all", "cold"]})
    heads.append({"name": "Coverage", "columns": ["@20"]})
    return heads


def ranking_rows(report: RankingReport) -> list[dict[str, Any]]:
    """Return the table's rows: the models, the best AUC first, then the oracle; the best of a column is marked."""
    lines = _lines(report)
    best = {
        (metric, group): max(_known(figures.values[metric][group]) for _, figures in lines)
        for metric, _ in METRICS
        for group in GROUPS
    }
    rows = []
    for label, figures in [*lines, *([("oracle", report.oracle)] if report.oracle else [])]:
        cells: list[Cell] = []
        for metric, _ in METRICS:
            for group in GROUPS:
                value, limits = figures.values[metric][group], figures.intervals[metric][group]
                wins = figures is not report.oracle and len(lines) > 1 and value == best[metric, group]
                cells.append(_cell(value, limits, wins))
        if report.oracle:
            cells += [Cell(_percent(figures.share.get(group, math.nan))) for group in ("all", "cold")]
        cells.append(Cell(_percent(figures.lists["coverage@20"])))
        rows.append({"name": label, "cells": cells})
    return rows


def comparison_rows(report: RankingReport) -> list[dict[str, str]]:
    """Return the rows of the table of differences."""
    names = labels(report)
    return [
        {
            "name": f"{names[one.model]} − {names[one.against]}",
            "measure": f"{one.metric} {one.group}",
            "mean": f"{one.difference:+.4f}",
            "interval": f"{one.low:+.4f} to {one.high:+.4f}",
            "p": "< 0.001" if one.p_holm < 0.001 else f"{one.p_holm:.3f}",
        }
        for one in report.comparisons
    ]


def interval_plot(report: RankingReport, metric: str = "auc", group: str = "all") -> Plot:
    """Return the plot of one metric over one group of held-out items; the axis begins at chance (AUC 0.5)."""
    lines = [(label, figures) for label, figures in _lines(report) if not math.isnan(figures.values[metric][group])]
    ceiling = report.oracle.values[metric][group] if report.oracle else math.nan
    tops = [figures.intervals[metric][group][1] for _, figures in lines] + [ceiling]
    bottoms = [figures.intervals[metric][group][0] for _, figures in lines] + [0.5]
    low, high, step = _axis(min(map(_known_low, bottoms)), max(map(_known, tops)))

    def place(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 3)

    marks = []
    for label, figures in lines:
        first, last = figures.intervals[metric][group]
        value = figures.values[metric][group]
        marks.append(Mark(label, place(value), place(first), round(place(last) - place(first), 3)))
    told = "; ".join(f"{label} {figures.values[metric][group]:.3f}" for label, figures in lines)
    if not math.isnan(ceiling):
        told += f"; the oracle {ceiling:.3f}"
    count = round((high - low) / step)
    return Plot(
        title=f"How well held-out items are ranked ({group})",
        axis="exact test AUC (0.5: chance, 1: perfect)" if report.part == "test" else "exact validation AUC",
        alt=f"AUC on {group} items: {told}",
        marks=marks,
        ticks=[{"at": place(low + tick * step), "label": f"{low + tick * step:.2f}"} for tick in range(count + 1)],
        ceiling=None if math.isnan(ceiling) else place(ceiling),
    )


def _axis(low: float, high: float) -> tuple[float, float, float]:
    """Return the ends of an axis that holds low to high, and a tick step of which there are at most six."""
    for step in _TICK_STEPS:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= 5:
            break
    last = max(last, first + 1)
    return first * step, last * step, step


def _cell(value: float, limits: tuple[float, float], best: bool) -> Cell:
    if math.isnan(value):
        return Cell("–")
    low, high = (f"{limit:.3f}".removeprefix("0") for limit in limits)
    return Cell(f"{value:.3f}", f"{low}–{high}", best)


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _known_low(value: float) -> float:
    return math.inf if math.isnan(value) else value
