"""Verbs that measure and choose over whole runs: backtest, tune, reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recgan.cli.app import (
    Assignments,
    BundlePath,
    Device,
    EncoderName,
    ImageSize,
    Json,
    ModelAssignments,
    Overwrite,
    Seed,
    SplitAssignments,
    app,
    embed_settings,
    local_path,
    model_names,
    names_of,
    settings_by_model,
)
from recgan.console import answer, remark, shown_progress
from recgan.errors import SettingsError

if TYPE_CHECKING:
    from recgan.dataset.bundle import Bundle
    from recgan.progress import Progress

reproduce_app = typer.Typer(help="Run a paper's experiment and set its figures beside.", no_args_is_help=True)
app.add_typer(reproduce_app, name="reproduce")

_OutFolder = Annotated[
    Path | None, typer.Option("--out", metavar="PATH", parser=local_path, help="Folder for the JSON and a plot.")
]


@app.command()
def backtest(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A bundle, or a shop's own export (folder or file).")],
    models: Annotated[str, typer.Option("--models", help="Names, with commas.")] = "vbpr",
    weeks: Annotated[int, typer.Option("--weeks", min=1, help="How many of the last weeks are judged.")] = 4,
    update: Annotated[str, typer.Option("--update", help="Before each week: retrain, or fold_in users.")] = "retrain",
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Judge what users take again, too; beside the baseline repurchase.")
    ] = False,
    metric: Annotated[str, typer.Option("--metric", help="What models are compared by.")] = "ndcg@20",
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 64,
    source: Annotated[str, typer.Option("--source", help="Of an export: which importer reads it.")] = "folder",
    items: Annotated[str | None, typer.Option("--items", help="Of an export: items table.")] = None,
    interactions: Annotated[str | None, typer.Option("--interactions", help="Of an export: interactions.")] = None,
    images: Annotated[str | None, typer.Option("--images", help="Of an export: folder or zip of the images.")] = None,
    import_settings: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="NAME=VALUE", help="Of an export: as --set of 'recgan import'."),
    ] = None,
    split: SplitAssignments = None,
    settings: ModelAssignments = None,
    out: _OutFolder = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Tell whether models beat recent popularity on the last weeks of a log, with intervals and in plain words.

    An export is imported into OUT-bundle first. With --out, a run that was stopped goes on where it stopped.
    """
    from recgan.cli.tables import backtest_table
    from recgan.config import SplitSettings, overridden
    from recgan.evaluation.backtest import backtest as run_backtest

    names = model_names(models)
    given = [
        *(
            f"{name}={value}"
            for name, value in (("items", items), ("interactions", interactions), ("images", images))
            if value
        ),
        *(import_settings or []),
    ]
    positives = overridden(SplitSettings(), split or [], "--split")
    embed = embed_settings(encoder, size)
    by_model = settings_by_model(settings or [])
    with shown_progress() as progress:
        report = run_backtest(
            _bundle_of(path, source, given, out, progress),
            names,
            weeks=weeks,
            update=update,
            repeats=repeats,
            metric=metric,
            positives=positives,
            embed=embed,
            settings=by_model,
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report.as_json(), backtest_table(report), as_json=as_json)
    if out is not None:
        remark(f"wrote {out} (look at {out}/backtest.png)")


@app.command()
def tune(
    bundle: BundlePath,
    model: Annotated[str, typer.Option("--model", help="The model whose settings are searched.")] = "vbpr",
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many, the first with the defaults.")] = 30,
    metric: Annotated[str, typer.Option("--metric", help="What is made best on validation.")] = "ndcg@20",
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 64,
    split: SplitAssignments = None,
    settings: Assignments = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", parser=local_path, help="JSON file of all trials.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Search a model's settings by the validation part alone; prints the best as ready --set options.

    What is given with --set is not searched. With --out, a search that was stopped goes on where it stopped.
    """
    from recgan.config import SplitSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.evaluation.tune import tune as run_tune
    from recgan.recommenders import recommender_type

    fixed = overridden(recommender_type(model).settings_type(), settings or [])
    names = [assignment.partition("=")[0].strip() for assignment in settings or []]
    with shown_progress() as progress:
        report = run_tune(
            Bundle.open(bundle),
            model,
            trials=trials,
            metric=metric,
            settings={name: getattr(fixed, name) for name in names},
            split=overridden(SplitSettings(), split or [], "--split"),
            embed=embed_settings(encoder, size),
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    best, default = report.best, report.trials[0]
    told = (
        f"{metric} on validation {best.value:.4f} in trial {best.number} of {trials}; the defaults {default.value:.4f}"
    )
    answer(report.as_json(), f"{told}\n{report.options()}", as_json=as_json)
    written = f"wrote {out}\n" if out is not None else ""
    remark(
        f"{written}next: recgan train recommender {bundle} --model {model} {report.options()} --out DIR"
        f"\n  or: recgan evaluate ranking {bundle} --models {model} {report.options(model + '.')}"
    )


@reproduce_app.command("kang2017")
def reproduce_kang2017_(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A bundle, or the published .npy file (imported by dvbpr-npy).")
    ],
    compare_with: Annotated[
        str | None, typer.Option("--compare-with", help="Whose published figures: fashion, women, men, tradesy.")
    ] = None,
    rungs: Annotated[
        str, typer.Option("--rungs", help="Which of its models, with commas; DVBPR takes hours without a GPU.")
    ] = "PopRank,WARP,BPR-MF,VisRank,VBPR,DVBPR",
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 224,
    settings: ModelAssignments = None,
    out: _OutFolder = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Run the ladder of Kang et al. 2017: PopRank, WARP, BPR-MF, VisRank, VBPR, DVBPR, by the paper's protocol.

    With --out, a run that was stopped goes on where it stopped.
    """
    from recgan.cli.tables import ladder_table
    from recgan.evaluation.reproduce import PAPERS_SETTINGS, reproduce_kang2017

    embed = embed_settings(encoder, size)
    by_model = settings_by_model(settings or [], PAPERS_SETTINGS)
    with shown_progress() as progress:
        report = reproduce_kang2017(
            _bundle_of(dataset, "dvbpr-npy", [], out, progress),
            compare_with=compare_with,
            rungs=names_of(rungs),
            embed=embed,
            settings=by_model,
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report.as_json(), ladder_table(report), as_json=as_json)
    for note in report.notes:
        remark(f"note: {note}")
    if out is not None:
        remark(f"wrote {out} (look at {out}/ranking.png)")


def _bundle_of(path: Path, source: str, given: list[str], out: Path | None, progress: Progress) -> Bundle:
    """Return the bundle at ``path``, or the one that an export there becomes: ``<out>-bundle``, which is made once."""
    from recgan.artifacts import MANIFEST
    from recgan.config import ImportOptions, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.dataset.importers import import_bundle

    if (path / "dataset.json").is_file():
        if given:
            raise SettingsError(
                f"'{path}' is a bundle already; leave out --items, --interactions, --images and --import"
            )
        return Bundle.open(path)
    if (path / MANIFEST).is_file():
        raise SettingsError(f"'{path}' was trained by recgan: no bundle and no export; give what it was trained on")
    options = overridden(ImportOptions(), given, "--import")
    if not path.exists():
        raise SettingsError(f"there is neither a bundle nor an export at '{path}'; check the path")
    if out is None:
        raise SettingsError(f"'{path}' is no bundle yet: give --out FOLDER, and it is imported into FOLDER-bundle")
    made = out.with_name(out.name + "-bundle")
    if made.exists():
        remark(f"using {made}, imported before; remove it to import '{path}' anew")
    else:
        summary = import_bundle(source, path, made, options=options, progress=progress)
        remark(summary)
    return Bundle.open(made)
