"""The command line: one thin command a verb, each over one public function.

Answers go to standard output (``--json``: one JSON object), everything else to standard error. Exit codes: 0 done,
2 the user's mistake, 1 ours, 130 stopped by Ctrl-C. Heavy libraries are imported by the verb that needs them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import recgan
from recgan.console import answer, fail, remark, shown_progress
from recgan.errors import RecganError, SettingsError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Learn each user's visual taste, recommend from a fashion catalogue, and design new items.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(help="Train a recommender or a generator.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Measure what was trained, and report.", no_args_is_help=True)
app.add_typer(train_app, name="train")
app.add_typer(evaluate_app, name="evaluate")

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A dataset bundle (see 'recgan import').")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Out = Annotated[Path, typer.Option("--out", help="Where to write; must not exist yet.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override a setting.")]
EncoderName = Annotated[str, typer.Option("--encoder", help="The eye that recommenders look through.")]
ImageSize = Annotated[int, typer.Option("--size", help="Side of the pixels the encoder is shown.")]


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"recgan {recgan.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn each user's visual taste, recommend from a fashion catalogue, and design new items."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the demo; what stands there is reused.")] = Path(
        "runs/demo"
    ),
    seed: Seed = 0,
    device: Device = "auto",
    settings: Assignments = None,
    as_json: Json = False,
) -> None:
    """Run the whole line on the built-in drawn catalogue: import to designs to report, in minutes."""
    from recgan.config import DemoSettings, overridden
    from recgan.demo import run_demo

    with shown_progress() as progress:
        result = run_demo(
            out, seed=seed, settings=overridden(DemoSettings(), settings or []), device=device, progress=progress
        )
    answer(result.as_json(), result.text(), as_json=as_json)


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="folder, fashion-product-images, hm, renttherunway, mnist, …")],
    path: Annotated[Path, typer.Argument(help="The source's folder or file.")],
    out: Out,
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
    remark(f"wrote {out}\nnext: recgan show {out}    or: recgan embed {out}")


@app.command()
def boutique(
    out: Out,
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
    out: Out,
    users: Annotated[int, typer.Option("--users", min=1)] = 2000,
    interactions: Annotated[int, typer.Option("--interactions", min=1)] = 40000,
    seed: Seed = 0,
    ideals: Annotated[
        str, typer.Option("--ideals", help="held_out (the styles of real items) or random.")
    ] = "held_out",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Give a catalogue users with a known taste (and keep the oracle that knows it)."""
    from recgan.config import SimulateSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.dataset.simulate import simulate_users

    assignments = [f"users={users}", f"interactions={interactions}", f"seed={seed}", f"ideals={ideals}"]
    chosen = overridden(SimulateSettings(), assignments)
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
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Turn the catalogue's images into features, cached beside the bundle."""
    from recgan.config import EmbedSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.encoders import embed_items

    chosen = overridden(EmbedSettings(), [f"encoder={encoder}", f"size={size}"])
    with shown_progress() as progress:
        features = embed_items(Bundle.open(bundle), chosen, device=device, progress=progress)
    items, width = features.values.shape
    answer(
        {"items": items, "dim": width, "encoder": features.encoder, "size": features.size},
        f"{items:,} items, {width} features each, by {features.encoder} at {features.size} px",
        as_json=as_json,
    )
    remark(f"next: recgan train recommender {bundle} --model vbpr --out DIR")


@app.command()
def show(
    bundle: BundlePath,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the pictures (default: BUNDLE-show).")] = None,
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


@train_app.command("recommender")
def train_recommender_(
    bundle: BundlePath,
    out: Out,
    model: Annotated[str, typer.Option("--model", help="vbpr, visual_knn, popularity, bpr, als.")] = "vbpr",
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 64,
    everything: Annotated[
        bool, typer.Option("--all", help="Train on all interactions: for production, not for evaluation.")
    ] = False,
    settings: Assignments = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", metavar="NAME=VALUE", help="Override a split setting.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a recommender on a bundle's train split."""
    from recgan.config import EmbedSettings, SplitSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.recommenders import recommender_type, train_recommender

    split_settings = overridden(SplitSettings(), (split or []) + (["protocol=all"] if everything else []))
    chosen = overridden(recommender_type(model).settings_type(), settings or [])
    with shown_progress() as progress:
        trained = train_recommender(
            Bundle.open(bundle),
            model,
            out=out,
            settings=chosen,
            split=split_settings,
            embed=overridden(EmbedSettings(), [f"encoder={encoder}", f"size={size}"]),
            seed=seed,
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    metrics = trained.metrics
    shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
    answer({"model": model, "out": str(out), "metrics": metrics}, f"{model}: {shown or 'trained'}", as_json=as_json)
    remark(
        f"wrote {out}\nnext: recgan recommend {out} --user ID    or: recgan evaluate ranking {bundle} --models {out}"
    )


@train_app.command("gan")
def train_gan_(
    bundle: BundlePath,
    out: Out,
    recipe: Annotated[str, typer.Option("--recipe", help="dcgan-lsgan or kang2017.")] = "dcgan-lsgan",
    size: Annotated[int, typer.Option("--size", help="Side of the generated images in pixels.")] = 64,
    images_seen: Annotated[
        int | None, typer.Option("--images-seen", min=1, help="Real images shown to D (default: the recipe's).")
    ] = None,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Train on all images: for production.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a class-conditional GAN on a bundle's images."""
    from recgan.config import overridden
    from recgan.dataset.bundle import Bundle
    from recgan.gan import find_recipe, train_gan

    chosen = overridden(find_recipe(recipe), settings or [])
    with shown_progress() as progress:
        gan = train_gan(
            Bundle.open(bundle),
            chosen,
            size=size,
            images_seen=images_seen,
            out=out,
            seed=seed,
            device=device,
            resume=resume,
            all_images=everything,
            overwrite=overwrite,
            progress=progress,
        )
    metrics = gan.manifest.metrics
    answer(
        {"recipe": chosen.name, "out": str(out), "metrics": metrics},
        f"{chosen.name} at {size} px: {metrics.get('images_seen', 0):,} real images shown",
        as_json=as_json,
    )
    remark(f"wrote {out} (look at {out / 'sheet.png'})\nnext: recgan design --recommender DIR --gan {out} …")


@evaluate_app.command("ranking")
def evaluate_ranking_(
    bundle: BundlePath,
    models: Annotated[
        str, typer.Option("--models", help="Names or folders, with commas: popularity,visual_knn,vbpr,vbpr:permuted.")
    ] = "popularity,visual_knn,vbpr",
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 64,
    part: Annotated[str, typer.Option("--part", help="test or validation.")] = "test",
    split: Annotated[
        list[str] | None, typer.Option("--split", metavar="NAME=VALUE", help="Override a split setting.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train or load recommenders and compare them: exact, unsampled, on all, warm and cold items."""
    from recgan.config import EmbedSettings, SplitSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.evaluation.ranking import evaluate_ranking

    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise SettingsError("--models names no model; write it as --models popularity,vbpr")
    with shown_progress() as progress:
        report = evaluate_ranking(
            Bundle.open(bundle),
            names,
            split=overridden(SplitSettings(), split or []),
            embed=overridden(EmbedSettings(), [f"encoder={encoder}", f"size={size}"]),
            seed=seed,
            part=part,
            device=device,
            progress=progress,
        )
    answer(report.as_json(), report.table(), as_json=as_json)


@evaluate_app.command("report")
def evaluate_report_(
    bundle: BundlePath,
    recommender: Annotated[Path, typer.Option("--recommender")],
    gan: Annotated[Path, typer.Option("--gan")],
    out: Annotated[Path, typer.Option("--out", help="The HTML file.")],
    models: Annotated[
        str, typer.Option("--models", help="What the ranking table compares with the recommender.")
    ] = "popularity,visual_knn",
    users: Annotated[int, typer.Option("--users", min=1, help="Sample users shown.")] = 6,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: metrics, recommendations, generated sheet, designs."""
    from recgan.evaluation.report import make_report

    names = [name.strip() for name in models.split(",") if name.strip()]
    with shown_progress() as progress:
        path = make_report(
            bundle,
            recommender,
            gan,
            out,
            models=names,
            users=users,
            seed=seed,
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    answer({"report": str(path)}, f"wrote {path}", as_json=as_json)


@app.command()
def recommend(
    recommender: Annotated[Path, typer.Argument(metavar="DIR", help="A trained recommender.")],
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
    answer({"items": rows}, _table(rows, ["item_id", "score", "category"]), as_json=as_json)


@app.command()
def design(
    recommender: Annotated[Path, typer.Option("--recommender", help="A trained visual recommender.")],
    gan: Annotated[Path, typer.Option("--gan", help="A trained GAN.")],
    category: Annotated[str, typer.Option("--category", help="What to design.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the pictures; must not exist yet.")],
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
    from recgan.config import overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer, load_preset, save_designs

    if (user is None) == (not liked):
        raise SettingsError("say for whom: --user ID, or --liked ITEM (once or more), not both")
    chosen = overridden(load_preset(preset), settings or [])
    with shown_progress() as progress:
        designer = load_designer(
            recommender, gan, bundle=Bundle.open(data) if data else None, device=device, progress=progress
        )
        someone = user if user is not None else designer.recommender.fold_in(liked or [])
        designs = designer.design(someone, category, n, seed=seed, settings=chosen, progress=progress)
        saved = save_designs(designs, out, overwrite=overwrite)
    columns = ["image", "score", "percentile", "seed"]
    answer(saved, _table(saved["designs"], columns), as_json=as_json)
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


@app.command()
def doctor(device: Device = "auto", as_json: Json = False) -> None:
    """Say whether this machine is fit: versions, device, threads, and toy steps that must run."""
    from recgan.doctor import examine

    found = examine(device)
    lines = [
        f"Python {found['python']} on {found['platform']}",
        "  ".join(f"{name} {version}" for name, version in found["versions"].items()),
        f"device: {found['device']['chosen']} ({found['device']['name']})   cores: {found['threads']['cores']}"
        f"   memory: {found['memory_gib']} GiB   free disk: {found['disk_free_gib']} GiB",
        *(f"{'ok  ' if c['ok'] else 'FAIL'}  {name}: {c['detail']}" for name, c in found["checks"].items()),
    ]
    answer(found, "\n".join(lines), as_json=as_json)
    if not found["ok"]:
        fail("a check failed; see above")
        raise typer.Exit(1)


def _table(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*(f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in columns))
    return table


def main() -> None:
    """Run the command line; errors meant for a person end it with one line and their exit code."""
    try:
        app()
    except RecganError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
