"""Answers: what they hold, each field described, with examples."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.jobs import JobState
from service.problems import Problem
from service.schemas.requests import DesignRequest

__all__ = [
    "Category",
    "CategoryList",
    "DesignProgress",
    "DesignStatus",
    "DesignedItem",
    "Health",
    "Item",
    "ItemDetail",
    "ItemPage",
    "ModelVersion",
    "NearItem",
    "Readiness",
    "RecommendationList",
    "RecommendedItem",
    "UserPage",
    "Version",
]


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class ModelVersion(_Answer):
    """Which artifacts answered: their digests."""

    catalogue: str = Field(examples=["5f1d…"])
    """Digest of the items, categories and images."""
    recommender: str = Field(examples=["9ab0…"])
    """Digest of the recommender."""
    generator: str | None = Field(examples=["c3d4…"])
    """Digest of the generator; null when the service runs without one."""


class RecommendedItem(_Answer):
    """One recommended or similar item."""

    item_id: str = Field(examples=["dress-00042"])
    """The item's id."""
    category: str = Field(examples=["dress"])
    """Its category."""
    score: float = Field(examples=[1.37])
    """The model's score: higher is better; only the order within one answer means something."""
    image_url: str | None = Field(examples=["/v1/items/dress-00042/image"])
    """Path of its picture; null when it has none."""


class RecommendationList(_Answer):
    """Items, best first."""

    items: list[RecommendedItem]
    """The items, best first."""
    model: ModelVersion
    """What answered."""


class Item(_Answer):
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


class ItemPage(_Answer):
    """A page of items in the catalogue's order."""

    items: list[Item]
    """The items."""
    next_cursor: str | None = Field(examples=["eyJ2IjoiNWYxZCIsImEiOjUwfQ"])
    """Ask with it for the next page; null on the last."""
    model: ModelVersion
    """What answered."""


class UserPage(_Answer):
    """A page of the users whom the recommender knows."""

    users: list[str] = Field(examples=[["user-00001", "user-00002"]])
    """User ids."""
    next_cursor: str | None = Field(examples=["eyJ2IjoiOWFiMCIsImEiOjUwfQ"])
    """Ask with it for the next page; null on the last."""
    model: ModelVersion
    """What answered."""


class Category(_Answer):
    """One category."""

    name: str = Field(examples=["dress"])
    """Its name."""
    items: int = Field(examples=[300])
    """How many items it has."""
    designable: bool = Field(examples=[True])
    """Whether designs can be asked for: the generator has seen photos of it."""


class CategoryList(_Answer):
    """All categories, by name."""

    categories: list[Category]
    """The categories."""
    model: ModelVersion
    """What answered."""


class DesignProgress(_Answer):
    """How far the search is."""

    step: str = Field(examples=["climbing"])
    """What is being done: `scoring samples` (first ideas are drawn and scored), then `climbing` (the best of them are
    improved step by step)."""
    done: int = Field(examples=[12])
    """Units finished."""
    total: int | None = Field(examples=[60])
    """Units in all; null when not known."""
    note: str = Field(examples=["best objective +1.83"])
    """A figure or a remark."""


class NearItem(_Answer):
    """A real item that looks like a design."""

    item_id: str = Field(examples=["dress-00042"])
    """The item's id."""
    distance: float = Field(examples=[0.31])
    """How unlike the two look, from 0 (the same) over 1 (nothing in common) to 2 (opposite): 1 less the cosine between
    what the recommender sees of them."""
    image_url: str | None = Field(examples=["/v1/items/dress-00042/image"])
    """Path of its picture."""


class DesignedItem(_Answer):
    """One design."""

    index: int = Field(examples=[0])
    """Its place among the results."""
    image_url: str = Field(examples=["/v1/designs/0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c/0.png"])
    """Path of its picture, a PNG that never changes."""
    category: str = Field(examples=["dress"])
    """Its category."""
    seed: int = Field(examples=[1])
    """The seed that this design came from."""
    score: float = Field(examples=[2.4])
    """How much the recommender thinks that the user likes it; it compares with the other designs of this request."""
    percentile: float = Field(examples=[97.5])
    """Share, in percent, of the category's real items (less those the user has had) that score lower for the user."""
    realism: float = Field(examples=[-0.2])
    """How real the picture looks to the critic that the generator was trained against, in standard deviations: 0 is the
    average real picture of the category, below it looks less real."""
    nearest: list[NearItem]
    """The real items that look most like it, nearest first."""
    settings: dict[str, Any] = Field(examples=[{"preset": "default", "size": 64}])
    """How it was searched for: with the seed and the same model, it comes again."""


class DesignStatus(_Answer):
    """A design request and what has become of it."""

    id: str = Field(examples=["0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
    """The request's id."""
    url: str = Field(examples=["/v1/designs/0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
    """Where to ask for it again."""
    state: JobState
    """queued, running, succeeded, failed or cancelled."""
    cancel_requested: bool
    """Whether it was cancelled; a running search stops at its next step."""
    ahead: int = Field(examples=[0])
    """How many others run or wait before it."""
    request: DesignRequest
    """What was asked for, with the seed that is used."""
    progress: DesignProgress | None
    """How far the search is, once it runs."""
    results: list[DesignedItem]
    """The designs, best first, once it has succeeded."""
    problem: Problem | None
    """Why it failed."""
    submitted_at: datetime
    """When it was asked for."""
    started_at: datetime | None
    """When it began to run."""
    finished_at: datetime | None
    """When it ended."""
    kept_until: datetime | None
    """Until when a finished one is kept."""
    model: ModelVersion
    """What designed it, or would."""


class Health(_Answer):
    """The process answers."""

    status: str = Field(examples=["live"])
    """Always ``live``."""


class Readiness(_Answer):
    """Whether requests can be served."""

    status: str = Field(examples=["ready"])
    """``ready`` or ``not ready``."""
    reasons: list[str] = Field(examples=[[]])
    """Why not."""


class Version(_Answer):
    """What runs."""

    recgan: str = Field(examples=["0.1.0"])
    """Version of the software."""
    api: str = Field(examples=["v1"])
    """Version of the interface."""
    model: ModelVersion | None
    """The artifacts served; null until they are loaded."""
