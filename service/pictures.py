"""Pictures from outside: what is taken, and the form in which it is kept.

What arrives is decoded and encoded anew. So nothing is kept of what may hide in a file besides its pixels: no place
where a photo was taken, no second format behind the first.
"""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image

from recgan.dataset.pixels import decode_image
from recgan.errors import ImageRefused
from service.store.items import Picture

__all__ = ["FORMATS", "decode_base64", "encode_png", "encode_webp", "taken_in"]

FORMATS = ("JPEG", "PNG", "WEBP")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_QUALITY = 92


def taken_in(data: bytes, *, max_pixels: int, side: int) -> Picture:
    """Return a picture from outside as it is kept: upright RGB, at most ``side`` pixels a side, as WebP.

    Raises:
        ImageRefused: it is no JPEG, PNG or WebP, has more than ``max_pixels``, or cannot be decoded.
    """
    if not (data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")):
        raise ImageRefused("not_an_image", f"it is none of {', '.join(FORMATS)}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:  # the header alone
            width, height = opened.size
    except Image.DecompressionBombError as error:
        raise ImageRefused("too_many_pixels", f"it has more than {max_pixels:,} pixels") from error
    except Exception as error:  # decoders fail on hostile bytes in every way
        raise ImageRefused("corrupt", "its header cannot be read") from error
    if width * height > max_pixels:
        raise ImageRefused("too_many_pixels", f"{width} x {height} is more than {max_pixels:,} pixels")
    image = decode_image(data)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=_QUALITY)
    return Picture(out.getvalue(), "image/webp")


def decode_base64(text: str) -> bytes:
    """Return the bytes of Base64 text.

    Raises:
        ImageRefused: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageRefused("not_an_image", "it is not Base64 text") from error


def encode_webp(png: bytes) -> bytes:
    """Return a picture as a WebP without loss."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        image.save(out, "WEBP", lossless=True)
    return out.getvalue()


def encode_png(pixels: np.ndarray) -> bytes:
    """Return uint8 pixels [H, W, 3] as an optimised PNG."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", optimize=True)
    return out.getvalue()
