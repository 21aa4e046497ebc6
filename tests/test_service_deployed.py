"""What the service is deployed with: the Dockerfile and the compose file name only what there is; and traces."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from recgan.cli.run import run
from recgan.errors import SettingsError
from service.settings import PREFIX, ServiceSettings, service_settings
from tests.service_world import World, running, until

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return read


# ---- Dockerfile and compose


def test_the_compose_file_s_settings_are_settings(compose, monkeypatch):
    environment = compose["services"]["service"]["environment"]
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    assert set(environment) - set(ours) == {"PGPASSWORD"}
    for name, value in ours.items():
        assert isinstance(value, str), f"{name} is no text: YAML read {value!r}"
        monkeypatch.setenv(name, value)
    settings = service_settings()
    assert (settings.workers, settings.data) == (2, Path("/models/catalogue"))
    assert settings.needs_keys
    assert settings.store_url == "postgresql://recgan@store/recgan"
    assert settings.shutdown_seconds < int(compose["services"]["service"]["stop_grace_period"].removesuffix("s"))
    for commented in re.findall(rf"# ({PREFIX}\w+):", (ROOT / "compose.yaml").read_text()):
        assert commented.removeprefix(PREFIX).lower() in ServiceSettings.model_fields


def test_the_compose_file_s_parts_fit_together(compose):
    service, store = compose["services"]["service"], compose["services"]["store"]
    assert service["depends_on"] == {"store": {"condition": "service_healthy"}}
    host = re.search(r"@(\w+)/(\w+)", service["environment"]["RECGAN_SERVICE_STORE"])
    assert host is not None
    assert (host[1], host[2]) == ("store", store["environment"]["POSTGRES_DB"])
    assert service["environment"]["PGPASSWORD"] == store["environment"]["POSTGRES_PASSWORD"]
    assert [volume.split(":")[0] for volume in store["volumes"]] == list(compose["volumes"])
    exposed = re.search(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert exposed is not None
    assert service["ports"] == [f"{exposed[1]}:{exposed[1]}"]
    assert int(exposed[1]) == ServiceSettings.model_fields["port"].default


def test_the_dockerfile_copies_and_runs_what_there_is():
    text = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().split()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r'pip install \S+ "\.\[(.+)\]"', text)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
    for needed in re.findall(r'"(torch\S*?>=\S+?)"', text):
        assert needed in project["dependencies"]
    command = [json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.+\])$", text, re.M)]
    assert command[0] == ["recgan"]
    assert command[0][0] in project["scripts"]
    assert run([*command[1], "--help"]) == 0
    for variable in re.findall(rf"{PREFIX}\w+", text):
        assert variable.removeprefix(PREFIX).lower() in ServiceSettings.model_fields


def test_what_is_served_may_come_from_the_environment_and_is_asked_for_if_not(monkeypatch, capsys):
    monkeypatch.setenv(f"{PREFIX}DATA", "/models/catalogue")
    assert run(["serve"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "recommender is not given; pass --recommender or set RECGAN_SERVICE_RECOMMENDER" in told


# ---- traces


TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A collector of traces, which OpenTelemetry is told of by its own variables; what it was sent."""
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="no OpenTelemetry: pip install 'recgan[otel]'"
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    sent: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *told: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    yield sent
    server.shutdown()
    server.server_close()


def spans_of(sent: list[Any]) -> dict[str, Any]:
    """All spans by name."""
    return {
        span.name: span
        for request in sent
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def test_a_request_is_a_span_of_the_trace_that_it_came_with(catalogue, collector):
    with running(catalogue, otel=True) as world:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "mine"}
        assert world.client.get("/v1/users/anna/recommendations", params={"k": 3}, headers=headers).status_code == 200
        broken(world)
        assert world.client.get("/v1/users/b%2Fc/recommendations", headers=headers).status_code == 500
        assert world.client.get("/v1/items/none").status_code == 404
    until(lambda: len(spans_of(collector)) == 2)  # what was not sent yet is at the end
    route = "/v1/users/{user_id:id}/recommendations"
    spans = [span for span in every(collector) if span.name == f"GET {route}"]
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in spans} == {(TRACE, PARENT)}
    told = [{one.key: one.value for one in span.attributes} for span in spans]
    assert [one["http.response.status_code"].int_value for one in told] == [200, 500]
    assert [span.status.code for span in spans] == [0, 2]
    assert {one["recgan.request_id"].string_value for one in told} == {"mine"}
    other = spans_of(collector)["GET /v1/items/{item_id:id}"]
    assert other.trace_id.hex() != TRACE
    assert other.status.code == 0  # a 404 is no error of the service's
    assert "anna" not in str(collector)
    assert "none" not in str(collector)
    resource = {one.key: one.value.string_value for one in collector[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "recgan"


def every(sent: list[Any]) -> list[Any]:
    """All spans, in their order."""
    return [
        span
        for request in sent
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def broken(world: World) -> None:
    """Let recommendations fail."""

    def fail(*given: Any, **options: Any) -> None:
        raise ZeroDivisionError

    world.recommender.recommend = fail  # type: ignore[assignment, method-assign]


def test_without_opentelemetry_one_line_says_so(catalogue, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"^otel=True: .* is not installed; pip install 'recgan\[otel\]', or "):
        running(catalogue, otel=True).__enter__()
