"""`mnist` and `fashion-mnist`: idx files wherever they lie below the path, or else torchvision's download.

Format: http://yann.lecun.com/exdb/mnist, kept by https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from PIL import Image

from recgan.config import ImportOptions
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.common import Source
from recgan.dataset.importers.pictures import Gallery, Picture
from recgan.errors import DataError

__all__ = ["MNIST", "FashionMNIST"]

_PARTS = {"train": "train", "test": "t10k"}
_KINDS = {"images": 3, "labels": 1}
_UBYTE = 8


class MNIST(Source):
    """70,000 handwritten digits of 28x28 pixels; no users. ``partition`` tells the published train and test parts."""

    label = "mnist"
    title = "MNIST"
    licence = "CC BY-SA 3.0"
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    torchvision_name: ClassVar[str] = "MNIST"
    elsewhere: ClassVar[str] = ""

    def __init__(self, path: Path, options: ImportOptions) -> None:
        super().__init__(path, options)
        self._files = self._find() or self._download()
        self.items_file = self._files["train", "labels"].name
        self._images: dict[str, np.ndarray] = {}

    def items(self, writer: BundleWriter) -> pd.DataFrame:
        """One item an image, called ``train-00000`` or ``test-00000``; its category is the class's name."""
        frames = []
        for part in _PARTS:
            images = read_idx(self._files[part, "images"], 3)
            labels = read_idx(self._files[part, "labels"], 1)
            if len(images) != len(labels) or labels.max(initial=0) >= len(self.class_names):
                raise DataError(f"'{self._files[part, 'labels']}' does not belong to '{self._files[part, 'images']}'")
            self._images[part] = images
            names = [self.class_names[label] for label in labels]
            ids = [f"{part}-{number:05d}" for number in range(len(labels))]
            frames.append(pd.DataFrame({"item_id": ids, "category": names, "partition": part}))
        frame = pd.concat(frames, ignore_index=True)
        frame.index += 1
        return frame

    def gallery(self, item_ids: Collection[str]) -> Gallery:
        """Each image as a PNG."""

        def of(item_id: str) -> list[Picture]:
            part, number = item_id.split("-")
            pixels = self._images[part][int(number)]
            return [Picture(partial(_png, pixels), f"{self._files[part, 'images'].name}:{int(number)}")]

        return Gallery(of)

    def _find(self) -> dict[tuple[str, str], Path] | None:
        """Return the four files, or None. Both sets call them alike, so the folders' names must tell which it is."""
        if not self.path.is_dir():
            return None
        ours = "fashion" in self.label
        found: dict[tuple[str, str], Path] = {}
        below = sorted(path for path in self.path.rglob("*ubyte*") if path.is_file())
        for part, prefix in _PARTS.items():
            for kind, dimensions in _KINDS.items():
                name = re.compile(rf"{prefix}-{kind}[-.]idx{dimensions}-ubyte(\.gz)?")
                places = [path for path in below if name.fullmatch(path.name)]
                named = [path for path in places if ("fashion" in self._folder_names(path)) == ours]
                # A folder that says nothing may hold either set; one that says "fashion" is never the digits.
                places = named or (places if ours else [])
                if not places:
                    return None
                found[part, kind] = places[0]
        return found

    def _folder_names(self, path: Path) -> str:
        return f"{self.path.resolve().name}/{path.parent.relative_to(self.path)}".lower()

    def _download(self) -> dict[tuple[str, str], Path]:
        """Download with torchvision below the path."""
        from torchvision import datasets

        mend = f"give a folder that holds the four idx files{self.elsewhere}"
        try:
            getattr(datasets, self.torchvision_name)(root=str(self.path), train=True, download=True)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"'{self.path}' holds no {self.label} idx files, and they cannot be downloaded ({reason}); {mend}"
            ) from error
        found = self._find()
        if found is None:
            raise DataError(f"'{self.path}' holds no {self.label} idx files after the download; {mend}")
        return found


class FashionMNIST(MNIST):
    """70,000 garments of 28x28 grey pixels in ten classes; no users."""

    label = "fashion-mnist"
    title = "Fashion-MNIST"
    licence = "MIT"
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    torchvision_name = "FashionMNIST"
    elsewhere = " (Debian's package dataset-fashion-mnist puts them into /usr/share/datasets)"


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the unsigned bytes of an idx file, of this many dimensions.

    Raises:
        DataError: the file cannot be read, or is not such a file.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read()
        zeros, kind, count = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{dimensions}I", data, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"'{path}' cannot be read as an idx file: {error}") from error
    start = 4 + 4 * dimensions
    if (zeros, kind, count) != (0, _UBYTE, dimensions) or len(data) != start + int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"'{path}' is no idx file of bytes in {dimensions} dimensions, or is cut short; fetch it again")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
