"""The encoder of an inversion as an artifact: trained for one generator, and used with it.

::

    manifest.json               settings, space, the generator's digest, errors on samples it has not seen
    network.safetensors         weights of the encoder
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from recgan.artifacts import check_out, open_artifact, write_artifact
from recgan.config import InverterSettings
from recgan.errors import MismatchError, TrainingError
from recgan.gan.artifact import TrainedGAN
from recgan.gan.latent.inversion import InversionNetwork, Restored, descend, guess, on_shell, pixel_error, restore
from recgan.gan.latent.likeness import Likeness, pixel_distance
from recgan.gan.latent.space import LatentSpace
from recgan.gan.networks import load_network, network_arrays
from recgan.gan.sampling import design_seeds
from recgan.gan.training.schedules import cosine
from recgan.progress import Progress, quiet

__all__ = ["Inverter", "load_inverter", "train_inverter"]

KIND = "gan-inverter"
FORMAT_VERSION = 1
TYPICAL = 512
"""Samples that the units of points and features are taken from."""
JUDGED = 256
"""Fresh samples that the encoder is judged by."""
REPORT_EVERY = 25
"""Batches between two reports, each of which checks that the loss is finite."""
FINAL_RATE = 0.05
STEP = "training the inverter"


@dataclass(frozen=True)
class Inverter:
    """Brings pictures back to points of a generator's latent space."""

    network: InversionNetwork
    space: LatentSpace
    likeness: Likeness
    settings: InverterSettings
    metrics: dict[str, float]
    """On samples that it was not trained on: ``pixel_error`` and ``by_chance`` (root mean square errors in steps of
    255, of the guess and of another sample of the class), and ``latent_cosine`` of guesses and true points about
    their class's centre (1: found; by chance 0; it can be low though pixels are right, where much of a point changes
    little)."""

    def invert(
        self, images: Tensor, class_index: Tensor, *, steps: int | None = None, progress: Progress = quiet
    ) -> tuple[Restored, Restored]:
        """Return what the encoder guesses for pictures, and what a descent makes of the guess.

        Args:
            images: float [N, 3, S, S] in [-1, 1], of the generator's size.
            class_index: int64 [N].
            steps: of the descent; None: as the settings say.
        """
        settings = self.settings if steps is None else self.settings.model_copy(update={"steps": steps})
        images, class_index = images.to(self.space.device), class_index.to(self.space.device)
        start = guess(self.network, self.space, images, class_index)
        first = restore(self.space, self.likeness, start, images, class_index)
        if not settings.steps:
            return first, first
        total = settings.steps * len(images)
        found = descend(
            self.space,
            self.likeness,
            start,
            images,
            class_index,
            settings,
            self.network.deviation,
            lambda done: progress("descending", min(done, total), total),
        )
        return first, restore(self.space, self.likeness, found, images, class_index)


def train_inverter(
    gan: TrainedGAN,
    *,
    out: str | Path,
    settings: InverterSettings | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Inverter:
    """Train an encoder from a generator's pictures to its w, where it has one, else to its z; write it as an artifact.

    Raises:
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: ``out`` cannot be written.
        TrainingError: the loss is not finite.
    """
    settings = settings or InverterSettings()
    check_out(out, overwrite=overwrite)
    space = LatentSpace(gan.generator, gan.recipe)
    rng = torch.Generator().manual_seed(seed)
    network = InversionNetwork(space.dim, len(gan.category_names), gan.size, settings.width)
    network.initialise(rng)
    points, classes = next(_samples(gan, space, TYPICAL, TYPICAL, seed + 1))
    _set_units(network.to(gan.device), space, points)
    likeness = _likeness(settings, gan).fit(space.images(points, classes))
    _fit(network, gan, space, settings, seed, progress)
    network.eval().requires_grad_(False)
    metrics = _judged(network, gan, space, seed)
    with write_artifact(
        out,
        kind=KIND,
        format_version=FORMAT_VERSION,
        name=gan.recipe.name,
        config={"settings": settings.model_dump(mode="json"), "space": space.name, "seed": seed},
        parents={"gan": gan.digest},
        overwrite=overwrite,
    ) as writer:
        writer.tensors("network", network_arrays(network))
        writer.tensors("features", {"deviation": likeness.deviation.cpu().numpy()})
        writer.metrics = metrics
    return Inverter(network, space, likeness, settings, metrics)


def load_inverter(folder: str | Path, gan: TrainedGAN) -> Inverter:
    """Load an inverter for the generator that it was trained for.

    Raises:
        ArtifactError: not an inverter, incomplete or damaged.
        MismatchError: it was trained for another generator.
    """
    artifact = open_artifact(folder, KIND, format_version=FORMAT_VERSION)
    if artifact.manifest.parents["gan"] != gan.digest:
        raise MismatchError(f"'{folder}' was trained for another generator; train an inverter for this one")
    settings = InverterSettings(**artifact.manifest.config["settings"])
    space = LatentSpace(gan.generator, gan.recipe, artifact.manifest.config["space"])
    network = InversionNetwork(space.dim, len(gan.category_names), gan.size, settings.width)
    load_network(network, artifact.tensors("network"))
    network.to(gan.device).eval().requires_grad_(False)
    likeness = _likeness(settings, gan)
    likeness.deviation.copy_(torch.from_numpy(artifact.tensors("features")["deviation"]))
    return Inverter(network, space, likeness, settings, artifact.manifest.metrics)


def _likeness(settings: InverterSettings, gan: TrainedGAN) -> Likeness:
    return Likeness(settings.extractor, settings.extractor_size, settings.feature_weight, gan.device)


def _samples(gan: TrainedGAN, space: LatentSpace, count: int, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of points and their classes, ``count`` rows in all; classes that were trained on come evenly."""
    kinds = torch.from_numpy(gan.train_images).nonzero().squeeze(1)
    rng = torch.Generator().manual_seed(seed)
    seeds = design_seeds(seed, count)
    for start in range(0, count, batch):
        rows = seeds[start : start + batch]
        classes = kinds[torch.randint(len(kinds), (len(rows),), generator=rng)].to(gan.device)
        yield space.draw(rows, classes), classes


def _set_units(network: InversionNetwork, space: LatentSpace, points: Tensor) -> None:
    """Tell the network where points lie and how far they spread."""
    if space.name == "z":
        network.mean.zero_()
        network.deviation.fill_(space.radius / space.dim**0.5)
    else:
        network.mean.copy_(points.mean(dim=0))
        network.deviation.copy_(points.std(dim=0).clamp(min=1e-6))


def _fit(
    network: InversionNetwork,
    gan: TrainedGAN,
    space: LatentSpace,
    settings: InverterSettings,
    seed: int,
    progress: Progress,
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    total, done = settings.images_seen, 0
    for number, (points, classes) in enumerate(_samples(gan, space, total, settings.batch_size, seed)):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * cosine(FINAL_RATE, done / total)
        images = space.images(points, classes)
        found = on_shell(space, network(images, classes))
        loss = ((found - points) / network.deviation).square().mean()
        if settings.image_weight:
            loss = loss + settings.image_weight * pixel_distance(space.decode(found, classes), images).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        done += len(points)
        if number % REPORT_EVERY == 0 or done >= total:
            if not loss.isfinite():
                raise TrainingError(
                    f"the inverter has diverged: its loss is {loss.item()} after {done:,} images; train it with a "
                    f"lower rate (--set learning_rate={settings.learning_rate / 4:g})"
                )
            progress(STEP, done, total, f"loss {loss.item():.3f}")


def _judged(network: InversionNetwork, gan: TrainedGAN, space: LatentSpace, seed: int) -> dict[str, float]:
    points, classes = next(_samples(gan, space, JUDGED, JUDGED, seed + 2))
    images = space.images(points, classes)
    found = guess(network, space, images, classes)
    others = space.images(space.draw(design_seeds(seed + 3, JUDGED), classes), classes)
    centre = space.centre(classes)
    return {
        "pixel_error": pixel_error(space.images(found, classes), images).mean().item(),
        "by_chance": pixel_error(others, images).mean().item(),
        "latent_cosine": torch.cosine_similarity((found - centre).flatten(), (points - centre).flatten(), dim=0).item(),
    }
