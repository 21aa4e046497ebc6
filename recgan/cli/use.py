"""Verbs that use what was trained: recommend, design, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.app import Assignments, Device, Json, LocalOut, Overwrite, Seed, app, table
from recgan.console import answer, remark, shown_progress
from recgan.errors import SettingsError


@app.command()
def recommend(
    recommender: Annotated[str, typer.Argument(metavar="DIR", help="A trained recommender.")],
    user: Annotated[str | None, typer.Option("--user", help="A user's id.")] = None,
    liked: Annotated[
        list[str] | None, typer.Option("--liked", help="An item liked by a user without an id; may be repeated.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1)] = 10,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Only this category; may be repeated.")
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items the user has already taken.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recommend items to a user, or to anybody who likes some items."""
    from recgan.recommenders import load_recommender

    if (user is None) == (not liked):
        raise SettingsError("say for whom: --user ID, or --liked ITEM (once or more), not both")
    model = load_recommender(recommender)
    someone = user if user is not None else model.fold_in(liked or [])
    found = model.recommend([someone], k, exclude_seen=not include_seen, categories=category or None)[0]
    rows = [{"item_id": r.item_id, "score": r.score, "category": r.category} for r in found]
    answer({"items": rows}, table(rows, ["item_id", "score", "category"]), as_json=as_json)
    if not rows:
        taken = not include_seen and model.recommend([someone], 1, exclude_seen=False, categories=category or None)[0]
        remark(
            "nothing is left to recommend: "
            + (
                "what is available was all taken already; pass --include-seen to be shown it again"
                if taken
                else "nothing is available here; try another --category, or none"
            )
        )


@app.command()
def design(
    recommender: Annotated[str, typer.Option("--recommender", metavar="DIR", help="A trained visual recommender.")],
    gan: Annotated[str, typer.Option("--gan", metavar="DIR", help="A trained GAN.")],
    category: Annotated[str, typer.Option("--category", help="What to design.")],
    out: LocalOut,
    user: Annotated[str | None, typer.Option("--user", help="A user's id.")] = None,
    liked: Annotated[list[str] | None, typer.Option("--liked", help="An item liked; may be repeated.")] = None,
    n: Annotated[int, typer.Option("-n", help="How many designs.")] = 8,
    preset: Annotated[str, typer.Option("--preset", help="default or kang2017.")] = "default",
    data: Annotated[
        Path | None, typer.Option("--data", help="The bundle: needed where recommender and GAN differ in image size.")
    ] = None,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Design items of a category that a user would prefer."""
    from recgan.atomic import check_place
    from recgan.config import overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer, load_preset, save_designs

    if (user is None) == (not liked):
        raise SettingsError("say for whom: --user ID, or --liked ITEM (once or more), not both")
    chosen = overridden(load_preset(preset), settings or [])
    check_place(out, overwrite=overwrite)
    with shown_progress() as progress:
        designer = load_designer(
            recommender, gan, bundle=Bundle.open(data) if data else None, device=device, progress=progress
        )
        someone = user if user is not None else designer.recommender.fold_in(liked or [])
        designs = designer.design(someone, category, n, seed=seed, settings=chosen, progress=progress)
        saved = save_designs(designs, out, overwrite=overwrite)
    columns = ["image", "score", "percentile", "seed"]
    answer(saved, table(saved["designs"], columns), as_json=as_json)
    remark(f"wrote {out}")


@app.command()
def serve(
    data: Annotated[Path, typer.Option("--data", help="The bundle that is served.")],
    recommender: Annotated[Path, typer.Option("--recommender")],
    gan: Annotated[Path | None, typer.Option(help="Without one, the service recommends but does not design.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="(default: 8000).")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = None,
) -> None:
    """Serve recommendations and designs over HTTP, with a page at /."""
    from service.run import serve as run_service
    from service.settings import service_settings

    run_service(service_settings(data=data, recommender=recommender, gan=gan, host=host, port=port, device=device))
