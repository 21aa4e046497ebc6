"""The service over the real thing: a bundle, a trained VBPR, a trained GAN, and a server process."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import httpx
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from recgan.config import DesignSettings, EmbedSettings, InverterSettings, Recipe, SplitSettings, VBPRSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.split import make_split
from recgan.design import Designer
from recgan.design.editing import Editor
from recgan.design.presets import PRESETS
from recgan.encoders import embed_items, embed_pixels
from recgan.errors import ArtifactError, MismatchError, SettingsError
from recgan.gan import load_gan, train_gan
from recgan.gan.latent import find_directions, load_directions, load_inverter, save_directions, train_inverter
from recgan.recommenders import create_recommender, load_recommender, train_recommender, training_data
from recgan.recommenders.models.visual import pixels_of
from service.app import create_app
from service.holder import stored_model
from service.live.eye import eye_of
from service.models import load_models
from service.retrain import retrain
from service.run import serve
from service.settings import ServiceSettings
from service.store import Store
from service.store.events import Event
from tests.conftest import write_bundle
from tests.service_world import until

PATIENCE = 60.0
QUICK = DesignSettings(preset="quick", samples=4, starts=2, steps=2, neighbours=3)

INVERTER = InverterSettings(width=16, images_seen=16, batch_size=16, steps=1, feature_weight=0)


@dataclass(frozen=True)
class Made:
    """What a whole line has made."""

    bundle: Bundle
    recommender: Path
    popularity: Path
    gan: Path
    directions: Path
    inverter: Path

    def settings(self, **changed) -> ServiceSettings:
        """The settings of a service on it."""
        given = {
            "data": self.bundle.path,
            "recommender": self.recommender,
            "gan": self.gan,
            "directions": self.directions,
            "inverter": self.inverter,
            "device": "cpu",
            "design_worker": "thread",
            "store": f"sqlite:///{self.bundle.path.parent / uuid.uuid4().hex}.sqlite",
        }
        if {"gan", "recommender"} & set(changed):
            given |= {"directions": None, "inverter": None}
        return ServiceSettings(**{**given, **changed})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A tiny catalogue, and models that were trained on it for a moment."""
    folder = tmp_path_factory.mktemp("line")
    bundle = write_bundle(folder / "bundle")
    features = embed_items(bundle, EmbedSettings(size=32), device="cpu")
    data = training_data(bundle, make_split(bundle, SplitSettings(protocol="all")), features)
    vbpr = create_recommender("vbpr", VBPRSettings(epochs=3, width=8, latent_dim=4, visual_dim=4))
    vbpr.fit(data, seed=0, device="cpu").save(folder / "vbpr")
    create_recommender("popularity").fit(data, seed=0, device="cpu").save(folder / "popularity")
    recipe = Recipe(name="tiny", latent_dim=8, generator_width=8, discriminator_width=8, class_dim=4, batch_size=8)
    gan = train_gan(bundle, recipe, size=32, images_seen=32, out=folder / "gan", device="cpu")
    found = find_directions(gan, count=2, samples=64)
    save_directions(replace(found, low=-torch.ones(2), high=torch.ones(2)), gan, folder / "directions")
    train_inverter(gan, out=folder / "inverter", settings=INVERTER)
    parts = (folder / name for name in ("vbpr", "popularity", "gan", "directions", "inverter"))
    return Made(bundle, *parts)


@pytest.fixture(scope="module")
def client(made: Made) -> Iterator[TestClient]:
    """A client of the service on it."""
    app = create_app(made.settings())
    with TestClient(app) as client:
        app.state.service.holder.wait(PATIENCE)
        assert client.get("/health/ready").json() == {"status": "ready", "reasons": []}
        yield client


def pairs(answer: httpx.Response) -> list[tuple[str, float]]:
    """Ids and scores of an answer."""
    assert answer.status_code == 200, answer.text
    return [(item["item_id"], pytest.approx(item["score"], rel=1e-5)) for item in answer.json()["items"]]


def test_the_service_recommends_as_the_model_does(client, made):
    model = load_recommender(made.recommender)
    expected = model.recommend(["user-03"], 5, categories=["bags", "shoes"])[0]
    answer = client.get("/v1/users/user-03/recommendations?k=5&category=bags&category=shoes")
    assert pairs(answer) == [(one.item_id, one.score) for one in expected]
    assert answer.json()["model"]["recommender"] == model.digest
    expected = model.recommend([model.fold_in(["0001", "0004"], ["0002"])], 6)[0]
    session = {"liked": ["0001", "0004"], "disliked": ["0002"], "k": 6}
    assert pairs(client.post("/v1/sessions/recommendations", json=session)) == [(o.item_id, o.score) for o in expected]
    expected = model.similar("0005", 4)
    assert pairs(client.get("/v1/items/0005/similar?k=4")) == [(one.item_id, one.score) for one in expected]
    assert client.get("/v1/users?limit=500").json()["users"] == model.user_ids.tolist()


def test_a_changed_item_has_the_score_that_it_had(made):
    with TestClient(create_app(made.settings(design_worker="none"))) as client:
        client.app.state.service.holder.wait(PATIENCE)
        url = "/v1/users/user-03/recommendations?k=500&exclude_seen=false"
        before = client.get(url).json()["items"]
        for item in before[::2]:
            client.patch(f"/v1/items/{item['item_id']}", json={"attributes": {"price": 1}}).raise_for_status()
        assert client.get(url).json()["items"] == before  # to the bit


def test_a_new_item_that_somebody_dislikes_counts_against_its_like(made):
    with TestClient(create_app(made.settings(design_worker="none"))) as client:
        service = client.app.state.service
        service.holder.wait(PATIENCE)
        picture = base64.b64encode(made.bundle.image_bytes([0])[0]).decode()
        client.put("/v1/items/fresh", json={"category": "bags", "image": picture}).raise_for_status()
        for user, event in (("fan", "purchase"), ("hater", "dislike")):
            told = {"events": [{"user_id": user, "item_id": "fresh", "event": event}]}
            client.post("/v1/events", json=told).raise_for_status()
        shop = service.keeper.now()
        fresh = shop.changes.factors[0]
        nobody = shop.models.recommender.fold_in().values
        fan, hater = (shop.tastes.of_user(user).vector.values for user in ("fan", "hater"))
        assert fresh @ hater < fresh @ nobody < fresh @ fan


def test_whoever_asks_all_photos_are_looked_at_by_one_thread(made):
    model = load_recommender(made.recommender)
    eye = eye_of(model, "cpu")
    photos = [made.bundle.image_bytes([row])[0] for row in range(9)]
    expected = embed_pixels(model.load_encoder("cpu"), pixels_of(photos, model.size))
    lookers = set()
    eye._encoder.body.register_forward_hook(lambda *_: lookers.add(threading.get_ident()))
    with ThreadPoolExecutor(4) as pool:
        for seen in pool.map(eye.look, [photos] * 8):
            np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)
    assert len(lookers) == 1  # each thread would keep what the network needed there
    assert eye.look([]).shape == (0, expected.shape[1])


def test_the_service_searches_by_the_index_that_is_asked_for(made, caplog):
    coarse = made.settings(gan=None, index="hnsw,links=2,build_width=1,search_width=1")
    with caplog.at_level(logging.INFO, logger="recgan.service"):
        models = load_models(coarse)
    told = re.search(r"searched by hnsw: finds ([\d.]+)% of the exact 20 best", caplog.text)
    assert told
    assert 0 < float(told[1]) < 100
    users = [str(user) for user in models.recommender.user_ids]
    exact = load_recommender(made.recommender).recommend(users, 2, exclude_seen=False)
    near = models.recommender.recommend(users, 2, exclude_seen=False)
    assert [len(one) for one in near] == [2] * len(users)
    assert near != exact
    assert load_models(made.settings(gan=None)).recommender.recommend(users, 2, exclude_seen=False) == exact


def test_the_service_designs_as_the_designer_does(client, made, monkeypatch):
    monkeypatch.setitem(PRESETS, "quick", QUICK)
    designer = Designer(load_recommender(made.recommender), load_gan(made.gan, "cpu"), device="cpu")
    expected = sorted(designer.design("user-03", "dresses", 2, seed=7, settings=QUICK), key=lambda one: -one.score)
    answer = client.post(
        "/v1/designs", json={"user_id": "user-03", "category": "dresses", "n": 2, "seed": 7, "preset": "quick"}
    )
    assert answer.status_code == 202
    until(lambda: client.get(answer.headers["location"]).json()["finished_at"] is not None)
    state = client.get(answer.headers["location"]).json()
    assert state["state"] == "succeeded", state
    assert state["model"] == client.get("/version").json()["model"]
    assert len(state["results"]) == 2
    for shown, design in zip(state["results"], expected):
        assert (shown["seed"], shown["category"]) == (design.seed, "dresses")
        assert shown["score"] == pytest.approx(design.score, abs=1e-5)
        assert shown["percentile"] == pytest.approx(design.percentile)
        assert [item["item_id"] for item in shown["nearest"]] == [item_id for item_id, _ in design.nearest]
        assert len(shown["nearest"]) == 3
        picture = np.asarray(Image.open(io.BytesIO(client.get(shown["image_url"]).content)))
        assert np.array_equal(picture, design.image)
        for item in shown["nearest"]:
            assert client.get(item["image_url"]).headers["content-type"] == "image/png"


def test_the_service_edits_as_the_editor_does(client, made, monkeypatch):
    monkeypatch.setitem(PRESETS, "quick", QUICK)
    designer = Designer(load_recommender(made.recommender), load_gan(made.gan, "cpu"), device="cpu")
    editor = Editor(designer, made.bundle, load_inverter(made.inverter, designer.gan))
    directions = load_directions(made.directions, designer.gan)

    def asked(**wanted) -> dict:
        answer = client.post("/v1/designs", json=wanted)
        assert answer.status_code == 202, answer.text
        until(lambda: client.get(answer.headers["location"]).json()["finished_at"] is not None)
        state: dict = client.get(answer.headers["location"]).json()
        assert state["state"] == "succeeded", state
        return state

    def check(state: dict, expected: list) -> None:
        assert len(state["results"]) == len(expected)
        for shown, design in zip(state["results"], expected):
            picture = np.asarray(Image.open(io.BytesIO(client.get(shown["image_url"]).content)))
            assert np.array_equal(picture, design.image)
            assert shown["score"] == pytest.approx(design.score, abs=1e-5)
            told = client.get(shown["settings_url"]).json()["settings"]["edit"]
            assert told == json.loads(json.dumps(design.settings["edit"]))  # with where it began: it comes again

    begun = [
        asked(user_id="user-03", category=category, n=1, seed=7, preset="quick") for category in ("dresses", "bags")
    ]
    ends = [
        editor.of_design(designer.design("user-03", category, 1, seed=7, settings=QUICK)[0])
        for category in ("dresses", "bags")
    ]
    of = [{"design": one["id"], "index": 0} for one in begun]
    expected = sorted(editor.like(ends[0], "user-03", 3, seed=5), key=lambda one: -one.score)
    check(asked(edit={"kind": "like", "of": of[:1]}, n=3, seed=5), expected)
    check(asked(edit={"kind": "mix", "of": of}, n=3, seed=5), editor.mix(*ends, "user-03", 3, seed=5))
    moves = [{"direction": 0, "units": 0.5}, {"direction": 1, "units": -1}]
    expected = [editor.slide(ends[0], directions, {0: 0.5, 1: -1.0}, "user-03", seed=5)]
    check(asked(edit={"kind": "slide", "of": of[:1], "moves": moves}, seed=5), expected)
    tailored = editor.tailor(editor.item("0004"), "user-03", 2, seed=5, search=QUICK)
    edit = {"kind": "tailor", "of": [{"item": "0004"}]}
    state = asked(edit=edit, user_id="user-03", n=2, seed=5, preset="quick")
    check(state, sorted(tailored, key=lambda one: -one.score))
    assert state["results"][0]["settings"]["edit"]["inversion"]["pixel_error"] > 0


@pytest.fixture
def bucket(made: Made) -> Iterator[str]:
    """The same artifacts on fsspec's store in memory; the URL of the folder that holds them."""
    memory = fsspec.filesystem("memory")
    for place in (made.recommender, made.gan, made.directions, made.inverter):
        memory.put(str(place), f"/bucket/{place.name}", recursive=True)
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def test_artifacts_on_an_object_store_serve_as_those_in_folders_do(made, bucket):
    names = {"recommender": "vbpr", "gan": "gan", "directions": "directions", "inverter": "inverter"}
    settings = made.settings(**{part: f"{bucket}/{name}" for part, name in names.items()})
    models, local = load_models(settings), load_models(made.settings())
    assert models.id == local.id
    assert models.need_sliders().etags == local.need_sliders().etags
    assert models.need_inverter().metrics == local.need_inverter().metrics
    user = ["user-03"]
    assert models.recommender.recommend(user, 5) == local.recommender.recommend(user, 5)


def test_parts_of_another_generator_are_refused(made, tmp_path):
    gan = load_gan(made.gan, "cpu")
    other = replace(gan, digest="other")
    save_directions(load_directions(made.directions, gan), other, tmp_path / "directions")
    with pytest.raises(MismatchError, match="directions of another generator"):
        load_models(made.settings(directions=tmp_path / "directions"))
    train_inverter(other, out=tmp_path / "inverter", settings=INVERTER)
    with pytest.raises(MismatchError, match="trained for another generator"):
        load_models(made.settings(inverter=tmp_path / "inverter"))


def test_the_bundle_says_what_is_available(made, tmp_path):
    best = load_recommender(made.popularity).recommend(["user-03"], 1)[0][0].item_id
    items = made.bundle.items.copy()
    items.loc[items["item_id"] == best, "available"] = False
    with BundleWriter(tmp_path / "today", name="today", licence="CC0-1.0", source="the same") as writer:
        writer.link_images(made.bundle)
        writer.set_items(items)
    models = load_models(made.settings(data=tmp_path / "today", recommender=made.popularity, gan=None))
    found = [one.item_id for one in models.recommender.recommend(["user-03"], 100, exclude_seen=False)[0]]
    assert len(found) == len(items) - 1
    assert best not in found


def test_artifacts_of_different_catalogues_are_refused(made, tmp_path):
    other = write_bundle(tmp_path / "other", seed=1)
    with pytest.raises(MismatchError, match="another catalogue"):
        load_models(made.settings(data=other.path, gan=None))
    recipe = Recipe(name="tiny", latent_dim=8, generator_width=8, discriminator_width=8, class_dim=4, batch_size=8)
    train_gan(other, recipe, size=32, images_seen=8, out=tmp_path / "gan", device="cpu")
    with pytest.raises(MismatchError, match="different catalogues"):
        load_models(made.settings(gan=tmp_path / "gan"))
    with pytest.raises(SettingsError, match="does not look at pictures"):
        load_models(made.settings(recommender=made.popularity))


def test_a_model_of_what_is_taken_again_is_not_served(made, tmp_path):
    train_recommender(made.bundle, "repurchase", out=tmp_path / "again")
    with pytest.raises(SettingsError, match="a repurchase model, whose lists are of what a user took before"):
        load_models(made.settings(recommender=tmp_path / "again", gan=None))


def test_a_model_that_sees_no_pictures_is_served_without_a_generator(made):
    app = create_app(made.settings(recommender=made.popularity, gan=None))
    with TestClient(app) as client:
        app.state.service.holder.wait(PATIENCE)
        assert len(client.get("/v1/users/user-03/recommendations?k=5").json()["items"]) == 5
        refused = client.get("/v1/items/0005/similar")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.status_code == 422


def test_a_visual_model_is_retrained_beside_its_generator_and_serves_what_it_has_learned(made, tmp_path):
    settings = made.settings()
    store = Store(settings.store_url)
    models = load_models(settings)
    noted = stored_model(models, settings, source="given", metrics={})
    store.models.register(noted, activate="the first")
    then = datetime(2025, 6, 1, tzinfo=UTC)
    for user in range(8):
        store.events.add([Event(f"new-{user}", item, "purchase", 1.0, then) for item in ("0003", "0006", "0009")])
    told = retrain(store, tmp_path / "runs", min_gain=-1, min_users=5, device="cpu")
    assert told.promoted, told.reason
    promoted = store.models.get(told.model)
    places = {"data": Path(promoted.data), "recommender": promoted.recommender}
    again = load_models(settings.model_copy(update=places))
    assert again.id == told.model
    assert again.designer is not None  # the catalogue has not changed, so the generator fits
    assert again.recommender.knows("new-5")
    assert not models.recommender.knows("new-5")
    assert again.events_to == 24
    store.close()


# ---- the server process


def test_serving_what_cannot_be_loaded_ends_with_the_reason(made, tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        serve(made.settings(gan=tmp_path / "nothing", port=0))
    with pytest.raises(MismatchError):
        serve(made.settings(data=write_bundle(tmp_path / "other", seed=1).path, gan=None, port=0))


def test_an_address_that_cannot_be_had_is_named(made):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} on 127.0.0.1 is in use; .* --port"):
            serve(made.settings(port=port))
    with pytest.raises(SettingsError, match=r"host 'no\.such\.host\.invalid' is no address"):
        serve(made.settings(host="no.such.host.invalid", port=0))


def server(log: Path, **environment: str) -> tuple[subprocess.Popen[bytes], httpx.Client]:
    """Start a server process that logs to a file, and return it with a client of it, once it is ready."""
    program = "from service.run import serve; from service.settings import service_settings; serve(service_settings())"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "RECGAN_SERVICE_PORT": "0", "OMP_NUM_THREADS": "1", **environment},
            cwd=Path(__file__).parents[1],
            stdout=out,
            stderr=out,
        )
    found: list[str] = []

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        found.extend(re.findall(r"recgan is at (http://127\.0\.0\.1:\d+)/ ", log.read_text()))
        return bool(found)

    until(listens)
    client = httpx.Client(base_url=found[0], transport=httpx.HTTPTransport(retries=10), timeout=PATIENCE)
    until(lambda: client.get("/health/ready").status_code == 200)
    return process, client


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_process_serves_until_it_is_told_to_stop(made, tmp_path, stop):
    process, client = server(
        tmp_path / "log",
        RECGAN_SERVICE_DATA=str(made.bundle.path),
        RECGAN_SERVICE_RECOMMENDER=str(made.popularity),
        RECGAN_SERVICE_STORE=f"sqlite:///{tmp_path / 'store.sqlite'}",
        RECGAN_SERVICE_DESIGN_WORKER="none",
    )
    try:
        answer = client.get("/v1/users/user-03/recommendations?k=2", headers={"X-Request-ID": "mine-4711"})
        assert (answer.status_code, len(answer.json()["items"])) == (200, 2)
        # The path arrives as it was encoded.
        assert client.get("/v1/items/a%2Fb").json()["detail"].startswith("there is no item 'a/b'")
        process.send_signal(stop)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        client.close()
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0, log
    assert "Traceback" not in log
    lines = [json.loads(line) for line in log.splitlines()]  # nothing is written but JSON
    mine = [line for line in lines if line.get("request_id") == "mine-4711"]
    assert [(line["method"], line["route"], line["status"]) for line in mine] == [
        ("GET", "/v1/users/{user_id:id}/recommendations", 200)
    ]
    assert "user-03" not in log


def test_what_was_acknowledged_outlives_kill_9_and_nothing_is_falsely_done(made, tmp_path):
    environment = {
        "RECGAN_SERVICE_DATA": str(made.bundle.path),
        "RECGAN_SERVICE_RECOMMENDER": str(made.recommender),
        "RECGAN_SERVICE_GAN": str(made.gan),
        "RECGAN_SERVICE_DEVICE": "cpu",
        "RECGAN_SERVICE_STORE": f"sqlite:///{tmp_path / 'store.sqlite'}",
        "RECGAN_SERVICE_LEASE_SECONDS": "5",
    }
    asked = {"user_id": "user-03", "category": "dresses", "n": 32, "seed": 7}

    def state(client: httpx.Client, id: str) -> str:
        return client.get(f"/v1/designs/{id}").json()["state"]

    process, client = server(tmp_path / "log", **environment)
    try:
        for id in ("first", "second"):
            assert client.put(f"/v1/designs/{id}", json=asked).status_code == 202
        event = {"events": [{"user_id": "user-03", "item_id": "0001", "event": "purchase"}]}
        assert client.post("/v1/events", json=event).status_code == 201
        until(lambda: client.get("/v1/designs/first").json()["progress"] is not None)
    finally:
        process.kill()
        process.wait()
        client.close()
    process, client = server(tmp_path / "log", **environment)
    try:
        assert [one["item_id"] for one in client.get("/v1/users/user-03").json()["events"]] == ["0001"]
        until(lambda: state(client, "first") == "interrupted")
        assert client.get("/v1/designs/first").json()["results"] == []
        until(lambda: state(client, "second") == "running")  # it had waited, and is made now
        assert client.post("/v1/designs/second/cancel").status_code == 202
        until(lambda: state(client, "second") == "cancelled")
        assert client.post("/v1/designs/first/retry").json()["attempt"] == 2
        until(lambda: state(client, "first") == "running")
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        client.close()
    assert process.returncode == 0, (tmp_path / "log").read_text()


def test_a_worker_that_is_killed_is_started_again_and_its_job_can_be_retried(made):
    app = create_app(made.settings(design_worker="process", lease_seconds=60))
    with TestClient(app) as client:
        worker = app.state.service.worker
        app.state.service.holder.wait(PATIENCE)
        asked = {"user_id": "user-03", "category": "dresses", "n": 32, "seed": 7}
        for id in ("first", "second"):
            client.put(f"/v1/designs/{id}", json=asked)
        until(lambda: client.get("/v1/designs/first").json()["progress"] is not None)
        killed = worker.pid
        os.kill(killed, signal.SIGKILL)
        # At once: nobody waits for the lease to lapse.
        until(lambda: client.get("/v1/designs/first").json()["state"] == "interrupted")
        assert client.get("/v1/users/user-03/recommendations").status_code == 200
        until(lambda: client.get("/v1/designs/second").json()["state"] == "running")
        assert worker.pid != killed
        assert client.get("/health/ready").status_code == 200
