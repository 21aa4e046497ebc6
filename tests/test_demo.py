import json
import shutil
from dataclasses import replace

import pytest

from recgan.config import DemoSettings, overridden
from recgan.dataset.bundle import Bundle
from recgan.demo import run_demo
from recgan.design import load_designs
from recgan.errors import ArtifactError, SettingsError
from recgan.gan import find_recipe, load_gan
from recgan.gan.latent import load_directions, save_directions
from recgan.gan.shipped import shipped_gan

TINY = DemoSettings(
    items=78,
    picture_size=64,
    users=40,
    interactions=400,
    size=32,
    images_seen=32,
    shown_users=2,
    designs_per_user=1,
    design_steps=1,
)
STAGES = ("catalogue", "recommender", "gan", "directions", "designs")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out put"  # a place that a shell must have quoted
    told = []
    result = run_demo(out, settings=TINY, device="cpu", progress=lambda *args: told.append(args))
    return out, result, told


def again(out, **options):
    told = []
    result = run_demo(out, **{"settings": TINY, "device": "cpu", "progress": lambda *a: told.append(a), **options})
    return result, told


def test_the_demo_makes_every_artifact_and_tells_every_stage(demo):
    out, result, told = demo
    assert Bundle.open(out / "catalogue", verify=True).header.counts["users"] == 40
    assert len(list((out / "designs").iterdir())) == 2
    page = (out / "report.html").read_text(encoding="utf-8")
    for folder in (out / "designs").iterdir():
        (design,) = load_designs(folder)
        assert design.settings["user"] == folder.name
        assert f"<h3>{folder.name}</h3>" in page
    assert result.reused == ()
    finished = [step for step, done, total, *_ in told if done == total]
    assert set(finished) >= {*STAGES, "features", "report"}
    assert set(result.seconds) == {*STAGES, "features", "report"}


def test_its_answer_names_the_report_and_the_command_that_serves(demo):
    out, result, _ = demo
    answer = json.loads(json.dumps(result.as_json()))
    assert answer["report"] == str(out / "report.html")
    assert answer["serve"] == (
        f"recgan serve --data '{out}/catalogue' --recommender '{out}/recommender' --gan '{out}/gan' "
        f"--directions '{out}/directions'"
    )
    assert answer["serve"] in result.text()
    assert answer["report"] in result.text()
    assert set(answer["auc"]) == {"popularity", "visual_knn", "vbpr", "oracle"}
    assert answer["auc"]["oracle"]["all"] > 0.5


def test_what_is_done_is_not_done_again_and_comes_out_the_same(demo):
    out, first, _ = demo
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("manifest.json")}
    page = (out / "report.html").read_bytes()
    result, told = again(out)
    assert result.reused == STAGES
    assert [step for step, *rest in told if "found done" in str(rest[-1])] == list(STAGES)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (out / "report.html").read_bytes() == page
    assert result.auc == first.auc


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"seed": 1}, "catalogue"),
        ({"settings": overridden(TINY, ["users=41"])}, "catalogue"),
        ({"settings": overridden(TINY, ["size=64"])}, "recommender"),
        ({"settings": overridden(TINY, ["images_seen=4096"])}, "gan"),
        ({"settings": overridden(TINY, ["design_steps=2"])}, "designs"),
    ],
)
def test_what_was_made_with_other_settings_is_never_replaced(demo, change, place):
    out, _, _ = demo
    with pytest.raises(ArtifactError, match=f"{place}' was made with other"):
        again(out, **change)


def test_a_recipe_that_says_something_else_of_itself_is_the_same(demo, monkeypatch):
    out, _, _ = demo
    worded = find_recipe(TINY.recipe).model_copy(update={"summary": "other words", "images_seen": 7})
    monkeypatch.setattr("recgan.demo.find_recipe", lambda name: worded)
    assert again(out)[0].reused == STAGES


def test_a_demo_that_was_stopped_goes_on_where_it_was(demo, tmp_path):
    class Stop(Exception):
        pass

    def stop_in_training(step, done, total=None, note=""):
        if step == "training the generator":
            raise Stop

    out, whole, _ = demo
    here = tmp_path / "demo"
    shutil.copytree(out, here)
    shutil.rmtree(here / "gan")
    shutil.rmtree(here / "gan.run")
    shutil.rmtree(here / "directions")
    shutil.rmtree(here / "designs")
    with pytest.raises(Stop):
        again(here, progress=stop_in_training)
    assert not (here / "gan").exists()
    result, _ = again(here)
    assert result.reused == ("catalogue", "recommender")
    assert result.auc == whole.auc
    # The same seed makes the same generator and the same designs, stopped in between or not.
    for folder in (out / "designs").iterdir():
        (one,), (other,) = load_designs(folder), load_designs(here / "designs" / folder.name)
        assert (one.score, one.z.tolist()) == (other.score, other.z.tolist())


def test_directions_of_another_generator_are_never_replaced(demo, tmp_path):
    out, _, _ = demo
    here = tmp_path / "demo"
    shutil.copytree(out, here)
    gan = load_gan(out / "gan", "cpu")
    found = load_directions(here / "directions", gan)
    save_directions(found, replace(gan, digest="another"), here / "directions", overwrite=True)
    with pytest.raises(ArtifactError, match="directions' was made with another generator"):
        again(here)


def test_ctrl_c_says_how_to_go_on(tmp_path):
    def interrupted(step, done, total=None, note=""):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="run the same command again"):
        again(tmp_path / "demo", progress=interrupted)
    assert not (tmp_path / "demo" / "boutique").exists()


def test_a_damaged_artifact_is_told_not_used(demo, tmp_path):
    out, _, _ = demo
    here = tmp_path / "demo"
    shutil.copytree(out, here)
    with open(here / "gan" / "generator.safetensors", "r+b") as file:
        file.seek(-4, 2)
        file.write(b"torn")
    with pytest.raises(ArtifactError, match="checksum"):
        again(here)


def test_demo_settings_are_checked(tmp_path):
    with pytest.raises(SettingsError, match="items"):
        overridden(DemoSettings(), ["items=3"])
    assert overridden(DemoSettings(), []).items == 3000


# On pictures by the generator that comes with recgan

PHOTOS = overridden(TINY, ["catalogue=photos", "size=64", "items=150"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    out = tmp_path_factory.mktemp("photos") / "demo"
    return out, run_demo(out, settings=PHOTOS, device="cpu")


def test_the_demo_on_photos_shows_and_designs_goods_by_the_shipped_generator(photos):
    out, result = photos
    shipped = shipped_gan("cpu")
    catalogue = Bundle.open(out / "catalogue", verify=True)
    assert catalogue.items["generated"].all()
    assert len(catalogue.items) == 150
    assert catalogue.category_names == list(shipped.category_names)
    assert catalogue.header.counts["users"] == 40
    gan = load_gan(out / "gan", "cpu")
    assert gan.catalogue_digest == catalogue.catalogue_digest
    assert gan.manifest.facts["trained_on"]["gan"] == shipped.digest
    assert not (out / "gan.run").exists()  # nothing was trained
    (design,) = load_designs(next((out / "designs").iterdir()))
    assert design.image.shape == (64, 64, 3)
    assert "generated, Fashion Product Images" in (out / "report.html").read_text(encoding="utf-8")
    assert result.auc["oracle"]["all"] > 0.5


def test_the_demo_on_photos_goes_on_and_refuses_other_settings(photos, tmp_path):
    out, first = photos
    result, _ = again(out, settings=PHOTOS)
    assert result.reused == STAGES
    assert result.auc == first.auc
    for change in (["items=151"], ["catalogue=drawn"]):
        with pytest.raises(ArtifactError, match="catalogue' was made with other"):
            again(out, settings=overridden(PHOTOS, change))
    with pytest.raises(SettingsError, match=r"size=32: .* makes 64 px"):
        overridden(PHOTOS, ["size=32"])
    shutil.copytree(out, tmp_path / "demo")
    shutil.rmtree(tmp_path / "demo" / "gan")
    result, _ = again(tmp_path / "demo", settings=PHOTOS)
    assert result.reused == ("catalogue", "recommender", "directions", "designs")
