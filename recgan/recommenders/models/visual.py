"""What visual models share: the encoder, the whitened features, cold items, and a taste for pictures never seen."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from recgan.config import LookSettings
from recgan.dataset.pixels import decode_image, letterbox, to_uint8
from recgan.encoders import Encoder, embed_pixels, load_encoder
from recgan.errors import DataError, MismatchError, NotFoundError, SettingsError, nearest_name
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData
from recgan.recommenders.models.smoothing import SmoothedWhitening
from recgan.recommenders.models.whitening import Whitening
from recgan.recommenders.scoring import UserVector
from recgan.recommenders.topk.filters import new_ids

__all__ = ["CONTROLS", "VisualRecommender", "pixels_of"]

_IN_MEMORY = 1 << 30
"""Bytes of whitened features that are held in memory."""

CONTROLS = ("permuted", "noise", "category")
"""Features that tell nothing about how an item looks: a visual gain must stand beside the same model on these."""


def pixels_of(images: Any, size: int) -> np.ndarray:
    """Return images in any usual form as letterboxed pixels, uint8 [N, size, size, 3].

    Args:
        images: uint8 array [N, H, W, 3]; or float tensor [N, 3, H, W] in [-1, 1]; or a sequence of encoded pictures
            (bytes), Pillow images and uint8 arrays [H, W, 3].
        size: side in pixels.

    Raises:
        ImageRefused: an encoded picture cannot be decoded.
        DataError: another form.
    """
    if isinstance(images, torch.Tensor):
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise DataError(
                f"image tensors must be float [N, 3, H, W] in [-1, 1], not {images.dtype} {list(images.shape)}"
            )
        if not bool(((images >= -1) & (images <= 1)).all()):
            raise DataError("image tensors must be in [-1, 1]; these have other values")
        images = to_uint8(images)
    if isinstance(images, (bytes, str, Image.Image)) or not hasattr(images, "__len__"):
        raise DataError(f"give a sequence of images, not a single {type(images).__name__}")
    out = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        if isinstance(image, bytes):
            image = decode_image(image)
        elif isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise DataError(f"image {row} must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")
            image = Image.fromarray(np.ascontiguousarray(image)) if image.size else Image.new("RGB", (0, 0))
        elif not isinstance(image, Image.Image):
            raise DataError(
                f"image {row} is a {type(image).__name__}; give bytes, Pillow images or uint8 arrays [H, W, 3]"
            )
        if not (image.width and image.height):
            raise DataError(f"image {row} has no pixels ({image.width} x {image.height})")
        out[row] = letterbox(image.convert("RGB"), size)
    return out


def _roomy(shape: tuple[int, int]) -> np.ndarray:
    """Return an array float16 of zeros; a large one lies in a temporary file, so that it need not fit in memory."""
    if 2 * shape[0] * shape[1] <= _IN_MEMORY:
        return np.zeros(shape, dtype=np.float16)
    with tempfile.TemporaryFile() as file:  # gone with its last use
        return np.memmap(file, dtype=np.float16, mode="w+", shape=shape)


def _smoothed(whitening: Whitening, anchors: np.ndarray, settings: LookSettings) -> SmoothedWhitening:
    return SmoothedWhitening(
        whitening.mean,
        whitening.matrix,
        anchors=anchors,
        neighbours=settings.smoothing_neighbours,
        weight=settings.smoothing_weight,
    )


class VisualRecommender(Recommender):
    """Base of the models that look at pictures through an encoder and a whitening."""

    visual = True

    item_features: np.ndarray
    """Whitened features float16 [n_items, width]: with them a loaded model serves without the bundle."""
    whitening: Whitening | None
    """None for a control, whose features say nothing about pictures."""

    @property
    def encoder_name(self) -> str:
        """Name of the encoder, for `recgan.encoders.load_encoder`."""
        return self.facts["encoder"]

    @property
    def encoder_digest(self) -> str:
        """Identity of the encoder that the model learned through."""
        return self.facts["encoder_digest"]

    @property
    def size(self) -> int:
        """Side in pixels of the letterboxed image that the encoder is shown."""
        return self.facts["size"]

    @property
    def transform(self) -> str:
        """Name of the pixel transform."""
        return self.facts["transform"]

    # ---- what a model must say

    @abstractmethod
    def factors_from(self, features: torch.Tensor, categories: torch.Tensor | None = None) -> torch.Tensor:
        """Return the factors [N, D] of items that nobody took yet, differentiably.

        Args:
            features: whitened, float [N, width].
            categories: class indices int64 [N], for models that look within the category; None: unknown.
        """

    # ---- what follows from it

    def load_encoder(self, device: str = "auto") -> Encoder:
        """Return the encoder that the model learned through.

        Raises:
            MismatchError: the encoder of that name that is installed here is another one.
        """
        encoder = load_encoder(self.encoder_name, device)
        if encoder.digest != self.encoder_digest:
            raise MismatchError(
                f"this {self.name} learned through other weights of '{self.encoder_name}' than are installed here; "
                "install those, or train it again"
            )
        return encoder

    def preference(self, vector: UserVector, features: torch.Tensor, category: str | None = None) -> torch.Tensor:
        """Return how much a user likes pictures, by what can be known of a new item alone, differentiably.

        Args:
            vector: from `user_vector` or `fold_in`.
            features: what `load_encoder` makes of the pictures, float [N, d].
            category: of what is pictured, for models that look within the category; None: unknown.

        Returns:
            float32 [N] on the features' device. For one user it orders pictures as `score` orders items that are new;
            it is on the same scale.

        Raises:
            SettingsError: the model is a control.
            NotFoundError: an unknown category.
            MismatchError: the vector comes from another model.
            DataError: it has values that are not finite.
        """
        self.check_vector(vector)
        whitened = self._real_whitening()(features)
        rows = None if category is None else torch.as_tensor(self._class_indices([category] * len(features)))
        factors = self.factors_from(whitened, rows)
        return factors @ torch.as_tensor(vector.values, dtype=torch.float32, device=factors.device)

    def add_items(self, item_ids: Sequence[str], images: Any, categories: Sequence[str]) -> None:
        """Add new items to the catalogue that the model knows, scored from their pictures alone.

        They come after the items that are there, are available, and have no attributes but their category. An index in
        use is of the items before, so it is given up: the search is exact again, until `use_index` is given a new one.

        Args:
            item_ids: N new ids.
            images: N pictures, in a form that `pixels_of` takes.
            categories: N names of known categories.

        Raises:
            DataError: an id is there already or twice, or the numbers differ.
            NotFoundError: an unknown category.
            SettingsError: ids that are not strings.
        """
        item_ids, categories = list(new_ids(item_ids, "item")), list(categories)
        if not len(item_ids) == len(images) == len(categories):
            raise DataError(
                f"{len(item_ids)} items, {len(images)} images and {len(categories)} categories: give one each"
            )
        rows = self._class_indices(categories)
        twice = pd.Index(item_ids).duplicated() | pd.Index(item_ids).isin(self._item_index)
        if twice.any():
            raise DataError(f"item '{item_ids[int(twice.argmax())]}' is there already; new items need new ids")
        features = self._whitened(images)
        added = pd.DataFrame({"item_id": item_ids, "category": categories, "available": True})
        self._set_items(pd.concat([self.items, added], ignore_index=True))
        self.item_features = np.concatenate([self.item_features, features.astype(np.float16)])
        self.item_factors = np.concatenate([self.item_factors, self._factors(features, rows)])

    def factors_of_images(self, images: Any) -> np.ndarray:
        """Return the item factors of new items that look so, float32 [N, D]; see `pixels_of` for the forms."""
        return self._factors(self._whitened(images))

    def _factors(self, features: np.ndarray, categories: np.ndarray | None = None) -> np.ndarray:
        with torch.inference_mode():
            rows = None if categories is None else torch.tensor(categories)
            return self.factors_from(torch.from_numpy(features), rows).numpy()

    def _class_indices(self, categories: Sequence[str]) -> np.ndarray:
        """Return the positions of categories in ``category_names``, int64 [N]."""
        for category in categories:
            if category not in self.category_names:
                raise NotFoundError(f"there is no category '{category}'{nearest_name(category, self.category_names)}")
        return np.array([self.category_names.index(category) for category in categories], dtype=np.int64)

    def _whitened(self, images: Any) -> np.ndarray:
        whitening = self._real_whitening()
        pixels = pixels_of(images, self.size)
        return whitening.apply(embed_pixels(self.load_encoder(), pixels))

    def _real_whitening(self) -> Whitening:
        if self.whitening is None:
            raise SettingsError(
                f"this {self.name} is a control (features={self.facts['features']}): it knows nothing about pictures; "
                "train it with features=real"
            )
        return self.whitening

    def _look(self, data: TrainingData, settings: LookSettings, seed: int) -> np.ndarray:
        """Fit the whitening; set and return the whitened features float16 [n_items, width] (real, or a control's)."""
        if data.features is None:
            raise DataError(f"'{self.name}' needs features; embed the bundle and give them to training_data")
        source, kind, width = data.features, settings.features, settings.width
        self.facts |= {
            "encoder": source.encoder,
            "encoder_digest": source.encoder_digest,
            "size": source.size,
            "transform": source.transform,
            "features": kind,
        }
        rng = np.random.default_rng([seed, 11])
        self.whitening = None
        if kind == "category":
            values = np.eye(len(data.category_names), dtype=np.float32)[data.category_index]
        elif kind == "noise":
            values = rng.normal(scale=width**-0.5, size=(data.n_items, width)).astype(np.float32)
        else:
            whitening = Whitening.fit(source.values, width, source.has_image, power=settings.whitening)
            if settings.smoothing_neighbours:
                anchors = whitening.apply(source.values).astype(np.float16)[source.has_image]
                whitening = _smoothed(whitening, anchors, settings)
            # Half precision is what is saved, so that a loaded model is the same model.
            values = whitening.apply(source.values, out=_roomy((data.n_items, whitening.width)))
            values[~source.has_image] = 0  # an item without a picture looks like the average one
            if kind == "permuted":
                values = values[rng.permutation(data.n_items)]
            else:
                self.whitening = whitening
        self.item_features = values.astype(np.float16, copy=False)
        return self.item_features

    def notes(self) -> list[str]:
        """Return what whoever trained this should know."""
        settings, notes = self.settings, super().notes()
        if isinstance(settings, LookSettings) and self.whitening and self.whitening.width < settings.width:
            notes.append(
                f"width={settings.width} is more than there is to see: the features of '{self.facts['encoder']}' vary "
                f"in {self.whitening.width} directions here, and so many are used"
            )
        return notes

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        whitening = {}
        if self.whitening is not None:
            whitening = {"whitening_mean": self.whitening.mean, "whitening_matrix": self.whitening.matrix}
        if isinstance(self.whitening, SmoothedWhitening):
            whitening["smoothing_anchors"] = self.whitening.anchors
        return {**super().tensors(), "item_features": self.item_features, **whitening}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        self.item_features = tensors["item_features"]
        self.whitening = None
        if "whitening_mean" in tensors:
            self.whitening = Whitening(tensors["whitening_mean"], tensors["whitening_matrix"])
            if isinstance(self.settings, LookSettings) and self.settings.smoothing_neighbours:
                self.whitening = _smoothed(self.whitening, tensors["smoothing_anchors"], self.settings)
        super().restore(user_ids, items, tensors)

    @property
    def similarity_space(self) -> str:
        """`similar` measures in the whitened visual space."""
        return "visual"

    def _similarity_vectors(self) -> np.ndarray:
        return self.item_features.astype(np.float32)

    def similarity_vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the whitened features of items, float32 [n, d]."""
        self._require_fitted()
        return self.item_features[rows].astype(np.float32)
