"""The API over models whose answers are known (see `service_world`): what each path answers, and each error."""

from __future__ import annotations

import io
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from recgan.errors import SettingsError
from service.catalogue import web_image
from tests.service_world import IDS, PATIENCE, USERS, assert_problem, design, finished, running

# ---- recommendations


def test_recommendations_for_a_known_user(world):
    body = world.client.get("/v1/users/anna/recommendations?k=3").json()
    assert [item["item_id"] for item in body["items"]] == ["a/b", "50%", "käse 日本 👗"]
    assert [item["score"] for item in body["items"]] == [-1, -2, -3]
    assert body["items"][0]["category"] == "hats"
    assert body["model"]["recommender"] == "r" * 64


def test_filters_of_recommendations_reach_the_model(world):
    client = world.client
    assert [
        item["item_id"]
        for item in client.get("/v1/users/anna/recommendations?k=2&category=coats&exclude_seen=false").json()["items"]
    ] == ["plain", "50%"]
    both = client.get("/v1/users/anna/recommendations?category=coats&category=hats").json()
    assert len(both["items"]) == len(IDS) - 1
    assert world.recommender.asked[-1]["categories"] == ["coats", "hats"]


def test_what_is_named_in_a_session_is_not_recommended(world):
    body = {"liked": ["plain"], "disliked": ["a/b"], "k": 2, "categories": ["coats", "hats"]}
    answer = world.client.post("/v1/sessions/recommendations", json=body).json()
    assert [item["item_id"] for item in answer["items"]] == ["50%", "käse 日本 👗"]


def test_similar_items(world):
    answer = world.client.get("/v1/items/a%2Fb/similar?k=2").json()
    assert [item["item_id"] for item in answer["items"]] == ["plain", "50%"]


@pytest.mark.parametrize("user_id", USERS)
def test_any_user_id_works_in_a_path(world, user_id):
    answer = world.client.get(f"/v1/users/{quote(user_id, safe='')}/recommendations?k=1")
    assert [item["item_id"] for item in answer.json()["items"]] == ["a/b" if user_id == "anna" else "plain"]


def test_all_users_are_listed_page_by_page(world):
    listed, cursor = [], ""
    for _ in range(2):
        page = world.client.get(f"/v1/users?limit=2{cursor}").json()
        listed += page["users"]
        cursor = f"&cursor={page['next_cursor']}"
    assert listed == USERS
    assert page["next_cursor"] is None


# ---- the catalogue


@pytest.mark.parametrize("item_id", IDS)
def test_any_item_id_works_in_a_path(world, item_id):
    answer = world.client.get(f"/v1/items/{quote(item_id, safe='')}").json()
    place = IDS.index(item_id)
    assert answer["item_id"] == item_id
    assert answer["attributes"] == {"price": float(place) if place else None, "sizes": 2 * place}
    assert answer["available"] is (item_id != "50%")
    assert answer["image_count"] == (0 if item_id == "bare" else 1)


def test_every_link_to_a_picture_leads_to_that_item_s_picture(world, catalogue):
    items = world.client.get("/v1/items?limit=100").json()["items"]
    stored = dict(zip(IDS[:-1], catalogue.iter_images()))
    for item in items[:-1]:
        answer = world.client.get(item["image_url"])
        assert answer.headers["content-type"] == "image/png"
        assert answer.content == stored[item["item_id"]]
    assert items[-1]["item_id"] == "bare"
    assert items[-1]["image_url"] is None


def test_items_are_paged_within_a_category(world):
    first = world.client.get("/v1/items?category=hats&limit=3").json()
    second = world.client.get(f"/v1/items?category=hats&limit=3&cursor={first['next_cursor']}").json()
    assert [item["item_id"] for item in first["items"] + second["items"]] == IDS[1::2]
    assert second["next_cursor"] is None


def test_categories_tell_what_can_be_designed(world):
    assert world.client.get("/v1/categories").json()["categories"] == [
        {"name": "coats", "items": 5, "designable": True},
        {"name": "hats", "items": 5, "designable": False},
    ]


def test_a_picture_that_the_client_has_is_not_sent_again(world):
    first = world.client.get("/v1/items/plain/image")
    assert first.headers["cache-control"] == "private, max-age=3600"
    etag = first.headers["etag"]
    for condition in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        again = world.client.get("/v1/items/plain/image", headers={"If-None-Match": condition})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    changed = world.client.get("/v1/items/plain/image", headers={"If-None-Match": '"other"'})
    assert changed.content == first.content
    assert world.client.get("/v1/items/a%2Fb/image").headers["etag"] != etag


@pytest.mark.parametrize(
    ("format", "sent_as"),
    [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP"), ("GIF", "GIF"), ("TIFF", "PNG"), ("BMP", "PNG")],
)
def test_a_photo_has_its_media_type_and_what_browsers_do_not_show_becomes_png(format, sent_as):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), (200, 0, 0)).save(buffer, format)
    data, media_type = web_image(buffer.getvalue())
    assert media_type == f"image/{sent_as.lower()}"
    assert Image.open(io.BytesIO(data)).format == sent_as
    if format == sent_as:
        assert data == buffer.getvalue()


# ---- designs


def test_a_design_from_the_request_to_the_pictures(world):
    answer = world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats", "n": 2, "seed": 5})
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["url"] == f"/v1/designs/{answer.json()['id']}"
    done = finished(world, answer.headers["location"])
    assert done["state"] == "succeeded"
    assert world.designer.asked == [("anna", "coats", 2, 5)]
    best, second = done["results"]
    # The fake designs i with the score i, so the second comes first.
    assert (best["seed"], best["score"], best["percentile"], best["realism"]) == (6, 1, 91, -0.5)
    assert (second["seed"], second["score"]) == (5, 0)
    assert [(item["item_id"], item["distance"]) for item in best["nearest"]] == [("a/b", 0.25), ("käse 日本 👗", 0.5)]
    assert world.client.get(best["nearest"][1]["image_url"]).status_code == 200
    assert best["settings"]["preset"] == "default"
    assert done["model"]["generator"] == "g" * 64
    picture = world.client.get(best["image_url"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.content))), np.full((8, 8, 3), 6))
    same = world.client.get(best["image_url"], headers={"If-None-Match": picture.headers["etag"]})
    assert same.status_code == 304


def test_a_design_for_somebody_known_by_liked_items(world):
    done = design(world, user_id=None, liked=["a/b", "plain"])
    assert done["state"] == "succeeded"
    assert world.designer.asked[0][0].seen.tolist() == [0, 1]


def test_a_request_without_a_seed_is_told_the_one_that_was_drawn(world):
    first, second = design(world), design(world)
    seeds = [done["request"]["seed"] for done in (first, second)]
    assert seeds == [asked[3] for asked in world.designer.asked]
    assert seeds[0] != seeds[1]


def test_pictures_are_refused_until_they_are_ready(world):
    world.designer.release.clear()
    url = world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"}).headers["location"]
    assert world.designer.entered.wait(PATIENCE)
    running_now = world.client.get(url).json()
    assert running_now["state"] == "running"
    assert running_now["progress"] == {"step": "climbing", "done": 1, "total": 2, "note": "half-way"}
    early = world.client.get(f"{url}/0.png")
    assert_problem(early, "not-ready")
    assert int(early.headers["retry-after"]) >= 1
    world.designer.release.set()
    assert finished(world, url)["state"] == "succeeded"
    assert world.client.get(f"{url}/3.png").status_code == 200
    assert_problem(world.client.get(f"{url}/4.png"), "not-found")
    assert_problem(world.client.get(f"{url}/x.png"), "no-such-path")
    assert_problem(world.client.get("/v1/designs/0000/0.png"), "unknown-design")


def test_cancelling_a_running_design_stops_it(world):
    world.designer.release.clear()
    url = world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"}).headers["location"]
    assert world.designer.entered.wait(PATIENCE)
    answer = world.client.post(f"{url}/cancel")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    world.designer.release.set()
    assert finished(world, url)["state"] == "cancelled"
    assert world.client.post(f"{url}/cancel").status_code == 202
    assert_problem(world.client.get(f"{url}/0.png"), "not-ready")
    assert_problem(world.client.post(f"{design(world)['url']}/cancel"), "already-finished")
    assert_problem(world.client.post("/v1/designs/0000/cancel"), "unknown-design")
    assert_problem(world.client.get("/v1/designs/0000"), "unknown-design")


def test_a_full_queue_answers_429_and_when_to_come_again(catalogue):
    asked = {"user_id": "anna", "category": "coats"}
    with running(catalogue, design_queue=1) as world:
        world.designer.release.clear()
        world.client.post("/v1/designs", json=asked)
        assert world.designer.entered.wait(PATIENCE)
        waiting = world.client.post("/v1/designs", json=asked)
        assert (waiting.status_code, waiting.json()["ahead"]) == (202, 1)
        refused = world.client.post("/v1/designs", json=asked)
        assert_problem(refused, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        world.designer.release.set()
        assert finished(world, waiting.headers["location"])["state"] == "succeeded"


def test_a_failed_design_tells_why(world):
    world.designer.failure = SettingsError("user 'anna' has seen all coats")
    failed = design(world)
    assert failed["state"] == "failed"
    assert failed["problem"]["type"] == "urn:recgan:problem:invalid-setting"
    assert failed["problem"]["detail"] == "user 'anna' has seen all coats"
    assert failed["results"] == []


def test_without_a_generator_the_rest_is_served(catalogue):
    with running(catalogue, with_gan=False) as world:
        assert_problem(world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"}), "no-generator")
        assert world.client.get("/v1/users/anna/recommendations").status_code == 200
        assert world.client.get("/version").json()["model"]["generator"] is None
        assert not any(one["designable"] for one in world.client.get("/v1/categories").json()["categories"])
