"""Tailoring: items, photos and designs changed for a user; what is told of it, and what is refused."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import png
from tests.service_edits import ask, edited, faults, grey, ref, without
from tests.service_world import PATIENCE, assert_problem, design, finished


def photo(level: int = 200, side: int = 40) -> str:
    """A grey photo as Base64 text."""
    return base64.b64encode(png(np.full((side, side, 3), level, dtype=np.uint8))).decode()


def new_item(world, item_id: str, category: str, **given) -> None:
    """Add an item to the catalogue."""
    assert world.client.put(f"/v1/items/{item_id}", json={"category": category, **given}).status_code == 200


# ---- what comes of it


def test_an_item_is_tailored_to_a_user_and_how_far_off_it_was_found_is_told(world):
    new_item(world, "grey-coat", "coats", image=photo(120))
    done = edited(world, "tailor", {"item": "grey-coat"}, user_id="b/c", n=3, seed=4)
    assert done["state"] == "succeeded", done
    levels = [grey(world, one["image_url"]) for one in done["results"]]
    assert levels == [119, 118, 117]  # best first; it was found at 116
    assert world.designer.asked[-1] == ("b/c", "coats", 3, 4)
    assert done["origins"] == [
        {
            "design": None,
            "index": None,
            "item_id": "grey-coat",
            "url": "/v1/items/grey-coat",
            "image_url": "/v1/items/grey-coat/image",
        }
    ]
    assert (done["request"]["category"], done["request"]["user_id"]) == ("coats", "b/c")
    edit = done["results"][0]["settings"]["edit"]
    assert edit["of"] == {"item": "grey-coat"}
    assert edit["inversion"] == {"pixel_error_of_guess": 8, "pixel_error": 4, "distance": 0.1}
    # What was made of an item is a design, and is edited as one.
    again = edited(world, "like", ref(done), n=1)
    assert grey(world, again["results"][0]["image_url"]) == 129


def test_an_item_is_tailored_as_the_catalogue_has_it_now(world):
    url = f"/v1/items/{'x%2Fsimilar'}/image"
    bright = png(np.full((30, 30, 3), 240, dtype=np.uint8))
    assert world.client.put(url, content=bright).status_code == 200
    done = edited(world, "tailor", {"item": "x/similar"}, user_id="anna", n=1)
    assert grey(world, done["results"][0]["image_url"]) == 237
    assert world.client.get(done["origins"][0]["image_url"]).status_code == 200


def test_a_photo_is_tailored_and_kept_small_with_the_request(world):
    asked = {"edit": {"kind": "tailor", "of": [{"photo": photo(90, side=700)}]}, "category": "coats", "n": 1}
    assert world.client.put("/v1/designs/photo", json={**asked, "user_id": "anna"}).status_code == 202
    done = finished(world, "/v1/designs/photo")
    assert abs(grey(world, done["results"][0]["image_url"]) - 87) <= 1  # kept as a WebP with losses
    assert done["origins"] == [dict.fromkeys(("design", "index", "item_id", "url", "image_url"))]
    kept = Image.open(io.BytesIO(base64.b64decode(done["request"]["edit"]["of"][0]["photo"])))
    assert (kept.format, kept.size) == ("WEBP", (256, 256))
    assert len(done["results"][0]["settings"]["edit"]["of"]["photo"]) == 64
    assert world.client.put("/v1/designs/photo", json={**asked, "user_id": "anna"}).json() == done


def test_a_photo_is_tailored_to_somebody_with_photos_of_their_own(world):
    done = edited(
        world, "tailor", {"photo": photo(90)}, category="coats", photos=[photo(10)], liked=["a/b"], preset="kang2017"
    )
    assert done["state"] == "succeeded", done
    assert world.designer.asked[-1][0].seen.tolist() == [1]
    assert done["results"][0]["settings"]["preset"] == "kang2017"


def test_a_design_is_tailored_to_another_user_and_needs_no_inverter(world):
    begun = design(world, n=1, seed=50)
    without(world, "inverter")
    done = edited(world, "tailor", ref(begun), user_id="b/c", n=2, realism=3)
    assert [grey(world, one["image_url"]) for one in done["results"]] == [52, 51]
    assert done["results"][0]["settings"]["realism_weight"] == 3
    assert done["results"][0]["settings"]["edit"]["inversion"] is None


def test_how_far_it_may_go_and_whether_it_keeps_its_colour(world):
    def told(**more) -> dict:
        return edited(world, "tailor", {"item": "plain"}, user_id="anna", n=1, **more)["results"][0]["settings"]["edit"]

    usual = told()
    assert (usual["settings"]["leash"], usual["settings"]["keep_colour"]) == (1.0, False)
    held = told(edit={"leash": 0.5, "keep_colour": True})
    assert (held["settings"]["leash"], held["settings"]["keep_colour"], held["leash"]) == (0.5, True, 0.2)


@pytest.mark.parametrize(
    ("kind", "more", "pointer"),
    [
        ("tailor", {"leash": 0}, "/edit/leash"),
        ("tailor", {"leash": 5}, "/edit/leash"),
        ("tailor", {"leash": "far"}, "/edit/leash"),
        ("tailor", {"keep_colour": "very"}, "/edit/keep_colour"),
        ("like", {"leash": 1}, "/edit/leash"),
        ("like", {"keep_colour": True}, "/edit/keep_colour"),
    ],
)
def test_a_leash_that_is_none(world, kind, more, pointer):
    answer = ask(world, kind, {"item": "plain"}, user_id="anna", edit=more)
    assert faults(answer) == [pointer]
    if kind == "like":
        assert f"'like' takes no {pointer.rpartition('/')[2]}; leave it out" in answer.text


def test_more_like_an_item_and_the_way_from_a_photo_to_a_design(world, monkeypatch):
    """Items and photos can be edited as designs can: they reach the editor."""
    begun, given = design(world, n=1, seed=50), []
    editor = world.service.holder.get().editor
    monkeypatch.setattr(editor, "like", lambda subject, *more, **options: given.append(subject) or [])
    monkeypatch.setattr(editor, "mix", lambda start, end, *more, **options: given.extend((start, end)) or [])
    edited(world, "like", {"item": "plain"}, user_id="anna")
    edited(world, "mix", {"photo": photo(70)}, ref(begun), category="coats", user_id="anna")
    assert [list(subject.told) for subject in given] == [["item"], ["photo", "category"], ["design"]]
    assert given[0].point is None
    assert given[2].point.tolist() == [50, 1]


def test_a_design_is_mixed_with_a_photo_of_another_category(world, monkeypatch):
    holder, given = world.service.holder, []
    models = holder.get()
    holder._models = replace(models, designable=frozenset({"coats", "hats"}))
    vars(holder._models)["editor"] = models.editor
    monkeypatch.setattr(models.editor, "mix", lambda *subjects, **options: given.extend(subjects[:2]) or [])
    begun = design(world, n=1)
    for of in (
        (ref(begun), {"photo": photo(70)}),
        ({"photo": photo(70)}, ref(begun)),
        ({"item": "plain"}, {"photo": photo(70)}),
    ):
        done = edited(world, "mix", *of, category="hats", user_id="anna")
        assert (done["state"], done["request"]["category"]) == ("succeeded", "hats")
    assert [one.category for one in given] == ["coats", "hats", "hats", "coats", "coats", "hats"]
    refused = ask(world, "mix", ref(begun), {"item": "plain"}, category="hats", user_id="anna")
    assert faults(refused) == ["/category"]  # both say themselves what they show


def test_tailoring_is_cancelled_and_tried_again(world):
    world.designer.entered.clear()
    world.designer.release.clear()
    url = ask(world, "tailor", {"item": "plain"}, user_id="anna", n=1).headers["location"]
    assert world.designer.entered.wait(PATIENCE)
    assert world.client.post(f"{url}/cancel").status_code == 202
    world.designer.release.set()
    assert finished(world, url)["state"] == "cancelled"
    assert world.client.post(f"{url}/retry").status_code == 202
    assert finished(world, url)["state"] == "succeeded"


# ---- what is refused


def test_without_an_inverter_items_and_photos_are_refused_and_that_is_said(world):
    without(world, "inverter")
    assert world.client.get("/v1/editing").json()["inverter"] is None
    for kind in ("tailor", "like"):
        refused = assert_problem(ask(world, kind, {"item": "plain"}, user_id="anna"), "no-inverter")
        assert "recgan serve --inverter" in refused["detail"]
    asked = {"edit": {"kind": "tailor", "of": [{"photo": photo()}]}, "category": "coats", "user_id": "anna"}
    assert_problem(world.client.post("/v1/designs", json=asked), "no-inverter")


@pytest.mark.parametrize(
    ("of", "more", "pointer"),
    [
        ({"item": "nothing"}, {}, "/edit/of/0/item"),
        ({"item": "a/b"}, {}, "/edit/of/0/item"),  # hats cannot be designed
        ({"item": "plain"}, {"category": "hats"}, "/category"),
        ({"item": "plain", "index": 0}, {}, "/edit/of/0/index"),
        ({"item": "plain", "photo": "aaaa"}, {}, "/edit/of/0/design"),
        ({"design": "x"}, {}, "/edit/of/0/index"),
        ({}, {}, "/edit/of/0/design"),
        ({"item": "plain"}, {"user_id": None}, "/user_id"),
        ({"photo": "aaaa"}, {}, "/category"),
        ({"photo": photo()}, {"category": "hats"}, "/category"),
        ({"photo": photo()}, {"category": "coates"}, "/category"),
        ({"item": "plain"}, {"preset": "none"}, "/preset"),
    ],
)
def test_what_cannot_be_tailored_is_refused_with_the_place_of_the_fault(world, of, more, pointer):
    assert faults(ask(world, "tailor", of, **{"user_id": "anna", **more})) == [pointer]


def test_a_photo_that_is_none_and_an_item_without_a_picture(world):
    asked = {"edit": {"kind": "tailor", "of": [{"photo": "bm8gcGljdHVyZQ=="}]}, "category": "coats", "user_id": "anna"}
    refused = assert_problem(world.client.post("/v1/designs", json=asked), "refused-picture")
    assert [fault["pointer"] for fault in refused["errors"]] == ["/edit/of/0/photo"]
    new_item(world, "unseen", "coats")
    assert_problem(ask(world, "tailor", {"item": "unseen"}, user_id="anna"), "no-picture")


def test_an_item_that_is_deleted_while_it_waits_fails_the_edit(world):
    new_item(world, "short-lived", "coats", image=photo())
    world.designer.release.clear()
    world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"})
    waiting = ask(world, "tailor", {"item": "short-lived"}, user_id="anna").headers["location"]
    world.client.delete("/v1/items/short-lived")
    world.designer.release.set()
    failed = finished(world, waiting)
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "urn:recgan:problem:invalid-request")
