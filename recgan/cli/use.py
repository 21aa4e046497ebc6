"""Verbs that use what was trained: recommend, design."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.app import (
    Assignments,
    Device,
    GANOption,
    HowMany,
    Index,
    Json,
    LocalOut,
    Overwrite,
    Seed,
    VisualRecommenderOption,
    app,
    local_path,
    opened_photos,
    table,
)
from recgan.console import answer, remark, shown_progress
from recgan.errors import SettingsError

if TYPE_CHECKING:
    from recgan.design.audience import Someone
    from recgan.recommenders import Recommender
    from recgan.recommenders.explain import Explanation

_Photo = Annotated[
    list[Path] | None, typer.Option("--photo", metavar="FILE", help="A photo of something liked; may be repeated.")
]
_CARRIERS = 3
"""Liked items that raise a score the most, told beside it."""


@app.command()
def recommend(
    recommender: Annotated[str, typer.Argument(metavar="DIR", help="A trained recommender.")],
    user: Annotated[str | None, typer.Option("--user", help="A user's id.")] = None,
    liked: Annotated[
        list[str] | None, typer.Option("--liked", help="An item liked by a user without an id; may be repeated.")
    ] = None,
    disliked: Annotated[
        list[str] | None, typer.Option("--disliked", help="One that this user does not like; may be repeated.")
    ] = None,
    photo: _Photo = None,
    everybody: Annotated[bool, typer.Option("--all", help="For every user, into one Parquet file (--out).")] = False,
    k: Annotated[int, typer.Option("-k", min=1)] = 10,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Only this category; may be repeated.")
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items the user has already taken.")
    ] = False,
    index: Index = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of what each score is made, and which liked items carry it.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option("--data", help="With --explain: the bundle, for maps of the pixels that count.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="PATH", parser=local_path, help="With --all: the file; with --data: a folder of maps."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Recommend items to a user, to anybody who likes some items or photos, or to all users."""
    from recgan.config import index_settings
    from recgan.dataset.bundle import Bundle
    from recgan.recommenders import load_recommender

    if (user is not None) + bool(liked or disliked or photo) + everybody != 1:
        raise SettingsError("say for whom: --user ID, or --liked ITEM and --photo FILE, or --all; one of them")
    settings = index_settings("flat" if index is None else index)
    if everybody and (explain or data or settings.kind != "flat"):
        raise SettingsError("--all gives the exact lists alone; leave out --explain, --data and --index")
    if everybody and out is None:
        raise SettingsError("--all writes a file; give --out FILE.parquet")
    if data is not None and (out is None or not explain):
        raise SettingsError("--data is for maps; give --explain, and --out FOLDER for them")
    if out is not None and not (everybody or data):
        raise SettingsError("--out is for --all (the file), and for --explain with --data (a folder for the maps)")
    photos = opened_photos(photo or [])
    images = list(photos.values()) or None
    model = load_recommender(recommender)
    if model.own is not None and not include_seen:
        remark(f"{model.name} is for what is taken again: without --include-seen its lists are what is popular")
    if everybody and out is not None:
        _recommend_all(model, out, k, not include_seen, category or None, overwrite, as_json)
        return
    if settings.kind != "flat":
        from recgan.recommenders.topk.ann import ApproximateIndex

        built = ApproximateIndex.build(model.item_factors, model.user_factors, settings)
        model.use_index(built)
        remark(built)
    someone = user if user is not None else model.fold_in(liked or [], disliked or [], images=images)
    found = model.recommend([someone], k, exclude_seen=not include_seen, categories=category or None)[0]
    rows = [{"item_id": r.item_id, "score": r.score, "category": r.category} for r in found]
    columns = ["item_id", "score", "category"]
    flat = rows
    if explain and rows:
        from recgan.recommenders.explain import explain as explained
        from recgan.recommenders.explain import save_maps

        ids = [one.item_id for one in found]
        shown = explained(model, ids, user=user, liked=liked or [], disliked=disliked or [], images=images)
        flat = _explain(rows, shown, list(photos))
        columns = list(flat[0])
        if data is not None and out is not None:
            vector = model.user_vector(someone) if isinstance(someone, str) else someone
            for row, name in zip(rows, save_maps(model, vector, ids, Bundle.open(data), out, overwrite=overwrite)):
                row["map"] = name
            remark(f"wrote {out}")
    answer({"items": rows}, table(flat, columns), as_json=as_json)
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


def _recommend_all(
    model: Recommender,
    out: Path,
    k: int,
    exclude_seen: bool,
    categories: list[str] | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from recgan.recommenders.topk.batch import recommend_all

    with shown_progress() as progress:
        rows = recommend_all(
            model, out, k, exclude_seen=exclude_seen, categories=categories, overwrite=overwrite, progress=progress
        )
    told = {"out": str(out), "users": len(model.user_ids), "rows": rows}
    answer(told, f"{rows:,} recommendations for {len(model.user_ids):,} users", as_json=as_json)
    remark(f"wrote {out}")


def _explain(rows: list[dict[str, Any]], shown: list[Explanation], photos: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Add to ``rows`` why they are there; return the rows of a table of it, narrow enough for 80 columns."""
    flat = []
    for row, one in zip(rows, shown):
        carried = one.liked + list(zip(photos, one.extra))
        raising = sorted((pair for pair in carried if pair[1] > 0), key=lambda pair: -pair[1])
        flat.append(
            {
                "item": f"{row['item_id']}\n{row['category']}",
                "score": float(row["score"]),
                "made of": "\n".join(f"{value:+.3f} {name}" for name, value in one.parts.items()),
                "because of": "\n".join(f"{influence:+.3f} {name}" for name, influence in raising[:_CARRIERS]),
            }
        )
        row["parts"] = one.parts
        row["because"] = [{"item_id": item_id, "influence": influence} for item_id, influence in one.liked]
        row["because"] += [{"photo": name, "influence": influence} for name, influence in zip(photos, one.extra)]
    return flat


@app.command()
def design(
    recommender: VisualRecommenderOption,
    gan: GANOption,
    category: Annotated[str, typer.Option("--category", help="What to design.")],
    out: LocalOut,
    user: Annotated[
        list[str] | None, typer.Option("--user", help="A user's id; repeated: one design for all of them.")
    ] = None,
    liked: Annotated[list[str] | None, typer.Option("--liked", help="An item liked; may be repeated.")] = None,
    photo: _Photo = None,
    n: HowMany = 8,
    preset: Annotated[str, typer.Option("--preset", help="default or kang2017.")] = "default",
    data: Annotated[
        Path | None, typer.Option("--data", help="The bundle: needed where recommender and GAN differ in image size.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", metavar="DIR", help="Another recommender that helps to score; may be repeated."),
    ] = None,
    settings: Assignments = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="SECONDS", help="End the search with what it has by then.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Design items of a category that a user, a cohort, or somebody who likes some items or photos would prefer."""
    from recgan.atomic import check_place
    from recgan.config import check_request, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer, load_preset, save_designs, sheet_of

    if bool(user) == bool(liked or photo):
        raise SettingsError("say for whom: --user ID (once or more), or --liked ITEM and --photo FILE, not both")
    chosen = overridden(load_preset(preset), settings or [])
    check_request(n, seed)
    photos = list(opened_photos(photo or []).values()) or None
    check_place(out, overwrite=overwrite)
    with shown_progress() as progress:
        designer = load_designer(
            recommender,
            gan,
            bundle=Bundle.open(data) if data else None,
            companions=beside or (),
            device=device,
            progress=progress,
        )
        if user:
            someone: Someone = user[0] if len(user) == 1 else user
        else:
            someone = designer.recommender.fold_in(liked or [], images=photos)
        designs = designer.design(
            someone, category, n, seed=seed, settings=chosen, progress=progress, time_limit=time_limit
        )
        rows = [designs[first : first + 8] for first in range(0, len(designs), 8)]
        saved = save_designs(designs, out, pictures={"sheet.png": sheet_of(rows)}, overwrite=overwrite)
    columns = ["image", "score", "percentile", "seed"]
    answer(saved, table(saved["designs"], columns), as_json=as_json)
    if unfinished := sum("unfinished" in one.settings for one in designs):
        remark(f"note: the time limit ended the search of {unfinished} of the {n} designs; they are the best by then")
    if unseen := sum("unseen" in one.settings for one in designs):
        remark(
            f"note: {unseen} of the {n} designs are the samples that they began with, since climbing from there "
            "changed nothing that is seen (--set visible=false keeps the climbs)"
        )
    remark(f"wrote {out} (look at {out}/sheet.png)")
