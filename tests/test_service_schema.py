"""Whatever is asked, well or badly: each answer is one that the OpenAPI document describes, over real HTTP."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import socket
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
from schemathesis.engine import events, from_schema

from service.problems import MEDIA_TYPE, PROBLEMS
from tests.conftest import png
from tests.service_program import Server
from tests.service_world import PATIENCE, until, write_catalogue
from tests.test_service_blindtest import PERSON, write_test
from tests.test_service_gaps import write_gaps

PICTURE = png(np.full((40, 40, 3), 90, dtype=np.uint8))
TEXT = base64.b64encode(PICTURE).decode()
KNOWN: dict[str, Any] = {
    "answer": "d0",
    "candidate": ["x/similar"],
    "categories": ["coats"],
    "category": "coats",
    "design": "done",
    "design_id": "done",
    "disliked": ["a/b"],
    "image": TEXT,
    "index": 0,
    "item": "plain",
    "item_id": "plain",
    "liked": ["plain"],
    "number": 0,
    "person": PERSON,
    "photo": TEXT,
    "photos": [TEXT],
    "preset": "default",
    "side": "left",
    "test": "test-1",
    "trial": "pair",
    "user_id": "anna",
    "users": ["anna", "b/c"],
}
"""What there is of each kind in the world that is asked."""
NEVER = {
    "POST /v1/models/rollback",
    "POST /v1/designs/{design_id}/cancel",
    "POST /v1/designs/{design_id}/retry",
}
"""What need not go well there: no other model has served, and the design has succeeded."""

SPARE = {"done": "spare", "anna": "somebody"}
"""What is deleted in place of what the other requests are for."""


CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "errors_are_problems",
]


@schemathesis.check
def errors_are_problems(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Every refusal is a problem by the book, of a kind that is known and of its status."""
    if response.status_code >= 400:
        assert response.headers["content-type"] == [MEDIA_TYPE]
        told = response.json()
        kind = PROBLEMS[told["type"].removeprefix("urn:recgan:problem:")]
        assert (told["status"], told["title"]) == (kind.status, kind.title)
        assert kind.status == response.status_code
        assert told["detail"]


_asked: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Let three in four valid requests of an operation be for what there is."""
    if case.method.upper() == "DELETE":  # what the other requests are for is still there afterwards
        case.path_parameters = {name: SPARE.get(value, value) for name, value in (case.path_parameters or {}).items()}
    valid = case.meta is not None and case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE
    if valid and case.method.upper() != "DELETE" and next(_asked[case.operation.label]) % 4 < 3:
        if case.operation.label != "PUT /v1/designs/{design_id}":  # which is for what there is not yet
            case.path_parameters = known(case.path_parameters)
        case.query = known(case.query)
        if (case.media_type or "").startswith("image/"):
            kwargs["data"] = PICTURE
        else:
            case.body = known(case.body)


def known(value: Any) -> Any:
    """Return a value in which what has a name that is known is what there is in this world."""
    if isinstance(value, dict):
        return {name: KNOWN.get(name, known(inner)) for name, inner in value.items()}
    if isinstance(value, list):
        return [known(inner) for inner in value]
    return value


@dataclass
class Answers:
    """What came of many requests."""

    faults: list[str] = field(default_factory=list)
    """What of the answers is not as the document says."""
    statuses: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """With which statuses each operation was answered."""


def ask(server: Server, *, examples: int, thorough: bool) -> Answers:
    """Ask for each operation of the document ``examples`` times; thoroughly: also at all of its bounds, and for several
    in a row, with what the answers before have told."""
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=schemathesis.Config(seed=1))
    document.config.continue_on_failure = True
    document.config.request_timeout = PATIENCE
    document.config.generation.max_examples = examples
    document.config.phases.coverage.enabled = document.config.phases.stateful.enabled = thorough
    document.config.checks.update(included_check_names=CHECKS)
    answers = Answers()
    for event in from_schema(document).execute():
        if isinstance(event, events.NonFatalError):
            answers.faults.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.ScenarioFinished):
            recorded = event.recorder
            for id, checks in recorded.checks.items():
                failed = [one.failure_info.failure for one in checks if one.failure_info is not None]
                answers.faults += [f"{recorded.cases[id].value.as_curl_command()}: {one}" for one in failed]
            for id, interaction in recorded.interactions.items():
                if interaction.response is not None:
                    answers.statuses[recorded.cases[id].value.operation.label].add(interaction.response.status_code)
    return answers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with all its parts, and a design that is done."""
    folder = tmp_path_factory.mktemp("service")
    bundle = write_catalogue(folder / "bundle").path
    parts = {"gaps": write_gaps(folder / "gaps"), "blindtest": write_test(folder / "test")}
    server = Server(bundle, f"sqlite:///{folder}/store.sqlite", **parts)
    for name in ("done", SPARE["done"]):
        server.client.put(f"/v1/designs/{name}", json={"user_id": "anna", "category": "coats", "n": 1})
        until(lambda name=name: server.client.get(f"/v1/designs/{name}").json()["state"] == "succeeded")
    yield server
    server.kill()


@pytest.mark.parametrize(
    ("examples", "thorough"), [(4, False), pytest.param(300, True, marks=pytest.mark.slow, id="slow")]
)
def test_answers_are_as_the_document_says(server, examples, thorough):
    answers = ask(server, examples=examples, thorough=thorough)
    assert not answers.faults, "\n\n".join(answers.faults)
    documented = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in documented.items() for method in methods}
    assert set(answers.statuses) == operations
    well = {name for name, statuses in answers.statuses.items() if min(statuses) < 300}
    assert operations - well <= NEVER
    assert server.client.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        b"GET /v1/items/a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/items HTTP/1.1\r\nHost: x\r\nX-Nul: a\x00b\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
        b"GET /v1/items?category=" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["tls", "nul-in-path", "nul-in-head", "bad-length", "bad-chunk", "long-head"],
)
def test_what_is_no_http_is_answered_with_a_problem(server, sent):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        told = json.loads(answer.read())
        assert (answer.status, answer.headers["Content-Type"]) == (400, MEDIA_TYPE)
        assert (told["type"], told["status"]) == ("urn:recgan:problem:bad-request", 400)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert connection.recv(1) == b""
    assert server.client.get("/health/ready").status_code == 200
