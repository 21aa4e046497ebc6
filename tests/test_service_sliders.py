"""Sliders: which there are, what each changes, what comes of moving them, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.store.keys import Scope
from tests.service_edits import ask, edited, faults, grey, ref, without
from tests.service_world import assert_problem, design, finished, running


def moves(**units: float) -> list[dict]:
    """Moves as ``d0=1.5``."""
    return [{"direction": int(name[1:]), "units": amount} for name, amount in units.items()]


def test_what_can_be_edited_is_told_with_the_sliders_and_a_sheet_of_each(world):
    told = world.client.get("/v1/editing").json()
    assert told["kinds"] == ["like", "mix", "slide", "tailor"]
    assert [(one["direction"], one["low"], one["high"], one["share"]) for one in told["sliders"]] == [
        (0, -2, 3, 0.75),
        (1, 0, 1, 0.25),
    ]
    assert told["inverter"] == {"pixel_error": 9.5, "by_chance": 60}
    assert told["model"] == world.client.get("/version").json()["model"]
    urls = [one["image_url"] for one in told["sliders"]]
    assert [grey(world, url) for url in urls] == [100, 101]
    sheet = world.client.get(urls[1])
    assert sheet.headers["content-type"] == "image/png"
    assert world.client.get(urls[1], headers={"If-None-Match": sheet.headers["etag"]}).status_code == 304
    assert world.client.get(urls[0], headers={"If-None-Match": sheet.headers["etag"]}).status_code == 200
    assert "0 to 1" in assert_problem(world.client.get("/v1/editing/directions/2.png"), "not-found")["detail"]


def test_a_design_is_moved_along_sliders_and_what_came_of_it_is_too(world):
    begun = design(world, n=1, seed=5)
    moved = edited(world, "slide", ref(begun), moves=moves(d0=1.5, d1=1), seed=3)
    assert [grey(world, one["image_url"]) for one in moved["results"]] == [20]
    assert world.designer.asked[-1] == ("anna", "coats", 1, 3)
    assert moved["request"]["n"] == 1
    assert moved["results"][0]["settings"]["edit"]["amounts"] == {"0": 1.5, "1": 1}
    assert [(one["design"], one["index"]) for one in moved["origins"]] == [(begun["id"], 0)]
    back = edited(world, "slide", ref(moved), moves=moves(d0=-1.5), n=1)
    assert grey(world, back["results"][0]["image_url"]) == 5


def test_as_many_sliders_are_told_as_can_be_moved(world):
    begun = design(world, n=1)
    holder, count = world.service.holder, 102
    models = holder.get()
    found = models.sliders.directions
    each = {name: getattr(found, name)[[0] * count] for name in ("vectors", "units", "shares", "low", "high")}
    many = replace(models.sliders, directions=replace(found, names=(), **each))
    holder._models = replace(models, sliders=many)
    vars(holder._models)["editor"] = models.editor
    told = world.client.get("/v1/editing").json()["sliders"]
    assert [one["direction"] for one in told] == list(range(100))
    assert ask(world, "slide", ref(begun), moves=[{"direction": 99, "units": 1}]).status_code == 202
    beyond = ask(world, "slide", ref(begun), moves=[{"direction": 100, "units": 1}])
    assert faults(beyond) == ["/edit/moves/0/direction"]


def test_a_slide_that_says_too_much_or_too_little(world):
    one = ref(design(world, n=2))
    assert faults(ask(world, "slide", one)) == ["/edit/moves"]
    assert faults(ask(world, "slide", one, {**one, "index": 1}, moves=moves(d0=1))) == ["/edit/of"]
    assert faults(ask(world, "slide", one, moves=moves(d0=1) + moves(d0=2))) == ["/edit/moves"]
    assert faults(ask(world, "slide", one, moves=moves(d0=1, d2=1))) == ["/edit/moves/1"]
    assert faults(ask(world, "slide", one, moves=moves(d0=3.5))) == ["/edit/moves/0"]
    assert faults(ask(world, "slide", one, moves=moves(d1=-0.1))) == ["/edit/moves/0"]
    assert faults(ask(world, "slide", one, moves=[{"direction": 0, "units": "much"}])) == ["/edit/moves/0/units"]
    assert faults(ask(world, "slide", one, moves=moves(d0=1), n=2)) == ["/n"]
    assert faults(ask(world, "slide", one, moves=moves(d0=1), realism=1)) == ["/realism"]
    assert faults(ask(world, "like", one, moves=moves(d0=1))) == ["/edit/moves"]
    far = assert_problem(ask(world, "slide", one, moves=moves(d0=3.5)), "invalid-request")
    assert far["detail"] == "/edit/moves/0: direction 0 goes from -2 to +3, not to +3.5"


def test_without_directions_there_are_no_sliders_and_that_is_said(world):
    begun = design(world, n=1)
    without(world, "sliders")
    told = world.client.get("/v1/editing").json()
    assert (told["kinds"], told["sliders"]) == (["like", "mix", "tailor"], [])
    assert "--directions" in assert_problem(ask(world, "slide", ref(begun), moves=moves(d0=1)), "no-sliders")["detail"]
    assert_problem(world.client.get("/v1/editing/directions/0.png"), "no-sliders")


def test_sliders_that_are_gone_when_its_turn_comes_fail_the_slide(world):
    begun = design(world, n=1)
    world.designer.release.clear()
    world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats"})
    waiting = ask(world, "slide", ref(begun), moves=moves(d0=1)).headers["location"]
    without(world, "sliders")
    world.designer.release.set()
    assert finished(world, waiting)["problem"]["type"] == "urn:recgan:problem:no-sliders"


def test_who_may_see_and_move_sliders(catalogue):
    with running(catalogue, keys=True) as world:
        assert_problem(world.client.get("/v1/editing"), "no-key")
        assert_problem(world.client.get("/v1/editing/directions/0.png"), "no-key")
        _, key = world.service.store.keys.create("page", Scope.read)
        reader = {"Authorization": f"Bearer {key}"}
        assert world.client.get("/v1/editing", headers=reader).status_code == 200
        wanted = {"edit": {"kind": "slide", "of": [{"design": "x", "index": 0}], "moves": moves(d0=1)}}
        assert_problem(world.client.post("/v1/designs", json=wanted, headers=reader), "not-allowed")


def test_without_a_generator_nothing_can_be_edited(catalogue):
    with running(catalogue, with_gan=False) as world:
        assert_problem(world.client.get("/v1/editing"), "no-generator")
        assert_problem(world.client.get("/v1/editing/directions/0.png"), "no-generator")


@pytest.mark.parametrize("part", ["directions", "inverter"])
def test_parts_of_a_generator_are_not_given_without_one(part, tmp_path):
    from recgan.errors import SettingsError
    from service.settings import service_settings

    with pytest.raises(SettingsError, match=f"{part}: it is of a generator; give --gan"):
        service_settings(data=tmp_path, recommender=tmp_path, **{part: tmp_path})
