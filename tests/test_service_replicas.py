"""Two services, processes of their own, on one PostgreSQL: what they share, and what becomes of it when one is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.store import Store
from service.store.keys import Scope
from tests.databases import new_database, postgres_server  # noqa: F401
from tests.service_program import LONG, Server
from tests.service_world import assert_problem, until, write_catalogue

OLDER, NEWER = ("older", "newer")
LIMIT = 20


class Replicas:
    """Two services, the second started with newer models, and the keys to both."""

    def __init__(self, folder: Path, store: str) -> None:
        bundle = write_catalogue(folder / "bundle").path
        database = Store(store)
        self.admin, self.limited = (
            {"Authorization": f"Bearer {database.keys.create('test', scope, per_minute)[1]}"}
            for scope, per_minute in ((Scope.admin, None), (Scope.read, LIMIT))
        )
        database.close()
        self.first, self.second = (
            Server(bundle, store, recommender=folder / name, keys=True) for name in (OLDER, NEWER)
        )
        for one in (self.first, self.second):
            one.client.headers.update(self.admin)

    def submit(self, server: Server, id: str, seed: int) -> None:
        """Ask one of them for a design."""
        asked = {"user_id": "anna", "category": "coats", "n": 1, "seed": seed}
        assert server.client.put(f"/v1/designs/{id}", json=asked).status_code == 202

    def close(self) -> None:
        """End both."""
        for one in (self.first, self.second):
            one.kill()


@contextmanager
def serving(folder: Path, server: str) -> Iterator[Replicas]:
    """Run the two on a database of their own."""
    replicas = Replicas(folder, new_database(server))
    try:
        yield replicas
    finally:
        replicas.close()


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Replicas]:  # noqa: F811
    """The two, for all that leaves them alive."""
    with serving(tmp_path_factory.mktemp("replicas"), postgres_server) as replicas:
        yield replicas


def state(server: Server, id: str) -> str:
    """What has become of a design, as one of them says."""
    told: str = server.client.get(f"/v1/designs/{id}").json()["state"]
    return told


def serves(server: Server, name: str) -> bool:
    """Whether one of them answers with these models."""
    model = server.client.get("/v1/users/anna/recommendations").json()["model"]
    return bool(model["recommender"].rstrip("-") == name)


def test_what_one_is_told_the_other_answers_with(replicas):
    first, second = replicas.first, replicas.second
    event = {"events": [{"user_id": "new", "item_id": "plain", "event": "purchase"}]}
    sent = [one.client.post("/v1/events", json=event, headers={"Idempotency-Key": "one"}) for one in (first, second)]
    assert [answer.status_code for answer in sent] == [201, 201]
    assert sent[0].json() == sent[1].json()  # it was sent again, and counts once
    assert [len(one.client.get("/v1/users/new").json()["events"]) for one in (first, second)] == [1, 1]
    replicas.submit(first, "asked-of-the-first", seed=7)
    until(lambda: state(second, "asked-of-the-first") == "succeeded")
    assert second.client.get("/v1/designs/asked-of-the-first/0.png").status_code == 200


def test_both_serve_what_was_activated_last(replicas):
    first, second = replicas.first, replicas.second
    # The second was started with models that the store had never seen.
    until(lambda: serves(first, NEWER))
    assert serves(second, NEWER)
    assert first.client.post("/v1/models/rollback").status_code == 202
    until(lambda: serves(first, OLDER) and serves(second, OLDER))
    reasons = [step["reason"] for step in second.client.get("/v1/models").json()["history"]]
    assert reasons == ["rolled back", *["given when the service was started"] * 2]


def test_the_requests_of_a_key_are_counted_over_both(replicas):
    until(lambda: time.time() % 60 < 45)  # all in one minute
    asked = [
        one.client.get("/v1/categories", headers=replicas.limited)
        for _ in range(LIMIT)
        for one in (replicas.first, replicas.second)
    ]
    assert [answer.status_code for answer in asked] == [200] * LIMIT + [429] * LIMIT
    assert_problem(asked[-1], "rate-limit")


def test_when_one_is_killed_the_other_takes_its_jobs_over(tmp_path, postgres_server):  # noqa: F811
    with serving(tmp_path, postgres_server) as replicas:
        first, second = replicas.first, replicas.second
        for id in ("one", "two"):  # each makes one
            replicas.submit(first, id, seed=LONG)
            until(lambda id=id: state(first, id) == "running")
        waiting = ("three", "four", "five")
        for id in waiting:
            replicas.submit(first, id, seed=7)
        first.process.kill()
        until(lambda: {state(second, "one"), state(second, "two")} == {"running", "interrupted"})
        lost, held = sorted(("one", "two"), key=lambda id: state(second, id))
        assert [state(second, id) for id in waiting] == ["queued"] * 3
        told = second.client.get(f"/v1/designs/{lost}").json()
        assert (told["results"], told["finished_at"] is not None) == ([], True)
        assert second.client.post(f"/v1/designs/{held}/cancel").status_code == 202
        until(lambda: all(state(second, id) == "succeeded" for id in waiting))
        assert second.client.post(f"/v1/designs/{lost}/retry").json()["attempt"] == 2
        until(lambda: state(second, lost) == "running")
        assert second.client.post(f"/v1/designs/{lost}/cancel").status_code == 202
        until(lambda: state(second, lost) == "cancelled")
        assert second.client.get("/health/ready").status_code == 200
