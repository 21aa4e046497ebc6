"""How the client asks: again where that is safe and helps, after as long as the service says."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import ValidationError

from recgan.errors import RecganError, SettingsError
from service.problems import MEDIA_TYPE, Problem

__all__ = ["RetrySettings", "ServiceRefused", "ServiceUnreachable", "Transport", "foreign", "kind_of"]

_AGAIN = (429, 502, 503, 504)
_NOTHING_DONE = 429  # refused before anything was done, whatever was asked


class ServiceRefused(RecganError):
    """The service answered with an error, and the message is the service's own; or something else answered for it.

    Attributes:
        status: of HTTP; a good one where something else answered.
        problem: what the service said; None where the answer came from something between, such as a proxy.
        tries: how often it was asked.
    """

    exit_code = 1

    def __init__(self, told: str, status: int, problem: Problem | None, tries: int) -> None:
        super().__init__(told)
        self.status = status
        self.problem = problem
        self.tries = tries

    @property
    def kind(self) -> str:
        """The stable name of the problem, such as ``unknown-user``; empty where ``problem`` is None."""
        return self.problem.type.rpartition(":")[2] if self.problem is not None else ""


class ServiceUnreachable(RecganError):
    """The service did not answer, or stopped in the middle."""

    exit_code = 1


@dataclass(frozen=True)
class RetrySettings:
    """When to ask again.

    A request is repeated that failed on its way or was answered with 429, 502, 503 or 504, if twice is as good as once;
    any other only if surely nothing was done: no connection was had, or the answer was 429.
    """

    tries: int = 5
    """How often a request is made at most."""
    first_seconds: float = 0.2
    """The first pause where the service names none; it doubles each time, and a random part of its second half is left
    out, so that clients do not come back all at once."""
    longest_seconds: float = 60.0
    """A service that asks for a longer pause (``Retry-After``) is not waited for: its answer is an error at once."""

    def __post_init__(self) -> None:
        if self.tries < 1 or self.first_seconds < 0 or self.longest_seconds < 0:
            raise SettingsError(f"{self}: tries is at least 1, and no time is negative")

    def pause(self, tries: int) -> float:
        """Return the seconds to wait after so many tries."""
        doubled = min(tries - 1, 60)  # more would be no number
        longest = min(self.first_seconds * 2**doubled, self.longest_seconds)
        return random.uniform(longest / 2, longest)


class Transport:
    """Sends requests.

    Args:
        http: the client that carries them; it knows the service's address.
        headers: sent with each.
        retry: when to ask again.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        http: httpx.Client,
        headers: Mapping[str, str],
        retry: RetrySettings,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = http
        self._headers = dict(headers)
        self.retry = retry
        self.sleep = sleep

    def send(self, method: str, path: str, *, safe: bool = True, **given: Any) -> httpx.Response:
        """Return the answer to a request; ``safe``: twice is as good as once; ``given``: of `httpx.Client.request`.

        Raises:
            ServiceRefused: it was answered with an error.
            ServiceUnreachable: it was not answered.
        """
        return self._answered(method, path, safe=safe, whole=True, **given)

    @contextmanager
    def stream(self, method: str, path: str, **given: Any) -> Iterator[httpx.Response]:
        """The same for the answer to a safe request that is read as it comes; it is closed at the end of the block."""
        response = self._answered(method, path, safe=True, whole=False, **given)
        try:
            yield response
        finally:
            response.close()

    def _answered(
        self, method: str, path: str, *, safe: bool, whole: bool, headers: Mapping[str, str] | None = None, **given: Any
    ) -> httpx.Response:
        for tries in itertools.count(1):
            request = self._http.build_request(method, path, headers={**self._headers, **(headers or {})}, **given)
            try:
                response = self._http.send(request, stream=True)
                if whole or response.is_error:
                    response.read()
            except httpx.TransportError as error:
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                if tries >= self.retry.tries or not (safe or never_sent):
                    raise _unreachable(method, path, error, tries) from error
                self.sleep(self.retry.pause(tries))
                continue
            if not response.is_error:
                return response
            refused = _refused(method, path, response, tries)
            pause = self._pause(response, refused) if safe or refused.status == _NOTHING_DONE else None
            if pause is None or tries >= self.retry.tries:
                raise refused
            self.sleep(pause)
        raise AssertionError("it is asked until there is an answer or an error")

    def _pause(self, response: httpx.Response, refused: ServiceRefused) -> float | None:
        """Return how long to wait before asking again; None where that does not help."""
        if refused.status not in _AGAIN:
            return None
        asked = retry_after(response.headers.get("Retry-After"))
        if asked is None:  # the service tells when to come back wherever coming back helps; a proxy may not
            return None if refused.problem is not None else self.retry.pause(refused.tries)
        return max(asked, self.retry.pause(refused.tries)) if asked <= self.retry.longest_seconds else None


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After``, which are a number or a date; None for none, or one that is neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def kind_of(response: httpx.Response) -> str:
    """Return the media type of an answer; empty if it names none."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def foreign(method: str, path: str, response: httpx.Response) -> ServiceRefused:
    """Return the error of a good answer that is not the service's: a proxy's page, for instance."""
    told = (
        f"{method} {path}: {response.status_code}: the answer ({kind_of(response) or 'of no kind'}) is not the "
        "service's own; is the address right, does a proxy answer for it, or is the service of another version?"
    )
    return ServiceRefused(told, response.status_code, None, 1)


def _refused(method: str, path: str, response: httpx.Response, tries: int) -> ServiceRefused:
    problem = None
    if kind_of(response) == MEDIA_TYPE:
        with suppress(ValidationError):  # another's problem+json
            problem = Problem.model_validate_json(response.content)
    told = problem.detail if problem is not None else f"{response.reason_phrase}, and not from the service itself"
    return ServiceRefused(f"{method} {path}: {response.status_code}: {told}", response.status_code, problem, tries)


def _unreachable(method: str, path: str, error: Exception, tries: int) -> ServiceUnreachable:
    often = f" ({tries} tries)" if tries > 1 else ""
    what = str(error) or type(error).__name__
    return ServiceUnreachable(f"{method} {path}: no answer{often}: {what}; is the service up, and its address right?")
