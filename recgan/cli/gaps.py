"""The verb that finds what a catalogue lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.app import (
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
from recgan.errors import SettingsError

_OF_JUDGE = ("judge_model", "judge_encoder")
"""Settings of the proof that say who judges."""


@app.command("gaps")
def gaps_(
    bundle: BundlePath,
    recommender: Annotated[str, typer.Option("--recommender", metavar="DIR", help="The one that designs (A).")],
    gan: GANOption,
    out: LocalOut,
    judge: Annotated[
        Path | None,
        typer.Option(
            "--judge",
            metavar="DIR",
            help="A second recommender (B), trained with another --encoder.",
            show_default="one trained from the half of the histories that A, of --split half=scorer, has not seen",
        ),
    ] = None,
    cohorts: Annotated[int, typer.Option("--cohorts", min=1, max=200, help="Clusters of users by taste.")] = 6,
    category: Annotated[
        list[str] | None,
        typer.Option(
            "--category", help="To design; may be repeated.", show_default="the two that each cohort took most of"
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Designs for each cohort and category; A chooses one.")] = 4,
    preset: Preset = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the search, or judge_model, judge_encoder."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find what the catalogue lacks: designs that a judge prefers to all stock, for cohorts of users."""
    from recgan.atomic import check_place
    from recgan.config import ProofSettings, check_request, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer, load_preset
    from recgan.evaluation.gaps import choose_judge, find_gaps, load_judge, save_gaps

    of_judge = [one for one in settings or () if one.partition("=")[0].strip() in _OF_JUDGE]
    if judge is not None and of_judge:
        raise SettingsError(f"--set {of_judge[0]} is of a judge that is trained here; leave out --judge, or this")
    chosen = overridden(load_preset(preset), [one for one in settings or () if one not in of_judge])
    proof = overridden(ProofSettings(), of_judge)
    check_request(n, seed)
    check_place(out, overwrite=overwrite)
    with shown_progress() as progress:
        opened = Bundle.open(bundle)
        designer = load_designer(recommender, gan, bundle=opened, device=device, progress=progress)
        found = find_gaps(
            opened,
            designer,
            choose_judge(opened, designer, proof, seed=seed, progress=progress)
            if judge is None
            else load_judge(judge, designer, opened, progress=progress),
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
