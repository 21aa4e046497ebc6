"""Directions of a latent space along which pictures change the most: sliders to edit them by.

After GANSpace (Harkonen et al. 2020). In w they are the principal components of many w. z has none of its own, since
its prior is the same in all directions; there the principal components are those of what the pictures look like (the
pixels at `LOOK` x `LOOK`), and the direction of a component is the regression of z on it. Differences between classes
are taken off first: changing the class is another matter.

A slider's unit is the standard deviation of the points along its direction. Its range is as far as the pictures stay
believable to the discriminator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from recgan.artifacts import open_artifact, write_artifact
from recgan.errors import MismatchError, SettingsError, nearest_name
from recgan.gan.artifact import TrainedGAN
from recgan.gan.latent.pictures import sheet
from recgan.gan.latent.space import LatentSpace
from recgan.gan.sampling import design_seeds, in_blocks
from recgan.progress import Progress, quiet

__all__ = ["Directions", "check_names", "direction_sheets", "find_directions", "load_directions", "save_directions"]

KIND = "gan-directions"
FORMAT_VERSION = 1
LOOK = 8
"""Side in pixels at which pictures are compared."""
LONGEST_NAME = 40
FURTHEST = 4
"""Units that a slider goes at most."""
TOLERANCE = 0.5
"""A slider ends where the mean realism of moved samples has fallen by more than so many standard deviations of real
images'."""
SHEET = (6, 9)
"""Rows and columns of a direction's sheet."""
TRIED = 48
"""Samples that are moved to find that out."""


@dataclass(frozen=True)
class Directions:
    """K directions, those that change the most first; tensors float32 on the CPU."""

    space: Literal["z", "w"]
    vectors: Tensor
    """Of length 1, [K, dim]; each points to where pictures get brighter."""
    units: Tensor
    """Standard deviation of the points along each, [K]: a slider's unit."""
    shares: Tensor
    """Share of the variance that the component of each has, [K], descending: of the points in w, of the looks in z."""
    low: Tensor
    """Where each slider ends on its one side, in units, [K], negative or 0."""
    high: Tensor
    """Where it ends on its other side, [K]."""
    categories: tuple[str, ...]
    """Categories that it was found from."""
    names: tuple[str, ...] = ()
    """What somebody who looked at the sheets called each, [K]: brightness; empty: not named yet. None: none is."""

    def __len__(self) -> int:
        return len(self.vectors)

    def name_of(self, number: int) -> str:
        """Return a direction's name, or an empty one."""
        return self.names[number] if self.names else ""

    def called(self, names: Mapping[int, str]) -> Directions:
        """Return the directions with names for some of them, by number.

        Raises:
            SettingsError: there is no such direction, or a name is empty, a number, too long or another one's.
        """
        check_names(names, len(self))
        given = tuple(names.get(number, self.name_of(number)) for number in range(len(self)))
        if twice := [name for name in given if name and given.count(name) > 1]:
            raise SettingsError(f"two directions are called '{twice[0]}'; call one otherwise")
        return replace(self, names=given)

    def number_of(self, text: str) -> int:
        """Return the number of the direction that ``text`` names, or is the number of.

        Raises:
            SettingsError: there is none.
        """
        if text in self.names:
            return self.names.index(text)
        if text.isdecimal():
            return int(text)
        known = [name for name in self.names if name]
        hint = nearest_name(text, known) or f"; there are 0 to {len(self) - 1}{''.join(f', {name}' for name in known)}"
        raise SettingsError(f"there is no direction '{text}'{hint}")

    def amounts(self, given: Mapping[int, float]) -> Tensor:
        """Return the units of every slider, float32 [K], from those of some by number; the others stay at 0.

        Raises:
            SettingsError: there is no such direction, or an amount goes beyond where its pictures stay believable.
        """
        amounts = torch.zeros(len(self))
        for number, amount in given.items():
            if not 0 <= number < len(self):
                raise SettingsError(f"there is no direction {number}; there are 0 to {len(self) - 1}")
            low, high = float(self.low[number]), float(self.high[number])
            if not low <= amount <= high:
                raise SettingsError(f"direction {number} goes from {low:+g} to {high:+g}, not to {amount:+g}")
            amounts[number] = amount
        return amounts

    def moved(self, space: LatentSpace, points: Tensor, amounts: Tensor) -> Tensor:
        """Return points [N, dim] moved by ``amounts`` [N, K] (or [K], of all alike) of all sliders at once, in units.

        Differentiable to points and amounts. 0 leaves a point where it is.

        Raises:
            MismatchError: the directions are of another space.
        """
        if space.name != self.space or space.dim != self.vectors.shape[1]:
            raise MismatchError(
                f"directions of {self.space} with {self.vectors.shape[1]} numbers do not fit {space.name} with "
                f"{space.dim}; find them with the same generator and space"
            )
        step = (amounts.to(points) * self.units.to(points)) @ self.vectors.to(points)
        return space.settled(points + step, points)

    def slider(self, space: LatentSpace, points: Tensor, classes: Tensor, number: int, steps: int) -> Tensor:
        """Return the images of points [N, dim] at ``steps`` even positions of one slider, from its low end to its high
        one, float [N, steps, 3, S, S]."""
        amounts = torch.zeros(steps, len(self))
        amounts[:, number] = torch.linspace(self.low[number].item(), self.high[number].item(), steps)
        moved = self.moved(space, points.repeat_interleave(steps, dim=0), amounts.repeat(len(points), 1))
        return space.images(moved, classes.repeat_interleave(steps, dim=0)).unflatten(0, (len(points), steps))


def check_names(names: Mapping[int, str], count: int) -> None:
    """Refuse what cannot name some of ``count`` directions, by number.

    Raises:
        SettingsError: there is no such direction, or a name is empty, a number, too long or another one's.
    """
    for number, name in names.items():
        if not 0 <= number < count:
            raise SettingsError(f"there is no direction {number}; there are 0 to {count - 1}")
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
            raise SettingsError(f"{name!r} cannot name a direction; give words, up to {LONGEST_NAME} letters")
        if name.isdecimal() or "=" in name:
            raise SettingsError(f"{name!r} cannot name a direction: it reads as a number, or has a = in it")
        if list(names.values()).count(name) > 1:
            raise SettingsError(f"two directions are called '{name}'; call one otherwise")


def find_directions(
    gan: TrainedGAN,
    *,
    count: int = 8,
    categories: Sequence[str] | None = None,
    samples: int = 4096,
    seed: int = 0,
    space: LatentSpace | None = None,
    progress: Progress = quiet,
) -> Directions:
    """Find the directions along which a generator's pictures change the most.

    Args:
        count: how many.
        categories: of these alone; None: of all that it was trained on, evenly.
        samples: points that they are found from.
        seed: of those points.
        space: None: w where the generator has it, else z.

    Raises:
        SettingsError: more directions than the space or the look has, or too few samples for them.
        NotFoundError: an unknown category.
    """
    space = space or LatentSpace(gan.generator, gan.recipe)
    most = min(space.dim, 3 * LOOK**2)
    if not 1 <= count <= most:
        raise SettingsError(f"count={count}: there are 1 to {most} directions in this generator's {space.name}")
    if samples < 2 * space.dim:
        raise SettingsError(f"samples={samples}: {count} directions need at least {2 * space.dim}")
    names = list(categories) if categories else [n for n, k in zip(gan.category_names, gan.train_images) if k]
    kinds = torch.tensor([gan.class_index(name) for name in names])
    classes = kinds[torch.arange(samples) % len(kinds)].to(gan.device)
    points = space.draw(design_seeds(seed, samples), classes)
    looks = _less_class_means(_looks(space, points, classes, progress), classes)
    around = _less_class_means(points, classes)
    if space.name == "w":
        vectors, shares = _principal(around, count)
    else:
        components, shares = _principal(looks, count)
        # Scores of different components do not vary together, so each is regressed by itself.
        vectors = F.normalize((looks @ components.T).T @ around, dim=1)
    brighter = (around @ vectors.T).T @ looks.mean(dim=1)
    vectors = torch.where(brighter[:, None] < 0, -vectors, vectors)
    found = Directions(
        space=space.name,
        vectors=vectors.cpu(),
        units=(around @ vectors.T).std(dim=0).cpu(),
        shares=shares.cpu(),
        low=torch.zeros(count),
        high=torch.zeros(count),
        categories=tuple(names),
    )
    tried = slice(0, TRIED)
    low, high = (_reach(gan, space, found, points[tried], classes[tried], sign, progress) for sign in (-1.0, 1.0))
    return replace(found, low=low, high=high)


def _looks(space: LatentSpace, points: Tensor, classes: Tensor, progress: Progress) -> Tensor:
    """Return what the pictures look like, float [N, 3 LOOK^2]."""
    done = 0

    @torch.no_grad()
    def look(rows: Tensor, kinds: Tensor) -> Tensor:
        nonlocal done
        done += len(rows)
        progress("looking at samples", min(done, len(points)), len(points))
        return F.adaptive_avg_pool2d(space.decode(rows, kinds), LOOK).flatten(1)

    return in_blocks(look, points, classes)


def _less_class_means(values: Tensor, classes: Tensor) -> Tensor:
    """Return values [N, d] less the mean of each row's class."""
    kinds, kind_of = torch.unique(classes, return_inverse=True)
    sums = torch.zeros(len(kinds), values.shape[1], device=values.device).index_add_(0, kind_of, values)
    return values - (sums / torch.bincount(kind_of)[:, None])[kind_of]


def _principal(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the first ``count`` principal components of centred values [N, d], [count, d], and their shares of the
    variance."""
    variances, vectors = torch.linalg.eigh((values.T @ values).double() / len(values))
    variances, vectors = variances.flip(0).clamp(min=0), vectors.flip(1)
    return vectors[:, :count].T.float(), (variances[:count] / variances.sum()).float()


def _reach(
    gan: TrainedGAN,
    space: LatentSpace,
    found: Directions,
    points: Tensor,
    classes: Tensor,
    sign: float,
    progress: Progress,
) -> Tensor:
    """Return how far each slider goes to one side, in whole units with that sign, [K]."""

    def realism(moved: Tensor) -> float:
        images = space.images(moved, classes)
        return in_blocks(lambda x, c: gan.realism(x, c).detach(), images, classes).mean().item()

    least = realism(points) - TOLERANCE
    reach = torch.zeros(len(found))
    for number in range(len(found)):
        progress(f"trying sliders {'up' if sign > 0 else 'down'}", number, len(found))
        for units in range(1, FURTHEST + 1):
            amounts = torch.zeros(len(found))
            amounts[number] = sign * units
            if realism(found.moved(space, points, amounts.expand(len(points), -1))) < least:
                break
            reach[number] = sign * units
    return reach


def save_directions(
    found: Directions, gan: TrainedGAN, out: str | Path, *, seed: int = 0, overwrite: bool = False
) -> None:
    """Write directions as an artifact that belongs to ``gan``, with a sheet of each: a row a sample of ``seed``, a
    column a position of the slider.

    Raises:
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    space = LatentSpace(gan.generator, gan.recipe, found.space)
    names = [found.categories[row * len(found.categories) // SHEET[0]] for row in range(SHEET[0])]
    classes = torch.tensor([gan.class_index(name) for name in names], device=gan.device)
    points = space.draw(design_seeds(seed, len(names)), classes)
    with write_artifact(
        out,
        kind=KIND,
        format_version=FORMAT_VERSION,
        name=gan.recipe.name,
        config={"space": found.space, "categories": list(found.categories), "names": list(found.names)},
        parents={"gan": gan.digest},
        overwrite=overwrite,
    ) as writer:
        writer.tensors(
            "directions",
            {name: getattr(found, name).numpy() for name in ("vectors", "units", "shares", "low", "high")},
        )
        for number in range(len(found)):
            low, high = found.low[number].item(), found.high[number].item()
            images = found.slider(space, points, classes, number, SHEET[1])
            called = f" ({found.name_of(number)})" if found.name_of(number) else ""
            share = f"{found.shares[number].item():.0%} of the variance"
            title = f"direction {number}{called}: {low:+g} to {high:+g}, {share}"
            sheet(list(images), names, title=title).save(writer.path(f"direction-{number:02d}.png"))


def direction_sheets(folder: str | Path) -> list[Path]:
    """Return the sheets of saved directions, PNG files in the order of their numbers.

    Raises:
        ArtifactError: not such an artifact, or incomplete.
    """
    artifact = open_artifact(folder, KIND, format_version=FORMAT_VERSION, verify=False)
    names = [name for name in artifact.manifest.files if name.endswith(".png")]
    return [artifact.path(name) for name in sorted(names, key=lambda name: (len(name), name))]  # 99 before 100


def load_directions(folder: str | Path, gan: TrainedGAN) -> Directions:
    """Return the directions that `save_directions` wrote for ``gan``.

    Raises:
        ArtifactError: not such an artifact, incomplete or damaged.
        MismatchError: they are another generator's.
    """
    artifact = open_artifact(folder, KIND, format_version=FORMAT_VERSION)
    if artifact.manifest.parents["gan"] != gan.digest:
        raise MismatchError(f"'{folder}' holds directions of another generator; find them anew for this one")
    config = artifact.manifest.config
    tensors = {name: torch.from_numpy(array) for name, array in artifact.tensors("directions").items()}
    names = tuple(config.get("names", ()))  # directions found before they could be named have none
    return Directions(space=config["space"], categories=tuple(config["categories"]), names=names, **tensors)
