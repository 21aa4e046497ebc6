"""The server is killed at random moments while it is asked for many things, and its worker, a process of its own, is
left alone; then everything is looked over."""

from __future__ import annotations

import itertools
import random
import threading
import time

import httpx
import pytest

from service.store.job import JobState
from tests.databases import postgres_server, store_url  # noqa: F401
from tests.service_program import Server
from tests.service_world import until, write_catalogue

PATIENCE = 240.0


class Asked:
    """What was asked for, and what of it was acknowledged."""

    def __init__(self) -> None:
        self.counter = itertools.count()
        self.events: list[str] = []
        self.items: list[str] = []
        self.designs: list[str] = []

    @property
    def acknowledged(self) -> int:
        """How much was acknowledged."""
        return len(self.events) + len(self.items) + len(self.designs)

    def hammer(self, client: httpx.Client, stop: threading.Event) -> None:
        """Ask for one thing after the other, until the server is gone."""
        while not stop.is_set():
            n = next(self.counter)
            try:
                if n % 3 == 0:
                    event = {"user_id": f"user {n}", "item_id": "plain"}
                    headers = {"Idempotency-Key": f"key-{n}"}
                    answer = client.post("/v1/events", json={"events": [event]}, headers=headers)
                    self.events += [f"user {n}"] if answer.status_code == 201 else []
                elif n % 3 == 1:
                    answer = client.put(f"/v1/items/item-{n}", json={"category": "hats"})
                    self.items += [f"item-{n}"] if answer.status_code == 200 else []
                else:
                    asked = {"user_id": "anna", "category": "coats", "n": 2}
                    answer = client.put(f"/v1/designs/design-{n}", json=asked)
                    self.designs += [f"design-{n}"] if answer.status_code == 202 else []
            except httpx.TransportError:
                return


@pytest.mark.parametrize(("rounds", "requests"), [(1, 40), pytest.param(20, 200, marks=pytest.mark.slow)])
def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_falsely_done(
    tmp_path,
    store_url,  # noqa: F811
    rounds,
    requests,
):
    bundle = write_catalogue(tmp_path / "bundle").path
    asked, chance = Asked(), random.Random(0)
    for number in range(rounds):
        server, stop = Server(bundle, store_url, design_worker="process"), threading.Event()
        client = server.client
        url = f"/v1/designs/first-{number}"
        assert client.put(url, json={"user_id": "anna", "category": "coats", "n": 2}).status_code == 202
        asked.designs.append(f"first-{number}")
        until(
            lambda client=client, url=url: client.get(url).json()["state"] != "queued", PATIENCE
        )  # its worker has begun
        threads = [threading.Thread(target=asked.hammer, args=(server.client, stop)) for _ in range(4)]
        for thread in threads:
            thread.start()
        enough = asked.acknowledged + requests
        try:
            until(lambda enough=enough: asked.acknowledged >= enough)
            time.sleep(chance.uniform(0, 0.1))
        finally:
            server.kill()
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
    assert min(len(asked.events), len(asked.items), len(asked.designs)) > 0
    server = Server(bundle, store_url, design_worker="process")
    try:
        client = server.client
        for user in asked.events:
            assert len(client.get(f"/v1/users/{user}").json()["events"]) == 1
        for item in asked.items:
            assert client.get(f"/v1/items/{item}").status_code == 200
        states = {}
        for design in asked.designs:
            url = f"/v1/designs/{design}"
            until(lambda url=url: client.get(url).json()["finished_at"] is not None)
            states[design] = client.get(url).json()
        assert {one["state"] for one in states.values()} <= {JobState.succeeded, JobState.interrupted}
        assert sum(one["state"] == JobState.interrupted for one in states.values()) <= rounds  # one worker, one job
        for one in states.values():
            assert len(one["results"]) == (2 if one["state"] == JobState.succeeded else 0)
            assert all(client.get(result["image_url"]).status_code == 200 for result in one["results"])
    finally:
        server.kill()
