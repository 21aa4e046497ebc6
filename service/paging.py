"""Opaque cursors: a place in a list that never changes, because it belongs to one artifact."""

from __future__ import annotations

import base64
import binascii
import json

from service.problems import FieldProblem, ProblemError

__all__ = ["place_of", "to_cursor"]

_PLACES = 1 << 63
"""No list is longer, and no database takes a larger number."""


def to_cursor(digest: str, place: int) -> str:
    """Return the cursor of ``place`` in a list of the artifact with ``digest``."""
    text = json.dumps({"v": digest[:16], "a": place}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str | None, digest: str) -> int:
    """Return the place that a cursor stands for; 0 for none.

    Raises:
        ProblemError: invalid-request (422), no cursor of ours, or one of another artifact.
    """
    if cursor is None:
        return 0
    try:
        value = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        version, place = value["v"], value["a"]
    except (binascii.Error, ValueError, TypeError, KeyError):
        version, place = None, None
    if not isinstance(version, str) or type(place) is not int or not 0 <= place < _PLACES:
        raise _refused("it is not a cursor of this service; take next_cursor from an answer, or none")
    if version != digest[:16]:
        raise _refused("it belongs to another version of the list; start again without a cursor")
    return place


def _refused(detail: str) -> ProblemError:
    return ProblemError(
        "invalid-request", f"?cursor: {detail}", errors=[FieldProblem(pointer="?cursor", detail=detail)]
    )
