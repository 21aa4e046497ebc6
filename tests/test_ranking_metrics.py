"""Ranking metrics: by hand, against scikit-learn, and against every order in which ties can fall."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from recgan.metrics.ranking import auc, rank_counts, top_k_metrics

CUTOFFS = (1, 3, 10)


def counts_of(scores, positives, known=(), candidates=None):
    """Counts for lists of (user, item) pairs; the positives are known as well."""
    scores = np.asarray(scores, dtype=np.float32)
    rows, columns = (np.array(one, dtype=int) for one in zip(*positives))
    known_rows, known_columns = (np.array(one, dtype=int) for one in zip(*positives, *known))
    if candidates is None:
        candidates = np.ones(scores.shape[1], dtype=bool)
    return rank_counts(scores, rows, columns, known_rows, known_columns, candidates)


def test_counts_by_hand():
    # User 0 has taken items 1 (judged) and 4 (known); item 5 is no candidate. Left as negatives: 0, 2, 3.
    scores = [[3, 2, 2, 1, 9, 9], [0, 0, 0, 0, 0, 5]]
    candidates = np.array([True] * 5 + [False])
    counts = counts_of(scores, [(0, 1), (1, 0)], known=[(0, 4)], candidates=candidates)
    assert counts.above.tolist() == [1, 0]
    assert counts.ties.tolist() == [1, 4]
    assert counts.negatives.tolist() == [3, 4]
    assert auc(counts, 2).tolist() == [1 - 1.5 / 3, 0.5]


def test_auc_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    n_users, n_items = 12, 40
    scores = rng.integers(0, 8, (n_users, n_items)).astype(np.float32)  # many ties
    role = rng.choice(4, (n_users, n_items), p=[0.7, 0.1, 0.1, 0.1])  # negative, judged, known, known and not offered
    judged = list(zip(*np.nonzero(role == 1)))
    counts = counts_of(scores, judged, known=list(zip(*np.nonzero(role >= 2))))
    ours = auc(counts, n_users)
    for user in range(n_users):
        listed = role[user] <= 1
        assert ours[user] == pytest.approx(roc_auc_score(role[user][listed] == 1, scores[user][listed]))


def test_a_user_without_positive_or_negative_has_no_auc():
    counts = counts_of([[1, 2], [1, 2], [1, 2]], [(0, 0), (1, 0), (1, 1)])
    values = auc(counts, 3)
    assert values[0] == 0
    assert np.isnan(values[1:]).all()


def brute_force(scores, positives, k):
    """Mean of recall, NDCG, hit rate, reciprocal rank and average precision over every order the items can come in."""
    totals = np.zeros(5)
    orders = list(permutations(range(len(scores))))
    best = sum(1 / np.log2(rank + 1) for rank in range(1, min(k, len(positives)) + 1))
    for order in orders:
        listed = sorted(order, key=lambda item: -scores[item])  # stable: ties stay in the drawn order
        ranks = [place for place, item in enumerate(listed, start=1) if item in positives and place <= k]
        totals += [
            len(ranks) / len(positives),
            sum(1 / np.log2(rank + 1) for rank in ranks) / best,
            bool(ranks),
            1 / min(ranks) if ranks else 0,
            sum(number / rank for number, rank in enumerate(ranks, start=1)) / min(k, len(positives)),
        ]
    return totals / len(orders)


@pytest.mark.parametrize("seed", range(12))
def test_top_k_metrics_are_the_mean_over_all_orders_of_ties(seed):
    rng = np.random.default_rng(seed)
    n_items = 6
    scores = rng.integers(0, 3, n_items).astype(float)
    positives = sorted(rng.choice(n_items, rng.integers(1, 4), replace=False).tolist())
    counts = counts_of([scores], [(0, item) for item in positives])
    found = top_k_metrics(counts, 1, CUTOFFS)
    for k in CUTOFFS:
        expected = brute_force(scores, positives, k)
        ours = [found[f"{name}@{k}"][0] for name in ("recall", "ndcg", "hit_rate", "mrr", "map")]
        assert ours == pytest.approx(expected, abs=1e-12)


def test_top_k_metrics_by_hand():
    # The only positive of user 0 stands second of four; user 1 has two, first and third; user 2 has none.
    scores = [[4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1]]
    found = top_k_metrics(counts_of(scores, [(0, 1), (1, 0), (1, 2)]), 3, (1, 2, 3))
    third = 1 / np.log2(4)
    assert found["recall@1"][:2].tolist() == [0, 0.5]
    assert found["recall@2"][:2].tolist() == [1, 0.5]
    assert found["ndcg@2"][0] == pytest.approx(1 / np.log2(3))
    assert found["ndcg@3"][1] == pytest.approx((1 + third) / (1 + 1 / np.log2(3)))
    assert found["mrr@3"][:2].tolist() == [0.5, 1]
    assert found["hit_rate@1"][:2].tolist() == [0, 1]
    assert found["map@2"][:2].tolist() == [0.5, 0.5]
    assert found["map@3"][1] == pytest.approx((1 + 2 / 3) / 2)
    assert all(np.isnan(values[2]) for values in found.values())


def test_ndcg_and_map_agree_with_scikit_learn():
    rng = np.random.default_rng(2)
    n_users, n_items = 10, 50
    scores = rng.integers(0, 9, (n_users, n_items)).astype(np.float32)  # scikit-learn's NDCG averages over ties too
    distinct = rng.permuted(np.tile(np.arange(n_items), (n_users, 1)), axis=1).astype(np.float32)  # its AP does not
    truth = rng.random((n_users, n_items)) < 0.1
    truth[:, 0] = True
    positives = list(zip(*np.nonzero(truth)))
    tied = top_k_metrics(counts_of(scores, positives), n_users, (5, n_items))
    untied = top_k_metrics(counts_of(distinct, positives), n_users, (n_items,))
    for user in range(n_users):
        for k in (5, n_items):
            assert tied[f"ndcg@{k}"][user] == pytest.approx(ndcg_score(truth[user : user + 1], scores[[user]], k=k))
        expected = average_precision_score(truth[user], distinct[user])
        assert untied[f"map@{n_items}"][user] == pytest.approx(expected)


def test_the_order_of_the_catalogue_does_not_matter():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, (5, 30)).astype(np.float32)
    positives = [(user, int(item)) for user in range(5) for item in rng.choice(30, 3, replace=False)]
    shuffle = rng.permutation(30)
    place = np.argsort(shuffle)
    one = top_k_metrics(counts_of(scores, positives), 5, CUTOFFS)
    other = top_k_metrics(counts_of(scores[:, shuffle], [(u, int(place[i])) for u, i in positives]), 5, CUTOFFS)
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-12)
