"""What the design worker does: one request in, encoded pictures out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from recgan.design.search import Preview
from recgan.progress import Progress
from service.edits import amounts, subjects_of, tailoring
from service.live.shop import Shop
from service.live.tastes import Taste
from service.pictures import decode_base64, encode_png
from service.schemas import DesignEdit, DesignRequest
from service.store import Store
from service.worker import JobResult

if TYPE_CHECKING:
    from recgan.config import DesignSettings
    from recgan.design.audience import Someone
    from recgan.design.results import Design
    from recgan.recommenders import UserVector

__all__ = ["make_designs"]


def make_designs(shop: Callable[[], Shop], store: Store) -> Callable[[dict[str, Any], Progress, Preview], JobResult]:
    """Return the work of the queue: design what a request asks for, with the models that serve when it starts.

    Args:
        shop: gives the shop as it is now.
        store: has the designs that edits begin with.
    """

    def work(given: dict[str, Any], progress: Progress, preview: Preview) -> JobResult:
        request, current = DesignRequest.model_validate(given), shop()
        current.models.need_designer()
        someone = _someone(request, current)
        if request.edit is None:
            designs = _designed(request, current, someone, progress, preview)
        else:
            designs = _edited(request, request.edit, current, store, someone, progress, preview)
        return JobResult([_row(design) for design in designs], current.version.model_dump())

    return work


def _someone(request: DesignRequest, shop: Shop) -> Someone:
    if request.users:
        return [_known(shop.tastes.of_user(user_id)) for user_id in request.users]
    if request.user_id is not None:
        return _known(shop.tastes.of_user(request.user_id))
    return shop.tastes.of_session(request.liked, photos=[decode_base64(photo) for photo in request.photos]).vector


def _known(taste: Taste) -> str | UserVector:
    return taste.learned if taste.learned is not None else taste.vector


def _designed(
    request: DesignRequest, shop: Shop, someone: Someone, progress: Progress, preview: Preview
) -> list[Design]:
    """Return new designs, best first."""
    assert request.category is not None
    assert request.seed is not None
    designs = shop.models.need_designer().design(
        someone,
        request.category,
        request.n,
        seed=request.seed,
        settings=_search(request),
        progress=progress,
        preview=preview,
    )
    return sorted(designs, key=lambda design: -design.score)


def _search(request: DesignRequest) -> DesignSettings:
    from recgan.design.presets import load_preset

    search = load_preset(request.preset)
    if request.realism is not None:
        search = search.model_copy(update={"realism_weight": request.realism})
    return search


def _edited(
    request: DesignRequest,
    edit: DesignEdit,
    shop: Shop,
    store: Store,
    someone: Someone,
    progress: Progress,
    preview: Preview,
) -> list[Design]:
    """Return what is made of designs, items and photos: a mix in its order on the way, all else best first."""
    assert request.seed is not None
    subjects = subjects_of(edit, request.category, shop, store)
    models, n, seed = shop.models, request.n, request.seed
    editor = models.editor
    if edit.kind == "mix":
        return editor.mix(subjects[0], subjects[1], someone, n, seed=seed, progress=progress)
    if edit.kind == "slide":
        directions = models.need_sliders().directions
        return [editor.slide(subjects[0], directions, amounts(edit.moves), someone, seed=seed, progress=progress)]
    if edit.kind == "tailor":
        designs = editor.tailor(
            subjects[0],
            someone,
            n,
            seed=seed,
            settings=tailoring(edit, editor.settings),
            search=_search(request),
            progress=progress,
            preview=preview,
        )
    else:
        designs = editor.like(subjects[0], someone, n, seed=seed, progress=progress)
    return sorted(designs, key=lambda design: -design.score)


def _row(design: Design) -> dict[str, Any]:
    png = encode_png(design.image)
    return {
        "png": png,
        "etag": f'"{hashlib.sha256(png).hexdigest()[:32]}"',
        "latent": np.asarray(design.z, dtype="<f4").tobytes(),
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
