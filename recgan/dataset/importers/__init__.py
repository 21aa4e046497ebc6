"""Importers: from a shop's own export, or from a published data set, to a bundle.

`import_bundle` is the whole of it. Each data set is one file here, a `Source` that describes how it lies on disk; what
they share is in `common`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from recgan.config import ImportOptions
from recgan.dataset.importers.common import Source, run_import
from recgan.dataset.importers.summary import ImportSummary
from recgan.errors import SettingsError, nearest_name
from recgan.progress import Progress, quiet

__all__ = ["IMPORTERS", "ImportSummary", "import_bundle"]

IMPORTERS = {
    "folder": "folder.Folder",
    "fashion-product-images": "fashion_product_images.FashionProductImages",
    "hm": "hm.HM",
    "renttherunway": "renttherunway.RentTheRunway",
    "mnist": "mnist.MNIST",
    "fashion-mnist": "mnist.FashionMNIST",
    "dvbpr-npy": "dvbpr_npy.DVBPR",
}
"""The importers by name: module and class."""

_COMMON = {"name", "licence", "limit"}


def import_bundle(
    source: str,
    path: str | Path,
    out: str | Path,
    *,
    options: ImportOptions | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> ImportSummary:
    """Import the data set at ``path`` into a new bundle at ``out``.

    Every row and image that cannot be used is in the bundle's quarantine with its reason and place. The bundle is
    whole or not there: an error, a full disk or Ctrl-C leaves nothing behind. Memory does not grow with the images.

    Args:
        source: one of `IMPORTERS`.
        path: the data set's folder or file.
        out: the bundle's folder.
        options: where things are in the source (`ImportOptions`); None: the defaults.
        overwrite: replace what is at ``out``.
        progress: told of items, images and interactions.

    Raises:
        SettingsError: an unknown importer, or an option that it has no use for.
        DataError: the source is not what it should be, or nothing in it is usable.
        ArtifactError: ``out`` exists.
        StorageError: the disk is full, or ``out`` cannot be written.
    """
    importer = _importer(source)
    options = options or ImportOptions()
    changed = {name for name, value in ImportOptions() if getattr(options, name) != value}
    for name in sorted(changed - _COMMON - importer.takes):
        taken = ", ".join(sorted(_COMMON | importer.takes))
        raise SettingsError(f"the importer '{source}' has no use for the option '{name}'; it takes: {taken}")
    return run_import(importer(Path(path), options), out, overwrite=overwrite, progress=progress)


def _importer(name: str) -> type[Source]:
    if name not in IMPORTERS:
        hint = nearest_name(name, IMPORTERS) or f"; there are: {', '.join(IMPORTERS)}"
        raise SettingsError(f"there is no importer '{name}'{hint}")
    module, kind = IMPORTERS[name].split(".")
    importer: type[Source] = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
    return importer
