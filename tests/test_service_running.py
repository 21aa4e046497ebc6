"""The running service: its event loop, its threads, its start, health, settings and end."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from recgan.errors import ArtifactError, MismatchError, SettingsError, StorageError
from service.app import create_app
from service.logs import JsonLines, TextLines, request_id
from service.settings import ServiceSettings, service_settings
from service.web import Web
from tests.service_world import PATIENCE, assert_problem, design, finished, running

# ---- the event loop


def test_the_loop_answers_while_a_search_and_all_request_threads_are_busy(catalogue):
    with running(catalogue, request_threads=1) as world, ThreadPoolExecutor(2) as pool:
        world.designer.release.clear()
        url = world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"}).headers["location"]
        assert world.designer.entered.wait(PATIENCE)
        # While the search holds its worker, recommendations are computed …
        other = pool.submit(world.client.get, "/v1/users/anna/recommendations").result(PATIENCE)
        assert other.status_code == 200
        # … and while a computation holds the only request thread, too, the loop still answers.
        entered, release = threading.Event(), threading.Event()

        def slow(*given, **options):
            entered.set()
            assert release.wait(PATIENCE)
            return [[]]

        world.recommender.recommend = slow  # type: ignore[method-assign]
        slow_answer = pool.submit(world.client.get, "/v1/users/anna/recommendations")
        try:
            assert entered.wait(PATIENCE)
            assert pool.submit(world.client.get, "/health/live").result(PATIENCE).json() == {"status": "live"}
            assert pool.submit(world.client.get, "/health/ready").result(PATIENCE).status_code == 200
            assert not slow_answer.done()
        finally:
            release.set()
        assert slow_answer.result(PATIENCE).json()["items"] == []
        world.designer.release.set()
        assert finished(world, url)["state"] == "succeeded"


def test_requests_and_designs_have_their_own_numbers_of_torch_threads(catalogue):
    before, seen = torch.get_num_threads(), {}
    with running(catalogue, torch_threads=2, design_threads=3) as world:
        recommend, make = world.recommender.recommend, world.designer.design

        def recommend_and_look(*given, **options):
            seen["request"] = torch.get_num_threads()
            return recommend(*given, **options)

        def design_and_look(*given, **options):
            seen["design"] = torch.get_num_threads()
            return make(*given, **options)

        world.recommender.recommend = recommend_and_look  # type: ignore[method-assign]
        world.designer.design = design_and_look  # type: ignore[method-assign]
        assert design(world)["state"] == "succeeded"
        assert world.client.get("/v1/users/anna/recommendations").status_code == 200
    assert seen == {"request": 2, "design": 3}
    assert torch.get_num_threads() == before


# ---- start and health


def settings_of(folder: Path) -> ServiceSettings:
    return ServiceSettings(data=folder / "data", recommender=folder, gan=folder, design_worker="thread")


def test_the_service_lives_before_it_is_ready(tmp_path):
    release = threading.Event()

    def load(settings, progress):
        progress("loading the recommender", 1, 3)
        assert release.wait(PATIENCE)
        raise MismatchError("recommender and bundle differ, in /srv/secret")

    told = threading.Event()
    app = create_app(settings_of(tmp_path), load=load, on_load_failure=told.set)
    with TestClient(app) as client:
        assert client.get("/health/live").status_code == 200
        early = client.get("/health/ready")
        assert early.status_code == 503
        assert early.json()["status"] == "not ready"
        waiting = client.get("/v1/users/anna/recommendations")
        assert_problem(waiting, "loading")
        assert int(waiting.headers["retry-after"]) >= 1
        assert client.get("/version").json()["model"] is None
        assert client.get("/").status_code == 200
        assert not told.is_set()
        release.set()
        assert told.wait(PATIENCE)
        app.state.service.holder.wait(PATIENCE)
        late = client.get("/health/ready")
        assert late.status_code == 503
        assert late.json()["reasons"] == ["the models could not be loaded; the service's log says why"]
        assert "secret" not in client.get("/v1/users/anna/recommendations").text
    assert isinstance(app.state.service.holder.failure, MismatchError)


class _NoRoom:
    """A design worker that cannot start."""

    alive = False

    def start(self):
        raise StorageError("the store has no room left: free some space")

    def close(self, timeout):
        return True


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"patient": True}, "the models cannot be loaded: 'runs/vbpr' does not exist"),
        ({"worker": _NoRoom()}, "the store has no room left: free some space"),
    ],
)
def test_a_start_that_fails_as_it_may_is_logged_on_one_line(tmp_path, monkeypatch, caplog, given, told):
    def load(settings, progress):
        raise ArtifactError("'runs/vbpr' does not exist")

    monkeypatch.setattr("service.web.log_config", lambda form: None)
    web = Web(settings_of(tmp_path), load, **given)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(SystemExit):
        web.run(listener)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == [told, "Application startup failed. Exiting."]
    assert not any(record.exc_info for record in errors)


def test_a_ready_service_says_so_and_what_it_runs(world):
    assert world.client.get("/health/ready").json() == {"status": "ready", "reasons": []}
    version = world.client.get("/version").json()
    assert version["api"] == "v1"
    assert version["model"] == {
        "catalogue": world.service.holder.get().catalogue.digest,
        "recommender": "r" * 64,
        "generator": "g" * 64,
    }


def test_stopping_interrupts_what_runs_and_keeps_what_waits(catalogue, tmp_path):
    entered = threading.Event()

    def endless(*given, progress, **options):
        while True:
            progress("climbing", 1)
            entered.set()

    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with running(catalogue, store=url) as world:
        world.designer.design = endless  # type: ignore[method-assign]
        first, second = (
            world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"}).json()["id"]
            for _ in range(2)
        )
        assert entered.wait(PATIENCE)
        worker = world.service.worker
    assert not worker.alive
    with running(catalogue, store=url) as world:
        assert finished(world, f"/v1/designs/{second}")["state"] == "succeeded"
        assert world.client.get(f"/v1/designs/{first}").json()["state"] == "interrupted"
        assert world.client.post(f"/v1/designs/{first}/retry").json()["attempt"] == 2
        assert finished(world, f"/v1/designs/{first}")["state"] == "succeeded"


def test_a_variable_of_the_environment_is_a_setting_and_a_wrong_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("RECGAN_SERVICE_PORT", "9001")
    assert service_settings(data=tmp_path, recommender=tmp_path, host=None).port == 9001
    assert service_settings(data=tmp_path, recommender=tmp_path, port=9002).port == 9002
    with pytest.raises(
        SettingsError, match="recommender is not given; pass --recommender or set RECGAN_SERVICE_RECOMM"
    ):
        service_settings(data=tmp_path)
    assert service_settings(data=tmp_path, recommender=tmp_path, index="hnsw,search_width=64").index.startswith("hnsw")
    with pytest.raises(SettingsError, match=r"^index='hsnw': there is no index 'hsnw'; did you mean 'hnsw'\?$"):
        service_settings(data=tmp_path, recommender=tmp_path, index="hsnw")
    with pytest.raises(SettingsError, match=r"no service setting 'prot'; did you mean 'port'\?"):
        service_settings(data=tmp_path, recommender=tmp_path, prot=1)
    monkeypatch.setenv("RECGAN_SERVICE_PORT", "99999")
    with pytest.raises(SettingsError, match="port='99999'"):
        service_settings(data=tmp_path, recommender=tmp_path)
    monkeypatch.setenv("RECGAN_SERVICE_HOTS", "::")
    with pytest.raises(SettingsError, match=r"RECGAN_SERVICE_HOTS: there is no such setting; did you mean 'host'\?"):
        service_settings(data=tmp_path, recommender=tmp_path)


def test_artifacts_may_lie_on_an_object_store_and_what_is_read_in_pieces_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECGAN_SERVICE_GAN", "s3://models/gan")
    settings = service_settings(data="file:///shop/data", recommender="runs/vbpr", inverter="file:///shop/inverter")
    assert settings.data == Path("/shop/data")
    assert (settings.recommender, settings.gan) == (str(tmp_path / "runs" / "vbpr"), "s3://models/gan")
    assert settings.inverter == "/shop/inverter"
    for part in ("data", "gaps", "blindtest"):
        told = rf"^{part}='s3://models/x': it is read from a folder of this machine; copy it there, and give its path$"
        with pytest.raises(SettingsError, match=told):
            service_settings(**{"data": tmp_path, "recommender": tmp_path, part: "s3://models/x"})


def test_a_bug_is_answered_without_its_inside_and_logged(world, caplog):
    def broken(*given, **options):
        raise ZeroDivisionError("the secret of /srv/model")

    world.recommender.recommend = broken  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR, logger="recgan.service"):
        answer = world.client.get("/v1/users/anna/recommendations")
    assert_problem(answer, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "the secret of /srv/model" in caplog.text


# ---- the log


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A function that returns what has been logged so far as JSON lines, each read back."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("recgan.service")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_every_answer_carries_the_request_s_id_and_makes_one_line(world, lines):
    asked = [("/v1/items/a%2Fb", "shop-1"), ("/v1/items/none", "a/b:c=d"), ("/nowhere", "x" * 128)]
    for path, id in asked:
        assert world.client.get(path, headers={"X-Request-ID": id}).headers["X-Request-ID"] == id
    told = [(line["request_id"], line["method"], line["route"], line["status"], line["level"]) for line in lines()]
    route = "/v1/items/{item_id:id}"
    assert told == [
        ("shop-1", "GET", route, 200, "info"),
        ("a/b:c=d", "GET", route, 404, "info"),
        ("x" * 128, "GET", "none", 404, "info"),
    ]
    assert all(0 < line["seconds"] < PATIENCE for line in lines())
    assert {line["message"].split()[0] for line in lines()} == {"GET"}
    world.client.get("/health/live")
    assert lines()[-1]["level"] == "debug"  # probes come every few seconds


@pytest.mark.parametrize("id", ["", "two words", "x" * 129, 'a"b', "käse"])
def test_an_id_that_a_log_cannot_take_is_replaced(world, id):
    first, second = (world.client.get("/health/live", headers={"X-Request-ID": id.encode()}) for _ in range(2))
    ids = [answer.headers["X-Request-ID"] for answer in (first, second)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert ids[0] != ids[1]


def test_an_error_is_one_line_under_the_id_of_the_request_whose_thread_it_broke(world, lines):
    def broken(*given, **options):
        raise ZeroDivisionError("over\ntwo lines")

    world.recommender.recommend = broken  # type: ignore[method-assign]
    answer = world.client.get("/v1/users/anna/recommendations", headers={"X-Request-ID": "mine"})
    assert answer.headers["X-Request-ID"] == "mine"
    error, request = lines()
    assert (error["request_id"], error["level"], error["logger"]) == ("mine", "error", "recgan.service")
    assert "ZeroDivisionError: over\ntwo lines" in error["error"]
    assert (request["request_id"], request["status"]) == ("mine", 500)


def test_a_person_reads_the_id_behind_the_message():
    record = logging.LogRecord("recgan", logging.INFO, "", 0, "%d items", (3,), None)
    token = request_id.set("mine")
    try:
        assert TextLines("%(levelprefix)s %(message)s", use_colors=False).format(record) == "INFO:     3 items [mine]"
    finally:
        request_id.reset(token)
    assert TextLines("%(message)s", use_colors=False).format(record) == "3 items"
