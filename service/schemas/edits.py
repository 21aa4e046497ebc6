"""Edits: what is made of finished designs, items and photos, and what can be."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from service.schemas.answers import Answer, ModelVersion
from service.schemas.requests import Id, Photo64, StrictBody, Whole

__all__ = [
    "MAX_DIRECTIONS",
    "DesignEdit",
    "DesignName",
    "EditKind",
    "EditSubject",
    "Editing",
    "InverterFacts",
    "Slider",
    "SliderMove",
]

DesignName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
EditKind = Literal["like", "mix", "slide", "tailor"]
_SUBJECTS = {"like": 1, "mix": 2, "slide": 1, "tailor": 1}
MAX_DIRECTIONS = 100
MAX_UNITS = 100.0
MAX_LEASH = 4.0


class EditSubject(StrictBody):
    """What an edit begins with: a finished design, an item of the catalogue, or a photo."""

    design: DesignName | None = Field(None, examples=["0f8c6b7c2d6e4a5f9b1c2d3e4f5a6b7c"])
    """Id of the request that the design was made for; the generator that serves now must have made it."""
    index: Whole | None = Field(None, ge=0, le=10_000, examples=[0])
    """Its place among the results."""
    item: Id | None = None
    """Or the id of an item with a picture. This and a photo need an inverter (`GET /v1/editing`)."""
    photo: Photo64 | None = None
    """Or a photo of something of the request's category; kept, small, as long as the request is."""

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if sum(value is not None for value in (self.design, self.item, self.photo)) != 1:
            raise PydanticCustomError("one_subject", "give one of 'design', 'item' and 'photo'", {"field": "design"})
        if (self.design is None) != (self.index is None):
            told = "say which of its designs" if self.design is not None else "it is of a design; leave it out"
            raise PydanticCustomError("index_of_design", "{told}", {"told": told, "field": "index"})
        return self


class SliderMove(StrictBody):
    """How far one slider is moved."""

    direction: Whole = Field(ge=0, lt=MAX_DIRECTIONS, examples=[0])
    """Its number."""
    units: float = Field(ge=-MAX_UNITS, le=MAX_UNITS, allow_inf_nan=False, examples=[1.5])
    """From where the picture lies, in the slider's units, from its `low` to its `high`."""


class DesignEdit(StrictBody):
    """What is to be made of designs, items or photos."""

    kind: EditKind
    """`like`: variations of one. `mix`: the way from one to another, both included; of two categories the category
    changes with it. `slide`: one moved along directions. `tailor`: one changed so that the user likes it more and it
    still looks like itself."""
    of: list[EditSubject] = Field(min_length=1, max_length=2)
    """The one, or the two."""
    moves: list[SliderMove] = Field(default_factory=list, max_length=MAX_DIRECTIONS)
    """Of a slide: all at once."""
    leash: float | None = Field(None, gt=0, le=MAX_LEASH, allow_inf_nan=False, examples=[1.0])
    """How far a tailored one may go, in units of how unlike two items of the category usually look; null: 1."""
    keep_colour: bool = False
    """Whether a tailored one keeps its colour."""

    @model_validator(mode="after")
    def _as_many_as_needed(self) -> Self:
        if len(self.of) != (wanted := _SUBJECTS[self.kind]):
            raise PydanticCustomError(
                "designs_of_an_edit",
                "'{kind}' is of {wanted}, not of {given}",
                {"kind": self.kind, "wanted": wanted, "given": len(self.of), "field": "of"},
            )
        if self.kind == "mix" and self.of[0] == self.of[1]:
            raise PydanticCustomError("same_design", "mix two different designs", {"field": "of"})
        return self

    @model_validator(mode="after")
    def _moves_of_a_slide(self) -> Self:
        if self.kind != "slide" and self.moves:
            raise PydanticCustomError(
                "moves_of_no_slide", "'{kind}' moves no sliders; leave it out", {"kind": self.kind, "field": "moves"}
            )
        if self.kind == "slide" and not self.moves:
            raise PydanticCustomError("no_moves", "say which slider moves, and how far", {"field": "moves"})
        if len({move.direction for move in self.moves}) < len(self.moves):
            raise PydanticCustomError("moved_twice", "move each slider once", {"field": "moves"})
        return self

    @model_validator(mode="after")
    def _held_if_tailored(self) -> Self:
        for name in ("leash", "keep_colour"):
            if self.kind != "tailor" and getattr(self, name) != type(self).model_fields[name].default:
                raise PydanticCustomError(
                    "not_of_this_edit", "'{kind}' takes no {field}; leave it out", {"kind": self.kind, "field": name}
                )
        return self


class Slider(Answer):
    """A direction in which pictures can be moved."""

    direction: int = Field(examples=[0])
    """Its number; those that change pictures the most come first."""
    name: str = Field(examples=["brightness"])
    """What somebody called it who looked at its sheet; empty: nobody has."""
    low: float = Field(examples=[-4.0])
    """How far it goes to the one side before pictures stop to look real."""
    high: float = Field(examples=[3.0])
    """And to the other, where pictures are brighter."""
    share: float = Field(examples=[0.65])
    """Share of what differs between pictures that lies along it, from 0 to 1."""
    image_url: str = Field(examples=["/v1/editing/directions/0.png"])
    """Path of a sheet: some samples in rows, from its low end to its high one."""


class InverterFacts(Answer):
    """How well pictures are found again among what the generator can draw."""

    pixel_error: float = Field(examples=[18.2])
    """On drawings of the generator's own that it was not trained on, by its first guess: root mean square error of the
    pixels in steps of 255. Photos are further off; each edit says how far."""
    by_chance: float = Field(examples=[61.7])
    """The same error of another drawing of the category."""


class Editing(Answer):
    """What can be made of designs, items and photos."""

    kinds: list[EditKind] = Field(examples=[["like", "mix", "slide", "tailor"]])
    """What can be done with a finished design."""
    sliders: list[Slider] = Field(max_length=MAX_DIRECTIONS)
    """The directions of `slide`, the first of them where there are more; none: there are none."""
    inverter: InverterFacts | None
    """What finds items and photos, which can then be edited as designs can; null: there is none."""
    model: ModelVersion
    """Whose generator it is."""
