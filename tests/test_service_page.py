"""The page at ``/``: self-contained, labelled, and its script and its markup fit together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from recgan.design import search
from recgan.design.editing import Editor
from recgan.gan.latent import Inverter
from service.problems import PROBLEMS
from service.routes.page import STATIC
from tests.service_world import World, running, write_catalogue

SCRIPTS = sorted((STATIC / "js").glob("*.js"))
SCRIPT = "\n".join(path.read_text("utf-8") for path in SCRIPTS)


class Page(HTMLParser):
    """The elements of a page as (tag, attributes)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._within = ""

    def handle_data(self, data: str) -> None:
        """Note what stands in scripts and styles."""
        if self._within in ("script", "style"):
            self.inline += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of these tags."""
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def ids(self) -> set[str | None]:
        """All ids."""
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The running service."""
    with running(write_catalogue(tmp_path_factory.mktemp("service") / "bundle")) as world:
        yield world


@pytest.fixture(scope="module")
def page(world: World) -> Page:
    """Its page."""
    answer = world.client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    return Page(answer.text)


def test_everything_that_the_page_needs_comes_from_the_service(world, page):
    linked = [attributes[name] for _, attributes in page.elements for name in ("src", "href") if name in attributes]
    assert {"static/page.css", "static/js/main.js", "static/icon.svg", "openapi.json"} <= set(linked)
    for path in linked:
        assert path is not None
        if path.startswith("#/"):
            assert f'"{path}"' in SCRIPT or path == "#/"
        elif path.startswith("#"):
            assert path[1:] in page.ids
        else:
            # Relative, so that the page works under a proxy's prefix.
            assert re.fullmatch(r"[a-z]+[a-z./]*", path)
            assert world.client.get(f"/{path}").status_code == 200
    for text in (SCRIPT, (STATIC / "page.css").read_text("utf-8")):
        assert not re.search(r"\w://|url\(|@import|[\"'`]//", text)


def test_each_script_imports_what_the_others_export(world):
    exported = {
        path.name: set(re.findall(r"export (?:async )?(?:function|const|class) (\w+)", path.read_text()))
        for path in SCRIPTS
    }
    for path in SCRIPTS:
        answer = world.client.get(f"/static/js/{path.name}")
        assert "javascript" in answer.headers["content-type"]
        imports = re.findall(r'^import \{ (.*) \} from "\./(.*)";$', path.read_text("utf-8"), re.M)
        assert len(imports) == path.read_text("utf-8").count("import ")
        for names, module in imports:
            assert set(names.split(", ")) <= exported[module]
            rest = re.sub(r"^import .*$", "", path.read_text("utf-8"), flags=re.M)
            assert all(re.search(rf"\b{name}\b", rest) for name in names.split(", "))


def test_the_content_security_policy_forbids_nothing_that_the_page_does(page):
    assert page.inline == ""
    for _, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


def test_every_control_has_a_name(page):
    labelled = {attributes["for"] for attributes in page.all("label")}
    for control in page.all("input", "select"):
        assert control["id"] in labelled
    for attributes in page.all("progress"):
        assert attributes["aria-labelledby"] in page.ids
    assert page.all("html")[0]["lang"] == "en"


def test_the_script_finds_every_element_that_it_looks_for(page):
    wanted = set(re.findall(r'byId\("([^"]+)"\)', SCRIPT))
    assert len(wanted) > 10
    assert wanted <= page.ids


def test_the_words_that_the_script_has_of_its_own_are_for_things_that_exist():
    script = SCRIPT
    told = re.findall(r'"urn:recgan:problem:([^"]+)"', script)
    assert told
    assert set(told) <= set(PROBLEMS)
    steps = re.search(r"const STEPS = \{(.*)\}", script)
    assert steps is not None
    named = {quoted or plain for quoted, plain in re.findall(r'(?:"([^"]+)"|(\w+)): "', steps[1])}
    source = inspect.getsource(search) + inspect.getsource(Editor._along) + inspect.getsource(Inverter.invert)
    assert named == set(re.findall(r'progress\("([^"]+)"', source))


def test_the_script_sets_text_and_never_markup():
    script = SCRIPT
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in script


def test_without_a_generator_the_page_offers_no_designs(tmp_path, page):
    assert page.all("body")[0]["data-can-design"] == "yes"
    assert not [one for one in page.all("section") if one.get("id") == "studio" and "hidden" in one]
    with running(write_catalogue(tmp_path / "bundle"), with_gan=False) as world:
        plain = Page(world.client.get("/").text)
    assert plain.all("body")[0]["data-can-design"] == "no"
    assert [one for one in plain.all("section") if one.get("id") == "studio" and "hidden" in one]
