"""The blind test that the service shows: its page in parts, its votes, and a person who takes it by the keyboard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recgan.dataset.bundle import Bundle
from recgan.errors import ArtifactError
from recgan.evaluation.blindtest import Key, load_key, read_votes, report_votes
from recgan.evaluation.blindtest.making import _page
from service.blindtest import open_blindtest
from service.client import Client, ServiceRefused
from service.middleware import HEADERS
from service.schemas import BlindVote
from service.store.keys import Scope
from tests.service_world import World, assert_problem, running
from tests.test_service_browser import CHROMIUM, Site, expect, sync_api

PERSON = "0123abcd"


def write_test(folder: Path) -> Path:
    """Write a blind test of one pair and two single pictures, as ``recgan blindtest make`` does."""
    folder.mkdir()
    kinds = {"d0": "design", "i0": "item", "d1": "design", "i1": "item"}
    pictures = {name: {"kind": kind, "category": "coats"} for name, kind in kinds.items()}
    key = Key("test-1", pictures, {"pair": ["d0", "i0"], "design": ["d1"], "item": ["i1"]}, {"bundle": "world"})
    pixels = {name: np.full((8, 8, 3), 40 * place, dtype=np.uint8) for place, name in enumerate(pictures)}
    (folder / "key.json").write_text(json.dumps(key.as_json()))
    (folder / "page.html").write_text(_page(key, pixels, "coats", 8))
    return folder


def vote(trial: str, answer: str, **more) -> dict:
    """A vote as the page sends it."""
    return {"test": "test-1", "person": PERSON, "trial": trial, "answer": answer, "side": "", "seconds": 1.5, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A blind test."""
    return write_test(tmp_path / "test")


@pytest.fixture
def world(catalogue: Bundle, folder: Path) -> Iterator[World]:
    """The running service, which shows it."""
    with running(catalogue, blindtest=folder) as world:
        yield world


def test_the_page_comes_in_parts_that_the_policy_allows(world, folder):
    whole = (folder / "page.html").read_text()
    page, style, script = (world.client.get(f"/blindtest/{name}") for name in ("", "page.css", "page.js"))
    types = [one.headers["content-type"].partition(";")[0] for one in (page, style, script)]
    assert types == ["text/html", "text/css", "text/javascript"]
    for answer in (page, style, script):
        assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    put_together = page.text.replace('<link rel="stylesheet" href="page.css">', f"<style>{style.text}</style>")
    put_together = put_together.replace('<script src="page.js"></script>', f"<script>{script.text}</script>")
    assert put_together == whole
    assert "<style>" not in page.text
    assert "<script>" not in page.text
    assert world.client.get("/blindtest/key.json").status_code == 404
    assert 'href="blindtest/"' in world.client.get("/").text


def test_votes_are_written_down_and_reported(world, folder):
    sent = {"votes": [vote("pair", "d0", side="right"), vote("item", "real")]}
    assert world.client.post("/blindtest/votes", json=sent).json() == {"written": 2}
    assert report_votes(folder).figures["designs_stocked"].share == 1.0
    # Who thinks better of it is heard last.
    assert world.client.post("/blindtest/votes", json={"votes": [vote("pair", "i0", side="left")]}).status_code == 200
    assert report_votes(folder).figures["designs_stocked"].share == 0.0
    assert len(read_votes([folder / "votes.jsonl"], load_key(folder))) == 2


def test_votes_of_the_client(world, folder):
    shop = Client(http=world.client)
    assert shop.vote([BlindVote(**vote("pair", "d0", side="left")), BlindVote(**vote("design", "unsure"))]) == 2
    assert [one.answer for one in read_votes([folder / "votes.jsonl"], load_key(folder))] == ["unsure", "d0"]
    with pytest.raises(ServiceRefused, match="no answer to trial 'pair'"):
        shop.vote([BlindVote(**vote("pair", "zebra"))])


def test_what_is_no_vote_is_refused_and_nothing_is_written(world, folder):
    good = vote("item", "real")
    for wrong, slug in (
        (vote("pair", "zebra"), "invalid-data"),
        (vote("none", "real"), "invalid-data"),
        ({**good, "test": "another"}, "invalid-data"),
        ({**good, "person": "Anna"}, "invalid-request"),
        ({**good, "side": "up"}, "invalid-request"),
        ({**good, "seconds": -1}, "invalid-request"),
        ({**good, "name": "Anna"}, "invalid-request"),
    ):
        assert_problem(world.client.post("/blindtest/votes", json={"votes": [good, wrong]}), slug)
    assert_problem(world.client.post("/blindtest/votes", json={"votes": []}), "invalid-request")
    form = {"Content-Type": "text/plain"}
    text = json.dumps({"votes": [good]})
    assert_problem(world.client.post("/blindtest/votes", content=text, headers=form), "unsupported-media-type")
    assert not (folder / "votes.jsonl").exists()


def test_votes_that_cannot_be_written_are_not_acknowledged(world, folder, monkeypatch):
    monkeypatch.setattr("recgan.evaluation.blindtest.ballot.LARGEST_FILE", 200)
    assert world.client.post("/blindtest/votes", json={"votes": [vote("item", "real")]}).status_code == 200
    before = (folder / "votes.jsonl").read_bytes()
    assert_problem(world.client.post("/blindtest/votes", json={"votes": [vote("item", "real")]}), "storage")
    assert (folder / "votes.jsonl").read_bytes() == before


def test_a_service_that_shows_no_blind_test_says_so(catalogue):
    with running(catalogue) as world:
        for name in ("", "page.css", "page.js"):
            assert "--blindtest" in assert_problem(world.client.get(f"/blindtest/{name}"), "no-blindtest")["detail"]
        sent = {"votes": [vote("item", "real")]}
        assert_problem(world.client.post("/blindtest/votes", json=sent), "no-blindtest")
        assert "blindtest" not in world.client.get("/").text


def test_who_may_see_it_and_who_may_vote(catalogue, folder):
    with running(catalogue, blindtest=folder, keys=True) as world:
        sent = {"votes": [vote("item", "real")]}
        assert_problem(world.client.get("/blindtest/"), "no-key")
        assert_problem(world.client.post("/blindtest/votes", json=sent), "no-key")
        reader, writer = (
            {"Authorization": f"Bearer {world.service.store.keys.create(scope, scope)[1]}"}
            for scope in (Scope.read, Scope.write)
        )
        assert world.client.get("/blindtest/", headers=reader).status_code == 200
        assert_problem(world.client.post("/blindtest/votes", json=sent, headers=reader), "not-allowed")
        assert world.client.post("/blindtest/votes", json=sent, headers=writer).status_code == 200


def test_a_folder_that_is_none_is_told_before_anything_is_served(folder, tmp_path):
    with pytest.raises(ArtifactError, match=r"holds no key\.json"):
        open_blindtest(tmp_path)
    older = Path(shutil.copytree(folder, tmp_path / "older"))
    (older / "page.html").write_text("<style></style><style></style><script></script>")
    with pytest.raises(ArtifactError, match="another version of recgan; make the test again"):
        open_blindtest(older)
    (older / "page.html").unlink()
    with pytest.raises(ArtifactError, match=r"holds no page\.html"):
        open_blindtest(older)


@pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM HERE: the page was NOT tested in a browser")
def test_a_person_takes_it_from_the_page_by_keys(catalogue, folder):
    with Site(catalogue, blindtest=folder) as site, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.url)
        expect(page.locator("#recommended li")).to_have_count(9)
        page.get_by_role("link", name="Blind test").press("Enter")
        page.wait_for_url("**/blindtest/")  # with its script, which lies beside it
        page.get_by_role("button", name="Begin").press("Enter")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.keyboard.press("ArrowDown")
        page.get_by_role("button", name="Go on").press("Enter")
        page.keyboard.press("r")
        page.keyboard.press("d")
        expect(page.get_by_text("All 3 votes were saved")).to_be_visible()
        browser.close()
    assert complaints == []
    found = read_votes([folder / "votes.jsonl"], load_key(folder))
    assert sorted(one.answer for one in found) == ["designed", "neither", "real"]
