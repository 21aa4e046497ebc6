"""Paths of what answers link to."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["design_image_path", "design_path", "direction_path", "gap_image_path", "item_image_path", "item_path"]


def item_path(item_id: str) -> str:
    """Return the path of an item."""
    return f"/v1/items/{quote(item_id, safe='')}"


def item_image_path(item_id: str) -> str:
    """Return the path of an item's picture."""
    return f"{item_path(item_id)}/image"


def design_path(design_id: str) -> str:
    """Return the path of a design request."""
    return f"/v1/designs/{design_id}"


def design_image_path(design_id: str, index: int, form: str = "png") -> str:
    """Return the path of one design's picture, or of its settings (``json``)."""
    return f"/v1/designs/{design_id}/{index}.{form}"


def direction_path(number: int) -> str:
    """Return the path of the sheet of a direction."""
    return f"/v1/editing/directions/{number}.png"


def gap_image_path(index: int) -> str:
    """Return the path of the picture of a gap's brief."""
    return f"/v1/gaps/{index}.png"
