"""What is `ideal_point`'s own; what every recommender promises is in ``test_recommenders.py``."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recgan.config import IdealPointSettings
from recgan.dataset.split import Pairs
from recgan.encoders import Features
from recgan.metrics.ranking import auc, rank_counts
from recgan.recommenders import create_recommender
from recgan.recommenders.data import TrainingData, UserRows, concatenated
from recgan.recommenders.models.ideal_points import IdealPoints

CATEGORIES = ("bag", "hat", "shoe")
ITEMS, USERS, WIDTH = 120, 60, 6


def taste_data(seed: int = 0, taken: int = 8) -> TrainingData:
    """Users like one or two categories, and in each the items whose first two features are near their own point; what
    a category looks like is in the other features, far apart. Every tenth item is cold, one has no picture."""
    rng = np.random.default_rng(seed)
    category = rng.integers(0, len(CATEGORIES), ITEMS)
    looks = rng.normal(size=(ITEMS, WIDTH))
    looks[:, 2:] = 0.5 * looks[:, 2:] + 6 * np.eye(len(CATEGORIES), WIDTH - 2)[category]
    points = rng.normal(size=(USERS, 2)) * 1.5
    liked = rng.random((USERS, len(CATEGORIES))) < 0.5
    liked[~liked.any(axis=1), 0] = True
    utility = -((points[:, None] - looks[None, :, :2]) ** 2).sum(axis=2) + 3 * liked[:, category]
    order = np.argsort(-(utility + rng.gumbel(size=utility.shape)), axis=1)[:, : taken + 1]
    cold = np.arange(ITEMS) % 10 == 3
    users, items = np.repeat(np.arange(USERS), taken), order[:, 1:].flatten()
    nothing = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    names = np.array([f"{row:03d}" for row in range(ITEMS)], dtype=object)
    has_image = np.arange(ITEMS) != 5
    return TrainingData(
        user_ids=np.array([f"user-{row:02d}" for row in range(USERS)], dtype=object),
        items=pd.DataFrame({"item_id": names, "category": np.array(CATEGORIES)[category], "available": True}),
        category_names=CATEGORIES,
        category_index=category,
        candidates=np.ones(ITEMS, dtype=bool),
        train=Pairs(users, items).where(~cold[items]),
        validation=Pairs(np.arange(USERS), order[:, 0]),
        withheld=nothing,
        features=Features(np.where(has_image[:, None], looks, 0).astype(np.float32), has_image, "none", "", 32, "", ""),
        catalogue_digest="",
        split_digest="",
        split_settings={},
    )


@pytest.fixture(scope="module")
def data():
    return taste_data()


def fitted(data, **options):
    return create_recommender("ideal_point", IdealPointSettings(width=WIDTH, **options)).fit(data)


def test_without_validation_nothing_looks_tuned(data):
    nothing = data.validation.where(np.zeros(len(data.validation), dtype=bool))
    model = create_recommender("ideal_point", IdealPointSettings(width=WIDTH)).fit(replace(data, validation=nothing))
    assert model.metrics == {}
    assert model.untuned() == ["visual_weight", "category_weight", "cold_bias"]
    assert model.chosen_settings() == model.settings
    assert fitted(data).untuned() == []


def validation_auc(model, data):
    known, positives = concatenated(data.train, data.validation), UserRows.of(data.validation, data.n_users)
    rows = UserRows.of(known, data.n_users)
    everybody = np.arange(data.n_users)
    scores = model.user_factors @ model.item_factors.T
    counts = rank_counts(scores, *positives.pairs(everybody), *rows.pairs(everybody), data.candidates)
    return float(np.nanmean(auc(counts, data.n_users)))


def test_the_category_term_is_the_log_of_how_much_likelier_it_is_for_the_user(data):
    model = fitted(data, visual_weight=0, category_weight=1.5, category_smoothing=2, cold_bias=-1)
    items = np.bincount(data.category_index, minlength=3) + 1
    share = items / items.sum()
    everybody = np.bincount(data.category_index[data.train.items], minlength=3)
    everybody = (everybody + 3 * share) / (len(data.train) + 3)
    own = data.category_index[data.train.items[data.train.users == 7]]
    for category in range(3):
        likely = ((own == category).sum() + 2 * everybody[category]) / (len(own) + 2)
        inside = data.category_index == category
        terms = model.score(["user-07"])[0] - model.item_factors[:, 0]
        np.testing.assert_allclose(terms[inside], 1.5 * np.log(likely / share[category]), atol=1e-5)


def test_looks_are_compared_within_the_category(data):
    model = fitted(data)
    visual = slice(1, 1 + 2 * model._points.dim)
    # What all of a category have in common says nothing: the averages of two categories look alike to a user.
    averages = model.factors_from(torch.from_numpy(model._centres), torch.arange(3)).numpy()
    np.testing.assert_allclose(averages[0, visual], averages[1, visual], atol=1e-6)
    np.testing.assert_allclose(averages[0, visual], averages[2, visual], atol=1e-6)
    assert not np.array_equal(averages[0], averages[1])
    # An item without a picture is taken for the average one.
    np.testing.assert_allclose(model.item_factors[5, visual], averages[0, visual], atol=1e-6)
    for category in range(3):
        inside = (data.category_index == category) & data.features.has_image
        expected = model.item_features[inside].astype(np.float32).mean(axis=0)
        np.testing.assert_allclose(model._centres[category], expected, atol=1e-6)


def test_a_picture_of_unknown_category_is_taken_for_the_nearest(data):
    model = fitted(data)
    pictured = np.flatnonzero(data.features.has_image)
    features = torch.from_numpy(model.item_features[pictured].astype(np.float32))
    told = model.factors_from(features, torch.from_numpy(data.category_index[pictured]))
    torch.testing.assert_close(model.factors_from(features), told)


def test_taste_for_looks_and_for_the_category_both_count(data):
    whole = validation_auc(fitted(data), data)
    assert whole > validation_auc(fitted(data, visual_weight=0), data) + 0.05
    assert whole > validation_auc(fitted(data, category_weight=0), data) + 0.05
    permuted = validation_auc(fitted(data, features="permuted"), data)
    assert whole > permuted + 0.05


def test_the_weights_are_those_with_the_best_validation_figure(data):
    model = fitted(data)
    chosen = model.metrics["validation_auc"]
    assert validation_auc(model, data) == pytest.approx(chosen, abs=1e-9)
    given = {"cold_bias": model.metrics["cold_bias"]}
    for visual in (0.2, 0.6, 1, 1.5):
        for category in (0.2, 0.6, 1, 1.5):
            other = fitted(data, visual_weight=visual, category_weight=category, **given)
            assert validation_auc(other, data) <= chosen + 0.005  # the search stops at a tolerance


def test_where_only_the_category_tells_users_apart_it_is_all_there_is():
    data = taste_data(1)
    looks = np.eye(3, 4, dtype=np.float32)[data.category_index]
    data = replace(data, features=replace(data.features, values=looks, has_image=np.ones(ITEMS, dtype=bool)))
    model = fitted(data)
    assert model._points.dim == 0
    assert model.item_factors.shape == (ITEMS, 1 + 3)
    assert validation_auc(model, data) > 0.6


def test_the_parts_of_a_score_are_popularity_look_and_category(data):
    model = fitted(data)
    parts = model.factor_parts(np.arange(4))
    assert set(parts) == {"popularity", "visual", "category"}
    np.testing.assert_allclose(sum(parts.values()), model.item_factors[:4])
    assert np.flatnonzero(parts["popularity"].any(axis=0)).tolist() == [0]
    assert np.count_nonzero(parts["category"]) == 4


@pytest.mark.parametrize("name", ["ideal_point", "visual_knn"])
def test_many_interactions_need_no_row_of_features_each(name):
    n_users, n_items, width = 3_000, 200, 64
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, n_users * n_items, 200_000))
    looks = rng.normal(size=(n_items, width)).astype(np.float32)
    ids = np.array([str(row) for row in range(n_items)], dtype=object)
    crowd = replace(
        taste_data(),
        user_ids=np.arange(n_users).astype(str).astype(object),
        items=pd.DataFrame({"item_id": ids, "category": "bag", "available": True}),
        category_index=np.zeros(n_items, dtype=np.int64),
        candidates=np.ones(n_items, dtype=bool),
        train=Pairs(*np.divmod(pairs, n_items)),
        validation=Pairs(pairs[:0], pairs[:0]),
        features=Features(looks, np.ones(n_items, dtype=bool), "none", "", 32, "", ""),
    )
    model = create_recommender(name)
    tracemalloc.start()
    try:
        model.fit(crowd)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(pairs) * width * 0.75  # of the float32 features of all interactions


def test_more_directions_than_a_few_users_can_tell_are_not_divided_by():
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(120, 60)).astype(np.float32)
    items = np.concatenate([rng.permutation(120)[:4] for _ in range(25)])
    taken = UserRows.of(Pairs(np.repeat(np.arange(25), 4), items), 25)  # 75 degrees of freedom for 60 directions
    points = IdealPoints.fit(looks, taken, 60)
    z = (looks - points.mean) @ points.directions
    own = points.users(taken.sums(z.astype(np.float32), 0, 25), np.diff(taken.indptr))
    scores = own @ np.concatenate([z, z**2], axis=1).T
    assert np.ptp(scores, axis=1).max() < 40  # above 1,000 without the prior, all of it chance


def test_with_many_interactions_the_prior_within_users_counts_for_nothing():
    rng = np.random.default_rng(1)
    own = rng.normal(size=(400, 2)) * [2.0, 0.05]
    looks = np.repeat(own, 50, axis=0) + rng.normal(size=(20_000, 2)) * [1.0, 0.1]
    taken = UserRows.of(Pairs(np.repeat(np.arange(400), 50), np.arange(20_000)), 400)
    points = IdealPoints.fit(looks.astype(np.float32), taken, 2)
    np.testing.assert_allclose(points.variances, [4.0, 0.25], rtol=0.15)
    np.testing.assert_allclose(np.abs(points.directions), np.diag([1.0, 10.0]), atol=0.2)
