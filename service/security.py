"""Who may ask: API keys, what they allow, and how often.

A key comes as ``Authorization: Bearer rg_…``; the page sends it as a cookie that scripts cannot read and other sites
cannot use. A service that listens on loopback alone asks for none.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from service.problems import ProblemError
from service.settings import ServiceSettings
from service.store import Store
from service.store.keys import ApiKey, Scope, this_minute

__all__ = ["ADMIN", "COOKIE", "READ", "WRITE", "Caller", "Gate", "Writer"]

COOKIE = "recgan_key"
REMEMBERED_SECONDS = 5.0
"""How long a process goes on to accept a key that was revoked elsewhere."""
_REMEMBERED = 10_000
_SHARE = 20
"""A process takes this part of a minute's requests from the store at once."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_bearer = HTTPBearer(
    auto_error=False, scheme_name="API key", description="`Authorization: Bearer rg_…`; `recgan keys add` makes one."
)


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    owner: str
    """Id of the key; empty where none is needed."""
    scope: Scope


class Gate:
    """Knows the keys, and counts their requests. It is asked from one event loop alone.

    Args:
        settings: of the service.
        store: where keys and counts are.
    """

    def __init__(self, settings: ServiceSettings, store: Store) -> None:
        self.open = not settings.needs_keys
        self._settings = settings
        self._store = store
        self._keys: OrderedDict[bytes, tuple[float, ApiKey]] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    async def admit(self, text: str | None) -> Caller:
        """Return who asks with a key.

        Raises:
            ProblemError: no-key (401), there is none, or it is worth nothing; rate-limit (429).
        """
        if self.open:
            return Caller("", Scope.admin)
        if not text:
            raise _no_key("send an API key: 'Authorization: Bearer rg_…'; the service's operator makes one")
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        until, key = self._keys.get(digest, (0.0, None))
        if key is None or until <= time.monotonic():
            key = await anyio.to_thread.run_sync(self._store.keys.find, text)
            if key is None:
                raise _no_key("this API key is not known, or was revoked")
            _remember(self._keys, digest, (time.monotonic() + REMEMBERED_SECONDS, key))
        await self._count(key)
        return Caller(key.id, key.scope)

    async def _count(self, key: ApiKey) -> None:
        """Use one of the requests that the key may make in this minute."""
        limit = key.per_minute or self._settings.rate_per_minute
        allowance = self._allowances.get(key.id) or _Allowance()
        _remember(self._allowances, key.id, allowance)
        while not allowance.use():
            if allowance.spent:
                _, seconds = this_minute()
                raise ProblemError(
                    "rate-limit",
                    f"this key may make {limit:,} requests a minute; ask again in {seconds} s",
                    headers={"Retry-After": str(seconds)},
                )
            async with allowance.taking:
                if allowance.empty:
                    await self._take_a_share(key.id, limit, allowance)

    async def _take_a_share(self, owner: str, limit: int, allowance: _Allowance) -> None:
        minute, wanted = allowance.minute, max(1, limit // _SHARE)
        granted = await anyio.to_thread.run_sync(self._store.rates.take, owner, minute, wanted, limit)
        allowance.add(minute, granted, spent=granted < wanted)


class _Allowance:
    """The requests that one key has left in this minute, as far as this process has taken them from the store."""

    def __init__(self) -> None:
        self.taking = anyio.Lock()
        """Held while they are taken: of requests that come together, the first takes for all, and none hoards."""
        self.minute = -1
        self._left = 0
        self._spent = False

    def use(self) -> bool:
        """Use one; return whether there was one."""
        self._begin_minute()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    @property
    def empty(self) -> bool:
        """Whether there is none here, and the store may have more."""
        self._begin_minute()
        return self._left < 1 and not self._spent

    @property
    def spent(self) -> bool:
        """Whether there is none here, nor in the store until the minute ends."""
        return self._left < 1 and self._spent

    def add(self, minute: int, granted: int, *, spent: bool) -> None:
        """Take in what the store has granted of a minute, and whether that was its last."""
        if minute == self.minute:
            self._left, self._spent = self._left + granted, spent

    def _begin_minute(self) -> None:
        minute, _ = this_minute()
        if minute != self.minute:
            self.minute, self._left, self._spent = minute, 0, False


def _remember(known: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep a value as the newest, and drop the oldest of too many."""
    known[key] = value
    known.move_to_end(key)
    while len(known) > _REMEMBERED:
        known.popitem(last=False)


def _no_key(detail: str) -> ProblemError:
    return ProblemError("no-key", detail, headers={"WWW-Authenticate": "Bearer"})


def _given(request: Request) -> str | None:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE)


class _Needs:
    """A dependency: the caller, who must have a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request, documented: Annotated[object, Depends(_bearer)] = None) -> Caller:
        caller = await request.app.state.service.gate.admit(_given(request))
        order = list(Scope)
        if order.index(caller.scope) < order.index(self.scope):
            raise ProblemError("not-allowed", f"this key may {caller.scope}; here '{self.scope}' is needed")
        return caller


READ = Depends(_Needs(Scope.read))
WRITE = Depends(_Needs(Scope.write))
ADMIN = Depends(_Needs(Scope.admin))
Writer = Annotated[Caller, WRITE]
