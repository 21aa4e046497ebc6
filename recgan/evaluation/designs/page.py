"""The proof of designs as a folder: ``designs.json`` and a page of the users, drawn by the seed, with their designs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from recgan.atomic import atomic_folder
from recgan.dataset.bundle import Bundle
from recgan.design import Designer
from recgan.evaluation.designs.judges import ATTRIBUTE, JUDGE, SCORER, STYLE
from recgan.evaluation.designs.report import JUDGES, DesignsReport, columns
from recgan.evaluation.estimates import Estimate
from recgan.evaluation.pages import render_page
from recgan.evaluation.pictures import generated_tile, item_tiles

__all__ = ["save_designs_report"]

PAGE, FIGURES = "designs.html", "designs.json"
_SHOWN = 24
"""Users on the page: the first that were drawn."""
_HISTORY = 8
_NAMES = {SCORER: "A", JUDGE: "B", STYLE: "style", ATTRIBUTE: "attributes"}


def save_designs_report(
    report: DesignsReport, bundle: Bundle, designer: Designer, out: str | Path, *, overwrite: bool = False
) -> None:
    """Write the folder; whole or not at all.

    Raises:
        ArtifactError: it exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    heads, rows = columns(report.methods)
    text = render_page(
        "designs.html",
        style="report.css",
        title=f"Designs judged: {bundle.name}",
        subtitle=_subtitle(report),
        findings=report.findings(),
        heads=heads,
        rows=rows,
        comparisons=_comparisons(report),
        headroom=report.headroom,
        facts=_facts(report),
        users=[_user(report, bundle, designer, row) for row in range(min(_SHOWN, len(report.users)))],
    )
    with atomic_folder(out, overwrite=overwrite) as building:
        (building / PAGE).write_text(text, encoding="utf-8")
        figures = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
        (building / FIGURES).write_text(figures + "\n", encoding="utf-8")


def _subtitle(report: DesignsReport) -> str:
    budget = report.budget
    scorer, judge = ("{model} through {encoder}".format(**budget[who]) for who in ("scorer", "judge"))
    return (
        f"{budget['users']:,} users drawn by seed {budget['seed']}, designs each: {budget['designs_per_user']} · "
        f"scorer A {scorer} · judge B {judge} · generator {budget['gan']['recipe']} at {budget['gan']['size']} px"
    )


def _comparisons(report: DesignsReport) -> list[list[str]]:
    def row(other: str, told: str, by_judge: dict[str, Estimate], form: str) -> list[str]:
        cells = [
            f"{one.value:{form}} ({one.low:{form}} to {one.high:{form}})" if (one := by_judge.get(who)) else "–"
            for who in JUDGES
        ]
        return [told.format(report.main, other), *cells]

    lifts = [row(other, "{} − {}", judges, "+.2f") for other, judges in report.comparisons.items()]
    return lifts + [row(other, "{} preferred to {}", judges, ".0%") for other, judges in report.preferred.items()]


def _facts(report: DesignsReport) -> list[tuple[str, str]]:
    budget = report.budget
    accuracy = ", ".join(f"{name} {value:.2f}" for name, value in budget["reader_accuracy"].items())
    passes = ", ".join(f"{name} {count:,}" for name, count in budget["passes_per_design"].items())
    facts = [
        ("pictures looked at for a design", passes),
        ("reader of attributes, accuracy on test photos", accuracy),
        ("device", f"{budget['device']}, {budget['seconds']:,.0f} s"),
    ]
    for name, settings in budget["settings"].items():
        facts.append((f"settings of {name}", ", ".join(f"{key} {value}" for key, value in settings.items())))
    return facts


def _user(report: DesignsReport, bundle: Bundle, designer: Designer, row: int) -> dict[str, Any]:
    user = report.users[row]
    seen = designer.recommender.user_vector(user.user_id).seen
    log = bundle.interactions
    own = log[log["user_id"] == user.user_id].groupby("item_id")["timestamp"].max()
    ids = [str(bundle.item_ids[item]) for item in seen]
    latest = own.reindex(ids).reset_index(drop=True).sort_values(ascending=False, kind="stable").index[:_HISTORY]
    methods = []
    for name, made in report.made.items():
        lines = [
            [
                f"{_NAMES[who]} {scores[row, place]:+.2f} ({report.percentiles[name][who][row, place]:.0f}%)"
                for who, scores in report.scores[name].items()
            ]
            for place in range(made.pixels.shape[1])
        ]
        if made.rows is None:
            pictures: list[np.ndarray] = list(made.pixels[row])
            tiles = [
                generated_tile(image, f"{name}: designed {user.category}", told) for image, told in zip(pictures, lines)
            ]
        else:
            tiles = item_tiles(bundle, made.rows[row].tolist(), lines)
        methods.append({"name": name, "tiles": tiles})
    return {
        "user_id": user.user_id,
        "category": user.category,
        "history": item_tiles(bundle, [int(item) for item in seen[latest.to_numpy()]]),
        "methods": methods,
    }
