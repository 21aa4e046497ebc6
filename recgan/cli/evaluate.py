"""Verbs that measure: ranking, generative, designs, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.app import (
    Assignments,
    BundlePath,
    Device,
    EncoderName,
    GANArgument,
    GANOption,
    ImageSize,
    Json,
    ModelAssignments,
    Overwrite,
    Preset,
    Seed,
    SplitAssignments,
    VisualRecommenderOption,
    embed_settings,
    evaluate_app,
    local_path,
    model_names,
    names_of,
    settings_by_model,
)
from recgan.cli.ranking_table import ranking_tables
from recgan.console import answer, remark, shown_progress
from recgan.errors import SettingsError


@evaluate_app.command("ranking")
def evaluate_ranking_(
    bundle: BundlePath,
    models: Annotated[
        str, typer.Option("--models", help="Names or folders, with commas: popularity,visual_knn,vbpr,vbpr:permuted.")
    ] = "popularity,visual_knn,vbpr",
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 64,
    part: Annotated[str, typer.Option("--part", help="test or validation.")] = "test",
    split: SplitAssignments = None,
    settings: ModelAssignments = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Also each visual model's controls: permuted, noise and category features."),
    ] = False,
    compare: Annotated[
        list[str] | None,
        typer.Option("--compare", metavar="MODEL,OTHER", help="Test this difference too; may be given several times."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", parser=local_path, help="Folder for ranking.json and a plot of it."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train or load recommenders and compare them: exact, unsampled, on all, warm and cold items.

    With --out, a run that was stopped goes on where it stopped.
    """
    from recgan.config import SplitSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.evaluation.ranking import evaluate_ranking, with_controls

    names = model_names(models)
    split_settings = overridden(SplitSettings(), split or [], "--split")
    by_model = settings_by_model(settings or [])
    pairs = [_pair(text) for text in compare or []]
    with shown_progress() as progress:
        report = evaluate_ranking(
            Bundle.open(bundle),
            with_controls(names) if controls else names,
            split=split_settings,
            embed=embed_settings(encoder, size),
            settings=by_model,
            compare=pairs,
            seed=seed,
            part=part,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report.as_json(), ranking_tables(report), as_json=as_json)
    if out is not None:
        remark(f"wrote {out} (look at {out}/ranking.png)")


def _pair(text: str) -> tuple[str, str]:
    names = names_of(text)
    if len(names) != 2:
        raise SettingsError(f"--compare {text}: name two models, as bpr_mf,bpr")
    return names[0], names[1]


@evaluate_app.command("generative")
def evaluate_generative_(
    gan: GANArgument,
    bundle: BundlePath,
    samples: Annotated[int | None, typer.Option("--samples", help="How many samples, and test photos.")] = None,
    extractor: Annotated[str | None, typer.Option("--extractor", help="The encoder that compares them.")] = None,
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="Also FID, Inception Score and LPIPS with their own networks, which are downloaded once "
            "(pip install 'recgan\\[fidelity]').",
        ),
    ] = False,
    settings: Assignments = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            parser=local_path,
            help="Folder for generative.json, the samples, and the real photos they are nearest to.",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Judge a generator by photos that it never saw: likeness, classes, diversity, memorisation."""
    from recgan.cli.generative_table import generative_table
    from recgan.config import GenerativeSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.evaluation.generative import evaluate_generative

    given = [
        *(settings or []),
        *([f"samples={samples}"] if samples is not None else []),
        *([f"extractor={extractor}"] if extractor is not None else []),
        *(["published=true"] if published else []),
    ]
    chosen = overridden(GenerativeSettings(), given)
    with shown_progress() as progress:
        report = evaluate_generative(
            gan,
            Bundle.open(bundle),
            chosen,
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report.as_json(), generative_table(report), as_json=as_json)
    if report.n < chosen.samples:
        remark(f"note: only {report.n:,} test photos are there, so as many samples were judged")
    if report.chosen_by_the_extractor:
        remark(f"note: {chosen.extractor} also chose the checkpoint; --extractor names another eye")
    if out is not None:
        remark(f"wrote {out} (look at {out}/samples.png; {out}/neighbours.png shows real photos)")


@evaluate_app.command("designs")
def evaluate_designs_(
    bundle: BundlePath,
    recommender: Annotated[
        str, typer.Option("--recommender", metavar="DIR", help="Scorer A, trained with --split half=scorer.")
    ],
    gan: GANOption,
    users: Annotated[int, typer.Option("--users", min=1, help="Users drawn, for whom to design.")] = 200,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Presets, with commas; the first is the one to be shown good. NAME=PRESET is one changed by --set.",
        ),
    ] = "default,kang2017",
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", metavar="DIR", help="Another recommender of A's half that helps; may be repeated."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="[METHOD.]NAME=VALUE", help="A setting of the proof, or of a method."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", parser=local_path, help="Folder for designs.json and a page of users."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Judge designs by who never saw them made: another recommender and, for simulated users, the true taste."""
    from recgan.cli.designs_table import designs_table
    from recgan.config import ProofSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_preset
    from recgan.evaluation.designs import evaluate_designs

    presets = _presets(methods)
    given: dict[str, list[str]] = {"": []}
    for assignment in settings or []:
        method, dot, rest = assignment.partition(".")
        of_method = bool(dot) and method in presets
        given.setdefault(method if of_method else "", []).append(rest if of_method else assignment)
    chosen = {name: overridden(load_preset(preset), given.get(name, [])) for name, preset in presets.items()}
    with shown_progress() as progress:
        report = evaluate_designs(
            Bundle.open(bundle),
            recommender,
            gan,
            overridden(ProofSettings(), given[""]),
            methods=chosen,
            companions=beside or (),
            users=users,
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report.as_json(), designs_table(report), as_json=as_json)
    for finding in report.findings():
        remark(finding)
    if report.budget["users"] < users:
        remark(f"note: only {report.budget['users']:,} users have a history in both halves")
    if out is not None:
        remark(f"wrote {out} (look at {out}/designs.html; it shows real photos)")


def _presets(methods: str) -> dict[str, str]:
    """Return the preset of each method that ``default,noisy=default`` names."""
    found: dict[str, str] = {}
    for text in names_of(methods):
        name, equals, preset = (part.strip() for part in text.partition("="))
        if not name or (equals and not preset):
            raise SettingsError(f"--methods {text}: write it as PRESET, or as NAME=PRESET")
        if name in found:
            raise SettingsError(f"--methods names '{name}' twice; call one otherwise, as in other={preset or name}")
        found[name] = preset or name
    if not found:
        raise SettingsError("--methods names no preset; write it as --methods default,kang2017")
    return found


@evaluate_app.command("report")
def evaluate_report_(
    bundle: BundlePath,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    out: Annotated[Path, typer.Option("--out", help="The HTML file.")],
    models: Annotated[
        str, typer.Option("--models", help="What the ranking table compares with the recommender.")
    ] = "popularity,visual_knn",
    users: Annotated[int, typer.Option("--users", min=1, help="Sample users shown.")] = 6,
    designs: Annotated[int, typer.Option("--designs", min=1, help="Designs for each of them.")] = 4,
    preset: Preset = "default",
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: metrics, recommendations, generated sheet, designs."""
    from recgan.config import overridden
    from recgan.design import load_preset
    from recgan.evaluation.report import make_report

    chosen = overridden(load_preset(preset), settings or [])

    with shown_progress() as progress:
        path = make_report(
            bundle,
            recommender,
            gan,
            out,
            models=names_of(models),
            users=users,
            designs_per_user=designs,
            settings=chosen,
            seed=seed,
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    answer({"report": str(path)}, f"wrote {path}", as_json=as_json)
