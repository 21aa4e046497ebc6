"""Questions about designs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import RootModel

from service.client.calls import Calls, Photo, as_base64, segment
from service.client.transport import ServiceUnreachable, foreign, kind_of
from service.links import design_image_path, design_path, direction_path, gap_image_path
from service.schemas import BlindVote, BlindVotes, DesignPage, DesignStatus, Editing, GapList, VotesTaken
from service.streams import MEDIA_TYPE

__all__ = ["DesignCalls", "DesignEvent", "DesignIn"]

DesignIn = tuple[str, int]
"""A finished design: its request's id, and its place among the results."""

_LOOK_SECONDS = 2.0
"""Between two questions about the same design, at most."""
_SILENCE_SECONDS = 45.0  # three times as long as the service is ever silent in a stream


@dataclass(frozen=True)
class DesignEvent:
    """Something that happened to a design: ``state``, ``progress`` or ``picture``."""

    id: int
    kind: str
    data: dict[str, Any]


class _Settings(RootModel[dict[str, Any]]):
    """The settings file of a design."""


class DesignCalls(Calls):
    """The part of the client that designs."""

    def submit_design(
        self,
        category: str,
        *,
        user_id: str | None = None,
        liked: Sequence[str] = (),
        photos: Sequence[Photo] = (),
        users: Sequence[str] = (),
        cohort: int | None = None,
        n: int = 4,
        seed: int | None = None,
        preset: str = "default",
        realism: float | None = None,
        design_id: str | None = None,
    ) -> DesignStatus:
        """Ask for designs for a user, for somebody who likes some items or photos, for several users together, or for a
        cohort of the `gaps`; return at once.

        ``design_id`` names the request, so that it is the same one however often it is made; by default it is new.
        """
        asked: dict[str, Any] = {"category": category, "preset": preset, "realism": realism, "n": n, "seed": seed}
        asked |= {"users": list(users), "cohort": cohort}
        return self._submit(asked | _whom(user_id, liked, photos), design_id)

    def more_like_design(
        self,
        one: DesignIn,
        *,
        user_id: str | None = None,
        liked: Sequence[str] = (),
        photos: Sequence[Photo] = (),
        n: int = 4,
        seed: int | None = None,
        design_id: str | None = None,
    ) -> DesignStatus:
        """Ask for variations of a finished design, for somebody, or else for whom it was made; return at once.

        ``design_id`` as in `submit_design`.
        """
        asked = {"edit": _edit("like", _named(one)), "n": n, "seed": seed}
        return self._submit(asked | _whom(user_id, liked, photos), design_id)

    def mix_designs(
        self,
        start: DesignIn,
        end: DesignIn,
        *,
        user_id: str | None = None,
        liked: Sequence[str] = (),
        photos: Sequence[Photo] = (),
        n: int = 5,
        design_id: str | None = None,
    ) -> DesignStatus:
        """Ask for ``n`` designs from one finished design to another, both included, judged as by somebody, or else by
        whom the first was made for; return at once.

        ``design_id`` as in `submit_design`.
        """
        asked = {"edit": _edit("mix", _named(start), _named(end)), "n": n}
        return self._submit(asked | _whom(user_id, liked, photos), design_id)

    def editing(self) -> Editing:
        """Return what can be made of designs, items and photos here."""
        return self._ask(Editing, "GET", "/v1/editing")

    def gaps(self) -> GapList:
        """Return what the catalogue lacks."""
        return self._ask(GapList, "GET", "/v1/gaps")

    def gap_picture(self, index: int) -> bytes:
        """Return the PNG of the design of one brief."""
        return self._picture(gap_image_path(index))

    def vote(self, votes: Sequence[BlindVote]) -> int:
        """Vote in the blind test; return how many votes were written down. Of one that comes again the last counts."""
        sent = BlindVotes(votes=list(votes)).model_dump(mode="json")
        return self._ask(VotesTaken, "POST", "/blindtest/votes", json=sent).written

    def direction_sheet(self, direction: int) -> bytes:
        """Return the PNG that shows what a direction changes."""
        return self._picture(direction_path(direction))

    def slide_design(
        self,
        one: DesignIn,
        moves: Mapping[int, float],
        *,
        user_id: str | None = None,
        liked: Sequence[str] = (),
        photos: Sequence[Photo] = (),
        design_id: str | None = None,
    ) -> DesignStatus:
        """Ask for a finished design moved along directions, each by so many of its units (`editing` tells how far they
        go), judged as by somebody, or else by whom it was made for; return at once.

        ``design_id`` as in `submit_design`.
        """
        moved = [{"direction": direction, "units": units} for direction, units in moves.items()]
        asked = {"edit": {**_edit("slide", _named(one)), "moves": moved}}
        return self._submit(asked | _whom(user_id, liked, photos), design_id)

    def tailor(
        self,
        what: DesignIn | str | Photo,
        category: str | None = None,
        *,
        user_id: str | None = None,
        liked: Sequence[str] = (),
        photos: Sequence[Photo] = (),
        n: int = 4,
        seed: int | None = None,
        preset: str = "default",
        realism: float | None = None,
        leash: float | None = None,
        keep_colour: bool = False,
        design_id: str | None = None,
    ) -> DesignStatus:
        """Ask for something changed so that somebody likes it more and it still looks like itself; return at once.

        Args:
            what: an item's id, a photo, or a finished design. Items and photos need an inverter (`editing`).
            category: what a photo shows.
            leash: how far it may go, in units of how unlike two items of the category usually look; None: 1.
            keep_colour: whether it keeps its colour.
            design_id: as in `submit_design`.
        """
        asked: dict[str, Any] = {"preset": preset, "realism": realism, "category": category, "n": n, "seed": seed}
        asked["edit"] = _edit("tailor", _named(what)) | {"leash": leash, "keep_colour": keep_colour}
        return self._submit(asked | _whom(user_id, liked, photos), design_id)

    def design(self, design_id: str) -> DesignStatus:
        """Return what has become of a design request."""
        return self._ask(DesignStatus, "GET", _design(design_id))

    def wait_for_design(
        self, design_id: str, *, timeout: float | None = None, told: Callable[[DesignStatus], None] | None = None
    ) -> DesignStatus:
        """Ask for a design request until it has ended, well or not (see ``state`` and ``problem``); return it.

        Args:
            design_id: the request.
            timeout: seconds.
            told: called with each state on the way.

        Raises:
            TimeoutError: it has not ended within ``timeout``; it goes on, and may be waited for again.
        """
        started, pause = time.monotonic(), 0.1
        while True:
            status = self.design(design_id)
            if told is not None:
                told(status)
            if status.finished_at is not None:
                return status
            if timeout is not None and time.monotonic() - started + pause > timeout:
                raise TimeoutError(f"design '{design_id}' is {status.state} after {timeout:g} s; wait for it again")
            self._transport.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS)

    def follow_design(self, design_id: str, *, after: int = 0) -> Iterator[DesignEvent]:
        """Yield what happens to a design request, as it happens, until it has ended; none is missed or comes twice,
        also when the connection breaks in between.

        Args:
            design_id: the request.
            after: leave out the events up to this id.
        """
        retry, failures, empty = self._transport.retry, 0, 0
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=5.0)
        path = f"{_design(design_id)}/events"
        while True:
            headers = {"Last-Event-ID": str(after), "Accept": MEDIA_TYPE}
            try:
                with self._transport.stream("GET", path, headers=headers, timeout=timeout) as response:
                    if response.status_code == 204:
                        return
                    if kind_of(response) != MEDIA_TYPE:
                        raise foreign("GET", path, response)
                    empty += 1
                    for event in _events(response.iter_lines()):
                        after, failures, empty = event.id, 0, 0
                        yield event
                if empty:  # the service stops, or a proxy cuts what is silent for long; the design may wait for hours
                    self._transport.sleep(min(retry.pause(empty), _LOOK_SECONDS))
            except httpx.TransportError as error:
                failures += 1
                if failures >= retry.tries:
                    raise ServiceUnreachable(f"GET {path}: the stream broke off {failures} times: {error}") from error
                self._transport.sleep(retry.pause(failures))

    def designs(
        self, *, user_id: str | None = None, state: str | None = None, starred: bool = False
    ) -> Iterator[DesignStatus]:
        """Yield the design requests that are kept, the newest first: all, or those for a user, in a state such as
        ``queued``, with a starred design."""
        chosen = {"user_id": user_id, "state": state}
        params: dict[str, Any] = {"starred": starred, **{name: one for name, one in chosen.items() if one is not None}}
        for page in self._pages(DesignPage, "/v1/designs", params):
            yield from page.designs

    def design_picture(self, design_id: str, index: int, form: str = "png") -> bytes:
        """Return the picture of one design, as ``png`` or ``webp``."""
        return self._picture(design_image_path(segment(design_id), index, form))

    def design_settings(self, design_id: str, index: int) -> dict[str, Any]:
        """Return all that reproduces one design with the same models."""
        return self._ask(_Settings, "GET", design_image_path(segment(design_id), index, "json")).root

    def designs_zip(self, design_id: str) -> bytes:
        """Return a ZIP of all designs of a request: the PNG of each, and its settings."""
        return self._file(f"{_design(design_id)}/all.zip", "application/zip")

    def cancel_design(self, design_id: str) -> DesignStatus:
        """Cancel a design request."""
        return self._ask(DesignStatus, "POST", f"{_design(design_id)}/cancel")

    def retry_design(self, design_id: str) -> DesignStatus:
        """Queue a design request again that was interrupted or cancelled, or has failed."""
        return self._ask(DesignStatus, "POST", f"{_design(design_id)}/retry", safe=False)

    def judge_design(
        self, design_id: str, index: int, *, starred: bool | None = None, verdict: str | None = None
    ) -> DesignStatus:
        """Star a design, or let it be ``approved``, ``rejected`` or ``undecided``."""
        said = {"starred": starred, "verdict": verdict}
        return self._ask(DesignStatus, "PATCH", f"{_design(design_id)}/{index}", json=said)

    def delete_design(self, design_id: str) -> None:
        """Delete a design request and its designs."""
        self._delete(_design(design_id))

    def _submit(self, asked: dict[str, Any], design_id: str | None) -> DesignStatus:
        return self._ask(DesignStatus, "PUT", _design(design_id or uuid.uuid4().hex), json=asked)


def _whom(user_id: str | None, liked: Sequence[str], photos: Sequence[Photo]) -> dict[str, Any]:
    return {"user_id": user_id, "liked": list(liked), "photos": [as_base64(photo) for photo in photos]}


def _named(what: DesignIn | str | Photo) -> dict[str, Any]:
    if isinstance(what, tuple):
        return {"design": what[0], "index": what[1]}
    return {"item": what} if isinstance(what, str) else {"photo": as_base64(what)}


def _edit(kind: str, *of: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "of": list(of)}


def _events(lines: Iterator[str]) -> Iterator[DesignEvent]:
    """Yield the events of a stream (the part of its grammar that the service writes)."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield DesignEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        fields = {}


def _design(design_id: str) -> str:
    return design_path(segment(design_id))
