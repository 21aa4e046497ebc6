"""A mixed load for one service on this machine: what shoppers, a shop's systems and designers ask for, what they give
up half-way, and what they get wrong.

It changes the shop all the time and leaves it no larger: a fixed number of new items come, change and go, and so do new
users with what they did.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import itertools
import uuid
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import numpy as np

from recgan.dataset.boutique import draw_item

__all__ = ["Mixture"]

_NEW_ITEMS, _NEW_USERS = 50, 50
_PICTURES = 20
_DESIGNERS = 2
_TIMEOUT = 60.0
_TOLD = 20
"""Failures that are told in full."""


class Mixture:
    """The load and what came of it.

    Args:
        url: a service on this machine.
        key: an API key that may write.
        rate: what is asked for a second, designs aside, as far as the service keeps up.
        clients: who ask at the same time.
        seed: of who asks for what.
    """

    def __init__(self, url: str, key: str, *, rate: float, clients: int = 8, seed: int = 0) -> None:
        if not ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback:
            raise SystemExit(f"{url} is not on this machine; the load is for loopback alone")
        self.statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """How many requests of each kind were answered how; ``none``: not at all."""
        self.failures: list[str] = []
        """The first requests that were answered with 5xx or not at all."""
        self._url, self._headers = url, {"Authorization": f"Bearer {key}"}
        self._rate, self._clients = rate, clients
        self._rng = np.random.default_rng(seed)
        self._numbers = itertools.count()
        self._pictures = [_jpeg(seed, index) for index in range(_PICTURES)]
        self._acts: dict[Callable[[], Awaitable[None]], float] = {
            self._recommend: 30,
            self._similar: 10,
            self._search: 5,
            self._session: 8,
            self._event: 15,
            self._put_item: 6,
            self._delete_item: 2,
            self._user: 2,
            self._list: 5,
            self._picture: 6,
            self._page: 4,
            self._mistake: 7,
        }

    def run(self, seconds: float) -> None:
        """Keep it up for so long."""
        asyncio.run(self._run(seconds))

    async def _run(self, seconds: float) -> None:
        limits = httpx.Limits(max_connections=self._clients + _DESIGNERS)
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=_TIMEOUT, limits=limits
        ) as self._http:
            self._users = (await self._http.get("/v1/users?limit=500")).json()["users"]
            listed = (await self._http.get("/v1/items?limit=500")).json()["items"]
            self._items = [one["item_id"] for one in listed]
            self._pictured = [one["item_id"] for one in listed if one["image_url"] is not None]
            categories = (await self._http.get("/v1/categories")).json()["categories"]
            self._categories = [one["name"] for one in categories]
            self._designable = [one["name"] for one in categories if one["designable"]]
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                    for _ in range(self._clients):
                        group.create_task(self._shop())
                    for _ in range(_DESIGNERS):
                        group.create_task(self._design())

    async def _shop(self) -> None:
        acts, weights = list(self._acts), np.array(list(self._acts.values()))
        while True:
            await asyncio.sleep(self._rng.exponential(self._clients / self._rate))
            await acts[self._rng.choice(len(acts), p=weights / weights.sum())]()

    async def _ask(self, kind: str, method: str, path: str, **given: Any) -> httpx.Response | None:
        """Ask, count the answer, and return it; None if there was none."""
        try:
            answer = await self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            self._note(kind, f"{method} {path}", "none", repr(error))
            return None
        self._note(kind, f"{method} {path}", str(answer.status_code), answer.text if answer.is_server_error else "")
        return answer

    def _note(self, kind: str, asked: str, status: str, told: str) -> None:
        self.statuses[kind][status] += 1
        if status == "none" or status.startswith("5"):
            self.failures += [f"{asked}: {status} {told}"[:500]] if len(self.failures) < _TOLD else []

    def _one(self, of: list[str]) -> str:
        return of[self._rng.integers(len(of))]

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _photo(self) -> bytes:
        return self._pictures[self._rng.integers(_PICTURES)]

    def _new_item(self) -> str:
        return f"soak/item-{self._rng.integers(_NEW_ITEMS)}"

    def _user_id(self) -> str:
        return f"soak/user-{self._rng.integers(_NEW_USERS)}" if self._chance(0.5) else self._one(self._users)

    # ---- what is asked

    async def _recommend(self) -> None:
        query: dict[str, Any] = {"k": 20}
        if self._chance(0.3):
            query["category"] = self._one(self._categories)
        if self._chance(0.1):
            query["explain"] = True
        path = f"/v1/users/{quote(self._one(self._users), safe='')}/recommendations"
        await self._ask("recommendations", "GET", path, params=query)

    async def _similar(self) -> None:
        await self._ask("similar", "GET", f"{_item(self._one(self._pictured))}/similar?k=20")

    async def _search(self) -> None:
        head = {"Content-Type": "image/jpeg"}
        await self._ask("search by photo", "POST", "/v1/search?k=20", content=self._photo(), headers=head)

    async def _session(self) -> None:
        session: dict[str, Any] = {"liked": [self._one(self._items)], "k": 20}
        if self._chance(0.3):
            session["photos"] = [b64encode(self._photo()).decode()]
        await self._ask("sessions", "POST", "/v1/sessions/recommendations", json=session)

    async def _event(self) -> None:
        happened = {"user_id": self._user_id(), "item_id": self._one(self._items), "event": "click"}
        head = {"Idempotency-Key": uuid.UUID(bytes=self._rng.bytes(16)).hex}
        for _ in range(2 if self._chance(0.2) else 1):  # some send it again
            await self._ask("events", "POST", "/v1/events", json={"events": [happened]}, headers=head)

    async def _put_item(self) -> None:
        given: dict[str, Any] = {"category": self._one(self._categories), "image": b64encode(self._photo()).decode()}
        await self._ask("items put", "PUT", _item(self._new_item()), json=given)

    async def _delete_item(self) -> None:
        await self._ask("items deleted", "DELETE", _item(self._new_item()))

    async def _user(self) -> None:
        path = f"/v1/users/{quote(f'soak/user-{self._rng.integers(_NEW_USERS)}', safe='')}"
        await self._ask("users exported", "GET", path)
        if self._chance(0.5):
            await self._ask("users forgotten", "DELETE", path)

    async def _list(self) -> None:
        query: dict[str, Any] = {"limit": 100}
        path = self._one(["/v1/items", "/v1/users", "/v1/designs"])
        for _ in range(3):
            answer = await self._ask("lists", "GET", path, params=query)
            if answer is None or not (cursor := answer.json().get("next_cursor")):
                return
            query["cursor"] = cursor

    async def _picture(self) -> None:
        answer = await self._ask("pictures", "GET", f"{_item(self._one(self._pictured))}/image")
        if answer is not None and "etag" in answer.headers:
            head = {"If-None-Match": answer.headers["etag"]}
            await self._ask("pictures", "GET", answer.url.raw_path.decode(), headers=head)

    async def _page(self) -> None:
        path = self._one(["/", "/static/page.css", "/openapi.json", "/metrics", "/health/ready", "/v1/models"])
        await self._ask("pages", "GET", path)

    async def _mistake(self) -> None:
        """What is refused: nothing of it is there, or valid, or allowed, or HTTP."""
        match self._rng.integers(7):
            case 0:
                await self._ask("mistakes", "GET", "/v1/users/nobody/recommendations")
            case 1:
                await self._ask("mistakes", "GET", f"/nowhere/{next(self._numbers)}")
            case 2:
                await self._ask("mistakes", "POST", "/v1/sessions/recommendations", json={"liked": ["nothing"] * 500})
            case 3:
                await self._ask("mistakes", "POST", "/v1/events", content=b"{" * 100_000)
            case 4:
                await self._ask("mistakes", "POST", "/v1/search", content=self._photo()[:500])
            case 5:
                await self._ask("mistakes", "GET", "/v1/items", headers={"Authorization": "Bearer rg_none"})
            case _:
                await self._no_http()

    async def _no_http(self) -> None:
        parts = urlsplit(self._url)
        status, told = "none", ""
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(b"\x16\x03\x01 no HTTP\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n"), _TIMEOUT)
            writer.close()
            status = head[9:12].decode("latin-1")
        except (OSError, EOFError, TimeoutError) as error:
            told = repr(error)
        self._note("mistakes", "no HTTP", status, told)

    # ---- designs

    async def _design(self) -> None:
        """Ask for designs, one after the other; follow some to the end, leave some, cancel some, delete many."""
        while True:
            asked: dict[str, Any] = {"category": self._one(self._designable), "n": 1}
            if self._chance(0.2):
                asked["photos"] = [b64encode(self._photo()).decode()]
            else:
                asked["user_id"] = self._one(self._users)
            answer = await self._ask("designs", "POST", "/v1/designs", json=asked)
            if answer is None or answer.status_code != 202:
                await asyncio.sleep(1)
                continue
            path = answer.headers["location"]
            cancels, leaves = self._chance(0.3), self._chance(0.2)
            await self._follow(path, to_the_end=not (cancels or leaves))
            if cancels:
                await self._ask("designs cancelled", "POST", f"{path}/cancel")
            elif not leaves:
                for end in ("0.png", "0.webp", "0.json", "all.zip"):
                    await self._ask("design files", "GET", f"{path}/{end}")
            if self._chance(0.7):
                await self._ask("designs deleted", "DELETE", path)

    async def _follow(self, path: str, *, to_the_end: bool) -> None:
        """Follow a design to its end, or leave at its first progress."""
        try:
            async with self._http.stream("GET", f"{path}/events") as answer:
                self._note("streams", f"GET {path}/events", str(answer.status_code), "")
                async for line in answer.aiter_lines():
                    if line == "event: progress" and not to_the_end:
                        return
        except httpx.HTTPError as error:
            self._note("streams", f"GET {path}/events", "none", repr(error))


def _item(item_id: str) -> str:
    return f"/v1/items/{quote(item_id, safe='')}"


def _jpeg(seed: int, index: int) -> bytes:
    buffer = io.BytesIO()
    draw_item(seed, index, 256)[0].save(buffer, "JPEG")
    return buffer.getvalue()
