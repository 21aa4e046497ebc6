"""What clients tell the service: items and events; and what it holds of users."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.schemas.answers import Answer, ModelVersion
from service.schemas.designs import DesignStatus
from service.schemas.requests import Id, Photo64, StrictBody

__all__ = [
    "EventBatch",
    "EventsAccepted",
    "ItemBatch",
    "ItemChange",
    "ItemPut",
    "ItemsChanged",
    "NewItem",
    "StoredEvent",
    "StoredOpinion",
    "UserEvent",
    "UserRecord",
]

MAX_ITEMS = 500
MAX_EVENTS = 1000
MAX_ATTRIBUTES = 16_384
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("no_json", "attributes hold finite numbers and whole characters only") from error
    if len(text) > MAX_ATTRIBUTES or b"\\u0000" in text:
        raise PydanticCustomError(
            "attributes", "attributes may have {most} bytes of JSON and no NUL", {"most": MAX_ATTRIBUTES}
        )
    return value


def _text(time: Any) -> Any:
    if isinstance(time, int | float):
        raise PydanticCustomError("time_text", "a time is text, such as 2026-11-22T16:40:12+00:00")
    return time


def _sensible(time: datetime) -> datetime:
    if not _EARLIEST <= time <= datetime.now(UTC) + timedelta(days=1):
        raise PydanticCustomError("time", "an event happened between 1970 and now")
    return time


Attributes = Annotated[dict[str, Any], AfterValidator(_plain_json)]


class ItemPut(StrictBody):
    """An item as it is to be."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"category": "dress", "attributes": {"colour": "navy"}, "available": True}]}
    )

    category: Id
    """One of the catalogue's categories."""
    available: bool = True
    """Whether it can be had; what cannot is never recommended."""
    attributes: Attributes = Field(default_factory=dict)
    """Whatever else is known of it: at most 16 KiB of JSON."""
    image: Photo64 | None = None
    """Its picture; left out, the item keeps the one that it has."""


class NewItem(ItemPut):
    """An item with its id."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"item_id": "dress-90001", "category": "dress", "attributes": {"colour": "navy"}}]
        }
    )

    item_id: Id
    """The shop's own id."""


class ItemBatch(StrictBody):
    """Items as they are to be."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"item_id": "dress-90001", "category": "dress"}]}]}
    )

    items: list[NewItem] = Field(min_length=1, max_length=MAX_ITEMS)
    """The items; all are taken, or none."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for item in self.items:
            if item.item_id in seen:
                raise PydanticCustomError(
                    "twice", "item '{item}' is there twice", {"item": item.item_id, "field": "items"}
                )
            seen.add(item.item_id)
        return self


class ItemChange(StrictBody):
    """What is to change of an item; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"available": False}, {"attributes": {"price": 19.9}}]})

    category: Id | None = None
    """One of the catalogue's categories."""
    available: bool | None = None
    """Whether it can be had."""
    attributes: Attributes | None = None
    """Attributes to set; one that is null is taken away."""


class ItemsChanged(Answer):
    """What was taken."""

    items: int = Field(examples=[1])
    """How many items."""
    recommendable: int = Field(examples=[1])
    """How many of them can be recommended from now on: available, and with a picture or a past."""
    model: ModelVersion
    """What answered."""


class UserEvent(StrictBody):
    """One thing that a user did with an item."""

    user_id: Id
    """The user; one who is not known yet is known from now on."""
    item_id: Id
    """The item."""
    event: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")] = "interaction"
    """What it was: `purchase`, `click`, … By default `dislike` and `return`, and a `rating` under 4, say that the user
    does not like the item; everything else says that they do."""
    weight: float = Field(1.0, ge=-1e9, le=1e9, allow_inf_nan=False)
    """How strongly; of a `rating`: its value, 1 to 5."""
    timestamp: (
        Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text), AfterValidator(_sensible)] | None
    ) = None
    """When, with its time zone; left out: now."""


class EventBatch(StrictBody):
    """Events, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"events": [{"user_id": "user-00007", "item_id": "dress-00004", "event": "purchase"}]}]
        }
    )

    events: list[UserEvent] = Field(min_length=1, max_length=MAX_EVENTS)
    """The events; all are taken, or none."""


class EventsAccepted(Answer):
    """What was written to the log."""

    accepted: int = Field(examples=[1])
    """How many events."""
    first: int = Field(examples=[4711])
    """The first one's place in the log."""
    last: int = Field(examples=[4711])
    """The last one's."""


class StoredEvent(Answer):
    """An event that is held."""

    item_id: str
    """The item."""
    event: str
    """What it was."""
    weight: float
    """How strongly."""
    timestamp: datetime
    """When."""


class StoredOpinion(Answer):
    """What was said of a design."""

    design: str
    """Id of the design request."""
    index: int
    """The design's place among its results."""
    opinion: str
    """`starred`, `unstarred`, `approved`, `rejected` or `undecided`."""
    at: datetime
    """When."""


class UserRecord(Answer):
    """All that is held of a user."""

    user_id: str = Field(examples=["user-00007"])
    """The user."""
    learned_from: list[str] = Field(examples=[["dress-00004"]])
    """Items from which the recommender that serves now has learned the user's taste."""
    events: list[StoredEvent]
    """What the service was told since."""
    designs: list[DesignStatus]
    """Designs that were asked for."""
    opinions: list[StoredOpinion]
    """What was said of them."""
    model: ModelVersion
    """What answered."""
