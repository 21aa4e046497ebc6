"""Who may ask, how often, how much and how slowly."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from sqlalchemy import event

from recgan.dataset.bundle import Bundle
from recgan.errors import SettingsError
from service.middleware import BodyLimit, ErrorBoundary
from service.protocol import timed_protocol
from service.security import COOKIE
from service.settings import service_settings
from service.store.keys import Scope
from tests.databases import postgres_server, store_url  # noqa: F401
from tests.service_world import PATIENCE, World, assert_problem, running, until


@pytest.fixture
def world(catalogue: Bundle) -> Iterator[World]:
    """The running service; it asks for keys."""
    with running(catalogue, keys=True) as world:
        yield world


def key(world: World, scope: Scope, per_minute: int | None = None) -> dict[str, str]:
    """Make a key, and return the header that sends it."""
    return {"Authorization": f"Bearer {world.service.store.keys.create('test', scope, per_minute)[1]}"}


# ---- keys


def test_without_a_key_nothing_is_answered_but_health_and_the_page(world):
    for path in ("/health/live", "/health/ready", "/version", "/", "/static/js/main.js", "/openapi.json"):
        assert world.client.get(path).status_code == 200
    for method, path in [
        ("GET", "/v1/items"),
        ("GET", "/v1/items/plain/image"),
        ("GET", "/v1/users/anna/recommendations"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/items/plain"),
        ("GET", "/metrics"),
        ("GET", "/v1/designs/x/events"),
        ("POST", "/v1/models/rollback"),
    ]:
        answer = world.client.request(method, path)
        assert_problem(answer, "no-key")
        assert answer.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer ", "Bearer rg_x_y", "Basic YTpi", "Bearer \xff"):
        answer = world.client.get("/v1/items", headers={"Authorization": wrong.encode("latin-1")})
        assert_problem(answer, "no-key")


def test_every_path_asks_for_a_key_unless_it_is_named_here(world):
    open_paths = {"/health/live", "/health/ready", "/version"}
    for path, methods in world.client.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) is (path not in open_paths), path


def test_each_scope_includes_those_before_it_and_no_more(world):
    event = {"events": [{"user_id": "anna", "item_id": "plain"}]}
    for scope, expected in [
        (Scope.read, (200, 403, 403)),
        (Scope.write, (200, 201, 403)),
        (Scope.admin, (200, 201, 404)),  # there is no model to go back to
    ]:
        headers = key(world, scope)
        answers = (
            world.client.get("/v1/items", headers=headers),
            world.client.post("/v1/events", json=event, headers=headers),
            world.client.post("/v1/models/rollback", headers=headers),
        )
        assert tuple(answer.status_code for answer in answers) == expected
        for answer in answers:
            if answer.status_code == 403:
                assert_problem(answer, "not-allowed")


def test_what_a_user_did_is_not_for_a_key_that_may_only_read(world):
    asked = world.client.post(
        "/v1/designs", json={"user_id": "anna", "category": "coats", "n": 1}, headers=key(world, Scope.write)
    )
    url = asked.headers["location"]
    for scope, expected in ((Scope.read, 403), (Scope.write, 200)):
        headers = key(world, scope)
        until(lambda: world.client.get(url, headers=headers).json()["state"] == "succeeded")  # noqa: B023
        assert world.client.get(f"{url}/0.png", headers=headers).status_code == 200
        for path in (f"{url}/0.json", f"{url}/all.zip", "/v1/users/anna"):
            assert world.client.get(path, headers=headers).status_code == expected, path


def test_a_revoked_key_is_refused(world, monkeypatch):
    monkeypatch.setattr("service.security.REMEMBERED_SECONDS", 0.0)
    headers = key(world, Scope.read)
    assert world.client.get("/v1/items", headers=headers).status_code == 200
    world.service.store.keys.revoke(world.service.store.keys.all()[0].id)
    assert_problem(world.client.get("/v1/items", headers=headers), "no-key")


def test_the_page_sends_its_key_as_a_cookie_that_no_script_reads(world):
    text = key(world, Scope.write)["Authorization"].removeprefix("Bearer ")
    assert_problem(world.client.post("/sign-in", json={"key": text + "x"}), "no-key")
    answer = world.client.post("/sign-in", json={"key": text})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert world.client.cookies[COOKIE] == text
    assert world.client.get("/v1/items").status_code == 200
    assert world.client.post("/sign-out").status_code == 204
    assert_problem(world.client.get("/v1/items"), "no-key")


def test_a_key_is_never_logged(world, caplog):
    headers = key(world, Scope.read)
    with caplog.at_level(logging.DEBUG):
        world.client.get("/v1/items", headers=headers)
        world.client.get("/v1/items/none", headers=headers)
        world.recommender.recommend = None  # type: ignore[assignment, method-assign]
        assert_problem(world.client.get("/v1/users/anna/recommendations", headers=headers), "internal")
    assert headers["Authorization"].rpartition("_")[2] not in caplog.text


def test_keys_may_be_off_on_loopback_alone(tmp_path, monkeypatch):
    def settings(**given):
        return service_settings(data=tmp_path, recommender=tmp_path, **given)

    assert not settings().needs_keys
    assert not settings(host="::1").needs_keys
    assert settings(host="0.0.0.0").needs_keys
    assert settings(host="shop.example").needs_keys
    assert settings(keys=True).needs_keys
    with pytest.raises(SettingsError, match="loopback alone"):
        settings(host="0.0.0.0", keys=False)
    assert "hunter2" not in repr(settings(store="postgresql://me:hunter2@db/x"))


def test_one_key_cannot_fill_the_queue(catalogue):
    with running(catalogue, keys=True, design_queue=4) as world:
        world.designer.release.clear()
        greedy, modest = key(world, Scope.write), key(world, Scope.write)
        asked = {"user_id": "anna", "category": "coats"}
        assert world.client.post("/v1/designs", json=asked, headers=greedy).status_code == 202
        assert world.designer.entered.wait(PATIENCE)
        for _ in range(2):
            assert world.client.post("/v1/designs", json=asked, headers=greedy).status_code == 202
        refused = world.client.post("/v1/designs", json=asked, headers=greedy)
        assert "of this key" in assert_problem(refused, "queue-full")["detail"]
        assert world.client.post("/v1/designs", json=asked, headers=modest).json()["ahead"] == 2


# ---- how often


def test_the_requests_of_a_key_are_counted_over_all_processes(catalogue, store_url, monkeypatch):  # noqa: F811
    monkeypatch.setattr("service.security.this_minute", lambda: (7, 42))
    given = {"keys": True, "store": store_url}
    with running(catalogue, **given) as one, running(catalogue, **given) as other:
        limited, free = key(one, Scope.read, per_minute=20), key(one, Scope.read)
        statuses = [
            world.client.get("/v1/categories", headers=limited).status_code for _ in range(15) for world in (one, other)
        ]
        assert statuses.count(200) == 20
        assert statuses[20:] == [429] * 10
        answer = other.client.get("/v1/categories", headers=limited)
        assert_problem(answer, "rate-limit")
        assert answer.headers["retry-after"] == "42"
        assert one.client.get("/v1/categories", headers=free).status_code == 200
        monkeypatch.setattr("service.security.this_minute", lambda: (8, 42))
        assert other.client.get("/v1/categories", headers=limited).status_code == 200


def test_of_requests_that_come_together_one_takes_for_all(catalogue, monkeypatch):
    with running(catalogue, keys=True, rate_per_minute=2000, request_threads=8) as world:
        monkeypatch.setattr("service.security.this_minute", lambda: (7, 60))
        _, text = world.service.store.keys.create("shop", Scope.read, None)
        take, taken = world.service.store.rates.take, []

        def slow(*given):
            time.sleep(0.05)
            taken.append(take(*given))
            return taken[-1]

        monkeypatch.setattr(world.service.store.rates, "take", slow)

        async def together() -> None:
            await asyncio.gather(*(world.service.gate.admit(text) for _ in range(150)))

        asyncio.run(together())
        assert taken == [100, 100]  # a twentieth of the limit each time: the rest is left to other processes


def test_a_key_that_has_none_left_is_refused_without_asking_the_store_until_its_minute_ends(world, monkeypatch):
    clock = {"minute": 7}
    monkeypatch.setattr("service.security.this_minute", lambda: (clock["minute"], 42))
    take, asked = world.service.store.rates.take, []
    monkeypatch.setattr(world.service.store.rates, "take", lambda *given: asked.append(given) or take(*given))
    limited = key(world, Scope.read, per_minute=45)  # taken two at a time: the last share is half a one
    statuses = [world.client.get("/v1/categories", headers=limited).status_code for _ in range(60)]
    assert statuses == [200] * 45 + [429] * 15
    assert len(asked) == 23
    clock["minute"] = 8
    assert world.client.get("/v1/categories", headers=limited).status_code == 200
    assert len(asked) == 24


def test_a_key_does_not_wait_until_another_has_taken_from_the_store(world, monkeypatch):
    create, take = world.service.store.keys.create, world.service.store.rates.take
    (slow, slow_text), (_, text) = create("slow", Scope.read, None), create("quick", Scope.read, None)
    entered, release = threading.Event(), threading.Event()

    def held(owner, *rest):
        if owner == slow.id:
            entered.set()
            release.wait(PATIENCE)
        return take(owner, *rest)

    monkeypatch.setattr(world.service.store.rates, "take", held)

    async def both() -> None:
        waiting = asyncio.create_task(world.service.gate.admit(slow_text))
        try:
            assert await asyncio.to_thread(entered.wait, PATIENCE)
            await asyncio.wait_for(world.service.gate.admit(text), PATIENCE / 2)
            assert not waiting.done()
        finally:
            release.set()
        assert (await waiting).owner == slow.id

    asyncio.run(both())


# ---- from where


def test_pages_of_other_origins_read_nothing_unless_they_are_named(catalogue, world):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    answer = world.client.options("/v1/items", headers=asked)
    assert "access-control-allow-origin" not in answer.headers
    with running(catalogue, keys=True, cors_origins=("https://shop.example",)) as named:
        assert named.client.options("/v1/items", headers=asked).headers["access-control-allow-origin"] == (
            "https://shop.example"
        )
        other = named.client.options("/v1/items", headers={**asked, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        assert "Origin" in other.headers["vary"]
        assert "disallowed CORS origin; the service's cors_origins" in assert_problem(other, "bad-request")["detail"]
        assert other.headers["x-content-type-options"] == "nosniff"
        wrong = named.client.options("/v1/items", headers={**asked, "Access-Control-Request-Method": "TRACE"})
        assert "disallowed CORS method" in assert_problem(wrong, "bad-request")["detail"]
        answer = named.client.get("/v1/items", headers={**key(named, Scope.read), "Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in answer.headers


# ---- how slowly


@contextmanager
def served(app, seconds: float) -> Iterator[int]:
    """Serve an ASGI app under our protocol, and give its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    config = uvicorn.Config(app, http=timed_protocol(seconds), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


async def hello(scope, receive, send) -> None:
    """Answer after reading the body."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def closed(connection: socket.socket) -> bool:
    """Wait until the server has closed a connection without a word."""
    connection.settimeout(PATIENCE)
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("trusted", "secure"), [(None, True), ("10.0.0.5", False)])
def test_the_cookie_is_secure_where_a_proxy_that_is_believed_says_https(world, monkeypatch, trusted, secure):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if trusted is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    _, text = world.service.store.keys.create("page", Scope.read)
    with served(world.client.app, 5) as port:
        for proto, expected in (("https", secure), ("http", False)):
            answer = httpx.post(
                f"http://127.0.0.1:{port}/sign-in", json={"key": text}, headers={"X-Forwarded-Proto": proto}
            )
            assert answer.status_code == 204
            assert ("secure" in answer.headers["set-cookie"].lower().split("; ")) == expected


def test_two_hundred_clients_that_never_finish_their_head_are_shown_out_and_keep_nobody_waiting():
    with served(hello, 0.5) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for connection in slow:
            connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        with socket.create_connection(("127.0.0.1", port)) as quick:
            quick.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert quick.recv(1000).startswith(b"HTTP/1.1 200")
        assert all(closed(connection) for connection in slow)
        for connection in slow:
            connection.close()


def test_a_second_head_on_a_kept_connection_has_its_time_too_and_a_long_answer_has_none():
    async def slow_answer(scope, receive, send) -> None:
        await asyncio.sleep(0.8)
        await hello(scope, receive, send)

    with served(slow_answer, 0.3) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(2):
            connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += connection.recv(1000)
        connection.send(b"GET / HT")
        assert closed(connection)


def test_a_body_that_comes_too_slowly_is_refused():
    app = ErrorBoundary(BodyLimit(hello, limit=1000, upload_limit=1000, seconds=0.4))
    with served(app, 5) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        started = time.monotonic()
        answer = b""
        connection.settimeout(0.1)
        while not answer and time.monotonic() - started < PATIENCE:
            connection.send(b"x")
            try:
                answer = connection.recv(2000)
            except TimeoutError:
                continue
        connection.settimeout(PATIENCE)
        while part := connection.recv(2000):  # the server closes: what is still on its way is not read
            answer += part
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()
        assert b"urn:recgan:problem:too-slow" in answer


def test_a_client_that_leaves_in_mid_stream_frees_its_place(catalogue):
    with running(catalogue, max_streams=1) as world:
        world.designer.release.clear()
        url = world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"}).headers["location"]
        assert world.designer.entered.wait(PATIENCE)
        pause = threading.Event()
        with served(world.client.app, 5) as port:
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.send(f"GET {url}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    connection.settimeout(PATIENCE)
                    assert connection.recv(100).startswith(b"HTTP/1.1 200")
                    assert world.service.streams.open == 1  # counted before the first word is sent
                for _ in range(int(PATIENCE / 0.02)):
                    if world.service.streams.open == 0:
                        break
                    pause.wait(0.02)
                assert world.service.streams.open == 0
            world.designer.release.set()


def test_a_full_disk_refuses_what_is_to_be_kept_and_answers_the_rest(catalogue):
    with running(catalogue) as world:
        engine = world.service.store.database.engine
        with engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        event.listen(engine, "checkout", lambda raw, *rest: raw.execute(f"PRAGMA max_page_count = {pages + 60}"))
        batch = {"events": [{"user_id": "u" * 500, "item_id": "plain"}] * 100}
        answers = [world.client.post("/v1/events", json=batch) for _ in range(8)]
        assert_problem(answers[-1], "storage")
        accepted = sum(answer.status_code == 201 for answer in answers)
        assert accepted > 0
        assert len(world.client.get(f"/v1/users/{'u' * 500}").json()["events"]) == 100 * accepted
        assert world.client.get("/v1/users/anna/recommendations").status_code == 200
        assert world.client.get("/health/ready").status_code == 200


# ---- figures


def test_metrics_count_by_the_path_s_pattern_and_not_by_what_a_client_wrote(catalogue):
    with running(catalogue) as world:
        for path in ("/v1/items/plain", "/v1/items/a%2Fb", "/v1/items/none", "/no/such/path"):
            world.client.get(path)
        world.client.request("BREW", "/v1/items")
        answer = world.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        lines = answer.text.splitlines()
        assert 'recgan_requests_total{method="GET",route="/v1/items/{item_id:id}",status="200"} 2.0' in lines
        assert 'recgan_requests_total{method="GET",route="/v1/items/{item_id:id}",status="404"} 1.0' in lines
        assert 'recgan_requests_total{method="GET",route="none",status="404"} 1.0' in lines
        assert any('method="other"' in line for line in lines)
        assert 'recgan_designs{kind="queued"} 0.0' in lines
        assert 'recgan_workers{kind="design"} 1.0' in lines
        assert "/no/such/path" not in answer.text
