"""The loop of a training run: batches, reports, sheets, checkpoints, and how it is stopped."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from recgan.config import Recipe
from recgan.errors import ArtifactError, StorageError, TrainingError
from recgan.gan.data import CatalogueImages, ClassSampler
from recgan.gan.monitor import Alarm, Alarms, Look, Monitor, Quality, divergence, read_lines
from recgan.gan.sampling import sample_sheet
from recgan.gan.training.averaging import calibrate, copy_buffers
from recgan.gan.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from recgan.gan.training.mending import Mender
from recgan.gan.training.steps import TrainingState, train_step
from recgan.gan.training.window import Window
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
    """One training run: its state, its data and its folder; made and finished by `recgan.gan.train_gan`."""

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
        self._best: Look | None = None
        self._mender: Mender | None = None
        self._last = {"sheet": 0, "look": 0}
        self._sampler = ClassSampler(images.class_index, recipe.class_power)
        self._window = Window(state)

    def look_by(self, quality: Quality, looks: int) -> None:
        """Have ``quality`` look at the generator, so many times in the whole run."""
        self._quality, self._looks = quality, looks

    def mend_by(self, mender: Mender) -> None:
        """Have ``mender`` act on alarms, instead of only telling of them."""
        self._mender = mender

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
        if self._mender is not None:
            save_checkpoint(self.folder / "best", self.state, self.identity)

    def restore(self) -> None:
        """Go back to the run's last checkpoint."""
        newest = latest_checkpoint(self.folder / "checkpoints")
        if newest is None:
            raise ArtifactError(f"'{self.folder}' has no checkpoint to resume; train anew with --overwrite")
        history = load_checkpoint(newest, self.state, self.identity)
        records = read_lines(self.folder, "looks", self.state.images_seen)
        kept = [record.pop("kept", False) for record in records]
        looks = [Look.from_json(record) for record in records]
        self._best = next((look for look, was in zip(reversed(looks), reversed(kept)) if was), None)
        read_lines(self.folder, "alarms", self.state.images_seen)
        self._alarms.restore(history["alarms"], looks)
        self._window.restore(history["window"], self.images.device)
        self._last = history["last"]
        if self._mender is not None:
            self._mender.counts = history["mends"]

    def best(self) -> Look | None:
        """Return the look whose state is kept in ``best/``: that with the lowest KID or, while none is nearer to the
        photos than pictures that show nothing, the last that was no collapse; None where nobody looks."""
        return self._best if self._quality is not None else None

    def restore_best(self) -> None:
        """Go back to the state of `best`."""
        newest = latest_checkpoint(self.folder / "best")
        if newest is not None:
            load_checkpoint(newest, self.state, self.identity)

    def train(self, target: int, *, sheet_every: int | None, checkpoint_seconds: float, progress: Progress) -> None:
        """Train until ``target`` real images have been shown; arguments as `train_gan`."""
        state, world = self.state, self.state.world
        state.length = target
        self._window.start_clock()
        every = {"sheet": sheet_every or max(1, target // SHEETS), "look": max(1, target // self._looks)}
        saved_at = time.monotonic()
        between_steps = True
        with Monitor(self.folder if world.first else None, state.images_seen) as monitor, interrupts() as interrupted:
            try:
                while True:
                    done = state.images_seen >= target
                    mended = self._notice(target, every, monitor, progress)
                    late = time.monotonic() - saved_at >= checkpoint_seconds
                    stop, save = world.any(interrupted.is_set(), done or mended or (late and world.first))
                    if stop and not done:
                        raise KeyboardInterrupt
                    if save:
                        self._save()
                        saved_at = time.monotonic()
                    if done:
                        return
                    between_steps = False
                    self._window.add(train_step(state, self.recipe, *self._batch()))
                    between_steps = True
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

    def _notice(self, target: int, every: dict[str, int], monitor: Monitor, progress: Progress) -> bool:
        """Report, show and look where it is due at this number of images, and mend; return whether anything was mended.

        What is due depends on the images shown and on what was done before, both of which checkpoints keep; so a
        resumed run notices the same at the same images. Progress is told last: it may stop the run by raising.
        """
        seen, mended = self.state.images_seen, False
        if self._window.batches == REPORT_EVERY or (self._window.batches and seen >= target):
            mended |= self._report(target, monitor, progress)
        if self._due("sheet", every, target) and self.state.world.first:
            monitor.sheet(seen, self.sheet())
            self._last["sheet"] = seen
        if self._due("look", every, target):
            mended |= self._look(monitor, progress)
        return mended

    def _due(self, what: str, every: dict[str, int], target: int) -> bool:
        """Return whether ``what`` is to be done now, after what was done last."""
        seen, last = self.state.images_seen, self._last[what]
        return seen != last and (seen // every[what] != last // every[what] or seen >= target)

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

    def _report(self, target: int, monitor: Monitor, progress: Progress) -> bool:
        """Report the figures since the last time; return whether anything was mended.

        Raises:
            TrainingError: one of them is not finite, and nobody is to mend it.
        """
        seen, values = self.state.images_seen, self._window.means()
        wrong = self._not_finite(values)
        self._window.open()
        if wrong is not None:
            return self._diverged(wrong, monitor, progress)
        mended = self._answer(self._alarms.report(values), monitor, progress)
        monitor.scalars(seen, values)
        progress(STEP, min(seen, target), target, f"{values['speed/images_per_second']:.0f} images/s")
        return mended

    def _look(self, monitor: Monitor, progress: Progress) -> bool:
        """Look at the present generator, keep its state where it is the best so far, and see to what is wrong; return
        whether anything was mended."""
        if self._quality is None and self._mender is None:
            return False
        if (wrong := self._unsound()) is not None:  # the look is due again, at the state that is gone back to
            return self._diverged(wrong, monitor, progress)
        state, look = self.state, None
        raised: list[Alarm] = []
        if self._quality is not None:
            look = self._quality.look(self.sampling_generator(), self.recipe, state.images_seen)
            raised = self._alarms.look(look)
            kept = _supersedes(look, self._best) and not (self._mender is not None and self._mender.goes_back(raised))
            monitor.scalars(look.images_seen, look.scalars())
            monitor.line("looks", look.as_json() | {"kept": kept})
            if kept:
                save_checkpoint(self.folder / "best", state, self.identity)
                self._best = look
        elif self._mender is not None and state.world.first:  # the last sound state is the best that is known of
            save_checkpoint(self.folder / "best", state, self.identity)
        self._last["look"] = state.images_seen
        mended = self._answer(raised, monitor, progress)
        if look is not None:
            note = f"KID {look.kid:.4f}, coverage {look.coverage:.2f}"
            if not look.tells:
                note += f" (no better than blank pictures, {look.blank:.4f})"
            progress("looking at samples", look.images_seen, None, note)
        return mended

    def _answer(self, alarms: list[Alarm], monitor: Monitor, progress: Progress) -> bool:
        """Act on alarms, if that is wished, and tell of them; return whether anything was done."""
        did: list[str] = []
        if self._mender is not None:
            did = self._mender.mend(alarms)
            if did:
                self._alarms.begin_anew()
                self._window.open()
        for alarm in alarms:
            acted = did if self._mender is not None and self._mender.acts(alarm) else []
            record = {"images_seen": self.state.images_seen, **asdict(alarm)}
            monitor.line("alarms", record | ({"did": acted} if acted else {}))
            told = f"{alarm.name}: {alarm.saw}; {', '.join(acted)}" if acted else str(alarm)
            progress(f"ALARM at {self.state.images_seen:,} images", 0, None, told)
        return bool(did)

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        indices = self.state.world.part(self._sampler.draw(self.recipe.batch_size, self.state.rng))
        return self.images.images(indices), self.images.class_index[indices].to(self.images.device)

    def _save(self) -> None:
        """Keep the present state, unless it has diverged: the last good checkpoint stands then.

        Raises:
            TrainingError: it has, and nobody is to mend it.
        """
        history = {"window": self._window.as_json(), "alarms": self._alarms.as_json(), "last": dict(self._last)}
        if self._mender is not None:
            history["mends"] = dict(self._mender.counts)
        wrong = self._not_finite(history["window"]["sums"]) or self._unsound()
        if wrong is not None:
            if self._mender is None:
                raise self._failure(self._divergence(wrong))
            return  # it is found, and mended, at the next report or look
        self._window.count_time()
        if self.state.world.first:
            save_checkpoint(self.folder / "checkpoints", self.state, self.identity, history)

    def _not_finite(self, figures: Mapping[str, float]) -> str | None:
        """Return which of the window's figures is not finite, None where all are."""
        for name, value in figures.items():
            if not math.isfinite(value):
                return f"{name} is {value} between images {self._window.first:,} and {self.state.images_seen:,}"
        return None

    def _unsound(self) -> str | None:
        """Return what is wrong with the weights, None where they are finite."""
        for name, network in self.state.networks().items():
            if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
                return f"weights of the {name} are not finite at image {self.state.images_seen:,}"
        return None

    def _diverged(self, wrong: str, monitor: Monitor, progress: Progress) -> bool:
        """Mend a divergence; return True.

        Raises:
            TrainingError: nobody is to mend it, or it was mended too often.
        """
        alarm = self._divergence(wrong)
        if self._mender is None:
            raise self._failure(alarm)
        return self._answer([alarm], monitor, progress)

    def _divergence(self, wrong: str) -> Alarm:
        return divergence(wrong, self.recipe.generator_learning_rate, self.recipe.discriminator_learning_rate)

    def _failure(self, alarm: Alarm) -> TrainingError:
        return TrainingError(f"training has diverged: {alarm.saw}; {alarm.advice}")


def _supersedes(look: Look, best: Look | None) -> bool:
    """Return whether the state of a look is kept instead of the best so far: by KID, where it tells anything; before,
    the newer one, unless it shows signs of collapse that the other does not."""
    if best is None:
        return True
    if look.tells or best.tells:
        return look.kid < best.kid
    return not (look.alike and not best.alike) and not (look.empty and not best.empty)
