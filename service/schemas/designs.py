"""Designs: what is asked for, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Path
from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from recgan.config import MAX_SEED
from service.problems import Problem
from service.schemas.answers import Answer, ModelVersion
from service.schemas.edits import DesignEdit, DesignName
from service.schemas.requests import MAX_IDS, MAX_PHOTOS, Id, Photo64, StrictBody, UserQuery, Whole
from service.store.job import JobState

__all__ = [
    "DesignId",
    "DesignOrigin",
    "DesignPage",
    "DesignProgress",
    "DesignQuery",
    "DesignRequest",
    "DesignStatus",
    "DesignVerdict",
    "DesignedItem",
    "NearItem",
]

_LEAST_MIXED = 2
MAX_COHORT = 200
MAX_DESIGNS_A_JOB = 32  # fewer than the designer takes: one request must not keep the one worker for long
_PHOTO = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGM4IWcDAALUASNyYth2AAAAAElFTkSuQmCC"
"""A picture of one pixel."""
DesignId = Annotated[
    DesignName,
    Path(description="The design request's id.", examples=["0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"]),
]


class DesignRequest(StrictBody):
    """New items for a user, for somebody known by liked items, or for a cohort; or what is made of designs, items and
    photos."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "user-00007", "category": "dress", "n": 4, "seed": 1},
                {"users": ["user-00007", "user-00012"], "category": "dress", "n": 2},
                {"cohort": 2, "category": "dress", "n": 4},
                {"liked": ["dress-00004", "dress-00031"], "category": "dress", "n": 2, "preset": "default"},
                {"edit": {"kind": "like", "of": [{"design": "0f8c6b7c", "index": 0}]}, "n": 4},
                {
                    "edit": {
                        "kind": "mix",
                        "of": [{"design": "0f8c6b7c", "index": 0}, {"design": "1a2b3c4d", "index": 2}],
                    },
                    "n": 5,
                },
                {
                    "edit": {
                        "kind": "slide",
                        "of": [{"design": "0f8c6b7c", "index": 0}],
                        "moves": [{"direction": 0, "units": 1.5}],
                    }
                },
                {"edit": {"kind": "tailor", "of": [{"item": "dress-00004"}]}, "user_id": "user-00007", "n": 4},
                {
                    "edit": {"kind": "tailor", "of": [{"photo": _PHOTO}], "leash": 0.5, "keep_colour": True},
                    "category": "dress",
                    "user_id": "user-00007",
                    "n": 4,
                },
            ]
        }
    )

    edit: DesignEdit | None = None
    """Make this of finished designs, items or photos instead of something new."""
    user_id: Id | None = None
    """A known user; or else give ``liked`` or ``photos``. An edit that begins with a design may name nobody: it is then
    for whom the design was."""
    liked: list[Id] = Field(default_factory=list, max_length=MAX_IDS)
    """Ids of liked items of a user who is not known."""
    photos: list[Photo64] = Field(default_factory=list, max_length=MAX_PHOTOS)
    """Photos of things that such a user likes; kept, small, as long as the request is."""
    users: list[Id] = Field(default_factory=list, max_length=MAX_COHORT)
    """Or several known users, for all of whom it shall be: the mean of what they like, each in their own units."""
    cohort: Whole | None = Field(None, ge=1, le=10_000)
    """Or a cohort of `GET /v1/gaps`, by its number: its members become ``users``."""
    category: Id | None = None
    """What to design; of an edit with a photo what the photo shows, and of any other it may be left out."""
    n: Whole = Field(4, ge=1, le=MAX_DESIGNS_A_JOB)
    """How many designs; of a mix at least two. A slide is one, and may leave it out."""
    seed: Whole | None = Field(None, ge=0, le=MAX_SEED)
    """The same seed gives the same designs; none: the service draws one and tells it."""
    preset: str = Field("default", max_length=100)
    """How to search: `default`, or `kang2017`, the search of the paper that this is built after. Of edits `tailor`
    alone searches; the others take neither this nor ``realism``."""
    realism: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    """How much it counts that the picture looks real, against that the user likes it; none: as the preset has it."""

    @property
    def names_nobody(self) -> bool:
        """Whether it says of nobody whom the designs are for."""
        return not any(self._names)

    @property
    def _names(self) -> tuple[bool, bool, bool]:
        return self.user_id is not None, bool(self.liked or self.photos), bool(self.users or self.cohort is not None)

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.edit is not None and self.names_nobody:
            if self.edit.of[0].design is None:
                raise PydanticCustomError(
                    "for_nobody",
                    "say for whom: give 'user_id', or 'liked' and 'photos', or 'users'",
                    {"field": "user_id"},
                )
            return self
        if sum(self._names) != 1:
            raise PydanticCustomError(
                "user_or_liked",
                "give either 'user_id', or 'liked' and 'photos', or 'users' or 'cohort'",
                {"field": "user_id"},
            )
        return self

    @model_validator(mode="after")
    def _new_or_edited(self) -> Self:
        if self.edit is None:
            if self.category is None:
                raise PydanticCustomError("no_category", "name the category to design", {"field": "category"})
            return self
        if self.category is None and any(one.photo is not None for one in self.edit.of):
            raise PydanticCustomError("no_category", "say what the photo shows", {"field": "category"})
        for name in ("preset", "realism"):
            if self.edit.kind != "tailor" and getattr(self, name) != type(self).model_fields[name].default:
                raise PydanticCustomError(
                    "not_of_this_edit",
                    "'{kind}' does not search; leave it out",
                    {"kind": self.edit.kind, "field": name},
                )
        if self.edit.kind == "mix" and self.n < _LEAST_MIXED:
            raise PydanticCustomError("few_to_mix", "a mix is of at least two designs", {"field": "n"})
        if self.edit.kind == "slide":
            if "n" in self.model_fields_set and self.n != 1:
                raise PydanticCustomError("one_slide", "a slide is one design; leave it out", {"field": "n"})
            self.n = 1
        return self


class DesignQuery(UserQuery):
    """A page of design requests."""

    user_id: Id | None = Field(None, examples=["user-00007"])
    """Only those for this user."""
    state: JobState | None = Field(None, examples=["succeeded"])
    """Only those in this state."""
    starred: bool = Field(False, examples=[True])
    """Only those with a starred design."""


class DesignVerdict(StrictBody):
    """What is thought of a design; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"starred": True}, {"verdict": "approved"}]})

    starred: bool | None = None
    """Mark it, or take the mark away."""
    verdict: Literal["approved", "rejected", "undecided"] | None = None
    """Whether it is to be made."""


class DesignProgress(Answer):
    """How far the search is."""

    step: str = Field(examples=["climbing"])
    """What is being done: `scoring samples` (first ideas are drawn and scored), then `climbing` (the best of them are
    improved step by step); of a mix, `judging` (what lies on the way is looked at); of an item or a photo, first
    `descending` (it is looked for among what the generator can draw)."""
    done: int = Field(examples=[12])
    """Units finished."""
    total: int | None = Field(examples=[60])
    """Units in all; null when not known."""
    note: str = Field(examples=["best objective +1.83"])
    """A figure or a remark."""


class NearItem(Answer):
    """A real item that looks like a design."""

    item_id: str = Field(examples=["dress-00042"])
    """The item's id."""
    distance: float = Field(examples=[0.31])
    """How unlike the two look, from 0 (the same) over 1 (nothing in common) to 2 (opposite): 1 less the cosine between
    what the recommender sees of them."""
    image_url: str | None = Field(examples=["/v1/items/dress-00042/image"])
    """Path of its picture."""


class DesignedItem(Answer):
    """One design."""

    index: int = Field(examples=[0])
    """Its place among the results."""
    image_url: str = Field(examples=["/v1/designs/0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c/0.png"])
    """Path of its picture, a PNG that never changes (`.webp` instead of `.png`: the same pixels as WebP)."""
    settings_url: str = Field(examples=["/v1/designs/0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c/0.json"])
    """Path of a file with all that reproduces it."""
    starred: bool = Field(examples=[False])
    """Whether somebody marked it."""
    verdict: str | None = Field(examples=["approved"])
    """`approved`, `rejected`, or null: nobody has decided."""
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
    """How it was searched for; the request says for whom. The file at `settings_url` also holds what was known of them,
    and all else that, with the seed and the same model, makes it again. Of an edited one, `edit` says what was done to
    what (`verb`, `of`), and how unlike that it looks (`distance`); of an item or a photo also how far off the generator
    was when it drew it (`inversion`: `pixel_error`, root mean square in steps of 255, and the perceptual `distance`).
    Of a tailored one it also says how far it was allowed to go (`leash`, `within_leash`), and how much the user is
    thought to like what it was made of (`score_of_subject`) and the generator's drawing of it (`score_of_start`)."""


class DesignOrigin(Answer):
    """What designs were made of: a design or an item, which may have been deleted since, or a photo, which the request
    itself holds (then all of this is null)."""

    design: str | None = Field(examples=["0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
    """Id of the request that the design was made for."""
    index: int | None = Field(examples=[0])
    """Its place among the results."""
    item_id: str | None = Field(examples=[None])
    """Id of the item."""
    url: str | None = Field(examples=["/v1/designs/0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
    """Path of that request, or of the item."""
    image_url: str | None = Field(examples=["/v1/designs/0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c/0.png"])
    """Path of its picture."""


class DesignStatus(Answer):
    """A design request and what has become of it."""

    id: str = Field(examples=["0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
    """The request's id."""
    url: str = Field(examples=["/v1/designs/0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
    """Where to ask for it again."""
    state: JobState
    """queued, running, succeeded, failed, cancelled, or interrupted (its worker ended; it can be retried)."""
    attempt: int = Field(examples=[1])
    """How often it has been tried, this time included."""
    cancel_requested: bool
    """Whether it was cancelled; a running search stops at its next step."""
    ahead: int = Field(examples=[0])
    """How many others run or wait before it."""
    request: DesignRequest
    """What was asked for, with the seed that is used."""
    progress: DesignProgress | None
    """How far the search is, once it runs."""
    origins: list[DesignOrigin]
    """What an edit began with."""
    results: list[DesignedItem]
    """The designs, best first (those of a mix in their order on the way), once it has succeeded."""
    problem: Problem | None
    """Why it failed."""
    submitted_at: datetime
    """When it was asked for."""
    started_at: datetime | None
    """When it began to run."""
    finished_at: datetime | None
    """When it ended."""
    kept_until: datetime | None
    """Until when a finished one is kept; null: while a design of it is starred or approved, for good."""
    model: ModelVersion
    """What designed it, or would."""


class DesignPage(Answer):
    """A page of design requests, the newest first."""

    designs: list[DesignStatus]
    """The requests."""
    next_cursor: str | None = Field(examples=["eyJ2IjoiZGVzaWducyIsImEiOjUwfQ"])
    """Ask with it for the next page; null on the last."""
