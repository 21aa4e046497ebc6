"""A small world for the service's tests: a catalogue with awkward ids, and models that honour the contracts but whose
answers are worked out by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastapi.testclient import TestClient

from recgan.config import DesignSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import decode_image, pixel_digest
from recgan.design.results import Design
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommendation, UserVector
from service.app import create_app
from service.catalogue import Catalogue
from service.context import Service
from service.models import Models
from service.problems import PROBLEMS
from service.schemas import ModelVersion
from service.settings import ServiceSettings
from tests.conftest import draw_item

PATIENCE = 30.0

# Item i has the id IDS[i]; even ones are coats, odd ones hats; the last has no picture.
IDS = ["plain", "a/b", "50%", "käse 日本 👗", "x/similar", "a?b#c", "..%2F", "<script>", "back\\slash", "bare"]
USERS = ["anna", "b/c", "d%2Fe", "Ünï 👒"]


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


class FakeRecommender:
    """Likes items in the catalogue's order: item i scores -i. The user 'anna' has seen item 0."""

    catalogue_digest = "fake"

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.user_ids = np.array(USERS, dtype=object)
        self.asked: list[dict[str, Any]] = []

    def recommend(
        self,
        users: Sequence[str | UserVector],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        categories: Sequence[str] | None = None,
        where: Any = None,
        candidates: Any = None,
    ) -> list[list[Recommendation]]:
        """One list a user."""
        self.asked.append({"users": users, "k": k, "exclude_seen": exclude_seen, "categories": categories})
        answers = []
        for user in users:
            seen = {0} if user == "anna" else set(user.seen.tolist()) if isinstance(user, UserVector) else set()
            answers.append(self._best(k, seen if exclude_seen else set(), categories))
        return answers

    def _best(self, k: int, without: set[int], categories: Sequence[str] | None) -> list[Recommendation]:
        found = []
        for row, (item_id, category) in enumerate(zip(self.bundle.item_ids, self.bundle.items["category"])):
            if row not in without and (categories is None or category in categories):
                found.append(Recommendation(item_id, -float(row), category))
        return found[:k]

    def fold_in(self, liked: Sequence[str] = (), disliked: Sequence[str] = (), *, images: Any = None) -> UserVector:
        """A vector whose seen items are those given."""
        rows = self.bundle.item_rows([*liked, *disliked])
        return UserVector(np.zeros(1, dtype=np.float32), np.sort(rows))

    def similar(self, item_id: str, k: int = 10, **filters: Any) -> list[Recommendation]:
        """The others, in order."""
        return self._best(k, set(self.bundle.item_rows([item_id]).tolist()), None)


class FakeDesigner:
    """Paints design i of seed s in the grey level s + i, with the score i; ``script`` may do more, step by step."""

    def __init__(self) -> None:
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
    ) -> list[Design]:
        """Wait for ``release`` between two steps, or fail."""
        self.asked.append((user, category, n, seed))
        progress("climbing", 1, 2, "half-way")
        self.entered.set()
        assert self.release.wait(60)
        if self.failure is not None:
            raise self.failure
        progress("climbing", 2, 2)
        return [
            Design(
                image=np.full((8, 8, 3), (seed + place) % 256, dtype=np.uint8),
                z=np.zeros(2, dtype=np.float32),
                category=category,
                seed=seed + place,
                score=float(place),
                percentile=90.0 + place,
                realism=-0.5,
                nearest=[("a/b", 0.25), ("käse 日本 👗", 0.5)],
                settings=settings.model_dump(mode="json"),
            )
            for place in range(n)
        ]


class World:
    """The running service of one test, its client and its fakes."""

    def __init__(self, client: TestClient, recommender: FakeRecommender, designer: FakeDesigner) -> None:
        self.client = client
        self.recommender = recommender
        self.designer = designer

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
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        state = world.client.get(url).json()
        if state["finished_at"] is not None:
            return state
        pause.wait(0.01)
    raise AssertionError("the design never ended")


@contextmanager
def running(bundle: Bundle, *, with_gan: bool = True, **settings: Any) -> Iterator[World]:
    """Run the service over the fakes; ``settings`` are those of the service."""
    recommender, designer = FakeRecommender(bundle), FakeDesigner()
    catalogue = Catalogue(bundle)
    models = Models(
        catalogue=catalogue,
        recommender=recommender,  # type: ignore[arg-type]
        designer=designer if with_gan else None,  # type: ignore[arg-type]
        designable=frozenset({"coats"}) if with_gan else frozenset(),
        version=ModelVersion(
            catalogue=catalogue.digest, recommender="r" * 64, generator="g" * 64 if with_gan else None
        ),
    )
    app = create_app(
        ServiceSettings(data=bundle.path, recommender=bundle.path, gan=bundle.path if with_gan else None, **settings),
        load=lambda settings, progress: models,
    )
    with TestClient(app) as client:
        app.state.service.holder.wait(30)
        try:
            yield World(client, recommender, designer)
        finally:
            designer.release.set()
