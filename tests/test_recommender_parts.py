"""The parts that recommenders are made of: whitening, the sampler, the index, VBPR's gradients, fold-in."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import minimize

from recgan.dataset.split import Pairs
from recgan.errors import DataError, SettingsError
from recgan.recommenders.data import UserRows
from recgan.recommenders.fold_in import fold_in_bpr
from recgan.recommenders.index import FlatIndex, top_k
from recgan.recommenders.popularity import log_popularity
from recgan.recommenders.sampler import NegativeSampler
from recgan.recommenders.vbpr import triple_loss_and_gradients
from recgan.recommenders.whitening import Whitening


class TestWhitening:
    @pytest.fixture
    def features(self):
        rng = np.random.default_rng(0)
        return (rng.normal(size=(600, 12)) @ rng.normal(size=(12, 12)) + 5).astype(np.float32)

    def test_full_whitening_gives_uncorrelated_features_of_unit_mean_length(self, features):
        white = Whitening.fit(features, 6).apply(features)
        assert white.shape == (600, 6)
        np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(6) / 6, atol=1e-4)

    def test_without_power_it_is_pca(self, features):
        white = Whitening.fit(features, 3, power=0).apply(features)
        centred = (features - features.mean(axis=0)) / features.std(axis=0)
        _, singular, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
        expected = centred @ directions[:3].T / np.sqrt((singular[:3] ** 2).sum() / 600)
        for column in range(3):
            sign = np.sign(expected[:, column] @ white[:, column])
            np.testing.assert_allclose(white[:, column], sign * expected[:, column], atol=1e-3)

    def test_the_scale_of_a_column_does_not_matter(self, features):
        scaled = features * np.geomspace(0.1, 10, 12, dtype=np.float32) + 3
        one, other = (Whitening.fit(each, 5, power=0.5).apply(each) for each in (features, scaled))
        np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-3)

    @pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
    def test_the_mean_squared_length_is_one(self, features, power):
        white = Whitening.fit(features, 7, power=power).apply(features)
        assert np.square(white).sum(axis=1).mean() == pytest.approx(1, abs=1e-3)

    def test_tensors_and_arrays_agree(self, features):
        whitening = Whitening.fit(features, 5)
        torch.testing.assert_close(whitening(torch.from_numpy(features)).numpy(), whitening.apply(features))
        with pytest.raises(DataError, match=r"\[N, 12\]"):
            whitening(torch.zeros(3, 11))

    def test_a_first_use_in_inference_mode_leaves_later_gradients_whole(self, features):
        whitening = Whitening.fit(features, 5)
        with torch.inference_mode():
            whitening(torch.from_numpy(features))
        seen = torch.from_numpy(features[:2]).requires_grad_()
        (gradient,) = torch.autograd.grad(whitening(seen)[0, 0], seen)
        np.testing.assert_allclose(gradient[0], whitening.matrix[:, 0])

    def test_chunks_do_not_matter(self, features, monkeypatch):
        whole = Whitening.fit(features, 5)
        monkeypatch.setattr("recgan.recommenders.whitening._CHUNK", 7)
        np.testing.assert_allclose(Whitening.fit(features, 5).matrix, whole.matrix, atol=1e-5)

    def test_columns_that_never_vary_are_dropped(self, features):
        features[:, [2, 5]] = 3.25
        whitening = Whitening.fit(features, 12)
        assert whitening.width == 10
        assert np.isfinite(whitening.apply(features)).all()

    def test_only_the_chosen_rows_count(self, features):
        rows = np.arange(600) < 400
        spoiled = features.copy()
        spoiled[~rows] = np.nan
        np.testing.assert_array_equal(Whitening.fit(spoiled, 4, rows).matrix, Whitening.fit(features[:400], 4).matrix)

    def test_bad_features_are_refused(self, features):
        with pytest.raises(DataError, match="the same"):
            Whitening.fit(np.tile(features[:1], (50, 1)), 4)
        with pytest.raises(DataError, match="at least two"):
            Whitening.fit(features[:1], 4)
        features[123, 4] = np.inf
        with pytest.raises(DataError, match=r"item 123 .*not finite"):
            Whitening.fit(features, 4)


class TestSampler:
    def test_draws_are_uniform_over_what_the_user_has_not_taken(self):
        known = Pairs(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 3, 4, 9, 5, 6]))
        pool = np.ones(10, dtype=bool)
        pool[[1, 5]] = False
        sampler = NegativeSampler(known, 4, pool)
        users = torch.arange(4).repeat_interleave(20_000)
        items = sampler.draw(users, torch.Generator().manual_seed(0)).reshape(4, -1).numpy()
        open_items = [{2, 6, 7, 8, 9}, {0, 2, 3, 4, 6, 7, 8}, {0, 2, 3, 4, 7, 8, 9}, {0, 2, 3, 4, 6, 7, 8, 9}]
        assert sampler.free.tolist() == [len(one) for one in open_items]
        for drawn, expected in zip(items, open_items):
            values, counts = np.unique(drawn, return_counts=True)
            assert set(values.tolist()) == expected
            assert stats.chisquare(counts).pvalue > 1e-4

    def test_no_known_item_is_ever_drawn_even_if_one_item_is_left(self):
        rng = np.random.default_rng(0)
        taken = rng.random((50, 40)) < 0.6
        taken[7] = True
        taken[7, 13] = False
        taken[8] = True
        sampler = NegativeSampler(Pairs(*np.nonzero(taken)), 50, np.ones(40, dtype=bool))
        assert sampler.free[8] == 0
        users = torch.from_numpy(np.delete(np.arange(50), 8)).repeat(500)
        items = sampler.draw(users, torch.Generator().manual_seed(1))
        assert not taken[users.numpy(), items.numpy()].any()
        assert set(items[users == 7].tolist()) == {13}


class TestIndex:
    def test_top_k_settles_ties_by_the_lower_column(self):
        scores = np.array([[1, 3, 3, 2, 3, 2], [-np.inf, 0, -np.inf, 0, 0, -np.inf]], dtype=np.float32)
        assert [row.tolist() for row in top_k(scores, 2)] == [[1, 2], [1, 3]]
        assert [row.tolist() for row in top_k(scores, 4)] == [[1, 2, 4, 3], [1, 3, 4]]
        assert [row.tolist() for row in top_k(scores, 9)] == [[1, 2, 4, 3, 5, 0], [1, 3, 4]]
        assert [row.tolist() for row in top_k(scores[:, :0], 3)] == [[], []]
        with pytest.raises(SettingsError, match="k=0"):
            top_k(scores, 0)

    @pytest.mark.parametrize("k", [1, 4, 100])
    def test_top_k_agrees_with_a_plain_sort(self, k):
        scores = np.random.default_rng(k).integers(0, 9, (40, 60)).astype(np.float32)
        for row, found in zip(scores, top_k(scores, k)):
            assert found.tolist() == sorted(range(60), key=lambda column: (-row[column], column))[:k]

    @pytest.mark.parametrize("k", [1, 7, 500])
    def test_the_index_is_exact_under_any_mask(self, k):
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(200, 9)).astype(np.float32)
        queries = rng.normal(size=(5, 9)).astype(np.float32)
        before = faiss.omp_get_max_threads()
        for allowed in (None, rng.random(200) < 0.3, np.zeros(200, dtype=bool)):
            rows = np.arange(200) if allowed is None else np.flatnonzero(allowed)
            for query, (found, scores) in zip(queries, FlatIndex(vectors).search(queries, k, allowed)):
                exact = vectors[rows] @ query
                order = np.argsort(-exact, kind="stable")[:k]
                assert found.tolist() == rows[order].tolist()
                np.testing.assert_allclose(scores, exact[order], rtol=1e-4, atol=1e-5)
        assert faiss.omp_get_max_threads() == before

    def test_vectors_that_are_not_finite_are_refused(self):
        with pytest.raises(DataError, match="finite"):
            FlatIndex(np.array([[1, np.nan]], dtype=np.float32))


class TestLogPopularity:
    def test_counts_that_vary_by_chance_alone_say_little(self):
        counts = np.random.default_rng(0).poisson(4, 20_000)
        estimate = log_popularity(counts, np.ones(20_000, dtype=bool))
        assert np.abs(estimate).max() < 0.2

    def test_counts_of_a_long_tail_are_believed(self):
        rng = np.random.default_rng(0)
        popularity = rng.gamma(0.5, 8.0, 20_000)  # of mean 4
        counts = rng.poisson(popularity)
        estimate = log_popularity(counts, np.ones(20_000, dtype=bool))
        # The posterior mean of a gamma of shape 0.5: a count of 0 and one of 20 by hand.
        assert estimate[counts == 0][0] == pytest.approx(np.log(0.5 / 4.5), abs=0.1)
        assert estimate[counts == 20][0] == pytest.approx(np.log(20.5 / 4.5), abs=0.05)

    def test_items_that_were_not_offered_do_not_count(self):
        counts = np.array([1, 2, 3, 4, 0, 0, 0])
        offered = np.arange(7) < 4
        np.testing.assert_allclose(log_popularity(counts, offered)[:4], log_popularity(counts[:4], offered[:4]))


def test_user_rows_by_hand():
    rows = UserRows.of(Pairs(np.array([2, 0, 2, 0]), np.array([5, 9, 1, 3])), 4)
    assert [rows[user].tolist() for user in range(4)] == [[3, 9], [], [1, 5], []]
    places, items = rows.pairs(np.array([2, 3, 0, 2]))
    assert places.tolist() == [0, 0, 2, 2, 3, 3]
    assert items.tolist() == [1, 5, 3, 9, 1, 5]


def test_gradients_of_vbpr_agree_with_autograd():
    generator = torch.Generator().manual_seed(0)
    users, items, width, latent, visual = 5, 8, 6, 3, 4

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    parameters = {
        "user_latent": normal(users, latent),
        "item_latent": normal(items, latent),
        "user_visual": normal(users, visual),
        "projection": normal(width, visual),
        "item_bias": normal(items),
        "visual_bias": normal(width),
    }
    features = normal(items, width)
    user, better, worse = torch.tensor([0, 4, 4, 2]), torch.tensor([1, 7, 1, 3]), torch.tensor([2, 0, 2, 1])
    losses, gradients = triple_loss_and_gradients(parameters, features, user, better, worse)

    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    p = leaves

    def score(u, i):
        bias = p["item_bias"][i] + features[i] @ p["visual_bias"]
        latent_part = (p["user_latent"][u] * p["item_latent"][i]).sum(1)
        return bias + latent_part + (p["user_visual"][u] * (features[i] @ p["projection"])).sum(1)

    expected = -torch.log(torch.sigmoid(score(user, better) - score(user, worse)))
    torch.testing.assert_close(losses, expected.detach())
    expected.sum().backward()
    for name in ("projection", "visual_bias"):
        torch.testing.assert_close(gradients[name], leaves[name].grad)
    for name in ("user_latent", "user_visual"):
        whole = torch.zeros_like(parameters[name]).index_add_(0, user, gradients[name])
        torch.testing.assert_close(whole, leaves[name].grad)
    for name in ("item_latent", "item_bias"):
        whole = torch.zeros_like(parameters[name])
        whole.index_add_(0, better, gradients[name]).index_add_(0, worse, -gradients[name])
        torch.testing.assert_close(whole, leaves[name].grad)


class TestFoldIn:
    def test_it_finds_the_minimum_that_a_general_optimiser_finds(self):
        rng = np.random.default_rng(0)
        items = rng.normal(size=(60, 5)).astype(np.float32)
        penalty = np.array([np.inf, 0.1, 0.1, 0.2, 0.2])
        start = np.array([1, 0, 0, 0, 0], dtype=np.float32)
        seen = np.array([3, 8, 20, 41])
        found = fold_in_bpr(items, items[[3, 8]], items[[20, 41]], seen, regularisation=penalty, start=start)
        assert found[0] == 1

        others = items[np.setdiff1d(np.arange(60), seen)]  # fewer than the draw: all of them
        liked = [(a - b) for a in items[[3, 8]] for b in [*others, *items[[20, 41]]]]
        disliked = [(a - b) for a in others for b in items[[20, 41]]]

        def objective(v):
            whole = np.concatenate([[1], v])
            pairs = [np.mean([np.logaddexp(0, -d @ whole) for d in part]) for part in (liked, disliked)]
            return np.mean(pairs) + (penalty[1:] * v * v).sum() / 2

        reference = minimize(objective, np.zeros(4), tol=1e-10)
        np.testing.assert_allclose(found[1:], reference.x, atol=1e-4)

    def test_the_start_does_not_matter(self):
        items = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
        penalty = np.full(6, 0.05)
        answers = [
            fold_in_bpr(items, items[:4], items[:0], np.arange(4), regularisation=penalty, start=start)
            for start in (np.zeros(6, np.float32), np.full(6, 7, np.float32))
        ]
        np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)

    def test_without_regularisation_it_stays_finite(self):
        items = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
        start = np.zeros(6, np.float32)
        found = fold_in_bpr(items, items[:1], items[:0], np.arange(1), regularisation=np.zeros(6), start=start)
        assert np.isfinite(found).all()
