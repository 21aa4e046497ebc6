"""Training: a catalogue in, a GAN artifact out; it can be stopped at any moment and goes on as if it had not been.

While it trains, ``<out>.run/`` holds what is being worked on; the finished artifact appears at ``out`` in one step::

    <out>.run/config.json          what the run is: recipe, size, catalogue, seed, …
    <out>.run/checkpoints/N/       the state after N real images; the newest is kept
    <out>.run/best/N/              the best state so far, where somebody looks (``monitor``)
    <out>.run/looks.jsonl          what was seen at each look, and whether its state was kept as the best
    <out>.run/alarms.jsonl         what went wrong, and what to do
    <out>.run/sheets/N.png         uncurated samples, one row a class
    <out>.run/tensorboard/         losses, logits, images/s

The run folder stays, so that a finished run can be trained further (unless its recipe follows the share of the run that
is done: such a run has one length); it may be deleted. Started by ``torchrun``, processes share every batch
(`recgan.gan.training.parallel`).
"""

from __future__ import annotations

import copy
import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from recgan.artifacts import open_artifact, write_artifact
from recgan.config import MonitorSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import TRANSFORM
from recgan.errors import DataError, MismatchError, SettingsError
from recgan.gan.artifact import FORMAT_VERSION, KIND, TrainedGAN, load_gan, write_parts
from recgan.gan.card import CARD, model_card
from recgan.gan.data import CatalogueImages
from recgan.gan.monitor import FEWEST, Quality
from recgan.gan.networks import build_networks
from recgan.gan.realism import real_logits, realism_scale
from recgan.gan.recipes import find_recipe
from recgan.gan.sampling import sample_sheet
from recgan.gan.training.mending import Mender
from recgan.gan.training.parallel import join
from recgan.gan.training.run import TrainingRun
from recgan.gan.training.steps import new_state
from recgan.gan.training.transfer import begun_with, check_shape, nearest_classes, take_over
from recgan.progress import Progress, quiet
from recgan.resume import differences, is_taken, run_folder, run_place

__all__ = ["default_length", "run_folder", "run_identity", "train_gan", "training_parts"]

REALISM_IMAGES = 4096
"""At most this many real images set the scale of realism."""


def train_gan(
    bundle: Bundle,
    recipe: str | Recipe,
    *,
    out: str | Path,
    size: int = 64,
    images_seen: int | None = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    all_images: bool = False,
    monitor: MonitorSettings | None = None,
    pretrained: TrainedGAN | None = None,
    sheet_every: int | None = None,
    checkpoint_seconds: float = 120.0,
    progress: Progress = quiet,
) -> TrainedGAN:
    """Train a class-conditional GAN on the first image of each item and write it as an artifact.

    Args:
        bundle: the catalogue; its categories are the classes.
        recipe: the name of a recipe (`recgan.gan.recipes`) or a `Recipe`.
        out: folder or fsspec URL of the artifact. The run's working files lie in ``<out>.run`` beside it (for a URL,
            in the current folder under the URL's last name).
        size: side of the images in pixels.
        images_seen: real images to show to the discriminator in all, rounded up to whole batches; None: the recipe's
            own length.
        seed: of everything random: weights, order, latents, augmentations.
        device: ``auto``, ``cpu``, ``cuda``, …
        resume: go on from the run's last checkpoint; ``images_seen`` may be larger than before. Resumed on the CPU,
            the weights are the same to the bit as those of a run that was never stopped.
        overwrite: begin anew even if ``out`` or its run folder exist; they are replaced.
        all_images: use every image (for production) instead of the train part of `recgan.dataset.split.image_split`.
        monitor: how an extractor looks at the samples on the way, for KID, alarms, and the best state, which is then
            the one that is written; None: nobody looks, and the last state is written. Nor does anybody where fewer
            than `recgan.gan.monitor.quality.FEWEST` images are held out. With ``on_alarm="act"`` alarms are acted upon
            (`recgan.gan.training.mending`).
        pretrained: begin with the weights of this GAN, whose networks and size must be the same
            (`recgan.gan.training.transfer`). A resumed run knows what it began with.
        sheet_every: images between two sample sheets; None: ten in the whole run.
        checkpoint_seconds: time between two checkpoints.
        progress: called every few batches. An error that it raises stops the run, after saving a checkpoint.

    Raises:
        SettingsError: an unknown recipe, a size or number of classes that its network cannot make, or other networks
            than those of ``pretrained``.
        ArtifactError: ``out`` or its run exists and neither ``resume`` nor ``overwrite`` is given; nothing to resume;
            another process trains for ``out``.
        StorageError: ``out`` cannot be written (told before the training).
        DataError: there is no image to train on.
        TrainingError: a loss is not finite; an alarm came back after it was mended.
        MismatchError: a resumed run has other settings than before, or ``out`` is of another one.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving a checkpoint; the message says how to go on.
    """
    recipe = find_recipe(recipe)
    if images_seen is not None and images_seen < 1:
        raise SettingsError(f"images_seen={images_seen}: give at least 1")
    world, where = join(device)
    if recipe.batch_size % (world.size * recipe.micro_batches):
        raise SettingsError(
            f"batch_size={recipe.batch_size} cannot be shared by {world.size} processes of {recipe.micro_batches} "
            "micro_batches each; set another batch_size"
        )
    rng = torch.Generator().manual_seed(seed)
    networks = build_networks(recipe, len(bundle.category_names), size, rng)
    if pretrained is not None:
        check_shape(pretrained, recipe, size)
    place = (
        run_place(out, _is_run, resume=resume, overwrite=overwrite, grows=True)
        if world.first
        else nullcontext(run_folder(out))
    )
    with place as folder:
        parts = training_parts(all_images)
        images = CatalogueImages.of(bundle, size, parts, where, progress)
        if not len(images):
            raise DataError(f"bundle '{bundle.path}' has no image in its train part; import more or pass --all")
        began_with = begun_with(folder, pretrained) if resume else None
        if pretrained is not None and not resume:
            kinship = nearest_classes(pretrained, images, bundle.category_names, seed=seed)
            take_over(pretrained, networks, kinship)
            began_with = {
                "gan": pretrained.digest,
                "dataset": pretrained.manifest.facts["dataset"],
                "licence": pretrained.manifest.facts.get("licence"),
                "classes": [pretrained.category_names[index] for index in kinship.classes],
            }
        target = images_seen if images_seen is not None else default_length(recipe, len(images))
        acts = monitor is not None and monitor.on_alarm == "act"
        state = new_state(recipe, networks, rng, where)
        state.world = world
        run = TrainingRun(
            recipe=recipe,
            images=images,
            category_names=bundle.category_names,
            state=state,
            folder=folder,
            identity=run_identity(
                recipe,
                bundle,
                size=size,
                seed=seed,
                parts=parts,
                length=target,
                acting=monitor if acts else None,
                pretrained=began_with,
            ),
        )
        if acts:
            run.mend_by(Mender(recipe, state, folder, run.identity))
        held_out = None if all_images else CatalogueImages.of(bundle, size, ("validation",), where, progress)
        if monitor is not None and world.first and held_out is not None and len(held_out) >= FEWEST:
            run.look_by(Quality(monitor, images, held_out, bundle.category_names, seed), monitor.looks)
        world.wait()
        if resume:
            run.restore()
            if world.first and not overwrite:
                _refuse_another(out, run)
        elif world.first:
            shutil.rmtree(folder, ignore_errors=True)
            run.begin()
        run.train(
            target,
            sheet_every=sheet_every,
            checkpoint_seconds=checkpoint_seconds,
            progress=progress if world.first else quiet,
        )
        if world.first:
            judged = held_out if held_out is not None and len(held_out) else images
            _write(run, out, bundle, judged, monitor, overwrite=overwrite or resume)
        world.wait()
    return load_gan(out, str(where))


def _is_run(folder: Path) -> bool:
    """Return whether a run folder is one of a GAN."""
    return (folder / "checkpoints").is_dir() or (folder / "config.json").is_file()


def _refuse_another(out: str | Path, run: TrainingRun) -> None:
    """Refuse to replace, by a run that is gone on with, what is at ``out`` if it is not of that run."""
    if not is_taken(out):
        return
    manifest = open_artifact(out, KIND, format_version=FORMAT_VERSION, verify=False).manifest
    made: dict[str, Any] = {
        "recipe": manifest.config["recipe"],
        "size": manifest.config["size"],
        "seed": manifest.facts["seed"],
        "catalogue": manifest.parents["catalogue"],
        "parts": manifest.facts["parts"],
        "pretrained": manifest.facts.get("pretrained"),
    }
    own: dict[str, Any] = {name: run.identity.get(name) for name in made}
    made["recipe"] = {name: value for name, value in made["recipe"].items() if name in own["recipe"]}
    if changed := differences(made, own):
        raise MismatchError(
            f"'{out}' is not of the run in '{run.folder}' ({'; '.join(changed)}); "
            "replace it at the end with --resume --overwrite, or move it away"
        )


def training_parts(all_images: bool) -> tuple[str, ...]:
    """Return the parts of `recgan.dataset.split.image_split` that are trained on."""
    return ("train", "validation", "test") if all_images else ("train",)


def run_identity(
    recipe: Recipe,
    bundle: Bundle,
    *,
    size: int,
    seed: int,
    parts: tuple[str, ...],
    length: int,
    acting: MonitorSettings | None = None,
    pretrained: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a run is, JSON-able: a resumed run has the same. ``acting`` is a monitor that acts on alarms,
    ``pretrained`` what the weights were at first."""
    identity = {
        "recipe": recipe.identity(),
        "size": size,
        "seed": seed,
        "catalogue": bundle.catalogue_digest,
        "transform": TRANSFORM,
        "parts": list(parts),
    }
    if pretrained is not None:
        identity["pretrained"] = pretrained
    if acting is not None:  # where it looks, and when, decides where the run goes
        identity["monitor"] = acting.model_dump(mode="json")
    # What follows the share of the run that is done has one length only.
    return identity | ({"images_seen": length} if recipe.scheduled or acting is not None else {})


def default_length(recipe: Recipe, training_images: int) -> int:
    """Images to show where nobody says how many: whole epochs of whole batches, or the recipe's number."""
    if recipe.epochs is None:
        return recipe.images_seen
    return math.ceil(recipe.epochs * max(1, training_images // recipe.batch_size)) * recipe.batch_size


def _write(
    run: TrainingRun,
    out: str | Path,
    bundle: Bundle,
    judged: CatalogueImages,
    monitor: MonitorSettings | None,
    *,
    overwrite: bool,
) -> None:
    """Write the artifact; ``judged`` are the real images that set the scale of realism, ``monitor`` is how the run was
    looked at."""
    images_seen, seconds, best = run.state.images_seen, run.state.seconds, run.best()
    if best is not None:
        run.restore_best()
    generator, discriminator = run.sampling_generator(), copy.deepcopy(run.state.discriminator).eval()
    chosen = torch.randperm(len(judged), generator=torch.Generator().manual_seed(run.identity["seed"]))
    chosen = chosen[:REALISM_IMAGES]
    class_index = judged.class_index[chosen]
    logits = real_logits(discriminator, lambda rows: judged.images(chosen[rows]), class_index)
    mean, deviation = realism_scale(logits, class_index.numpy(), len(run.category_names))
    with write_artifact(
        out,
        kind=KIND,
        format_version=FORMAT_VERSION,
        name=run.recipe.name,
        config={"recipe": run.recipe.model_dump(mode="json"), "size": run.identity["size"]},
        parents={"catalogue": bundle.catalogue_digest, "images": bundle.images_digest},
        overwrite=overwrite,
    ) as writer:
        write_parts(
            writer,
            generator=generator,
            discriminator=discriminator,
            category_names=run.category_names,
            train_images=run.train_images,
            realism_mean=mean,
            realism_deviation=deviation,
            sheet=sample_sheet(generator, run.recipe, run.category_names, run.train_images),
        )
        writer.metrics = {
            "images_seen": images_seen,
            "seconds": round(seconds, 1),
            "images_per_second": round(images_seen / max(seconds, 1e-9), 1),
        } | ({"best": best.as_json()} if best is not None else {})
        writer.facts = {
            "dataset": bundle.name,
            "seed": run.identity["seed"],
            "transform": TRANSFORM,
            "parts": run.identity["parts"],
            "training_images": len(run.images),
            "untrained_categories": int((run.train_images == 0).sum()),
            "realism_part": run.identity["parts"] if judged is run.images or not len(judged) else ["validation"],
            "realism_images": len(chosen),
            "pretrained": run.identity.get("pretrained"),
            "monitor": monitor.model_dump() if monitor is not None and best is not None else None,
            "licence": bundle.header.licence,
        }
        card = model_card(
            run.recipe,
            size=run.identity["size"],
            categories=run.category_names,
            train_images=run.train_images,
            metrics=writer.metrics,
            facts=writer.facts,
            catalogue=bundle.catalogue_digest,
        )
        writer.path(CARD).write_text(card, encoding="utf-8")
