"""What is told to the service counts at once: items, events, users; also in another process on the same store."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from tests.databases import postgres_server, store_url  # noqa: F401
from tests.service_world import IDS, World, assert_problem, design, running

NEW = "new/👗 #1"


def drawn(brightness: int = 255, format: str = "PNG", size: tuple[int, int] = (20, 10)) -> bytes:
    """An encoded grey picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (brightness,) * 3).save(buffer, format)
    return buffer.getvalue()


def text(data: bytes) -> str:
    """Bytes as Base64."""
    return base64.b64encode(data).decode()


def path(item_id: str) -> str:
    """Path of an item."""
    return f"/v1/items/{quote(item_id, safe='')}"


def put(world: World, item_id: str, **values) -> dict:
    """Put an item."""
    answer = world.client.put(path(item_id), json={"category": "hats", **values})
    assert answer.status_code == 200, answer.text
    return answer.json()


def recommended(world: World, user: str = "anna", query: str = "k=50") -> list[str]:
    """Ids that are recommended to a user."""
    answer = world.client.get(f"/v1/users/{quote(user, safe='')}/recommendations?{query}")
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def listed(world: World, query: str = "") -> list[str]:
    """Ids of all items, page by page."""
    ids, cursor = [], ""
    while True:
        page = world.client.get(f"/v1/items?limit=3{query}{cursor}").json()
        ids += [item["item_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = f"&cursor={page['next_cursor']}"


# ---- items


def test_a_new_item_is_recommended_at_once_from_its_picture_alone(world):
    told = put(world, NEW, image=text(drawn(255)), attributes={"colour": "white"})
    assert (told["items"], told["recommendable"]) == (1, 1)
    assert recommended(world)[0] == NEW  # the fake likes bright pictures best, all others less than 0
    found = world.client.get(path(NEW)).json()
    assert (found["category"], found["attributes"], found["image_count"]) == ("hats", {"colour": "white"}, 1)
    put(world, "dark", image=text(drawn(0)))
    assert recommended(world)[:3] == [NEW, "dark", "a/b"]  # 10, then 0, then -1
    assert recommended(world, query="k=9&category=coats")[0] == "50%"
    similar = world.client.get(f"{path(NEW)}/similar?k=3").json()["items"]
    assert [item["item_id"] for item in similar] == IDS[:3]
    assert NEW in [item["item_id"] for item in world.client.get("/v1/items/plain/similar?k=50").json()["items"]]
    assert world.client.get("/v1/categories").json()["categories"][1] == {
        "name": "hats",
        "items": 7,
        "designable": False,
    }


def test_what_one_process_is_told_another_answers_with(catalogue, store_url):  # noqa: F811
    with running(catalogue, store=store_url) as one, running(catalogue, store=store_url) as other:
        assert recommended(other)[0] == "a/b"
        put(one, NEW, image=text(drawn()))
        assert recommended(other)[0] == NEW
        assert (one.eye.looked, other.eye.looked) == (1, 0)  # what one has seen, the other need not look at
        other.client.post("/v1/events", json={"events": [{"user_id": "anna", "item_id": NEW}]})
        assert NEW not in recommended(one)
        other.client.delete(path("a/b"))
        assert "a/b" not in recommended(one)
    with running(catalogue, store=store_url) as later:
        assert listed(later) == [*[id for id in IDS if id != "a/b"], NEW]


def test_an_item_without_a_picture_is_listed_but_not_recommended(world):
    assert put(world, NEW)["recommendable"] == 0
    assert NEW not in recommended(world)
    assert listed(world)[-1] == NEW
    assert_problem(world.client.get(f"{path(NEW)}/image"), "not-found")
    assert_problem(world.client.get(f"{path(NEW)}/similar"), "no-picture")
    answer = world.client.put(f"{path(NEW)}/image", content=drawn(255), headers={"Content-Type": "image/png"})
    assert answer.json()["recommendable"] == 1
    assert recommended(world)[0] == NEW


def test_availability_category_and_attributes_change_and_change_back(world):
    assert recommended(world, query="k=2") == ["a/b", "50%"]
    world.client.patch(path("a/b"), json={"available": False})
    assert recommended(world, query="k=2") == ["50%", "käse 日本 👗"]
    assert recommended(world, query="k=2&exclude_seen=false") == ["plain", "50%"]
    world.client.patch(path("a/b"), json={"available": True, "category": "coats"})
    assert recommended(world, query="k=2&category=coats") == ["a/b", "50%"]
    world.client.patch(path("a/b"), json={"attributes": {"price": None, "new": [1]}})
    assert world.client.get(path("a/b")).json()["attributes"] == {"sizes": 2, "new": [1]}
    before = world.client.get(f"{path('a/b')}/image")
    assert before.status_code == 200  # all along it has kept its picture
    assert listed(world) == IDS
    assert listed(world, "&category=coats") == [IDS[0], IDS[1], *IDS[2::2]]


def test_a_seen_item_stays_seen_when_it_changes(world):
    world.client.patch(path("plain"), json={"attributes": {"x": 1}})
    assert "plain" not in recommended(world)
    assert recommended(world, query="k=1&exclude_seen=false") == ["plain"]


def test_a_deleted_item_is_nowhere_and_may_come_back(world):
    assert world.client.delete(path("a/b")).status_code == 204
    assert_problem(world.client.delete(path("a/b")), "unknown-item")
    assert_problem(world.client.get(path("a/b")), "unknown-item")
    assert_problem(world.client.get(f"{path('a/b')}/image"), "unknown-item")
    assert_problem(world.client.patch(path("a/b"), json={"available": True}), "unknown-item")
    assert_problem(world.client.post("/v1/sessions/recommendations", json={"liked": ["a/b"]}), "invalid-request")
    assert "a/b" not in recommended(world)
    assert "a/b" not in listed(world)
    put(world, "a/b")
    assert listed(world) == IDS
    assert recommended(world)[0] == "a/b"


def test_a_bulk_of_items_is_taken_whole_or_not_at_all(world):
    items = [{"item_id": f"n{n}", "category": "hats", "image": text(drawn(40 * n))} for n in range(5)]
    assert world.client.post("/v1/items", json={"items": items}).json()["recommendable"] == 5
    assert recommended(world)[:5] == ["n4", "n3", "n2", "n1", "n0"]
    bad = [{"item_id": "fine", "category": "hats"}, {"item_id": "bad", "category": "hats", "image": text(b"GIF89a")}]
    body = assert_problem(world.client.post("/v1/items", json={"items": bad}), "refused-picture")
    assert body["errors"][0]["pointer"] == "/items/1/image"
    bad[1] = {"item_id": "bad", "category": "zebra"}
    body = assert_problem(world.client.post("/v1/items", json={"items": bad}), "invalid-request")
    assert body["errors"][0]["pointer"] == "/items/1/category"
    assert_problem(world.client.post("/v1/items", json={"items": [items[0], items[0]]}), "invalid-request")
    assert_problem(world.client.get("/v1/items/fine"), "unknown-item")


def test_paging_leaves_nothing_out_and_repeats_nothing_while_items_change(world):
    first = world.client.get("/v1/items?limit=4").json()
    put(world, NEW)
    world.client.delete(path(IDS[0]))  # before the cursor
    world.client.patch(path(IDS[6]), json={"available": False})  # after it
    world.client.delete(path(IDS[4]))  # just where it stands
    rest = world.client.get(f"/v1/items?limit=500&cursor={first['next_cursor']}").json()
    assert [item["item_id"] for item in rest["items"]] == [*IDS[5:], NEW]


def test_many_changes_at_once_all_count(world):
    def change(n):
        return world.client.put(path(f"n{n:02d}"), json={"category": "hats", "image": text(drawn(10 * n))}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(change, range(24))) == {200}
    assert recommended(world)[:24] == [f"n{n:02d}" for n in reversed(range(24))]


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({}, "/category"),
        ({"category": "hat"}, "/category"),
        ({"category": "hats", "attributes": {"x": "\ud800"}}, "/attributes"),
        ({"category": "hats", "attributes": {"x": "a" * 20_000}}, "/attributes"),
        ({"category": "hats", "attributes": {"x": "a\x00b"}}, "/attributes"),
        ({"category": "hats", "item_id": "x"}, "/item_id"),
    ],
)
def test_items_that_are_not_valid(world, sent, pointer):
    headers = {"Content-Type": "application/json"}
    answer = world.client.put("/v1/items/x", content=json.dumps(sent), headers=headers)
    assert assert_problem(answer, "invalid-request")["errors"][0]["pointer"] == pointer
    infinite = world.client.put(
        "/v1/items/x", content='{"category": "hats", "attributes": {"x": NaN}}', headers=headers
    )
    assert_problem(infinite, "invalid-request")


# ---- pictures


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_kept_as_its_pixels_and_nothing_else(world, format):
    image = Image.new("RGB", (3000, 1500), (0, 0, 255))
    exif = Image.Exif()
    exif[0x010E] = "my secret garden"
    buffer = io.BytesIO()
    image.save(buffer, format, exif=exif)
    hidden = buffer.getvalue() + b"<script>alert(1)</script>"
    put(world, NEW, image=text(hidden))
    answer = world.client.get(f"{path(NEW)}/image")
    assert answer.headers["content-type"] == "image/webp"
    assert b"secret" not in answer.content
    assert b"script" not in answer.content
    kept = Image.open(io.BytesIO(answer.content))
    assert kept.size == (1024, 512)
    assert np.abs(np.asarray(kept.convert("RGB")).astype(int) - (0, 0, 255)).max() < 12


def bomb() -> bytes:
    """A small file that holds 169 million pixels."""
    buffer = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "none of"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "none of"),
        (drawn(format="GIF"), "none of"),
        (drawn(format="TIFF"), "none of"),
        (drawn()[:45], "cannot be"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "header cannot be read"),
        (b"\xff\xd8\xff" + drawn(), "header cannot be read"),
        (drawn(size=(4, 4)), "shorter than"),
        (bomb(), "more than 25,000,000 pixels"),
    ],
)
def test_what_is_no_picture_is_refused_wherever_it_comes_in(world, data, told):
    headers = {"Content-Type": "image/png"}
    for answer in (
        world.client.put("/v1/items/x", json={"category": "hats", "image": text(data) or "="}),
        world.client.put("/v1/items/plain/image", content=data, headers=headers),
        world.client.post("/v1/search", content=data, headers=headers),
        world.client.post("/v1/sessions/recommendations", json={"photos": [text(data) or "="]}),
        world.client.post("/v1/designs", json={"category": "coats", "photos": [text(data) or "="]}),
    ):
        detail = assert_problem(answer, "refused-picture")["detail"]
        assert told in detail or not data
    assert_problem(world.client.get("/v1/items/x"), "unknown-item")


def test_searching_by_photo_and_a_session_of_photos(world):
    found = world.client.post("/v1/search?k=3", content=drawn(), headers={"Content-Type": "image/png"}).json()
    assert [item["item_id"] for item in found["items"]] == IDS[:3]
    only = world.client.post("/v1/search?k=3&category=hats", content=drawn()).json()
    assert [item["item_id"] for item in only["items"]] == IDS[1:6:2]
    answer = world.client.post("/v1/sessions/recommendations", json={"photos": [text(drawn())], "liked": ["a/b"]})
    assert answer.json()["items"][0]["item_id"] == "plain"
    done = design(world, user_id=None, photos=[text(drawn(size=(900, 900)))])
    assert done["state"] == "succeeded"
    kept = Image.open(io.BytesIO(base64.b64decode(done["request"]["photos"][0])))
    assert (kept.format, kept.size) == ("WEBP", (256, 256))


# ---- events


def post(world: World, *events: tuple[str, str, str], **headers):
    """Post events as (user, item, event)."""
    sent = [{"user_id": user, "item_id": item, "event": event} for user, item, event in events]
    return world.client.post("/v1/events", json={"events": sent}, headers=headers)


def test_what_a_user_does_counts_on_the_next_request(world):
    assert recommended(world, query="k=2") == ["a/b", "50%"]
    answer = post(world, ("anna", "a/b", "purchase"))
    assert (answer.status_code, answer.json()["accepted"]) == (201, 1)
    assert recommended(world, query="k=2") == ["50%", "käse 日本 👗"]
    assert world.recommender.folded_in[-1] == [0, 1]  # what was learned, and what happened since
    post(world, ("anna", "50%", "dislike"))
    assert recommended(world, query="k=1") == ["käse 日本 👗"]
    assert recommended(world, "b/c", query="k=1") == ["plain"]  # nobody else's list has changed


def test_a_user_who_was_not_known_is_known_by_the_first_event(world):
    for user in ("somebody new", "👤/ü"):
        assert_problem(world.client.get(f"/v1/users/{quote(user, safe='')}/recommendations"), "unknown-user")
        post(world, (user, "plain", "click"))
        assert recommended(world, user, "k=1") == ["a/b"]
    done = design(world, user_id="somebody new")
    assert done["state"] == "succeeded"
    assert world.designer.asked[-1][0].seen.tolist() == [0]


def test_folding_in_is_done_once_for_each_change(world):
    post(world, ("anna", "a/b", "purchase"))
    for _ in range(3):
        recommended(world)
    assert len(world.recommender.folded_in) == 1


def test_a_new_item_that_was_taken_is_not_recommended_again(world):
    put(world, NEW, image=text(drawn()))
    post(world, ("anna", NEW, "purchase"))
    assert recommended(world, query="k=1") == ["a/b"]
    assert recommended(world, query="k=1&exclude_seen=false") == [NEW]


def test_a_batch_that_is_sent_twice_counts_once(world):
    headers = {"Idempotency-Key": "order-1"}
    first = post(world, ("anna", "a/b", "purchase"), **headers)
    again = post(world, ("anna", "a/b", "purchase"), **headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert len(world.client.get("/v1/users/anna").json()["events"]) == 1
    assert_problem(post(world, ("anna", "50%", "purchase"), **headers), "other-request")


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        ({"user_id": "anna"}, "/events/0/item_id"),
        ({"user_id": "anna", "item_id": "nothing"}, "/events/0/item_id"),
        ({"user_id": "", "item_id": "plain"}, "/events/0/user_id"),
        ({"user_id": "anna", "item_id": "plain", "event": "Buy!"}, "/events/0/event"),
        ({"user_id": "anna", "item_id": "plain", "weight": 1e300}, "/events/0/weight"),
        ({"user_id": "anna", "item_id": "plain", "timestamp": "2999-01-01T00:00:00Z"}, "/events/0/timestamp"),
        ({"user_id": "anna", "item_id": "plain", "timestamp": "2025-01-01T00:00:00"}, "/events/0/timestamp"),
        ({"user_id": "anna", "item_id": "plain", "timestamp": "0001-01-01T00:00:00+14:00"}, "/events/0/timestamp"),
    ],
)
def test_events_that_are_not_valid_write_nothing(world, event, pointer):
    sent = {"events": [event, {"user_id": "anna", "item_id": "plain"}]}
    body = assert_problem(world.client.post("/v1/events", json=sent), "invalid-request")
    assert body["errors"][0]["pointer"] == pointer
    assert world.client.get("/v1/users/anna").json()["events"] == []


# ---- users


def test_all_that_is_held_of_a_user_is_exported_and_deleted(world):
    post(world, ("anna", "a/b", "purchase"))
    done = design(world)
    world.client.patch(f"{done['url']}/0", json={"starred": True})
    record = world.client.get("/v1/users/anna").json()
    assert record["learned_from"] == ["plain"]
    assert [event["item_id"] for event in record["events"]] == ["a/b"]
    assert [one["id"] for one in record["designs"]] == [done["id"]]
    assert [one["opinion"] for one in record["opinions"]] == ["starred"]
    for _ in range(2):
        assert world.client.delete("/v1/users/anna").status_code == 204
    for gone in ("/v1/users/anna", "/v1/users/anna/recommendations"):
        assert_problem(world.client.get(gone), "unknown-user")
    assert_problem(world.client.get(done["url"]), "unknown-design")
    # Who comes back starts anew: what the model has learned is not used.
    post(world, ("anna", "a/b", "purchase"))
    assert recommended(world, query="k=1") == ["plain"]
    assert world.client.get("/v1/users/anna").json()["learned_from"] == []


def test_candidates_limit_the_list(world):
    assert recommended(world, query="candidate=plain&candidate=a%2Fb&candidate=x%2Fsimilar") == ["a/b", "x/similar"]
    put(world, NEW, image=text(drawn()))
    assert recommended(world, query=f"candidate={quote(NEW, safe='')}") == [NEW]
    assert_problem(world.client.get("/v1/users/anna/recommendations?candidate=nope"), "invalid-request")


def test_explanations_say_of_what_a_score_is_made(world):
    post(world, ("b/c", "plain", "purchase"), ("b/c", "a/b", "purchase"))
    for user in ("anna", "b%2Fc"):
        items = world.client.get(f"/v1/users/{user}/recommendations?k=3&explain=true").json()["items"]
        for item in items:
            assert sum(item["explanation"]["parts"].values()) == pytest.approx(item["score"])
            assert item["explanation"]["carried_by"][0]["item_id"] == "plain"
    assert world.client.get("/v1/users/anna/recommendations?k=1").json()["items"][0]["explanation"] is None
    assert_problem(world.client.get("/v1/users/anna/recommendations?k=21&explain=true"), "invalid-request")


def carriers(item: dict) -> list[tuple[str | int, float]]:
    """What carries an item's score: ids of items and places of photos, each with its influence."""
    return [(one["item_id"] or one["photo"], one["influence"]) for one in item["explanation"]["carried_by"]]


def test_a_session_is_explained_by_its_items_and_its_photos(world, monkeypatch):
    monkeypatch.setattr(world.recommender, "_fold_in", lambda liked, disliked, seen: liked.mean(axis=0))
    asked = {"liked": ["a/b"], "photos": [text(drawn(255)), text(drawn(0))], "candidates": ["50%"], "explain": True}
    (item,) = world.client.post("/v1/sessions/recommendations", json=asked).json()["items"]
    # Whoever likes -1, 10 and 0 is 3 on average, and 5, -0.5 or 4.5 without one of them; the item is -2.
    assert item["explanation"]["parts"] == {"latent": pytest.approx(-6)}
    assert item["score"] == pytest.approx(-6)
    assert carriers(item) == [(1, pytest.approx(-7)), ("a/b", pytest.approx(4)), (2, pytest.approx(3))]
    answer = world.client.post("/v1/sessions/recommendations", json={**asked, "explain": False})
    assert answer.json()["items"][0]["explanation"] is None
    for refused in ({"k": 21}, {"candidates": ["nope"]}):
        answer = world.client.post("/v1/sessions/recommendations", json={**asked, **refused})
        assert_problem(answer, "invalid-request")


def test_new_items_that_a_user_took_carry_scores_too(world, monkeypatch):
    monkeypatch.setattr(world.recommender, "_fold_in", lambda liked, disliked, seen: liked.mean(axis=0))
    put(world, NEW, image=text(drawn(255)))
    put(world, "dark", image=text(drawn(0)))
    post(world, ("somebody", NEW, "purchase"), ("somebody", "dark", "purchase"))
    query = "k=1&candidate=a%2Fb&explain=true"
    (item,) = world.client.get(f"/v1/users/somebody/recommendations?{query}").json()["items"]
    assert item["score"] == pytest.approx(-5)
    assert sorted(carriers(item), key=lambda one: one[1]) == [(NEW, pytest.approx(-5)), ("dark", pytest.approx(5))]
