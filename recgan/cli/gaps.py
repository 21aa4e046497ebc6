"""The verb that finds what a catalogue lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.app import (
    Assignments,
    BundlePath,
    Device,
    GANOption,
    Json,
    LocalOut,
    Overwrite,
    Preset,
    Seed,
    app,
    table,
)
from recgan.console import answer, remark, shown_progress


@app.command("gaps")
def gaps_(
    bundle: BundlePath,
    recommender: Annotated[str, typer.Option("--recommender", metavar="DIR", help="The one that designs (A).")],
    gan: GANOption,
    judge: Annotated[
        Path, typer.Option("--judge", metavar="DIR", help="A second recommender (B), trained with another --encoder.")
    ],
    out: LocalOut,
    cohorts: Annotated[int, typer.Option("--cohorts", min=1, max=200, help="Clusters of users by taste.")] = 6,
    category: Annotated[
        list[str] | None,
        typer.Option("--category", help="To design; may be repeated. [default: the two that each cohort took most of]"),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Designs for each cohort and category; A chooses one.")] = 4,
    preset: Preset = "default",
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find what the catalogue lacks: designs that a judge prefers to all stock, for cohorts of users."""
    from recgan.atomic import check_place
    from recgan.config import check_request, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer, load_preset
    from recgan.evaluation.gaps import find_gaps, load_judge, save_gaps

    chosen = overridden(load_preset(preset), settings or [])
    check_request(n, seed)
    check_place(out, overwrite=overwrite)
    with shown_progress() as progress:
        opened = Bundle.open(bundle)
        designer = load_designer(recommender, gan, bundle=opened, device=device, progress=progress)
        found = find_gaps(
            opened,
            designer,
            load_judge(judge, designer, opened, progress=progress),
            cohorts=cohorts,
            categories=category or (),
            designs=n,
            settings=chosen,
            seed=seed,
            progress=progress,
        )
        told = save_gaps(found, opened, out, overwrite=overwrite)
    rows = [
        {
            "category": gap.category,
            "cohort": gap.cohort,
            "users": gap.users,
            "gap": f"{gap.gap.mean:+.2f} ({gap.gap.low:+.2f} to {gap.gap.high:+.2f})",
            "preferred by": f"{gap.preferred_by:.0%}",
            "colours": ", ".join(one.name for one in gap.palette),
        }
        for gap in found.gaps
    ]
    answer(told, table(rows, ["category", "cohort", "users", "gap", "preferred by", "colours"]), as_json=as_json)
    remark(f"{told['found']} of {len(rows)} cases show a gap; wrote {out} (open {out}/gaps.html, or print it)")
