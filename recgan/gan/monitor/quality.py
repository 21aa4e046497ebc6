"""Looks at what a generator makes while it trains, through an extractor that takes no part in the training.

A look compares fresh samples with as many real images that were held out, of the same classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from recgan.config import MonitorSettings, Recipe
from recgan.dataset.pixels import to_uint8
from recgan.encoders import load_encoder
from recgan.gan.data import CatalogueImages
from recgan.gan.monitor.shape import asymmetry, figure_parts, likeness_of_parts
from recgan.gan.sampling import design_seeds, in_blocks, latents, sample
from recgan.metrics.generative import kernel_distance, nearest_distances, neighbourhoods, spread

__all__ = ["FEWEST", "Look", "Quality"]

FEWEST = 50
"""Fewer held-out images than this say too little to judge by."""
DEAD = 0.02
"""An image whose pixels have a smaller standard deviation (of [-1, 1]) shows nothing."""
EMPTY = 0.02
"""Share of dead samples from which on a generator is empty."""
ALIKE = 0.4
"""A class whose samples spread less, over what its held-out images do, has samples that are too much alike."""
NEAREST_SHARE = 0.01
"""A sample counts as memorised where it is nearer to a training image than this share of held-out images are."""
RIDGE = 10.0
"""Weight of the probe's ridge against features of unit variance: strong, since it is to name pictures that are not yet
quite like those it was fitted to."""
BLOCK = 32


@dataclass(frozen=True)
class Look:
    """What one look saw."""

    images_seen: int
    kid: float
    blank: float
    """KID of pictures that show nothing: the held-out images, each as the one colour that is its mean."""
    precision: float
    recall: float
    density: float
    coverage: float
    class_consistency: float
    """Share of samples that a linear probe takes for their class, over the same share of held-out images."""
    diversity: float
    """Mean over classes of the samples' spread over that of held-out images."""
    least_diverse: str
    """The class where that is least."""
    least_diversity: float
    dead: float
    """Share of samples that show nothing."""
    memorised: float
    """Share of samples nearer to a training image than 1 % of held-out images are."""
    asymmetry: float = float("nan")
    """How much the samples differ from their mirror images, over how much held-out images do; a mean over classes."""
    parts: float = float("nan")
    """Share of samples whose figure has as many parts as is usual in their class, over the same share of held-out
    images (`recgan.gan.monitor.shape.likeness_of_parts`)."""
    odd_parts: str = ""
    """The class where that is least; empty where no class has a usual number."""

    @property
    def tells(self) -> bool:
        """Whether the samples are nearer to the photos than pictures that show nothing are. Farther away KID says
        little: it ranks grey noise before the first blurred shapes."""
        return self.kid < self.blank

    @property
    def alike(self) -> bool:
        """Whether the samples of some class are much more alike than its photos are: a sign of mode collapse."""
        return self.least_diversity < ALIKE

    @property
    def empty(self) -> bool:
        """Whether many samples show nothing."""
        return self.dead >= EMPTY

    def scalars(self) -> dict[str, float]:
        """Return the figures by name, for a log."""
        values = asdict(self)
        return {f"quality/{name}": value for name, value in values.items() if isinstance(value, float)}

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; what is not a number is None."""
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Look:
        """Return the look that `as_json` gave ``record`` of."""
        values: dict[str, Any] = {name: float("nan") if value is None else value for name, value in record.items()}
        return cls(**values)


class Quality:
    """The real side of the comparison, seen once; `look` sees a generator."""

    def __init__(
        self,
        settings: MonitorSettings,
        trained_on: CatalogueImages,
        held_out: CatalogueImages,
        category_names: list[str],
        seed: int,
    ) -> None:
        """Args: ``held_out`` has at least `FEWEST` images that are not in ``trained_on``."""
        self.category_names = category_names
        self._device = trained_on.device
        self._encoder = load_encoder(settings.extractor, str(self._device))
        self._encoder.input_size = settings.extractor_size
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(held_out), generator=rng)[: settings.images]
        known = torch.randperm(len(trained_on), generator=rng)[: 4 * settings.images]
        self._classes = held_out.class_index[chosen]
        self._seeds = design_seeds(seed, len(chosen))
        self._real = self._features(chosen, held_out.images)
        self._known = self._features(known, trained_on.images)
        self._known_classes = trained_on.class_index[known].numpy()
        self._blank = kernel_distance(self._real, self._features(chosen, lambda rows: _blank(held_out.images(rows))))
        pixels = to_uint8(held_out.images(chosen))
        self._real_parts, self._real_asymmetry = figure_parts(pixels), self._by_class(asymmetry(pixels))
        self._real_spread = spread(self._real, self._classes.numpy(), len(category_names))
        # The distance below which a share of NEAREST_SHARE of the held-out images lies.
        self._near = float(np.quantile(nearest_distances(self._real, self._known), NEAREST_SHARE))
        self._fit_probe()
        self._real_consistency = self._consistency(self._real)

    def look(self, generator: nn.Module, recipe: Recipe, images_seen: int) -> Look:
        """Return what ``generator``, in eval mode, makes of the same latents and classes at every look."""
        z = latents(self._seeds, recipe.model_copy(update={"truncation": None})).to(self._device)
        images = sample(generator, z, self._classes.to(self._device))
        fake, classes = self._features(images), self._classes.numpy()
        nearby = neighbourhoods(self._real, fake)
        ratios = spread(fake, classes, len(self.category_names)) / self._real_spread
        measured = np.isfinite(ratios)
        pixels = to_uint8(images)
        parts, odd = likeness_of_parts(self._real_parts, classes, figure_parts(pixels), classes)
        least = int(np.argmin(np.where(measured, ratios, np.inf)))
        return Look(
            images_seen=images_seen,
            kid=kernel_distance(self._real, fake),
            blank=self._blank,
            precision=nearby.precision,
            recall=nearby.recall,
            density=nearby.density,
            coverage=nearby.coverage,
            class_consistency=self._consistency(fake) / max(self._real_consistency, 1e-9),
            diversity=float(ratios[measured].mean()) if measured.any() else float("nan"),
            least_diverse=self.category_names[least],
            least_diversity=float(ratios[least]),
            dead=float((images.flatten(1).std(dim=1) < DEAD).float().mean()),
            memorised=float((nearest_distances(fake, self._known) < self._near).mean()),
            asymmetry=self._crookedness(pixels),
            parts=parts,
            odd_parts="" if odd is None else self.category_names[odd],
        )

    @torch.no_grad()
    def _features(
        self, rows: torch.Tensor, images: Callable[[torch.Tensor], torch.Tensor] = lambda images: images
    ) -> np.ndarray:
        """Return the features of images, or of those that ``images`` gives for rows, a block at a time."""
        return in_blocks(lambda block: self._encoder(images(block)), rows, block=BLOCK).float().cpu().numpy()

    def _crookedness(self, pixels: np.ndarray) -> float:
        # A class whose images are alike on both sides (drawn ones may be) has nothing to be measured by.
        measured = self._real_asymmetry > 0
        ratios = self._by_class(asymmetry(pixels))[measured] / self._real_asymmetry[measured]
        return float(ratios.mean()) if measured.any() else float("nan")

    def _by_class(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values [N], one a look's image, of each class that is looked at."""
        classes = self._classes.numpy()
        return np.array([values[classes == index].mean() for index in np.unique(classes)])

    def _consistency(self, features: np.ndarray) -> float:
        """Return the share of features that the probe takes for their own class."""
        named = ((features - self._mean) / self._deviation) @ self._probe
        return float((named.argmax(axis=1) == self._classes.numpy()).mean())

    def _fit_probe(self) -> None:
        """Fit a linear classifier (ridge regression on the one-hot class) to the images trained on."""
        self._mean, self._deviation = self._known.mean(axis=0), self._known.std(axis=0) + 1e-3
        x = (self._known - self._mean) / self._deviation
        kernel = x @ x.T / x.shape[1]
        wanted = np.eye(len(self.category_names))[self._known_classes]
        weights = np.linalg.solve(kernel + RIDGE * np.eye(len(x)), wanted - wanted.mean(axis=0))
        self._probe = x.T @ weights / x.shape[1]


def _blank(images: torch.Tensor) -> torch.Tensor:
    """Return images [N, 3, S, S], each as its mean colour."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images).contiguous()
