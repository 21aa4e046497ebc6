"""What a shop serves from a trained model: lists for everybody, approximate search, explanations."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch import nn

from recgan.cli.run import run
from recgan.config import BPRSettings, EmbedSettings, IndexSettings, SplitSettings, VBPRSettings
from recgan.dataset.pixels import decode_image, letterbox
from recgan.dataset.split import Pairs, make_split
from recgan.encoders import Encoder, embed_items, register_encoder
from recgan.encoders.registry import _LOADERS
from recgan.errors import ArtifactError, MismatchError, NotFoundError, SettingsError
from recgan.recommenders import UserVector, create_recommender, load_recommender, recommender_names, training_data
from recgan.recommenders.data import UserRows
from recgan.recommenders.explain import explain, explain_vector, pixel_map, save_maps
from recgan.recommenders.topk.ann import ApproximateIndex
from recgan.recommenders.topk.batch import SCHEMA, recommend_all
from tests.conftest import write_bundle

ENCODER = "test-serving"
SMALL = {
    "vbpr": VBPRSettings(latent_dim=3, visual_dim=4, width=12, epochs=6, batch_size=32),
    "bpr": BPRSettings(factors=6, epochs=40),
}


def smooth_encoder() -> Encoder:
    body = nn.Sequential(nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Softplus())
    return Encoder(ENCODER, body, dim=75, input_size=40, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture(scope="module", autouse=True)
def encoder():
    register_encoder(ENCODER, smooth_encoder)
    yield
    del _LOADERS[ENCODER]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("shop") / "bundle", items=60, users=50)


@pytest.fixture(scope="module")
def data(bundle, encoder):
    features = embed_items(bundle, EmbedSettings(encoder=ENCODER, size=32), device="cpu")
    return training_data(bundle, make_split(bundle, SplitSettings(protocol="all")), features)


@pytest.fixture(scope="module")
def trained(data):
    models = {}

    def get(name):
        if name not in models:
            models[name] = create_recommender(name, SMALL.get(name)).fit(data, seed=0, device="cpu")
        return models[name]

    return get


@pytest.fixture(params=[name for name in recommender_names() if name != "dvbpr"])  # which trains on pictures
def model(request, trained):
    return trained(request.param)


def wide_model(model, items=3000, users=300, dim=16):
    """The model with many more items and users, of random factors: a catalogue on which the screen and ANN work."""
    rng = np.random.default_rng(0)
    wide = type(model)(model.settings)
    wide.category_names = model.category_names
    wide.user_ids = np.array([f"u{n:04d}" for n in range(users)], dtype=object)
    wide.user_factors = np.concatenate([np.ones((users, 1)), rng.normal(size=(users, dim - 1))], 1).astype(np.float32)
    wide.item_factors = rng.normal(size=(items, dim)).astype(np.float32)
    wide.item_factors[:, 0] *= 4
    taken = np.unique(rng.integers(0, users * items, 6 * users))
    wide.seen = UserRows.of(Pairs(*np.divmod(taken, items)), users)
    table = pd.DataFrame({"item_id": [f"i{n:05d}" for n in range(items)], "category": "all", "available": True})
    table.loc[::9, "available"] = False
    wide._set_items(table)
    wide.fitted = True
    return wide


class TestEverybody:
    @pytest.mark.parametrize("wide", [False, True])
    def test_the_file_holds_what_recommend_answers(self, wide, trained, tmp_path, monkeypatch):
        model = wide_model(trained("popularity")) if wide else trained("vbpr")
        monkeypatch.setattr("recgan.recommenders.topk.batch._ROW_GROUP", 100)
        told = []
        rows = recommend_all(
            model, tmp_path / "all.parquet", 7, progress=lambda step, done, total, note="": told.append((done, total))
        )
        expected = [
            (user, place, one.item_id, np.float32(one.score))
            for user, answer in zip(model.user_ids, model.recommend(list(model.user_ids), 7))
            for place, one in enumerate(answer, start=1)
        ]
        frame = pd.read_parquet(tmp_path / "all.parquet")
        assert list(frame.itertuples(index=False, name=None)) == expected
        assert rows == len(frame) == 7 * len(model.user_ids)
        assert told[-1] == (len(model.user_ids),) * 2

    def test_filters_hold_and_a_short_list_has_fewer_rows(self, trained, tmp_path):
        model = trained("vbpr")
        some = [str(one) for one in model.item_ids[:4]]
        recommend_all(model, tmp_path / "some.parquet", 9, candidates=some, exclude_seen=False)
        frame = pd.read_parquet(tmp_path / "some.parquet")
        assert frame.groupby("user_id").size().unique().tolist() == [4]
        assert set(frame["item_id"]) == set(some)
        assert recommend_all(model, tmp_path / "none.parquet", candidates=[]) == 0
        assert pd.read_parquet(tmp_path / "none.parquet").columns.tolist() == SCHEMA.names

    def test_a_file_that_is_there_stays_and_a_stopped_run_leaves_none(self, trained, tmp_path):
        model, out = trained("vbpr"), tmp_path / "all.parquet"
        out.write_text("mine")
        with pytest.raises(ArtifactError, match="exists already"):
            recommend_all(model, out)
        assert out.read_text() == "mine"

        def stop(*progress, **more):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            recommend_all(model, tmp_path / "new.parquet", progress=stop)
        assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]
        with pytest.raises(SettingsError, match="k=0"):
            recommend_all(model, tmp_path / "new.parquet", 0)


class TestApproximate:
    @pytest.fixture(scope="class")
    def wide(self, trained):
        return wide_model(trained("popularity"))

    @pytest.mark.parametrize("settings", [{"kind": "ivf", "lists": 40, "probes": 10}, {"kind": "hnsw"}])
    def test_the_recall_is_what_a_search_finds(self, wide, settings, tmp_path):
        exact = wide.recommend(list(wide.user_ids), 20, exclude_seen=False, where=np.ones(3000, dtype=bool))
        index = ApproximateIndex.build(wide.item_factors, wide.user_factors, IndexSettings(**settings))
        everything = np.ones(3000, dtype=bool)
        top = [set(np.argsort(-(wide.item_factors @ user), kind="stable")[:20]) for user in wide.user_factors]
        found = [set(index.search(user, 20, everything)[0]) for user in wide.user_factors]
        assert index.recall == pytest.approx(np.mean([len(one & other) / 20 for one, other in zip(top, found)]))
        assert 0.7 < index.recall < 1
        index.save(tmp_path / "index")
        loaded = ApproximateIndex.load(tmp_path / "index", wide.item_factors)
        assert loaded.recall == index.recall
        wide.use_index(loaded)
        try:
            near = wide.recommend(list(wide.user_ids), 20, exclude_seen=False)
        finally:
            wide.use_index(None)
        shared = [len({o.item_id for o in one} & {o.item_id for o in other}) / 20 for one, other in zip(exact, near)]
        assert 0.7 < np.mean(shared) < 1
        # What is found has its exact score, and stands in order.
        scores = dict(zip(wide.item_ids, wide.score([wide.user_ids[5]])[0]))
        assert [one.score for one in near[5]] == pytest.approx([scores[one.item_id] for one in near[5]], rel=1e-5)
        assert [one.score for one in near[5]] == sorted((one.score for one in near[5]), reverse=True)

    @pytest.mark.parametrize("kind", ["ivf", "hnsw"])
    def test_filters_come_before_the_search_and_no_list_is_short(self, wide, kind):
        narrow = [str(one) for one in wide.item_ids[100:112]]
        exact = wide.recommend(["u0007", "u0100"], 10, candidates=narrow)
        wide.use_index(ApproximateIndex.build(wide.item_factors, wide.user_factors, IndexSettings(kind=kind)))
        try:
            assert wide.recommend(["u0007", "u0100"], 10, candidates=narrow) == exact
            for user, answer in enumerate(wide.recommend(list(wide.user_ids[:50]), 300)):
                assert len(answer) == 300
                assert not {one.item_id for one in answer} & set(wide.item_ids[wide.seen[user]])
        finally:
            wide.use_index(None)

    def test_a_search_is_exact_again_when_items_change(self, trained, data):
        def indexed(model):
            settings = IndexSettings(kind="hnsw", links=2, build_width=1, search_width=1)
            model.use_index(ApproximateIndex.build(model.item_factors, model.user_factors, settings))
            return model

        counted = indexed(create_recommender("popularity").fit(data))
        last = str(counted.item_ids[-1])
        new = [f"new-{number}" for number in range(40)]
        counted.partial_fit(new, [last] * 40)
        assert counted.recommend(["user-00"], 1, exclude_seen=False)[0][0].item_id == last
        seeing = indexed(create_recommender("vbpr", SMALL["vbpr"]).fit(data, device="cpu"))
        seeing.add_items(["new"], np.full((1, 40, 40, 3), 120, dtype=np.uint8), ["bags"])
        best = seeing.recommend(["user-00"], 61, exclude_seen=False)[0]
        assert "new" in {one.item_id for one in best}
        scores = seeing.score(["user-00"])[0]
        assert [one.item_id for one in best] == list(seeing.item_ids[np.argsort(-scores, kind="stable")])

    @pytest.mark.parametrize("kind", ["ivf", "hnsw"])
    def test_more_items_than_there_are(self, wide, kind):
        index = ApproximateIndex.build(wide.item_factors, wide.user_factors, IndexSettings(kind=kind))
        rows, _ = index.search(wide.user_factors[0], 10**15, np.ones(3000, dtype=bool))
        assert sorted(rows) == list(range(3000))

    def test_an_index_of_other_items_is_refused(self, wide, trained, tmp_path):
        index = ApproximateIndex.build(wide.item_factors, wide.user_factors, IndexSettings(kind="ivf", lists=9))
        index.save(tmp_path / "index")
        other = wide.item_factors.copy()
        other[5, 3] += 1
        with pytest.raises(ArtifactError, match="another model"):
            ApproximateIndex.load(tmp_path / "index", other)
        with pytest.raises(MismatchError, match="other items"):
            trained("popularity").use_index(index)
        with pytest.raises(SettingsError, match="exact"):
            ApproximateIndex.build(wide.item_factors, wide.user_factors, IndexSettings())


class TestExplaining:
    def test_the_parts_sum_to_the_score_to_the_bit(self, model):
        for user in ("user-03", "user-20"):
            answer = model.recommend([user], 12)[0]
            for one, why in zip(answer, explain(model, [o.item_id for o in answer], user=user)):
                assert (why.item_id, why.score) == (one.item_id, one.score)
                assert float(np.float32(sum(why.parts.values()))) == pytest.approx(one.score, rel=1e-7)
        rows = np.arange(len(model.items))
        np.testing.assert_array_equal(sum(model.factor_parts(rows).values()), model.item_factors)

    def test_the_parts_of_vbpr_by_hand(self, trained):
        model = trained("vbpr")
        item, user = 17, 4
        vector, factors = model.user_factors[user].astype(np.float64), model.item_factors[item].astype(np.float64)
        bias = model.item_features[item].astype(np.float64) @ model._visual_bias.astype(np.float64)
        parts = explain(model, [str(model.item_ids[item])], user=str(model.user_ids[user]))[0].parts
        assert list(parts) == ["popularity", "latent", "visual bias", "visual"]
        expected = [factors[0] - bias, vector[1:4] @ factors[1:4], bias, vector[4:] @ factors[4:]]
        np.testing.assert_allclose(list(parts.values()), expected, rtol=1e-5, atol=1e-6)

    def test_the_influence_of_an_item_is_what_leaving_it_out_changes(self, model):
        liked = ["0001", "0004", "0007", "0011", "0030"]
        targets = [str(one) for one in model.item_ids[[2, 10, 16, 40, 51]]]
        whole = model.score([model.fold_in(liked)], targets)[0]
        influence = {}
        for place, why in enumerate(explain(model, targets, liked=liked)):
            assert sorted(item for item, _ in why.liked) == liked
            sizes = [abs(value) for _, value in why.liked]
            assert sizes == sorted(sizes, reverse=True)
            influence |= {(item, place): value for item, value in why.liked}
        told, true = [], []
        for item in liked:
            left = model.score([model.fold_in([one for one in liked if one != item])], targets)[0]
            told += [influence[item, place] for place in range(len(targets))]
            true += (whole - left).tolist()
        if np.ptp(true) == 0:
            assert told == true
        elif model.name in ("visual_knn", "als", "category"):  # nothing is drawn there: the same to rounding
            np.testing.assert_allclose(told, true, atol=1e-5)
        else:  # the item itself is among the others once it is left out, which `explain` does not let happen
            assert np.corrcoef(told, true)[0, 1] > 0.9

    def test_one_liked_item_carries_all_that_it_changes_of_the_average_user(self, trained):
        model = trained("visual_knn")
        ((item, influence),) = explain(model, ["0010"], liked=["0001"])[0].liked
        average = model.user_factors.mean(axis=0) @ model.item_factors[10]
        assert item == "0001"
        assert influence == pytest.approx(model.score([model.fold_in(["0001"])], ["0010"])[0, 0] - average, rel=1e-4)

    def test_the_influence_of_what_is_no_item_is_what_leaving_it_out_changes(self, trained):
        model, rows, liked, nobody = trained("bpr"), np.array([2, 10]), np.array([1, 4]), np.empty(0, dtype=np.int64)
        extra, against = model.item_factors[[7, 11]], model.item_factors[[30]]
        vector = UserVector(model.folded(liked, nobody, extra, against), liked)
        told = explain_vector(model, rows, vector, liked, nobody, extra, against)
        assert [sum(one.parts.values()) for one in told] == pytest.approx(model.score([vector])[0, rows].tolist())
        assert [sorted(item for item, _ in one.liked) for one in told] == [["0001", "0004"]] * 2
        for place in range(2):
            left = model.folded(liked, nobody, np.delete(extra, place, axis=0), against)
            changed = model.item_factors[rows] @ (vector.values - left)
            np.testing.assert_allclose([one.extra[place] for one in told], changed, atol=1e-4)

    def test_the_map_sums_to_what_the_picture_scores_above_a_blank_one(self, trained):
        model = trained("vbpr")
        pixels = np.full((32, 32, 3), 255, dtype=np.uint8)
        pixels[4:14, 18:28] = (200, 30, 30)
        vector = model.user_vector("user-04")
        found = pixel_map(model, vector, pixels, device="cpu")
        assert found.values.sum() == pytest.approx(found.score - found.blank_score, rel=1e-3, abs=1e-4)
        assert not found.values[20:].any()  # the white ground
        assert not found.values[:, :14].any()
        assert np.abs(found.values[4:14, 18:28]).sum() > 0
        blank = pixel_map(model, vector, np.full((32, 32, 3), 255, dtype=np.uint8), device="cpu")
        assert blank.score == pytest.approx(found.blank_score)
        # One of the shape's halves taken away changes the score about as its pixels say.
        half = pixels.copy()
        half[4:14, 18:23] = 255
        change = found.score - pixel_map(model, vector, half, device="cpu").score
        assert found.values[:, 18:23].sum() == pytest.approx(change, rel=0.35)

    def test_the_drawing_shows_the_picture_and_its_map(self, trained):
        model = trained("vbpr")
        pixels = np.full((32, 32, 3), 255, dtype=np.uint8)
        pixels[8:24, 8:24] = (20, 90, 40)
        found = pixel_map(model, model.user_vector("user-04"), pixels, device="cpu")
        drawn = np.asarray(found.drawn(scale=2)).astype(int)
        assert drawn.shape == (64, 128, 3)
        np.testing.assert_allclose(drawn[32, 32], (20, 90, 40), atol=2)
        redness = (drawn[..., 0] - drawn[..., 2])[:, 64:]
        upper = redness[16:48, 16:48].mean()
        assert np.sign(upper) == np.sign(found.values.sum())

    def test_maps_are_saved_for_items_with_pictures(self, trained, bundle, tmp_path):
        model = trained("visual_knn")
        vector = model.user_vector("user-00")
        assert save_maps(model, vector, ["0005", "0002"], bundle, tmp_path / "maps") == ["map-000.png", "map-001.png"]
        drawn = Image.open(tmp_path / "maps" / "map-001.png")
        left = drawn.crop((0, 0, drawn.width // 2, drawn.height)).resize((32, 32))
        own = letterbox(decode_image(bundle.image_bytes([2])[0]), 32)
        assert np.abs(np.asarray(left).astype(int) - np.asarray(own)).mean() < 6
        with pytest.raises(MismatchError):
            save_maps(model, vector, ["0005"], write_bundle(tmp_path / "other", items=61), tmp_path / "more")
        with pytest.raises(SettingsError, match="does not look"):
            save_maps(trained("popularity"), vector, ["0005"], bundle, tmp_path / "more")

    def test_senseless_questions_are_refused(self, trained):
        model = trained("bpr")
        with pytest.raises(SettingsError, match="for whom"):
            explain(model, ["0001"])
        with pytest.raises(SettingsError, match="for whom"):
            explain(model, ["0001"], user="user-01", liked=["0002"])
        with pytest.raises(NotFoundError, match="no item '9999'"):
            explain(model, ["9999"], user="user-01")
        with pytest.raises(SettingsError, match="does not look"):
            pixel_map(model, model.user_vector("user-01"), np.zeros((8, 8, 3), np.uint8))


class TestCommand:
    @pytest.fixture(scope="class")
    def folder(self, trained, tmp_path_factory):
        out = tmp_path_factory.mktemp("models") / "vbpr"
        trained("vbpr").save(out)
        return str(out)

    def test_all_users_into_one_file(self, folder, tmp_path, capsys):
        out = tmp_path / "all.parquet"
        assert run(["recommend", folder, "--all", "--out", str(out), "-k", "3", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"out": str(out), "users": 50, "rows": 150}
        model = load_recommender(folder)
        first = pd.read_parquet(out)["item_id"][:3].tolist()
        assert first == [one.item_id for one in model.recommend([model.user_ids[0]], 3)[0]]
        assert run(["recommend", folder, "--all", "--out", str(out)]) == 2
        assert "exists already" in capsys.readouterr().err

    def test_an_explained_answer(self, folder, bundle, tmp_path, capsys):
        maps = tmp_path / "maps"
        command = ["recommend", folder, "--user", "user-01", "-k", "2", "--explain", "--data", str(bundle.path)]
        assert run([*command, "--out", str(maps), "--json"]) == 0
        for place, item in enumerate(json.loads(capsys.readouterr().out)["items"]):
            assert sum(item["parts"].values()) == pytest.approx(item["score"], rel=1e-6)
            assert {"item_id", "influence"} == set(item["because"][0])
            assert (maps / item["map"]).is_file()
            assert item["map"] == f"map-{place:03d}.png"
        assert run(["recommend", folder, "--liked", "0001", "--explain", "-k", "1"]) == 0
        shown = capsys.readouterr().out
        assert "latent" in shown
        assert "0001" in shown

    def test_somebody_with_photos_and_dislikes_is_answered(self, folder, bundle, tmp_path, capsys):
        photo = tmp_path / "liked.png"
        photo.write_bytes(bundle.image_bytes([7])[0])
        somebody = ["--photo", str(photo), "--liked", "0001", "--disliked", "0002"]
        assert run(["recommend", folder, *somebody, "-k", "4", "--explain", "--json"]) == 0
        items = json.loads(capsys.readouterr().out)["items"]
        model = load_recommender(folder)
        vector = model.fold_in(["0001"], ["0002"], images=[photo.read_bytes()])
        assert [one["item_id"] for one in items] == [one.item_id for one in model.recommend([vector], 4)[0]]
        assert not {"0001", "0002"} & {one["item_id"] for one in items}
        without = model.fold_in(["0001"], ["0002"])
        for one in items:
            liked, of_photo = one["because"]
            assert (liked["item_id"], of_photo["photo"]) == ("0001", str(photo))
            rise = model.item_factors[model.rows_of_items([one["item_id"]])[0]] @ (vector.values - without.values)
            assert of_photo["influence"] == pytest.approx(float(rise), rel=0.05, abs=1e-3)
        (tmp_path / "again.png").write_bytes(photo.read_bytes())
        twice = [*somebody, "--photo", str(tmp_path / "again.png")]
        assert run(["recommend", folder, *twice, "-k", "4", "--explain", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["items"] == items  # one photo, given twice
        assert run(["recommend", folder, "--disliked", "0002", "--explain", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["items"][0]["because"] == []
        for place, words in (
            (tmp_path / "none.png", "cannot be read"),
            (tmp_path, "cannot be read"),
            ("/dev/zero", "no pic"),
        ):
            assert run(["recommend", folder, "--photo", str(place)]) == 2
            assert words in capsys.readouterr().err

    def test_an_index_tells_its_recall(self, folder, capsys):
        assert run(["recommend", folder, "--user", "user-01", "--index", "hnsw"]) == 0
        assert "of the exact 20 best" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ([], "say for whom"),
            (["--all", "--user", "user-01"], "say for whom"),
            (["--all"], "--out"),
            (["--all", "--out", "x", "--explain"], "--all gives"),
            (["--user", "user-01", "--out", "x"], "--out is for"),
            (["--user", "user-01", "--data", "x", "--out", "y"], "--data is for"),
            (["--user", "user-01", "--index", "tree"], "no index 'tree'"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, folder, options, words, capsys):
        assert run(["recommend", folder, *options]) == 2
        assert words in " ".join(capsys.readouterr().err.split())
