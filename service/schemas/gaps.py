"""Gaps: what the catalogue lacks, for whom, and how that is known."""

from __future__ import annotations

from pydantic import Field

from service.schemas.answers import Answer
from service.schemas.designs import NearItem

__all__ = ["Brief", "BriefColour", "BriefTrait", "Difference", "GapCohort", "GapList"]


class Difference(Answer):
    """A mean over a cohort's users with its 95% interval, in standard deviations of the stock."""

    mean: float = Field(examples=[0.42])
    """The mean."""
    low: float = Field(examples=[0.11])
    """Where the interval begins."""
    high: float = Field(examples=[0.73])
    """Where it ends."""


class BriefColour(Answer):
    """A colour of a design."""

    hex: str = Field(pattern=r"^#[0-9a-f]{6}$", examples=["#163766"])
    """As the web writes it."""
    name: str = Field(examples=["navy"])
    """The nearest name."""
    share: float = Field(examples=[0.3])
    """Share of the design that has it."""


class BriefTrait(Answer):
    """What most of the items that look most like a design have in common."""

    name: str = Field(examples=["pattern"])
    """An attribute of the catalogue."""
    value: str = Field(examples=["plain"])
    """Its value."""
    share: float = Field(examples=[0.58])
    """Share of these items that have it."""


class GapCohort(Answer):
    """Users who like the same looks."""

    cohort: int = Field(examples=[2])
    """Its number, from 1, the largest first."""
    users: int = Field(examples=[701])
    """How many there are."""
    user_share: float = Field(examples=[0.35])
    """Share of all users that were looked at."""
    members: int = Field(examples=[200])
    """Those nearest to its centre, whom designs are for: `cohort` of a design request names them."""


class Brief(Answer):
    """What one cohort would like of one category."""

    index: int = Field(examples=[0])
    """Its place; the widest gap comes first."""
    cohort: int = Field(examples=[2])
    """For whom."""
    category: str = Field(examples=["trousers"])
    """Of what."""
    image_url: str = Field(examples=["/v1/gaps/0.png"])
    """Path of the design's picture."""
    found: bool = Field(examples=[True])
    """Whether there is a gap: the whole interval of `gap` lies above 0."""
    gap: Difference
    """How much more a second recommender, which took no part, gives the design than the item in stock that it likes
    best itself."""
    like_for_like: Difference
    """The same against the item in stock that the designing recommender likes best."""
    preferred_by: float = Field(examples=[0.63])
    """Share of the users for whom the second recommender prefers the design to that best item."""
    percentile: float = Field(examples=[97.0])
    """Share, in percent, of the stock that it likes less."""
    judged: int = Field(examples=[200])
    """Users that these figures are of."""
    taken: int = Field(examples=[1323])
    """Items of the category that the cohort took."""
    palette: list[BriefColour]
    """The design's colours, the largest first."""
    style: list[str] = Field(examples=[["bluer than 90% of the stock"]])
    """How it differs from the stock."""
    attributes: list[BriefTrait]
    """What the items that look most like it have in common."""
    nearest: list[NearItem]
    """The items in stock that look most like it, nearest first."""


class GapList(Answer):
    """What the catalogue lacks, as it was looked for."""

    catalogue: str = Field(examples=["5f1d…"])
    """Digest of the catalogue that was looked at; another than the one that serves may have changed since."""
    users: int = Field(examples=[5000])
    """Users that were looked at."""
    found: int = Field(examples=[3])
    """How many of the briefs tell of a gap."""
    cohorts: list[GapCohort]
    """For whom."""
    briefs: list[Brief]
    """The widest gap first."""
