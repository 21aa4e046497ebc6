"""Features of a whole catalogue, computed once and cached beside the bundle as a memory map."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from recgan.config import EmbedSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.cache import cached_array, new_cached_array
from recgan.dataset.pixels import TRANSFORM, load_pixels, to_float
from recgan.device import torch_threads
from recgan.encoders.base import Encoder
from recgan.encoders.registry import load_encoder
from recgan.errors import DataError
from recgan.progress import Progress, quiet

__all__ = ["Features", "embed_items", "embed_pixels"]


@dataclass(frozen=True)
class Features:
    """The features of every item of one bundle, and how they were made."""

    values: np.ndarray
    """float32 [n_items, dim], a read-only memory map in `Bundle.items` order: the mean over an item's images; zeros
    where it has none."""
    has_image: np.ndarray
    """bool [n_items]"""
    encoder: str
    encoder_digest: str
    size: int
    """Side in pixels of the letterboxed image that the encoder was shown."""
    transform: str
    """Name of the pixel transform."""
    images_digest: str
    """Identity of the images (`Bundle.images_digest`)."""


def embed_pixels(
    encoder: Encoder, pixels: np.ndarray, *, batch_size: int = 64, progress: Progress = quiet
) -> np.ndarray:
    """Return the features of letterboxed pixels, without gradients.

    Args:
        encoder: where it stands decides the device.
        pixels: uint8 [N, S, S, 3]; may be a memory map, of which one batch at a time is read.
        batch_size: images a batch.
        progress: told the number of images done.

    Returns:
        float32 [N, encoder.dim].

    Raises:
        DataError: pixels of another shape or dtype.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
        raise DataError(f"pixels must be uint8 [N, S, S, 3], not {pixels.dtype} {list(pixels.shape)}")
    out = np.empty((len(pixels), encoder.dim), dtype=np.float32)
    device = next(encoder.buffers()).device
    with torch.inference_mode(), torch_threads():
        for start in range(0, len(pixels), batch_size):
            batch = np.array(pixels[start : start + batch_size])  # a copy: a memory map may be read-only
            out[start : start + len(batch)] = encoder(to_float(batch, device)).cpu().numpy()
            progress("encoding images", start + len(batch), len(pixels))
    return out


def embed_items(
    bundle: Bundle,
    settings: EmbedSettings | None = None,
    *,
    encoder: Encoder | None = None,
    device: str = "auto",
    progress: Progress = quiet,
) -> Features:
    """Return the features of every item, the mean over its images; computed once, then cached beside the bundle.

    With ``encoder``, such as a recommender's own, that one is taken as it stands instead of the one named.

    The cache's key covers the images, the items' order, the encoder's weights, the size and the pixel transform. A
    step that is stopped leaves nothing half-written behind.

    Raises:
        SettingsError: there is no such encoder.
        DataError: the bundle has no images, or a feature is not finite.
        ArtifactError: a cached file is damaged.
        StorageError: the cache cannot be written.
    """
    settings = settings or EmbedSettings()
    encoder = encoder or load_encoder(settings.encoder, device)
    item = bundle.image_index["item"].to_numpy()
    counts = np.bincount(item, minlength=len(bundle.items))
    shape = (len(counts), encoder.dim)
    path = bundle.cache_folder / f"features-{_safe(encoder.name)}-{settings.size}-{_key(bundle, encoder)}.npy"
    if not path.is_file():
        pixels = load_pixels(bundle, settings.size, progress=progress)
        with new_cached_array(path, shape, np.float32) as out:
            step = max(settings.batch_size, 512)
            for start in range(0, len(pixels), step):
                rows = slice(start, min(start + step, len(pixels)))
                features = embed_pixels(encoder, pixels[rows], batch_size=settings.batch_size)
                if not np.isfinite(features).all():
                    row = start + int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
                    where = bundle.item_ids[item[row]]
                    raise DataError(f"encoder '{encoder.name}' gave a feature that is not finite for item '{where}'")
                np.add.at(out, item[rows], features / counts[item[rows], None].astype(np.float32))
                progress(f"encoding images ({encoder.name})", rows.stop, len(pixels))
    return Features(
        values=cached_array(path, shape, np.float32),
        has_image=counts > 0,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        size=settings.size,
        transform=TRANSFORM,
        images_digest=bundle.images_digest,
    )


def _safe(name: str) -> str:
    return name.replace(":", "-").replace("/", "-")


def _key(bundle: Bundle, encoder: Encoder) -> str:
    hashed = hashlib.sha256(f"{encoder.digest}|{TRANSFORM}|".encode())
    # Bundles with the same images share the folder, but may list other items, or in another order.
    hashed.update("\x1f".join(bundle.item_ids).encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()[:16]
