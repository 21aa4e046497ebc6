"""Design requests: the client's own ids, following, cancelling, retrying, listing, judging; and the worker behind."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from recgan.errors import SettingsError
from service.store import Store
from service.store.job import JobState
from service.worker import JobResult, Worker
from tests.databases import postgres_server, store_url  # noqa: F401
from tests.service_world import PATIENCE, assert_problem, design, finished, running, until

ASKED = {"user_id": "anna", "category": "coats", "n": 2}


def told(answer) -> list[tuple[int, str, dict]]:
    """The events of a stream as (id, kind, data)."""
    events = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


# ---- requests


def test_a_request_under_the_client_s_own_id_is_made_once(world):
    first = world.client.put("/v1/designs/mine", json=ASKED)
    assert (first.status_code, first.headers["location"]) == (202, "/v1/designs/mine")
    done = finished(world, "/v1/designs/mine")
    again = world.client.put("/v1/designs/mine", json=ASKED)
    assert again.status_code == 202
    assert again.json()["results"] == done["results"]
    assert len(world.designer.asked) == 1
    assert_problem(world.client.put("/v1/designs/mine", json={**ASKED, "n": 3}), "other-request")
    assert_problem(world.client.put("/v1/designs/a.b", json=ASKED), "invalid-request")


def test_a_request_that_is_sent_many_times_at_once_is_made_once(world):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: world.client.put("/v1/designs/mine", json=ASKED).status_code, range(12)))
    assert set(answers) == {202}
    finished(world, "/v1/designs/mine")
    assert len(world.designer.asked) == 1


def test_following_a_design_to_its_end_and_coming_back(world):
    world.designer.release.clear()
    url = world.client.post("/v1/designs", json=ASKED).headers["location"]
    assert world.designer.entered.wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(world.client.get, f"{url}/events")
        world.designer.release.set()
        answer = stream.result(PATIENCE)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = told(answer)
    numbers = [number for number, _, _ in events]
    assert numbers == sorted(set(numbers))
    assert [data["state"] for _, kind, data in events if kind == "state"] == ["queued", "running", "succeeded"]
    assert [data["done"] for _, kind, data in events if kind == "progress"] == [1, 2]
    back = world.client.get(f"{url}/events", headers={"Last-Event-ID": "2"})
    assert told(back) == [event for event in events if event[0] > 2 and event[1] != "picture"]
    # Who has seen all is told that nothing comes any more: a browser would ask for ever.
    assert world.client.get(f"{url}/events", headers={"Last-Event-ID": str(numbers[-1])}).status_code == 204
    assert_problem(world.client.get("/v1/designs/none/events"), "unknown-design")
    assert_problem(world.client.get(f"{url}/events", headers={"Last-Event-ID": "x"}), "invalid-request")


def test_a_design_is_seen_while_it_is_made_and_its_sketches_go_when_it_ends(world):
    world.designer.release.clear()
    url = world.client.post("/v1/designs", json=ASKED).headers["location"]
    assert world.designer.entered.wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(world.client.get, f"{url}/events")
        pause = threading.Event()
        while world.service.streams.open == 0:
            pause.wait(0.02)
        pause.wait(0.5)  # long enough for the stream to look once
        world.designer.release.set()
        events = told(stream.result(PATIENCE))
    (sketch,) = [data for _, kind, data in events if kind == "picture"]
    assert sketch["index"] == 0
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(sketch["png"])))) == 77).all()
    assert events[-1][1:] == ("state", {"state": "succeeded"})
    assert not [kind for _, kind, _ in told(world.client.get(f"{url}/events")) if kind == "picture"]


def test_no_more_streams_are_open_than_stated(catalogue):
    with running(catalogue, max_streams=1) as world, ThreadPoolExecutor(1) as pool:
        world.designer.release.clear()
        url = world.client.post("/v1/designs", json=ASKED).headers["location"]
        assert world.designer.entered.wait(PATIENCE)
        first = pool.submit(world.client.get, f"{url}/events")
        until(lambda: world.service.streams.open == 1)
        assert_problem(world.client.get(f"{url}/events"), "too-many-streams")
        assert world.client.head(f"{url}/events").status_code == 200  # a head waits for nothing
        world.designer.release.set()
        assert told(first.result(PATIENCE))[-1][2] == {"state": "succeeded"}
        assert world.client.get(f"{url}/events").status_code == 200


def test_a_design_can_be_tried_again_but_not_one_that_succeeded(world):
    world.designer.failure = SettingsError("no coats today")
    failed = design(world)
    assert failed["state"] == "failed"
    world.designer.failure = None
    again = world.client.post(f"{failed['url']}/retry")
    assert (again.status_code, again.json()["state"], again.json()["attempt"]) == (202, "queued", 2)
    done = finished(world, failed["url"])
    assert (done["state"], done["problem"]) == ("succeeded", None)
    assert done["request"] == failed["request"]
    assert_problem(world.client.post(f"{failed['url']}/retry"), "not-retriable")
    assert_problem(world.client.post("/v1/designs/none/retry"), "unknown-design")


def test_designs_are_listed_the_newest_first_and_filtered(world):
    urls = [design(world, user_id=user)["url"] for user in ("anna", "b/c", "anna")]
    world.client.patch(f"{urls[0]}/0", json={"starred": True})

    def listed(query: str) -> list[str]:
        return [one["url"] for one in world.client.get(f"/v1/designs?{query}").json()["designs"]]

    page = world.client.get("/v1/designs?limit=2").json()
    assert [one["url"] for one in page["designs"]] == [urls[2], urls[1]]
    assert listed(f"cursor={page['next_cursor']}") == [urls[0]]
    assert listed("user_id=anna") == [urls[2], urls[0]]
    assert listed("starred=true") == [urls[0]]
    assert listed("state=failed") == []
    assert_problem(world.client.get("/v1/designs?state=lost"), "invalid-request")


def test_deleting_a_design_whatever_it_does(world):
    done = design(world)
    assert world.client.delete(done["url"]).status_code == 204
    assert_problem(world.client.delete(done["url"]), "unknown-design")
    assert_problem(world.client.get(f"{done['url']}/0.png"), "unknown-design")
    world.designer.entered.clear()
    world.designer.release.clear()
    url = world.client.post("/v1/designs", json=ASKED).headers["location"]
    assert world.designer.entered.wait(PATIENCE)
    assert world.client.delete(url).status_code == 204
    world.designer.release.set()
    assert design(world)["state"] == "succeeded"  # the worker has stopped the one and made the next


# ---- results


def test_pictures_in_two_forms_and_the_settings_that_reproduce_them(world):
    done = design(world, n=2, seed=5)
    best = done["results"][0]
    png, webp = (world.client.get(best["image_url"].replace(".png", form)) for form in (".png", ".webp"))
    assert webp.headers["content-type"] == "image/webp"
    assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(one.content)).convert("RGB")) for one in (png, webp)))
    assert webp.headers["etag"] != png.headers["etag"]
    assert webp.headers["cache-control"] == png.headers["cache-control"] == "private, max-age=31536000, immutable"
    again = world.client.get(
        best["image_url"].replace(".png", ".webp"), headers={"If-None-Match": webp.headers["etag"]}
    )
    assert again.status_code == 304
    told = world.client.get(best["settings_url"])
    assert told.headers["content-disposition"].startswith("attachment")
    assert (told.json()["seed"], told.json()["request"]["seed"]) == (6, 5)
    assert told.json()["settings"] == {**best["settings"], "user": "anna"}
    assert told.json()["model"] == done["model"]


def test_all_designs_of_a_request_come_as_one_file(world):
    done = design(world, n=2, realism=3.5)
    assert done["results"][0]["settings"]["realism_weight"] == 3.5
    with zipfile.ZipFile(io.BytesIO(world.client.get(f"{done['url']}/all.zip").content)) as archive:
        assert sorted(archive.namelist()) == [f"design-0{n}.{form}" for n in range(2) for form in ("json", "png")]
        assert archive.read("design-00.png") == world.client.get(done["results"][0]["image_url"]).content
        settings = json.loads(archive.read("design-01.json"))["settings"]
        assert settings == {**done["results"][1]["settings"], "user": "anna"}


def test_designs_are_starred_approved_and_rejected(world):
    done = design(world, n=2)

    def say(index: int, **said):
        answer = world.client.patch(f"{done['url']}/{index}", json=said)
        assert answer.status_code == 200, answer.text
        return [(one["starred"], one["verdict"]) for one in answer.json()["results"]]

    assert say(0, starred=True) == [(True, None), (False, None)]
    assert world.client.get(done["url"]).json()["kept_until"] is None
    assert say(1, verdict="rejected") == [(True, None), (False, "rejected")]
    assert say(0, starred=False, verdict="approved") == [(False, "approved"), (False, "rejected")]
    assert say(0, verdict="undecided") == [(False, None), (False, "rejected")]
    assert world.client.get(done["url"]).json()["kept_until"] is not None
    assert_problem(world.client.patch(f"{done['url']}/2", json={"starred": True}), "not-found")
    assert_problem(world.client.patch(f"{done['url']}/0", json={"verdict": "meh"}), "invalid-request")


# ---- the worker


class Work:
    """Work that stops at a gate: ``entered`` is set when it begins, and it goes on when ``gate`` is."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.steps = 0

    def __call__(self, request, progress, preview) -> JobResult:
        progress("first", 1, 1000)
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        for done in range(2, 1000):
            self.steps += 1
            progress("second", done, 1000)
        return JobResult([], {"recommender": "r"})


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    """A store."""
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield store
    store.close()


def ended(store: Store, id: str):
    """Wait for a job's end."""
    until(lambda: store.jobs.get(id).finished)
    return store.jobs.get(id)


def test_a_cancelled_job_stops_within_two_steps(store):
    work = Work()
    worker = Worker(store, work)
    worker.start()
    job = store.jobs.submit({}, bound=1)
    assert work.entered.wait(PATIENCE)
    store.jobs.cancel(job.id)
    work.gate.set()
    assert ended(store, job.id).state is JobState.cancelled
    assert work.steps <= 2
    assert worker.close(PATIENCE)


def test_a_long_step_keeps_its_lease_and_closing_interrupts(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}", lease_seconds=4)
    work = Work()
    worker = Worker(store, work)
    worker.start()
    job = store.jobs.submit({}, bound=1)
    assert work.entered.wait(PATIENCE)
    given = store.jobs.get(job.id)
    until(lambda: store.jobs.get(job.id).lease_until > given.lease_until)  # in the middle of a step
    assert store.jobs.get(job.id).state is JobState.running
    assert not worker.close(0.01)  # the work does not look up; its job is given up all the same
    assert store.jobs.get(job.id).state is JobState.interrupted
    work.gate.set()
    assert worker.close(PATIENCE)
    assert store.jobs.get(job.id).state is JobState.interrupted
    assert store.workers.living() == 0
    store.close()


def test_a_bug_is_logged_and_told_without_its_inside_and_the_worker_goes_on(store, caplog):
    def work(request, progress, preview) -> JobResult:
        if request["n"] == 1:
            raise ZeroDivisionError("the secret of /srv/model")
        return JobResult([], {})

    worker = Worker(store, work)
    worker.start()
    with caplog.at_level(logging.ERROR, logger="recgan.service"):
        first, second = (store.jobs.submit({"n": n}, bound=9) for n in (1, 2))
        assert ended(store, second.id).state is JobState.succeeded
    failed = store.jobs.get(first.id)
    assert (failed.state, failed.failure["type"]) == (JobState.failed, "urn:recgan:problem:internal")
    assert "secret" not in str(failed.failure)
    assert "the secret of /srv/model" in caplog.text
    assert worker.close(PATIENCE)


def test_workers_of_two_replicas_share_the_queue_and_make_each_job_once(store_url):  # noqa: F811
    stores = [Store(store_url) for _ in range(2)]
    store = stores[0]
    made, lock = [], threading.Lock()

    def work(request, progress, preview) -> JobResult:
        progress("one", 1, 1)
        with lock:
            made.append(request["n"])
        return JobResult([], {})

    workers = [Worker(one, work) for one in stores]
    for worker in workers:
        worker.start()
    jobs = [store.jobs.submit({"n": n}, bound=99) for n in range(12)]
    assert {ended(store, job.id).state for job in jobs} == {JobState.succeeded}
    assert sorted(made) == list(range(12))
    assert all(worker.close(PATIENCE) for worker in workers)
    for one in stores:
        one.close()


def test_a_worker_that_is_not_ready_takes_nothing(store):
    ready = threading.Event()
    worker = Worker(store, lambda request, progress, preview: JobResult([], {}), ready=ready.is_set)
    worker.start()
    job = store.jobs.submit({}, bound=1)
    threading.Event().wait(0.4)
    assert store.jobs.get(job.id).state is JobState.queued
    ready.set()
    assert ended(store, job.id).state is JobState.succeeded
    assert worker.close(PATIENCE)
