"""Pictures inside a page: catalogue photos and generated images as data URIs, each with a text that says what it is."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import decode_image, letterbox

__all__ = ["Tile", "generated_tile", "item_tiles"]

_PHOTO_SIZE = 128
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Tile:
    """One picture of a strip."""

    src: str
    """A data URI."""
    alt: str
    size: int
    """Side in pixels."""
    lines: tuple[str, ...] = ()
    """The caption, a line each."""


def generated_tile(pixels: np.ndarray, alt: str, lines: Sequence[str] = ()) -> Tile:
    """Return a tile of generated pixels uint8 [S, S, 3], to the bit as they are."""
    return Tile(_uri(Image.fromarray(pixels), "PNG"), alt, len(pixels), tuple(lines))


def item_tiles(bundle: Bundle, rows: Sequence[int], captions: Sequence[Sequence[str]] | None = None) -> list[Tile]:
    """Return a tile for each item at ``rows`` of the bundle: its first photo, letterboxed; grey where it has none."""
    image_rows = bundle.primary_images[np.asarray(rows, dtype=np.int64)]
    have = np.flatnonzero(image_rows >= 0)
    photos = dict(zip(have.tolist(), bundle.image_bytes(image_rows[have].tolist()), strict=True))
    tiles = []
    for place, row in enumerate(rows):
        item_id, category = str(bundle.item_ids[row]), bundle.items["category"].iat[row]
        if place in photos:
            image = Image.fromarray(letterbox(decode_image(photos[place]), _PHOTO_SIZE))
            alt = f"item {item_id}, {category}"
        else:
            image, alt = Image.new("RGB", (_PHOTO_SIZE, _PHOTO_SIZE), "lightgrey"), f"item {item_id}, no picture"
        tiles.append(Tile(_uri(image, "JPEG"), alt, _PHOTO_SIZE, tuple(captions[place]) if captions else ()))
    return tiles


def _uri(image: Image.Image, kind: str) -> str:
    out = io.BytesIO()
    if kind == "JPEG":
        image.save(out, kind, quality=_JPEG_QUALITY, optimize=True)
    else:
        image.save(out, kind, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"
