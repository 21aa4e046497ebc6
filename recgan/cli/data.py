"""Verbs that make, change and show data: import, boutique, simulate, embed, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.app import (
    Assignments,
    BundlePath,
    Device,
    EncoderName,
    ImageSize,
    Json,
    LocalOut,
    Overwrite,
    Seed,
    app,
    embed_settings,
    local_path,
)
from recgan.console import answer, remark, shown_progress


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="folder, fashion-product-images, hm, renttherunway, mnist, …")],
    path: Annotated[Path, typer.Argument(help="The source's folder or file.")],
    out: LocalOut,
    items: Annotated[str | None, typer.Option("--items", help="Items table (CSV or Parquet).")] = None,
    interactions: Annotated[str | None, typer.Option("--interactions", help="Interactions table.")] = None,
    images: Annotated[str | None, typer.Option("--images", help="Folder or zip of the images.")] = None,
    settings: Assignments = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Import a catalogue and its interactions into a bundle. Column names of a shop's own export go by --set."""
    from recgan.config import ImportOptions, overridden
    from recgan.dataset.importers import import_bundle

    files = {"items": items, "interactions": interactions, "images": images}
    given = {name: file for name, file in files.items() if file is not None}
    options = overridden(ImportOptions(**given), settings or [])
    with shown_progress() as progress:
        summary = import_bundle(source, path, out, options=options, overwrite=overwrite, progress=progress)
    answer(summary.as_json(), summary, as_json=as_json)
    remark(f"wrote {out}\nnext: recgan show {out}    or: {_ahead(out, summary.images, summary.interactions)}")


def _ahead(bundle: Path, images: int, interactions: int) -> str:
    """Return the verb that makes most of what a bundle has."""
    if not images:
        return f"recgan evaluate ranking {bundle} --models popularity,bpr_mf"
    if not interactions:
        return f"recgan simulate {bundle} --out {bundle}-users (it has no interactions of its own)"
    return f"recgan embed {bundle}"


@app.command()
def boutique(
    out: LocalOut,
    items: Annotated[int, typer.Option("--items", min=1)] = 3000,
    size: Annotated[int, typer.Option("--size", min=64, max=128, help="Side in pixels.")] = 96,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw the built-in catalogue of garments: no download, deterministic by its seed."""
    from recgan.dataset.boutique import make_boutique

    with shown_progress() as progress:
        bundle = make_boutique(out, items=items, size=size, seed=seed, overwrite=overwrite, progress=progress)
    answer(
        {"items": items, "categories": bundle.category_names},
        f"{items:,} items in {len(bundle.category_names)} categories",
        as_json=as_json,
    )
    remark(f"wrote {out}\nnext: recgan simulate {out} --out {out}-users")


@app.command()
def simulate(
    bundle: BundlePath,
    out: LocalOut,
    users: Annotated[int, typer.Option("--users", min=1)] = 2000,
    interactions: Annotated[int, typer.Option("--interactions", min=1)] = 40000,
    seed: Seed = 0,
    ideals: Annotated[
        str, typer.Option("--ideals", help="held_out (the styles of real items) or random.")
    ] = "held_out",
    settings: Assignments = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Give a catalogue users with a known taste (and keep the oracle that knows it)."""
    from recgan.config import SimulateSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.dataset.simulate import simulate_users

    options = [f"users={users}", f"interactions={interactions}", f"seed={seed}", f"ideals={ideals}"]
    chosen = overridden(SimulateSettings(), [*options, *(settings or [])])
    with shown_progress() as progress:
        made = simulate_users(Bundle.open(bundle), out, chosen, overwrite=overwrite, progress=progress)
    counts = made.header.counts
    answer(counts, f"{counts['users']:,} simulated users, {counts['interactions']:,} interactions", as_json=as_json)
    remark(f"wrote {out}\nnext: recgan embed {out}")


@app.command()
def embed(
    bundle: BundlePath,
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 64,
    settings: Assignments = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Turn the catalogue's images into features, cached beside the bundle."""
    from recgan.dataset.bundle import Bundle
    from recgan.encoders import embed_items

    chosen = embed_settings(encoder, size, settings or [])
    opened = Bundle.open(bundle)
    with shown_progress() as progress:
        features = embed_items(opened, chosen, device=device, progress=progress)
    items, width = features.values.shape
    answer(
        {"items": items, "dim": width, "encoder": features.encoder, "size": features.size},
        f"{items:,} items, {width} features each, by {features.encoder} at {features.size} px",
        as_json=as_json,
    )
    taken = opened.header.counts["interactions"]
    train = f"recgan train recommender {bundle} --model vbpr --out DIR"
    remark(f"next: {train if taken else _ahead(bundle, items, taken)}")


@app.command()
def show(
    bundle: BundlePath,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", parser=local_path, help="Folder of the pictures (default: BUNDLE-show)."),
    ] = None,
    per_category: Annotated[int, typer.Option("--per-category", min=1)] = 12,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a picture sheet by category and a few histograms."""
    from recgan.dataset.bundle import Bundle
    from recgan.dataset.show import show_bundle

    folder = out or bundle.with_name(bundle.name + "-show")
    paths = show_bundle(Bundle.open(bundle), folder, per_category=per_category, seed=seed)
    answer({"pictures": [str(p) for p in paths]}, "\n".join(str(p) for p in paths), as_json=as_json)
