"""Verbs of the blind test: make, serve, report."""

from __future__ import annotations

import math
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
    VisualRecommenderOption,
    app,
    table,
)
from recgan.console import answer, remark, shown_progress

blindtest_app = typer.Typer(help="Let people judge designs among real items, blind.", no_args_is_help=True)
app.add_typer(blindtest_app, name="blindtest")

_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A blind test (from 'recgan blindtest make').")]
_LABELS = {
    "real_items_called_real": "real items called real",
    "designs_called_real": "designs called real",
    "told_apart": "told apart rightly (chance: 50%)",
    "designs_stocked": "designs stocked rather than the user's best real item",
    "neither_stocked": "neither stocked",
    "left_chosen": "left one chosen (a bias, if far from 50%)",
}


@blindtest_app.command("make")
def make_(
    bundle: BundlePath,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    out: LocalOut,
    users: Annotated[
        int, typer.Option("--users", min=1, max=500, help="Users drawn: each gives a pair and two single pictures.")
    ] = 12,
    title: Annotated[str, typer.Option("--title", help="Of the page.", show_default="the bundle's name")] = "",
    preset: Preset = "default",
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a page that mixes designs with real items: which would you stock, and real or designed?"""
    from recgan.atomic import check_place
    from recgan.config import overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer, load_preset
    from recgan.evaluation.blindtest import design_for_test, make_blindtest

    chosen = overridden(load_preset(preset), settings or [])
    check_place(out, overwrite=overwrite)
    with shown_progress() as progress:
        opened = Bundle.open(bundle)
        designer = load_designer(recommender, gan, bundle=opened, device=device, progress=progress)
        designs = design_for_test(designer, users, seed=seed, settings=chosen, progress=progress)
        key = make_blindtest(opened, designer, designs, out, title=title, seed=seed, overwrite=overwrite)
    pairs = sum(len(shown) == 2 for shown in key.trials.values())
    told = {
        "out": str(out),
        "test": key.test,
        "users": len(designs),
        "pairs": pairs,
        "singles": len(key.trials) - pairs,
    }
    answer(told, f"{pairs} pairs and {told['singles']} single pictures", as_json=as_json)
    remark(f"wrote {out}; 'recgan blindtest serve {out}' shows it, or hand on {out}/page.html, but not {out}/key.json")


@blindtest_app.command("serve")
def serve_(
    folder: _Folder,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0: all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8765,
) -> None:
    """Show the page of a blind test and write down the votes, until Ctrl-C."""
    from recgan.evaluation.blindtest import VoteServer

    with VoteServer(folder, host, port) as server:
        remark(f"the blind test is at {server.url} (Ctrl-C ends it); votes go to {folder}/votes.jsonl")
        server.serve_forever()


@blindtest_app.command("report")
def report_(
    folder: _Folder,
    votes: Annotated[
        list[Path] | None, typer.Argument(metavar="VOTES", help="Files that people downloaded from the page.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what people voted, with 95% intervals."""
    from recgan.evaluation.blindtest import report_votes

    report = report_votes(folder, votes or [], seed=seed)
    rows = [
        {
            "figure": _LABELS[name],
            "share": "–" if math.isnan(one.share) else f"{one.share:.1%}",
            "95% interval": "–" if math.isnan(one.share) else f"{one.low:.1%} to {one.high:.1%}",
            "votes": one.votes,
        }
        for name, one in report.figures.items()
    ]
    answer(report.as_json(), table(rows, ["figure", "share", "95% interval", "votes"]), as_json=as_json)
    people = "1 person" if report.people == 1 else f"{report.people} people"
    remark(f"{report.votes} votes of {people}; intervals: {report.method}")
    if report.method.startswith("Wilson"):
        remark("note: so few people say little about others; these intervals are too narrow for that")
