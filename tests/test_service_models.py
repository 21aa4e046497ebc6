"""Models change while they serve: activation, rollback, what cannot be loaded; and retraining on what happened."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import fsspec
import pytest
from fastapi.testclient import TestClient

from recgan.config import BPRMFSettings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import make_split
from recgan.design import Designer
from recgan.errors import ArtifactError, MismatchError
from recgan.gan.latent import LatentSpace, find_directions, save_directions
from recgan.recommenders import create_recommender, load_recommender, train_recommender, training_data
from service.app import create_app
from service.holder import ModelHolder, stored_model
from service.models import Models, _parts, load_models
from service.processes import settle
from service.retrain import retrain
from service.settings import ServiceSettings
from service.store import Store
from service.store.events import Event
from tests.conftest import write_bundle
from tests.service_world import PATIENCE, assert_problem, models_of, until, write_catalogue
from tests.test_latent import Squash, toy


class Shelf:
    """Models by the folder of their recommender; they are the fakes under other digests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = write_catalogue(folder / "bundle")
        self.damaged: set[str] = set()

    def settings(self, name: str) -> ServiceSettings:
        """The settings of a service on one of them."""
        return ServiceSettings(
            data=self.bundle.path,
            recommender=self.folder / name,
            store=f"sqlite:///{self.folder / 'store.sqlite'}",
            design_worker="thread",
        )

    def load(self, settings: ServiceSettings, progress=None) -> Models:
        """Load one."""
        name = Path(settings.recommender).name
        if name in self.damaged:
            raise ArtifactError(f"'{name}' is damaged")
        models = models_of(self.bundle, with_gan=False)[0]
        return replace(models, version=models.version.model_copy(update={"recommender": name * 8}))

    def put(self, store: Store, name: str) -> str:
        """Note a model in the store, and return its id."""
        models = self.load(self.settings(name))
        store.models.register(stored_model(models, self.settings(name), source="retrain", metrics={"auc": 0.7}))
        return models.id


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty shelf."""
    return Shelf(tmp_path)


@contextmanager
def serving(shelf: Shelf, name: str = "a") -> Iterator[TestClient]:
    """Serve a model of the shelf."""
    app = create_app(shelf.settings(name), load=shelf.load)
    with TestClient(app) as client:
        app.state.service.holder._look_seconds = 0.02
        app.state.service.holder.wait(PATIENCE)
        yield client


def serves(client: TestClient, name: str) -> bool:
    """Whether a model answers."""
    return client.get("/v1/users/anna/recommendations").json()["model"]["recommender"] == name * 8


def test_parts_of_a_generator_serve_with_it_alone(shelf, tmp_path):
    own = {name: str(tmp_path / name) for name in ("gan", "directions", "inverter")}
    settings = shelf.settings("a").model_copy(update=own)
    loaded: list[ServiceSettings] = []

    def load(given: ServiceSettings, progress=None) -> Models:
        loaded.append(given)
        return shelf.load(given)

    store = Store(settings.store_url)
    holder = ModelHolder(load, settings, store.models, look_seconds=0.02)
    holder.start()
    holder.wait(PATIENCE)
    for name, gan, parts in (("b", "gan", True), ("c", "other", False)):
        given = shelf.settings(name).model_copy(update={"gan": str(tmp_path / gan)})
        models = shelf.load(given)
        store.models.register(stored_model(models, given, source="retrain", metrics={}))
        store.models.activate(models.id, "a test")
        until(lambda id=models.id: holder.serving == id)
        assert Path(loaded[-1].recommender).name == name
        assert (loaded[-1].directions is not None, loaded[-1].inverter is not None) == (parts, parts)
    holder.stop()


def test_a_model_that_serves_no_longer_is_let_go_and_each_change_is_told(shelf):
    settings = shelf.settings("a")
    store = Store(settings.store_url)
    told: list[str | None] = []
    kept: list[weakref.ref[Models]] = []

    def load(given: ServiceSettings, progress=None) -> Models:
        models = shelf.load(given)
        kept.append(weakref.ref(models))
        return models

    holder = ModelHolder(load, settings, store.models, on_loaded=lambda: told.append(holder.serving), look_seconds=0.02)
    holder.start()
    holder.wait(PATIENCE)
    first = holder.serving
    until(lambda: told == [first])
    other = shelf.settings("b")
    models = shelf.load(other)
    store.models.register(stored_model(models, other, source="retrain", metrics={}))
    store.models.activate(models.id, "a test")
    until(lambda: told == [first, models.id])
    gc.collect()
    assert [one() is not None for one in kept] == [False, True]
    holder.stop()


def test_what_is_settled_is_not_looked_at_again_and_what_is_left_goes():
    class Left:
        itself: Left

    cycle = Left()
    cycle.itself = cycle
    gone = weakref.ref(cycle)
    try:
        settle()
        assert gc.get_freeze_count() > 1000
        del cycle
        gc.collect()
        assert gone() is not None
        settle()
        assert gone() is None
    finally:
        gc.unfreeze()


def test_directions_are_of_the_space_that_designs_are_edited_in(shelf, tmp_path):
    mapped = toy(Squash())  # it has a w, which is edited in where no inverter says otherwise
    for space in ("z", "w"):
        found = find_directions(mapped, count=1, samples=64, space=LatentSpace(mapped.generator, mapped.recipe, space))
        save_directions(found, mapped, tmp_path / space)
    designer = cast(Designer, SimpleNamespace(gan=mapped))
    settings = shelf.settings("a")
    sliders, inverter = _parts(settings.model_copy(update={"directions": str(tmp_path / "w")}), designer)
    assert sliders is not None
    assert (sliders.directions.space, inverter) == ("w", None)
    with pytest.raises(MismatchError, match=r"holds directions of z, .* edited in w here; .* --space w"):
        _parts(settings.model_copy(update={"directions": str(tmp_path / "z")}), designer)


@contextmanager
def asking(client: TestClient, threads: int = 3) -> Iterator[list[tuple[int, str]]]:
    """Ask for recommendations without a pause; yields the status and the model of each answer so far.

    Who asks has ended before the client does, also when the test fails: the test client would wait for ever for an
    answer that nobody reads.
    """
    seen: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = client.get("/v1/users/anna/recommendations")
            seen.append((answer.status_code, answer.json()["model"]["recommender"][0]))

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask) for _ in range(threads)]
        try:
            yield seen
        finally:
            stop.set()
            for one in asked:
                one.result(PATIENCE)


def test_models_are_swapped_under_load_without_a_failed_request_and_every_answer_is_of_one_model(shelf):
    with serving(shelf) as client:
        other = shelf.put(client.app.state.service.store, "b")  # type: ignore[attr-defined]
        with asking(client) as seen:
            until(lambda: (200, "a") in seen)
            answer = client.post(f"/v1/models/{other}/activate")
            assert (answer.status_code, answer.json()["active"]) == (202, True)
            until(lambda: seen[-1][1] == "b")
            assert client.post("/v1/models/rollback").status_code == 202
            until(lambda: seen[-1][1] == "a")
        assert {status for status, _ in seen} == {200}
        history = client.get("/v1/models").json()["history"]
        assert [step["reason"] for step in history] == [
            "rolled back",
            "asked for",
            "given when the service was started",
        ]


def test_every_answer_of_the_api_names_the_model_that_serves(shelf):
    event = {"events": [{"user_id": "anna", "item_id": "plain", "event": "purchase"}]}
    with serving(shelf) as client:
        other = shelf.put(client.app.state.service.store, "b")  # type: ignore[attr-defined]
        for name in "ab":
            until(lambda name=name: serves(client, name))
            id = next(one["id"] for one in client.get("/v1/models").json()["models"] if one["serving"])
            assert client.post("/v1/events", json=event).headers["x-recgan-model"] == id
            assert client.get("/v1/items/plain/image").headers["x-recgan-model"] == id
            assert client.get("/v1/gaps").headers["x-recgan-model"] == id  # 404: none are shown
            assert client.delete("/v1/users/b%2Fc").headers["x-recgan-model"] == id
            assert "x-recgan-model" not in client.get("/health/live").headers
            client.post(f"/v1/models/{other}/activate")


def test_a_model_that_cannot_be_loaded_is_told_and_the_one_before_goes_on(shelf):
    with serving(shelf) as client:
        other = shelf.put(client.app.state.service.store, "b")  # type: ignore[attr-defined]
        shelf.damaged.add("b")
        client.post(f"/v1/models/{other}/activate")
        until(lambda: client.get(f"/v1/models/{other}").json()["problem"] is not None)
        told = client.get(f"/v1/models/{other}").json()
        assert (told["active"], told["serving"], told["problem"]) == (True, False, "'b' is damaged")
        assert serves(client, "a")
        shelf.damaged.clear()
        client.post(f"/v1/models/{other}/activate")  # mended, and asked for again
        until(lambda: serves(client, "b"))
        assert client.get(f"/v1/models/{other}").json()["problem"] is None


def test_a_model_that_could_not_be_loaded_is_tried_again_after_a_while_by_itself(shelf, monkeypatch):
    """What keeps it may have been away; and only the process that is asked to activate it again is told so."""
    monkeypatch.setattr("service.holder._PAUSE", 0.3)
    with serving(shelf) as client:
        other = shelf.put(client.app.state.service.store, "b")  # type: ignore[attr-defined]
        shelf.damaged.add("b")
        client.post(f"/v1/models/{other}/activate")
        until(lambda: client.get(f"/v1/models/{other}").json()["problem"] is not None)
        shelf.damaged.clear()
        until(lambda: serves(client, "b"))
        assert client.get(f"/v1/models/{other}").json()["problem"] is None


def test_what_was_activated_serves_after_a_restart_and_what_is_given_anew_serves_at_once(shelf):
    with serving(shelf) as client:
        other = shelf.put(client.app.state.service.store, "b")  # type: ignore[attr-defined]
        client.post(f"/v1/models/{other}/activate")
        until(lambda: serves(client, "b"))
    with serving(shelf, "a") as client:  # the same command as before
        assert serves(client, "b")
        models = client.get("/v1/models").json()["models"]
        assert {(one["source"], one["active"]) for one in models} == {("given", False), ("retrain", True)}
    with serving(shelf, "c") as client:  # a model that the store has never seen
        assert serves(client, "c")


def test_models_that_are_not_there(shelf):
    with serving(shelf) as client:
        for method, path in [
            ("GET", "/v1/models/0123456789abcdef"),
            ("POST", "/v1/models/0123456789abcdef/activate"),
            ("POST", "/v1/models/rollback"),
        ]:
            assert_problem(client.request(method, path), "unknown-model")
        assert_problem(client.get("/v1/models/..%2F"), "invalid-request")


def test_a_model_on_an_object_store_is_activated_and_refused_once_it_is_another(make_bundle, tmp_path):
    bundle, store, memory = make_bundle(), f"sqlite:///{tmp_path / 'store.sqlite'}", fsspec.filesystem("memory")
    data = training_data(bundle, make_split(bundle, SplitSettings(protocol="all")), None)
    places = [f"memory://shelf/{name}" for name in ("popularity", "category")]
    given, other = (ServiceSettings(data=bundle.path, recommender=place, store=store) for place in places)
    for name, place in zip(("popularity", "category"), places):
        create_recommender(name).fit(data, seed=0).save(place)
    noted = stored_model(load_models(other), other, source="retrain", metrics={})
    app = create_app(given)
    try:
        with TestClient(app) as client:
            holder, models = app.state.service.holder, app.state.service.store.models
            holder.wait(PATIENCE)
            first = models.get(holder.serving)
            assert [first.recommender, noted.recommender] == places
            models.register(noted)
            client.post(f"/v1/models/{noted.id}/activate")
            until(lambda: holder.serving == noted.id)
            assert len(client.get("/v1/users/user-03/recommendations?k=5").json()["items"]) == 5
            memory.rm("/shelf/popularity", recursive=True)
            memory.copy("/shelf/category", "/shelf/popularity", recursive=True)
            client.post("/v1/models/rollback")
            until(lambda: client.get(f"/v1/models/{first.id}").json()["problem"] is not None)
            assert "are others now" in client.get(f"/v1/models/{first.id}").json()["problem"]
            assert holder.serving == noted.id
    finally:
        memory.rm("/shelf", recursive=True)


# ---- retraining


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Store, Bundle]:
    """A store whose active model is a popularity list over a small catalogue."""
    bundle = write_bundle(tmp_path / "bundle")
    data = training_data(bundle, make_split(bundle, SplitSettings(protocol="all")), None)
    create_recommender("popularity").fit(data, seed=0).save(tmp_path / "popularity")
    settings = ServiceSettings(data=bundle.path, recommender=tmp_path / "popularity")
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    store.models.register(stored_model(load_models(settings), settings, source="given", metrics={}), activate="first")
    return store, bundle


def buy(store: Store, item: str, users: int = 30) -> None:
    """Let new users buy an item, after another one."""
    now = datetime.now(UTC)
    for n in range(users):
        for minute, one in enumerate(("0002", item)):
            store.events.add([Event(f"new-{n}", one, "purchase", 1.0, now + timedelta(minutes=minute))])


def test_retraining_on_what_happened_is_promoted_when_it_is_better(shop, tmp_path):
    store, bundle = shop
    before = store.models.active()
    rare = bundle.interactions["item_id"].value_counts().index[-1]
    buy(store, rare)
    told = retrain(store, tmp_path / "runs", min_gain=-0.5, min_users=5)
    assert told.promoted, told.reason
    assert told.model == store.models.active() != before
    noted = store.models.get(told.model)
    assert noted.metrics["gate"]["users"] == 30
    assert noted.source == "retrain"
    model = load_recommender(noted.recommender)
    assert model.facts["events_to"] == 60
    assert "new-7" in model.user_ids
    assert model.recommend([model.fold_in([])], 1)[0][0].item_id in (rare, "0002")  # both are popular now
    # Nothing has happened since: there is nothing to judge by.
    again = retrain(store, tmp_path / "runs", min_users=5)
    assert not again.promoted
    assert "0 users did something new" in again.reason


def test_retraining_is_refused_when_it_gains_too_little_and_says_why(shop, tmp_path):
    store, _ = shop
    before = store.models.active()
    buy(store, "0005")
    told = retrain(store, tmp_path / "runs", min_gain=0.99, min_users=5)
    assert not told.promoted
    assert told.reason.startswith("refused: NDCG@20 0.")
    assert store.models.active() == before
    assert json.dumps(told.as_json())


def test_retraining_goes_on_with_what_validation_chose(shop, tmp_path):
    store, bundle = shop
    settings = BPRMFSettings(epochs=30, patience=2, learning_rate=0.5)
    first = train_recommender(bundle, "bpr_mf", settings, out=tmp_path / "first", device="cpu")
    assert first.metrics["best_epoch"] < 30
    served = ServiceSettings(data=bundle.path, recommender=tmp_path / "first")
    store.models.register(stored_model(load_models(served), served, source="given", metrics={}), activate="chosen")
    buy(store, "0005")
    told = retrain(store, tmp_path / "runs", min_gain=-1, min_users=5)
    model = load_recommender(store.models.get(told.model).recommender)
    assert model.settings == first.chosen_settings()
    assert model.metrics["epochs"] == first.metrics["best_epoch"]


def test_who_is_forgotten_is_not_learned_from_again(shop, tmp_path):
    store, bundle = shop
    buy(store, "0005")
    store.events.forget("user-03")
    told = retrain(store, tmp_path / "runs", min_gain=-1, min_users=5)
    model = load_recommender(store.models.get(told.model).recommender)
    assert "user-03" in set(bundle.interactions["user_id"])
    assert "user-03" not in set(model.user_ids)
    assert "user-04" in set(model.user_ids)
