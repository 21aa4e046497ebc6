"""Why an item is recommended: the parts of its score, the liked items and the pixels that carry it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from recgan.atomic import atomic_folder
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import to_float
from recgan.encoders import Encoder
from recgan.errors import SettingsError
from recgan.recommenders.base import Recommender
from recgan.recommenders.models.visual import VisualRecommender, pixels_of
from recgan.recommenders.scoring import UserVector

__all__ = ["Explanation", "PixelMap", "explain", "explain_vector", "pixel_map", "save_maps"]

_BATCH = 8
_SMOOTHING = 1 / 20
"""Width of the blur under which a map is drawn, as a share of the picture's side."""
_STRONGEST = 99.0
"""Percentile of a map that gets the full colour."""


@dataclass(frozen=True)
class Explanation:
    """Why one item has its score for one user."""

    item_id: str
    score: float
    """What `Recommender.recommend` says, a float32."""
    parts: dict[str, float]
    """What `Recommender.factor_parts` names (``popularity``, ``category``, ``latent``, ``visual bias``, ``visual``),
    and ``taken before`` where the model has ``own_scores``; they sum to the score, which is their float64 sum rounded
    to float32."""
    liked: list[tuple[str, float]]
    """The user's items and by how much each raises the item's score, the most important first: see `explain`."""
    extra: list[float] = field(default_factory=list)
    """The same of what else the user likes, in the order in which `explain_vector` was given it."""


def explain(
    model: Recommender,
    item_ids: Sequence[str],
    *,
    user: str | None = None,
    liked: Sequence[str] = (),
    disliked: Sequence[str] = (),
    images: Any = None,
) -> list[Explanation]:
    """Explain the scores of items for a user that the model knows, or for one who likes some items or photos.

    The influence of a liked item is what leaving it out changes: the user is folded in from all that they like, and
    once more from all but this item, against the same draw of other items; the influence is the difference of the two
    scores. Up to 50 liked items that is really done; of longer histories models that fold in by Newton's method take
    one step of it for each item (`Recommender.contributions`). (Of a known user it is the history in the model,
    withheld items included, that is folded in.)

    Args:
        model: a trained one.
        item_ids: what to explain.
        user: an id; or else
        liked: items that the user likes.
        disliked: items that they do not.
        images: photos that they like, as in `Recommender.fold_in`; what they carry is in ``extra``.

    Raises:
        SettingsError: neither or both of ``user`` and what somebody likes or dislikes.
        NotFoundError: an unknown id.
    """
    if (user is None) == (not liked and not disliked and images is None):
        raise SettingsError("say for whom: user=ID, or liked=[ITEM, ...] and images, not both")
    rows = model.rows_of_items(item_ids)
    if user is not None:
        vector = model.user_vector(user)
        history, against = vector.seen, np.empty(0, dtype=np.int64)
    else:
        vector = model.fold_in(liked, disliked, images=images)
        history, against = (np.unique(model.rows_of_items(ids)) for ids in (liked, disliked))
    extra = None if images is None else model.factors_of_images(images)
    return explain_vector(model, rows, vector, history, against, extra)


def explain_vector(
    model: Recommender,
    rows: np.ndarray,
    vector: UserVector,
    liked: np.ndarray,
    disliked: np.ndarray,
    extra: np.ndarray | None = None,
    against: np.ndarray | None = None,
) -> list[Explanation]:
    """Explain the scores of items for a user whose vector is known, and what it was made of: see `explain`.

    Args:
        model: a trained one.
        rows: int64 [k], of the items to explain.
        vector: the user's.
        liked: int64 [n], rows of the items that the user likes, each once.
        disliked: int64 [m], rows of those that they do not.
        extra: float32 [e, D], item factors of more that is liked, such as photos.
        against: float32 [a, D], item factors of more that is disliked.
    """
    parts = model.factor_parts(rows)
    wide = vector.values.astype(np.float64)
    sums = {name: np.einsum("nd,d->n", part.astype(np.float64), wide) for name, part in parts.items()}
    moved = model.contributions(liked, disliked, extra, against)
    influence = moved @ model.item_factors[rows].astype(np.float64).T  # [n + e, k]
    influence, of_extra = influence[: len(liked)], influence[len(liked) :]
    if vector.own is not None:
        added = np.zeros(len(model.items))
        added[vector.seen] = vector.own
        sums["taken before"] = added[rows]
        influence += (liked[:, None] == rows) * added[rows]
    liked_ids = model.item_ids[liked]
    explained = []
    for place, item_id in enumerate(model.item_ids[rows]):
        own = {name: float(values[place]) for name, values in sums.items()}
        score = float(np.float32(math.fsum(own.values())))
        order = np.argsort(-np.abs(influence[:, place]), kind="stable")
        carried = [(str(liked_ids[n]), float(influence[n, place])) for n in order]
        explained.append(Explanation(str(item_id), score, own, carried, of_extra[:, place].tolist()))
    return explained


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Which pixels of a picture carry a user's preference for how it looks."""

    pixels: np.ndarray
    """uint8 [S, S, 3], the picture as the model sees it."""
    values: np.ndarray
    """float32 [S, S]: what each pixel adds to the visual score (or, below 0, takes from it)."""
    score: float
    """The visual score of the picture (`VisualRecommender.preference`)."""
    blank_score: float
    """That of a blank (white) picture; ``values`` sum to the difference, as nearly as the number of steps allows."""

    def drawn(self, scale: int = 4) -> Image.Image:
        """Return the picture beside itself under the map: red pixels raise the score, blue ones lower it."""
        side = len(self.pixels)
        picture = Image.fromarray(self.pixels).resize((side * scale, side * scale), Image.Resampling.BICUBIC)
        smooth = gaussian_filter(self.values.astype(np.float64), side * _SMOOTHING)
        strongest = float(np.percentile(np.abs(smooth), _STRONGEST)) or 1.0
        strength = np.clip(np.abs(smooth) / strongest, 0, 1)
        colour = np.where((smooth > 0)[..., None], (214, 39, 40), (31, 119, 180))
        grey = np.repeat(self.pixels.mean(axis=2, keepdims=True), 3, axis=2)
        faint = 255 - (255 - grey) * 0.5  # the picture stays visible under the colours
        mixed = faint + strength[..., None] * (colour - faint) * 0.85
        heat = Image.fromarray(np.rint(mixed).astype(np.uint8)).resize(picture.size, Image.Resampling.BICUBIC)
        both = Image.new("RGB", (2 * picture.width, picture.height), "white")
        both.paste(picture, (0, 0))
        both.paste(heat, (picture.width, 0))
        return both


def pixel_map(
    model: VisualRecommender,
    vector: UserVector,
    image: Any,
    *,
    category: str | None = None,
    steps: int = 64,
    encoder: Encoder | None = None,
    device: str = "auto",
) -> PixelMap:
    """Return which pixels of a picture carry the visual part of its score, by integrated gradients.

    The gradient of `VisualRecommender.preference` is averaged along the straight line from a blank white picture, the
    ground of product photos, to this one, and multiplied with the way gone (Sundararajan et al., ICML 2017). So the
    values sum to what the picture scores above a blank one (within a fifth at 64 steps through EfficientNet-Lite0,
    whose gradients jump), and the white ground gets nothing.

    Args:
        model: a visual model that is no control.
        vector: from `Recommender.user_vector` or `Recommender.fold_in`.
        image: one picture, in a form that `pixels_of` takes in a list.
        category: of what is pictured; None: unknown.
        steps: points on the line, at least 1.
        encoder: the model's own, if it is loaded already.
        device: where it is loaded otherwise.

    Raises:
        SettingsError: the model does not look at pictures, or is a control; ``steps`` < 1.
        ImageRefused: a picture that cannot be decoded.
    """
    if not isinstance(model, VisualRecommender):
        raise SettingsError(f"'{model.name}' does not look at pictures; use a visual model, such as vbpr")
    if steps < 1:
        raise SettingsError(f"steps={steps}: take at least one")
    encoder = encoder or model.load_encoder(device)
    pixels = pixels_of([image], model.size)
    shown = to_float(pixels, next(encoder.buffers()).device)
    blank = torch.ones_like(shown)
    way = (torch.arange(steps, device=shown.device, dtype=shown.dtype) + 0.5) / steps
    gradient = torch.zeros_like(shown[0])
    for part in way.split(_BATCH):
        between = (blank + part[:, None, None, None] * (shown - blank)).requires_grad_()
        liking = model.preference(vector, encoder(between), category).sum()
        gradient += torch.autograd.grad(liking, between)[0].sum(0) / steps
    with torch.inference_mode():
        score, blank_score = model.preference(vector, encoder(torch.cat([shown, blank])), category).tolist()
    values = (gradient * (shown - blank)[0]).sum(0).cpu().numpy()
    return PixelMap(pixels[0], values.astype(np.float32), score, blank_score)


def save_maps(
    model: Recommender,
    vector: UserVector,
    item_ids: Sequence[str],
    bundle: Bundle,
    out: str | Path,
    *,
    overwrite: bool = False,
) -> list[str | None]:
    """Draw the `pixel_map` of each item's first picture into a folder, ``map-000.png`` ..., and return the names; None
    for an item without a picture.

    Raises:
        SettingsError: as `pixel_map`.
        MismatchError: the bundle's catalogue is not the model's.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    if not isinstance(model, VisualRecommender):
        raise SettingsError(f"'{model.name}' does not look at pictures; use a visual model, such as vbpr")
    model.check_fits(bundle)
    encoder = model.load_encoder()
    names: list[str | None] = []
    with atomic_folder(out, overwrite=overwrite) as folder:
        for place, item in enumerate(model.rows_of_items(item_ids)):
            row = int(bundle.primary_images[item])
            names.append(f"map-{place:03d}.png" if row >= 0 else None)
            if row >= 0:
                picture, category = bundle.image_bytes([row])[0], str(model.items["category"].iloc[item])
                carried = pixel_map(model, vector, picture, category=category, encoder=encoder)
                carried.drawn().save(folder / f"map-{place:03d}.png")
    return names
