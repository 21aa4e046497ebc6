"""What must not hurt the service, done to one that runs: each time the right answer, and the service well afterwards.

How much memory it took is printed (``pytest -s``) and bounded.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import pickle
import socket
import sqlite3
import struct
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import event

from recgan.artifacts import Manifest, sha256_file
from recgan.config import SplitSettings
from recgan.dataset.split import make_split
from recgan.recommenders import create_recommender, training_data
from service.app import create_app
from service.holder import stored_model
from service.models import load_models
from service.settings import ServiceSettings
from tests.conftest import png
from tests.service_program import HUNGRY, LONG, Server
from tests.service_world import PATIENCE, assert_problem, design, finished, running, until, write_catalogue
from tests.shops import huge_png

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="memory is looked up as Linux has it")

QUEUE = 8
HEAD_SECONDS, BODY_SECONDS = 2.0, 4.0
POOLED = 16
"""Descriptors of the connections to the store that are kept: eight, each to the file and to its log."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose designs are made in a process of their own, and which waits for nobody for long."""
    folder = tmp_path_factory.mktemp("service")
    server = Server(
        write_catalogue(folder / "bundle").path,
        f"sqlite:///{folder / 'store.sqlite'}",
        design_worker="process",
        design_queue=QUEUE,
        header_seconds=HEAD_SECONDS,
        body_seconds=BODY_SECONDS,
    )
    (folder / "secret.txt").write_text("a secret")
    server.client.put("/v1/designs/first", json=asked())
    until(lambda: state(server, "first") == "succeeded")
    yield server
    server.kill()


def asked(seed: int = 7) -> dict:
    """A design request."""
    return {"user_id": "anna", "category": "coats", "n": 1, "seed": seed}


def state(server: Server, id: str) -> str:
    """What has become of a design."""
    told: str = server.client.get(f"/v1/designs/{id}").json()["state"]
    return told


@contextmanager
def unharmed(server: Server, megabytes: float) -> Iterator[None]:
    """Check that the service is well after what is done to it, has closed what it opened, and never took so many
    megabytes more than it had."""
    server.client.get("/v1/users/anna/recommendations").raise_for_status()
    descriptors, before = server.descriptors, server.begin_peak()
    yield
    grown = server.peak() - before
    print(f"at its most {grown:.0f} MB more")
    assert grown < megabytes
    assert server.client.get("/health/ready").json() == {"status": "ready", "reasons": []}
    assert server.client.get("/v1/users/anna/recommendations").status_code == 200
    until(lambda: server.descriptors <= descriptors + POOLED)


# ---- pictures


def bomb(side: int = 13_000) -> bytes:
    """A small file that holds 169 million pixels."""
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def archive() -> bytes:
    """A ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("payload.txt", "a payload")
    return buffer.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>'
DRAWN = png(np.full((40, 40, 3), 90, dtype=np.uint8))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (bomb(), "more than 25,000,000 pixels"),
        (huge_png(), "more than"),
        (SVG, "none of"),
        (b"GIF89a/*" + SVG + b"*/=1;alert(1)", "none of"),
        (archive() + DRAWN, "none of"),
        (b"\xff\xd8\xff\xe0" + SVG, "header cannot be read"),
    ],
    ids=["169-megapixels", "170-megapixels-claimed", "svg", "gif-and-script", "zip-then-png", "jpeg-and-svg"],
)
def test_a_picture_that_is_a_trap_is_refused_wherever_it_comes_in(server, data, told):
    text = base64.b64encode(data).decode()
    with unharmed(server, megabytes=64):
        for answer in (
            server.client.put("/v1/items/trap", json={"category": "hats", "image": text}),
            server.client.put("/v1/items/plain/image", content=data, headers={"Content-Type": "image/png"}),
            server.client.post("/v1/search", content=data, headers={"Content-Type": "image/png"}),
            server.client.post("/v1/sessions/recommendations", json={"photos": [text]}),
            server.client.post("/v1/designs", json={"category": "coats", "photos": [text]}),
        ):
            assert told in assert_problem(answer, "refused-picture")["detail"]


def test_of_a_picture_that_is_an_archive_too_the_pixels_alone_are_kept(server):
    with unharmed(server, megabytes=64):
        text = base64.b64encode(DRAWN + archive()).decode()
        assert server.client.put("/v1/items/both", json={"category": "hats", "image": text}).status_code == 200
        kept = server.client.get("/v1/items/both/image")
        assert kept.headers["content-type"] == "image/webp"
        assert not zipfile.is_zipfile(io.BytesIO(kept.content))


def test_the_largest_pictures_that_are_taken_take_a_bounded_memory(server):
    data = bomb(side=5000)
    with unharmed(server, megabytes=1024), ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: server.client.post("/v1/search", content=data), range(8))
        assert [answer.status_code for answer in answers] == [200] * 8


# ---- what comes without end, or slowly


def sent_until_refused(port: int, path: str, limit: int) -> tuple[int, http.client.HTTPResponse]:
    """Send a body in chunks that tell no length before, up to a limit; return how much went out, and the answer."""
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode())
    connection.sendall(b"Content-Type: application/json\r\n\r\n")
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < limit:
            connection.sendall(chunk)
            sent += 1 << 20
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    connection.close()
    return sent, answer


@pytest.mark.parametrize(("path", "taken"), [("/v1/events", 1 << 20), ("/v1/search", 16 << 20)])
def test_a_body_of_a_gigabyte_is_refused_as_soon_as_it_is_too_long(server, path, taken):
    with unharmed(server, megabytes=4 * taken / (1 << 20) + 32):
        sent, answer = sent_until_refused(server.port, path, limit=1 << 30)
        assert answer.status == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert sent < taken + (64 << 20)  # what the system buffers on both sides


def test_two_hundred_slow_clients_keep_nobody_waiting_and_are_shown_out(server):
    with unharmed(server, megabytes=64):
        slow = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) for _ in range(200)]
        for place, connection in enumerate(slow):
            body = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{" if place % 2 else b"X-Slow: "
            connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\n" + body)
        assert server.client.get("/v1/users/anna/recommendations").status_code == 200
        assert server.client.post("/v1/search", content=DRAWN).status_code == 200
        ended = Counter(everything(connection)[:12] for connection in slow)
        assert ended == {b"": 100, b"HTTP/1.1 408": 100}


def test_an_offer_of_another_protocol_loses_no_body(server):
    # Java's client offers HTTP/2 so with every first request.
    body = b'{"liked": ["plain"], "k": 2}'
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /v1/sessions/recommendations HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, len(json.loads(answer.read())["items"])) == (200, 2)


@pytest.mark.parametrize("head", [b"X-Long: " + (1 << 20) * b"a", (1 << 18) * b"X: y\r\n"], ids=["long", "many"])
def test_a_head_that_is_too_long_is_refused(server, head):
    with unharmed(server, megabytes=32):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        assert everything(connection)[:12] == b"HTTP/1.1 400"


def everything(connection: socket.socket) -> bytes:
    """Return what a connection still brings until the other side has closed it."""
    told = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(4096):
            told += part
    connection.close()
    return told


@pytest.mark.parametrize("rude", [False, True], ids=["closed", "reset"])
def test_clients_that_leave_in_the_middle_leave_nothing_behind(server, rude):
    requests = (
        b"GET /v1/designs/long/events HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(500_000),
        b"GET /v1/items?limit=500 HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    with unharmed(server, megabytes=64):
        server.client.put("/v1/designs/long", json=asked(LONG))
        for request in requests * 20:
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
                connection.sendall(request)
                if request.startswith(b"GET"):
                    assert connection.recv(12) == b"HTTP/1.1 200"
                if rude:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.client.post("/v1/designs/long/cancel")
        until(lambda: state(server, "long") == "cancelled")
        server.client.delete("/v1/designs/long").raise_for_status()


# ---- ids and paths


@pytest.mark.parametrize(
    "id",
    [
        "..",
        "../secret.txt",
        "..%2Fsecret.txt",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "....//secret.txt",
        "..%5C..%5Csecret.txt",
        "%2e%2e%2fsecret.txt",
        "..%c0%afsecret.txt",
        "%00",
        "plain%00.png",
        "secret.txt%00",
        "%ff%fe",
        "%ed%a0%80",
        "file:%2F%2F%2Fetc%2Fpasswd",
        "~root",
        "%E2%80%AE",
    ],
)
def test_no_id_leads_out_of_where_it_belongs(server, id):
    with unharmed(server, megabytes=32):
        for path in (
            f"/v1/items/{id}",
            f"/v1/items/{id}/image",
            f"/v1/items/{id}/similar",
            f"/v1/users/{id}",
            f"/v1/users/{id}/recommendations",
            f"/v1/designs/{id}",
            f"/v1/designs/{id}/0.png",
            f"/v1/designs/{id}/all.zip",
            f"/v1/designs/first/{id}.png",
            f"/v1/models/{id}",
            f"/v1/gaps/{id}.png",
            f"/v1/editing/directions/{id}.png",
            f"/blindtest/{id}",
            f"/static/{id}",
            f"/static/js/{id}",
        ):
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as connection:
                connection.request("GET", path)  # as it is: other clients tidy paths up
                answer = connection.getresponse()
                body = answer.read()
                assert (answer.status, json.loads(body)["status"]) in [(status, status) for status in (404, 422)], path
                assert b"a secret" not in body
                assert b"root:" not in body


def test_an_item_may_be_called_as_a_path_and_is_no_file(server, tmp_path):
    id = f"{tmp_path}/../escaped"
    path = f"/v1/items/{quote(id, safe='')}"
    with unharmed(server, megabytes=32):
        given = {"category": "hats", "image": base64.b64encode(DRAWN).decode()}
        assert server.client.put(path, json=given).status_code == 200
        assert server.client.get(path).json()["item_id"] == id
        assert server.client.get(f"{path}/image").status_code == 200
        assert list(tmp_path.iterdir()) == []
        assert server.client.delete(path).status_code == 204


# ---- models


class Payload:
    """Once it is unpickled, a file is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self.path, "it was run")


def flipped(folder: Path, trace: Path) -> None:
    """Change one bit of a model."""
    path = next(folder.glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def pickled(folder: Path, trace: Path) -> None:
    """Put a pickle in the place of a model's arrays."""
    next(folder.glob("*.safetensors")).write_bytes(pickle.dumps(Payload(trace)))


def forged(folder: Path, trace: Path) -> None:
    """The same, with checksums that fit."""
    pickled(folder, trace)
    path = folder / "manifest.json"
    manifest = Manifest.model_validate_json(path.read_bytes())
    manifest.files = {name: sha256_file(folder / name) for name in manifest.files}
    manifest.digest = manifest.contents_digest()
    path.write_text(manifest.model_dump_json())


@pytest.mark.parametrize("damage", [flipped, pickled, forged])
def test_a_model_that_was_tampered_with_is_not_served_nor_run(make_bundle, tmp_path, damage):
    bundle, trace = make_bundle(), tmp_path / "trace"
    data = training_data(bundle, make_split(bundle, SplitSettings(protocol="all")), None)
    settings = ServiceSettings(
        data=bundle.path, recommender=tmp_path / "good", store=f"sqlite:///{tmp_path / 'store.sqlite'}"
    )
    for name, seed in (("good", 0), ("bad", 1)):
        create_recommender("bpr_mf").fit(data, seed=seed, device="cpu").save(tmp_path / name)
    bad = settings.model_copy(update={"recommender": str(tmp_path / "bad")})
    noted = stored_model(load_models(bad), bad, source="retrain", metrics={})
    damage(tmp_path / "bad", trace)
    app = create_app(settings)
    with TestClient(app) as client:
        app.state.service.holder.wait(PATIENCE)
        good = client.get("/version").json()["model"]
        app.state.service.store.models.register(noted)
        assert client.post(f"/v1/models/{noted.id}/activate").status_code == 202
        until(lambda: client.get(f"/v1/models/{noted.id}").json()["problem"] is not None)
        assert "damaged" in client.get(f"/v1/models/{noted.id}").json()["problem"]
        assert client.get("/version").json()["model"] == good
        assert client.get("/v1/users/user-03/recommendations").status_code == 200
    assert not trace.exists()


# ---- the store


def event_of(user: str) -> dict:
    """A batch of one event."""
    return {"events": [{"user_id": user, "item_id": "plain", "event": "purchase"}]}


def test_fifty_who_write_while_the_database_is_locked_are_all_written(server):
    with unharmed(server, megabytes=64), ThreadPoolExecutor(50) as pool:
        with closing(sqlite3.connect(server.store.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            sent = [pool.submit(server.client.post, "/v1/events", json=event_of(f"w{n}")) for n in range(50)]
            time.sleep(1)
            assert not any(one.done() for one in sent)
            assert server.client.get("/health/ready").status_code == 200
            other.execute("ROLLBACK")
        assert {one.result(PATIENCE).status_code for one in sent} == {201}
        assert all(len(server.client.get(f"/v1/users/w{n}").json()["events"]) == 1 for n in range(50))


def test_fifty_who_write_to_a_database_that_stays_locked_are_told_when_to_come_again(catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr("service.store.database.BUSY_SECONDS", 0.2)
    file = tmp_path / "store.sqlite"
    with running(catalogue, store=f"sqlite:///{file}", design_worker="none") as world, ThreadPoolExecutor(50) as pool:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answers = list(
                pool.map(lambda n: world.client.post("/v1/events", json=event_of("late")), range(50), timeout=PATIENCE)
            )
            for answer in answers:
                assert_problem(answer, "store-busy")
                assert int(answer.headers["retry-after"]) >= 1
            assert world.client.get("/v1/users/anna/recommendations").status_code == 200
            other.execute("ROLLBACK")
        assert world.client.post("/v1/events", json=event_of("late")).json()["accepted"] == 1
        assert len(world.client.get("/v1/users/late").json()["events"]) == 1


def test_a_design_that_there_is_no_room_for_is_not_falsely_done(catalogue):
    with running(catalogue, lease_seconds=0.5) as world:
        full = threading.Event()
        engine = world.service.store.database.engine
        with engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        @event.listens_for(engine, "checkout")
        def limit(raw, *rest) -> None:
            raw.execute(f"PRAGMA max_page_count = {pages + 60 if full.is_set() else 1 << 30}")

        world.designer.release.clear()
        url = world.client.post("/v1/designs", json={**asked(), "n": 32}).headers["location"]
        assert world.designer.entered.wait(PATIENCE)
        full.set()
        for many in (100, 1):  # to the last page
            batch = {"events": event_of("u" * 500)["events"] * many}
            until(lambda batch=batch: world.client.post("/v1/events", json=batch).status_code == 507)
        world.designer.release.set()
        until(lambda: world.client.get(url).json()["state"] == "interrupted")
        assert world.client.get(url).json()["results"] == []
        full.clear()
        assert world.client.post(f"{url}/retry").status_code == 202
        assert finished(world, url)["state"] == "succeeded"


# ---- designs


def test_a_queue_that_is_asked_for_ten_times_what_it_holds_takes_what_it_holds(server):
    server.client.put("/v1/designs/running", json=asked(LONG))
    until(lambda: state(server, "running") == "running")
    with unharmed(server, megabytes=64), ThreadPoolExecutor(20) as pool:
        sent = list(pool.map(lambda n: server.client.put(f"/v1/designs/q{n}", json=asked(n + 10)), range(10 * QUEUE)))
        assert Counter(answer.status_code for answer in sent) == {202: QUEUE, 429: 9 * QUEUE}
        for answer in sent:
            if answer.status_code == 429:
                assert_problem(answer, "queue-full")
                assert int(answer.headers["retry-after"]) >= 1
    server.client.post("/v1/designs/running/cancel")
    taken = [answer.json()["id"] for answer in sent if answer.status_code == 202]
    until(lambda: all(state(server, id) == "succeeded" for id in taken))


def test_a_design_that_takes_all_memory_fails_alone(server):
    with unharmed(server, megabytes=64):
        before = server.children
        server.client.put("/v1/designs/hungry", json=asked(HUNGRY))
        until(lambda: server.client.get("/v1/designs/hungry").json()["finished_at"] is not None)
        told = server.client.get("/v1/designs/hungry").json()
        assert (told["state"], told["problem"]["type"]) == ("failed", "urn:recgan:problem:no-memory")
        assert told["problem"]["status"] == 503
        assert server.children == before  # its process lives
        server.client.put("/v1/designs/after", json=asked())
        until(lambda: state(server, "after") == "succeeded")


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
        ),
    ],
)
def test_where_torch_has_no_memory_left_the_design_and_the_request_say_so(world, device):
    def too_much(*given, **options):
        return torch.empty(1 << 50, device=device)

    make, recommend = world.designer.design, world.recommender.recommend
    world.designer.design = world.recommender.recommend = too_much
    failed = design(world)
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "urn:recgan:problem:no-memory")
    assert_problem(world.client.get("/v1/users/anna/recommendations"), "no-memory")
    world.designer.design, world.recommender.recommend = make, recommend
    assert design(world)["state"] == "succeeded"
    assert world.client.get("/v1/users/anna/recommendations").status_code == 200
