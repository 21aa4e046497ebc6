"""More like a finished design, and two mixed: what comes of it, for whom it is, and what is refused."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
from sqlalchemy import update

from recgan.config import Recipe
from service.store.tables import designs, jobs
from tests.conftest import png
from tests.service_edits import ask, edited, faults, grey, ref
from tests.service_world import (
    PATIENCE,
    FakeDesigner,
    assert_problem,
    design,
    finished,
    serve_another_generator,
    until,
)


def of_another_category(monkeypatch) -> None:
    """Let designs of seed 50 be hats."""
    make = FakeDesigner.design

    def hats(self, *given, **options):
        made = make(self, *given, **options)
        return [replace(one, category="hats") for one in made] if options["seed"] == 50 else made

    monkeypatch.setattr(FakeDesigner, "design", hats)


# ---- what comes of it


def test_more_like_a_design_is_for_the_same_user_and_says_what_it_came_from(world):
    begun = design(world, n=2, seed=5)  # best first: the one of grey 6
    more = edited(world, "like", ref(begun), n=3, seed=8)
    assert more["state"] == "succeeded"
    assert [grey(world, one["image_url"]) for one in more["results"]] == [36, 26, 16]
    assert world.designer.asked[-1] == ("anna", "coats", 3, 8)
    image_url = begun["results"][0]["image_url"]
    assert more["origins"] == [{**ref(begun), "item_id": None, "url": begun["url"], "image_url": image_url}]
    assert (more["request"]["user_id"], more["request"]["category"]) == ("anna", "coats")
    assert begun["origins"] == []
    assert begun["request"]["edit"] is None
    # The answer says what was done; where the design lies, which is long, is in the file alone.
    best = more["results"][0]
    assert best["settings"]["edit"]["of"] == {"design": {"seed": 6, "category": "coats"}}
    told = world.client.get(best["settings_url"]).json()
    assert told["settings"]["edit"]["of"]["design"]["z"] == [6, 1]
    assert told["request"]["edit"] == {
        "kind": "like",
        "of": [{**ref(begun), "item": None, "photo": None}],
        "moves": [],
        "leash": None,
        "keep_colour": False,
    }
    again = world.client.get(best["image_url"])
    same = world.client.get(best["image_url"], headers={"If-None-Match": again.headers["etag"]})
    assert same.status_code == 304
    assert world.client.get(f"{more['url']}/all.zip").status_code == 200


def test_what_was_edited_can_be_edited_again(world):
    more = edited(world, "like", ref(design(world, n=1, seed=5)), n=2)
    again = edited(world, "like", ref(more, 1), n=1)
    assert grey(world, again["results"][0]["image_url"]) == 5 + 10 + 10


def test_a_mix_goes_from_one_design_to_the_other_in_order(world):
    one, other = design(world, n=2, seed=10), design(world, user_id="b/c", n=1, seed=90)
    way = edited(world, "mix", ref(one, 1), ref(other), n=5)
    assert [grey(world, at["image_url"]) for at in way["results"]] == [10, 30, 50, 70, 90]
    assert [at["settings"]["edit"]["share"] for at in way["results"]] == [0, 0.25, 0.5, 0.75, 1]
    assert [(origin["design"], origin["index"]) for origin in way["origins"]] == [(one["id"], 1), (other["id"], 0)]
    assert way["request"]["user_id"] == "anna"
    assert "z" not in str(way["results"][0]["settings"]["edit"]["end"])


def test_an_edit_may_be_for_somebody_else(world):
    begun = design(world, n=1)
    edited(world, "like", ref(begun), user_id="b/c")
    edited(world, "like", ref(begun), liked=["a/b"])
    assert world.designer.asked[-2][0] == "b/c"
    assert world.designer.asked[-1][0].seen.tolist() == [1]


def test_an_edit_of_a_design_from_photos_is_from_the_same_photos(world):
    photo = base64.b64encode(png(np.full((40, 40, 3), 200, dtype=np.uint8))).decode()
    begun = design(world, user_id=None, photos=[photo], n=1)
    more = edited(world, "like", ref(begun), n=1)
    assert more["state"] == "succeeded"
    assert more["request"]["photos"] == begun["request"]["photos"]


def test_an_edit_is_the_user_s_of_the_first_design_and_goes_with_what_is_held_of_them(world):
    more = edited(world, "like", ref(design(world, n=1)), n=1)
    assert [one["url"] for one in world.client.get("/v1/designs?user_id=anna&limit=1").json()["designs"]] == [
        more["url"]
    ]
    assert world.client.delete("/v1/users/anna").status_code == 204
    assert_problem(world.client.get(more["url"]), "unknown-design")


def test_an_edit_under_the_client_s_own_id_is_made_once(world):
    begun = design(world, n=1)
    asked = {"edit": {"kind": "like", "of": [ref(begun)]}, "n": 2}
    first = world.client.put("/v1/designs/mine", json=asked)
    assert first.status_code == 202
    done = finished(world, "/v1/designs/mine")
    assert world.client.put("/v1/designs/mine", json=asked).json()["results"] == done["results"]
    assert len(world.designer.asked) == 2
    assert_problem(world.client.put("/v1/designs/mine", json={**asked, "n": 3}), "other-request")


def test_an_edit_that_is_asked_for_again_is_answered_when_what_it_was_made_of_is_gone(world):
    begun = design(world, n=1)
    asked = {"edit": {"kind": "like", "of": [ref(begun)]}, "n": 2}
    assert world.client.put("/v1/designs/again", json=asked).status_code == 202
    done = finished(world, "/v1/designs/again")
    assert world.client.delete(begun["url"]).status_code == 204
    again = world.client.put("/v1/designs/again", json=asked)
    assert (again.status_code, again.headers["location"], again.json()) == (202, "/v1/designs/again", done)
    # What is another request is never taken for this one.
    assert_problem(world.client.put("/v1/designs/again", json={**asked, "n": 3}), "unknown-design")
    assert len(world.designer.asked) == 2


def test_a_request_from_before_fingerprints_is_still_known_again(world):
    begun = design(world, n=1)
    asked = {"edit": {"kind": "like", "of": [ref(begun)]}, "n": 2}
    world.client.put("/v1/designs/older", json=asked)
    done = finished(world, "/v1/designs/older")
    stored = dict(world.service.store.jobs.get("older").request)
    for name in ("users", "cohort"):  # requests could not say so then
        del stored[name]
    with world.service.store.database.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == "older").values(asked=None, request=stored))
    assert world.client.put("/v1/designs/older", json=asked).json() == done
    assert_problem(world.client.put("/v1/designs/older", json={**asked, "n": 3}), "other-request")
    with world.service.store.database.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == "older").values(owner="somebody else"))
    assert_problem(world.client.put("/v1/designs/older", json=asked), "other-request")


def test_a_request_is_known_again_by_a_service_whose_requests_can_say_more(world):
    """Its fingerprint is then another, and what was stored lacks what could not be said."""
    begun = design(world, n=1)
    asked = {"edit": {"kind": "like", "of": [ref(begun)]}, "n": 2}
    world.client.put("/v1/designs/older", json=asked)
    done = finished(world, "/v1/designs/older")
    stored = dict(world.service.store.jobs.get("older").request)
    stored["edit"] = {name: value for name, value in stored["edit"].items() if name not in ("leash", "keep_colour")}
    with world.service.store.database.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == "older").values(asked="0" * 64, request=stored))
    assert world.client.put("/v1/designs/older", json=asked).json() == done
    assert_problem(world.client.put("/v1/designs/older", json={**asked, "n": 3}), "other-request")


def test_what_is_left_out_is_the_same_as_what_is_said_to_be_usual(world):
    begun = design(world, n=1)
    of = {"kind": "tailor", "of": [ref(begun)]}
    world.client.put("/v1/designs/short", json={"edit": of, "n": 1})
    done = finished(world, "/v1/designs/short")
    assert world.client.delete(begun["url"]).status_code == 204  # so that it is known by what was asked alone
    said = {"edit": {**of, "leash": None, "keep_colour": False}, "n": 1}
    assert world.client.put("/v1/designs/short", json=said).json() == done


def test_an_edit_is_followed_cancelled_and_tried_again(world):
    begun = design(world, n=1, seed=5)
    world.designer.entered.clear()
    world.designer.release.clear()
    url = ask(world, "like", ref(begun), n=1).headers["location"]
    assert world.designer.entered.wait(PATIENCE)
    until(lambda: world.client.get(url).json()["progress"] is not None)
    assert world.client.get(url).json()["progress"]["note"] == "half-way"
    assert_problem(ask(world, "like", {"design": url.rsplit("/", 1)[1], "index": 0}), "not-ready")
    assert world.client.post(f"{url}/cancel").status_code == 202
    world.designer.release.set()
    assert finished(world, url)["state"] == "cancelled"
    assert world.client.post(f"{url}/retry").status_code == 202
    done = finished(world, url)
    assert (done["state"], grey(world, done["results"][0]["image_url"])) == ("succeeded", 15)
    assert '"state": "succeeded"' in world.client.get(f"{url}/events").text


# ---- what is refused


def test_designs_that_are_not_there(world):
    begun = design(world, n=1)
    assert_problem(ask(world, "like", {"design": "none", "index": 0}), "unknown-design")
    assert_problem(ask(world, "mix", ref(begun), {"design": "none", "index": 0}), "unknown-design")
    assert "1 designs" in assert_problem(ask(world, "like", ref(begun, 1)), "not-found")["detail"]
    world.designer.failure = ValueError("no coats today")
    assert_problem(ask(world, "like", ref(design(world))), "not-ready")


def test_an_edit_that_says_too_much_or_too_little(world):
    begun = design(world, n=2)
    one, other = ref(begun), ref(begun, 1)
    assert faults(ask(world, "like", one, other)) == ["/edit/of"]
    assert faults(ask(world, "mix", one)) == ["/edit/of"]
    assert faults(ask(world, "mix", one, one)) == ["/edit/of"]
    assert faults(ask(world, "like")) == ["/edit/of"]
    assert faults(ask(world, "blend", one)) == ["/edit/kind"]
    assert faults(ask(world, "like", {"design": "a/b", "index": 0})) == ["/edit/of/0/design"]
    assert faults(ask(world, "mix", one, {**other, "inex": 0})) == ["/edit/of/1/inex"]
    assert faults(ask(world, "mix", one, other, n=1)) == ["/n"]
    assert faults(ask(world, "like", one, realism=2)) == ["/realism"]
    assert faults(ask(world, "like", one, preset="kang2017")) == ["/preset"]
    assert faults(ask(world, "like", one, category="hats")) == ["/category"]
    assert faults(ask(world, "like", one, user_id="anna", liked=["a/b"])) == ["/user_id"]
    assert faults(world.client.post("/v1/designs", json={"user_id": "anna"})) == ["/category"]
    assert ask(world, "like", one, category="coats").status_code == 202


def test_a_design_of_another_generator_is_refused_when_asked_for_and_when_its_turn_comes(world):
    begun = design(world, n=1)
    world.designer.entered.clear()
    world.designer.release.clear()
    world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"})
    assert world.designer.entered.wait(PATIENCE)  # so that the edit waits
    waiting = ask(world, "like", ref(begun)).headers["location"]
    serve_another_generator(world.service)
    assert "does not serve now" in assert_problem(ask(world, "like", ref(begun)), "mismatch")["detail"]
    world.designer.release.set()
    failed = finished(world, waiting)
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "urn:recgan:problem:mismatch")
    assert (failed["problem"]["status"], failed["results"]) == (409, [])


def test_an_edit_of_what_is_deleted_while_it_waits_fails_and_says_so(world):
    begun = design(world, n=1)
    world.designer.entered.clear()
    world.designer.release.clear()
    world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"})
    assert world.designer.entered.wait(PATIENCE)
    waiting = ask(world, "like", ref(begun)).headers["location"]
    world.client.delete(begun["url"])
    world.designer.release.set()
    assert finished(world, waiting)["problem"]["type"] == "urn:recgan:problem:unknown-design"


def test_two_categories_are_mixed_where_the_generator_is_told_them(world, monkeypatch):
    of_another_category(monkeypatch)
    coat, hat = design(world, n=1, seed=10), design(world, n=1, seed=50)
    way = edited(world, "mix", ref(coat), ref(hat), n=3)
    assert [at["category"] for at in way["results"]] == ["coats", "hats", "hats"]
    # What lies in between is of no one category, and cannot be edited further; the ends can.
    assert "mixes categories" in assert_problem(ask(world, "like", ref(way, 1)), "invalid-data")["detail"]
    assert ask(world, "like", ref(way, 0)).status_code == 202
    world.designer.gan.recipe = Recipe(name="blind", generator_classes="none")
    refused = assert_problem(ask(world, "mix", ref(coat), ref(hat)), "invalid-setting")
    assert "'coats' and 'hats' cannot be mixed" in refused["detail"]


def test_a_design_that_is_older_than_edits_is_refused(world):
    begun = design(world, n=1)
    with world.service.store.database.writing() as connection:
        connection.execute(update(designs).values(latent=None))
    assert "makes it again" in assert_problem(ask(world, "like", ref(begun)), "invalid-data")["detail"]
