"""Settings of the demo."""

from __future__ import annotations

from pydantic import Field

from recgan.config.base import Settings
from recgan.config.design import MAX_DESIGNS

__all__ = ["DemoSettings"]


class DemoSettings(Settings):
    """What `recgan demo` runs: sized so that the whole takes less than ten minutes on two cores."""

    items: int = Field(3000, ge=26)
    """Items of the drawn catalogue."""
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
