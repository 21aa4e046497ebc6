"""A small world for the service's tests: a catalogue with awkward ids, and models that honour the contracts but whose
answers are worked out by hand."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from fastapi.testclient import TestClient

from recgan.config import DesignSettings, EditSettings, Recipe, Settings
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import decode_image, pixel_digest
from recgan.design.editing import Subject
from recgan.design.results import Design
from recgan.design.search import Preview
from recgan.gan.latent import Directions, Inverter
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommendation, Recommender, UserVector
from service.app import create_app
from service.catalogue import Catalogue
from service.context import Service
from service.models import Models
from service.problems import PROBLEMS
from service.schemas import ModelVersion
from service.settings import ServiceSettings
from service.sliders import Sliders
from tests.conftest import draw_item, png

PATIENCE = 30.0

# Item i has the id IDS[i]; even ones are coats, odd ones hats; the last has no picture.
IDS = ["plain", "a/b", "50%", "käse 日本 👗", "x/similar", "a?b#c", "..%2F", "<script>", "back\\slash", "bare"]
USERS = ["anna", "b/c", "d%2Fe", "Ünï 👒"]


GENERATOR = "g" * 64


class NoSettings(Settings):
    """Of a recommender that has none."""


def serve_another_generator(service: Service) -> None:
    """Have the models that serve be of another generator, as an activation would."""
    service.holder.stop()  # it would load the active models again, within a second
    service.holder._thread.join()
    models = service.holder.get()
    other = models.version.model_copy(update={"generator": "h" * 64})
    service.holder._models = replace(models, version=other)


def write_catalogue(out: Path) -> Bundle:
    """Write the catalogue."""
    rng = np.random.default_rng(0)
    with BundleWriter(out, name="world", licence="CC0-1.0", source="drawn by the tests") as writer:
        for index, item_id in enumerate(IDS[:-1]):
            data = draw_item(index, rng)
            writer.add_image(item_id, data, sha256=pixel_digest(decode_image(data)))
        writer.set_items(
            pd.DataFrame(
                {
                    "item_id": IDS,
                    "category": ["coats" if index % 2 == 0 else "hats" for index in range(len(IDS))],
                    "available": [item_id != "50%" for item_id in IDS],
                    "price": [float(index) if index else np.nan for index in range(len(IDS))],
                    "sizes": [index * 2 for index in range(len(IDS))],
                }
            )
        )
    return Bundle.open(out)


class FakeRecommender(Recommender):
    """Likes items in the catalogue's order: item i scores -i for everybody. The user 'anna' has seen item 0.

    Only the factors are made up; filters, top-k and folding in are the real ones. All items are available to it.
    """

    name = "fake"
    settings_type = NoSettings

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self.folded_in: list[list[int]] = []
        self.category_names = tuple(bundle.category_names)
        items, users = len(IDS), len(USERS)
        self.restore(
            np.array(USERS, dtype=object),
            bundle.items.assign(available=True),
            {
                "user_factors": np.ones((users, 1), dtype=np.float32),
                "item_factors": -np.arange(items, dtype=np.float32)[:, None],
                "seen_indptr": np.array([0] + [1] * users, dtype=np.int64),
                "seen_items": np.array([0], dtype=np.int64),
            },
        )

    def recommend(self, users: Sequence[str | UserVector], k: int = 10, **filters: Any) -> list[list[Recommendation]]:
        """One list a user."""
        self.asked.append({"users": users, "k": k, **filters})
        return super().recommend(users, k, **filters)

    def _train(self, *given: Any) -> None:
        raise NotImplementedError

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        self.folded_in.append(seen.tolist())
        return np.ones(1, dtype=np.float32)

    @property
    def similarity_space(self) -> str:
        """All items are alike, so that they come in the catalogue's order."""
        return "factors"

    def _similarity_vectors(self) -> np.ndarray:
        return np.ones((len(IDS), 1), dtype=np.float32)


class FakeEye:
    """Sees how bright a picture is, 0 to 10; that is also the score of a new item."""

    key = "brightness"

    def __init__(self) -> None:
        self.looked = 0

    def look(self, pictures: Sequence[bytes]) -> np.ndarray:
        """Return the brightness."""
        self.looked += len(pictures)
        return np.array([[np.asarray(decode_image(data)).mean() / 25.5] for data in pictures], dtype=np.float32)

    def vectors(self, seen: np.ndarray) -> np.ndarray:
        """All pictures are alike."""
        return np.ones((len(seen), 1), dtype=np.float32)

    def factors(self, seen: np.ndarray, categories: Sequence[str] = ()) -> np.ndarray:
        """The brighter, the better."""
        return seen


class FakeDesigner:
    """Paints design i of seed s in the grey level s + i, with the score i, of the latent (s + i, 1)."""

    def __init__(self) -> None:
        self.gan = SimpleNamespace(
            digest=GENERATOR, recipe=Recipe(name="toy"), size=8, class_index=["coats", "hats"].index
        )
        self.asked: list[tuple[Any, str, int, int]] = []
        self.entered = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self.failure: Exception | None = None

    def design(
        self,
        user: str | UserVector,
        category: str,
        n: int,
        *,
        seed: int = 0,
        settings: DesignSettings,
        progress: Progress = quiet,
        preview: Preview | None = None,
    ) -> list[Design]:
        """Wait for ``release`` between two steps, or fail."""
        self.asked.append((user, category, n, seed))
        self.work(progress, preview)
        made_for = told(user)
        return [painted(seed + place, category, place, seed + place, settings, user=made_for) for place in range(n)]

    def work(self, progress: Progress, preview: Preview | None = None) -> None:
        """Take two steps, and wait for ``release`` in between, or fail."""
        progress("climbing", 1, 2, "half-way")
        if preview is not None:
            preview(0, lambda: np.full((8, 8, 3), 77, dtype=np.uint8))
        self.entered.set()
        assert self.release.wait(60)
        if self.failure is not None:
            raise self.failure
        progress("climbing", 2, 2)


def told(user: Any) -> Any:
    """Return for whom a design is, as a designer records it, with what is known of who was folded in: 4,096 numbers."""
    if isinstance(user, list):
        return [told(one) for one in user]
    if isinstance(user, str):
        return user
    return {"vector": [float(user.values[0])] * 4096, "seen": [IDS[row] for row in user.seen]}


def painted(grey: float, category: str, place: int, seed: int, settings: DesignSettings, **more: Any) -> Design:
    """Return a design in a grey level, with ``place`` for its score; ``more`` are further settings."""
    return Design(
        image=np.full((8, 8, 3), grey % 256, dtype=np.uint8),
        z=np.array([grey, 1], dtype=np.float32),
        category=category,
        seed=seed,
        score=float(place),
        percentile=90.0 + place,
        realism=-0.5,
        nearest=[("a/b", 0.25), ("käse 日本 👗", 0.5)],
        settings={
            **settings.model_dump(mode="json"),
            "search": settings.model_dump(mode="json"),
            "gan": {"recipe": "toy", "digest": GENERATOR},
            **more,
        },
    )


class FakeEditor:
    """Of a design of the latent (g, 1): variation i in the grey level g + 10 (i + 1); a mix goes evenly between two; a
    slide adds 10 a unit of direction 0; tailored, it is i + 1 brighter. Items and photos lie at their mean grey level,
    and are found 4 too dark."""

    def __init__(self, designer: FakeDesigner) -> None:
        self.designer = designer
        self.settings = EditSettings()

    def like(self, subject: Subject, user: Any, n: int, *, seed: int = 0, progress: Progress = quiet) -> list[Design]:
        """As `FakeDesigner.design`."""
        self.designer.asked.append((user, subject.category, n, seed))
        self.designer.work(progress)
        assert subject.point is not None
        edit = {"verb": "like", "of": subject.told, "distance": 0.25}
        greys = [float(subject.point[0]) + 10 * (place + 1) for place in range(n)]
        return [
            painted(grey, subject.category, place, seed + place, DesignSettings(), edit=edit, user=told(user))
            for place, grey in enumerate(greys)
        ]

    def mix(
        self, start: Subject, end: Subject, user: Any, n: int, *, seed: int = 0, progress: Progress = quiet
    ) -> list[Design]:
        """As `FakeDesigner.design`."""
        self.designer.asked.append((user, start.category, n, seed))
        self.designer.work(progress)
        assert start.point is not None
        assert end.point is not None
        made = []
        for place, share in enumerate(np.linspace(0, 1, n).tolist()):
            edit = {"verb": "mix", "of": start.told, "end": end.told, "distance": share, "share": share}
            if 0 < share < 1 and start.category != end.category:
                edit["weights"] = {start.category: 1 - share, end.category: share}
            grey = float((1 - share) * start.point[0] + share * end.point[0])
            nearer = start.category if share < 0.5 else end.category
            made.append(painted(grey, nearer, place, seed, DesignSettings(), edit=edit))
        return made

    def slide(
        self,
        subject: Subject,
        directions: Directions,
        amounts: Mapping[int, float],
        user: Any,
        *,
        seed: int = 0,
        progress: Progress = quiet,
    ) -> Design:
        """As `FakeDesigner.design`."""
        self.designer.asked.append((user, subject.category, 1, seed))
        self.designer.work(progress)
        assert subject.point is not None
        edit = {"verb": "slide", "of": subject.told, "distance": 0.5, "amounts": dict(amounts)}
        grey = float(subject.point[0]) + 10 * directions.amounts(amounts)[0].item()
        return painted(grey, subject.category, 0, seed, DesignSettings(), edit=edit)

    def tailor(
        self,
        subject: Subject,
        user: Any,
        n: int,
        *,
        seed: int = 0,
        settings: EditSettings,
        search: DesignSettings,
        progress: Progress = quiet,
        preview: Preview | None = None,
    ) -> list[Design]:
        """As `FakeDesigner.design`."""
        self.designer.asked.append((user, subject.category, n, seed))
        self.designer.work(progress, preview)
        found, inversion = subject.image.mean() - 4, {"pixel_error_of_guess": 8.0, "pixel_error": 4.0, "distance": 0.1}
        begun = found if subject.point is None else float(subject.point[0])
        edit = {
            "verb": "tailor",
            "of": subject.told,
            "inversion": inversion if subject.point is None else None,
            "distance": 0.2,
            "leash": 0.4 * settings.leash,
            "within_leash": True,
            "score_of_subject": -1.0,
            "score_of_start": -1.5,
            "settings": settings.model_dump(),
        }
        return [painted(begun + place + 1, subject.category, place, seed, search, edit=edit) for place in range(n)]


class World:
    """The running service of one test, its client and its fakes."""

    def __init__(self, client: TestClient, recommender: FakeRecommender, designer: FakeDesigner, eye: FakeEye) -> None:
        self.client = client
        self.recommender = recommender
        self.designer = designer
        self.eye = eye

    @property
    def service(self) -> Service:
        """What the routes share."""
        return self.client.app.state.service  # type: ignore[attr-defined]


def assert_problem(answer, slug: str) -> dict:
    """Check that an answer is a problem of one kind, by the book; return it."""
    kind = PROBLEMS[slug]
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["type"], body["status"]) == (
        kind.status,
        f"urn:recgan:problem:{slug}",
        kind.status,
    )
    assert body["title"] == kind.title
    assert body["detail"]
    assert body["instance"].startswith("/")
    return body


def design(world: World, **asked) -> dict:
    """Ask for designs, wait for their end, and return the last state."""
    answer = world.client.post("/v1/designs", json={"user_id": "anna", "category": "coats", **asked})
    assert answer.status_code == 202, answer.text
    return finished(world, answer.headers["location"])


def finished(world: World, url: str) -> dict:
    """Wait for the end of a design, and return its last state."""
    until(lambda: world.client.get(url).json()["finished_at"] is not None)
    state: dict = world.client.get(url).json()
    return state


def until(condition: Callable[[], bool], seconds: float = 4 * PATIENCE) -> None:
    """Wait for a condition; fail when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it has not come about in {seconds:g} s"
        time.sleep(0.02)


def models_of(bundle: Bundle, *, with_gan: bool = True) -> tuple[Models, FakeRecommender, FakeDesigner, FakeEye]:
    """Models over the fakes."""
    recommender, designer, eye = FakeRecommender(bundle), FakeDesigner(), FakeEye()
    catalogue = Catalogue(bundle)
    models = Models(
        catalogue=catalogue,
        recommender=recommender,
        designer=designer if with_gan else None,  # type: ignore[arg-type]
        designable=frozenset({"coats"}) if with_gan else frozenset(),
        version=ModelVersion(
            catalogue=catalogue.digest, recommender="r" * 64, generator=GENERATOR if with_gan else None
        ),
        eye=eye,
    )
    if with_gan:
        models = replace(models, sliders=_sliders(bundle.path.parent), inverter=cast(Inverter, FakeInverter()))
    vars(models)["editor"] = FakeEditor(designer)  # where the property keeps the one that it has made
    return models, recommender, designer, eye


class FakeInverter:
    """Knows how far off it is."""

    def __init__(self) -> None:
        self.metrics = {"latent_cosine": 0.5, "pixel_error": 9.5, "by_chance": 60.0}


def _sliders(folder: Path) -> Sliders:
    """Two directions, the first from -2 to 3 and the second from 0 to 1, with a grey sheet each."""
    directions = Directions(
        space="z",
        vectors=torch.eye(2),
        units=torch.tensor([2.0, 1.0]),
        shares=torch.tensor([0.75, 0.25]),
        low=torch.tensor([-2.0, 0.0]),
        high=torch.tensor([3.0, 1.0]),
        categories=("coats",),
        names=("", "brightness"),
    )
    sheets = tuple(folder / f"direction-{number:02d}.png" for number in range(2))
    for number, sheet in enumerate(sheets):
        sheet.write_bytes(png(np.full((30, 60, 3), 100 + number, dtype=np.uint8)))
    return Sliders(directions, sheets, ('"sheet-0"', '"sheet-1"'))


def load_world(settings: ServiceSettings, progress: Progress) -> Models:
    """Models over the fakes, for a process of its own."""
    return models_of(Bundle.open(settings.data))[0]


@contextmanager
def running(bundle: Bundle, *, with_gan: bool = True, **settings: Any) -> Iterator[World]:
    """Run the service over the fakes; ``settings`` are those of the service. Its store is its own, if none is given."""
    models, recommender, designer, eye = models_of(bundle, with_gan=with_gan)
    with tempfile.TemporaryDirectory() as folder:
        given = {"store": f"sqlite:///{folder}/store.sqlite", "design_worker": "thread", **settings}
        app = create_app(
            ServiceSettings(data=bundle.path, recommender=bundle.path, gan=bundle.path if with_gan else None, **given),
            load=lambda settings, progress: models,
        )
        with TestClient(app) as client:
            app.state.service.holder.wait(30)
            try:
                yield World(client, recommender, designer, eye)
            finally:
                designer.release.set()
