"""The blind test: what the page shows and hides, what a vote may be, and what the votes add up to."""

import base64
import io
import json
import re
import shutil
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from recgan.cli.run import run
from recgan.dataset.pixels import load_pixels
from recgan.errors import ArtifactError, DataError, SettingsError
from recgan.evaluation.blindtest import (
    Key,
    VoteServer,
    design_for_test,
    load_key,
    make_blindtest,
    read_votes,
    report_votes,
)
from recgan.evaluation.blindtest.ballot import LARGEST_BODY
from recgan.gan.data import training_rows
from tests.design_world import QUICK

PERSON = "0123456789abcdef"

# ---- the page and its key


@pytest.fixture(scope="module")
def made(design_world, tmp_path_factory):
    designs = design_for_test(design_world.designer, 3, settings=QUICK)
    out = tmp_path_factory.mktemp("blind") / "test"
    key = make_blindtest(design_world.bundle, design_world.designer, designs, out, title="A <b>shop</b>")
    return out, key, designs


def shown_on(page):
    """What the page holds: trials by kind, pixels by the picture's id, and the files' bytes."""
    test = json.loads(re.search(r'<script type="application/json" id="test">(.*?)</script>', page, re.S)[1])
    files = {
        picture["id"]: base64.b64decode(picture["src"].partition(",")[2])
        for trial in [*test["pairs"], *test["singles"]]
        for picture in trial["pictures"]
    }
    return test, {name: np.asarray(Image.open(io.BytesIO(data))) for name, data in files.items()}, files


def test_pairs_and_singles_hold_as_many_designs_as_real_items(made):
    _, key, designs = made
    kinds = [tuple(sorted(key.pictures[name]["kind"] for name in shown)) for shown in key.trials.values()]
    assert sorted(kinds) == [("design",)] * 3 + [("design", "item")] * 3 + [("item",)] * 3
    for shown in key.trials.values():
        assert len({key.pictures[name]["category"] for name in shown}) == 1
    singles = {kind: [] for kind in ("design", "item")}
    for shown in key.trials.values():
        if len(shown) == 1:
            singles[key.pictures[shown[0]]["kind"]].append(key.pictures[shown[0]]["category"])
    assert sorted(singles["design"]) == sorted(singles["item"])
    assert {picture["user"] for picture in key.pictures.values() if "user" in picture} == set(designs)


def test_the_page_shows_what_the_key_says(made, design_world):
    out, key, designs = made
    _, pixels, _ = shown_on((out / "page.html").read_text())
    assert set(pixels) == set(key.pictures)
    real = load_pixels(design_world.bundle, 32)
    for name, picture in key.pictures.items():
        if picture["kind"] == "design":
            expected = next(d.image for d in designs[picture["user"]] if d.seed == picture["seed"])
        else:
            row = design_world.bundle.item_rows([picture["item_id"]])[0]
            expected = real[design_world.bundle.primary_images[row]]
        np.testing.assert_array_equal(pixels[name], expected)


def test_the_rival_is_the_best_real_item_of_the_same_user_and_single_photos_were_not_trained_on(made, design_world):
    _, key, _ = made
    designer, used = design_world.designer, set()
    held_out = set(design_world.bundle.item_ids[training_rows(design_world.bundle, ("test",))])
    for shown in key.trials.values():
        for name in shown:
            picture = key.pictures[name]
            if picture["kind"] == "item":
                assert picture["item_id"] not in used  # nobody sees a picture twice
                used.add(picture["item_id"])
                if len(shown) == 1:
                    assert picture["held_out"] == (picture["item_id"] in held_out)
                else:
                    real = designer.real_items(picture["user"], picture["category"])
                    best = real.item_ids[np.argsort(-real.scores, kind="stable")]
                    assert best[picture["rank"] - 1] == picture["item_id"]


def test_the_page_tells_nothing_apart(made):
    out, key, _ = made
    page = (out / "page.html").read_text()
    test, _, files = shown_on(page)
    assert len({len(data) for data in files.values()}) == 1  # not even the length of a file
    assert {key.pictures[name]["kind"] for name in files} == {"design", "item"}
    for picture in key.pictures.values():
        for secret in ("item_id", "user"):
            assert picture.get(secret, "\0") not in page
    assert all(set(trial) == {"id", "pictures"} for trial in [*test["pairs"], *test["singles"]])
    assert "A &lt;b&gt;shop&lt;/b&gt;" in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_names(made, design_world, tmp_path):
    out, key, designs = made
    arguments = (design_world.bundle, design_world.designer, designs)
    make_blindtest(*arguments, tmp_path / "again", title="A <b>shop</b>")
    for name in ("page.html", "key.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    other = make_blindtest(*arguments, tmp_path / "other", seed=1)
    assert not set(other.pictures) & set(key.pictures)
    assert load_key(out) == key
    # So have tests of other pictures: votes on one are never taken for votes on another.
    turned = {user: [replace(one, image=one.image[:, ::-1].copy()) for one in mine] for user, mine in designs.items()}
    retrained = make_blindtest(*arguments[:2], turned, tmp_path / "retrained")
    assert retrained.test != key.test
    assert not set(retrained.pictures) & set(key.pictures)


def test_what_cannot_be_tested_is_refused(design_world, made, tmp_path):
    out, _, designs = made
    arguments = (design_world.bundle, design_world.designer)
    with pytest.raises(SettingsError, match="at least 2 designs"):
        make_blindtest(*arguments, {user: made[:1] for user, made in designs.items()}, tmp_path / "a")
    with pytest.raises(SettingsError, match="at least 2 designs"):
        make_blindtest(*arguments, {}, tmp_path / "a")
    with pytest.raises(ArtifactError, match="--overwrite"):
        make_blindtest(*arguments, designs, out)
    (user, some), *_ = designs.items()
    with pytest.raises(DataError, match="too few real items"):
        make_blindtest(*arguments, {user: list(some) * 20}, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    with pytest.raises(ArtifactError, match="blindtest make"):
        load_key(tmp_path)
    (tmp_path / "key.json").write_text(
        '{"format": 1, "test": "x", "trials": {"a": ["b"]}, "pictures": {}, "about": {}}'
    )
    with pytest.raises(ArtifactError, match="damaged"):
        load_key(tmp_path)


# ---- votes

KEY = Key(
    test="t1",
    pictures={
        **{f"d{n}": {"kind": "design", "category": "bag", "user": "u", "seed": n} for n in range(3)},
        **{f"i{n}": {"kind": "item", "category": "shoe" if n == 1 else "bag", "item_id": str(n)} for n in range(3)},
    },
    trials={"pair": ["d0", "i0"], "design": ["d1"], "item": ["i1"], "other": ["d2"]},
    about={"seed": 0},
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "key.json").write_text(json.dumps(KEY.as_json()))
    (tmp_path / "test" / "page.html").write_text("<p>page")
    return tmp_path / "test"


def vote(trial, answer, person=PERSON, **changes):
    return {"test": "t1", "person": person, "trial": trial, "answer": answer, "side": "", "seconds": 2.0, **changes}


def voted(folder, *votes):
    (folder / "votes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in votes))
    return report_votes(folder)


def test_the_last_vote_counts_wherever_it_lies(folder, tmp_path):
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps(vote("pair", "d0")) + "\n" + json.dumps(vote("pair", "i0", side="left")) + "\n\n")
    downloaded = tmp_path / "b.json"
    downloaded.write_text(json.dumps({"test": "t1", "votes": [vote("design", "real"), vote("design", "unsure")]}))
    found = read_votes([lines, downloaded], KEY)
    assert [(one.trial, one.answer, one.side) for one in found] == [("design", "unsure", ""), ("pair", "i0", "left")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": "t2"}, "another blind test"),
        ({"trial": "zebra"}, "no trial 'zebra'"),
        ({"trial": ["pair"]}, "no trial"),
        ({"answer": "d1"}, "no answer to trial 'pair'"),
        ({"answer": "real"}, "no answer to trial 'pair'"),
        ({"answer": ["d0"]}, "no answer to trial 'pair'"),
        ({"person": "<script>"}, "'person'"),
        ({"person": 7}, "'person'"),
        ({"side": "top"}, "'side'"),
        ({"side": []}, "'side'"),
        ({"seconds": -1}, "'seconds'"),
        ({"seconds": True}, "'seconds'"),
        ({"seconds": float("nan")}, "'seconds'"),
    ],
)
def test_what_is_no_vote_is_refused_with_its_place(folder, changes, message):
    (folder / "votes.jsonl").write_text(
        json.dumps(vote("pair", "d0")) + "\n" + json.dumps({**vote("pair", "d0"), **changes})
    )
    with pytest.raises(DataError, match=message) as refused:
        report_votes(folder)
    assert "line 2" in str(refused.value)


@pytest.mark.parametrize("text", ["{torn", "[1, 2]", '{"votes": 3}', "\x00"])
def test_a_file_of_something_else_is_refused(folder, tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(DataError, match=r"'.*file'"):
        report_votes(folder, [tmp_path / "file"])
    with pytest.raises(DataError, match="cannot be read"):
        report_votes(folder, [tmp_path / "nothing"])


def test_no_votes_are_told_with_the_next_step(folder):
    with pytest.raises(DataError, match="blindtest serve"):
        report_votes(folder)


# ---- figures


def test_shares_are_counted_by_hand(folder):
    report = voted(
        folder,
        vote("pair", "d0", side="left"),
        vote("pair", "i0", "1" * 16, side="left"),
        vote("pair", "d0", "2" * 16, side="right"),
        vote("pair", "neither", "3" * 16),
        vote("design", "real"),
        vote("other", "designed"),
        vote("design", "unsure", "1" * 16),
        vote("item", "real"),
        vote("item", "real", "1" * 16, seconds=9.0),
        vote("item", "designed", "2" * 16),
    )
    assert (report.people, report.votes, report.median_seconds) == (4, 10, 2.0)
    shares = {name: (one.share, one.votes) for name, one in report.figures.items()}
    assert shares["designs_stocked"] == (pytest.approx(2 / 3), 3)
    assert shares["neither_stocked"] == (0.25, 4)
    assert shares["left_chosen"] == (pytest.approx(2 / 3), 3)
    assert shares["designs_called_real"] == (0.5, 2)
    assert shares["real_items_called_real"] == (pytest.approx(2 / 3), 3)
    # Right of real items 2/3 and of designs 1/2, both counting alike.
    assert shares["told_apart"] == (pytest.approx((2 / 3 + 1 / 2) / 2), 5)
    assert np.isnan(report.categories["shoe"]["designs_stocked"].share)
    assert report.categories["shoe"]["real_items_called_real"].votes == 3
    rows = {row["picture"]: row for row in report.pictures}
    assert (rows["d0"]["stocked"], rows["d0"]["not_stocked"], rows["d0"]["user"]) == (2, 2, "u")
    assert (rows["d1"]["called_real"], rows["d2"]["called_designed"]) == (1, 1)
    assert [row["picture"] for row in report.pictures] == ["d1", "d0", "d2"]  # of equals in stock, the more real first


def test_few_people_get_wilsons_interval_over_votes(folder):
    report = voted(
        folder, *(vote("design", answer, f"{n:08d}") for n, answer in enumerate(["real"] * 2 + ["designed"] * 6))
    )
    found = report.figures["designs_called_real"]
    assert report.method == "Wilson over votes"
    expected = binomtest(2, 8).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_with_ten_people_the_interval_is_over_people(folder):
    # Ten people, all of one mind with themselves: five take every design for real, five none.
    votes = [
        vote(trial, "real" if n < 5 else "designed", f"{n:08d}") for n in range(10) for trial in ("design", "other")
    ]
    report = voted(folder, *votes)
    found = report.figures["designs_called_real"]
    assert report.method == "bootstrap over people"
    assert (found.share, found.votes) == (0.5, 20)
    # The mean of ten coins: its 2.5% and 97.5% quantiles are 2 and 8 of ten; of 20 coins they would be .30 and .70.
    assert (found.low, found.high) == pytest.approx((0.2, 0.8), abs=1e-9)
    assert voted(folder, *votes).figures["designs_called_real"] == found


# ---- the server


@pytest.fixture
def server(folder):
    with VoteServer(folder, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path="", body=None, kind="application/json"):
    request = urllib.request.Request(server.url + path, data=body, headers={"Content-Type": kind} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_votes_are_written_down_and_reported(server, folder):
    status, page, headers = ask(server)
    assert (status, page) == (200, b"<p>page")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    sent = json.dumps({"votes": [vote("pair", "d0", side="right"), vote("item", "real")]}).encode()
    assert ask(server, "votes", sent)[:2] == (200, b'{"written": 2}')
    assert report_votes(folder).figures["designs_stocked"].share == 1.0


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        ("key.json", None, "", 404),
        ("../key.json", None, "", 404),
        ("votes", None, "", 404),
        ("other", b"{}", "application/json", 404),
        ("votes", b"{}", "text/plain", 415),
        ("votes", b"{", "application/json", 400),
        ("votes", b"[" * 100_000, "application/json", 400),
        ("votes", b"\xff", "application/json", 400),
        ("votes", b'{"votes": 1}', "application/json", 422),
        ("votes", json.dumps({"votes": [vote("pair", "d0"), vote("pair", "zebra")]}).encode(), "application/json", 422),
        ("votes", b" " * (LARGEST_BODY + 1), "application/json", 413),
    ],
)
def test_nothing_else_is_answered_or_written(server, folder, path, body, kind, status):
    try:
        assert ask(server, path, body, kind)[0] == status
    except urllib.error.URLError:
        assert status == 413  # the answer came, and the connection closed, before all of the body was sent
    assert not (folder / "votes.jsonl").exists()


def test_votes_that_cannot_be_written_are_not_acknowledged(server, folder, monkeypatch):
    monkeypatch.setattr("recgan.evaluation.blindtest.ballot.LARGEST_FILE", 200)
    one = json.dumps({"votes": [vote("item", "real")]}).encode()
    assert ask(server, "votes", one)[0] == 200
    before = (folder / "votes.jsonl").read_bytes()
    assert ask(server, "votes", one)[0] == 507
    assert (folder / "votes.jsonl").read_bytes() == before


def test_a_port_that_is_taken_is_told(server, folder):
    with pytest.raises(SettingsError, match="choose another --host or --port"):
        VoteServer(folder, port=server.server_address[1])


# ---- the command line


def test_the_verbs_make_and_report(design_world, tmp_path, capsys):
    world = design_world.folder
    options = [
        "--recommender",
        str(world / "recommender"),
        "--gan",
        str(world / "gan"),
        "--users",
        "2",
        "--device",
        "cpu",
    ]
    quick = [f"--set={name}" for name in ("samples=2", "starts=1", "steps=1")]
    out = str(tmp_path / "test")
    assert run(["blindtest", "make", str(world / "catalogue"), *options, *quick, "--out", out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pairs"], told["singles"]) == (2, 4)
    assert run(["blindtest", "report", out]) == 2
    assert "no votes" in capsys.readouterr().err
    key = load_key(out)
    trial = next(name for name, shown in key.trials.items() if len(shown) == 1)
    votes = tmp_path / "votes-1.json"
    votes.write_text(json.dumps({"votes": [{**vote(trial, "real"), "test": key.test}]}))
    assert run(["blindtest", "report", out, str(votes), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["people"], report["votes"]) == (1, 1)
    assert report["figures"]["designs_stocked"]["share"] is None  # nobody was asked


# ---- a person, by the keyboard


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM HERE: the page was NOT tested in a browser")
def test_a_person_votes_by_keys_and_the_votes_arrive(made, tmp_path):
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="NO PLAYWRIGHT HERE: the page was NOT tested in a browser"
    )
    out, key, _ = made
    folder = Path(shutil.copytree(out, tmp_path / "test"))
    with VoteServer(folder, port=0) as server, sync_api.sync_playwright() as playwright:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        problems = []
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(server.url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name="Begin").press("Enter")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Backspace")
        page.keyboard.press("ArrowRight")  # thinks better of the first
        page.keyboard.press("ArrowDown")
        page.reload()  # and goes on later
        page.get_by_text("(3 of 9)").wait_for()
        page.get_by_role("button", name="The left one").click()
        page.get_by_role("button", name="Go on").press("Enter")
        for letter in "rdrdr":
            page.keyboard.press(letter)
        page.get_by_role("button", name="Cannot say").click()
        page.get_by_text("All 9 votes were saved").wait_for()
        with page.expect_download() as waited:
            page.get_by_role("button", name="Download your votes").click()
        downloaded = read_votes([waited.value.path()], key)
        browser.close()
        server.shutdown()
        thread.join()
    assert problems == []
    found = read_votes([folder / "votes.jsonl"], key)
    assert found == downloaded
    pairs = [one for one in found if len(key.trials[one.trial]) == 2]
    assert sorted((one.side, one.answer == "neither") for one in pairs) == [
        ("", True),
        ("left", False),
        ("right", False),
    ]
    singles = [one.answer for one in found if len(key.trials[one.trial]) == 1]
    assert sorted(singles) == ["designed"] * 2 + ["real"] * 3 + ["unsure"]
