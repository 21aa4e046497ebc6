"""Settings of the demo."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from recgan.config.base import Settings
from recgan.config.design import MAX_DESIGNS

__all__ = ["SHIPPED_SIZE", "DemoSettings"]

SHIPPED_SIZE = 64
"""Side in pixels of what the generator makes that comes with recgan (`recgan.gan.shipped`)."""


class DemoSettings(Settings):
    """What `recgan demo` runs: sized so that the whole takes less than ten minutes on two cores."""

    catalogue: Literal["drawn", "photos"] = "drawn"
    """``drawn``: the built-in catalogue, on which a generator is trained. ``photos``: pictures by the generator that
    comes with recgan, which then designs too; ``picture_size``, ``recipe`` and ``images_seen`` mean nothing there."""
    items: int = Field(3000, ge=26)
    """Items of the catalogue."""
    picture_size: int = Field(96, ge=64, le=128, multiple_of=8)
    """Side in pixels of the drawn pictures."""
    users: int = Field(2000, ge=1)
    interactions: int = Field(40000, ge=1)
    size: int = Field(64, ge=32, le=128)
    """Side in pixels of what the recommender is shown and the GAN makes."""
    recipe: str = "dcgan-lsgan"
    images_seen: int = Field(60000, ge=1)
    """Real images that the GAN is shown."""
    shown_users: int = Field(6, ge=1)
    """Users drawn for the report, who get designs."""
    designs_per_user: int = Field(4, ge=1, le=MAX_DESIGNS)
    design_steps: int = Field(30, ge=0)
    """Steps of each climb."""

    @model_validator(mode="after")
    def _photos_have_one_size(self) -> DemoSettings:
        if self.catalogue == "photos" and self.size != SHIPPED_SIZE:
            raise ValueError(f"size={self.size}: the generator that comes with recgan makes {SHIPPED_SIZE} px")
        return self
