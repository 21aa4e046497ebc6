"""Requests of one moment: answered in one batch, each as it would be alone."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
from fastapi.testclient import TestClient

from recgan.config import SplitSettings
from recgan.dataset.split import make_split
from recgan.errors import DataError
from recgan.recommenders import create_recommender, training_data
from service.app import create_app
from service.live.together import Together
from service.problems import ProblemError
from service.recommending import Recommending
from service.schemas import RecommendationQuery
from service.settings import ServiceSettings
from service.store.errors import StoreUnavailable
from service.store.events import Event
from tests.conftest import write_bundle

PATIENCE = 60.0


class Gated:
    """Doubles numbers once it is let to, and remembers the batches."""

    def __init__(self):
        self.batches = []
        self.open = threading.Event()

    def __call__(self, questions):
        self.batches.append(list(questions))
        assert self.open.wait(PATIENCE)
        if "broken" in questions:
            raise StoreUnavailable("it is gone")
        return [ValueError(str(one)) if isinstance(one, str) else 2 * one for one in questions]


async def begun(gate):
    while not gate.batches:
        await asyncio.sleep(0.001)


def test_what_comes_while_a_batch_is_answered_is_the_next_one():
    async def ask():
        gate = Gated()
        together = Together(gate, most=3)
        first = asyncio.create_task(together(1))
        await begun(gate)
        others = [asyncio.create_task(together(number)) for number in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        gate.open.set()
        answers = await asyncio.gather(first, *others)
        alone = await together(6)
        together.close()
        return gate.batches, answers, alone

    batches, answers, alone = asyncio.run(ask())
    assert batches == [[1], [2, 3, 4], [5], [6]]
    assert answers == [2, 4, 6, 8, 10]
    assert alone == 12


def test_an_exception_is_the_answer_of_its_question_alone_and_a_failure_that_of_all():
    async def ask():
        gate = Gated()
        gate.open.set()
        together = Together(gate, most=8)
        mixed = await asyncio.gather(together(1), together("no"), together(3), return_exceptions=True)
        failed = await asyncio.gather(together(1), together("broken"), return_exceptions=True)
        after = await together(4)
        together.close()
        return mixed, failed, after

    mixed, failed, after = asyncio.run(ask())
    assert (mixed[0], mixed[2]) == (2, 6)
    assert isinstance(mixed[1], ValueError)
    assert [type(one) for one in failed] == [StoreUnavailable, StoreUnavailable]
    assert after == 8


def test_who_has_come_meanwhile_does_not_wait_for_the_same_failure():
    async def ask():
        gate = Gated()
        together = Together(gate, most=1)
        first = asyncio.create_task(together("broken"))
        await begun(gate)
        others = [asyncio.create_task(together(number)) for number in (2, 3)]
        await asyncio.sleep(0)
        gate.open.set()
        failed = await asyncio.gather(first, *others, return_exceptions=True)
        after = await together(4)
        together.close()
        return gate.batches, failed, after

    batches, failed, after = asyncio.run(ask())
    assert batches == [["broken"], [4]]
    assert [type(one) for one in failed] == [StoreUnavailable] * 3
    assert after == 8


def test_who_leaves_is_not_waited_for():
    async def ask():
        gate = Gated()
        together = Together(gate, most=8)
        leaving, staying = asyncio.create_task(together(1)), asyncio.create_task(together(2))
        await begun(gate)
        leaving.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        answer = await staying
        together.close()
        return answer, leaving.cancelled()

    assert asyncio.run(ask()) == (4, True)


@pytest.mark.parametrize("wrong", [lambda questions: [], lambda questions: next(iter(()))], ids=["too few", "stops"])
def test_an_answerer_with_a_fault_keeps_nobody_waiting(wrong):
    async def ask():
        faulty = [True]
        together = Together(lambda questions: wrong(questions) if faulty[0] else questions, most=8)
        async with asyncio.timeout(PATIENCE):
            failed = await asyncio.gather(together(1), together(2), return_exceptions=True)
            faulty[0] = False
            after = await together(3)
        together.close()
        return failed, after

    failed, after = asyncio.run(ask())
    assert [type(one) for one in failed] == [RuntimeError, RuntimeError]
    assert after == 3


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service whose users have done nothing, something and everything since the training."""
    folder = tmp_path_factory.mktemp("together")
    bundle = write_bundle(folder / "bundle")
    data = training_data(bundle, make_split(bundle, SplitSettings(protocol="all")))
    create_recommender("bpr_mf").fit(data, seed=0, device="cpu").save(folder / "model")
    store = f"sqlite:///{folder / uuid.uuid4().hex}.sqlite"
    settings = ServiceSettings(
        data=bundle.path, recommender=folder / "model", device="cpu", design_worker="none", store=store
    )
    app = create_app(settings)
    with TestClient(app) as client:
        app.state.service.holder.wait(PATIENCE)
        assert client.put("/v1/items/later", json={"category": "bags"}).is_success
        events = [("user-02", "0003"), ("user-02", "0007"), ("new", "0001"), ("new", "later")]
        told = {"events": [{"user_id": user, "item_id": item, "event": "purchase"} for user, item in events]}
        assert client.post("/v1/events", json=told).is_success
        assert client.delete("/v1/users/user-05").status_code == 204
        yield app.state.service


ASKED = [
    ("user-00", {}),
    ("user-01", {"k": 5}),
    ("user-02", {"k": 5}),
    ("new", {"k": 5}),
    ("user-03", {"k": 5, "category": ["shoes"]}),
    ("user-04", {"k": 5, "category": ["shoes"]}),
    ("user-04", {"k": 5, "category": ["shows"]}),
    ("user-03", {"k": 5, "candidate": ["0001", "0004"]}),
    ("user-03", {"k": 5, "candidate": ["nothing"]}),
    ("user-05", {}),
    ("nobody", {}),
    ("user-06", {"exclude_seen": False}),
    ("user-06", {"k": 3, "explain": True}),
]


def told(answer):
    """An answer, or the problem that is it."""
    if isinstance(answer, Exception):
        return answer.kind.slug, answer.detail
    return json.loads(answer)


async def at_once(recommending, asked):
    """Ask everything at the same moment; problems are answers."""
    waiting = [recommending.to_user(user, RecommendationQuery(**query)) for user, query in asked]
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_together_everybody_is_answered_as_alone(service, monkeypatch):
    recommender = service.holder.get().recommender
    searched = []
    recommend = recommender.recommend

    def counted(users, *rest, **filters):
        searched.append(len(users))
        return recommend(users, *rest, **filters)

    monkeypatch.setattr(recommender, "recommend", counted)
    recommending = Recommending(service.keeper)
    together = [told(one) for one in asyncio.run(at_once(recommending, ASKED))]
    assert max(searched) > 1
    alone = [told(asyncio.run(at_once(Recommending(service.keeper), [one]))[0]) for one in ASKED]
    assert together == alone
    assert [len(one["items"]) for one in together[1:4]] == [5, 5, 5]
    assert [one[0] for one in together if isinstance(one, tuple)] == [
        "invalid-request", "invalid-request", "unknown-user", "unknown-user",
    ]  # fmt: skip
    assert together[-1]["items"][0]["explanation"]["parts"]
    # Who was folded in a moment ago is at hand now, with the same list.
    searched.clear()
    again = [told(one) for one in asyncio.run(at_once(recommending, ASKED))]
    assert again == together
    recommending.close()


@pytest.mark.parametrize("alike", [True, False])
def test_a_search_that_fails_is_the_answer_of_who_asked_for_it_alone(service, monkeypatch, alike):
    recommender = service.holder.get().recommender
    recommend = recommender.recommend
    unlucky = recommender.user_vector("user-06").values

    def failing(users, *rest, **filters):
        if any(np.array_equal(user.values, unlucky) for user in users):
            raise DataError("this one has a fault")
        return recommend(users, *rest, **filters)

    monkeypatch.setattr(recommender, "recommend", failing)
    query = {} if alike else {"category": ["shoes"]}
    asked = [("user-00", {}), ("user-01", {}), ("user-06", query), ("user-08", {"k": 3})]
    recommending = Recommending(service.keeper)
    answers = asyncio.run(at_once(recommending, asked))
    recommending.close()
    assert [isinstance(answer, DataError) for answer in answers] == [False, False, True, False]
    assert [len(json.loads(answers[place])["items"]) for place in (0, 1, 3)] == [17, 17, 3]


def test_what_a_user_does_counts_from_the_next_request_on(service):
    recommending = Recommending(service.keeper)

    def items(user):
        answer = asyncio.run(recommending.to_user(user, RecommendationQuery(k=5)))
        return [one["item_id"] for one in json.loads(answer)["items"]]

    before = items("user-07")

    for taken in before[:2]:
        service.store.events.add([Event("user-07", taken, "purchase", 1.0, datetime.now(UTC))])
        assert taken not in items("user-07")
    service.store.events.forget("user-07")
    with pytest.raises(ProblemError, match="no user 'user-07'"):
        items("user-07")
    recommending.close()
