"""Each refusal of the API is a problem with its stable type; and the OpenAPI document tells the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
import torch

from recgan import errors
from service import schemas as wire
from service.problems import PROBLEMS, problem_of
from service.schemas.requests import StrictBody
from tests.service_world import World, assert_problem, running, write_catalogue


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One running service for all refusals, which leave no trace."""
    with running(
        write_catalogue(tmp_path_factory.mktemp("service") / "bundle"), max_body_bytes=2000, max_upload_bytes=2000
    ) as world:
        yield world


@pytest.mark.parametrize(
    ("path", "slug", "detail"),
    [
        ("/nothing", "no-such-path", "no resource has this path"),
        ("/v1/users/nobody/recommendations", "unknown-user", "there is no user 'nobody': neither in this model, nor"),
        ("/v1/items/nothing", "unknown-item", "there is no item 'nothing'"),
        ("/v1/items/nothing/image", "unknown-item", "there is no item 'nothing'"),
        ("/v1/items/nothing/similar", "unknown-item", "there is no item 'nothing'"),
        ("/v1/items/bare/image", "not-found", "item 'bare' has no picture"),
        # A slash that is not encoded is no part of an id.
        ("/v1/items/a/b/image", "no-such-path", "written %2F"),
    ],
)
def test_what_is_not_there(world, path, slug, detail):
    body = assert_problem(world.client.get(path), slug)
    assert detail in body["detail"]
    assert body["instance"] == path


@pytest.mark.parametrize(
    ("path", "pointer", "detail"),
    [
        ("/v1/users/anna/recommendations?k=0", "?k", "greater than or equal to 1"),
        ("/v1/users/anna/recommendations?k=501", "?k", "less than or equal to 500"),
        ("/v1/users/anna/recommendations?k=many", "?k", "valid integer"),
        ("/v1/users/anna/recommendations?exclude_seen=maybe", "?exclude_seen", "valid boolean"),
        (
            "/v1/users/anna/recommendations?category=coat",
            "?category",
            "there is no category 'coat'; did you mean 'coats'?",
        ),
        ("/v1/users/anna/recommendations?catgory=coats", "?catgory", "did you mean 'category'?"),
        ("/v1/items?category=zebra", "?category", "GET /v1/categories lists them"),
        ("/v1/items?limit=501", "?limit", "less than or equal to 500"),
        ("/v1/items?cursor=zzz", "?cursor", "not a cursor of this service"),
        ("/v1/items?cursor=eyJ2IjoiYSIsImEiOi0xfQ", "?cursor", "not a cursor of this service"),
        ("/v1/items?cursor=eyJ2IjoiYSIsImEiOjF9", "?cursor", "belongs to another version"),
        # {"v":"designs","a":2**63}
        ("/v1/designs?cursor=eyJ2IjoiZGVzaWducyIsImEiOjkyMjMzNzIwMzY4NTQ3NzU4MDh9", "?cursor", "not a cursor of this"),
        ("/v1/users?cursor=%ff", "?cursor", "not a cursor of this service"),
        ("/v1/items/%00", "{item_id}", "NUL"),
        ("/v1/items/%FF", "{item_id}", "unicode"),
        (f"/v1/items/{'x' * 513}", "{item_id}", "at most 512 characters"),
        (f"/v1/users/{quote('ü' * 513)}/recommendations", "{user_id}", "at most 512 characters"),
    ],
)
def test_paths_and_queries_that_are_not_valid(world, path, pointer, detail):
    body = assert_problem(world.client.get(path), "invalid-request")
    assert [fault["pointer"] for fault in body["errors"]] == [pointer]
    assert detail in body["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("path", "sent", "pointer", "detail"),
    [
        ("/v1/sessions/recommendations", {}, "/liked", "give liked items or photos"),
        ("/v1/sessions/recommendations", {"liked": []}, "/liked", "give liked items or photos"),
        ("/v1/sessions/recommendations", {"liked": "plain"}, "/liked", "valid list"),
        ("/v1/sessions/recommendations", {"liked": [7]}, "/liked/0", "valid string"),
        ("/v1/sessions/recommendations", {"liked": ["plain", "a\x00b"]}, "/liked/1", "NUL"),
        ("/v1/sessions/recommendations", {"liked": ["plain", "nope"]}, "/liked/1", "there is no item 'nope'"),
        ("/v1/sessions/recommendations", {"liked": ["plain"], "dislikd": []}, "/dislikd", "did you mean 'disliked'?"),
        (
            "/v1/sessions/recommendations",
            {"liked": ["plain"], "disliked": ["plain"]},
            "/disliked",
            "both liked and disliked",
        ),
        (
            "/v1/sessions/recommendations",
            {"liked": ["plain"], "categories": ["hat"]},
            "/categories",
            "did you mean 'hats'?",
        ),
        ("/v1/designs", {"category": "coats"}, "/user_id", "either 'user_id', or 'liked'"),
        (
            "/v1/designs",
            {"category": "coats", "user_id": "anna", "liked": ["plain"]},
            "/user_id",
            "either 'user_id', or",
        ),
        ("/v1/designs", {"user_id": "anna"}, "/category", "name the category to design"),
        ("/v1/designs", {"user_id": "anna", "category": "coat"}, "/category", "did you mean 'coats'?"),
        ("/v1/designs", {"user_id": "anna", "category": "hats"}, "/category", "the generator does not know"),
        ("/v1/designs", {"user_id": "anna", "category": "coats", "n": 0}, "/n", "greater than or equal to 1"),
        ("/v1/designs", {"user_id": "anna", "category": "coats", "n": 33}, "/n", "less than or equal to 32"),
        ("/v1/designs", {"user_id": "anna", "category": "coats", "seed": -1}, "/seed", "greater than or equal to 0"),
        ("/v1/designs", {"user_id": "anna", "category": "coats", "seed": 2**53}, "/seed", "less than or equal to"),
        (
            "/v1/designs",
            {"user_id": "anna", "category": "coats", "preset": "defualt"},
            "/preset",
            "did you mean 'default'?",
        ),
        ("/v1/designs", {"user_id": "anna", "category": "coats", "a/b~c": 1}, "/a~1b~0c", "there is no field 'a/b~c'"),
        ("/v1/designs", [], "", "send a JSON object"),
        # What is documented as a number, a truth value or a time is not read out of something else.
        ("/v1/sessions/recommendations", {"liked": ["plain"], "k": "20"}, "/k", "valid integer"),
        ("/v1/sessions/recommendations", {"liked": ["plain"], "k": True}, "/k", "valid integer"),
        ("/v1/sessions/recommendations", {"liked": ["plain"], "k": 2.5}, "/k", "valid integer"),
        ("/v1/designs", {"user_id": "anna", "category": "coats", "realism": "1"}, "/realism", "valid number"),
        (
            "/v1/items",
            {"items": [{"item_id": "x", "category": "hats", "available": 1}]},
            "/items/0/available",
            "boolean",
        ),
        (
            "/v1/events",
            {"events": [{"user_id": "anna", "item_id": "plain", "timestamp": 1_700_000_000}]},
            "/events/0/timestamp",
            "a time is text",
        ),
    ],
)
def test_bodies_that_are_not_valid(world, path, sent, pointer, detail):
    body = assert_problem(world.client.post(path, json=sent), "invalid-request")
    assert body["errors"][0]["pointer"] == pointer
    assert detail in body["errors"][0]["detail"]
    assert body["errors"][0]["detail"] in body["detail"]


def test_a_whole_number_may_be_written_with_a_point(world):
    asked = {"liked": ["plain"], "k": 2.0}
    assert len(world.client.post("/v1/sessions/recommendations", json=asked).json()["items"]) == 2


def test_a_design_for_an_unknown_user_is_refused_at_once(world):
    assert_problem(world.client.post("/v1/designs", json={"user_id": "nobody", "category": "coats"}), "unknown-user")


def test_bodies_that_are_no_json(world):
    def post(content: bytes, media_type: str | None = "application/json"):
        headers = {"Content-Type": media_type} if media_type else {}
        return world.client.post("/v1/designs", content=content, headers=headers)

    body = assert_problem(post(b'{"user_id": '), "invalid-request")
    assert body["errors"][0]["detail"].startswith("not JSON at character 12")
    assert_problem(post(b'"\xff"'), "bad-request")
    assert_problem(post(b"{}", "text/plain"), "unsupported-media-type")
    assert_problem(post(b"{}", None), "unsupported-media-type")
    assert_problem(post(b'{"category": "\\ud800", "user_id": "anna"}'), "invalid-request")
    assert post(b"[" * 1900).status_code in (400, 422)  # too deep for the parser, or never closed: it depends on Python


def test_other_methods_are_told_which_there_are(world):
    for path, method, allowed in [
        ("/v1/items", "PATCH", "GET, POST, HEAD"),
        ("/v1/designs", "PUT", "GET, POST, HEAD"),
        ("/v1/designs/x", "POST", "DELETE, GET, PUT, HEAD"),
        ("/v1/items/a%2Fb", "POST", "DELETE, GET, PATCH, PUT, HEAD"),
        ("/v1/events", "GET", "POST"),
        ("/health/live", "DELETE", "GET, HEAD"),
        ("/static/page.css", "POST", "GET, HEAD"),
        ("/v1/models/rollback", "GET", "POST"),
    ]:
        answer = world.client.request(method, path)
        assert_problem(answer, "method-not-allowed")
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/", "/v1/items", "/v1/items/plain/image", "/health/live", "/static/page.css", "/v1/items/nothing"]
)
def test_head_answers_as_get_without_the_content(world, path):
    same = {"X-Request-ID": "the-same"}  # otherwise each answer has an id of its own
    whole, head = world.client.get(path, headers=same), world.client.head(path, headers=same)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers == whole.headers


@pytest.mark.parametrize(
    ("asked", "slug"),
    [("bytes=999999999-", "no-such-range"), ("bytes=9-2", "bad-request"), ("ells=1-2", "bad-request")],
)
def test_a_range_that_cannot_be_served_is_a_problem(world, asked, slug):
    answer = world.client.get("/static/page.css", headers={"Range": asked})
    assert "ask for another range" in assert_problem(answer, slug)["detail"]
    length = len(world.client.get("/static/page.css").content)
    assert answer.headers.get("content-range") == (f"bytes */{length}" if slug == "no-such-range" else None)
    assert world.client.head("/static/page.css", headers={"Range": asked}).status_code == answer.status_code
    part = world.client.get("/static/page.css", headers={"Range": "bytes=1-2"})
    assert (part.status_code, len(part.content)) == (206, 2)


def test_a_slash_too_many_is_no_redirect_to_the_host_that_the_request_names(world):
    for path in ("/v1/users/", "/v1/items/plain/", "/v1/users/anna/recommendations/"):
        answer = world.client.get(path, headers={"Host": "elsewhere.example"}, follow_redirects=False)
        assert_problem(answer, "no-such-path")


def test_a_body_over_the_limit_is_refused_whether_its_length_is_announced_or_not(world):
    asked = {"user_id": "anna", "category": "coats", "liked": []}
    fits = json.dumps(asked).encode()
    fits += b" " * (2000 - len(fits))
    headers = {"Content-Type": "application/json"}

    def post(content):
        return world.client.post("/v1/designs", content=content, headers=headers)

    assert post(fits).status_code == 202
    assert_problem(post(fits + b" "), "body-too-large")
    chunks = [fits[:1000], fits[1000:]]
    assert post(iter(chunks)).status_code == 202
    answer = post(iter([*chunks, b" "]))
    assert_problem(answer, "body-too-large")
    assert answer.headers["connection"] == "close"


def test_every_answer_has_the_security_headers(world):
    for path in ("/", "/health/live", "/v1/items", "/v1/items/plain/image", "/nothing", "/static/js/main.js"):
        answer = world.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/v1/items", "/v1/users/anna/recommendations", "/nothing"):
        assert world.client.get(path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (errors.NotFoundError("no x"), "not-found"),
        (errors.SettingsError("no x"), "invalid-setting"),
        (errors.DataError("no x"), "invalid-data"),
        (errors.ImageRefused("corrupt", "no x"), "refused-picture"),
        (errors.MismatchError("no x"), "mismatch"),
        (errors.ArtifactError("no x"), "unusable-artifact"),
        (errors.DeviceError("no x"), "refused"),
        (errors.RecganError("no x"), "refused"),
    ],
)
def test_an_error_of_ours_keeps_its_message_and_its_status(error, slug):
    told = problem_of(error)
    assert (told.type, told.status, told.detail) == (f"urn:recgan:problem:{slug}", error.http_status, "no x")


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (errors.TrainingError("/srv/secret"), "internal"),
        (errors.StorageError("/srv/secret"), "storage"),
        (MemoryError("/srv/secret"), "no-memory"),
        (torch.OutOfMemoryError("/srv/secret"), "no-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory at /srv/secret"), "no-memory"),
        (RuntimeError("/srv/secret"), "internal"),
        (OSError("/srv/secret"), "internal"),
        (KeyError("/srv/secret"), "internal"),
    ],
)
def test_a_fault_of_ours_is_told_without_its_inside(error, slug):
    told = problem_of(error)
    assert (told.type, told.status) == (f"urn:recgan:problem:{slug}", PROBLEMS[slug].status)
    assert "secret" not in told.model_dump_json()


# ---- the OpenAPI document


def document(world: World) -> dict:
    answer = world.client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def references(node) -> Iterator[str]:
    """Yield every ``$ref`` in a document."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_document_holds_what_it_refers_to_and_nothing_of_the_framework_s_own_errors(world):
    schemas = document(world)["components"]["schemas"]
    assert {"#/components/schemas/" + name for name in schemas} >= set(references(document(world)))
    assert "HTTPValidationError" not in schemas
    assert set(schemas["Problem"]["required"]) == {"type", "title", "status", "detail"}


def test_every_path_that_is_served_is_documented(world):
    assert {(method, path) for path, methods in document(world)["paths"].items() for method in methods} == {
        ("get", "/health/live"),
        ("get", "/health/ready"),
        ("get", "/metrics"),
        ("get", "/version"),
        ("get", "/v1/categories"),
        ("get", "/v1/items"),
        ("post", "/v1/items"),
        ("get", "/v1/items/{item_id}"),
        ("put", "/v1/items/{item_id}"),
        ("patch", "/v1/items/{item_id}"),
        ("delete", "/v1/items/{item_id}"),
        ("get", "/v1/items/{item_id}/image"),
        ("put", "/v1/items/{item_id}/image"),
        ("get", "/v1/items/{item_id}/similar"),
        ("post", "/v1/events"),
        ("get", "/v1/users"),
        ("get", "/v1/users/{user_id}"),
        ("delete", "/v1/users/{user_id}"),
        ("get", "/v1/users/{user_id}/recommendations"),
        ("post", "/v1/sessions/recommendations"),
        ("post", "/v1/search"),
        ("get", "/v1/models"),
        ("get", "/v1/models/{model_id}"),
        ("post", "/v1/models/{model_id}/activate"),
        ("post", "/v1/models/rollback"),
        ("get", "/v1/designs"),
        ("post", "/v1/designs"),
        ("put", "/v1/designs/{design_id}"),
        ("get", "/v1/designs/{design_id}"),
        ("delete", "/v1/designs/{design_id}"),
        ("post", "/v1/designs/{design_id}/cancel"),
        ("post", "/v1/designs/{design_id}/retry"),
        ("get", "/v1/designs/{design_id}/events"),
        ("get", "/v1/designs/{design_id}/all.zip"),
        ("get", "/v1/designs/{design_id}/{index}.webp"),
        ("get", "/v1/designs/{design_id}/{index}.json"),
        ("patch", "/v1/designs/{design_id}/{index}"),
        ("get", "/v1/designs/{design_id}/{index}.png"),
        ("get", "/v1/editing"),
        ("get", "/v1/editing/directions/{number}.png"),
        ("get", "/v1/gaps"),
        ("get", "/v1/gaps/{index}.png"),
        ("post", "/blindtest/votes"),
    }


def test_a_service_that_asks_for_no_keys_says_so(world):
    assert "securitySchemes" not in document(world)["components"]
    assert not [one for methods in document(world)["paths"].values() for one in methods.values() if "security" in one]


def test_every_operation_is_described_and_its_problems_are_documented(world):
    tags = {tag["name"] for tag in document(world)["tags"]}
    for path, methods in document(world)["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]
            assert set(operation["tags"]) <= tags
            if not path.startswith("/v1"):
                continue
            for status in ("400", "401", "403", "413", "422", "429", "500", "503", "507"):
                assert set(operation["responses"][status]["content"]) == {"application/problem+json"}
            for status, response in operation["responses"].items():
                for example in (
                    response.get("content", {}).get("application/problem+json", {}).get("examples", {}).values()
                ):
                    assert example["value"]["status"] == int(status)
                    assert example["value"]["type"].rpartition(":")[2] in PROBLEMS


def test_requests_have_examples_and_fields_are_described(world):
    schemas = document(world)["components"]["schemas"]
    for name in (
        "SessionRequest",
        "DesignRequest",
        "ItemPut",
        "ItemBatch",
        "ItemChange",
        "EventBatch",
        "DesignVerdict",
    ):
        assert schemas[name]["examples"]
        assert schemas[name]["additionalProperties"] is False
    for name, schema in schemas.items():
        for field, described in schema.get("properties", {}).items():
            assert described.get("description"), f"{name}.{field}"


def examples(node, place: str = "") -> Iterator[tuple[str, dict, Any]]:
    """Yield where each example of a document is, the schema that it is one of, and the example."""
    if isinstance(node, list):
        for number, value in enumerate(node):
            yield from examples(value, f"{place}/{number}")
    elif isinstance(node, dict):
        shown, schema = node.get("examples"), node.get("schema", node)
        if isinstance(shown, dict):
            shown = [one["value"] for one in shown.values()]
        given = [*(shown or []), *([node["example"]] if "example" in node else [])]
        yield from ((place, schema, one) for one in given)
        for name, value in node.items():
            if name not in ("example", "examples"):
                yield from examples(value, f"{place}/{name}")


def test_every_example_is_one_of_what_it_is_beside(world):
    told = document(world)
    found = list(examples(told))
    assert len(found) > 150
    for place, schema, example in found:
        validator = jsonschema_rs.Draft202012Validator({**schema, "components": told["components"]})
        assert not [str(error) for error in validator.iter_errors(example)], place


def test_examples_of_requests_are_taken():
    kinds = [kind for kind in vars(wire).values() if isinstance(kind, type) and issubclass(kind, StrictBody)]
    shown = {kind: (kind.model_config.get("json_schema_extra") or {}).get("examples", []) for kind in kinds}
    for kind, ones in shown.items():
        for one in ones:
            kind.model_validate_json(json.dumps(one))
    assert {tuple(sorted(one)) for one in shown[wire.DesignRequest]} >= {
        ("category", "cohort", "n"),
        ("category", "edit", "n", "user_id"),  # of a photo
    }


def test_query_parameters_have_examples(world):
    without = {
        f"{path}?{parameter['name']}"
        for path, methods in document(world)["paths"].items()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] in ("query", "path")
        and not (parameter.get("examples") or parameter["schema"].get("examples"))
    }
    assert not without


def test_only_who_takes_json_refuses_other_media_types(world):
    for path, methods in document(world)["paths"].items():
        for operation in methods.values():
            takes = set(operation.get("requestBody", {}).get("content", {}))
            assert ("415" in operation["responses"]) == (takes == {"application/json"}), path
            assert ("408" in operation["responses"]) == bool(takes), path
