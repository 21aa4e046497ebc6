"""The loop of a training run: batches, reports, sheets, checkpoints, and how it is stopped."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from recgan.config import Recipe
from recgan.errors import ArtifactError, StorageError, TrainingError
from recgan.gan.alarms import Alarm, Alarms
from recgan.gan.averaging import calibrate, copy_buffers
from recgan.gan.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from recgan.gan.data import CatalogueImages, ClassSampler
from recgan.gan.monitor import Monitor, read_lines
from recgan.gan.quality import Look, Quality
from recgan.gan.sampling import sample_sheet
from recgan.gan.steps import Figures, TrainingState, train_step
from recgan.progress import Progress
from recgan.resume import interrupts

__all__ = ["TrainingRun"]

STEP = "training the generator"
REPORT_EVERY = 25
"""Batches between two reports of progress, each of which checks that the losses are finite."""
CALIBRATION = (8, 256)
"""Batches, and latents a batch, over which the averaged generator's batch norm statistics are taken."""
SHEETS = 10
"""Sample sheets in a run whose caller does not say how many."""


class TrainingRun:
    """One training run: its state, its data and its folder; made and finished by `recgan.gan.trainer.train_gan`."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        images: CatalogueImages,
        category_names: list[str],
        state: TrainingState,
        folder: Path,
        identity: dict[str, Any],
    ) -> None:
        """Args: ``identity`` says what the run is (recipe, size, seed, catalogue, …); a resumed run has the same."""
        self.recipe = recipe
        self.images = images
        self.category_names = category_names
        self.train_images = images.counts(len(category_names))
        self.state = state
        self.folder = folder
        self.identity = identity
        self._quality: Quality | None = None
        self._looks = SHEETS
        self._alarms = Alarms()
        self._sampler = ClassSampler(images.class_index, recipe.class_power)
        self._window = _Window(state)

    def look_by(self, quality: Quality, looks: int) -> None:
        """Have ``quality`` look at the generator, so many times in the whole run."""
        self._quality, self._looks = quality, looks

    def begin(self) -> None:
        """Make the run's folder and its first checkpoint, so that there is always one to resume from."""
        try:
            self.folder.mkdir(parents=True)
            text = json.dumps(self.identity, indent=2, ensure_ascii=False)
            (self.folder / "config.json").write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"cannot write '{self.folder}': {error.strerror or error}; choose another --out"
            ) from error
        self._save()

    def restore(self) -> None:
        """Go back to the run's last checkpoint."""
        newest = latest_checkpoint(self.folder / "checkpoints")
        if newest is None:
            raise ArtifactError(f"'{self.folder}' has no checkpoint to resume; train anew with --overwrite")
        load_checkpoint(newest, self.state, self.identity)
        for record in read_lines(self.folder, "looks", self.state.images_seen):
            self._alarms.looks.append(Look.from_json(record))
        read_lines(self.folder, "alarms", self.state.images_seen)

    def best(self) -> Look | None:
        """Return the look with the lowest KID, whose state is kept in ``best/``; None where nobody looks."""
        looks = self._alarms.looks if self._quality is not None else []
        return min(looks, key=lambda look: look.kid, default=None)

    def restore_best(self) -> None:
        """Go back to the state of `best`."""
        newest = latest_checkpoint(self.folder / "best")
        if newest is not None:
            load_checkpoint(newest, self.state, self.identity)

    def train(self, target: int, *, sheet_every: int | None, checkpoint_seconds: float, progress: Progress) -> None:
        """Train until ``target`` real images have been shown; arguments as `train_gan`."""
        state = self.state
        state.length = target
        self._window = _Window(state)
        world = state.world
        every = sheet_every or max(1, target // SHEETS)
        next_sheet = (state.images_seen // every + 1) * every
        look_every = max(1, target // self._looks)
        next_look = (state.images_seen // look_every + 1) * look_every
        saved_at = time.monotonic()
        between_steps = True
        folder = self.folder if world.first else None
        with Monitor(folder, state.images_seen) as monitor, interrupts() as interrupted:
            try:
                while state.images_seen < target:
                    between_steps = False
                    self._window.add(train_step(state, self.recipe, *self._batch()))
                    between_steps = True
                    done = state.images_seen >= target
                    if self._window.batches == REPORT_EVERY or done:
                        values = self._report()
                        monitor.scalars(state.images_seen, values)
                        self._tell(monitor, self._alarms.report(values), progress)
                        speed = f"{values['speed/images_per_second']:.0f} images/s"
                        progress(STEP, min(state.images_seen, target), target, speed)
                    late = time.monotonic() - saved_at >= checkpoint_seconds
                    stop, save = world.any(interrupted.is_set(), done or (late and world.first))
                    if stop:
                        raise KeyboardInterrupt
                    if state.images_seen >= next_sheet or done:
                        if world.first:
                            monitor.sheet(state.images_seen, self.sheet())
                        next_sheet += every
                    if state.images_seen >= next_look or done:
                        if world.first:
                            self._look(monitor, progress)
                        next_look += look_every
                    if save:
                        self._save()
                        saved_at = time.monotonic()
            except TrainingError:
                raise
            except BaseException as error:
                # Stopped by Ctrl-C or by the caller (progress raised): keep what is done. A step that broke off
                # half-way is not kept: the last checkpoint stands.
                if between_steps:
                    self._save()
                if isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt(
                        f"stopped after {state.images_seen:,} of {target:,} images; go on with --resume "
                        f"(the run is kept in '{self.folder}')"
                    ) from None
                raise

    def sampling_generator(self) -> nn.Module:
        """Return the generator to sample from, in eval mode: a copy, of the averaged one where there is one."""
        if self.state.average is None:
            return copy.deepcopy(self.state.generator).eval()
        generator = copy.deepcopy(self.state.average)
        copy_buffers(generator, self.state.generator)
        rng = torch.Generator().manual_seed(self.identity["seed"])
        batches, rows = CALIBRATION

        def draws() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for _ in range(batches):
                z = torch.randn(rows, self.recipe.latent_dim, generator=rng) * self.recipe.latent_std
                class_index = self.images.class_index[self._sampler.draw(rows, rng)]
                yield z.to(self.images.device), class_index.to(self.images.device)

        calibrate(generator, draws())
        return generator

    def sheet(self) -> Image.Image:
        """Return a sheet of uncurated samples of the present generator."""
        return sample_sheet(self.sampling_generator(), self.recipe, self.category_names, self.train_images)

    def _look(self, monitor: Monitor, progress: Progress) -> None:
        """Look at the present generator, keep its state where it is the best so far, and tell of what is wrong."""
        if self._quality is None:
            return
        look = self._quality.look(self.sampling_generator(), self.recipe, self.state.images_seen)
        best = self.best()
        raised = self._alarms.look(look)
        if best is None or look.kid < best.kid:
            save_checkpoint(self.folder / "best", self.state, self.identity)
        monitor.scalars(look.images_seen, look.scalars())
        monitor.line("looks", look.as_json())
        note = f"KID {look.kid:.4f}, coverage {look.coverage:.2f}"
        progress("looking at samples", self.state.images_seen, None, note)
        self._tell(monitor, raised, progress)

    def _tell(self, monitor: Monitor, alarms: list[Alarm], progress: Progress) -> None:
        for alarm in alarms:
            monitor.line("alarms", {"images_seen": self.state.images_seen, **asdict(alarm)})
            progress(f"ALARM at {self.state.images_seen:,} images", 0, None, str(alarm))

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        indices = self.state.world.part(self._sampler.draw(self.recipe.batch_size, self.state.rng))
        return self.images.images(indices), self.images.class_index[indices].to(self.images.device)

    def _report(self) -> dict[str, float]:
        """Return the mean figures since the last report, and begin the next window.

        Raises:
            TrainingError: one of them is not finite.
        """
        first, values = self._window.close()
        for name, value in values.items():
            if not math.isfinite(value):
                raise self._diverged(f"{name} is {value} between images {first:,} and {self.state.images_seen:,}")
        return values

    def _save(self) -> None:
        # A state that has diverged is never kept.
        if self._window.batches:
            self._report()
        for name, network in self.state.networks().items():
            if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
                raise self._diverged(f"weights of the {name} are not finite at image {self.state.images_seen:,}")
        if self.state.world.first:
            save_checkpoint(self.folder / "checkpoints", self.state, self.identity)

    def _diverged(self, what: str) -> TrainingError:
        rates = (self.recipe.discriminator_learning_rate / 2, self.recipe.generator_learning_rate / 2)
        return TrainingError(
            f"training has diverged: {what}; train anew with lower rates "
            f"(--set discriminator_learning_rate={rates[0]:g} --set generator_learning_rate={rates[1]:g})"
        )


class _Window:
    """The figures of the batches since the last report, kept on the device."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._open()

    def _open(self) -> None:
        self.batches = 0
        self._sums: Figures = {}
        self._counts: dict[str, int] = {}
        self._first = self._state.images_seen
        self._began = time.monotonic()

    def add(self, figures: Figures) -> None:
        """Add one step's figures."""
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self.batches += 1

    def close(self) -> tuple[int, dict[str, float]]:
        """Return the images seen at the window's start and the mean figures by name; begin the next window."""
        sums = torch.stack(list(self._sums.values()))
        self._state.world.average([sums])
        figures = sums.tolist()  # one copy from the device for all
        means = {name: value / self._counts[name] for name, value in zip(self._sums, figures)}
        seconds = time.monotonic() - self._began
        self._state.seconds += seconds
        first, images = self._first, self._state.images_seen - self._first
        self._open()
        return first, means | {"speed/images_per_second": images / max(seconds, 1e-9)}
