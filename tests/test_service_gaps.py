"""Gaps: what the catalogue lacks, as it is told and shown, and designs for its cohorts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recgan.dataset.bundle import Bundle
from recgan.errors import ArtifactError, DataError
from service.gaps import read_gaps
from tests.conftest import png
from tests.service_edits import ask, faults, grey, ref
from tests.service_world import World, assert_problem, design, finished, running


def write_gaps(folder: Path) -> Path:
    """Write a folder as ``recgan gaps`` does: hats for the two users of cohort 2, coats for the one of cohort 1."""
    folder.mkdir()
    gaps = [brief(2, "hats", ["anna", "b/c"], 0), brief(1, "coats", "Ünï 👒", 1)]
    told = {"cohorts": 2, "users": 40, "found": 1, "gaps": gaps, "about": {"catalogue": "c" * 64}}
    (folder / "gaps.json").write_text(json.dumps(told))
    for place in range(2):
        (folder / f"design-{place:03d}.png").write_bytes(png(np.full((8, 8, 3), 60 + place, dtype=np.uint8)))
    return folder


def brief(cohort: int, category: str, users, place: int) -> dict:
    """One gap of ``gaps.json``; the first is found."""
    return {
        "cohort": cohort,
        "category": category,
        "found": place == 0,
        "users": 30 - place,
        "user_share": 0.75,
        "judged": 2,
        "taken": 12,
        "gap": {"mean": 0.5 - place, "low": 0.25 - place, "high": 0.75 - place},
        "like_for_like": {"mean": 0.75, "low": 0.5, "high": 1.0},
        "preferred_by": 0.625,
        "percentile": 98.5,
        "best_in_stock": {"by_judge": "a/b", "by_recommender": "plain"},
        "nearest": [{"item_id": "a/b", "distance": 0.25}, {"item_id": "bare", "distance": 0.5}],
        "palette": [{"hex": "#163766", "name": "navy", "share": 0.75}],
        "style": ["bluer than 90% of the stock"],
        "attributes": {"pattern": {"value": "plain", "share": 0.5}},
        "design": {"image": f"design-{place:03d}.png", "z": [0.0], "settings": {"user": users}},
    }


def briefly(**changed) -> dict:
    """Of ``gaps.json``: one brief, with changes."""
    return {"gaps": [{**brief(2, "hats", ["anna"], 0), **changed}]}


DAMAGE = [
    (briefly(palette=[{"hex": "navy", "name": "navy", "share": 0.75}]), r"\(BriefColour: hex: "),
    (briefly(percentile=None), r"\(Brief: percentile: "),
    (briefly(gap={"mean": 0.5}), r"\(Difference: low: Field required"),
    (briefly(nearest=[{"item_id": "a/b"}]), r"\(it lacks 'distance'\)"),
    (briefly(attributes=["plain"]), r"\(.*'list'.* 'items'\)"),
    (briefly(design={"image": "design-000.png", "settings": {"user": [7]}}), r"\(.*: 0: .*string"),
    (briefly(design={"image": "design-000.png", "settings": {}}), r"\(it lacks 'user'\)"),
    ({"about": {}}, r"\(it lacks 'catalogue'\)"),
    ({"users": "many"}, r"\(GapList: users: "),
]
"""What ``gaps.json`` may hold that cannot be shown, and what is said of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of gaps."""
    return write_gaps(tmp_path_factory.mktemp("gaps") / "gaps")


@pytest.fixture
def world(catalogue: Bundle, folder: Path) -> Iterator[World]:
    """The running service, which shows them."""
    with running(catalogue, gaps=folder) as world:
        yield world


def test_briefs_are_told_with_their_cohorts_and_pictures(world):
    told = world.client.get("/v1/gaps").json()
    assert (told["catalogue"], told["users"], told["found"]) == ("c" * 64, 40, 1)
    assert told["cohorts"] == [
        {"cohort": 1, "users": 29, "user_share": 0.75, "members": 1},
        {"cohort": 2, "users": 30, "user_share": 0.75, "members": 2},
    ]
    first, second = told["briefs"]
    assert (first["cohort"], first["category"], first["found"], second["found"]) == (2, "hats", True, False)
    assert first["gap"] == {"mean": 0.5, "low": 0.25, "high": 0.75}
    assert first["palette"] == [{"hex": "#163766", "name": "navy", "share": 0.75}]
    assert first["attributes"] == [{"name": "pattern", "value": "plain", "share": 0.5}]
    assert [one["image_url"] for one in first["nearest"]] == ["/v1/items/a%2Fb/image", None]  # 'bare' has no picture
    assert [grey(world, one["image_url"]) for one in told["briefs"]] == [60, 61]
    picture = world.client.get(first["image_url"])
    assert world.client.get(first["image_url"], headers={"If-None-Match": picture.headers["etag"]}).status_code == 304
    assert "2 briefs" in assert_problem(world.client.get("/v1/gaps/2.png"), "not-found")["detail"]


def test_what_is_shown_is_what_was_read_at_the_start(catalogue, tmp_path):
    own = write_gaps(tmp_path / "own")
    with running(catalogue, gaps=own) as world:
        before = world.client.get("/v1/gaps").json()
        for file in own.iterdir():
            file.unlink()
        assert world.client.get("/v1/gaps").json() == before
        assert [grey(world, one["image_url"]) for one in before["briefs"]] == [60, 61]


@pytest.mark.parametrize(("damaged", "told"), DAMAGE)
def test_what_cannot_be_shown_is_told_in_a_line(damaged, told, tmp_path):
    own = write_gaps(tmp_path / "own")
    whole = json.loads((own / "gaps.json").read_text())
    (own / "gaps.json").write_text(json.dumps({**whole, **damaged}))
    with pytest.raises(ArtifactError, match=f"is damaged, or was made by another version {told}") as raised:
        read_gaps(own)
    assert "\n" not in str(raised.value)


def test_a_picture_that_cannot_be_read_is_told(folder, monkeypatch):
    def failing(file: Path) -> bytes:
        raise OSError(5, "Input/output error", str(file))

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(ArtifactError, match=r"cannot be read \(.*design-000\.png'\); copy it again"):
        read_gaps(folder)


def test_who_is_in_a_cohort_is_not_told(world):
    answer = world.client.get("/v1/gaps").text
    assert "anna" not in answer
    assert "b/c" not in answer


def test_designs_are_for_a_cohort_of_the_gaps_or_for_users_by_name(world):
    done = design(world, user_id=None, cohort=2, n=2, seed=4)
    assert done["state"] == "succeeded", done
    assert world.designer.asked[-1] == (["anna", "b/c"], "coats", 2, 4)
    assert (done["request"]["cohort"], done["request"]["users"]) == (2, ["anna", "b/c"])
    named = design(world, user_id=None, users=["b/c", "d%2Fe"], n=1)
    assert world.designer.asked[-1][0] == ["b/c", "d%2Fe"]
    assert (named["request"]["cohort"], named["request"]["user_id"]) == (None, None)
    # Who has done something since is folded in.
    event = {"user_id": "b/c", "item_id": "50%", "event": "purchase"}
    world.client.post("/v1/events", json={"events": [event]})
    design(world, user_id=None, cohort=2, n=1)
    known, folded = world.designer.asked[-1][0]
    assert known == "anna"
    assert folded.seen.tolist() == [2]


def test_an_edit_of_a_cohort_s_design_is_for_the_cohort(world):
    begun = design(world, user_id=None, cohort=2, n=1)
    more = finished(world, ask(world, "like", ref(begun), n=1).headers["location"])
    assert world.designer.asked[-1][0] == ["anna", "b/c"]
    assert more["request"]["cohort"] == 2
    finished(world, ask(world, "tailor", {"item": "plain"}, users=["b/c"], n=1).headers["location"])
    assert world.designer.asked[-1][0] == ["b/c"]


def test_why_a_cohort_s_design_failed_is_exported_without_naming_the_others(world):
    world.designer.failure = DataError("user 'b/c' is not known")
    failed = design(world, user_id=None, cohort=2, n=1)
    own = design(world, n=1)
    assert "b/c" in failed["problem"]["detail"]
    exported = world.client.get("/v1/users/anna")
    assert "b/c" not in exported.text.replace(own["problem"]["detail"], "", 1)
    of_several, of_one = exported.json()["designs"]
    assert of_several["problem"] == {**failed["problem"], "detail": ""}
    assert of_one["problem"] == own["problem"]


def test_a_picture_of_an_item_that_is_deleted_is_not_pointed_to(world):
    assert world.client.delete("/v1/items/a%2Fb").status_code == 204
    nearest = world.client.get("/v1/gaps").json()["briefs"][0]["nearest"]
    assert [(one["item_id"], one["image_url"]) for one in nearest] == [("a/b", None), ("bare", None)]


def test_what_was_known_of_a_cohort_is_in_the_settings_file_alone(world):
    event = {"user_id": "b/c", "item_id": "50%", "event": "purchase"}
    world.client.post("/v1/events", json={"events": [event]})  # who has done something since is folded in
    begun = design(world, user_id=None, cohort=2, n=2)
    like = finished(world, ask(world, "like", ref(begun), n=2).headers["location"])
    for path in (begun["url"], like["url"], "/v1/designs"):
        answer = world.client.get(path).text
        assert '"vector"' not in answer
        assert '"seen"' not in answer
        assert len(answer) < 15_000
    for done in (begun, like):
        known, folded = world.client.get(done["results"][0]["settings_url"]).json()["settings"]["user"]
        assert (known, len(folded["vector"]), folded["seen"]) == ("anna", 4096, ["50%"])


def test_what_says_too_much_or_too_little_of_a_cohort(world):
    def asked(**who):
        return world.client.post("/v1/designs", json={"category": "coats", **who})

    assert faults(asked(cohort=3)) == ["/cohort"]
    assert faults(asked(cohort=2, users=["anna"])) == ["/users"]
    assert faults(asked(cohort=2, user_id="anna")) == ["/user_id"]
    assert faults(asked(users=["anna"], liked=["a/b"])) == ["/user_id"]
    assert faults(asked(users=["anna", "nobody", "no one"])) == ["/users/1", "/users/2"]
    assert faults(asked(users=["anna"] * 201)) == ["/users"]


def test_a_member_who_is_forgotten_is_left_out_and_so_are_designs_for_them(world):
    before = design(world, user_id=None, cohort=2, n=1)
    other = design(world, user_id=None, users=["b/c"], n=1)
    kept = world.client.get("/v1/users/anna").json()["designs"]
    assert [one["url"] for one in kept] == [before["url"]]
    assert kept[0]["request"]["users"] == ["anna"]  # and not who else is in the cohort
    assert world.client.delete("/v1/users/anna").status_code == 204
    assert_problem(world.client.get(before["url"]), "unknown-design")
    assert world.client.get(other["url"]).status_code == 200
    design(world, user_id=None, cohort=2, n=1)
    assert world.designer.asked[-1][0] == ["b/c"]
    world.client.delete("/v1/users/b%2Fc")
    refused = world.client.post("/v1/designs", json={"category": "coats", "cohort": 2})
    assert "nobody of cohort 2" in assert_problem(refused, "invalid-request")["detail"]


def test_a_service_that_shows_no_gaps_says_so(catalogue):
    with running(catalogue) as world:
        assert "--gaps" in assert_problem(world.client.get("/v1/gaps"), "no-gaps")["detail"]
        assert_problem(world.client.get("/v1/gaps/0.png"), "no-gaps")
        assert_problem(world.client.post("/v1/designs", json={"category": "coats", "cohort": 1}), "no-gaps")


def test_who_may_see_gaps(catalogue, folder):
    with running(catalogue, gaps=folder, keys=True) as world:
        assert_problem(world.client.get("/v1/gaps"), "no-key")
        assert_problem(world.client.get("/v1/gaps/0.png"), "no-key")


def test_a_folder_that_is_none_is_told_before_anything_is_served(catalogue, folder, tmp_path):
    with pytest.raises(ArtifactError, match=r"holds no gaps\.json; give a folder that 'recgan gaps' wrote"):
        read_gaps(tmp_path)
    own = write_gaps(tmp_path / "own")
    (own / "design-001.png").unlink()
    with pytest.raises(ArtifactError, match=r"lacks the picture design-001\.png"):
        read_gaps(own)
    (own / "gaps.json").write_text('{"gaps": [{"design": {"image": "../secret.png"}}]}')
    with pytest.raises(ArtifactError, match="lacks the picture"):
        read_gaps(own)
    (own / "gaps.json").write_text("{")
    with pytest.raises(ArtifactError, match="is damaged"):
        read_gaps(own)
    with pytest.raises(ArtifactError, match="holds no"), running(catalogue, gaps=tmp_path / "none"):
        pass
