"""A generative evaluation as a folder: all figures, what the samples look like, and what they are nearest to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from recgan.atomic import atomic_folder
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels
from recgan.dataset.sheets import image_grid, save_picture
from recgan.evaluation.generative.report import GenerativeReport

__all__ = ["save_generative"]

_CLASSES = 30
_COLUMNS = 12
_NEAREST = 16
_CELL = 96
"""Pictures are shown at about so many pixels."""


def save_generative(report: GenerativeReport, bundle: Bundle, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a folder, whole or not at all::

        generative.json   all figures
        samples.png       the first samples of each category, none chosen by eye
        neighbours.png    the samples that are nearest to training photos, beside these photos: *real* ones, which may
                          not be published where the catalogue's licence does not allow it

    Raises:
        ArtifactError: it exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    scale = max(1, _CELL // report.samples.shape[1])
    with atomic_folder(folder, overwrite=overwrite) as building:
        text = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
        (building / "generative.json").write_text(text + "\n", encoding="utf-8")
        names = sorted(report.per_class, key=lambda name: -report.per_class[name].n)[:_CLASSES]
        rows = [report.samples[report.class_index == bundle.category_names.index(name)][:_COLUMNS] for name in names]
        title = f"{report.gan['recipe']}: the first samples of seed {report.seed}, a row a category"
        save_picture(image_grid(rows, names, scale=scale, title=title), building / "samples.png")

        pixels = load_pixels(bundle, report.samples.shape[1])
        nearest = np.argsort(report.nearest_distances[:, 0], kind="stable")[:_NEAREST]
        rows = [
            np.concatenate([report.samples[index : index + 1], pixels[bundle.primary_images[report.nearest[index]]]])
            for index in nearest
        ]
        labels = [
            f"{bundle.category_names[report.class_index[index]]} {report.nearest_distances[index, 0]:.2f}"
            for index in nearest
        ]
        title = f"left: samples; right: nearest REAL training photos (memorised: < {report.memorised_distance:.2f})"
        save_picture(image_grid(rows, labels, scale=scale, title=title), building / "neighbours.png")
