"""Votes in a blind test."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from service.schemas.answers import Answer
from service.schemas.requests import StrictBody

__all__ = ["BlindVote", "BlindVotes", "VotesTaken"]

_LONGEST = 86_400
MAX_VOTES = 5000


class BlindVote(StrictBody):
    """One person's answer to one question."""

    test: str = Field(max_length=100)
    """Which test it is of."""
    person: str = Field(pattern=r"^[0-9a-f-]{8,64}$")
    """A random id of who voted; no name."""
    trial: str = Field(max_length=100)
    """Which question."""
    answer: str = Field(max_length=100)
    """`real`, `designed` or `unsure`; of two pictures the chosen one's id, or `neither`."""
    side: Literal["", "left", "right"] = ""
    """Of two pictures, where the chosen one stood."""
    seconds: float = Field(0, ge=0, le=_LONGEST, allow_inf_nan=False)
    """From being shown to answering."""


class BlindVotes(StrictBody):
    """What the page of a blind test sends."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "votes": [
                        {
                            "test": "1a2b3c4d5e6f",
                            "person": "0f8c6b7c2d6e4a5f9b1c2d3e",
                            "trial": "7c2d6e4a5f9b",
                            "answer": "designed",
                            "seconds": 2.5,
                        }
                    ]
                }
            ]
        }
    )

    votes: list[BlindVote] = Field(min_length=1, max_length=MAX_VOTES)
    """The votes."""


class VotesTaken(Answer):
    """Votes were written down."""

    written: int = Field(examples=[1])
    """How many."""
