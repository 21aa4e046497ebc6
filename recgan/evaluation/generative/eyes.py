"""What three eyes see of photos and samples: an extractor, a classifier of the catalogue, and one for pairs.

All take uint8 pictures of the generator's size, so that photos and samples go the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from recgan.config import GenerativeSettings
from recgan.dataset.pixels import to_float, to_uint8
from recgan.encoders import embed_pixels, load_encoder
from recgan.encoders.perceptual import PerceptualDistance
from recgan.evaluation.classifier import CatalogueClassifier
from recgan.evaluation.generative.published import PublishedMeasures
from recgan.metrics.pictures import structural_similarity
from recgan.progress import Progress, quiet

__all__ = ["Eyes", "Pictures", "Seen"]

_CHUNK = 256
"""Pictures in memory at once, where there may be very many."""

Pictures = Callable[[np.ndarray], np.ndarray]
"""From rows int64 [n] to pictures uint8 [n, S, S, 3]."""


@dataclass(frozen=True)
class Seen:
    """A set of n pictures as the eyes see it."""

    class_index: np.ndarray
    """int64 [n]: what they are, or were made as."""
    features: np.ndarray
    """By the extractor, float32 [n, d]."""
    probabilities: np.ndarray
    """By the classifier, float64 [n, n_classes]."""
    by_classifier: np.ndarray
    """Its features, float32 [n, 256]."""

    @property
    def recognised(self) -> np.ndarray:
        """bool [n]: the classifier takes the picture for its own class."""
        return self.probabilities.argmax(axis=1) == self.class_index

    def first(self, n: int) -> Seen:
        """Return the first n of them."""
        return Seen(self.class_index[:n], self.features[:n], self.probabilities[:n], self.by_classifier[:n])


class Eyes:
    """The eyes, on one device, for pictures of one size."""

    def __init__(
        self, settings: GenerativeSettings, size: int, n_classes: int, device: torch.device, seed: int
    ) -> None:
        """Args: ``seed`` is that of the classifiers.

        Raises:
            SettingsError, NotFoundError: there is no such extractor, or weights cannot be had.
        """
        self.published = PublishedMeasures(device) if settings.published else None
        self.classifier: CatalogueClassifier | None = None
        """Learnt from photos; must be set before `see`."""
        self._settings = settings
        self._n_classes = n_classes
        self._device = device
        self._seed = seed
        self._small = min(settings.classifier_size, size)
        self._extractor = load_encoder(settings.extractor, str(device))
        self._extractor.input_size = settings.extractor_size
        self._perceptual = PerceptualDistance(str(device))

    def small(self, pictures: Pictures, rows: np.ndarray) -> np.ndarray:
        """Return the pictures of rows as classifiers see them, uint8 [n, s, s, 3]."""
        return np.concatenate([self.shrunk(pictures(part)) for part in _chunks(rows)])

    def learn(self, small: np.ndarray, class_index: np.ndarray, step: str, progress: Progress) -> CatalogueClassifier:
        """Return a classifier learnt from what `small` gave."""
        return CatalogueClassifier.learnt(
            small,
            class_index,
            self._n_classes,
            epochs=self._settings.classifier_epochs,
            seed=self._seed,
            device=self._device,
            step=step,
            progress=progress,
        )

    def features(self, pictures: Pictures, rows: np.ndarray, step: str, progress: Progress = quiet) -> np.ndarray:
        """Return what the extractor sees, float32 [n, d]."""
        found = np.empty((len(rows), self._extractor.dim), dtype=np.float32)
        done = 0
        for part in _chunks(rows):
            found[done : done + len(part)] = embed_pixels(self._extractor, pictures(part))
            done += len(part)
            progress(step, done, len(rows))
        return found

    def see(
        self, pictures: Pictures, rows: np.ndarray, class_index: np.ndarray, step: str, progress: Progress = quiet
    ) -> Seen:
        """Return what the extractor and the classifier see."""
        assert self.classifier is not None
        probabilities, by_classifier = self.classifier.look(self.small(pictures, rows))
        return Seen(class_index, self.features(pictures, rows, step, progress), probabilities, by_classifier)

    def differences(self, pictures: Pictures, left: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
        """Return how different the pictures of each pair are, float64 [p] by measure: ``perceptual``,
        ``dissimilarity`` (1 - SSIM) and, where asked for, ``lpips``."""
        found: dict[str, list[np.ndarray]] = {}
        for one_part, other_part in zip(_chunks(left), _chunks(right)):
            one, other = pictures(one_part), pictures(other_part)
            measured = {
                "perceptual": self._perceptual(one, other),
                "dissimilarity": 1 - structural_similarity(one, other),
            }
            if self.published is not None:
                measured["lpips"] = self.published.lpips(one, other)
            for name, values in measured.items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def shrunk(self, pictures: np.ndarray) -> np.ndarray:
        """Return pictures uint8 [n, S, S, 3] as classifiers see them, uint8 [n, s, s, 3]."""
        if pictures.shape[1] == self._small:
            return pictures
        side = (self._small, self._small)
        return to_uint8(F.interpolate(to_float(pictures, self._device), size=side, mode="bilinear", antialias=True))


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
