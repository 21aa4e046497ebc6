"""How much a recipe minds its settings: it is trained as it is, and with one thing changed at a time.

A recipe that works at one learning rate only is not robust, however good it is there. All runs have one seed, length
and size, and each is judged by its best look. ``OUT`` holds::

    sweep.json          what the sweep is; a resumed one is the same
    <change>.json       the figures of a finished run, such as learning-rates-x4.json
    <change>.png        its samples, one row a class
    sweep.csv, sweep.md the table, once all are finished
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recgan.atomic import atomic_file
from recgan.config import MonitorSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import TRANSFORM
from recgan.errors import ArtifactError, DataError, SettingsError, TrainingError
from recgan.gan.data import training_rows
from recgan.gan.monitor import FEWEST, read_lines
from recgan.gan.recipes import find_recipe
from recgan.gan.training.checkpoint import latest_checkpoint
from recgan.gan.training.trainer import default_length, run_folder, train_gan, training_parts
from recgan.progress import Progress, quiet
from recgan.resume import check_same

__all__ = ["AS_IT_IS", "SweepRow", "sweep_gan", "sweep_table", "variations"]

AS_IT_IS = "as it is"
FACTOR = 4
"""Rates and penalties are divided and multiplied by it."""
BETAS = {"adam": ("beta1", (0.0, 0.5, 0.9)), "rmsprop": ("beta2", (0.9, 0.99, 0.999))}
"""By optimiser, which beta is changed, and to what."""
_RATES = ("generator_learning_rate", "discriminator_learning_rate")
_PENALTIES = ("r1_weight", "r2_weight", "gradient_penalty_weight")


@dataclass(frozen=True)
class SweepRow:
    """What came of one run."""

    change: str
    settings: dict[str, Any]
    """What was changed of the recipe."""
    kid: float
    """Of the best look, as all that follows; nan where the run failed."""
    coverage: float
    class_consistency: float
    least_diversity: float
    images_seen: int
    """Real images shown at the best look."""
    seconds: float
    """Of the whole run."""
    alarms: list[str]
    """Names of the alarms that were raised."""
    error: str = ""
    """Why it failed."""


def variations(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return what is changed in each run, by name: nothing, both learning rates, all penalties that the recipe has, the
    batch, and the optimiser's beta."""
    found: dict[str, dict[str, Any]] = {AS_IT_IS: {}}
    penalties = [name for name in _PENALTIES if getattr(recipe, name)]
    for title, names in (("learning rates", _RATES), ("penalty", penalties)):
        for sign, factor in (("/", 1 / FACTOR), ("x", FACTOR)):
            if names:
                found[f"{title} {sign}{FACTOR}"] = {name: getattr(recipe, name) * factor for name in names}
    for batch in (recipe.batch_size // 2, recipe.batch_size * 2):
        if batch >= 2 * recipe.micro_batches and batch % recipe.micro_batches == 0:
            found[f"batch {batch}"] = {"batch_size": batch}
    beta, values = BETAS[recipe.optimiser]
    found |= {f"{beta} {value:g}": {beta: value} for value in values if value != getattr(recipe, beta)}
    return found


def sweep_gan(
    bundle: Bundle,
    recipe: str | Recipe,
    *,
    out: str | Path,
    size: int = 64,
    images_seen: int | None = None,
    seed: int = 0,
    device: str = "auto",
    monitor: MonitorSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> list[SweepRow]:
    """Train a recipe as it is and with every one of its `variations`; write the table and return its rows.

    Arguments as `recgan.gan.train_gan`. A run that diverges is a row too. Stopped at any moment, the sweep goes on with
    ``resume`` where it was.

    Raises:
        SettingsError: an unknown recipe, or ``out`` is no local folder.
        DataError: too few images are held out to judge by.
        ArtifactError: ``out`` exists and neither ``resume`` nor ``overwrite`` is given; nothing to resume.
        MismatchError: a resumed sweep has other settings than before.
    """
    recipe, monitor = find_recipe(recipe), monitor or MonitorSettings()
    if "://" in str(out):
        raise SettingsError(f"'{out}': a sweep is written to a local folder only; give its path")
    held_out = len(training_rows(bundle, ("validation",)))
    if held_out < FEWEST:
        raise DataError(f"bundle '{bundle.path}' holds out {held_out} images; a sweep needs {FEWEST} to judge by")
    length = images_seen or default_length(recipe, len(training_rows(bundle, training_parts(False))))
    about = {
        "recipe": recipe.model_dump(mode="json"),
        "size": size,
        "images_seen": length,
        "seed": seed,
        "monitor": monitor.model_dump(mode="json"),
        "catalogue": bundle.catalogue_digest,
        "transform": TRANSFORM,
    }
    folder = Path(out)
    _begin(folder, about, resume=resume, overwrite=overwrite)
    rows = []
    changes = variations(recipe)
    for number, (name, changed) in enumerate(changes.items()):
        progress(f"sweeping {recipe.name}", number, len(changes), name)
        path = folder / f"{_slug(name)}.json"
        if not path.exists():
            chosen = Recipe(**(recipe.model_dump() | changed))
            options: dict[str, Any] = {"size": size, "images_seen": length, "seed": seed, "device": device}
            row = _run(bundle, chosen, name, changed, folder, monitor, options, progress)
            with atomic_file(path) as file:
                file.write_text(json.dumps(_plain(row), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        rows.append(_read(path))
    table = sweep_table(rows)
    with atomic_file(folder / "sweep.csv") as file:
        table.to_csv(file, index=False)
    with atomic_file(folder / "sweep.md") as file:
        file.write_text(_markdown(table), encoding="utf-8")
    progress(f"sweeping {recipe.name}", len(changes), len(changes))
    return rows


def sweep_table(rows: list[SweepRow]) -> pd.DataFrame:
    """Return the rows as a table for a person: a column a figure, KID also as a multiple of that of the recipe as it
    is."""
    usual = next((row.kid for row in rows if row.change == AS_IT_IS), math.nan)
    return pd.DataFrame(
        {
            "change": row.change,
            "KID": round(row.kid, 4),
            "times": round(row.kid / usual, 2),
            "coverage": round(row.coverage, 3),
            "class consistency": round(row.class_consistency, 3),
            "least diversity": round(row.least_diversity, 3),
            "best at": row.images_seen,
            "remarks": row.error or ", ".join(row.alarms),
        }
        for row in rows
    )


def _begin(folder: Path, about: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    known = folder / "sweep.json"
    if resume:
        if not known.exists():
            raise ArtifactError(f"there is no sweep to resume at '{folder}'; begin without --resume")
        check_same(folder, json.loads(known.read_text(encoding="utf-8")), about)
        return
    if folder.exists():
        if not overwrite:
            raise ArtifactError(
                f"'{folder}' exists already; go on with --resume, begin anew with --overwrite, or choose another --out"
            )
        if any(folder.iterdir()) and not known.exists():
            raise ArtifactError(f"'{folder}' is no sweep and is not overwritten; choose another --out")
        shutil.rmtree(folder)
    with atomic_file(known) as file:
        file.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _run(
    bundle: Bundle,
    recipe: Recipe,
    name: str,
    changed: dict[str, Any],
    folder: Path,
    monitor: MonitorSettings,
    options: dict[str, Any],
    progress: Progress,
) -> SweepRow:
    """Train one variation, or go on with it; keep its figures and its sheet alone."""
    place = folder / _slug(name)
    run = run_folder(place)
    begun = latest_checkpoint(run / "checkpoints") is not None
    best: dict[str, Any] = {}
    seconds, error = 0.0, ""
    try:
        gan = train_gan(
            bundle,
            recipe,
            out=place,
            monitor=monitor,
            resume=begun,
            overwrite=not begun,
            progress=progress,
            **options,
        )
        best, seconds = gan.manifest.metrics["best"], gan.manifest.metrics["seconds"]
        shutil.copy(place / "sheet.png", folder / f"{_slug(name)}.png")
    except TrainingError as failure:
        error = str(failure).partition(";")[0]
    alarms = sorted({alarm["name"] for alarm in read_lines(run, "alarms", options["images_seen"] * 2)})
    for path in (place, run):
        shutil.rmtree(path, ignore_errors=True)

    def figure(name: str) -> float:
        return math.nan if best.get(name) is None else float(best[name])

    return SweepRow(
        change=name,
        settings=changed,
        kid=figure("kid"),
        coverage=figure("coverage"),
        class_consistency=figure("class_consistency"),
        least_diversity=figure("least_diversity"),
        images_seen=best.get("images_seen", 0),
        seconds=seconds,
        alarms=alarms,
        error=error,
    )


def _plain(row: SweepRow) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(row).items()
    }


def _read(path: Path) -> SweepRow:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    restored: dict[str, Any] = {key: math.nan if value is None else value for key, value in values.items()}
    return SweepRow(**restored)


def _markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown; what is not a number is a dash."""
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [["-" if pd.isna(value) else str(value) for value in row] for row in table.itertuples(index=False)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _slug(name: str) -> str:
    """Return the name of a change as that of a file."""
    return name.replace(" /", " by ").replace(" ", "-").replace(".", "-")
