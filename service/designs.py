"""What the design worker does: one request in, encoded pictures out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recgan.progress import Progress
from service.models import Models
from service.schemas import DesignRequest, ModelVersion

if TYPE_CHECKING:
    from recgan.design.results import Design

__all__ = ["DesignJobResult", "StoredDesign", "make_designs"]


@dataclass(frozen=True)
class StoredDesign:
    """One design as it is kept: its picture encoded, the rest as JSON values."""

    png: bytes
    etag: str
    category: str
    seed: int
    score: float
    percentile: float
    realism: float
    nearest: tuple[tuple[str, float], ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class DesignJobResult:
    """The designs of one request, best first, and the models that made them."""

    designs: tuple[StoredDesign, ...]
    model: ModelVersion


def make_designs(models: Callable[[], Models]) -> Callable[[DesignRequest, Progress], DesignJobResult]:
    """Return the work of the queue: design what a request asks for with the models that serve when it starts."""

    def work(request: DesignRequest, progress: Progress) -> DesignJobResult:
        from recgan.design.presets import load_preset

        current = models()
        designer = current.need_designer()
        assert request.seed is not None
        someone = request.user_id if request.user_id is not None else current.recommender.fold_in(request.liked)
        designs = designer.design(
            someone,
            request.category,
            request.n,
            seed=request.seed,
            settings=load_preset(request.preset),
            progress=progress,
        )
        best_first = sorted(designs, key=lambda design: -design.score)
        return DesignJobResult(tuple(_stored(design) for design in best_first), current.version)

    return work


def _stored(design: Design) -> StoredDesign:
    png = encode_png(design.image)
    return StoredDesign(
        png=png,
        etag=f'"{hashlib.sha256(png).hexdigest()[:32]}"',
        category=design.category,
        seed=design.seed,
        score=design.score,
        percentile=design.percentile,
        realism=design.realism,
        nearest=tuple(design.nearest),
        settings=design.settings,
    )


def encode_png(pixels: np.ndarray) -> bytes:
    """Return uint8 pixels [H, W, 3] as an optimised PNG."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", optimize=True)
    return out.getvalue()
