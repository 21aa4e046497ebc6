"""Settings of editing."""

from __future__ import annotations

from pydantic import Field

from recgan.config.base import Settings

__all__ = ["EditSettings"]


class EditSettings(Settings):
    """How what is there is edited (`recgan.design.editing`)."""

    leash: float = Field(1.0, gt=0)
    """Tailoring: how far the picture may go, in medians of the perceptual distance of pairs of the category's items."""
    leash_weight: float = Field(5.0, ge=0)
    """What a tenth of the leash costs beyond it, in standard deviations of the user's liking."""
    keep_colour: bool = False
    """Whether tailoring keeps the colour family: the mean colour of the figure within half of 20 CIE76."""
    colour_weight: float = Field(5.0, ge=0)
    """What it costs to leave it, per 10 CIE76."""
    spread: float = Field(0.5, ge=0, le=3)
    """How far variations lie from what they are like, in standard deviations of the generator's space."""
    samples: int = Field(4, ge=1, le=256)
    """Variations that are drawn for each one returned, the one that the user likes best."""
    inversion_steps: int | None = Field(None, ge=0, le=10_000)
    """Of the descent that finds a photo in the generator's space; None: as the inverter was trained to."""
