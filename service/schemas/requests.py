"""Requests: what they may hold, with limits; unknown names are refused, with the nearest known one."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from recgan.config import MAX_SEED
from recgan.errors import nearest_name

__all__ = [
    "DesignRequest",
    "Id",
    "ItemId",
    "ItemQuery",
    "RecommendationQuery",
    "SessionRequest",
    "SimilarQuery",
    "UserId",
    "UserQuery",
]

MAX_ID = 512
MAX_K = 500
MAX_PAGE = 500
MAX_IDS = 1000
MAX_DESIGNS_A_JOB = 32  # fewer than the designer takes: one request must not keep the one worker for long


def _no_control(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("nul", "an id may not hold a NUL character")
    return value


Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID), AfterValidator(_no_control)]
"""An id of the shop's own: any Unicode text of 1 to 512 characters without NUL."""
ItemId = Annotated[
    Id, Path(description="The item's id, percent-encoded (a slash is written %2F).", examples=["jacket-00012"])
]
UserId = Annotated[
    Id, Path(description="The user's id, percent-encoded (a slash is written %2F).", examples=["user-00007"])
]


class _Strict(BaseModel):
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


class RecommendationQuery(_Strict):
    """What a recommendation is asked for."""

    k: int = Field(20, ge=1, le=MAX_K)
    """How many items; fewer come when the filters leave fewer."""
    category: list[Id] = Field(default_factory=list, max_length=100)
    """Only items of this category; may be given several times."""
    exclude_seen: bool = True
    """Leave out what the user has had."""


class SimilarQuery(_Strict):
    """How many similar items."""

    k: int = Field(20, ge=1, le=MAX_K)
    """How many items."""


class UserQuery(_Strict):
    """A page of users."""

    cursor: str | None = Field(None, max_length=200)
    """``next_cursor`` of the page before; none for the first."""
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    """How many at most."""


class ItemQuery(UserQuery):
    """A page of items."""

    category: Id | None = None
    """Only items of this category."""


class SessionRequest(_Strict):
    """Recommendations for somebody without an account, from what they like."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"liked": ["dress-00004", "dress-00031"], "disliked": ["boot-00002"], "k": 10}]}
    )

    liked: list[Id] = Field(min_length=1, max_length=MAX_IDS)
    """Ids of liked items."""
    disliked: list[Id] = Field(default_factory=list, max_length=MAX_IDS)
    """Ids of disliked items."""
    k: int = Field(20, ge=1, le=MAX_K)
    """How many items."""
    categories: list[Id] = Field(default_factory=list, max_length=100)
    """Only items of these categories; empty: of all."""

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if both := sorted(set(self.liked) & set(self.disliked)):
            raise PydanticCustomError(
                "liked_and_disliked", "item '{item}' is both liked and disliked", {"item": both[0], "field": "disliked"}
            )
        return self


class DesignRequest(_Strict):
    """New items for one user, or for somebody known by liked items."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "user-00007", "category": "dress", "n": 4, "seed": 1},
                {"liked": ["dress-00004", "dress-00031"], "category": "dress", "n": 2, "preset": "default"},
            ]
        }
    )

    user_id: Id | None = None
    """A known user; or else give ``liked``."""
    liked: list[Id] = Field(default_factory=list, max_length=MAX_IDS)
    """Ids of liked items of a user who is not known."""
    category: Id
    """What to design."""
    n: int = Field(4, ge=1, le=MAX_DESIGNS_A_JOB)
    """How many designs."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """The same seed gives the same designs; none: the service draws one and tells it."""
    preset: str = Field("default", max_length=100)
    """How to search: `default`, or `kang2017`, the search of the paper that this is built after."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.user_id is None) == (not self.liked):
            raise PydanticCustomError("user_or_liked", "give either 'user_id' or 'liked'", {"field": "user_id"})
        return self
