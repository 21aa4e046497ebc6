"""Requests: what they may hold, with limits; unknown names are refused, with the nearest known one."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from recgan.errors import nearest_name

__all__ = [
    "MAX_IDS",
    "MAX_PHOTOS",
    "Id",
    "ItemId",
    "ItemQuery",
    "Photo64",
    "RecommendationQuery",
    "SessionRequest",
    "SimilarQuery",
    "Strict",
    "StrictBody",
    "UserId",
    "UserQuery",
    "Whole",
]

MAX_ID = 512
MAX_K = 500
MAX_PAGE = 500
MAX_IDS = 1000
MAX_PHOTOS = 10
MAX_EXPLAINED = 20


def _no_control(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("nul", "an id may not hold a NUL character")
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number in a body; some programs write 4 as 4.0, which is the same to JSON."""
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID), AfterValidator(_no_control)]
"""An id of the shop's own: any Unicode text of 1 to 512 characters without NUL."""
Photo64 = Annotated[str, StringConstraints(min_length=1, max_length=16 << 20)]
"""A picture, JPEG, PNG or WebP, as Base64 text."""
ItemId = Annotated[
    Id, Path(description="The item's id, percent-encoded (a slash is written %2F).", examples=["jacket-00012"])
]
UserId = Annotated[
    Id, Path(description="The user's id, percent-encoded (a slash is written %2F).", examples=["user-00007"])
]


class Strict(BaseModel):
    """A request: unknown names are refused, with the nearest known one."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in given:
                if name not in cls.model_fields:
                    hint = nearest_name(name, cls.model_fields) or f"; known are: {', '.join(cls.model_fields)}"
                    raise PydanticCustomError(
                        "unknown_field",
                        "there is no field '{name}' here{hint}",
                        {"name": str(name)[:100], "hint": hint, "field": str(name)[:100]},
                    )
        return given


class StrictBody(Strict):
    """A request's body: its values are of the types that are documented, and are not read out of others."""

    model_config = ConfigDict(strict=True)


def _check_explained(explain: bool, k: int) -> None:
    if explain and k > MAX_EXPLAINED:
        raise PydanticCustomError(
            "too_many_to_explain",
            "at most {most} items are explained at once",
            {"most": MAX_EXPLAINED, "field": "k"},
        )


class RecommendationQuery(Strict):
    """What a recommendation is asked for."""

    k: int = Field(20, ge=1, le=MAX_K, examples=[10])
    """How many items; fewer come when the filters leave fewer."""
    category: list[Id] = Field(default_factory=list, max_length=100, examples=[["dress", "boot"]])
    """Only items of this category; may be given several times."""
    exclude_seen: bool = Field(True, examples=[True])
    """Leave out what the user has had."""
    candidate: list[Id] = Field(
        default_factory=list, max_length=MAX_IDS, examples=[["dress-00004", "dress-00031", "boot-00002"]]
    )
    """Only these items; may be given several times."""
    explain: bool = Field(False, examples=[True])
    """Say of what each score is made, and which items of the user's carry it (slower: for 20 items at most)."""

    @model_validator(mode="after")
    def _few_to_explain(self) -> Self:
        _check_explained(self.explain, self.k)
        return self


class SimilarQuery(Strict):
    """How many similar items."""

    k: int = Field(20, ge=1, le=MAX_K, examples=[10])
    """How many items."""
    category: list[Id] = Field(default_factory=list, max_length=100, examples=[["dress"]])
    """Only items of this category; may be given several times."""


class UserQuery(Strict):
    """A page of users."""

    cursor: str | None = Field(None, max_length=200, examples=["eyJ2IjoiZGVzaWducyIsImEiOjUwfQ"])
    """``next_cursor`` of the page before; none for the first."""
    limit: int = Field(50, ge=1, le=MAX_PAGE, examples=[20])
    """How many at most."""


class ItemQuery(UserQuery):
    """A page of items."""

    category: Id | None = Field(None, examples=["dress"])
    """Only items of this category."""


class SessionRequest(StrictBody):
    """Recommendations for somebody without an account, from what they like."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"liked": ["dress-00004", "dress-00031"], "disliked": ["boot-00002"], "k": 10}]}
    )

    liked: list[Id] = Field(default_factory=list, max_length=MAX_IDS)
    """Ids of liked items."""
    photos: list[Photo64] = Field(default_factory=list, max_length=MAX_PHOTOS)
    """Photos of liked things, which need not be in the catalogue; they are looked at and not kept."""
    disliked: list[Id] = Field(default_factory=list, max_length=MAX_IDS)
    """Ids of disliked items."""
    k: Whole = Field(20, ge=1, le=MAX_K)
    """How many items."""
    categories: list[Id] = Field(default_factory=list, max_length=100)
    """Only items of these categories; empty: of all."""
    candidates: list[Id] = Field(default_factory=list, max_length=MAX_IDS)
    """Only these items; empty: all."""
    explain: bool = False
    """Say of what each score is made, and which liked items and photos carry it (slower: for 20 items at most)."""

    @model_validator(mode="after")
    def _something_and_not_both(self) -> Self:
        if not self.liked and not self.photos:
            raise PydanticCustomError("nothing_liked", "give liked items or photos", {"field": "liked"})
        if both := sorted(set(self.liked) & set(self.disliked)):
            raise PydanticCustomError(
                "liked_and_disliked", "item '{item}' is both liked and disliked", {"item": both[0], "field": "disliked"}
            )
        _check_explained(self.explain, self.k)
        return self
