"""From encoded bytes to letterboxed uint8 pixels, decoded once and cached as a memory map.

Every image, whatever made it (JPEG, PNG, WebP, CMYK, 16 bits, animated, rotated by EXIF), becomes 8-bit RGB. It is
scaled into a square without stretching, antialiased, on the colour of its own border. Designs and real items meet in
this form, so that a recommender sees both through the same pixels.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from recgan.dataset.bundle import Bundle
from recgan.dataset.cache import cached_array, new_cached_array
from recgan.device import available_cores
from recgan.errors import DataError, ImageRefused
from recgan.progress import Progress, quiet

if TYPE_CHECKING:  # see recgan.device
    import torch

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "TRANSFORM",
    "decode_image",
    "letterbox",
    "load_pixels",
    "pixel_digest",
    "to_float",
    "to_uint8",
]

MAX_PIXELS = 64_000_000
"""Images with more pixels than this are refused before they are decoded."""
MIN_SIDE = 8
"""Images with a side shorter than this many pixels are refused."""
TRANSFORM = "letterbox-border-v1"
"""Name of the pixel transform; it changes when the pixels that it makes change."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_CHUNK = 128
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow warns about (very large, damaged metadata) is decided here, by refusing the image or by using it. The
# filter is set once: warnings.catch_warnings is not safe in the threads that decode.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def decode_image(data: bytes) -> Image.Image:
    """Decode encoded bytes to an upright 8-bit RGB image (first frame; transparency on white).

    Raises:
        ImageRefused: reason ``empty``, ``not_an_image``, ``too_many_pixels``, ``too_small`` or ``corrupt``.
    """
    if not data:
        raise ImageRefused("empty", "the file is empty")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageRefused("too_many_pixels", f"more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageRefused("not_an_image", f"not one of {', '.join(FORMATS)}") from error
    except Exception as error:  # decoders fail on hostile bytes in every way (struct.error, KeyError, …)
        raise ImageRefused("corrupt", f"the header cannot be read: {error}") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageRefused("too_many_pixels", f"{width} x {height} is more than {MAX_PIXELS:,} pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageRefused("too_small", f"{width} x {height}: a side is shorter than {MIN_SIDE} pixels")
    try:
        image.load()
        return _upright(_to_rgb(image), image)
    except Exception as error:  # as above
        raise ImageRefused("corrupt", f"it cannot be decoded: {error}") from error


def _upright(pixels: Image.Image, source: Image.Image) -> Image.Image:
    """Turn the pixels as the source's EXIF orientation says.

    `ImageOps.exif_transpose` would also write the EXIF block anew, and fails on a damaged one.
    """
    orientation = source.getexif().get(ExifTags.Base.Orientation)
    return pixels.transpose(_TURNS[orientation]) if orientation in _TURNS else pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # Grey of more than 8 bits: keep the upper 8 bits instead of Pillow's clipping. I;16 says its range, the
        # 32-bit modes do not: the smallest usual range that holds the values is taken.
        grey = np.asarray(image, dtype=np.float64)
        if not np.isfinite(grey).all():
            raise ValueError("it has pixels that are not numbers")
        ranges = (65535.0,) if image.mode.startswith("I;16") else (1.0, 255.0, 65535.0)
        white = next((top for top in ranges if grey.max() <= top), grey.max())
        return Image.fromarray((grey.clip(0) / white * 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def pixel_digest(image: Image.Image) -> str:
    """Return the sha256 of an RGB image's size and pixels: equal for pictures that look equal to the bit."""
    hashed = hashlib.sha256(f"{image.size}".encode())
    hashed.update(image.tobytes())
    return hashed.hexdigest()


def letterbox(image: Image.Image, size: int) -> np.ndarray:
    """Return the image scaled into a square, uint8 [size, size, 3], on the median colour of its own border."""
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    if (width, height) == (size, size) == image.size:
        return np.asarray(image)
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(border, axis=0).round().astype(np.uint8)
    canvas = np.empty((size, size, 3), dtype=np.uint8)
    canvas[:] = ground
    inner = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    top, left = (size - height) // 2, (size - width) // 2
    canvas[top : top + height, left : left + width] = inner
    return canvas


def load_pixels(bundle: Bundle, size: int, *, progress: Progress = quiet) -> np.ndarray:
    """Return the letterboxed pixels of every image, a read-only uint8 memory map [n_images, size, size, 3].

    Rows follow `Bundle.image_index`. Decoded once, then cached beside the bundle under the images' digest.

    Raises:
        DataError: the bundle has no images.
        ArtifactError: the images have changed since the import, or the cached file is damaged.
        ImageRefused: an image that was good at import cannot be decoded any more (by another Pillow).
        StorageError: the cache cannot be written.
    """
    count = bundle.header.counts["images"]
    if not count:
        raise DataError(f"bundle '{bundle.path}' has no images; visual models and generators need some")
    path, shape = bundle.cache_folder / f"pixels-{size}-{TRANSFORM}.npy", (count, size, size, 3)
    if not path.is_file():
        for part in bundle.image_parts:
            bundle.check_part(part)
        with (
            new_cached_array(path, shape, np.uint8) as out,
            ThreadPoolExecutor(available_cores()) as pool,
        ):
            stream, done = bundle.iter_images(), 0
            while chunk := list(islice(stream, _CHUNK)):
                for pixels in pool.map(lambda data: letterbox(decode_image(data), size), chunk):
                    out[done] = pixels
                    done += 1
                progress(f"decoding images at {size} px", done, count)
    return cached_array(path, shape, np.uint8)


def to_float(pixels: np.ndarray | torch.Tensor, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return uint8 pixels [N, H, W, 3] as a float32 tensor [N, 3, H, W] in [-1, 1] on ``device``."""
    import torch

    if isinstance(pixels, np.ndarray):
        pixels = torch.tensor(np.asarray(pixels))  # a copy: torch cannot share a read-only memory map
    return pixels.to(device).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Return images [N, 3, H, W] in [-1, 1] as uint8 pixels [N, H, W, 3], rounded to nearest."""
    import torch

    scaled = images.detach().clamp(-1, 1).add(1).mul(127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
