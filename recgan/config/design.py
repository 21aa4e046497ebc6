"""Settings of the designer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from recgan.config.base import Settings

__all__ = ["MAX_DESIGNS", "MAX_SEED", "DesignSettings"]

MAX_DESIGNS = 256
"""Designs that one request may ask for."""
MAX_SEED = 2**53 - 1
"""Of designs: seeds are exact in JSON up to here."""


class DesignSettings(Settings):
    """How the designer searches (`recgan.design`). Every number is for one design, which is seeded by itself: the
    defaults score 64 samples and climb the best 16 for the usual eight designs (the best 2 of each design's 8)."""

    preset: str = "default"
    """The name under which the settings are known; it chooses nothing (`recgan.design.load_preset` does)."""
    samples: int = Field(8, ge=1, le=4096)
    """Latents drawn and scored for a design."""
    starts: int = Field(2, ge=1, le=4096, validate_default=True)
    """The best of the samples, that are climbed; the highest of where they end is the design."""
    steps: int = Field(60, ge=0)
    """Steps of gradient ascent from each start; 0: the best sample is the design (best of N)."""
    learning_rate: float = Field(0.05, gt=0)
    """Adam's step length, in units of z."""
    keep: Literal["best", "last"] = "best"
    """Which point of a climb is kept: its highest or its last."""
    latent_std: float | None = Field(None, gt=0)
    """Spread of the starting z; None: the recipe's own prior."""
    preference: Literal["standardised", "raw"] = "standardised"
    """``standardised``: in standard deviations of the user's preference for the category's real items, so that the
    other weights mean the same for every user; ``raw``: as the recommender gives it (Kang et al. 2017)."""
    realism: Literal["least_squares", "calibrated"] = "calibrated"
    """``least_squares``: -(D-1)^2 (Kang et al. 2017); ``calibrated``: a penalty on falling below the mean realism of
    real images, in standard deviations."""
    realism_weight: float = Field(1.0, ge=0)
    """eta: weight of the realism term."""
    prior_weight: float = Field(1.0, ge=0)
    """Weight of the latent prior: a penalty on |z| leaving the shell where the prior has its mass."""
    neighbours: int = Field(5, ge=1)
    """Real items told with each design: those that look most like it."""

    @field_validator("starts")
    @classmethod
    def _starts_are_samples(cls, starts: int, earlier: ValidationInfo) -> int:
        if starts > earlier.data.get("samples", starts):
            raise ValueError(f"the starts are the best of the {earlier.data['samples']} samples; set samples too")
        return starts
