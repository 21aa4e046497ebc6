"""The typed client, against the real application; and what it does when the network or the service does not."""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.resources import files
from pathlib import Path

import httpx
import numpy as np
import pytest

from recgan.errors import DataError, SettingsError
from service.client import Client, RetrySettings, ServiceRefused, ServiceUnreachable
from service.client.transport import retry_after
from service.schemas import ItemPut, NewItem, UserEvent
from service.store.job import JobState
from service.store.keys import Scope
from tests.conftest import draw_item, png
from tests.service_world import IDS, PATIENCE, USERS, World, running
from tests.test_service_gaps import write_gaps


@pytest.fixture
def shop(world: World) -> Client:
    """A client of it."""
    return Client(http=world.client)


PHOTO = draw_item(3, np.random.default_rng(0))


# ---- the real application


def test_it_asks_for_recommendations_of_all_kinds(shop, tmp_path):
    (tmp_path / "liked.png").write_bytes(PHOTO)
    assert [one.item_id for one in shop.recommendations("anna", k=3).items] == ["a/b", "50%", "käse 日本 👗"]
    kept = shop.recommendations("b/c", categories=["hats"], candidates=["a/b", "plain", "back\\slash"]).items
    assert [one.item_id for one in kept] == ["a/b"]
    assert [one.item_id for one in shop.recommendations("anna", k=1, exclude_seen=False).items] == ["plain"]
    explained = shop.recommendations("anna", k=1, explain=True).items[0].explanation
    assert explained is not None
    assert sum(explained.parts.values()) == pytest.approx(-1.0)  # item 1 scores -1
    liked = shop.session_recommendations(["plain"], photos=[tmp_path / "liked.png"], disliked=["a/b"], k=2)
    assert [one.item_id for one in liked.items] == ["50%", "käse 日本 👗"]
    somebody = {"photos": [PHOTO], "candidates": ["50%"], "explain": True}
    (only,) = shop.session_recommendations(["plain"], **somebody).items
    assert only.item_id == "50%"
    assert {(one.item_id, one.photo) for one in only.explanation.carried_by} == {("plain", None), (None, 1)}
    assert len(shop.similar("a/b", 4, categories=["coats"]).items) == 4
    assert len(shop.search(PHOTO, 2).items) == 2


def test_ids_of_any_kind_arrive_as_they_are(shop):
    assert [shop.item(id).item_id for id in IDS] == IDS
    assert [one.item_id for one in shop.items()] == IDS
    assert [one.item_id for one in shop.items("hats")] == IDS[1::2]
    assert list(shop.users()) == USERS
    for id in (".", "..", "...", "%2E%2E"):
        assert shop.put_item(id, ItemPut(category="hats")).items == 1
        assert shop.item(id).item_id == id


def test_pages_are_walked_to_their_end(shop, world):
    pages = []
    get = world.client.send

    def counted(request, **options):
        pages.append(request.url.path)
        return get(request, **options)

    world.client.send = counted  # type: ignore[method-assign]
    shop.put_items([NewItem(item_id=f"new {n:02d}", category="hats") for n in range(60)])
    assert [one.item_id for one in shop.items()] == [*IDS, *(f"new {n:02d}" for n in range(60))]
    assert pages == ["/v1/items"] * 3  # one to put them; fifty a page


def test_items_are_put_changed_pictured_and_deleted(shop):
    told = shop.put_item("new", ItemPut(category="hats", attributes={"price": 3}), photo=PHOTO)
    assert (told.items, told.recommendable) == (1, 1)
    assert shop.item("new").image_count == 1
    shop.change_item("new", available=False)
    assert not shop.item("new").available
    shop.put_item("new", ItemPut(category="hats"))
    assert shop.item("new").image_count == 1  # left out, the picture stays
    assert shop.item("bare").image_count == 0
    shop.upload_photo("bare", PHOTO)
    assert shop.item_photo("bare")[8:12] == b"WEBP"
    shop.delete_item("new")
    with pytest.raises(ServiceRefused, match="no item 'new'") as refused:
        shop.delete_item("new")
    assert (refused.value.kind, refused.value.status, refused.value.tries) == ("unknown-item", 404, 1)


def test_events_of_one_key_count_once(shop):
    events = [UserEvent(user_id="zoë", item_id="plain", event="purchase")]
    first, again = (shop.post_events(events, idempotency_key="order 1") for _ in range(2))
    assert first == again
    assert shop.post_events(events).first > first.last
    assert [one.event for one in shop.user("zoë").events] == ["purchase"] * 2
    shop.forget_user("zoë")
    with pytest.raises(ServiceRefused, match="nothing is held"):
        shop.user("zoë")


def test_a_design_is_asked_for_waited_for_judged_and_deleted(shop):
    submitted = shop.submit_design("coats", user_id="anna", n=2, seed=5, design_id="mine")
    assert shop.submit_design("coats", user_id="anna", n=2, seed=5, design_id="mine").id == submitted.id == "mine"
    states = []
    done = shop.wait_for_design("mine", timeout=PATIENCE, told=lambda status: states.append(status.state))
    assert done.state is states[-1] is JobState.succeeded
    assert [one.seed for one in done.results] == [6, 5]  # best first
    assert shop.design_picture("mine", 0).startswith(b"\x89PNG")
    assert shop.design_picture("mine", 1, "webp")[8:12] == b"WEBP"
    assert shop.judge_design("mine", 1, starred=True, verdict="approved").results[1].verdict == "approved"
    photos = shop.submit_design("coats", photos=[PHOTO], n=1)
    assert shop.wait_for_design(photos.id, timeout=PATIENCE).state is JobState.succeeded
    assert [one.id for one in shop.designs()] == [photos.id, "mine"]
    assert [one.id for one in shop.designs(starred=True)] == ["mine"]
    assert [one.id for one in shop.designs(user_id="anna")] == ["mine"]
    assert [one.id for one in shop.designs(state="succeeded")] == [photos.id, "mine"]
    assert list(shop.designs(state=JobState.failed)) == []
    with pytest.raises(ServiceRefused, match="state"):
        list(shop.designs(state="done"))
    with pytest.raises(ServiceRefused, match=r"409.*nothing to try again"):
        shop.retry_design("mine")
    shop.delete_design("mine")
    assert [one.id for one in shop.designs()] == [photos.id]


def test_what_reproduces_a_design_and_all_of_a_request_are_files(shop):
    shop.submit_design("coats", user_id="anna", n=2, seed=5, design_id="mine")
    shop.wait_for_design("mine", timeout=PATIENCE)
    settings = shop.design_settings("mine", 1)
    assert (settings["seed"], settings["category"], settings["request"]["user_id"]) == (5, "coats", "anna")
    with zipfile.ZipFile(io.BytesIO(shop.designs_zip("mine"))) as archive:
        assert sorted(archive.namelist()) == [f"design-0{n}.{form}" for n in range(2) for form in ("json", "png")]
        assert archive.read("design-01.png") == shop.design_picture("mine", 1)
        assert json.loads(archive.read("design-01.json")) == settings
    with pytest.raises(ServiceRefused, match="404"):
        shop.design_settings("mine", 2)


def test_a_model_is_told_by_its_id(shop):
    (only,) = shop.models().models
    assert shop.model(only.id) == only
    assert only.serving
    with pytest.raises(ServiceRefused) as refused:
        shop.model("0123456789abcdef")
    assert refused.value.kind == "unknown-model"


def test_the_packages_tell_type_checkers_of_their_types():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["*"]
    assert [(files(package) / "py.typed").is_file() for package in ("recgan", "service")] == [True, True]


def test_more_is_made_of_finished_designs(shop, world):
    shop.submit_design("coats", user_id="anna", n=2, seed=5, design_id="mine")
    assert shop.wait_for_design("mine", timeout=PATIENCE).state is JobState.succeeded
    like = shop.wait_for_design(shop.more_like_design(("mine", 1), n=2, seed=3).id, timeout=PATIENCE)
    assert (like.state, like.request.user_id, like.request.seed) == (JobState.succeeded, "anna", 3)
    assert [(one.design, one.index) for one in like.origins] == [("mine", 1)]
    mixed = shop.mix_designs(("mine", 0), (like.id, 1), user_id="b/c", n=3, design_id="mixed")
    assert shop.mix_designs(("mine", 0), (like.id, 1), user_id="b/c", n=3, design_id="mixed").id == mixed.id == "mixed"
    done = shop.wait_for_design("mixed", timeout=PATIENCE)
    assert [one.settings["edit"]["share"] for one in done.results] == [0, 0.5, 1]
    assert world.designer.asked[-1][0] == "b/c"
    with pytest.raises(ServiceRefused, match="no design 'gone'") as refused:
        shop.mix_designs(("mine", 0), ("gone", 1))
    assert (refused.value.kind, refused.value.status) == ("unknown-design", 404)


def test_designs_items_and_photos_are_moved_and_tailored(shop, world, tmp_path):
    told = shop.editing()
    assert [(one.direction, one.low, one.high) for one in told.sliders] == [(0, -2, 3), (1, 0, 1)]
    assert told.inverter is not None
    assert shop.direction_sheet(1) == world.client.get(told.sliders[1].image_url).content
    shop.submit_design("coats", user_id="anna", n=1, seed=5, design_id="begun")
    shop.wait_for_design("begun", timeout=PATIENCE)
    moved = shop.wait_for_design(shop.slide_design(("begun", 0), {0: 1.5, 1: 1}).id, timeout=PATIENCE)
    assert [one.settings["edit"]["amounts"] for one in moved.results] == [{"0": 1.5, "1": 1}]
    with pytest.raises(ServiceRefused, match="goes from -2 to") as refused:
        shop.slide_design(("begun", 0), {0: 9})
    assert refused.value.status == 422
    photo = tmp_path / "mine.png"
    photo.write_bytes(png(np.full((20, 20, 3), 90, dtype=np.uint8)))
    asked = [
        shop.tailor("plain", user_id="b/c", n=2, seed=1),
        shop.tailor(photo, "coats", user_id="b/c", n=1, realism=2),
        shop.tailor(("begun", 0), user_id="b/c", n=1, preset="kang2017", design_id="again"),
        shop.tailor("plain", user_id="b/c", n=1, leash=0.5, keep_colour=True),
    ]
    done = [shop.wait_for_design(one.id, timeout=PATIENCE) for one in asked]
    assert [len(one.results) for one in done] == [2, 1, 1, 1]
    held = [one.results[0].settings["edit"]["settings"] for one in done]
    assert [(one["leash"], one["keep_colour"]) for one in held] == [(1, False)] * 3 + [(0.5, True)]
    of = [one.results[0].settings["edit"]["of"] for one in done]
    assert (of[0], of[1]["category"], of[2]["design"]["seed"]) == ({"item": "plain"}, "coats", 5)
    assert [one[0] for one in world.designer.asked[-4:]] == ["b/c"] * 4
    assert shop.tailor(("begun", 0), user_id="b/c", n=1, preset="kang2017", design_id="again").results


def test_gaps_and_their_cohorts(catalogue, tmp_path):
    with running(catalogue, gaps=write_gaps(tmp_path / "gaps")) as world, Client(http=world.client) as shop:
        told = shop.gaps()
        assert [one.category for one in told.briefs] == ["hats", "coats"]
        assert shop.gap_picture(1) == world.client.get(told.briefs[1].image_url).content
        done = shop.wait_for_design(shop.submit_design("coats", cohort=2, n=1).id, timeout=PATIENCE)
        assert done.request.users == ["anna", "b/c"]
        shop.wait_for_design(shop.submit_design("coats", users=["b/c"], n=1).id, timeout=PATIENCE)
        assert [one[0] for one in world.designer.asked] == [["anna", "b/c"], ["b/c"]]


def test_waiting_may_end_before_the_design_does(shop, world):
    world.designer.release.clear()
    shop.submit_design("coats", user_id="anna", design_id="slow")
    with pytest.raises(TimeoutError, match=r"'slow' is (queued|running) after 0.2 s"):
        shop.wait_for_design("slow", timeout=0.2)
    shop.cancel_design("slow")
    world.designer.release.set()
    assert shop.wait_for_design("slow", timeout=PATIENCE).state is JobState.cancelled


def test_a_design_is_followed_to_its_end_and_from_the_middle(shop):
    shop.submit_design("coats", user_id="anna", n=1, design_id="seen")
    events = list(shop.follow_design("seen"))
    assert [event.id for event in events] == sorted({event.id for event in events})
    states = [event.data["state"] for event in events if event.kind == "state"]
    assert states == ["queued", "running", "succeeded"]
    assert list(shop.follow_design("seen", after=events[-2].id)) == events[-1:]
    assert list(shop.follow_design("seen", after=events[-1].id)) == []


def test_it_sends_its_key_and_tells_what_the_service_says(catalogue):
    with running(catalogue, keys=True) as world:
        _, text = world.service.store.keys.create("shop", Scope.read, None)
        with pytest.raises(ServiceRefused, match=r"^GET /v1/models: 401: send an API key") as refused:
            Client(http=world.client).models()
        assert refused.value.kind == "no-key"
        shop = Client(http=world.client, key=text)
        assert len(shop.models().models) == 1
        with pytest.raises(ServiceRefused, match=r"403.*may read; here 'admin' is needed"):
            shop.roll_back()
        assert shop.ready().status == "ready"
        assert shop.version().api == "v1"


def test_a_photo_that_is_not_there_is_told_before_anything_is_asked(shop, tmp_path):
    with pytest.raises(DataError, match=r"none\.png' cannot be read"):
        shop.search(tmp_path / "none.png")
    with pytest.raises(SettingsError, match="'localhost:8000' is no address of a service"):
        Client("localhost:8000")


# ---- a service and a network that fail


class Script:
    """A service that gives one answer after the other, and a client that does not really wait for it."""

    def __init__(self, *answers: httpx.Response | Exception, **retry: float) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.naps: list[float] = []
        http = httpx.Client(transport=httpx.MockTransport(self.answer), base_url="http://shop")
        self.client = Client(http=http, retry=RetrySettings(**retry))  # type: ignore[arg-type]
        self.client._transport.sleep = self.naps.append  # type: ignore[method-assign]

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Give the next answer."""
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def problem(status: int, slug: str, **headers: str) -> httpx.Response:
    """What the service answers."""
    told = {"type": f"urn:recgan:problem:{slug}", "title": "T", "status": status, "detail": "not now"}
    return httpx.Response(status, json=told, headers={"content-type": "application/problem+json", **headers})


def version() -> httpx.Response:
    """A good answer to what `Client.version` asks."""
    return httpx.Response(200, json={"recgan": "1", "api": "v1", "model": None})


ACCEPTED = {"accepted": 1, "first": 1, "last": 1}
EVENTS = [UserEvent(user_id="u", item_id="i")]


def test_it_comes_back_when_the_service_says():
    busy = problem(503, "store-busy", **{"Retry-After": "7"})
    script = Script(busy, problem(429, "rate-limit", **{"Retry-After": "30"}), version())
    assert script.client.version().api == "v1"
    assert script.naps == [7.0, 30.0]


def test_without_a_word_the_pauses_double_and_are_not_all_alike():
    script = Script(*(httpx.Response(502) for _ in range(5)), first_seconds=1.0)
    with pytest.raises(ServiceRefused, match="GET /version: 502: Bad Gateway, and not from the service") as refused:
        script.client.version()
    assert refused.value.tries == 5
    assert refused.value.kind == ""
    assert len(script.naps) == 4
    assert all(longest / 2 <= nap <= longest for nap, longest in zip(script.naps, (1, 2, 4, 8)))
    assert len({RetrySettings().pause(1) for _ in range(10)}) > 1


@pytest.mark.parametrize(
    "answer",
    [
        problem(503, "no-generator"),  # it does not say when to come back: it will not help
        problem(503, "loading", **{"Retry-After": "61"}),  # later than we would wait
        problem(500, "internal", **{"Retry-After": "1"}),
        problem(422, "invalid-request"),
    ],
)
def test_it_does_not_come_back_where_that_does_not_help(answer):
    script = Script(answer)
    with pytest.raises(ServiceRefused, match="not now"):
        script.client.version()
    assert script.naps == []


def test_what_may_have_been_done_is_not_asked_twice():
    for failure in (httpx.ReadError("cut"), httpx.ReadTimeout("late"), httpx.Response(502)):
        script = Script(failure)
        with pytest.raises((ServiceUnreachable, ServiceRefused)):
            script.client.roll_back()
        assert len(script.asked) == 1
    surely_not = Script(httpx.ConnectError("refused"), problem(429, "rate-limit", **{"Retry-After": "1"}), version())
    surely_not.client._transport.send("POST", "/v1/models/rollback", safe=False)
    assert len(surely_not.asked) == 3


def test_events_are_repeated_under_one_key_of_their_own():
    script = Script(httpx.ReadError("cut"), httpx.Response(201, json=ACCEPTED), httpx.Response(201, json=ACCEPTED))
    script.client.post_events(EVENTS)
    script.client.post_events(EVENTS)
    first, again, other = (request.headers["Idempotency-Key"] for request in script.asked)
    assert first == again != other


def test_what_an_earlier_try_has_deleted_is_deleted():
    script = Script(httpx.ReadError("cut"), problem(404, "unknown-item"))
    script.client.delete_item("i")
    assert len(script.asked) == 2


def test_a_service_that_is_not_there_is_one_line():
    script = Script(*(httpx.ConnectError("connection refused") for _ in range(2)), tries=2)
    with pytest.raises(ServiceUnreachable, match=r"^GET /version: no answer \(2 tries\): connection refused; is the "):
        script.client.version()
    script.answers = [httpx.ConnectError("connection refused")]
    assert script.client.ready().status == "not ready"


EVENTS_TYPE = {"content-type": "text/event-stream; charset=utf-8"}


class Broken(httpx.SyncByteStream):
    """An answer that breaks off."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self.text.encode()
        raise httpx.ReadError("cut")


def test_a_stream_that_breaks_goes_on_where_it_was():
    first = 'retry: 1000\n\nid: 1\nevent: state\ndata: {"state": "queued"}\n\n: still there\n\nid: 2\nevent: st'
    rest = 'id: 2\nevent: state\ndata: {"state": "running"}\n\n'
    script = Script(
        httpx.Response(200, stream=Broken(first), headers=EVENTS_TYPE),
        httpx.Response(200, text=rest, headers=EVENTS_TYPE),
        httpx.Response(204),
        tries=2,
    )
    assert [(event.id, event.data["state"]) for event in script.client.follow_design("d")] == [
        (1, "queued"),
        (2, "running"),
    ]
    assert [request.headers["Last-Event-ID"] for request in script.asked] == ["0", "1", "2"]
    script.answers = [httpx.Response(200, stream=Broken(""), headers=EVENTS_TYPE) for _ in range(2)]
    with pytest.raises(ServiceUnreachable, match="broke off 2 times"):
        list(script.client.follow_design("d"))


def test_streams_that_tell_nothing_are_opened_again_more_and_more_slowly():
    told = 'id: 1\nevent: state\ndata: {"state": "succeeded"}\n\n'
    silent = [httpx.Response(200, text="retry: 1000\n\n", headers=EVENTS_TYPE) for _ in range(1100)]
    script = Script(*silent, httpx.Response(200, text=told, headers=EVENTS_TYPE), httpx.Response(204), tries=2)
    assert [event.id for event in script.client.follow_design("d")] == [1]
    assert len(script.naps) == len(silent)  # none after the one that told something
    assert all(longest / 2 <= nap <= longest for nap, longest in zip(script.naps, (0.2, 0.4, 0.8, 1.6, 2.0)))
    assert all(1.0 <= nap <= 2.0 for nap in script.naps[5:])


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda shop: shop.version(), "GET /version: 200: the answer (text/html) is not the service's own"),
        (lambda shop: list(shop.items()), "GET /v1/items: 200: the answer (text/html) is not"),
        (lambda shop: shop.item_photo("i"), "GET /v1/items/i/image: 200: the answer (text/html) is not"),
        (lambda shop: shop.design_picture("d", 0), "GET /v1/designs/d/0.png: 200: the answer (text/html) is not"),
        (lambda shop: shop.design_settings("d", 0), "GET /v1/designs/d/0.json: 200: the answer (text/html) is not"),
        (lambda shop: shop.designs_zip("d"), "GET /v1/designs/d/all.zip: 200: the answer (text/html) is not"),
        (lambda shop: list(shop.follow_design("d")), "GET /v1/designs/d/events: 200: the answer (text/html) is not"),
        (lambda shop: shop.delete_item("i"), "DELETE /v1/items/i: 200: the answer (text/html) is not"),
    ],
)
def test_a_page_that_something_else_answers_with_is_one_line(ask, told):
    script = Script(httpx.Response(200, html="<h1>Please sign in</h1>"))
    with pytest.raises(ServiceRefused) as refused:
        ask(script.client)
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)
    assert (refused.value.status, refused.value.kind, len(script.asked)) == (200, "", 1)
    script.answers = [httpx.Response(200, html="<h1>Please sign in</h1>")]
    readiness = script.client.ready()
    assert readiness.status == "not ready"
    assert "not the service's" in readiness.reasons[0]


def test_a_whole_answer_that_breaks_off_is_asked_for_again():
    script = Script(httpx.Response(200, stream=Broken('{"recgan":')), version())
    assert script.client.version().recgan == "1"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (lambda: None, None),
        (lambda: "0", 0.0),
        (lambda: "120", 120.0),
        (lambda: "soon", None),
        (lambda: "-1", None),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True), 99.5),
        (lambda: format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: Callable[[], str | None], seconds):
    found = retry_after(value())
    assert found == (seconds if seconds is None else pytest.approx(seconds, abs=1.0))


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="tries is at least 1"):
        RetrySettings(tries=0)


def test_the_photo_may_be_a_file(tmp_path: Path):
    (tmp_path / "photo.png").write_bytes(PHOTO)
    script = Script(httpx.Response(200, json={"items": 1, "recommendable": 1, "model": MODEL}))
    script.client.upload_photo("a/b", tmp_path / "photo.png")
    assert script.asked[0].content == PHOTO
    assert script.asked[0].url.raw_path == b"/v1/items/a%2Fb/image"


MODEL = {"catalogue": "c", "recommender": "r", "generator": None}
