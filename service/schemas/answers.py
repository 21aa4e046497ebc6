"""Answers: what they hold, each field described, with examples."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Answer",
    "Carrier",
    "Category",
    "CategoryList",
    "Explanation",
    "Health",
    "Item",
    "ItemDetail",
    "ItemPage",
    "ModelVersion",
    "Readiness",
    "RecommendationList",
    "RecommendedItem",
    "UserPage",
    "Version",
]


class Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class ModelVersion(Answer):
    """Which artifacts answered: their digests."""

    catalogue: str = Field(examples=["5f1d…"])
    """Digest of the items, categories and images."""
    recommender: str = Field(examples=["9ab0…"])
    """Digest of the recommender."""
    generator: str | None = Field(examples=["c3d4…"])
    """Digest of the generator; null when the service runs without one."""


class Carrier(Answer):
    """An item of the user's, or a photo, that carries a score."""

    item_id: str | None = Field(None, examples=["dress-00004"])
    """The item's id; null for a photo."""
    photo: int | None = Field(None, examples=[None])
    """Which of the request's photos it is, from 1; null for an item."""
    influence: float = Field(examples=[0.41])
    """By how much the score falls when the user is taken not to have had it."""


class Explanation(Answer):
    """Why an item has its score."""

    parts: dict[str, float] = Field(examples=[{"latent": 0.2, "visual": 0.9}])
    """Of what the score is made; the parts sum to it."""
    carried_by: list[Carrier]
    """The user's items and photos that raise or lower it most, the most important first."""


class RecommendedItem(Answer):
    """One recommended or similar item."""

    item_id: str = Field(examples=["dress-00042"])
    """The item's id."""
    category: str = Field(examples=["dress"])
    """Its category."""
    score: float = Field(examples=[1.37])
    """The model's score: higher is better; only the order within one answer means something."""
    image_url: str | None = Field(examples=["/v1/items/dress-00042/image"])
    """Path of its picture; null when it has none."""
    explanation: Explanation | None = None
    """Why; where it was asked for, and the recommender has learned of the item."""


class RecommendationList(Answer):
    """Items, best first."""

    items: list[RecommendedItem]
    """The items, best first."""
    model: ModelVersion
    """What answered."""


class Item(Answer):
    """One item of the catalogue."""

    item_id: str = Field(examples=["dress-00042"])
    """The item's id."""
    category: str = Field(examples=["dress"])
    """Its category."""
    available: bool = Field(examples=[True])
    """Whether it can be had."""
    image_count: int = Field(examples=[1])
    """How many pictures it has."""
    image_url: str | None = Field(examples=["/v1/items/dress-00042/image"])
    """Path of its first picture; null when it has none."""
    attributes: dict[str, Any] = Field(examples=[{"colour": "navy", "pattern": "stripes"}])
    """The catalogue's further columns."""


class ItemDetail(Item):
    """One item of the catalogue, and what answered."""

    model: ModelVersion
    """What answered."""


class ItemPage(Answer):
    """A page of items in the catalogue's order."""

    items: list[Item]
    """The items."""
    next_cursor: str | None = Field(examples=["eyJ2IjoiNWYxZCIsImEiOjUwfQ"])
    """Ask with it for the next page; null on the last."""
    model: ModelVersion
    """What answered."""


class UserPage(Answer):
    """A page of the users whom the recommender knows."""

    users: list[str] = Field(examples=[["user-00001", "user-00002"]])
    """User ids."""
    next_cursor: str | None = Field(examples=["eyJ2IjoiOWFiMCIsImEiOjUwfQ"])
    """Ask with it for the next page; null on the last."""
    model: ModelVersion
    """What answered."""


class Category(Answer):
    """One category."""

    name: str = Field(examples=["dress"])
    """Its name."""
    items: int = Field(examples=[300])
    """How many items it has."""
    designable: bool = Field(examples=[True])
    """Whether designs can be asked for: the generator has seen photos of it."""


class CategoryList(Answer):
    """All categories, by name."""

    categories: list[Category]
    """The categories."""
    model: ModelVersion
    """What answered."""


class Health(Answer):
    """The process answers."""

    status: str = Field(examples=["live"])
    """Always ``live``."""


class Readiness(Answer):
    """Whether requests can be served."""

    status: str = Field(examples=["ready"])
    """``ready`` or ``not ready``."""
    reasons: list[str] = Field(examples=[[]])
    """Why not."""


class Version(Answer):
    """What runs."""

    recgan: str = Field(examples=["0.1.0"])
    """Version of the software."""
    api: str = Field(examples=["v1"])
    """Version of the interface."""
    model: ModelVersion | None
    """The artifacts served; null until they are loaded."""
