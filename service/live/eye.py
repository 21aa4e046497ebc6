"""What the recommender sees in a picture, and what it makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from recgan.encoders import embed_pixels
from recgan.recommenders.models.visual import pixels_of

if TYPE_CHECKING:
    from recgan.recommenders import Recommender

__all__ = ["Eye", "RecommenderEye", "eye_of"]

_AT_ONCE = 4
"""Pictures looked at together. Torch keeps what each number of pictures needs: with up to ten at a time that is some
300 MB more, for a quarter less time."""


class Eye(Protocol):
    """Looks at pictures as one recommender does."""

    key: str
    """What the seen depends on; two eyes of one key see the same."""

    def look(self, pictures: Sequence[bytes]) -> np.ndarray:
        """Return what is seen in encoded pictures, float32 [N, d]."""

    def vectors(self, seen: np.ndarray) -> np.ndarray:
        """Return what was seen in the space that likeness is measured in, float32 [N, w]."""

    def factors(self, seen: np.ndarray, categories: Sequence[str] = ()) -> np.ndarray:
        """Return the item factors of new items that look so, float32 [N, D]; of the categories told, if any are."""


class RecommenderEye:
    """The eye of a visual recommender; its encoder is loaded once.

    All looking is done in one thread, a few pictures at a time, whoever asks: torch keeps in each thread what a network
    needs there, so sixteen threads that look at once would hold a gigabyte for as long as they live.
    """

    def __init__(self, recommender: Recommender, device: str = "auto") -> None:
        from recgan.recommenders import VisualRecommender

        assert isinstance(recommender, VisualRecommender)
        assert recommender.whitening is not None
        self._recommender = recommender
        self._whitening = recommender.whitening
        self._encoder = recommender.load_encoder(device)
        self._thread = ThreadPoolExecutor(1, "eye")
        told = f"{recommender.encoder_digest}/{recommender.size}/{recommender.transform}"
        self.key = hashlib.sha256(told.encode()).hexdigest()

    def look(self, pictures: Sequence[bytes]) -> np.ndarray:
        """Return the encoder's features."""
        pixels = pixels_of(list(pictures), self._recommender.size)
        some = [pixels[start : start + _AT_ONCE] for start in range(0, max(len(pixels), 1), _AT_ONCE)]
        # Some are waited for before the next are asked for, so that one photo is not kept waiting by many.
        seen = [self._thread.submit(embed_pixels, self._encoder, part, batch_size=_AT_ONCE).result() for part in some]
        return np.concatenate(seen)

    def vectors(self, seen: np.ndarray) -> np.ndarray:
        """Return the whitened features."""
        return self._whitening.apply(seen)

    def factors(self, seen: np.ndarray, categories: Sequence[str] = ()) -> np.ndarray:
        """Return what the recommender makes of cold items; one of a category that it does not know is of whichever it
        looks most like."""
        features = torch.from_numpy(self.vectors(seen))
        index = {name: place for place, name in enumerate(self._recommender.category_names)}
        known = [place for place, name in enumerate(categories) if name in index]
        with torch.inference_mode():
            found = self._recommender.factors_from(features)
            if known:
                told = torch.tensor([index[categories[place]] for place in known])
                found[known] = self._recommender.factors_from(features[known], told)
        return found.numpy()


def eye_of(recommender: Recommender, device: str = "auto") -> Eye | None:
    """Return a recommender's eye; None for one that does not look at pictures."""
    if not recommender.visual or getattr(recommender, "whitening", None) is None:
        return None
    return RecommenderEye(recommender, device)
