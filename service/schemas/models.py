"""Models: what has been served, and what serves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.answers import Answer, ModelVersion

__all__ = ["Activation", "ModelDetail", "ModelList"]


class ModelDetail(Answer):
    """A set of artifacts that belong together."""

    id: str = Field(examples=["4f1d2c3b4a596877"])
    """Its id."""
    active: bool
    """Whether it is to serve."""
    serving: bool
    """Whether it serves in the process that answers; an activation takes it the time to load."""
    problem: str | None = Field(examples=[None])
    """Why it cannot be served, once that was tried."""
    version: ModelVersion
    """The digests of its parts."""
    facts: dict[str, Any] = Field(examples=[{"recommender": "vbpr", "users": 400, "items": 1200}])
    """What it is."""
    metrics: dict[str, Any] = Field(examples=[{"validation_auc": 0.79}])
    """How good it was when it was trained, and against the model that served then."""
    source: str = Field(examples=["retrain"])
    """`given` when the service was started, or `retrain`."""
    registered_at: datetime
    """Since when it is known here."""


class Activation(Answer):
    """A change of what serves."""

    model: str
    """The model's id."""
    at: datetime
    """When."""
    reason: str = Field(examples=["rolled back"])
    """Why."""


class ModelList(Answer):
    """All models, the newest first."""

    models: list[ModelDetail]
    """The models."""
    history: list[Activation]
    """Which of them served when, the last first."""
