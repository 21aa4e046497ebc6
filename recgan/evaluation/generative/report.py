"""What a judged generator shows: figures with intervals, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recgan.evaluation.estimates import Estimate, without_nan

__all__ = ["EXPECTED_MEMORISED", "Against", "ClassFigures", "GenerativeReport", "Likeness"]

EXPECTED_MEMORISED = 0.01
"""Share of samples that are memorised by definition where the generator draws new photos: the threshold is the distance
below which this share of test photos lies."""


@dataclass(frozen=True)
class Likeness:
    """How like the test photos a set of pictures is, to one eye."""

    kid: Estimate
    fd: float
    """Frechet distance: biased upwards, the more the fewer pictures. No interval: a bootstrap of it is biased too."""
    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate

    def as_json(self) -> dict[str, Any]:
        """Return the values, KID with its interval, the other intervals by name."""
        by_name = {name: getattr(self, name) for name in ("precision", "recall", "density", "coverage")}
        return {
            "kid": _estimate(self.kid),
            "fd": self.fd,
            **{name: figure.value for name, figure in by_name.items()},
            "intervals": {name: [figure.low, figure.high] for name, figure in by_name.items()},
        }


@dataclass(frozen=True)
class Against:
    """A figure of the samples, the same figure of real photos, and the first over the second with its interval."""

    generated: float
    real: float
    ratio: Estimate

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; the interval is the ratio's."""
        ratio = self.ratio
        return {
            "generated": self.generated,
            "real": self.real,
            "ratio": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
        }


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one category; NaN where there are too few pictures."""

    n: int
    """Samples of it, and test photos."""
    train_images: int
    coverage: float
    """Share of its test photos that have a sample made as it in their neighbourhood."""
    coverage_real: float
    """The same of training photos in place of samples."""
    consistency: float
    """Share of its samples that the classifier takes for it."""
    consistency_real: float
    """The same of its test photos."""
    diversity: float
    """Mean perceptual distance between its samples over that between its test photos."""
    memorised: float
    """Share of its samples that are memorised."""


@dataclass(frozen=True)
class GenerativeReport:
    """What `recgan.evaluation.generative.evaluate_generative` returns. Intervals are 95% bootstrap intervals."""

    gan: dict[str, Any]
    """Recipe, digest, size, images seen, truncation, and the eye that chose its checkpoint."""
    bundle: str
    seed: int
    n: int
    """Samples, and test photos."""
    settings: dict[str, Any]
    likeness: Likeness
    """To the extractor."""
    likeness_of_train: Likeness
    """The same of training photos in place of samples: what a perfect generator would show."""
    likeness_by_classifier: Likeness
    """To the classifier learnt from this catalogue's own photos."""
    class_consistency: Against
    """Share of pictures that the classifier takes for their category."""
    classifier_score: Against
    """Inception Score's formula with the classifier in place of Inception."""
    train_on_synthetic: Against
    """Accuracy on all test photos of a classifier learnt from samples; of its twin, from as many real photos."""
    classifier_images: int
    memorised: Estimate
    """Share of samples nearer to a training photo than 1% of the test photos are."""
    memorised_distance: float
    """That distance, in the extractor's features."""
    train_photos: int
    test_photos: int
    perceptual: Against
    """Mean perceptual distance between two pictures of one category."""
    dissimilarity: Against
    """The same by 1 - SSIM."""
    lpips: Against | None
    pairs: int
    """Pairs of which those three are the mean."""
    published: dict[str, Any] | None
    """FID and Inception Score by torch-fidelity, where asked for."""
    per_class: dict[str, ClassFigures]
    seconds: float
    samples: np.ndarray = field(repr=False)
    """uint8 [n, S, S, 3]."""
    class_index: np.ndarray = field(repr=False)
    """int64 [n]: what they were made as."""
    nearest: np.ndarray = field(repr=False)
    """int64 [n, k]: items whose photos are the nearest training photos."""
    nearest_distances: np.ndarray = field(repr=False)
    """float64 [n, k]."""

    @property
    def chosen_by_the_extractor(self) -> bool:
        """Whether the extractor that judges here also chose the checkpoint: then it is not independent."""
        chosen_by = self.gan["checkpoint_chosen_by"]
        return chosen_by is not None and chosen_by["extractor"] == self.settings["extractor"]

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as JSON values; what cannot be known is null."""
        return without_nan(
            {
                "gan": self.gan,
                "bundle": self.bundle,
                "part": "test",
                "seed": self.seed,
                "n": self.n,
                "extractor": self.settings["extractor"],
                "extractor_size": self.settings["extractor_size"],
                "extractor_chose_the_checkpoint": self.chosen_by_the_extractor,
                "settings": self.settings,
                **self.likeness.as_json(),
                "real": {"of": "training photos in place of samples", **self.likeness_of_train.as_json()},
                "by_classifier": self.likeness_by_classifier.as_json(),
                "class_consistency": self.class_consistency.as_json(),
                "classifier_score": {
                    "classifier": "learnt from this catalogue's training photos",
                    **self.classifier_score.as_json(),
                },
                "train_on_synthetic": {"images": self.classifier_images, **self.train_on_synthetic.as_json()},
                "memorised": {
                    "share": self.memorised.value,
                    "low": self.memorised.low,
                    "high": self.memorised.high,
                    "expected": EXPECTED_MEMORISED,
                    "distance": self.memorised_distance,
                    "train_photos": self.train_photos,
                    "test_photos": self.test_photos,
                },
                "diversity": {
                    "pairs": self.pairs,
                    "perceptual": {"extractor": "efficientnet_lite2 maps, unweighted", **self.perceptual.as_json()},
                    "dissimilarity": {"measure": "1 - SSIM of the luminance", **self.dissimilarity.as_json()},
                    "lpips": self.lpips.as_json() if self.lpips else None,
                },
                "published": self.published,
                "per_class": {name: _class(figures) for name, figures in self.per_class.items()},
                "seconds": round(self.seconds, 1),
            }
        )


def _estimate(figure: Estimate) -> dict[str, float]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def _class(figures: ClassFigures) -> dict[str, Any]:
    return {
        "n": figures.n,
        "train_images": figures.train_images,
        "coverage": {"generated": figures.coverage, "real": figures.coverage_real},
        "class_consistency": {"generated": figures.consistency, "real": figures.consistency_real},
        "diversity": figures.diversity,
        "memorised": figures.memorised,
    }
