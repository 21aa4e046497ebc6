"""Verbs that train: recommender, gan, inverter."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
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
    Out,
    Overwrite,
    Seed,
    SplitAssignments,
    embed_settings,
    table,
    train_app,
)
from recgan.console import answer, remark, shown_progress
from recgan.errors import SettingsError

if TYPE_CHECKING:
    from recgan.config import MonitorSettings, Recipe


@train_app.command("recommender")
def train_recommender_(
    bundle: BundlePath,
    out: Out,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Its name: popularity, repurchase, category (popularity by category with --set within=popularity), "
            "visual_knn, ideal_point, bpr, als, bpr_mf, warp, vbpr, vbpr_ssm, blend, dvbpr.",
        ),
    ] = "vbpr",
    encoder: EncoderName = "efficientnet_lite0",
    size: ImageSize = 64,
    everything: Annotated[
        bool, typer.Option("--all", help="Train on all interactions: for production, not for evaluation.")
    ] = False,
    settings: Assignments = None,
    split: SplitAssignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a recommender on a bundle's train split."""
    from recgan.config import SplitSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.recommenders import recommender_type, train_recommender

    split_settings = overridden(SplitSettings(), (split or []) + (["protocol=all"] if everything else []), "--split")
    chosen = overridden(recommender_type(model).settings_type(), settings or [])
    with shown_progress() as progress:
        trained = train_recommender(
            Bundle.open(bundle),
            model,
            out=out,
            settings=chosen,
            split=split_settings,
            embed=embed_settings(encoder, size),
            seed=seed,
            device=device,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    metrics = trained.metrics
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    shown = ", ".join(f"{name} {value:{',.0f' if value >= 1000 else '.4g'}}" for name, value in numbers.items())
    answer({"model": model, "out": str(out), "metrics": metrics}, f"{model}: {shown or 'trained'}", as_json=as_json)
    for note in trained.notes():
        remark(f"note: {note}")
    remark(
        f"wrote {out}\nnext: recgan recommend {out} --user ID    or: recgan evaluate ranking {bundle} --models {out}"
    )


def _list_recipes(asked: bool) -> None:
    if asked:
        from recgan.gan import RECIPES

        rows = [{"recipe": recipe.name, "what it is": recipe.summary} for recipe in RECIPES.values()]
        answer({"recipes": rows}, table(rows, ["recipe", "what it is"]), as_json="--json" in sys.argv)
        raise typer.Exit()


@train_app.command("gan")
def train_gan_(
    bundle: BundlePath,
    out: Out,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Its name; see --list.", show_default="modern; on a CPU modern-small")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            "--pretrained",
            metavar="GAN",
            help="Begin with the weights of this GAN, or 'shipped': of the one that comes with recgan.",
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Side of the generated images in pixels.")] = 64,
    images_seen: Annotated[
        int | None, typer.Option("--images-seen", min=1, help="Real images shown to D (default: the recipe's).")
    ] = None,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Train on all images: for production.")] = False,
    monitor: Annotated[
        bool, typer.Option(help="Look at the samples on the way, raise alarms, and keep the best state.")
    ] = True,
    on_alarm: Annotated[
        str, typer.Option("--on-alarm", help="advise, or act: go back to the best state, halve rates, raise penalties.")
    ] = "advise",
    overwrite: Overwrite = False,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Train the recipe with one setting changed at a time; --out is a folder of tables."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
    show: Annotated[
        bool, typer.Option("--list", callback=_list_recipes, is_eager=True, help="List the recipes, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a class-conditional GAN on a bundle's images."""
    from recgan.config import MonitorSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.device import resolve_device
    from recgan.gan import default_recipe, find_recipe, load_gan, plan_gan, shipped_gan, train_gan

    start = None
    if pretrained is not None:
        start = shipped_gan(device) if pretrained == "shipped" else load_gan(pretrained, device)
    usual = start.recipe if start else default_recipe(resolve_device(device))
    chosen = overridden(find_recipe(recipe or usual), settings or [])
    looking = overridden(MonitorSettings(), [f"on_alarm={on_alarm}"], "--on-alarm") if monitor else None
    if looking is None and on_alarm != "advise":
        raise SettingsError("--on-alarm act needs somebody who looks; leave out --no-monitor")
    if dry_run:
        plan = plan_gan(
            Bundle.open(bundle),
            chosen,
            size=size,
            images_seen=images_seen,
            device=device,
            all_images=everything,
            pretrained=start,
        )
        answer(plan, json.dumps(plan, indent=2, ensure_ascii=False), as_json=as_json)
        return
    if sweep:
        if everything or looking is None:
            raise SettingsError("--sweep judges by held-out images; leave out --all and --no-monitor")
        if start is not None:
            raise SettingsError("--sweep compares trainings from the start; leave out --pretrained")
        _sweep(bundle, chosen, out, size, images_seen, seed, device, looking, resume, overwrite, as_json)
        return
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
            monitor=looking,
            pretrained=start,
            overwrite=overwrite,
            progress=progress,
        )
    if int(os.environ.get("RANK", "0")):  # of several processes that torchrun started, the first one tells
        return
    metrics = gan.manifest.metrics
    answer(
        {"recipe": chosen.name, "out": str(out), "metrics": metrics},
        f"{chosen.name} at {size} px: {metrics.get('images_seen', 0):,} real images shown",
        as_json=as_json,
    )
    best = metrics.get("best")
    if best is not None and best["kid"] >= best["blank"]:
        # A run that follows a schedule, or acts on alarms, has one length.
        again = "--overwrite" if chosen.scheduled or on_alarm == "act" else "--resume"
        remark(
            f"warning: its samples are no nearer to the photos than blank pictures are (KID {best['kid']:.2f}, blank "
            f"{best['blank']:.2f}); train longer: {again} with more --images-seen"
        )
    remark(f"wrote {out} (look at {out}/sheet.png)\nnext: recgan design --recommender DIR --gan {out} …")


def _sweep(
    bundle: Path,
    recipe: Recipe,
    out: str,
    size: int,
    images_seen: int | None,
    seed: int,
    device: str,
    monitor: MonitorSettings,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    from recgan.dataset.bundle import Bundle
    from recgan.gan.training import sweep_gan, sweep_table

    with shown_progress() as progress:
        rows = sweep_gan(
            Bundle.open(bundle),
            recipe,
            out=out,
            size=size,
            images_seen=images_seen,
            seed=seed,
            device=device,
            monitor=monitor,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    shown = sweep_table(rows)
    told = {"recipe": recipe.name, "out": out, "runs": [asdict(row) for row in rows]}
    columns = [str(name) for name in shown.columns]
    lines = [dict(zip(columns, row)) for row in shown.itertuples(index=False)]
    answer(told, table(lines, columns), as_json=as_json)
    remark(f"wrote {out} (its table is {out}/sweep.md)")


@train_app.command("inverter")
def train_inverter_(
    gan: Annotated[str, typer.Argument(metavar="GAN", help="A trained GAN.")],
    out: Out,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train an encoder that finds the latent of a picture, from what the GAN itself makes."""
    from recgan.config import InverterSettings, overridden
    from recgan.gan import load_gan
    from recgan.gan.latent import train_inverter

    chosen = overridden(InverterSettings(), settings or [])
    with shown_progress() as progress:
        inverter = train_inverter(
            load_gan(gan, device), out=out, settings=chosen, seed=seed, overwrite=overwrite, progress=progress
        )
    metrics = inverter.metrics
    answer(
        {"out": str(out), "space": inverter.space.name, "metrics": metrics},
        f"on fresh samples: pixels off by {metrics['pixel_error']:.1f} of 255 (another sample of the class: "
        f"{metrics['by_chance']:.1f}), cosine of the latents {metrics['latent_cosine']:.2f}",
        as_json=as_json,
    )
    remark(f"wrote {out}\nnext: recgan sample invert {gan} --inverter {out} --data BUNDLE --out photos.png")
