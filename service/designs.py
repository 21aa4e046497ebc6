"""What the design worker does: one request in, encoded pictures out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recgan.design.search import Preview
from recgan.progress import Progress
from service.live.shop import Shop
from service.pictures import decode_base64, encode_png
from service.schemas import DesignRequest
from service.worker import JobResult

if TYPE_CHECKING:
    from recgan.design.results import Design

__all__ = ["make_designs"]


def make_designs(shop: Callable[[], Shop]) -> Callable[[dict[str, Any], Progress, Preview], JobResult]:
    """Return the work of the queue: design what a request asks for, with the models that serve when it starts."""

    def work(given: dict[str, Any], progress: Progress, preview: Preview) -> JobResult:
        from recgan.design.presets import load_preset

        request, current = DesignRequest.model_validate(given), shop()
        designer = current.models.need_designer()
        assert request.seed is not None
        if request.user_id is not None:
            taste = current.tastes.of_user(request.user_id)
        else:
            photos = [decode_base64(photo) for photo in request.photos]
            taste = current.tastes.of_session(request.liked, photos=photos)
        search = load_preset(request.preset)
        if request.realism is not None:
            search = search.model_copy(update={"realism_weight": request.realism})
        designs = designer.design(
            taste.learned if taste.learned is not None else taste.vector,
            request.category,
            request.n,
            seed=request.seed,
            settings=search,
            progress=progress,
            preview=preview,
        )
        best_first = sorted(designs, key=lambda design: -design.score)
        return JobResult([_row(design) for design in best_first], current.version.model_dump())

    return work


def _row(design: Design) -> dict[str, Any]:
    png = encode_png(design.image)
    return {
        "png": png,
        "etag": f'"{hashlib.sha256(png).hexdigest()[:32]}"',
        "category": design.category,
        "facts": {
            "seed": design.seed,
            "score": design.score,
            "percentile": design.percentile,
            "realism": design.realism,
            "nearest": [[item_id, distance] for item_id, distance in design.nearest],
            "settings": design.settings,
        },
    }
