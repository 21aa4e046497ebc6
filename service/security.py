"""Who may ask: API keys, what they allow, and how often.

A key comes as ``Authorization: Bearer rg_…``; the page sends it as a cookie that scripts cannot read and other sites
cannot use. A service that listens on loopback alone asks for none.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated

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
    """Knows the keys, and counts their requests.

    Args:
        settings: of the service.
        store: where keys and counts are.
    """

    def __init__(self, settings: ServiceSettings, store: Store) -> None:
        self.open = not settings.needs_keys
        self._settings = settings
        self._store = store
        self._lock = threading.Lock()
        self._taking = threading.Lock()
        self._keys: OrderedDict[bytes, tuple[float, ApiKey]] = OrderedDict()
        self._taken: dict[str, tuple[int, int]] = {}

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
        key = self._remembered(digest)
        if key is None:
            key = await anyio.to_thread.run_sync(self._store.keys.find, text)
            if key is None:
                raise _no_key("this API key is not known, or was revoked")
            self._remember(digest, key)
        if not self._count(key.id):
            await anyio.to_thread.run_sync(self._take, key)
        return Caller(key.id, key.scope)

    def _remembered(self, digest: bytes) -> ApiKey | None:
        with self._lock:
            until, key = self._keys.get(digest, (0.0, None))
        return key if until > time.monotonic() else None

    def _remember(self, digest: bytes, key: ApiKey) -> None:
        with self._lock:
            self._keys[digest] = (time.monotonic() + REMEMBERED_SECONDS, key)
            self._keys.move_to_end(digest)
            while len(self._keys) > _REMEMBERED:
                self._keys.popitem(last=False)

    def _count(self, owner: str) -> bool:
        """Use one of the requests that were taken from the store; return whether there was one."""
        minute, _ = this_minute()
        with self._lock:
            taken_at, left = self._taken.get(owner, (minute, 0))
            if taken_at != minute or left < 1:
                return False
            self._taken[owner] = (minute, left - 1)
            return True

    def _take(self, key: ApiKey) -> None:
        # One after the other: of requests that come together, the first takes for all, and none is left to hoard.
        with self._taking:
            if not self._count(key.id):
                self._take_a_share(key)

    def _take_a_share(self, key: ApiKey) -> None:
        limit = key.per_minute or self._settings.rate_per_minute
        minute, seconds = this_minute()
        granted = self._store.rates.take(key.id, minute, max(1, limit // _SHARE), limit)
        if not granted:
            raise ProblemError(
                "rate-limit",
                f"this key may make {limit:,} requests a minute; ask again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )
        with self._lock:
            taken_at, left = self._taken.get(key.id, (minute, 0))
            self._taken[key.id] = (minute, granted - 1 + (left if taken_at == minute else 0))


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
