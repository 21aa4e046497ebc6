"""Metrics of recommended lists: by hand, and pair by pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances

from recgan.metrics.lists import catalogue_coverage, category_diversity, feature_diversity, gini, mean_novelty


def test_coverage_counts_candidates_only():
    candidates = np.array([True, True, True, True, False])
    assert catalogue_coverage(np.array([0, 0, 1, 4]), candidates) == 0.5


def test_gini_of_even_and_of_single_item_lists():
    candidates = np.ones(4, dtype=bool)
    assert gini(np.array([0, 1, 2, 3]), candidates) == pytest.approx(0)
    assert gini(np.array([2, 2, 2, 2]), candidates) == pytest.approx(0.75)  # (n - 1) / n
    # Counts 0, 1, 1, 2: sum over pairs of |x - y| / (2 n^2 mean) = 12 / (2 * 16 * 1).
    assert gini(np.array([1, 2, 3, 3]), candidates) == pytest.approx(12 / 32)


def test_novelty_in_bits():
    # Of 7 users, 3 took item 0 and none took item 1: shares (3 + 1) / 8 and 1 / 8.
    assert mean_novelty(np.array([0, 1]), np.array([3, 0]), 7) == pytest.approx((1 + 3) / 2)


def test_category_diversity_is_the_share_of_pairs_of_two_categories():
    categories = np.array([0, 0, 1, 2, 1])
    lists = [np.array(one, dtype=int) for one in ([0, 1], [0, 2], [0, 1, 2, 4], [3], [])]
    found = category_diversity(lists, categories)
    assert found[:3] == pytest.approx([0, 1, 4 / 6])  # of the six pairs of the third list, two are of one category
    assert np.isnan(found[3:]).all()


def test_category_and_feature_diversity_agree_with_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    categories, features = rng.integers(0, 4, 30), rng.normal(size=(30, 5)).astype(np.float32)
    lists = [rng.choice(30, size, replace=False) for size in (2, 5, 20)]
    distances = cosine_distances(features.astype(np.float64))
    by_category, by_image = category_diversity(lists, categories), feature_diversity(lists, features)
    for place, items in enumerate(lists):
        pairs = list(combinations(items, 2))
        assert by_category[place] == pytest.approx(np.mean([categories[a] != categories[b] for a, b in pairs]))
        assert by_image[place] == pytest.approx(np.mean([distances[a, b] for a, b in pairs]))


def test_an_item_without_a_picture_is_left_out_of_the_diversity_by_pictures():
    features = np.array([[1, 0], [0, 2], [0, 0], [3, 0]], dtype=np.float32)
    found = feature_diversity([np.array([0, 1, 2]), np.array([0, 2, 3]), np.array([0, 2])], features)
    assert found[:2] == pytest.approx([1, 0])
    assert np.isnan(found[2])
