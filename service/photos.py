"""Photos that come inside a JSON body, as Base64 text."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from recgan.errors import ImageRefused
from service.pictures import decode_base64, taken_in
from service.problems import FieldProblem, ProblemError
from service.settings import ServiceSettings
from service.store.items import Picture

__all__ = ["as_base64", "photos_of"]


def photos_of(
    photos: Sequence[str], settings: ServiceSettings, *, side: int | None = None, pointer: str = "/photos/{}"
) -> list[Picture]:
    """Return photos as they may be kept, at most ``side`` pixels a side; ``pointer`` says where they are in the
    request.

    Raises:
        ProblemError: refused-picture (422), telling which.
    """
    taken = []
    for place, photo in enumerate(photos):
        try:
            data = decode_base64(photo)
            kept = taken_in(data, max_pixels=settings.max_picture_pixels, side=side or settings.picture_side)
        except ImageRefused as error:
            fault = FieldProblem(pointer=pointer.format(place), detail=error.detail)
            raise ProblemError("refused-picture", f"{fault.pointer}: {fault.detail}", errors=[fault]) from error
        taken.append(kept)
    return taken


def as_base64(picture: Picture) -> str:
    """Return a picture as text."""
    return base64.b64encode(picture.data).decode("ascii")
