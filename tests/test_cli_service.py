"""The service's verbs through the command line: what `serve` is given, keys, and the exit codes of a retraining."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recgan.cli.run import run as run_verb
from recgan.config import SplitSettings
from recgan.dataset.split import make_split
from recgan.recommenders import create_recommender, training_data
from service.holder import stored_model
from service.models import load_models
from service.settings import ServiceSettings
from service.store import Store
from service.store.events import Event
from service.store.keys import Scope

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys) -> Run:
    """Run a verb; return its exit code, standard output and standard error."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_verb([str(one) for one in arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of an empty store."""
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


# ---- serve


def test_serve_takes_urls_of_artifacts_and_refuses_one_of_the_bundle(run, monkeypatch, tmp_path):
    given: list[ServiceSettings] = []
    monkeypatch.setattr("service.run.serve", given.append)
    parts = ("recommender", "gan", "directions", "inverter")
    places = [word for part in parts for word in (f"--{part}", f"s3://models/{part}")]
    assert run("serve", "--data", tmp_path, *places)[0] == 0
    assert [getattr(given[0], part) for part in parts] == [f"s3://models/{part}" for part in parts]
    for part in ("data", "gaps", "blindtest"):
        code, _, told = run("serve", "--data", tmp_path, *places, f"--{part}", "s3://models/it")
        assert code == 2
        assert f"{part}='s3://models/it': it is read from a folder of this machine" in told
        assert told.count("\n") == 1
    assert len(given) == 1


# ---- keys


def test_a_key_is_added_listed_and_revoked(run, url):
    code, out, told = run("keys", "add", "shop", "--scope", "write", "--per-minute", 60, "--store", url)
    assert code == 0
    key = Store(url).keys.find(out.strip())
    assert key is not None
    assert (key.name, key.scope, key.per_minute) == ("shop", Scope.write, 60)
    assert f"key {key.id} may write. It is not kept" in told
    listed = json.loads(run("keys", "list", "--store", url, "--json")[1])["keys"]
    assert [(one["id"], one["scope"], one["per_minute"], one["revoked"]) for one in listed] == [
        (key.id, "write", 60, "")
    ]
    code, out, _ = run("keys", "list", "--store", url)
    assert code == 0
    assert key.id in out
    assert "rg_" not in out
    assert run("keys", "revoke", key.id, "--store", url) == (0, "", f"key {key.id} is worth nothing any more\n")
    assert Store(url).keys.all()[0].revoked_at is not None
    code, _, told = run("keys", "revoke", key.id, "--store", url)
    assert code == 2
    assert f"there is no key '{key.id}' in use; list them" in told


def test_keys_are_of_the_store_in_the_environment_and_of_a_known_scope(run, url, monkeypatch):
    monkeypatch.setenv("RECGAN_SERVICE_STORE", url)
    answer = json.loads(run("keys", "add", "probe", "--json")[1])
    assert (answer["name"], answer["scope"]) == ("probe", "read")
    assert Store(url).keys.find(answer["key"]) is not None
    code, _, told = run("keys", "add", "probe", "--scope", "root")
    assert code == 2
    assert "there is no scope 'root'; give one of read, write, admin" in told
    assert len(Store(url).keys.all()) == 1


# ---- retrain


def test_retraining_says_by_its_exit_code_whether_the_new_model_serves(run, url, make_bundle, tmp_path):
    retrain = ("retrain", "--store", url, "--out", tmp_path / "runs", "--device", "cpu", "--json")
    code, _, told = run(*retrain)
    assert code == 2
    assert "the store knows no model yet; start the service on it once" in told
    bundle, store = make_bundle(), Store(url)
    data = training_data(bundle, make_split(bundle, SplitSettings(protocol="all")), None)
    create_recommender("popularity").fit(data, seed=0).save(tmp_path / "popularity")
    settings = ServiceSettings(data=bundle.path, recommender=tmp_path / "popularity")
    store.models.register(stored_model(load_models(settings), settings, source="given", metrics={}), activate="first")
    first = store.models.active()

    def refused(*options: str) -> str:
        code, out, _ = run(*retrain, *options)
        answer = json.loads(out)
        assert (code, answer["promoted"], answer["model"]) == (3, False, None)
        assert store.models.active() == first
        return str(answer["reason"])

    assert refused() == "refused: 0 users did something new; at least 20 are needed to judge by"
    now = datetime.now(UTC)
    for user in range(30):
        for minute, item in enumerate(("0002", "0005")):
            store.events.add([Event(f"new-{user}", item, "purchase", 1.0, now + timedelta(minutes=minute))])
    assert refused("--min-gain", "0.99").startswith("refused: NDCG@20 0.")
    code, out, _ = run(*retrain, "--min-gain", "-0.5")
    answer = json.loads(out)
    assert (code, answer["promoted"]) == (0, True)
    assert answer["model"] == store.models.active() != first
    assert {path.name.split("-")[0] for path in (tmp_path / "runs").iterdir() if path.name[0] != "."} == {
        "bundle",
        "recommender",
    }
