"""How good is a generator: like the catalogue's photos, of the class asked for, of many kinds, and not a copy?

Samples are compared with photos of the *test* part of `recgan.dataset.split.image_split`, which neither training nor
the choice of the checkpoint has seen, of the same categories. Samples and photos go the same way: uint8 pixels of the
generator's size, then each eye's own. Three eyes look (`recgan.evaluation.generative.eyes`):

- the *extractor*, for KID, Frechet distance, precision, recall, density, coverage and memorisation: EfficientNet-Lite0
  by default. Nothing in a generator's training has looked through it: its checkpoint is chosen by Lite2, on validation
  photos;
- a *classifier* learnt here from the catalogue's training photos alone, for class consistency, for a score by Inception
  Score's formula, and for KID once more. Its twin learns from samples (train on synthetic, test on real);
- the *maps* of EfficientNet-Lite2 and plain SSIM, for the diversity within a category.

Every figure has that of real photos beside it, since alone none means much. Intervals are over samples and photos;
those of precision, recall, density and coverage resample the pictures that are counted, the neighbourhoods staying as
they are.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recgan.atomic import check_place
from recgan.config import GenerativeSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels
from recgan.errors import MismatchError, SettingsError
from recgan.evaluation.generative.eyes import Eyes, Seen
from recgan.evaluation.generative.figures import Bootstrap, coverage_by_class, pairs_within, share_by_class
from recgan.evaluation.generative.fitting import check_fit, photo_parts
from recgan.evaluation.generative.report import ClassFigures, GenerativeReport
from recgan.evaluation.generative.sampling import samples
from recgan.gan import TrainedGAN, load_gan
from recgan.metrics.generative import nearest_neighbours
from recgan.progress import Progress, quiet

__all__ = ["GenerativeJudge", "evaluate_generative"]

NEIGHBOURS_SHOWN = 4
"""Training photos that are kept for each sample, the nearest first."""


def evaluate_generative(
    gan: TrainedGAN | str | Path,
    bundle: Bundle,
    settings: GenerativeSettings | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> GenerativeReport:
    """Judge a trained generator by the test photos of the catalogue that it was trained on.

    Args:
        gan: a trained GAN, or its folder.
        bundle: the catalogue.
        settings: how many samples, which eyes.
        seed: of the samples, the photos chosen, the classifiers and the bootstrap.
        device: where a GAN that is given by its folder is put; the eyes are where the GAN is.
        out: folder for the figures and two sheets, of which one shows real photos; None: nothing is written.
        overwrite: replace it.
        progress: told of each step.

    Raises:
        ArtifactError: no GAN there, or ``out`` exists.
        MismatchError: it was trained on another catalogue, or with other pixels.
        DataError: it has seen the test photos, or there are too few of them.
        NotFoundError: an encoder's or a published network's weights cannot be had.
        StorageError: ``out`` cannot be written (told before the work).
    """
    if out is not None:
        check_place(out, overwrite=overwrite)
    gan = gan if isinstance(gan, TrainedGAN) else load_gan(gan, device)
    check_fit(gan, bundle)
    report = GenerativeJudge(bundle, gan.size, settings, seed=seed, device=gan.device, progress=progress).judge(
        gan, progress
    )
    if out is not None:
        from recgan.evaluation.generative.files import save_generative

        save_generative(report, bundle, out, overwrite=overwrite)
    return report


class GenerativeJudge:
    """The real side of the comparison, seen once; `judge` sees a generator, so that several are judged alike."""

    def __init__(
        self,
        bundle: Bundle,
        size: int,
        settings: GenerativeSettings | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        progress: Progress = quiet,
    ) -> None:
        """Args: ``size`` is the side in pixels of the generators that will be judged; the rest as
        `evaluate_generative`.

        Raises:
            DataError: fewer than `recgan.gan.monitor.FEWEST` test photos of categories with training photos.
            SettingsError, NotFoundError: there is no such extractor, it sees nothing at its size, or weights cannot be
                had.
        """
        began = time.perf_counter()
        self.bundle, self.size, self.seed = bundle, size, seed
        self.settings = settings or GenerativeSettings()
        n_classes = len(bundle.category_names)
        self._bootstrap = Bootstrap(self.settings.resamples, seed)
        self._train, self._test = photo_parts(bundle)
        rng = np.random.default_rng(seed)
        self._test = rng.permutation(self._test)
        self._train_counts = np.bincount(bundle.category_index[self._train], minlength=n_classes)
        self.n = min(self.settings.samples, len(self._test))
        """Samples, and test photos of the same categories."""
        self._eyes = Eyes(self.settings, size, n_classes, torch.device(device), seed)
        self._pixels = load_pixels(bundle, size, progress=progress)

        learnt_from = rng.permutation(self._train)[: self.settings.classifier_images]
        self._learnt_classes = bundle.category_index[learnt_from]
        small = self._eyes.small(self._photos, learnt_from)
        self._eyes.classifier = self._eyes.learn(
            small, self._learnt_classes, "training the classifier on photos", progress
        )
        self._all_test = self._see(self._test, "looking at test photos", progress)
        self._test_small = self._eyes.small(self._photos, self._test)
        self._real = self._all_test.first(self.n)
        self._train_features = self._eyes.features(self._photos, self._train, "looking at training photos", progress)
        if not self._train_features.std(axis=0).any():
            raise SettingsError(
                f"extractor '{self.settings.extractor}' sees no difference between the photos at "
                f"{self.settings.extractor_size} px; set extractor_size to more"
            )
        self._near = nearest_neighbours(self._all_test.features, self._train_features)[0][:, 0]
        self._pairs = pairs_within(self._real.class_index)
        self._differences = self._eyes.differences(self._photos, *(self._test[: self.n][side] for side in self._pairs))
        self._instead = self._see(self._rows_alike(rng), "looking at training photos like these", progress)
        self._likeness_of_train, near = self._likeness(self._instead.features, self._real.features)
        self._coverage_of_train = coverage_by_class(near, self._real.class_index, self._instead.class_index, n_classes)
        self._seconds = time.perf_counter() - began

    def judge(self, gan: TrainedGAN, progress: Progress = quiet) -> GenerativeReport:
        """Judge one generator.

        Raises:
            MismatchError: it was trained on another catalogue, with other pixels, or makes pictures of another size.
            DataError: it has seen the test photos, or gives pixels that are not numbers.
        """
        began = time.perf_counter()
        check_fit(gan, self.bundle)
        if gan.size != self.size:
            raise MismatchError(f"the generator makes pictures of {gan.size} px, and this judge sees {self.size} px")
        eyes, real, bootstrap, n_classes = self._eyes, self._real, self._bootstrap, len(self.bundle.category_names)
        pictures = samples(gan, real.class_index, self.seed, progress=progress)

        def made(rows: np.ndarray) -> np.ndarray:
            return pictures[rows]

        fake = eyes.see(made, np.arange(self.n), real.class_index, "looking at samples", progress)
        likeness, near = self._likeness(fake.features, real.features)
        by_classifier, _ = self._likeness(fake.by_classifier, real.by_classifier)
        kept = min(NEIGHBOURS_SHOWN, len(self._train))
        distances, nearest = nearest_neighbours(fake.features, self._train_features, kept)
        memorised, threshold = bootstrap.memorised(distances[:, 0], self._near)
        differences = eyes.differences(made, *self._pairs)
        diversity = {name: bootstrap.ratio(values, self._differences[name]) for name, values in differences.items()}
        published = eyes.published.compare(pictures, self._photos(self._test[: self.n])) if eyes.published else None
        return GenerativeReport(
            gan=_about(gan),
            bundle=self.bundle.name,
            seed=self.seed,
            n=self.n,
            settings=self.settings.model_dump(mode="json"),
            likeness=likeness,
            likeness_of_train=self._likeness_of_train,
            likeness_by_classifier=by_classifier,
            class_consistency=bootstrap.ratio(fake.recognised, real.recognised),
            classifier_score=bootstrap.score(fake.probabilities, real.probabilities),
            train_on_synthetic=bootstrap.paired_ratio(
                self._recognised_by_twin(gan, progress), self._all_test.recognised
            ),
            classifier_images=len(self._learnt_classes),
            memorised=memorised,
            memorised_distance=threshold,
            train_photos=len(self._train),
            test_photos=len(self._test),
            perceptual=diversity["perceptual"],
            dissimilarity=diversity["dissimilarity"],
            lpips=diversity.get("lpips"),
            pairs=len(self._pairs[0]),
            published=published,
            per_class=self._by_class(
                fake,
                coverage_by_class(near, real.class_index, fake.class_index, n_classes),
                differences["perceptual"],
                distances[:, 0] < threshold,
            ),
            seconds=self._seconds + time.perf_counter() - began,
            samples=pictures,
            class_index=real.class_index,
            nearest=self._train[nearest],
            nearest_distances=distances,
        )

    def _photos(self, items: np.ndarray) -> np.ndarray:
        """Return the first photos of items, uint8 [n, S, S, 3]."""
        return self._pixels[self.bundle.primary_images[items]]

    def _see(self, items: np.ndarray, step: str, progress: Progress) -> Seen:
        return self._eyes.see(self._photos, items, self.bundle.category_index[items], step, progress)

    def _likeness(self, fake: np.ndarray, real: np.ndarray) -> Any:
        return self._bootstrap.likeness(real, fake, self.settings.neighbours)

    def _rows_alike(self, rng: np.random.Generator) -> np.ndarray:
        """Return training items of the chosen photos' categories, as many of each where there are as many."""
        classes = self.bundle.category_index[self._train]
        wanted = np.bincount(self._real.class_index, minlength=len(self._train_counts))
        return np.concatenate(
            [rng.permutation(self._train[classes == index])[:count] for index, count in enumerate(wanted)]
        )

    def _recognised_by_twin(self, gan: TrainedGAN, progress: Progress) -> np.ndarray:
        """Return which test photos a classifier recognises that has learnt from samples, bool [n_test]."""
        classes, step = self._learnt_classes, "sampling to learn from"
        learnt_from = samples(gan, classes, self.seed, step, progress, first=self.n, shrink=self._eyes.shrunk)
        twin = self._eyes.learn(learnt_from, classes, "training the classifier on samples", progress)
        return twin.look(self._test_small)[0].argmax(axis=1) == self._all_test.class_index

    def _by_class(
        self, fake: Seen, coverage: np.ndarray, differences: np.ndarray, memorised: np.ndarray
    ) -> dict[str, ClassFigures]:
        """Return the figures of each category that is judged; ``differences`` are those of the pairs of samples."""
        n_classes, classes = len(self._train_counts), self._real.class_index
        consistency, consistency_real, copied = (
            share_by_class(values, classes, n_classes) for values in (fake.recognised, self._real.recognised, memorised)
        )
        of_pairs = classes[self._pairs[0]]
        spread, spread_real = (
            share_by_class(values, of_pairs, n_classes) for values in (differences, self._differences["perceptual"])
        )
        counts = np.bincount(classes, minlength=n_classes)
        return {
            self.bundle.category_names[index]: ClassFigures(
                n=int(counts[index]),
                train_images=int(self._train_counts[index]),
                coverage=float(coverage[index]),
                coverage_real=float(self._coverage_of_train[index]),
                consistency=float(consistency[index]),
                consistency_real=float(consistency_real[index]),
                diversity=float(spread[index] / spread_real[index]) if spread_real[index] else float("nan"),
                memorised=float(copied[index]),
            )
            for index in np.flatnonzero(counts)
        }


def _about(gan: TrainedGAN) -> dict[str, Any]:
    """Return what a reader must know of the generator, JSON-able."""
    monitor = gan.manifest.facts.get("monitor")
    return {
        "recipe": gan.recipe.name,
        "digest": gan.digest,
        "size": gan.size,
        "images_seen": gan.manifest.metrics["images_seen"],
        "seed": gan.manifest.facts["seed"],
        "truncation": gan.recipe.truncation,
        "checkpoint_chosen_by": monitor and {name: monitor[name] for name in ("extractor", "extractor_size")},
    }
