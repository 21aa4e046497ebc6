"""The whole line on a catalogue that needs no download, by the public functions: catalogue, users, features,
recommender, generator, designs, figures, report.

The catalogue is the drawn one, on which a generator is trained, or photographic pictures by the generator that comes
with recgan, which is then the one that designs.

Each stage writes one artifact into the demo's folder. A stage whose artifact stands there and was made with the same
settings is not run again; one that was made with other settings is never replaced.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgan.atomic import atomic_folder
from recgan.config import DemoSettings, DesignSettings, EmbedSettings, SimulateSettings, SplitSettings
from recgan.dataset.boutique import make_boutique
from recgan.dataset.bundle import Bundle
from recgan.dataset.simulate import simulate_users
from recgan.dataset.split import make_split
from recgan.design import Design, Designer, load_designer, load_designs, load_preset, save_designs
from recgan.encoders import embed_items
from recgan.errors import ArtifactError, MismatchError
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.report import write_report
from recgan.evaluation.showcase import ShownUser, design_for_shown, draw_users
from recgan.gan import TrainedGAN, find_recipe, load_gan, run_folder, train_gan
from recgan.gan.latent import find_directions, load_directions, save_directions
from recgan.gan.shipped import draw_catalogue, shipped_digest, shipped_gan, write_gan
from recgan.gan.training.checkpoint import latest_checkpoint
from recgan.progress import Progress, quiet
from recgan.recommenders import load_recommender, train_recommender

__all__ = ["DemoResult", "run_demo"]

_MODEL = "vbpr"
_DIRECTION_SAMPLES = 1024
"""Fewer than by default: the first few directions, which are the largest, are found from these, too."""
_COMPARED = ("popularity", "visual_knn")


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, and where."""

    folder: Path
    report: Path
    """The page to look at."""
    reused: tuple[str, ...]
    """Stages that were found done."""
    seconds: dict[str, float]
    """How long each stage took that was run."""
    auc: dict[str, dict[str, float]]
    """Exact test AUC by model and group (``all``, ``warm``, ``cold``); ``oracle`` is the ceiling."""

    @property
    def serve_command(self) -> str:
        """The command that serves what was made."""
        places = {"--data": "catalogue", "--recommender": "recommender", "--gan": "gan", "--directions": "directions"}
        options = [f"{option} {shlex.quote(str(self.folder / name))}" for option, name in places.items()]
        return " ".join(["recgan serve", *options])

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "folder": str(self.folder),
            "report": str(self.report),
            "serve": self.serve_command,
            "reused": list(self.reused),
            "seconds": self.seconds,
            "auc": self.auc,
        }

    def text(self) -> str:
        """Return the result for a person: figures, the report's path, the next command."""
        took = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in self.seconds.items())
        figures = "   ".join(f"{name} {auc['all']:.3f} (cold {auc['cold']:.3f})" for name, auc in self.auc.items())
        lines = [f"took {sum(self.seconds.values()):.0f} s: {took}"]
        if self.reused:
            lines.append(f"found done already: {', '.join(self.reused)}")
        return "\n".join(
            [*lines, f"exact test AUC: {figures}", f"report: {self.report}", f"serve it: {self.serve_command}"]
        )


class _Stages:
    """Runs or reuses one stage after the other, tells of it, and keeps the time."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.reused: list[str] = []
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def reuse(self, stage: str, place: Path) -> None:
        self.reused.append(stage)
        self._since = time.perf_counter()
        self.progress(stage, 1, 1, f"found done in {place}")

    def done(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._since, 1)
        self._since = now
        self.progress(stage, 1, 1, f"{self.seconds[stage]:.0f} s")


def run_demo(
    out: str | Path,
    *,
    seed: int = 0,
    settings: DemoSettings | None = None,
    device: str = "auto",
    progress: Progress = quiet,
) -> DemoResult:
    """Run the whole line into ``out``: ``catalogue`` (with simulated users), ``recommender``, ``gan``, ``directions``,
    ``designs`` and ``report.html`` (written anew each time). Stopped at any point, it goes on from there when it is run
    again.

    Raises:
        ArtifactError: something in ``out`` was made with other settings, or is damaged.
        SettingsError: as the stages.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, with what to do next.
    """
    try:
        return _run(Path(out), seed, settings or DemoSettings(), device, progress)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            f"What is done is kept in '{out}': run the same command again, and it goes on from there."
        ) from stop


def _run(out: Path, seed: int, settings: DemoSettings, device: str, progress: Progress) -> DemoResult:
    stages = _Stages(progress)
    bundle = _catalogue(out, seed, settings, device, stages)
    embed = EmbedSettings(size=settings.size)
    embed_items(bundle, embed, device=device, progress=progress)
    stages.done("features")
    _recommender(out / "recommender", bundle, embed, seed, device, stages)
    if settings.catalogue == "photos":
        _shipped(out / "gan", bundle, device, stages)
    else:
        _gan(out / "gan", bundle, seed, settings, device, stages)
    designer = load_designer(out / "recommender", out / "gan", bundle=bundle, device=device)
    _directions(out / "directions", designer.gan, seed, stages)
    designs = _designs(out / "designs", designer, seed, settings, stages)
    ranking = evaluate_ranking(
        bundle, [*_COMPARED, out / "recommender"], embed=embed, seed=seed, device=device, progress=progress
    )
    report = write_report(
        bundle, designer, out / "report.html", ranking=ranking, designs=designs, seed=seed, overwrite=True
    )
    stages.done("report")
    figures = {f.about["model"]: f.values["auc"] for f in [*ranking.models.values(), ranking.oracle] if f is not None}
    return DemoResult(
        folder=out,
        report=report,
        reused=tuple(stages.reused),
        seconds=stages.seconds,
        auc={name: {group: auc[group] for group in ("all", "warm", "cold")} for name, auc in figures.items()},
    )


def _refuse(place: Path, what: str) -> ArtifactError:
    return ArtifactError(f"'{place}' was made with {what} than this demo; choose another --out, or remove it")


def _catalogue(out: Path, seed: int, settings: DemoSettings, device: str, stages: _Stages) -> Bundle:
    """Draw the catalogue and give it users; the one without users stays beside it, under ``boutique`` or
    ``generated``."""
    place, drawn = out / "catalogue", out / ("boutique" if settings.catalogue == "drawn" else "generated")
    users = SimulateSettings(users=settings.users, interactions=settings.interactions, seed=seed)
    if place.exists():
        bundle = Bundle.open(place)
        made = bundle.header.facts
        as_asked = {name: made.get("oracle", {}).get(name) for name in users.model_dump()} == users.model_dump()
        if not as_asked or not _is_drawn_so(bundle, seed, settings):
            raise _refuse(place, "other settings")
        stages.reuse("catalogue", place)
        return bundle
    if drawn.exists():
        goods = Bundle.open(drawn)
        if not _is_drawn_so(goods, seed, settings):
            raise _refuse(drawn, "other settings")
    elif settings.catalogue == "photos":
        gan = shipped_gan(device)
        goods = draw_catalogue(gan, drawn, items=settings.items, seed=seed, progress=stages.progress)
    else:
        goods = make_boutique(
            drawn, items=settings.items, size=settings.picture_size, seed=seed, progress=stages.progress
        )
    bundle = simulate_users(goods, place, users, progress=stages.progress)
    stages.done("catalogue")
    return bundle


def _is_drawn_so(bundle: Bundle, seed: int, settings: DemoSettings) -> bool:
    made: dict[str, int | str]
    name, made = "boutique", {"seed": seed, "size": settings.picture_size}
    if settings.catalogue == "photos":
        name, made = "generated", {"seed": seed, "gan": shipped_digest()}
    return bundle.header.facts.get(name) == made and bundle.header.counts["items"] == settings.items


def _recommender(place: Path, bundle: Bundle, embed: EmbedSettings, seed: int, device: str, stages: _Stages) -> None:
    if place.exists():
        model = load_recommender(place)
        split = make_split(bundle, SplitSettings())
        fits = model.name == _MODEL and model.split_digest == split.digest and model.facts["seed"] == seed
        fits = fits and model.settings == type(model.settings)() and model.facts["size"] == embed.size
        if not fits or model.catalogue_digest != bundle.catalogue_digest:
            raise _refuse(place, "other data or settings")
        stages.reuse("recommender", place)
        return
    train_recommender(
        bundle,
        _MODEL,
        out=place,
        embed=embed,
        resume=run_folder(place).is_dir(),
        seed=seed,
        device=device,
        progress=stages.progress,
    )
    stages.done("recommender")


def _shipped(place: Path, bundle: Bundle, device: str, stages: _Stages) -> None:
    """Have the generator that comes with recgan belong to the catalogue that it drew."""
    if place.exists():
        gan = load_gan(place, device)
        trained_on = gan.manifest.facts.get("trained_on", {})
        if gan.catalogue_digest != bundle.catalogue_digest or trained_on.get("gan") != shipped_digest():
            raise _refuse(place, "other data or settings")
        stages.reuse("gan", place)
        return
    write_gan(shipped_gan(device), place, catalogue=bundle)
    stages.done("gan")


def _gan(place: Path, bundle: Bundle, seed: int, settings: DemoSettings, device: str, stages: _Stages) -> None:
    recipe = find_recipe(settings.recipe)
    if place.exists():
        gan = load_gan(place, device)
        about = (gan.recipe.identity(), gan.size, gan.manifest.facts["seed"], gan.catalogue_digest)
        enough = gan.manifest.metrics["images_seen"] >= settings.images_seen
        if about != (recipe.identity(), settings.size, seed, bundle.catalogue_digest) or not enough:
            raise _refuse(place, "other data or settings")
        stages.reuse("gan", place)
        return
    run = run_folder(place)
    train_gan(
        bundle,
        recipe,
        out=place,
        size=settings.size,
        images_seen=settings.images_seen,
        seed=seed,
        device=device,
        resume=latest_checkpoint(run / "checkpoints") is not None,
        # A run that was stopped before its first checkpoint has nothing to lose.
        overwrite=run.exists(),
        progress=stages.progress,
    )
    stages.done("gan")


def _directions(place: Path, gan: TrainedGAN, seed: int, stages: _Stages) -> None:
    """Find what the service makes sliders of."""
    if place.exists():
        try:
            load_directions(place, gan)
        except MismatchError as error:
            raise _refuse(place, "another generator") from error
        stages.reuse("directions", place)
        return
    found = find_directions(gan, samples=_DIRECTION_SAMPLES, seed=seed, progress=stages.progress)
    save_directions(found, gan, place, seed=seed)
    stages.done("directions")


def _designs(
    place: Path, designer: Designer, seed: int, settings: DemoSettings, stages: _Stages
) -> dict[str, list[Design]]:
    users = draw_users(designer, settings.shown_users, seed=seed)
    search = load_preset("default").model_copy(update={"steps": settings.design_steps})
    if place.exists():
        found = {user.user_id: load_designs(place / user.user_id) for user in users}
        if not _are_of(found, users, designer, search, settings.designs_per_user):
            raise _refuse(place, "other models or settings")
        stages.reuse("designs", place)
        return found
    designs = design_for_shown(
        designer, users, settings.designs_per_user, seed=seed, settings=search, progress=stages.progress
    )
    with atomic_folder(place) as building:
        for user_id, made in designs.items():
            save_designs(made, building / user_id)
    stages.done("designs")
    return designs


def _are_of(
    found: dict[str, list[Design]], users: list[ShownUser], designer: Designer, search: DesignSettings, n: int
) -> bool:
    """Return whether designs are those that this recommender and this GAN make for these users."""
    models = {"recommender": designer.recommender.digest, "gan": designer.gan.digest}
    return all(
        len(found[user.user_id]) == n
        and all(
            design.category == user.category
            and design.settings["search"] == search.model_dump()
            and {kind: design.settings[kind]["digest"] for kind in models} == models
            for design in found[user.user_id]
        )
        for user in users
    )
