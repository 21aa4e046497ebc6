"""Small shops on disk for the tests of the importers: images of every kind, tables, and what an import made of it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from recgan.config import ImportOptions, overridden
from recgan.dataset.bundle import Bundle
from recgan.dataset.importers import ImportSummary, import_bundle


def picture(seed: int, size: tuple[int, int] = (24, 30)) -> Image.Image:
    """A smooth RGB image (width, height) of its own colours."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """An image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(seed: int) -> bytes:
    """A small PNG of its own."""
    return encoded(picture(seed))


def huge_png(width: int = 13_100, height: int = 13_000) -> bytes:
    """A PNG of a few bytes that claims to have 170 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def write_files(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write files below a folder, which is returned."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip of these files, in this order and under these names, whatever they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def take_in(
    path: Path, out: Path, *settings: str, source: str = "folder", **options: object
) -> tuple[Bundle, ImportSummary]:
    """Import a source with settings written as for ``--set``; return the bundle, checked whole, and the summary."""
    summary = import_bundle(source, path, out, options=overridden(ImportOptions(), settings), **options)  # type: ignore[arg-type]
    return Bundle.open(out, verify=True), summary


def refusals(bundle: Bundle) -> list[tuple[str, str, str, str]]:
    """Everything refused: kind, id, reason, place."""
    columns = ["kind", "id", "reason", "where"]
    return [tuple(row) for row in bundle.quarantine[columns].itertuples(index=False)]


def pictures_of(bundle: Bundle, item_id: str) -> list[bytes]:
    """The encoded images of an item in the order of their position."""
    index = bundle.image_index
    rows = index[index["item_id"] == item_id].sort_values("position")
    assert rows["position"].to_list() == list(range(len(rows)))
    return bundle.image_bytes(rows.index.to_numpy())
