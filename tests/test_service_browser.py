"""The page in a real browser, over models whose answers are known: each thing that a person can do on it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import socket
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import ExifTags, Image

from recgan.dataset.bundle import Bundle
from recgan.progress import Progress, quiet
from service.app import create_app
from service.holder import stored_model
from service.models import Models
from service.settings import ServiceSettings
from service.store import Store
from service.store.keys import Scope
from tests.conftest import png
from tests.service_world import IDS, USERS, FakeDesigner, FakeEditor, models_of, serve_another_generator, until
from tests.test_service_gaps import write_gaps

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="NO PLAYWRIGHT HERE: the page was NOT tested in a browser; pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO CHROMIUM HERE: the page was NOT tested in a browser; install Debian's 'chromium'"
)


class Site:
    """A service that listens, and the hands on its models."""

    def __init__(self, bundle: Bundle, designable: frozenset[str] = frozenset({"coats"}), **settings) -> None:
        models, self.recommender, self.designer, _ = models_of(bundle)
        object.__setattr__(models, "designable", designable)  # `replace` would lose the fake editor
        self.recommender.metrics = {"validation_auc": 0.75}
        self.models = models
        self.folder = tempfile.TemporaryDirectory()
        given = {"store": f"sqlite:///{self.folder.name}/store.sqlite", "design_worker": "thread", **settings}
        self.settings = ServiceSettings(data=bundle.path, recommender=bundle.path, gan=bundle.path, **given)
        self.app = create_app(self.settings, load=self.load)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_config=None, timeout_graceful_shutdown=2))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})

    @property
    def store(self) -> Store:
        """What is remembered."""
        return self.app.state.service.store

    def load(self, settings: ServiceSettings, progress: Progress = quiet) -> Models:
        """The models; where another recommender is asked for, they are the same with its name for a digest."""
        if settings.recommender == self.settings.recommender:
            return self.models
        version = self.models.version.model_copy(update={"recommender": Path(settings.recommender).name})
        return replace(self.models, version=version)

    def put_model(self, name: str, **metrics: object) -> str:
        """Note a model in the store, as a retraining does, and return its id."""
        settings = self.settings.model_copy(update={"recommender": str(Path(name).absolute())})
        models = self.load(settings)
        self.store.models.register(stored_model(models, settings, source="retrain", metrics=metrics))
        return models.id

    def __enter__(self) -> Site:
        self.thread.start()
        self.app.state.service.holder.wait(30)
        return self

    def __exit__(self, *what: object) -> None:
        self.designer.release.set()
        self.app.state.service.streams.close()
        self.server.should_exit = True
        self.thread.join(30)
        self.listener.close()
        self.folder.cleanup()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """The system's Chromium."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def site(catalogue: Bundle) -> Iterator[Site]:
    """A site."""
    with Site(catalogue) as site:
        yield site


@pytest.fixture
def designs(page):
    """The two designs that were asked for on the page."""
    page.fill("#count", "2")
    page.click("#make")
    designs = page.locator("#designs > li")
    expect(designs).to_have_count(2)
    return designs


def expect(locator):
    """Playwright's expectations, with patience for a busy machine."""
    sync_api.expect.set_options(timeout=30_000)
    return sync_api.expect(locator)


@pytest.fixture
def page(browser, site: Site) -> Iterator:
    """The site's page; whatever the browser complains of fails the test."""
    complaints: list[str] = []

    def note(line) -> None:
        # The browser notes each answer that is an error by itself: what the page makes of it is what counts.
        if line.type == "error" and not line.text.startswith("Failed to load resource"):
            complaints.append(line.text)

    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", note)
    page.goto(site.url)
    expect(page.locator("#recommended li")).to_have_count(9)  # it has started
    yield page
    context.close()
    assert complaints == []


def shown(page) -> list[str]:
    """Ids of the items that are recommended on the page."""
    return [text.split(" ", 1)[1] for text in page.locator("#recommended figcaption").all_inner_texts()]


def test_choosing_a_user_and_a_category(page):
    expect(page.locator("#recommended li")).to_have_count(9)
    assert shown(page)[0] == "a/b"
    page.fill("#user", "b/c")
    page.click("#who button[type=submit]")
    expect(page.locator("#recommended figcaption").first).to_contain_text("plain")
    page.click("#chips button:has-text('hats')")
    expect(page.locator("#recommended li")).to_have_count(5)
    assert "user=b%2Fc" in page.url
    page.reload()
    expect(page.locator("#user")).to_have_value("b/c")
    names = page.locator("#recommended img").evaluate_all("all => all.map(one => one.alt)")
    assert all(names)
    # Ids that look like markup are text.
    assert page.locator("#recommended script").count() == 0


def test_designs_are_of_what_is_recommended_most_until_somebody_chooses(browser, catalogue):
    with Site(catalogue, designable=frozenset({"coats", "hats"})) as site:
        page = browser.new_page()
        page.goto(site.url)
        expect(page.locator("#recommended li")).to_have_count(9)
        counts = Counter(page.locator("#recommended figcaption strong").all_inner_texts())
        (most, _), (other, _) = counts.most_common()
        category = page.locator("#category")
        expect(category).to_have_value(most)
        page.click(f"#chips button:has-text('{other}')")
        expect(category).to_have_value(other)
        page.click("#chips button:has-text('all')")
        expect(category).to_have_value(most)
        page.select_option("#category", other)
        page.fill("#user", "b/c")
        page.click("#who button[type=submit]")
        expect(page.locator("#recommended figcaption").first).to_contain_text("plain")
        expect(category).to_have_value(other)
        page.close()


def test_a_user_who_is_not_there_is_told_in_words(page):
    page.fill("#user", "nobody")
    page.click("#who button[type=submit]")
    expect(page.locator("#notice")).to_contain_text("There is no user of this id")


def test_why_more_like_this_and_what_the_user_did(page):
    expect(page.locator("#recommended li")).to_have_count(9)
    first = page.locator("#recommended li").first
    first.get_by_role("button", name="Why?").click()
    expect(first.locator(".why")).to_contain_text("latent −1.00")
    expect(first.locator(".why img")).to_have_count(1)
    first.get_by_role("button", name="More like this").click()
    expect(page.locator("#alike")).to_be_visible()
    expect(page.locator("#alike-items li")).to_have_count(9)
    page.click("#alike-close")
    expect(page.locator("#alike")).to_be_hidden()
    first.get_by_role("button", name="Has it").click()
    expect(page.locator("#recommended li")).to_have_count(8)
    page.locator("#recommended li").first.get_by_role("button", name="Not for them").click()
    expect(page.locator("#recommended li")).to_have_count(7)
    assert shown(page)[0] == "käse 日本 👗"


def photo(tmp_path: Path, name: str) -> Path:
    """A photo file."""
    path = tmp_path / name
    path.write_bytes(png(np.full((50, 40, 3), 200, dtype=np.uint8)))
    return path


def test_designing_from_three_photos_of_one_s_own(page, site, tmp_path):
    page.set_input_files("#photos", [photo(tmp_path, f"{n}.png") for n in range(3)])
    expect(page.locator("#photo-list img")).to_have_count(3)
    expect(page.locator("#design-for")).to_have_text("yourself")
    expect(page.locator("#recommended figcaption").first).to_contain_text("plain")
    assert page.get_by_role("button", name="Has it").count() == 0  # there is nobody to note it for
    page.fill("#count", "2")
    page.fill("#seed", "7")
    page.click("#make")
    expect(page.locator("#designs > li")).to_have_count(2)
    expect(page.locator("#step")).to_have_text("2 designs for the one with the photos")
    assert site.designer.asked[-1][1:] == ("coats", 2, 7)
    page.click("#no-photos")
    expect(page.locator("#design-for")).to_have_text("anna")


def from_a_phone(path: Path) -> Path:
    """Write a photo of 12 megapixels and more than 4 MB that was taken upright, and say where it is."""
    noise = np.random.default_rng(0).integers(64, 192, (3000, 4000, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise).save(path, "JPEG", quality=70, exif=exif)
    assert path.stat().st_size > 4 << 20
    return path


def test_three_photos_from_a_phone_are_made_small_and_upright(page, tmp_path):
    taken = from_a_phone(tmp_path / "taken.jpg")
    with page.expect_request("**/sessions/recommendations") as asked:
        page.set_input_files("#photos", [taken] * 3)
    expect(page.locator("#design-for")).to_have_text("yourself")
    expect(page.locator("#recommended figcaption").first).to_contain_text("plain")
    expect(page.locator("#notice")).to_be_hidden()
    sent = [Image.open(io.BytesIO(base64.b64decode(one))) for one in asked.value.post_data_json["photos"]]
    assert [(one.format, one.size) for one in sent] == [("JPEG", (768, 1024))] * 3


def test_what_is_transparent_in_a_photo_is_white(page, tmp_path):
    Image.new("RGBA", (40, 50), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    page.set_input_files("#photos", [tmp_path / "clear.png"])
    assert greys(page, "#photo-list img") == [255]


def test_of_a_file_that_the_browser_cannot_read_the_service_says_what_it_is(page, tmp_path):
    (tmp_path / "taken.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))
    page.set_input_files("#photos", [tmp_path / "taken.heic"])
    expect(page.locator("#notice")).to_have_text("/photos/0: it is none of JPEG, PNG, WEBP")


def test_photos_are_dropped_on_the_page(page, tmp_path):
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        list(photo(tmp_path, "dropped.png").read_bytes()),
    )
    drop = page.locator("#drop")
    drop.dispatch_event("dragover", {"dataTransfer": transfer})
    expect(drop).to_have_class("drop over")
    drop.dispatch_event("drop", {"dataTransfer": transfer})
    expect(drop).to_have_class("drop")
    expect(page.get_by_alt_text("Your photo 1")).to_be_visible()
    expect(page.locator("#design-for")).to_have_text("yourself")


def test_why_something_is_recommended_for_photos(page, site, tmp_path, monkeypatch):
    monkeypatch.setattr(site.recommender, "_fold_in", lambda liked, disliked, seen: liked.mean(axis=0))
    for name, colour in (("white.png", "white"), ("black.png", "black")):
        Image.new("RGB", (40, 50), colour).save(tmp_path / name)
    page.set_input_files("#photos", [tmp_path / "white.png", tmp_path / "black.png"])
    expect(page.locator("#design-for")).to_have_text("yourself")
    item = page.locator("#recommended li", has_text="a/b")
    item.get_by_role("button", name="Why?").click()
    # Whoever likes 10 and 0 is 5 on average, and 0 or 10 without one of them; the item is -1.
    expect(item.locator(".why")).to_contain_text("Of what the score is made: latent −5.00.")
    expect(item.locator(".why figcaption")).to_have_text(["photo 1 −5.00", "photo 2 +5.00"])
    assert greys(page, "#recommended .why img") == [255, 0]


def test_what_came_after_the_training_is_not_explained(page, site):
    image = base64.b64encode(png(np.full((20, 10, 3), 255, dtype=np.uint8))).decode()
    httpx.put(f"{site.url}/v1/items/new", json={"category": "hats", "image": image}).raise_for_status()
    page.reload()
    item = page.locator("#recommended li").first
    expect(item).to_contain_text("hats new")
    item.get_by_role("button", name="Why?").click()
    expect(item.locator(".why")).to_have_text("It came after the training: its picture alone speaks for it.")


def test_a_user_by_chance(page):
    page.evaluate("Math.random = () => 0.999")
    page.get_by_role("button", name="Surprise me").click()
    expect(page.locator("#user")).to_have_value(USERS[-1])
    expect(page.locator("#recommended figcaption").first).to_contain_text(IDS[0])


def test_a_design_from_the_button_over_its_progress_to_the_verdict(page, site, tmp_path):
    expect(page.locator("#recommended li")).to_have_count(9)
    site.designer.release.clear()
    page.fill("#count", "2")
    page.locator("#realism").fill("2.5")
    expect(page.locator("#realism-value")).to_have_text("2.5")
    page.check("#lock")
    page.click("#make")
    expect(page.locator("#step")).to_contain_text("Improving the best of them (half-way)")
    assert page.locator("#progress").evaluate("bar => bar.value") == 0.5
    assert page.locator("#make").is_disabled()
    expect(page.get_by_alt_text("Design 1, as it is now")).to_be_visible()
    site.designer.release.set()
    expect(page.locator("#designs > li")).to_have_count(2)
    assert page.locator("#seed").input_value() == str(site.designer.asked[-1][3])
    card = page.locator("#designs > li").first
    expect(card.locator(".near img")).to_have_count(2)
    assert "Nearly a copy" not in card.inner_text()
    card.get_by_role("button", name="Star").click()
    expect(page.locator("#designs > li").first.get_by_role("button", name="Starred")).to_be_visible()
    page.locator("#designs > li").first.get_by_role("button", name="Approve").click()
    approved = page.locator("#designs > li").first.get_by_role("button", name="Approve")
    expect(approved).to_have_attribute("aria-pressed", "true")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert len(archive.namelist()) == 4
    page.reload()  # nothing is lost
    expect(page.locator("#designs > li")).to_have_count(2)


def test_more_like_a_design_by_keyboard(page, site):
    page.fill("#count", "2")
    page.click("#make")
    expect(page.locator("#designs > li")).to_have_count(2)
    first = page.url
    page.fill("#count", "3")
    site.designer.release.clear()
    page.locator("#designs > li").nth(1).get_by_role("button", name="More like this").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#step")).to_contain_text("half-way")
    assert page.evaluate("document.activeElement.id") == "design-title"
    assert page.locator("#make").is_disabled()
    site.designer.release.set()
    expect(page.locator("#designs > li")).to_have_count(3)
    expect(page.locator("#step")).to_have_text("3 designs like the one below for anna")
    assert page.url != first
    assert site.designer.asked[-1][:3] == ("anna", "coats", 3)
    expect(page.get_by_alt_text("Design 2, which they were made of")).to_be_visible()
    page.locator("#origins").get_by_role("button", name="Open").click()
    expect(page.locator("#designs > li")).to_have_count(2)
    expect(page.locator("#origins li")).to_have_count(0)
    assert page.url == first


def test_mixing_two_designs(page, site):
    page.fill("#count", "2")
    page.click("#make")
    cards = page.locator("#designs > li")
    expect(cards).to_have_count(2)
    expect(page.locator("#mixing")).to_be_hidden()
    mix = cards.first.get_by_role("button", name="Mix with…")
    mix.click()
    expect(mix).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#mixing")).to_contain_text("Mixed with which?")
    expect(page.locator("#mixing").get_by_alt_text("Design 1, coats, the first of the two")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#mixing")).to_be_hidden()
    expect(cards.nth(1).get_by_role("button", name="Mix with…")).to_be_visible()
    mix.click()
    cards.nth(1).get_by_role("button", name="Mix with this").click()
    expect(cards).to_have_count(5)
    expect(page.locator("#mixing")).to_be_hidden()
    expect(page.locator("#step")).to_have_text("5 designs from the one below to the other for anna")
    expect(page.locator("#origins img")).to_have_count(2)
    shares = [text.split(" · ")[0] for text in page.locator("#designs > li > figure figcaption").all_inner_texts()]
    assert shares == ["0% of the way", "25% of the way", "50% of the way", "75% of the way", "100% of the way"]


def greys(page, selector: str) -> list[int]:
    """The grey levels of pictures, as the browser draws them."""
    every = "selector => [...document.querySelectorAll(selector)].every((one) => one.complete && one.naturalWidth)"
    page.wait_for_function(every, arg=selector)
    return page.locator(selector).evaluate_all(
        """all => all.map((one) => {
            const canvas = new OffscreenCanvas(1, 1).getContext("2d");
            canvas.drawImage(one, 0, 0, 1, 1);
            return canvas.getImageData(0, 0, 1, 1).data[0];
        })"""
    )


def test_moving_a_design_by_keyboard_again_and_again(page, site):
    page.fill("#count", "1")
    page.fill("#seed", "100")
    page.click("#make")
    cards = page.locator("#designs > li")
    expect(cards).to_have_count(1)
    expect(page.locator("#sliding")).to_be_hidden()
    cards.get_by_role("button", name="Move…").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#sliding-title")).to_be_focused()
    expect(page.locator("#sliders li")).to_have_count(2)
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#notice")).to_have_text("Move a slider first.")
    first = page.get_by_role("slider", name="Slider 1")
    expect(page.get_by_role("slider", name="Brightness")).to_be_visible()
    assert [first.get_attribute(name) for name in ("min", "max")] == ["-2", "3"]
    first.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#sliders output").first).to_have_text("+1.5")
    page.locator("#sliders summary").nth(1).click()
    sheet = page.get_by_alt_text("Samples moved along brightness")
    expect(sheet).to_be_visible()
    assert page.locator("#sliders img").count() == 1  # what nobody wants to see is not fetched
    page.get_by_role("button", name="Show it").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#step")).to_have_text("1 design moved from the one below for anna")
    assert greys(page, "#designs > li > figure img") == [115]
    assert greys(page, "#sliding img.picture") == [100, 115]
    # From the same design again, the other way; the sliders are where they were.
    expect(first).to_have_value("1.5")
    first.fill("-1")
    expect(page.locator("#sliders output").first).to_have_text("−1")
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#sliding-moved img")).to_have_attribute("src", re.compile(r"designs/.*/0\.png"))
    expect(page.get_by_role("button", name="Design for")).to_be_enabled()
    assert greys(page, "#designs > li > figure img") == [90]
    assert site.designer.asked[-1][:3] == ("anna", "coats", 1)
    page.get_by_role("button", name="Back to the middle").click()
    expect(first).to_have_value("0")
    page.locator("#origins").get_by_role("button", name="Open").click()  # another design: the sliders are not its own
    expect(page.locator("#sliding")).to_be_hidden()
    page.get_by_role("link", name="Designs so far").click()
    expect(page.locator("#history > li").first).to_contain_text("Moved: coats for anna")


def test_an_item_is_tailored_and_how_well_it_was_found_is_told(page, site):
    page.fill("#count", "2")
    page.locator("#realism").fill("3")
    coat = page.locator("#recommended li", has_text="50%")
    hat = page.locator("#recommended li", has_text="a/b")
    assert hat.get_by_role("button", name="Tailor it").count() == 0  # hats cannot be designed
    coat.get_by_role("button", name="Tailor it").click()
    expect(page.locator("#designs > li")).to_have_count(2)
    assert page.evaluate("document.activeElement.id") == "design-title"
    expect(page.locator("#step")).to_have_text("2 designs tailored from the one below for anna")
    expect(page.get_by_alt_text("Item 50%, which they were made of")).to_be_visible()
    expect(page.locator("#origins")).to_contain_text("50%")
    assert page.locator("#origins button").count() == 0
    card = page.locator("#designs > li").first
    expect(card).to_contain_text("off by 4.0 of 255 in the pixels and 0.10 in looks (two items of the category: 0.40)")
    expect(card).to_contain_text("Score: −1.00 what it was made of, −1.50 as first drawn, 1.00 now.")
    assert "little of that is left" not in card.inner_text()
    asked = site.app.state.service.store.jobs.page(before=None, limit=1, starred=False)[0].request
    assert (asked["edit"]["of"][0]["item"], asked["realism"], asked["user_id"]) == ("50%", 3, "anna")
    page.get_by_role("link", name="Designs so far").click()
    expect(page.locator("#history > li").first).to_contain_text("Tailored: coats for anna")


def test_what_the_generator_cannot_draw_is_called_so(page, site, monkeypatch):
    make = FakeEditor.tailor

    def far(self, *given, **options):
        made = make(self, *given, **options)
        edit = made[0].settings["edit"]
        edit = {**edit, "inversion": {**edit["inversion"], "distance": 0.41}, "within_leash": False}
        return [replace(one, settings={**one.settings, "edit": edit}) for one in made]

    monkeypatch.setattr(FakeEditor, "tailor", far)
    page.locator("#recommended li", has_text="50%").get_by_role("button", name="Tailor it").click()
    expect(page.locator("#designs .warn").first).to_contain_text("little of that is left")
    expect(page.locator("#designs > li").first).to_contain_text("further than it should go")


def test_a_photo_is_tailored_for_somebody_with_photos(page, site, tmp_path):
    page.get_by_role("button", name="Tailor it for").click()
    expect(page.locator("#notice")).to_have_text("Choose a photo first.")
    page.set_input_files("#photos", [photo(tmp_path, "liked.png")])
    expect(page.locator("#tailor .for-whom")).to_have_text("yourself")
    page.select_option("#tailor-leash", "a little")
    page.get_by_label("keep its colour").check()
    page.set_input_files("#tailor-photo", photo(tmp_path, "mine.png"))
    expect(page.get_by_alt_text("The photo that is to be tailored")).to_be_visible()
    assert page.locator("#tailor-category option").all_inner_texts() == ["coats"]
    page.fill("#count", "1")
    page.get_by_role("button", name="Tailor it for").click()
    expect(page.locator("#designs > li")).to_have_count(1)
    expect(page.locator("#step")).to_have_text("1 design tailored from the one below for the one with the photos")
    expect(page.get_by_alt_text("The photo, which they were made of")).to_be_visible()
    page.wait_for_function("() => document.querySelector('#origins img').naturalWidth > 0")
    assert site.designer.asked[-1][1:3] == ("coats", 1)
    edit = site.app.state.service.store.jobs.page(before=None, limit=1, starred=False)[0].request["edit"]
    assert (edit["leash"], edit["keep_colour"]) == (0.5, True)


def test_without_inverter_and_directions_neither_is_offered(browser, catalogue):
    with Site(catalogue) as site:
        holder = site.app.state.service.holder
        holder._models = replace(holder.get(), sliders=None, inverter=None)
        page = browser.new_page()
        page.goto(site.url)
        expect(page.locator("#recommended li")).to_have_count(9)
        expect(page.locator("#tailor")).to_be_hidden()
        assert page.get_by_role("button", name="Tailor it").count() == 0
        page.fill("#count", "1")
        page.click("#make")
        expect(page.locator("#designs > li")).to_have_count(1)
        assert page.get_by_role("button", name="Move…").count() == 0
        page.close()


def test_the_second_of_a_mix_may_be_an_earlier_design(page, site):
    page.fill("#count", "1")
    page.fill("#seed", "10")
    page.click("#make")
    expect(page.locator("#designs > li")).to_have_count(1)
    earlier = page.url
    page.fill("#seed", "50")
    page.click("#make")
    expect(page).not_to_have_url(earlier)
    expect(page.locator("#designs > li")).to_have_count(1)
    page.get_by_role("link", name="Designs so far").click()
    expect(page.locator("#history > li")).to_have_count(2)
    assert page.locator("#history button.mix:visible").count() == 0  # there is nothing to mix with yet
    page.get_by_role("link", name="For a user").click()
    page.get_by_role("button", name="Mix with…").click()
    page.get_by_role("link", name="Designs so far").click()
    page.locator("#history > li").nth(1).get_by_role("button", name="Mix with this").click()
    expect(page.locator("#page-shop")).to_be_visible()
    expect(page.locator("#designs > li")).to_have_count(5)
    assert page.evaluate("document.activeElement.id") == "design-title"
    begun = page.locator("#origins img").evaluate_all("all => all.map(one => one.src)")
    assert len(set(begun)) == 2
    page.get_by_role("link", name="Designs so far").click()
    expect(page.locator("#history > li").first).to_contain_text("A mix of coats for anna")


def test_what_lies_between_two_categories_is_the_end_of_it(page, site, monkeypatch):
    make = FakeDesigner.design

    def between(self, *given, **options):
        edit = {"verb": "mix", "share": 0.5, "weights": {"coats": 0.5, "hats": 0.5}}
        return [replace(one, settings={**one.settings, "edit": edit}) for one in make(self, *given, **options)]

    monkeypatch.setattr(FakeDesigner, "design", between)
    page.fill("#count", "1")
    page.click("#make")
    expect(page.locator("#designs > li")).to_contain_text("nothing more can be made of it")
    assert page.locator("#designs").get_by_role("button", name="More like this").count() == 0
    assert page.locator("#designs button.mix").count() == 0


def test_an_edit_that_the_service_refuses_is_told(page, site):
    page.fill("#count", "1")
    page.click("#make")
    expect(page.locator("#designs > li")).to_have_count(1)
    serve_another_generator(site.app.state.service)
    page.locator("#designs").get_by_role("button", name="More like this").click()
    expect(page.locator("#notice")).to_contain_text("made by a generator that does not serve now")
    expect(page.locator("#designs > li")).to_have_count(1)  # what was there stays
    expect(page.locator("#make")).to_be_enabled()


def test_a_near_copy_is_called_one(page, site, monkeypatch):
    make = FakeDesigner.design

    def copy(self, *given, **options):
        return [replace(one, nearest=[("a/b", 0.01)]) for one in make(self, *given, **options)]

    monkeypatch.setattr(FakeDesigner, "design", copy)
    expect(page.locator("#recommended li")).to_have_count(9)
    page.click("#make")
    expect(page.locator("#designs .warn").first).to_have_text("Nearly a copy of item a/b.")


def test_cancelling_and_trying_again(page, site):
    expect(page.locator("#recommended li")).to_have_count(9)
    site.designer.release.clear()
    page.click("#make")
    expect(page.locator("#step")).to_contain_text("half-way")
    with page.expect_response("**/cancel"):  # before that, the design may yet be finished
        page.click("#cancel")
    site.designer.release.set()
    expect(page.locator("#step")).to_have_text("Cancelled")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#designs > li")).to_have_count(4)


def test_designs_so_far_and_the_models(page, site):
    expect(page.locator("#recommended li")).to_have_count(9)
    page.click("#make")
    expect(page.locator("#designs > li")).to_have_count(4)
    page.get_by_role("link", name="Designs so far").click()
    expect(page.locator("#history > li")).to_have_count(1)
    expect(page.locator("#history img")).to_have_count(4)
    page.check("#starred-only")
    expect(page.locator("#history")).to_contain_text("There are none yet.")
    page.uncheck("#starred-only")
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#page-shop")).to_be_visible()
    expect(page.locator("#designs > li")).to_have_count(4)
    page.get_by_role("link", name="Designs so far").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#history")).to_contain_text("There are none yet.")
    page.get_by_role("link", name="Models").click()
    expect(page.locator("#models > li")).to_contain_text(re.compile("serves now"))
    expect(page.locator("#served li")).to_have_count(1)


def test_a_verdict_is_taken_back(designs):
    reject = designs.first.get_by_role("button", name="Reject")
    for pressed in ("true", "false"):
        reject.click()
        expect(reject).to_have_attribute("aria-pressed", pressed)
    expect(designs.first.get_by_role("button", name="Approve")).to_have_attribute("aria-pressed", "false")


def test_the_settings_of_a_design_are_a_link(page, designs):
    with page.expect_download() as download:
        designs.nth(1).get_by_role("link", name="settings").click()
    settings = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert str(settings["seed"]) in designs.nth(1).locator("figcaption").first.inner_text()


def test_the_five_nearest_items_are_shown(page, monkeypatch):
    make = FakeDesigner.design

    def many(self, *given, **options):
        nearest = [(item_id, 0.1 + place / 10) for place, item_id in enumerate(IDS[:7])]
        return [replace(one, nearest=nearest) for one in make(self, *given, **options)]

    monkeypatch.setattr(FakeDesigner, "design", many)
    page.fill("#count", "1")
    page.click("#make")
    expect(page.locator("#designs .near figcaption")).to_have_text(["0.10", "0.20", "0.30", "0.40", "0.50"])


def test_what_was_begun_is_closed(page, designs):
    designs.first.get_by_role("button", name="Move…").click()
    expect(page.locator("#sliding")).to_be_visible()
    page.locator("#sliding").get_by_role("button", name="Close").click()
    expect(page.locator("#sliding")).to_be_hidden()
    mix = designs.first.get_by_role("button", name="Mix with…")
    mix.click()
    page.get_by_role("button", name="Do not mix").click()
    expect(page.locator("#mixing")).to_be_hidden()
    expect(mix).to_have_attribute("aria-pressed", "false")


def test_a_worker_that_was_stopped_is_told_of(page, site):
    site.designer.release.clear()
    page.fill("#count", "1")
    page.click("#make")
    expect(page.locator("#step")).to_contain_text("half-way")
    (job,) = site.store.jobs.page(before=None, limit=1, starred=False)
    assert site.store.leases.interrupt(site.store.jobs.get(job.id).worker) == 1
    expect(page.locator("#step")).to_have_text("Interrupted: the worker was stopped")
    site.designer.release.set()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#designs > li")).to_have_count(1)


def test_older_and_starred_designs(page, site):
    asked = {"user_id": "anna", "category": "coats", "n": 1}
    made = [httpx.post(f"{site.url}/v1/designs", json=asked).json()["url"] for _ in range(3)]
    until(lambda: all(httpx.get(f"{site.url}{url}").json()["state"] == "succeeded" for url in made))
    httpx.patch(f"{site.url}{made[0]}/0", json={"starred": True}).raise_for_status()
    # Two a page, so that there are older ones.
    page.route("**/v1/designs?*", lambda route: route.continue_(url=route.request.url.replace("limit=20", "limit=2")))
    page.get_by_role("link", name="Designs so far").click()
    shown = page.locator("#history > li")
    expect(shown).to_have_count(2)
    page.get_by_role("button", name="Older ones").click()
    expect(shown).to_have_count(3)
    expect(page.get_by_role("button", name="Older ones")).to_be_hidden()
    page.check("#starred-only")
    expect(shown).to_have_count(1)
    expect(shown.locator("figcaption")).to_have_text("★")


def test_models_are_plotted_and_let_serve_and_taken_back(page, site):
    first = site.models.id
    page.get_by_role("link", name="Models").click()
    expect(page.locator("#plots-none")).to_be_visible()
    second = site.put_model("retrained", validation_auc=0.875, gate={"challenger": 0.25})
    page.reload()
    expect(page.locator("#plots-none")).to_be_hidden()
    plot = page.locator("#plots svg")  # of what both tell
    expect(plot).to_have_count(1)
    name = re.compile(rf"AUC on the validation part .* of 2 models\. .*{first}, .*: 0\.75.*{second}, .*: 0\.875")
    expect(page.get_by_role("img", name=name)).to_be_visible()
    expect(plot.locator(".unit")).to_have_text("AUC")
    expect(plot).to_contain_text("known here since")
    expect(plot.locator(".active title")).to_contain_text(first)
    higher, lower = (plot.locator(f"circle:has-text('{one}')") for one in (second, first))
    assert float(higher.get_attribute("cy")) < float(lower.get_attribute("cy"))
    assert float(higher.get_attribute("cx")) > float(lower.get_attribute("cx"))

    page.get_by_role("button", name="Let it serve").click()
    expect(plot.locator(".active title")).to_contain_text(second)
    expect(page.locator("#served li")).to_have_count(2)
    until(lambda: site.app.state.service.holder.serving == second)
    page.get_by_role("button", name="Go back to the one before").click()
    expect(plot.locator(".active title")).to_contain_text(first)
    expect(page.locator("#served li").first).to_contain_text("rolled back")
    until(lambda: site.app.state.service.holder.serving == first)


def test_a_retrained_model_is_plotted_beside_the_one_it_replaced(page, site):
    site.put_model("retrained", gate={"users": 1234, "challenger": 0.25, "champion": 0.125}, sizes=[1, 2, 3, 4, 5])
    page.get_by_role("link", name="Models").click()
    name = re.compile(r"^NDCG@20 on what users took next.* of 1 model: .*: 0\.2500?, the one before 0\.1250?\.$")
    expect(page.get_by_role("img", name=name)).to_be_visible()
    new, before = (page.locator(f"#plots {one}").bounding_box() for one in (".dot", ".before"))
    assert before["y"] + before["height"] > new["y"] + new["height"] + 10  # the bar is lower than the dot
    many = page.locator("details", has_text="5 entries")
    expect(many).not_to_have_attribute("open", "")
    many.get_by_text("5 entries").click()
    expect(many).to_have_attribute("open", "")
    expect(many).to_contain_text("1, 2, 3, 4, 5")
    row = page.get_by_role("row", name="gate · users")
    expect(row.get_by_role("cell")).to_have_text("1,234")


def test_the_first_key_leads_to_the_content_of_the_page_that_is_shown(page):
    page.get_by_role("link", name="Models").click()
    expect(page.locator("#models > li")).to_have_count(1)
    page.reload()
    expect(page.locator("#models > li")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the pictures")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#page-models")).to_be_visible()


CONTRAST = """selector => {
    const luminance = (colour) => colour.match(/\\d+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const element = document.querySelector(selector);
    let ground = element;
    while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    const { fill, color } = getComputedStyle(element);
    const colours = [element instanceof SVGElement ? fill : color, getComputedStyle(ground).backgroundColor];
    const [dark, light] = colours.map(luminance).sort((one, other) => one - other);
    return (light + 0.05) / (dark + 0.05);
}"""
TEXTS = ("#photos-hint", "#make", "nav a", "#recommended figcaption", "footer a", ".plot text", ".plot text.active")


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(250, 247, 242)"), ("dark", "rgb(25, 22, 19)")])
def test_the_page_can_be_read_in_light_and_in_the_dark(page, site, scheme, ground):
    site.put_model("retrained", validation_auc=0.875)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("link", name="Models").click()
    expect(page.locator("#plots svg")).to_have_count(1)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    contrasts = {selector: page.evaluate(CONTRAST, selector) for selector in TEXTS}
    assert {selector for selector, contrast in contrasts.items() if contrast < 4.5} == set(), contrasts  # WCAG AA


def test_gaps_are_shown_and_designed_for(browser, catalogue, tmp_path):
    with Site(catalogue, gaps=write_gaps(tmp_path / "gaps")) as site:
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.goto(site.url)
        page.get_by_role("link", name="Gaps").click()
        expect(page.locator("#gaps > li")).to_have_count(2)
        expect(page.locator("#gaps-found")).to_have_text("1 of 2 briefs tell of a gap · 40 users in 2 cohorts")
        first, second = (page.locator("#gaps > li").nth(place) for place in range(2))
        expect(first).to_contain_text("hats for cohort 2")
        expect(first).to_contain_text("+0.50 (+0.25 to +0.75)")
        expect(first.locator(".warn")).to_have_text("A gap")
        expect(second).to_contain_text("−0.50 (−0.75 to −0.25)")
        expect(second).to_contain_text("No gap")
        colour = first.locator(".swatch").evaluate("one => getComputedStyle(one).backgroundColor")
        assert colour == "rgb(22, 55, 102)"
        for width in (360, 390, 820, 1300):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#count").evaluate("one => { one.value = 2; }")
        second.get_by_role("button", name="Design for this cohort").click()
        expect(page.locator("#designs > li")).to_have_count(2)
        expect(page.locator("#step")).to_have_text("2 designs for cohort 1")
        assert page.evaluate("document.activeElement.id") == "design-title"
        assert site.designer.asked[-1][:3] == (["Ünï 👒"], "coats", 2)
        page.get_by_role("link", name="Designs so far").click()
        expect(page.locator("#history > li").first).to_contain_text("coats for cohort 1")
        page.get_by_role("link", name="Gaps").click()
        first.get_by_role("button", name="Design for this cohort").click()
        expect(page.locator("#notice")).to_contain_text("the generator does not know the category 'hats'")
        page.close()
        assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


def test_without_gaps_there_is_no_page_of_them(page):
    assert page.get_by_role("link", name="Gaps").count() == 0


@pytest.mark.parametrize("width", [360, 390, 820, 1300, 1600])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    expect(page.locator("#recommended li")).to_have_count(9)
    page.click("#make")
    expect(page.locator("#designs > li")).to_have_count(4)
    page.locator("#designs").get_by_role("button", name="Move…").first.click()
    page.locator("#sliders summary").first.click()
    expect(page.locator("#sliders img")).to_have_count(1)
    page.locator("#designs").get_by_role("button", name="Mix with…").first.click()
    for link in ("For a user", "Designs so far", "Models"):
        page.get_by_role("link", name=link).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_download_that_the_key_does_not_allow_is_told_on_the_page(browser, catalogue):
    with Site(catalogue, keys=True) as site:
        keys = site.app.state.service.store.keys
        (_, reader), (_, writer) = keys.create("reader", Scope.read), keys.create("writer", Scope.write)
        made = httpx.post(
            f"{site.url}/v1/designs",
            json={"user_id": "anna", "category": "coats", "n": 1},
            headers={"Authorization": f"Bearer {writer}"},
        ).json()
        page = browser.new_page()
        page.goto(f"{site.url}/?design={made['id']}")
        page.fill("#key", reader)
        page.keyboard.press("Enter")
        expect(page.locator("#designs > li")).to_have_count(1)
        page.get_by_role("button", name="Download all").click()
        expect(page.locator("#notice")).to_have_text("this key may read; here 'write' is needed")
        expect(page.locator("#designs > li")).to_have_count(1)  # the page is still there
        page.close()


def test_signing_in_by_keyboard_and_out(browser, catalogue):
    with Site(catalogue, keys=True) as site:
        _, key = site.app.state.service.store.keys.create("page", Scope.write)
        page = browser.new_page()
        page.goto(site.url)
        expect(page.locator("#sign-in")).to_be_visible()
        page.focus("#key")
        page.keyboard.type(key)
        page.keyboard.press("Enter")
        expect(page.locator("#recommended li")).to_have_count(9)
        assert page.evaluate("document.cookie") == ""  # no script can read it
        pictures = page.locator("#recommended img")
        pictures.first.scroll_into_view_if_needed()
        expect(pictures.first).to_have_js_property(
            "complete", True
        )  # what waits by a script, the page's policy forbids
        assert pictures.first.evaluate("image => image.naturalWidth") > 0
        page.click("#sign-out")
        expect(page.locator("#sign-in")).to_be_visible()
        page.close()
