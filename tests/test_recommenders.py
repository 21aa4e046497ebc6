"""The contract that every recommender keeps, checked on each of them.

The catalogue has three tastes: a user takes two stray items, then eight of the twelve of one taste. How an item looks
tells its taste, so every model but `popularity` can learn it, and visual models know it of cold items too.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits
from torch import nn

from recgan.config import (
    ALSSettings,
    BlendSettings,
    BPRMFSettings,
    BPRSettings,
    CategorySettings,
    DVBPRSettings,
    EmbedSettings,
    PopularitySettings,
    SplitSettings,
    VBPRSettings,
    VBPRSSMSettings,
    WARPSettings,
)
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import TRANSFORM, decode_image, pixel_digest, to_float
from recgan.dataset.split import Pairs, make_split
from recgan.encoders import Encoder, Features, embed_items, register_encoder
from recgan.encoders.registry import _LOADERS
from recgan.errors import (
    ArtifactError,
    DataError,
    MismatchError,
    NotFoundError,
    SettingsError,
    StorageError,
    TrainingError,
)
from recgan.metrics.ranking import auc, rank_counts
from recgan.recommenders import (
    CONTROLS,
    UserVector,
    create_recommender,
    load_recommender,
    recommender_names,
    recommender_type,
    train_recommender,
    training_data,
)
from recgan.recommenders.data import ItemImages, TrainingData, concatenated, item_images
from recgan.recommenders.topk import small
from tests.conftest import draw_item, write_bundle

MODELS = recommender_names()
VISUAL = [name for name in MODELS if recommender_type(name).visual]
BASELINES = ["popularity", "repurchase", "category"]
"""They cannot learn the tastes of this catalogue, and know no likeness."""
COUNTING = ["popularity", "repurchase"]
"""What one user takes changes what they say to all."""
LEARNING = [name for name in MODELS if name not in BASELINES]
TASTES, PER_TASTE, USERS = 3, 12, 90
ENCODER = "test-average"
EMBED = EmbedSettings(encoder=ENCODER, size=32)


def average_encoder() -> Encoder:
    """Mean colour of a 6 x 6 grid: fast, and shape shows in it."""
    body = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten())
    return Encoder(ENCODER, body, dim=108, input_size=48, mean=(0.5,) * 3, std=(0.5,) * 3)


def settings_of(name):
    """Settings under which a model learns this small catalogue in a second."""
    if name == "vbpr":
        return VBPRSettings(
            latent_dim=4,
            visual_dim=4,
            width=16,
            epochs=15,
            batch_size=32,
            learning_rate=0.05,
            visual_regularisation=0.03,
            cold_bias=0,
        )
    if name == "vbpr_ssm":
        return VBPRSSMSettings(
            latent_dim=4, visual_dim=4, width=16, epochs=15, batch_size=64, visual_regularisation=0.3, cold_bias=0
        )
    if name == "dvbpr":
        return DVBPRSettings(
            backbone=ENCODER,
            dim=16,
            frozen_epochs=10,
            epochs=15,
            batch_size=32,
            learning_rate=1e-3,
            factor_learning_rate=0.05,
            head_learning_rate=3e-4,
            user_regularisation=0.03,
        )
    if name == "bpr_mf":
        return BPRMFSettings(latent_dim=4, epochs=60, batch_size=32)
    if name == "warp":
        return WARPSettings(latent_dim=4, epochs=60, batch_size=32, learning_rate=0.05, latent_regularisation=0.03)
    if name == "blend":
        parts = {"vbpr_ssm": settings_of("vbpr_ssm"), "als": settings_of("als")}
        options = {part: settings.model_dump(exclude_unset=True) for part, settings in parts.items()}
        del options["vbpr_ssm"]["width"]
        return BlendSettings(options=options, width=16, cold_bias=0)
    if name == "bpr":
        return BPRSettings(factors=8, learning_rate=0.1, epochs=300)
    if name == "als":
        return ALSSettings(factors=5, confidence=10)
    return None


@pytest.fixture(scope="module", autouse=True)
def encoder():
    register_encoder(ENCODER, average_encoder)
    yield
    del _LOADERS[ENCODER]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    rng = np.random.default_rng(0)
    count = TASTES * PER_TASTE
    ids = [f"{number:03d}" for number in range(count)]
    out = tmp_path_factory.mktemp("tastes") / "bundle"
    rows = []
    for user in range(USERS):
        own = np.arange(count) % TASTES == user % TASTES
        strays = rng.choice(np.flatnonzero(~own), 2, replace=False)
        for step, item in enumerate([*strays, *rng.choice(np.flatnonzero(own), 8, replace=False)]):
            rows.append((f"user-{user:02d}", ids[item], pd.Timestamp("2025-01-01") + pd.Timedelta(days=step)))
    with BundleWriter(out, name="tastes", licence="CC0-1.0", source="drawn by the tests") as writer:
        for number, item_id in enumerate(ids):
            data = draw_item(number % TASTES, rng, 32)
            writer.add_image(item_id, data, sha256=pixel_digest(decode_image(data)))
        items = pd.DataFrame({"item_id": ids})
        items["category"] = np.where(np.arange(count) % 4 < 2, "new", "old")
        items["colour"] = np.array(["red", "green", "blue", "grey", "pink"])[np.arange(count) % 5]
        items["price"] = np.arange(count) * 10
        items["available"] = np.arange(count) != 7
        writer.set_items(items)
        writer.set_interactions(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]))
    return Bundle.open(out)


@pytest.fixture(scope="module")
def split(bundle):
    return make_split(bundle, SplitSettings(cold_share=0.2))


@pytest.fixture(scope="module")
def data(bundle, split, encoder):
    return training_data(bundle, split, embed_items(bundle, EMBED, device="cpu"), item_images(bundle, 32))


@pytest.fixture(scope="module")
def trained(data):
    models = {}

    def get(name):
        if name not in models:
            models[name] = create_recommender(name, settings_of(name)).fit(data, seed=0, device="cpu")
        return models[name]

    return get


@pytest.fixture(params=MODELS)
def model(request, trained):
    return trained(request.param)


@pytest.fixture(params=LEARNING)
def learning_model(request, trained):
    return trained(request.param)


@pytest.fixture(params=VISUAL)
def visual_model(request, trained):
    return trained(request.param)


def brute_force(model, user_row, allowed, k):
    """Row numbers of the best allowed items, by a plain sort."""
    scores = model.scores_of(np.array([user_row]))[0].astype(float)
    order = sorted(np.flatnonzero(allowed), key=lambda item: (-scores[item], item))
    return [model.item_ids[item] for item in order[:k]]


def ids(answer):
    return [one.item_id for one in answer]


class TestLearning:
    def test_held_out_items_score_above_the_rest(self, learning_model, split):
        known = concatenated(split.train, split.validation, split.withheld, split.test)
        cold = split.cold[split.test.items]

        def mean_auc(scores, judged):
            counts = rank_counts(scores, split.test.users, split.test.items, known.users, known.items, split.candidates)
            return np.nanmean(auc(counts.where(judged), split.n_users))

        # Who knows everybody's taste, and nothing else, is the ceiling; 0.5 is to know nothing.
        truth = (np.arange(USERS)[:, None] % TASTES == np.arange(split.n_items) % TASTES).astype(np.float32)
        scores = learning_model.score(list(split.user_ids))

        def share(judged):
            return (mean_auc(scores, judged) - 0.5) / (mean_auc(truth, judged) - 0.5)

        assert share(~cold) > (0.9 if learning_model.visual else 0.7)
        if learning_model.visual:
            # A model without eyes that puts cold items between what is liked and what is not comes half the way.
            assert cold.sum() >= 15
            assert share(cold) > 0.65

    def test_popularity_counts_users(self, trained, split):
        expected = np.bincount(split.train.items, minlength=split.n_items)
        assert trained("popularity").score(["user-03"])[0].tolist() == expected.tolist()

    @pytest.mark.parametrize("within", ["even", "popularity"])
    def test_category_is_the_chance_that_the_item_is_next(self, data, within):
        model = create_recommender("category", CategorySettings(smoothing=3, within=within)).fit(data)
        taken = data.train.items[data.train.users == 4]
        weights = np.where(data.candidates, 1 + data.item_counts * (within == "popularity"), 0)
        for category in (0, 1):
            inside = data.category_index == category
            prior = 3 * inside[data.train.items].mean()
            share = (inside[taken].sum() + prior) / (len(taken) + 3)
            scores = model.score([data.user_ids[4]])[0]
            np.testing.assert_allclose(scores[inside], share * (weights / weights[inside].sum())[inside], rtol=1e-5)

    def test_visual_knn_is_the_mean_cosine_to_the_history(self, trained, split):
        model = trained("visual_knn")
        features = model.item_features.astype(np.float64)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        history = split.train.items[split.train.users == 4]
        expected = (unit @ unit[history].T).mean(axis=1)
        np.testing.assert_allclose(model.score([split.user_ids[4]])[0], expected, atol=1e-5)

    def test_the_same_seed_gives_the_same_model(self, model, data):
        again = create_recommender(model.name, settings_of(model.name)).fit(data, seed=0, device="cpu")
        np.testing.assert_array_equal(again.user_factors, model.user_factors)
        np.testing.assert_array_equal(again.item_factors, model.item_factors)

    @pytest.mark.parametrize("name", ["bpr", "als", "bpr_mf", "vbpr", "vbpr_ssm"])
    def test_another_seed_gives_another_model(self, name, trained, data):
        other = create_recommender(name, settings_of(name)).fit(data, seed=1, device="cpu")
        assert not np.array_equal(other.user_factors, trained(name).user_factors)

    def test_users_without_training_are_the_mean_user(self, model, data):
        keep = data.train.users != 5
        less = replace(data, train=Pairs(data.train.users[keep], data.train.items[keep]))
        again = create_recommender(model.name, settings_of(model.name)).fit(less, seed=0, device="cpu")
        others = np.delete(again.user_factors, 5, axis=0)
        np.testing.assert_allclose(again.user_factors[5], others.mean(axis=0), atol=1e-5)

    @pytest.mark.parametrize("name", VISUAL)
    def test_a_visual_model_needs_features(self, name, bundle, split):
        with pytest.raises(DataError, match=f"'{name}' needs (features|images)"):
            create_recommender(name).fit(training_data(bundle, split))

    @pytest.mark.parametrize("name", ["bpr", "als"])
    def test_implicit_has_nothing_to_warn_of(self, name, data, monkeypatch):
        monkeypatch.setattr("implicit.utils._checked_blas_config", False)
        with threadpool_limits(2, "blas"), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            create_recommender(name, settings_of(name)).fit(data, seed=0, device="cpu")
        assert [str(one.message) for one in said] == []

    def test_a_diverging_training_is_an_error(self, data):
        wild = VBPRSettings(latent_dim=4, visual_dim=4, learning_rate=1e30, visual_learning_rate=1e30)
        with pytest.raises(TrainingError, match="lower"):
            create_recommender("vbpr", wild).fit(data, device="cpu")

    @pytest.mark.parametrize("name", ["bpr", "als"])
    def test_the_scores_are_those_of_implicits_own_model(self, name, data, monkeypatch):
        kind, kept = {"bpr": BayesianPersonalizedRanking, "als": AlternatingLeastSquares}[name], []
        fit = kind.fit
        monkeypatch.setattr(kind, "fit", lambda own, *given, **named: kept.append(own) or fit(own, *given, **named))
        model = create_recommender(name, settings_of(name)).fit(data, seed=0, device="cpu")
        assert len(kept) == 1
        nothing = csr_matrix((USERS, data.n_items), dtype=np.float32)
        rows, scores = kept[0].recommend(np.arange(USERS), nothing, N=data.n_items, filter_already_liked_items=False)
        expected = np.take_along_axis(scores, np.argsort(rows, axis=1), axis=1)
        assert np.ptp(expected) > 1
        if name == "bpr":  # in items that it never saw there is only the random start, which is left out
            cold = data.item_counts == 0
            expected[:, cold] = kept[0].item_factors[cold, -1]
            assert (np.ptp(kept[0].item_factors[:, -1]) > 0.1) & cold.any()
        np.testing.assert_allclose(model.score(list(data.user_ids)), expected, rtol=1e-4, atol=1e-5)

    def test_asking_an_untrained_model_is_an_error(self, model):
        fresh = create_recommender(model.name)
        for ask in (lambda: fresh.recommend(["user-00"]), lambda: fresh.score(["user-00"]), lambda: fresh.save("x")):
            with pytest.raises(SettingsError, match="not trained"):
                ask()


class TestSingleInteractions:
    """Users who took one item, and nothing else is known of them."""

    @pytest.fixture
    def of(self, data):
        """Leave of the first so many users their first item."""

        def reduce(count):
            _, first = np.unique(data.train.users, return_index=True)
            is_first = np.isin(np.arange(len(data.train)), first)

            def others(pairs):
                return pairs.where(pairs.users >= count)

            return replace(
                data,
                train=data.train.where(is_first | (data.train.users >= count)),
                validation=others(data.validation),
                withheld=others(data.withheld),
                repeats=others(data.repeats),
            )

        return reduce

    @pytest.mark.parametrize("name", MODELS)
    def test_they_are_served_beside_the_others(self, name, of):
        data, single = of(30), [f"user-{row:02d}" for row in range(30)]
        counts = np.bincount(data.train.users)
        assert counts[30:].max() > counts[:30].max() == 1
        model = create_recommender(name, settings_of(name)).fit(data, seed=0, device="cpu")
        assert np.isfinite(model.score(list(data.user_ids))).all()
        for row, answer in enumerate(model.recommend(single, 1000)):
            taken = model.item_ids[data.train.items[data.train.users == row]].tolist()
            assert sorted(ids(answer)) == sorted({*model.item_ids} - {"007", *taken})
            assert np.isfinite([one.score for one in answer]).all()

    @pytest.mark.parametrize("name", MODELS)
    def test_where_there_are_no_others_a_model_learns_or_says_in_a_line_that_it_cannot(self, name, of):
        data, model = of(USERS), create_recommender(name, settings_of(name))
        assert len(data.train) == len(np.unique(data.train.users)) > 80
        if name in ("ideal_point", "blend"):  # of which that is a part
            with pytest.raises(DataError, match=r"\A[^\n]*users with at least two items; use more[^\n]*\Z"):
                model.fit(data, seed=0, device="cpu")
            return
        model.fit(data, seed=0, device="cpu")
        assert np.isfinite(model.score(list(data.user_ids))).all()
        answers = model.recommend(list(data.user_ids[data.train.users]), 5)
        for item, answer in zip(data.train.items, answers, strict=True):
            assert len(answer) == 5
            assert model.item_ids[item] not in ids(answer)


class TestCheckerboard:
    """A matrix that can be checked by hand: users take items of their own parity, all but the one of their number."""

    SIZE = 20

    @pytest.fixture(scope="class")
    def board(self):
        number = np.arange(self.SIZE)
        taken = (number[:, None] % 2 == number % 2) & (number[:, None] != number)
        looks = np.random.default_rng(0).normal(scale=0.3, size=(self.SIZE, 8)).astype(np.float32)
        looks += 3 * (number % 2)[:, None]
        pixels = np.random.default_rng(0).integers(0, 100, (self.SIZE, 32, 32, 3), dtype=np.uint8)
        pixels[number, ..., 2 * (number % 2)] += 120  # red or blue
        nothing = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
        names = np.array([f"{each:02d}" for each in number], dtype=object)
        return TrainingData(
            user_ids=names,
            items=pd.DataFrame(
                {"item_id": names, "category": np.array(["even", "odd"])[number % 2], "available": True}
            ),
            category_names=("even", "odd"),
            category_index=number % 2,
            candidates=np.ones(self.SIZE, dtype=bool),
            train=Pairs(*np.nonzero(taken)),
            validation=nothing,
            withheld=nothing,
            images=ItemImages(pixels, number, 32, TRANSFORM),
            features=Features(looks, np.ones(self.SIZE, dtype=bool), ENCODER, "", 32, "", ""),
            catalogue_digest="",
            split_digest="",
            split_settings={},
        )

    @pytest.mark.parametrize("name", [*(name for name in MODELS if name not in COUNTING), "dvbpr cnn_f"])
    def test_the_one_item_left_out_is_what_is_recommended(self, board, name):
        name, _, backbone = name.partition(" ")
        settings = settings_of(name)
        if backbone:  # from scratch
            own = {"backbone": backbone, "input_size": 32, "hidden": 32, "frozen_epochs": 0}
            settings = settings.model_copy(update=own)
        if "width" in getattr(settings, "model_fields_set", ()):
            settings = settings.model_copy(update={"width": 4, "batch_size": 8})
        model = create_recommender(name, settings).fit(board, seed=0, device="cpu")
        answers = model.recommend(list(board.user_ids), 1)
        assert [ids(answer) for answer in answers] == [[name] for name in board.user_ids]

    def test_popularity_ranks_all_alike(self, board):
        scores = create_recommender("popularity").fit(board).score(list(board.user_ids))
        assert (scores == self.SIZE // 2 - 1).all()

    def test_repurchase_takes_the_same_again_and_then_what_is_popular(self, board):
        # User 3 takes item 5 twice more; user 5 takes item 7 thrice more: so it is the most popular one.
        again = Pairs(np.array([3, 3, 5, 5, 5]), np.array([5, 5, 7, 7, 7]))
        model = create_recommender("repurchase").fit(replace(board, repeats=again))
        own = [f"{item:02d}" for item in range(1, self.SIZE, 2) if item not in (3, 5, 7)]
        others = [f"{item:02d}" for item in range(0, self.SIZE, 2)]
        # Own items: 5 thrice, 7 before the rest by popularity; then everything else, 3 the first of the equals.
        expected = ["05", "07", *own, *sorted(["03", *others])]
        assert ids(model.recommend(["03"], self.SIZE, exclude_seen=False)[0]) == expected
        assert ids(model.recommend(["03"], 3, exclude_seen=False)[0]) == expected[:3]
        assert ids(model.recommend(["03"], self.SIZE)[0]) == sorted(["03", *others])
        # n + p / 2: item 5 was taken 9 + 2 times by all, item 7, the most popular, 9 + 3 times.
        scores = model.score(["03", "04"], ["05", "07", "03"])
        np.testing.assert_allclose(scores, [[3 + 11 / 24, 1.5, 9 / 24], [11 / 24, 0.5, 9 / 24]], rtol=1e-6)


class TestRecommending:
    def test_score_is_one_inner_product(self, model):
        wanted = ["011", "002"]
        scores = model.score(["user-09", "user-01"], wanted)
        expected = model.user_factors[[9, 1]] @ model.item_factors[[11, 2]].T
        if model.own is not None:
            expected += [[model.own[row][model.seen[row] == item].sum() for item in (11, 2)] for row in (9, 1)]
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
        assert model.score(["user-09"]).shape == (1, TASTES * PER_TASTE)

    @pytest.mark.parametrize("k", [1, 5, 1000])
    def test_seen_and_unavailable_items_are_left_out(self, model, split, k):
        answers = model.recommend([f"user-{row:02d}" for row in range(USERS)], k)
        for row, answer in enumerate(answers):
            allowed = model.items["available"].to_numpy().copy()
            for known in (split.train, split.withheld):
                allowed[known.items[known.users == row]] = False
            assert ids(answer) == brute_force(model, row, allowed, k)
            assert len(answer) == min(k, allowed.sum())

    def test_seen_items_can_be_kept(self, model):
        everything = ids(model.recommend(["user-00"], 1000, exclude_seen=False)[0])
        assert sorted(everything) == sorted(set(model.item_ids) - {"007"})

    def test_filters_come_before_the_top_k(self, model):
        items = model.items
        asked = {
            "categories": ["new"],
            "where": {"colour": ["red", "blue"]},
            "candidates": [f"{n:03d}" for n in range(30)],
        }
        answer = model.recommend(["user-02"], 3, exclude_seen=False, **asked)[0]
        allowed = (
            items["available"]
            & (items["category"] == "new")
            & items["colour"].isin(["red", "blue"])
            & (items.index < 30)
        ).to_numpy()
        assert ids(answer) == brute_force(model, 2, allowed, 3)
        assert len(answer) == 3
        assert all(one.category == "new" for one in answer)

    def test_conditions_can_be_masks_functions_and_values(self, model):
        cheap = ids(model.recommend(["user-00"], 50, exclude_seen=False, where=lambda items: items["price"] < 50)[0])
        assert sorted(cheap) == ["000", "001", "002", "003", "004"]
        mask = model.items["price"].to_numpy() < 50
        assert ids(model.recommend(["user-00"], 50, exclude_seen=False, where=mask)[0]) == cheap
        for price in (20, "20"):
            assert ids(model.recommend(["user-00"], 5, exclude_seen=False, where={"price": price})[0]) == ["002"]

    def test_filters_that_leave_nothing_give_an_empty_list(self, model):
        assert model.recommend(["user-00", "user-01"], 5, candidates=["007"]) == [[], []]
        assert model.recommend(["user-00"], 5, candidates=[]) == [[]]
        assert model.recommend(["user-00"], 5, where={"colour": "purple"}) == [[]]
        assert model.recommend([], 5) == []

    @pytest.mark.parametrize(
        ("changed", "error", "words"),
        [
            (lambda items: items.sample(frac=1, random_state=0), MismatchError, "not those"),
            (lambda items: items.head(10), MismatchError, "not those"),
            (lambda items: items.drop(columns="available"), DataError, "no column 'available'"),
            (lambda items: items.assign(available="False"), DataError, "true or false"),
            (lambda items: items.assign(available=None), DataError, "true or false"),
            (lambda items: items.assign(category=None), DataError, "item '000' has no category"),
        ],
    )
    def test_a_table_of_items_that_is_none_is_refused(self, trained, changed, error, words):
        model = trained("popularity")
        before = model.items
        with pytest.raises(error, match=words):
            model.items = changed(model.items)
        assert model.items is before

    def test_another_table_of_items_counts_from_then_on(self, trained, tmp_path):
        trained("popularity").save(tmp_path / "model")
        model = load_recommender(tmp_path / "model")
        model.items = model.items.assign(available=False, category="sold")
        assert model.recommend(["user-05"], 6) == [[]]
        model.items = model.items.assign(available=True)
        assert {one.category for one in model.recommend(["user-05"], 6, categories=["sold"])[0]} == {"sold"}

    def test_scores_in_an_answer_are_the_scores(self, model):
        answer = model.recommend(["user-05"], 6)[0]
        np.testing.assert_allclose([one.score for one in answer], model.score(["user-05"], ids(answer))[0], rtol=1e-5)
        assert [one.score for one in answer] == sorted((one.score for one in answer), reverse=True)

    def test_chunks_change_nothing(self, model, monkeypatch):
        users = [f"user-{row:02d}" for row in range(USERS)]
        whole = [ids(answer) for answer in model.recommend(users, 7)]
        monkeypatch.setattr("recgan.recommenders.topk.exact._DENSE_VALUES", 100)
        assert [ids(answer) for answer in model.recommend(users, 7)] == whole

    @pytest.mark.parametrize("name", MODELS)
    def test_packed_items_change_no_list(self, name, trained, bundle, tmp_path, monkeypatch):
        trained(name).save(tmp_path / "model")
        model = load_recommender(tmp_path / "model")
        requests = [
            {"users": [f"user-{row:02d}"], "k": k, **options}
            for row in range(0, USERS, 9)
            for k in (1, 5)
            for options in ({}, {"exclude_seen": False}, {"categories": ["new"]}, {"where": {"colour": "red"}})
        ]
        before = [model.recommend(**request) for request in requests]
        monkeypatch.setattr(small, "_RUN", 4)  # of 36 items
        monkeypatch.setattr(small.SmallScreen, "pays", lambda: True)
        asked = []
        screened = small.SmallScreen.candidates
        monkeypatch.setattr(small.SmallScreen, "candidates", lambda *arguments: asked.append(1) or screened(*arguments))
        model.pack()
        assert [model.recommend(**request) for request in requests] == before
        assert len(asked) >= len(requests) // 2
        if not model.visual:
            return
        # Items that come later are not in what was packed.
        picture = bundle.image_bytes([0])[0]
        model.add_items(["later"], [picture], ["new"])
        asked.clear()
        assert ids(model.recommend(["user-00"], 1, candidates=["later"])[0]) == ["later"]
        assert not asked

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"users": ["user-1"]}, NotFoundError, "did you mean 'user-"),
            ({"users": "user-01"}, SettingsError, "list of users"),
            ({"users": [7]}, NotFoundError, "strings"),
            ({"k": 0}, SettingsError, "k=0"),
            ({"categories": ["neu"]}, NotFoundError, "did you mean 'new'"),
            ({"categories": "new"}, SettingsError, "list of categories"),
            ({"where": {"color": "red"}}, NotFoundError, "did you mean 'colour'"),
            ({"where": np.ones(3, dtype=bool)}, SettingsError, "bool \\[36\\]"),
            ({"where": lambda items: items["price"]}, SettingsError, "bool \\[36\\]"),
            ({"candidates": ["00"]}, NotFoundError, "no item '00'"),
        ],
    )
    def test_a_wrong_request_is_refused(self, model, options, error, words):
        with pytest.raises(error, match=words):
            model.recommend(**{"users": ["user-01"], "k": 5, **options})


class TestUsers:
    def test_a_known_user_by_vector_and_by_id_is_the_same(self, model):
        vector = model.user_vector("user-08")
        assert model.recommend([vector], 9) == model.recommend(["user-08"], 9)
        both = model.score([vector, "user-08"])
        np.testing.assert_array_equal(both[0], both[1])

    def test_fold_in_agrees_with_training(self, model, split):
        agreement = []
        for row in range(0, USERS, 3):
            history = [str(one) for one in model.item_ids[split.train.items[split.train.users == row]]]
            vector = model.fold_in(history)
            assert [model.item_ids[seen] for seen in vector.seen] == sorted(history)
            agreement.append(spearmanr(model.score([vector])[0], model.score([f"user-{row:02d}"])[0]).statistic)
        exact = model.name in ("popularity", "repurchase", "visual_knn")
        assert np.mean(agreement) > (0.999 if exact else 0.8)

    def test_partial_fit_agrees_with_training_anew(self, model, data):
        """Mean rank correlation with a retrained model's scores: over 0.95 for those whose items do not learn."""
        later = (data.train.users % 15 == 2) & (np.arange(len(data.train)) % 3 > 0) | (data.train.users == 5)
        less = replace(data, train=data.train.where(~later))
        updated = create_recommender(model.name, settings_of(model.name)).fit(less, seed=0, device="cpu")
        updated.partial_fit(data.user_ids[data.train.users[later]], data.items["item_id"][data.train.items[later]])
        users = list(data.user_ids[np.unique(data.train.users[later])])
        agreement = [spearmanr(*scores).statistic for scores in zip(updated.score(users), model.score(users))]
        assert np.mean(agreement) > (0.95 if model.name in (*BASELINES, "visual_knn") else 0.7)
        assert updated.split_digest == ""
        for row in (2, 5):
            np.testing.assert_array_equal(updated.seen[row], model.seen[row])

    def test_partial_fit_adds_users_and_takes_repeats(self, model, data, tmp_path):
        model.save(tmp_path / "model")
        updated = load_recommender(tmp_path / "model")
        updated.partial_fit(["new", "new", "new", "user-03"], ["001", "004", "001", "002"])
        np.testing.assert_allclose(
            updated.user_vector("new").values, model.fold_in(["001", "004"]).values, rtol=1e-4, atol=1e-6
        )
        assert updated.seen[len(data.user_ids)].tolist() == [1, 4]
        assert "002" not in ids(updated.recommend(["user-03"], 1000)[0])
        untouched = [user for user in data.user_ids if user != "user-03"]
        if model.name not in COUNTING:
            np.testing.assert_array_equal(updated.score(untouched), model.score(untouched))
        elif model.name == "popularity":
            assert updated.score(["new"])[0, 1] == model.score(["user-00"])[0, 1] + 1
        else:
            assert updated.own[len(data.user_ids)].tolist() == [2, 1]  # 001 was taken twice
        with pytest.raises(NotFoundError, match="no item 'nothing'"):
            updated.partial_fit(["new"], ["nothing"])
        with pytest.raises(DataError, match="1 users and 2 items"):
            updated.partial_fit(["new"], ["001", "002"])

    def test_fold_in_leaves_out_what_was_given_and_finds_the_taste(self, learning_model):
        given = ["001", "004", "010"]
        answer = learning_model.recommend([learning_model.fold_in(given)], 1000)[0]
        assert not set(given) & set(ids(answer))
        own = [int(one.item_id) % TASTES == 1 for one in answer]
        assert roc_auc_score(own, [one.score for one in answer]) > 0.7

    def test_dislikes_push_their_kind_down(self, learning_model):
        kind = [f"{number:03d}" for number in range(2, 36, 3) if number != 2]
        liked = learning_model.fold_in(["000", "003"])
        warned = learning_model.fold_in(["000", "003"], disliked=["002", "005"])
        only_warned = learning_model.fold_in(disliked=["002", "005"])
        nobody = learning_model.fold_in()

        def standing(vector):
            scores = learning_model.score([vector])[0]
            return np.mean(scores[[int(item) for item in kind]]) - np.mean(scores)

        assert standing(warned) <= standing(liked) + 1e-6
        assert standing(only_warned) < standing(nobody)

        # The same of items that are not in the catalogue.
        none = np.empty(0, dtype=np.int64)
        against = learning_model.folded(none, none, None, learning_model.item_factors[[2, 5]])
        assert standing(UserVector(against)) < standing(nobody)
        np.testing.assert_allclose(against, only_warned.values, rtol=0.2, atol=0.2)

    @pytest.mark.parametrize("within", ["even", "popularity"])
    def test_category_gives_a_new_user_what_one_in_training_has(self, data, within):
        # Some users took little, and of one category: everybody's share is not the users' mean one.
        train = data.train.where((data.train.users > 20) | (data.category_index[data.train.items] == 0))
        settings = CategorySettings(smoothing=7, within=within)
        model = create_recommender("category", settings).fit(replace(data, train=train))
        for user in (0, 40):
            history = model.item_ids[train.items[train.users == user]]
            folded = model.fold_in(history.tolist()).values
            np.testing.assert_allclose(folded, model.user_factors[user], rtol=1e-6)

    def test_nothing_given_is_the_average_user(self, model):
        vector = model.fold_in()
        np.testing.assert_allclose(vector.values, model.user_factors.mean(axis=0), rtol=1e-5)
        assert len(vector.seen) == 0

    def test_fold_in_is_deterministic_and_takes_repeats(self, model):
        one, other = model.fold_in(["001", "004"]), model.fold_in(["004", "001", "001"])
        np.testing.assert_allclose(one.values, other.values, atol=1e-6)

    def test_wrong_users_are_refused(self, model, trained):
        with pytest.raises(NotFoundError, match="no item"):
            model.fold_in(["nothing"])
        with pytest.raises(DataError, match="both liked and disliked"):
            model.fold_in(["001"], disliked=["001"])
        with pytest.raises(NotFoundError, match="no user"):
            model.user_vector("nobody at all")
        other = trained("popularity" if model.name not in COUNTING else "vbpr")
        with pytest.raises(MismatchError, match="does not fit"):
            model.recommend([other.user_vector("user-00")])

    @pytest.mark.parametrize("name", ["vbpr", "als", "bpr_mf"])
    def test_a_vector_of_another_training_is_refused_and_that_of_a_copy_is_not(self, name, trained, data, tmp_path):
        model = trained(name)
        settings = settings_of(name)
        other = create_recommender(name, settings).fit(data, seed=3, device="cpu")
        assert other.item_factors.shape == model.item_factors.shape
        model.save(tmp_path / "model")
        copy, vectors = load_recommender(tmp_path / "model"), [model.fold_in(["001"]), model.user_vector("user-00")]
        assert copy.recommend(vectors, 3) == model.recommend(vectors, 3)
        for vector in vectors:
            for ask in (lambda v=vector: other.recommend([v]), lambda v=vector: other.score([v])):
                with pytest.raises(MismatchError, match=r"does not fit this .*; fold the user in with this model"):
                    ask()
        if model.visual:
            with pytest.raises(MismatchError, match="fold the user in with this model"):
                other.preference(vectors[0], torch.zeros(2, 108))
        assert model.recommend([UserVector(vectors[0].values, vectors[0].seen)], 3) == model.recommend(vectors[:1], 3)

    @pytest.mark.parametrize(
        ("values", "seen"),
        [
            (lambda n: np.full(n, 1e100), []),
            (lambda n: np.full(n, 1e300), []),
            (lambda n: np.ones(n), [10**6]),
            (lambda n: np.ones(n), [-1]),
            (lambda n: np.ones(n), [0.5]),
        ],
    )
    def test_vectors_of_no_user_are_refused(self, model, values, seen):
        seen = np.array(seen) if seen else np.empty(0, dtype=np.int64)
        with pytest.raises(DataError, match="a user vector"):
            model.recommend([UserVector(values(model.item_factors.shape[1]), seen)], 3)

    def test_ids_that_are_no_strings_and_vectors_that_are_no_numbers_are_refused(self, data):
        model = create_recommender("vbpr", settings_of("vbpr")).fit(data, seed=0, device="cpu")
        before = model.user_ids.tolist(), model.item_ids.tolist()
        picture = np.zeros((1, 8, 8, 3), dtype=np.uint8)
        for call in (
            lambda: model.partial_fit([17], ["001"]),
            lambda: model.partial_fit([None], ["001"]),
            lambda: model.partial_fit("ab", ["001", "002"]),
            lambda: model.add_items([17], picture, [model.category_names[0]]),
            lambda: model.add_items("x", picture, [model.category_names[0]]),
        ):
            with pytest.raises(SettingsError, match=r"(ids are strings, and .* is|not the single string)"):
                call()
        assert (model.user_ids.tolist(), model.item_ids.tolist()) == before
        nowhere = UserVector(np.full(model.user_factors.shape[1], np.nan, dtype=np.float32))
        with pytest.raises(DataError, match="not finite; fold the user in again"):
            model.recommend([nowhere])

    @pytest.mark.parametrize("k", [0, -3, 1.5, "3", None, True])
    def test_a_number_of_items_that_is_none_is_refused(self, trained, k):
        model = trained("popularity")
        for ask in (lambda: model.recommend([str(model.user_ids[0])], k), lambda: trained("vbpr").similar("001", k)):
            with pytest.raises(SettingsError, match=f"k={k}: ask for a whole number of items, at least one"):
                ask()


class TestSimilar:
    def test_the_most_alike_by_cosine(self, learning_model):
        model = learning_model
        if model.visual:
            assert model.similarity_space == "visual"
            vectors = model.item_features.astype(np.float64)
        else:
            assert model.similarity_space == "factors"
            bias = {"bpr": -1, "bpr_mf": 0, "warp": 0}.get(model.name)
            vectors = model.item_factors.astype(np.float64)
            vectors = vectors if bias is None else np.delete(vectors, bias, axis=1)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = unit @ unit[8]
        allowed = model.items["available"].to_numpy() & (model.items["category"] == "old").to_numpy()
        allowed[8] = False
        expected = sorted(np.flatnonzero(allowed), key=lambda item: -cosines[item])[:4]
        answer = model.similar("008", 4, categories=["old"])
        assert ids(answer) == [model.item_ids[item] for item in expected]
        np.testing.assert_allclose([one.score for one in answer], cosines[expected], atol=1e-5)

    def test_it_gives_all_that_there_are_and_never_itself(self, learning_model):
        answer = ids(learning_model.similar("008", 1000))
        assert sorted(answer) == sorted(set(learning_model.item_ids) - {"007", "008"})

    @pytest.mark.parametrize("name", BASELINES)
    def test_baselines_know_no_likeness(self, name, trained):
        assert trained(name).similarity_space == "none"
        with pytest.raises(SettingsError, match="visual_knn"):
            trained(name).similar("001")

    def test_wrong_requests_are_refused(self, learning_model):
        with pytest.raises(NotFoundError, match="no item"):
            learning_model.similar("nothing")
        with pytest.raises(SettingsError, match="k=0"):
            learning_model.similar("001", 0)


class TestKeeping:
    def test_a_saved_model_serves_alone(self, model, tmp_path, bundle):
        model.save(tmp_path / "model")
        loaded = load_recommender(tmp_path / "model")
        users = [f"user-{row:02d}" for row in range(USERS)]
        np.testing.assert_array_equal(loaded.score(users), model.score(users))
        asked = {"k": 6, "categories": ["new"], "where": {"colour": "red"}}
        assert loaded.recommend(users, **asked) == model.recommend(users, **asked)
        np.testing.assert_array_equal(loaded.fold_in(["001"]).values, model.fold_in(["001"]).values)
        assert (loaded.settings, loaded.metrics, loaded.facts) == (model.settings, model.metrics, model.facts)
        assert loaded.chosen_settings() == model.chosen_settings()
        assert (loaded.catalogue_digest, loaded.split_digest) == (model.catalogue_digest, model.split_digest)
        assert loaded.category_names == model.category_names == ("new", "old")
        if model.name not in BASELINES:
            assert loaded.similar("008", 5) == model.similar("008", 5)
        if model.visual:
            features = torch.rand(3, loaded.load_encoder("cpu").dim)
            vector = loaded.user_vector("user-00")
            torch.testing.assert_close(loaded.preference(vector, features), model.preference(vector, features))
        loaded.check_fits(bundle)

    def test_a_changed_byte_is_noticed(self, model, tmp_path):
        model.save(tmp_path / "model")
        part = tmp_path / "model" / "model.safetensors"
        raw = bytearray(part.read_bytes())
        raw[-1] ^= 1
        part.write_bytes(raw)
        with pytest.raises(ArtifactError, match="checksum"):
            load_recommender(tmp_path / "model")

    def test_nothing_is_overwritten_unasked(self, model, tmp_path):
        model.save(tmp_path / "model")
        with pytest.raises(ArtifactError, match="exists already"):
            model.save(tmp_path / "model")
        model.save(tmp_path / "model", overwrite=True)

    def test_a_newer_table_of_the_same_items_is_taken_over(self, model, tmp_path):
        model.save(tmp_path / "model")
        loaded = load_recommender(tmp_path / "model")
        newer = loaded.items.assign(available=lambda items: items["item_id"].isin(["007", "009"]), colour="black")
        loaded.update_items(newer)
        answer = loaded.recommend(["user-00"], 50, exclude_seen=False, where={"colour": "black"})[0]
        assert sorted(ids(answer)) == ["007", "009"]
        for other in (newer[::-1], newer[:-1], newer.assign(item_id="x")):
            with pytest.raises(MismatchError, match="not those"):
                loaded.update_items(other)

    def test_another_catalogue_does_not_fit(self, model, tiny_bundle):
        with pytest.raises(MismatchError, match="another catalogue"):
            model.check_fits(tiny_bundle)

    def test_settings_of_another_version_are_an_artifact_error(self, trained, tmp_path):
        from recgan.artifacts import write_artifact

        with write_artifact(
            tmp_path / "model", kind="recommender", format_version=1, name="vbpr", config={"gone": 1}, parents={}
        ):
            pass
        with pytest.raises(ArtifactError, match="train it again"):
            load_recommender(tmp_path / "model")

    def test_a_model_without_what_this_version_needs_is_an_artifact_error(self, model, tmp_path, monkeypatch):
        whole = model.tensors()
        for name in whole.keys() - {"whitening_mean"}:  # without that one it is a control
            less = {other: value for other, value in whole.items() if other != name}
            monkeypatch.setattr(model, "tensors", lambda: less)  # noqa: B023
            model.save(tmp_path / name)
            with pytest.raises(ArtifactError, match=f"no '{name}'.*train it again"):
                load_recommender(tmp_path / name)


class TestPictures:
    def test_preference_scores_a_cold_item_as_score_does(self, visual_model, data, split):
        cold = np.flatnonzero(split.cold)
        vector = visual_model.user_vector("user-04")
        features = visual_model.load_encoder("cpu")(to_float(data.images.of(cold)))
        scores = visual_model.score(["user-04"], [str(one) for one in visual_model.item_ids[cold]])[0]
        for place, category in enumerate(visual_model.items["category"].iloc[cold]):
            liking = visual_model.preference(vector, features[place : place + 1], category).item()
            assert liking == pytest.approx(scores[place], abs=2e-3)  # saved features are rounded to 16 bits
        with pytest.raises(NotFoundError, match="did you mean 'new'"):
            visual_model.preference(vector, features, "news")

    def test_preference_has_gradients_to_the_pixels(self, visual_model):
        images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
        vector = visual_model.user_vector("user-04")
        liking = visual_model.preference(vector, visual_model.load_encoder("cpu")(images))
        (gradient,) = torch.autograd.grad(liking[0], images)
        assert gradient[0].abs().max() > 0
        assert gradient[1].abs().max() == 0
        # A small step along the gradient raises the liking by what the gradient says.
        step = 1e-2 * gradient / gradient.norm()
        with torch.no_grad():
            moved = visual_model.preference(vector, visual_model.load_encoder("cpu")((images + step).clamp(-1, 1)))
        assert (moved - liking)[0].item() == pytest.approx((gradient * step).sum().item(), rel=0.1)

    def test_a_new_item_that_looks_like_a_cold_one_scores_like_it(self, visual_model, tmp_path, bundle, split):
        cold = int(np.flatnonzero(split.cold)[0])
        visual_model.save(tmp_path / "model")
        model = load_recommender(tmp_path / "model")
        picture = bundle.image_bytes([int(bundle.primary_images[cold])])[0]
        pixels = np.asarray(decode_image(picture))
        own = model.items["category"].iloc[cold]
        other = {"new": "old", "old": "new"}[own]
        model.add_items(["bytes", "elsewhere"], [picture, pixels], [own, other])
        model.add_items(["tensor"], to_float(pixels[None]), [own])
        scores = model.score(["user-04"], [str(model.item_ids[cold]), "bytes", "tensor"])[0]
        np.testing.assert_allclose(scores[1:], scores[0], atol=2e-3)
        best = model.recommend(["user-04"], 3, candidates=["bytes", "elsewhere", "000"], categories=[other])[0]
        assert "elsewhere" in ids(best)
        assert "bytes" not in ids(best)
        assert ids(model.similar("elsewhere", 2))[0] in ("bytes", "tensor", str(model.item_ids[cold]))
        assert len(model.recommend(["user-00"], 1000, exclude_seen=False)[0]) == TASTES * PER_TASTE - 1 + 3

    @pytest.mark.parametrize("name", [name for name in VISUAL if not recommender_type(name).end_to_end])
    def test_smoothed_features_are_those_of_new_pictures_too(self, name, data, trained, bundle, tmp_path):
        plain = trained(name)
        settings = plain.settings.model_copy(update={"smoothing_neighbours": 4, "smoothing_weight": 0.3})
        model = create_recommender(name, settings).fit(data, seed=0, device="cpu")
        own = plain.item_features.astype(np.float32)
        unit = own / np.linalg.norm(own, axis=1, keepdims=True)
        nearest = np.argsort(-(unit[9] @ unit.T))[:4]
        expected = 0.7 * own[9] + 0.3 * own[nearest].mean(axis=0)
        np.testing.assert_allclose(model.item_features[9], expected, atol=2e-3)
        model.save(tmp_path / "model")
        loaded = load_recommender(tmp_path / "model")
        picture = bundle.image_bytes([int(bundle.primary_images[9])])
        loaded.add_items(["again"], picture, [str(model.items["category"].iloc[9])])
        np.testing.assert_allclose(loaded.item_features[-1], model.item_features[9], atol=2e-3)

    def test_what_is_no_photo_is_refused(self, visual_model):
        for nothing in (np.zeros((1, 0, 0, 3), np.uint8), [Image.new("RGB", (0, 5))], torch.zeros(1, 3, 0, 0)):
            with pytest.raises(DataError, match="no pixels"):
                visual_model.fold_in(images=nothing)
        for off in (torch.full((1, 3, 8, 8), torch.nan), torch.full((1, 3, 8, 8), 1e9)):
            with pytest.raises(DataError, match=r"in \[-1, 1\]"):
                visual_model.fold_in(images=off)
        with pytest.raises(SettingsError, match="id is empty"):
            visual_model.add_items([""], [Image.new("RGB", (8, 8))], ["new"])

    def test_a_vector_that_nothing_is_near_to_is_refused(self, visual_model):
        width = visual_model.similarity_vectors(np.array([0])).shape[1]
        for vector in (np.full(width, np.nan, np.float32), np.ones(width + 1, np.float32)):
            with pytest.raises(DataError, match=f"finite vectors of {width} values"):
                visual_model.nearest(vector, 3)
        with pytest.raises(DataError, match="rows to leave out"):
            visual_model.nearest(np.ones(width, np.float32), 3, without=[10**6])

    def test_photos_fold_in_like_the_items_they_show(self, visual_model, bundle, split):
        # Cold items are scored from their picture alone, so a photo of one says what the item says.
        cold = np.flatnonzero(split.cold)[:2]
        pictures = bundle.image_bytes([int(bundle.primary_images[item]) for item in cold])
        by_photo = visual_model.fold_in(images=pictures)
        by_item = visual_model.fold_in([str(one) for one in visual_model.item_ids[cold]])
        agreement = spearmanr(visual_model.score([by_photo])[0], visual_model.score([by_item])[0]).statistic
        assert agreement > 0.95
        assert len(by_photo.seen) == 0

    def test_wrong_new_items_are_refused(self, visual_model, bundle):
        picture = bundle.image_bytes([0])[0]
        with pytest.raises(DataError, match="there already"):
            visual_model.add_items(["001"], [picture], ["new"])
        with pytest.raises(DataError, match="there already"):
            visual_model.add_items(["x", "x"], [picture, picture], ["new", "new"])
        with pytest.raises(NotFoundError, match="did you mean 'new'"):
            visual_model.add_items(["x"], [picture], ["news"])
        with pytest.raises(DataError, match="give one each"):
            visual_model.add_items(["x"], [picture, picture], ["new"])
        with pytest.raises(DataError, match="uint8"):
            visual_model.add_items(["x"], [np.zeros((8, 8, 3))], ["new"])
        with pytest.raises(DataError, match="float"):
            visual_model.add_items(["x"], torch.zeros(1, 3, 8, 8, dtype=torch.uint8), ["new"])
        assert len(visual_model.items) == TASTES * PER_TASTE

    @pytest.mark.parametrize("name", [name for name in MODELS if name not in VISUAL])
    def test_image_free_models_say_that_they_cannot_see(self, name, trained, bundle):
        picture = bundle.image_bytes([0])
        with pytest.raises(SettingsError, match="vbpr"):
            trained(name).add_items(["x"], picture, ["new"])
        with pytest.raises(SettingsError, match="vbpr"):
            trained(name).fold_in(images=picture)

    @pytest.mark.parametrize("name", [name for name in VISUAL if not recommender_type(name).end_to_end])
    def test_other_weights_of_the_encoder_are_refused(self, name, trained, monkeypatch):
        def other() -> Encoder:
            body = nn.Sequential(nn.AdaptiveMaxPool2d(6), nn.Flatten())
            return Encoder(ENCODER, body, dim=108, input_size=40, mean=(0.5,) * 3, std=(0.5,) * 3)

        monkeypatch.setitem(_LOADERS, ENCODER, other)
        with pytest.raises(MismatchError, match="other weights"):
            trained(name).load_encoder()

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            (name, kind)
            for name in VISUAL
            for kind in (("permuted",) if recommender_type(name).end_to_end else CONTROLS)
        ],
    )
    def test_a_control_knows_nothing_of_pictures(self, name, kind, data, trained, tmp_path):
        settings = trained(name).settings.model_copy(update={"features": kind})
        control = create_recommender(name, settings).fit(data, seed=0, device="cpu")
        control.save(tmp_path / "control")
        control = load_recommender(tmp_path / "control")
        with pytest.raises(SettingsError, match=f"control \\(features={kind}\\)"):
            control.preference(control.user_vector("user-00"), torch.rand(1, 108))
        if control.end_to_end:  # what it makes of other pictures is its own
            return
        shuffled = np.sort(control.item_features, axis=0)
        real = np.sort(trained(name).item_features, axis=0)
        assert not np.array_equal(control.item_features, trained(name).item_features)
        assert np.array_equal(shuffled, real) == (kind == "permuted")


class TestTraining:
    def test_one_call_trains_and_saves(self, bundle, tmp_path):
        split = SplitSettings(protocol="all")
        out = tmp_path / "model"
        model = train_recommender(
            bundle, "vbpr", settings_of("vbpr"), split=split, embed=EMBED, out=out, seed=3, device="cpu"
        )
        assert model.metrics["epochs"] == settings_of("vbpr").epochs  # nothing to stop by
        assert not {"best_epoch", "validation_auc"} & model.metrics.keys()
        loaded = load_recommender(out)
        assert loaded.facts["split"]["protocol"] == "all"
        assert loaded.facts["seed"] == 3
        assert (loaded.encoder_name, loaded.size, loaded.transform) == (ENCODER, 32, "letterbox-border-v1")
        with pytest.raises(ArtifactError, match="exists already"):
            train_recommender(bundle, "popularity", out=out)

    def test_a_place_that_cannot_be_written_is_told_before_the_training(self, bundle, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match=r"cannot write '.*/file/model'"):
            train_recommender(bundle, "popularity", out=tmp_path / "file" / "model")
        with pytest.raises(SettingsError, match="'nosuch://a/model' cannot be reached"):
            train_recommender(bundle, "popularity", out="nosuch://a/model")

    def test_settings_of_another_version_are_named(self, trained, tmp_path):
        trained("popularity").save(tmp_path / "model")
        manifest = tmp_path / "model" / "manifest.json"
        content = json.loads(manifest.read_text())
        content["config"]["decay_rate"] = 0.5
        del content["digest"]
        manifest.write_text(json.dumps(content))
        with pytest.raises(ArtifactError, match=r"another version of recgan \(decay_rate=0.5: Extra inputs.*train it"):
            load_recommender(tmp_path / "model")

    def test_one_item_is_too_few_to_compare(self, tmp_path):
        single = write_bundle(tmp_path / "single", items=1, users=0)
        with BundleWriter(tmp_path / "b", name="one", licence="-", source="-") as writer:
            writer.link_images(single)
            writer.set_items(single.items)
            writer.set_interactions(pd.DataFrame({"user_id": ["u"], "item_id": ["0000"]}))
        told = r"bundle '.*/b' has 1 item with an image, .*import more, or train --model popularity"
        with pytest.raises(DataError, match=told):
            train_recommender(
                Bundle.open(tmp_path / "b"), "vbpr", split=SplitSettings(protocol="all"), embed=EMBED, device="cpu"
            )
        with pytest.raises(DataError, match=told):
            train_recommender(
                Bundle.open(tmp_path / "b"), "dvbpr", split=SplitSettings(protocol="all"), embed=EMBED, device="cpu"
            )

    def test_unknown_models_and_settings_of_another_are_refused(self):
        with pytest.raises(SettingsError, match="did you mean 'vbpr'"):
            create_recommender("vpbr")
        with pytest.raises(SettingsError, match="takes VBPRSettings"):
            create_recommender("vbpr", PopularitySettings())

    def test_data_of_another_bundle_are_refused(self, bundle, split, tiny_bundle, data):
        with pytest.raises(MismatchError, match="split"):
            training_data(tiny_bundle, split)
        with pytest.raises(MismatchError, match="features"):
            training_data(tiny_bundle, make_split(tiny_bundle), data.features)

    def test_the_best_epoch_is_kept(self, data):
        seen = {}
        settings = VBPRSettings(latent_dim=4, visual_dim=4, width=16, epochs=12, batch_size=32, patience=3)

        def note(step, done, total=None, note=""):
            if step == "training vbpr":
                seen[done] = float(note.rsplit(" ", 1)[1])

        model = create_recommender("vbpr", settings).fit(data, device="cpu", progress=note)
        best = model.metrics["best_epoch"]
        assert seen[best] == pytest.approx(max(seen.values()), abs=1e-4)
        assert len(seen) == model.metrics["epochs"] == min(best + 3, 12)
        # Training for exactly that long gives the same model: what is kept is that epoch's, not the last.
        short = create_recommender("vbpr", settings.model_copy(update={"epochs": best})).fit(data, device="cpu")
        np.testing.assert_array_equal(short.item_factors, model.item_factors)


def test_the_help_names_every_model():
    from typer.main import get_command

    from recgan.cli.run import app

    train = get_command(app).commands["train"].commands["recommender"]
    (option,) = (one for one in train.params if one.name == "model")
    assert [name for name in MODELS if not re.search(rf"\b{name}\b", option.help)] == []
    assert "popularity by category" in option.help
