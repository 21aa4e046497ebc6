"""The store on both databases: items, events, jobs, keys, limits and models, also with many who write at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text, update

from recgan.errors import NotFoundError, SettingsError
from service.store import Store
from service.store.database import Database
from service.store.errors import StoreBusy, StoreUnavailable
from service.store.events import BatchConflict, Event
from service.store.items import Picture, StoredItem
from service.store.job import JobConflict, JobState, QueueFull
from service.store.keys import Scope
from service.store.migrate import migrations
from service.store.models import StoredModel
from service.store.tables import jobs as jobs_table
from service.store.tables import metadata
from tests.databases import postgres_server, store_url  # noqa: F401

AWKWARD = ["plain", "a/b", "käse 日本 👗", "'; DROP TABLE items; --", "%", "_", "A", "a", " "]
THEN = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:  # noqa: F811
    """An empty store."""
    store = Store(store_url, keep_seconds=100, lease_seconds=50, connections=12)
    yield store
    store.close()


def event(user: str = "anna", item: str = "plain", kind: str = "purchase") -> Event:
    """An event."""
    return Event(user, item, kind, 1.5, THEN)


def put(store: Store, item_id: str, **values) -> StoredItem:
    """Put an item."""
    given = StoredItem(item_id, "coats", **values)
    return store.items.change({item_id: lambda before: given})[0]


# ---- the database


def test_the_migrations_make_the_tables_that_the_code_has(store):
    with store.database.writing() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    # Of types, only that our Instant is the database's BIGINT.
    assert [one for one in differences if one[0][0] != "modify_type"] == []
    assert {str(one[0][6]) for one in differences if one[0][0] == "modify_type"} <= {"BIGINT"}


def test_many_processes_may_start_on_an_empty_database_at_once(store_url):  # noqa: F811
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store(store_url), range(6)))
    assert [one.revisions() for one in stores] == [{}] * 6
    for one in stores:
        one.close()


def test_a_store_of_the_first_version_goes_on_with_what_it_holds(store, store_url):  # noqa: F811
    held = submit(store)
    done = store.leases.finish(store.leases.claim("w"), JobState.succeeded, results=results(1), model={})
    config = migrations()
    with store.database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    later = Store(store_url)
    assert later.jobs.get(held.id).state is JobState.succeeded
    assert later.designs.png(done, 0) == (b"\x00" * 9, '"0"')
    assert later.designs.latent(done, 0) is None
    later.close()


def test_a_store_of_a_newer_version_is_refused(store, store_url):  # noqa: F811
    with store.database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="newer"):
        Store(store_url)


def test_a_transaction_that_fails_leaves_nothing(store):
    def broken(before):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.items.change({"a": lambda before: StoredItem("a", "coats"), "b": broken})
    assert store.items.changed_since(0) == []
    assert store.revisions() == {}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "no database URL"),
        ("mysql://localhost/x", "'mysql' is not supported"),
        ("sqlite://", "'sqlite' is not supported"),
        ("sqlite:////no/such/folder/x.sqlite", "does not exist"),
    ],
)
def test_a_url_that_is_none_is_refused_without_telling_its_password(url, told):
    with pytest.raises(SettingsError, match=told):
        Database(url)
    with pytest.raises(SettingsError) as refusal:
        Database("mysql://me:hunter2@localhost/x")
    assert "hunter2" not in str(refusal.value)


def test_a_database_that_is_not_there_or_is_none_says_so(tmp_path):
    with pytest.raises(StoreUnavailable, match="does not answer"):
        Store(f"postgresql://nobody@/none?host={tmp_path}")
    (tmp_path / "noise").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        Store(f"sqlite:///{tmp_path / 'noise'}")


def test_a_database_that_stays_locked_is_busy_and_not_broken(tmp_path, monkeypatch):
    monkeypatch.setattr("service.store.database.BUSY_SECONDS", 0.05)
    first, second = (Store(f"sqlite:///{tmp_path / 'store'}") for _ in range(2))
    with first.database.writing():
        with pytest.raises(StoreBusy):
            second.events.add([event()])
        assert second.events.history("anna").events == ()  # readers go on
        with ThreadPoolExecutor(1) as other, pytest.raises(StoreBusy):
            other.submit(first.events.add, [event()]).result()  # nor does who shares the connections wait for ever
    assert second.events.add([event()])["accepted"] == 1


def test_fifty_writers_lose_nothing(store, store_url):  # noqa: F811
    other = Store(store_url)  # as another process would
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: (store, other)[n % 2].events.add([event(item=str(n))]), range(200)))
    log = [one for chunk in store.events.read(chunk=30) for one in chunk]
    assert {one.item_id for one in log} == {str(n) for n in range(200)}
    assert [one.id for one in log] == sorted({one.id for one in log})
    assert store.revisions()["events"] == 200
    other.close()


# ---- items


def test_an_item_comes_back_as_it_was_put(store):
    attributes = {"price": 1.25, "größe": ["S", "M"], "none": None, "👗": {"deep": [1, True]}}
    for item_id in AWKWARD:
        put(store, item_id, available=False, attributes=attributes)
    found = store.items.changed_since(0)
    assert [one.item_id for one in found] == AWKWARD
    assert [one.revision for one in found] == list(range(1, len(AWKWARD) + 1))
    assert all(
        (one.category, one.available, one.attributes, one.picture) == ("coats", False, attributes, None)
        for one in found
    )


def test_later_changes_have_later_revisions_and_keep_the_place(store):
    first, second = put(store, "a"), put(store, "b")
    again = put(store, "a", deleted=True)
    assert [one.item_id for one in store.items.changed_since(first.revision)] == ["b", "a"]
    assert (again.seq, again.deleted) == (first.seq, True)
    assert store.items.changed_since(again.revision) == []
    assert second.revision < again.revision == store.revisions()["items"]


def test_changes_of_one_item_from_two_sides_both_count(store):
    put(store, "a", attributes={"n": 0})

    def one_more(before):
        return replace(before, attributes={"n": before.attributes["n"] + 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.items.change({"a": one_more}), range(40)))
    assert store.items.changed_since(0)[0].attributes == {"n": 40}


def test_a_picture_is_kept_as_long_as_an_item_shows_it(store):
    picture = Picture(b"\x00\xff" * 50, "image/webp")
    show = {id: (lambda before, id=id: StoredItem(id, "coats", picture=picture.digest)) for id in "ab"}
    store.items.change(show, [picture])
    store.items.keep_features("eye", {picture.digest: np.array([1.5, -2], dtype=np.float32)})
    assert store.items.picture(picture.digest) == picture
    assert store.items.pictures([picture.digest, "none"]) == {picture.digest: picture.data}
    assert store.items.features([picture.digest, "none"], "eye")[picture.digest].tolist() == [1.5, -2]
    assert store.items.features([picture.digest], "another eye") == {}
    put(store, "a")
    assert store.items.picture(picture.digest) == picture
    put(store, "b", deleted=True)
    assert store.items.picture(picture.digest) is None
    assert store.items.features([picture.digest], "eye") == {}


# ---- events and users


def test_events_come_back_in_their_order_and_only_of_their_user(store):
    store.events.add([event(user, item) for user in AWKWARD for item in ("c", user, "b")])
    store.events.add([event(user, "c", "dislike") for user in AWKWARD])
    for user in AWKWARD:
        history = store.events.history(user)
        assert [one.item_id for one in history.events] == ["c", user, "b", "c"]
        assert (history.events[0].happened_at, history.events[0].weight) == (THEN, 1.5)
        assert history.events[-1].event == "dislike"
        assert not history.forgotten


def test_a_batch_that_is_sent_again_counts_once(store):
    first = store.events.add([event(), event(item="b")], owner="k", key="one", fingerprint="f")
    assert store.events.add([event(), event(item="b")], owner="k", key="one", fingerprint="f") == first
    assert first["accepted"] == 2
    with pytest.raises(BatchConflict):
        store.events.add([event()], owner="k", key="one", fingerprint="g")
    store.events.add([event()], owner="other", key="one", fingerprint="g")  # keys are each owner's own
    assert len(store.events.history("anna").events) == 3


def test_a_batch_that_is_sent_many_times_at_once_counts_once(store):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: store.events.add([event()], key="k", fingerprint="f"), range(16)))
    assert answers == [answers[0]] * 16
    assert len(store.events.history("anna").events) == 1


def test_a_key_may_be_used_anew_after_a_day(store):
    store.events.add([event()], key="k", fingerprint="f")
    with store.database.writing() as connection:
        old = (THEN - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        connection.execute(text(f"UPDATE event_batches SET received_at = {old}"))
    store.events.add([event()], key="k", fingerprint="g")
    assert len(store.events.history("anna").events) == 2


def test_a_user_who_is_forgotten_leaves_nothing_but_that(store):
    store.events.add([event("anna"), event("bert")])
    job = store.jobs.submit({"n": 1}, user_id="anna", bound=9)
    store.events.forget("anna")
    store.events.forget("anna")
    assert store.events.history("anna") == replace(store.events.history("anna"), events=(), forgotten=True)
    assert store.jobs.get(job.id) is None
    assert len(store.events.history("bert").events) == 1
    assert store.events.forgotten() == {"anna"}


# ---- jobs


def submit(store: Store, n: int = 1, **options):
    """Submit a job."""
    return store.jobs.submit({"n": n}, **{"bound": 100, **options})


def results(count: int) -> list[dict]:
    """The designs of a job."""
    return [
        {
            "png": bytes([place]) * 9,
            "etag": f'"{place}"',
            "category": "coats",
            "facts": {"seed": place},
            "latent": np.array([place, 0.5], dtype="<f4").tobytes(),
        }
        for place in range(count)
    ]


def test_the_newest_event_of_several_users_at_once(store):
    at = datetime.now(UTC)
    store.events.add([Event(user, "plain", "click", 1.0, at) for user in ("anna", "bert", "anna", "Ünï 👒")])
    store.events.forget("bert")
    store.events.forget("gone")
    first = store.events.history("anna").events[0].id
    users = ["anna", "nobody", "bert", "gone", "Ünï 👒", "anna"]
    expected = {"anna": (first + 2, False), "bert": (0, True), "gone": (0, True), "Ünï 👒": (first + 3, False)}
    assert store.events.newest(users) == expected
    assert store.events.newest(["nobody"]) == {}
    assert store.events.newest([]) == {}


def test_a_job_from_the_queue_to_its_results(store):
    job = submit(store, user_id="anna")
    assert (job.state, job.attempt, store.jobs.ahead(job)) == (JobState.queued, 1, 0)
    held = store.leases.claim("w1")
    assert (held.id, held.state, held.worker) == (job.id, JobState.running, "w1")
    assert store.leases.wanted(held)
    assert store.leases.report(held, {"step": "climbing", "done": 1})
    assert store.jobs.get(job.id).progress == {"step": "climbing", "done": 1}
    done = store.leases.finish(held, JobState.succeeded, results=results(2), model={"recommender": "r"})
    assert (done.state, done.model) == (JobState.succeeded, {"recommender": "r"})
    assert done.submitted_at <= done.started_at <= done.finished_at < done.kept_until
    assert [one.facts["seed"] for one in store.designs.of([done])[done.seq]] == [0, 1]
    assert store.designs.png(done, 1) == (b"\x01" * 9, '"1"')
    assert store.designs.png(done, 2) is None
    assert store.designs.latent(done, 1).tolist() == [1.0, 0.5]
    assert store.designs.latent(done, 2) is None
    told = store.jobs.events_after(done, 0)
    assert [one.number for one in told] == [1, 2, 3, 4]
    assert [one.data.get("state") for one in told] == ["queued", "running", None, "succeeded"]
    assert store.jobs.events_after(done, 3) == told[3:]


def test_many_workers_claim_each_job_once(store, store_url):  # noqa: F811
    other = Store(store_url)
    submitted = {submit(store, n).id for n in range(30)}
    claimed, lock = [], threading.Lock()

    def work(place):
        while (job := (store, other)[place % 2].leases.claim(f"w{place}")) is not None:
            with lock:
                claimed.append(job.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(claimed) == 30
    assert set(claimed) == submitted
    other.close()


def test_owners_take_turns_whoever_asks_most(store):
    greedy = [submit(store, n, owner="greedy") for n in range(3)]
    modest = [submit(store, n, owner="modest") for n in range(2)]
    assert [store.jobs.ahead(job) for job in (*greedy, *modest)] == [1, 3, 4, 1, 3]
    taken = [store.leases.claim("w").owner for _ in range(5)]
    assert taken == ["greedy", "modest", "greedy", "modest", "greedy"]
    assert store.leases.claim("w") is None


def test_the_queue_is_bounded_in_all_and_for_each_owner_even_for_those_who_ask_at_once(store):
    def ask(n):
        try:
            return submit(store, n, owner="greedy", bound=6, share=4)
        except QueueFull as full:
            return full

    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(ask, range(12)))
    assert [one.own for one in asked if isinstance(one, QueueFull)] == [True] * 8
    for n in range(2):
        submit(store, n, owner="other", bound=6, share=4)
    with pytest.raises(QueueFull) as refusal:
        submit(store, owner="third", bound=6, share=4)
    assert (refusal.value.waiting, refusal.value.own) == (6, False)


def test_a_client_s_own_id_makes_a_request_once(store):
    first = submit(store, 1, id="mine")
    assert submit(store, 1, id="mine") == first
    with pytest.raises(JobConflict):
        submit(store, 2, id="mine")
    with pytest.raises(JobConflict):
        submit(store, 1, id="mine", owner="other")


def test_cancelling(store):
    waiting, running = submit(store, 1), submit(store, 2)
    assert store.jobs.cancel(waiting.id).state is JobState.cancelled
    held = store.leases.claim("w")
    assert held.id == running.id
    assert store.jobs.cancel(running.id).cancel_requested
    assert not store.leases.wanted(held)
    assert not store.leases.report(held, {"step": "x"})
    # Cancelled after its last step: it is cancelled all the same, and shows nothing.
    assert store.leases.finish(held, JobState.succeeded, results=results(1)).state is JobState.cancelled
    assert store.designs.of([held])[held.seq] == []
    assert store.jobs.cancel(running.id).state is JobState.cancelled
    assert store.jobs.cancel("nothing") is None


def lapse(store: Store) -> None:
    """Let all leases lapse."""
    with store.database.writing() as connection:
        connection.execute(update(jobs_table).values(lease_until=datetime.now(UTC) - timedelta(seconds=1)))


def test_a_job_whose_worker_fell_silent_is_interrupted_and_can_be_retried(store):
    submit(store)
    held = store.leases.claim("w1")
    lapse(store)
    assert store.jobs.get(held.id).state is JobState.interrupted  # before anybody has written it
    # What was once told stays so: the worker that comes back now has lost its job.
    assert not store.leases.renew(held)
    assert not store.leases.report(held, {})
    assert store.leases.finish(held, JobState.succeeded) is None
    assert store.leases.interrupt() == 1
    assert store.leases.interrupt() == 0
    again = store.jobs.retry(held.id, bound=9)
    assert (again.state, again.attempt) == (JobState.queued, 2)
    second = store.leases.claim("w1")
    # The worker that was taken for dead comes back: it can do nothing to the second attempt.
    assert not store.leases.renew(held)
    assert not store.leases.report(held, {})
    assert store.leases.finish(held, JobState.failed) is None
    assert store.leases.renew(second)
    assert store.leases.finish(second, JobState.succeeded).state is JobState.succeeded
    assert store.jobs.retry(held.id, bound=9).state is JobState.succeeded  # there is nothing to try again


def test_only_the_jobs_of_one_worker_are_interrupted_when_it_is_known_to_be_gone(store):
    for n in range(2):
        submit(store, n)
    mine, others = store.leases.claim("w1"), store.leases.claim("w2")
    assert store.leases.interrupt("w1") == 1
    assert store.jobs.get(mine.id).state is JobState.interrupted
    assert store.jobs.get(others.id).state is JobState.running


def test_a_finished_job_is_kept_for_its_time_unless_a_design_is_starred_or_approved(store):
    made = []
    for n in range(3):
        submit(store, n)
        made.append(store.leases.finish(store.leases.claim("w"), JobState.succeeded, results=results(2)))
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert store.designs.say(made[0], 1, "starred", keep=soon)
    assert store.designs.say(made[1], 0, "approved", keep=soon)
    assert not store.designs.say(made[1], 7, "approved", keep=soon)
    with store.database.writing() as connection:
        connection.execute(
            update(jobs_table)
            .where(jobs_table.c.kept_until.is_not(None))
            .values(kept_until=datetime.now(UTC) - timedelta(seconds=1))
        )
    assert store.jobs.get(made[2].id) is None
    assert store.jobs.expire() == 1
    listed = store.jobs.page(before=None, limit=9, starred=False)
    assert [job.id for job in listed] == [made[1].id, made[0].id]
    assert [job.id for job in store.jobs.page(before=None, limit=9, starred=True)] == [made[0].id]
    store.designs.say(made[0], 1, "unstarred", keep=soon)
    assert store.jobs.get(made[0].id).kept_until == soon
    assert store.designs.of([made[1]])[made[1].seq][0].verdict == "approved"


def test_jobs_are_listed_page_by_page_while_new_ones_come(store):
    old = [submit(store, n, user_id=f"u{n % 2}") for n in range(5)]
    first = store.jobs.page(before=None, limit=2, starred=False)
    submit(store, 9)
    rest = store.jobs.page(before=first[-1].seq, limit=9, starred=False)
    assert [job.seq for job in first + rest] == [job.seq for job in reversed(old)]
    assert [job.seq for job in store.jobs.page(before=None, limit=9, starred=False, user_id="u1")] == [
        old[3].seq,
        old[1].seq,
    ]
    assert store.jobs.page(before=None, limit=9, starred=False, state="failed") == []
    assert store.jobs.waiting() == {**dict.fromkeys([s.value for s in JobState], 0), "queued": 6}


def test_deleting_a_running_job_tells_its_worker_to_stop(store):
    job = submit(store)
    held = store.leases.claim("w")
    assert store.jobs.delete(job.id)
    assert not store.jobs.delete(job.id)
    assert not store.leases.wanted(held)
    assert store.leases.finish(held, JobState.succeeded, results=results(1)) is None


def test_workers_that_have_told_of_themselves_live(store):
    assert (store.workers.living(), store.workers.seconds_a_job()) == (0, 5)
    store.workers.seen("a", "cpu", 8)
    store.workers.seen("b", "cpu", 4)
    store.workers.seen("a", "cpu", 8)
    assert (store.workers.living(), store.workers.seconds_a_job()) == (2, 3)
    store.workers.gone("a")
    assert store.workers.living() == 1


# ---- keys, limits, models


def test_a_key_is_known_by_its_whole_text_alone_and_its_secret_is_not_kept(store):
    key, told = store.keys.create("shop", Scope.write, per_minute=10)
    assert store.keys.find(told) == key
    assert key.may(Scope.read)
    assert not key.may(Scope.admin)
    for wrong in ("", told[:-1], told + "x", told.replace(key.id, "0" * 16), told[3:], "rg__", "rg_\ud800_x"):
        assert store.keys.find(wrong) is None
    with store.database.reading() as connection:
        kept = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert told.split("_", 2)[2] not in kept
    store.keys.revoke(key.id)
    assert store.keys.find(told) is None
    assert store.keys.all()[0].revoked_at is not None
    with pytest.raises(NotFoundError):
        store.keys.revoke(key.id)


def test_no_more_requests_are_let_through_than_allowed_however_many_ask_at_once(store):
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda _: store.rates.take("k", 5, 3, 20), range(12)))
    assert sum(granted) == 20
    assert store.rates.take("k", 6, 3, 20) == 3
    assert store.rates.take("other", 6, 30, 20) == 20


def model(id: str) -> StoredModel:
    """A model."""
    return StoredModel(id, "d", "r", None, {"recommender": id}, {}, {"auc": 0.5}, "given", THEN)


def test_models_are_activated_and_rolled_back(store):
    assert store.models.active() is None
    assert store.models.register(model("a"), activate="the first")
    assert store.models.register(model("b"))
    assert not store.models.register(model("b"), activate="again")  # it is known: what serves stays
    assert (store.models.active(), store.models.previous()) == ("a", None)
    before = store.revisions()["models"]
    store.models.activate("b", "better")
    assert (store.models.active(), store.models.previous()) == ("b", "a")
    assert store.revisions()["models"] > before
    assert [one["reason"] for one in store.models.history()] == ["better", "the first"]
    with pytest.raises(NotFoundError, match="no model 'c'"):
        store.models.activate("c", "")
    assert store.models.get("a") == model("a")
    assert {one.id for one in store.models.all()} == {"a", "b"}
