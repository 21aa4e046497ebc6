"""What all questions have in common: how an answer is read, a list walked, an id and a photo written."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from recgan.errors import DataError
from service.client.transport import ServiceRefused, Transport, foreign, kind_of

__all__ = ["Calls", "Photo", "as_base64", "bytes_of", "given", "segment"]

_Answer = TypeVar("_Answer", bound=BaseModel)
Photo = bytes | Path
"""An encoded picture, JPEG, PNG or WebP, or the file of one."""


class Calls:
    """Base of the client."""

    _http: httpx.Client
    _transport: Transport

    def _ask(self, kind: type[_Answer], method: str, path: str, **given: Any) -> _Answer:
        response = self._transport.send(method, path, **given)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise foreign(method, path, response) from error

    def _picture(self, path: str) -> bytes:
        return self._file(path, "image/")

    def _file(self, path: str, kind: str) -> bytes:
        response = self._transport.send("GET", path)
        if not kind_of(response).startswith(kind):
            raise foreign("GET", path, response)
        return response.content

    def _pages(self, kind: type[_Answer], path: str, params: dict[str, Any]) -> Iterator[_Answer]:
        cursor = None
        while True:
            page = self._ask(kind, "GET", path, params=params | ({"cursor": cursor} if cursor is not None else {}))
            yield page
            cursor = page.next_cursor  # type: ignore[attr-defined]
            if cursor is None:
                return

    def _delete(self, path: str) -> None:
        try:
            response = self._transport.send("DELETE", path)
            if response.status_code != 204:
                raise foreign("DELETE", path, response)
        except ServiceRefused as refused:
            if refused.status != 404 or refused.tries == 1:
                raise
            # It was asked more than once, and one of the times before has deleted it.


def segment(id: str) -> str:
    """Return an id as one segment of a path."""
    # Dots, too: "." and ".." are places in a path, and not ids.
    return quote(id, safe="").replace(".", "%2E") if set(id) == {"."} else quote(id, safe="")


def given(asked: BaseModel) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude_unset=True)


def bytes_of(photo: Photo) -> bytes:
    if isinstance(photo, bytes):
        return photo
    try:
        return photo.read_bytes()
    except OSError as error:
        raise DataError(f"photo '{photo}' cannot be read ({error.strerror}); give a file that is there") from error


def as_base64(photo: Photo) -> str:
    return base64.b64encode(bytes_of(photo)).decode("ascii")
