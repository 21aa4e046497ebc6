"""The parts that recommenders are made of: whitening, the sampler, the index, VBPR's gradients, fold-in."""

from __future__ import annotations

import tracemalloc

import faiss
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import minimize

from recgan.dataset.split import Pairs
from recgan.errors import DataError, SettingsError
from recgan.recommenders.data import UserRows
from recgan.recommenders.fold_in import _Pairs, _Softmax, fold_in_bpr, fold_in_softmax
from recgan.recommenders.models.ideal_points import IdealPoints
from recgan.recommenders.models.popularity import log_popularity
from recgan.recommenders.models.smoothing import SmoothedWhitening
from recgan.recommenders.models.whitening import Whitening
from recgan.recommenders.topk.index import FlatIndex, top_k
from recgan.recommenders.training.losses import pairwise_loss, rank_weights, ranked_hinge_loss, sampled_softmax_loss
from recgan.recommenders.training.sampler import InBatchNegatives, NegativeSampler, popularity_weights


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
        monkeypatch.setattr("recgan.recommenders.models.whitening._CHUNK", 7)
        monkeypatch.setattr(Whitening, "_rows_at_once", 7)
        np.testing.assert_allclose(Whitening.fit(features, 5).matrix, whole.matrix, atol=1e-5)
        np.testing.assert_allclose(whole.apply(features), (features - whole.mean) @ whole.matrix, atol=1e-5)

    def test_a_large_catalogue_is_fitted_on_a_sample(self, features, monkeypatch):
        monkeypatch.setattr("recgan.recommenders.models.whitening._FITTED_ROWS", 400)
        sampled = Whitening.fit(features, 3)
        rows = np.isin(np.arange(600), np.random.default_rng(0).choice(600, 400, replace=False))
        np.testing.assert_array_equal(sampled.matrix, Whitening.fit(features, 3, rows).matrix)
        assert not np.array_equal(Whitening.fit(features[:400], 3).matrix, sampled.matrix)

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
        with pytest.raises(DataError, match=r"row 123 .*not finite"):
            Whitening.fit(features, 4)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30])
    @pytest.mark.parametrize("smoothed", [False, True])
    def test_a_row_that_was_not_fitted_on_is_refused_by_its_number(self, features, wrong, smoothed):
        whitening = Whitening.fit(features, 4)
        if smoothed:
            anchors = whitening.apply(features).astype(np.float16)
            whitening = SmoothedWhitening(whitening.mean, whitening.matrix, anchors=anchors)
        many = np.tile(features, (20, 1))
        many[9876, 5] = wrong
        with pytest.raises(DataError, match=r"row 9876 .*not finite or far too large"):
            whitening.apply(many, out=np.empty((len(many), 4), dtype=np.float16))


class TestSmoothing:
    def smoothed(self, anchors, **options):
        width = anchors.shape[1]
        plain = Whitening(np.zeros(width, np.float32), 2 * np.eye(width, dtype=np.float32))
        return SmoothedWhitening(plain.mean, plain.matrix, anchors=anchors.astype(np.float16), **options)

    def test_a_picture_moves_towards_the_items_nearest_to_it(self):
        anchors = np.array([[4, 0], [2, 1], [0, 3], [-8, 0]])
        features = np.array([[1, 0.1], [0, 2]], dtype=np.float32)  # whitened: doubled
        found = self.smoothed(anchors, neighbours=2, weight=0.25).apply(features)
        first = 0.75 * np.array([2, 0.2]) + 0.25 * np.array([3, 0.5])  # by the angle the first two are the nearest
        second = 0.75 * np.array([0, 4]) + 0.25 * np.array([1, 2])
        np.testing.assert_allclose(found, [first, second], rtol=1e-6)

    def test_tensors_and_arrays_agree_and_chunks_do_not_matter(self, monkeypatch):
        rng = np.random.default_rng(0)
        smooth = self.smoothed(rng.normal(size=(30, 4)), neighbours=5)
        features = rng.normal(size=(20, 4)).astype(np.float32)
        whole = smooth.apply(features)
        np.testing.assert_allclose(smooth(torch.from_numpy(features)).numpy(), whole, rtol=1e-6)
        monkeypatch.setattr(SmoothedWhitening, "_rows_at_once", 3)
        np.testing.assert_allclose(smooth.apply(features, out=np.empty((20, 4), np.float16)), whole, atol=4e-3)

    def test_gradients_are_those_of_the_picture_s_own_share(self):
        smooth = self.smoothed(np.eye(3), neighbours=99, weight=0.4)
        features = torch.rand(2, 3, requires_grad=True)
        (gradient,) = torch.autograd.grad(smooth(features).sum(), features)
        torch.testing.assert_close(gradient, torch.full((2, 3), 0.6 * 2))


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

    def test_draws_are_in_proportion_to_the_weights(self):
        known = Pairs(np.array([0, 0, 1, 1, 1]), np.array([1, 5, 0, 2, 4]))
        weights = np.array([3, 1, 0, 6, 2, 4])
        sampler = NegativeSampler(known, 3, weights)
        items = sampler.draw(torch.arange(3).repeat_interleave(30_000), torch.Generator().manual_seed(0)).reshape(3, -1)
        for user, drawn in enumerate(items.numpy()):
            left = weights.copy()
            left[known.items[known.users == user]] = 0
            assert sampler.free[user] == left.sum()
            counts = np.bincount(drawn, minlength=6)
            assert not counts[left == 0].any()
            assert stats.chisquare(counts[left > 0], 30_000 * left[left > 0] / left.sum()).pvalue > 1e-4

    def test_weights_follow_the_counts(self):
        counts = np.array([0, 1, 16, 81])
        assert popularity_weights(counts, 0).tolist() == [0, 1, 1, 1]
        assert popularity_weights(counts, 1).tolist() == [0, 1, 16, 81]
        half = popularity_weights(counts, 0.5)
        np.testing.assert_allclose(half / half[1], [0, 1, 4, 9], rtol=0.01)


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


def test_sums_over_users_items_are_taken_part_by_part(monkeypatch):
    monkeypatch.setattr("recgan.recommenders.data.USER_CHUNK", 2)
    rng = np.random.default_rng(0)
    users, items = rng.choice([0, 1, 2, 4, 6], 40), rng.integers(0, 9, 40)  # users 3 and 5 took nothing
    values = rng.normal(size=(9, 3)).astype(np.float32)
    expected = np.zeros((7, 3))
    np.add.at(expected, users, values[items])
    rows = UserRows.of(Pairs(users, items), 7)
    assert rows.sums(values).dtype == np.float32
    np.testing.assert_allclose(rows.sums(values), expected, atol=1e-5)
    np.testing.assert_allclose(rows.sums(values, 1, 6), expected[1:6], atol=1e-5)
    np.testing.assert_allclose(rows.sums(values, 5, 99), expected[5:], atol=1e-5)


def test_user_rows_by_hand():
    rows = UserRows.of(Pairs(np.array([2, 0, 2, 0]), np.array([5, 9, 1, 3])), 4)
    assert [rows[user].tolist() for user in range(4)] == [[3, 9], [], [1, 5], []]
    places, items = rows.pairs(np.array([2, 3, 0, 2]))
    assert places.tolist() == [0, 0, 2, 2, 3, 3]
    assert items.tolist() == [1, 5, 3, 9, 1, 5]


class TestLosses:
    @pytest.fixture
    def normal(self):
        generator = torch.Generator().manual_seed(0)
        return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)

    def test_the_pairwise_loss_is_that_of_bpr(self, normal):
        users, differences = normal(4, 3).requires_grad_(), normal(4, 3).requires_grad_()
        expected = -torch.log(torch.sigmoid((users * differences).sum(1)))
        expected.sum().backward()
        losses, to_users, to_differences = pairwise_loss(users.detach(), differences.detach())
        torch.testing.assert_close(losses, expected.detach())
        torch.testing.assert_close(to_users, users.grad)
        torch.testing.assert_close(to_differences, differences.grad)

    def test_warp_weighs_the_hinge_by_the_rank_that_the_trials_tell(self, normal):
        users, differences = normal(4, 3).requires_grad_(), normal(4, 3).requires_grad_()
        with torch.no_grad():
            differences[0] = 2 * users[0] / users[0].square().sum()  # 2 apart: beyond the margin
        trials, free = torch.tensor([1, 1, 3, 10]), torch.tensor([101, 101, 101, 5])
        losses, to_users, to_differences = ranked_hinge_loss(users, differences, rank_weights(trials, free))
        ranks = [100, 100, 33, 0]  # (n - 1) / t
        for place, rank in enumerate(ranks):
            hinge = max(0.0, 1 - (users[place] @ differences[place]).item())
            assert losses[place].item() == pytest.approx(np.log(1 + rank) * hinge, rel=1e-5)
        assert losses[0] == 0
        assert losses[1] > 0
        losses.sum().backward()
        torch.testing.assert_close(to_users, users.grad)
        torch.testing.assert_close(to_differences, differences.grad)

    def test_the_sampled_softmax_by_a_loop_over_the_pairs(self, normal):
        users, items, weights = normal(3, 4).requires_grad_(), normal(6, 4).requires_grad_(), normal(6)
        taken = (torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 5, 2, 0, 3]))
        known = {0: [0, 1, 5], 1: [2], 2: [0, 1, 2, 3, 4, 5]}  # the last one has nothing left to compare with
        expected = []
        for user, item in zip(*(places.tolist() for places in taken)):
            others = [other for other in range(6) if other not in known[user]]
            own = users[user] @ items[item]
            rest = [torch.exp(users[user] @ items[other] + weights[other]) for other in others]
            expected.append(-own + torch.log(torch.exp(own) + sum(rest)))
        torch.stack(expected).sum().backward()
        pairs = [(user, item) for user, own in known.items() for item in own]
        losses, to_users, to_items = sampled_softmax_loss(
            users.detach(), items.detach(), taken, tuple(torch.tensor(pairs).T), weights
        )
        torch.testing.assert_close(losses, torch.stack(expected).detach())
        torch.testing.assert_close(to_users, users.grad)
        torch.testing.assert_close(to_items, items.grad)


class TestInBatchNegatives:
    def test_a_batch_by_hand(self):
        known = Pairs(np.array([0, 0, 0, 2, 2, 1]), np.array([4, 1, 3, 1, 0, 4]))
        counts = np.array([0, 2, 5, 1, 2])  # of ten; item 0 was not taken in train
        negatives = InBatchNegatives(known, 3, counts)
        assert negatives.free.tolist() == [1, 3, 3]
        for _ in range(2):  # nothing of the first batch is left for the second
            batch = negatives.batch(torch.tensor([2, 0, 0]), torch.tensor([1, 4, 1]))
            assert (batch.users.tolist(), batch.items.tolist()) == ([0, 2], [1, 4])
            assert [places.tolist() for places in batch.taken] == [[1, 0, 0], [0, 1, 0]]
            assert sorted(zip(*(places.tolist() for places in batch.known))) == [(0, 0), (0, 1), (1, 0)]
            # Item 1 is there twice and was expected 3 * 0.2 times, item 4 once.
            np.testing.assert_allclose(batch.log_weights, np.log([2 / 0.6, 1 / 0.6]), rtol=1e-6)

    def test_the_corrected_sum_over_batches_is_the_sum_over_the_items(self):
        """What the weights are for: without them popular items would count by how often they are drawn."""
        counts = np.array([8, 1, 4, 2, 1])
        items = torch.from_numpy(np.repeat(np.arange(5), counts))
        negatives = InBatchNegatives(Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64)), 1, counts)
        generator, total = torch.Generator().manual_seed(0), torch.zeros(5)
        for _ in range(4000):
            drawn = items[torch.randint(0, 16, (6,), generator=generator)]
            batch = negatives.batch(torch.zeros(6, dtype=torch.int64), drawn)
            total[batch.items] += batch.log_weights.exp()
        np.testing.assert_allclose(total / 4000, 1, atol=0.06)


class TestIdealPoints:
    def test_a_score_is_the_log_of_the_likelihood_ratio(self):
        points = IdealPoints(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.array([2.0, 0.5], np.float32))
        taken, items = np.array([[1.0, 0.5], [2.0, -1.0], [0.4, 0.1]]), np.random.default_rng(0).normal(size=(50, 2))
        scores = np.concatenate([items, items**2], axis=1) @ points.users(taken.sum(axis=0)[None], np.array([3]))[0]
        expected = np.zeros(50)
        for direction, variance in enumerate(points.variances):
            # The joint Gaussian of four items of one user, by its covariance; then of the fourth given the others.
            joint = variance * np.ones((4, 4)) + np.eye(4)
            weights = np.linalg.solve(joint[:3, :3], joint[:3, 3])
            mean, left = weights @ taken[:, direction], joint[3, 3] - weights @ joint[:3, 3]
            own = items[:, direction]
            expected += stats.norm.logpdf(own, mean, left**0.5) - stats.norm.logpdf(own, 0, (1 + variance) ** 0.5)
        np.testing.assert_allclose(scores - scores.mean(), expected - expected.mean(), atol=1e-5)

    def test_moments_are_found_again(self):
        rng = np.random.default_rng(0)
        mix = rng.normal(size=(5, 5))
        users = np.repeat(np.arange(3000), rng.integers(1, 9, 3000))
        points = rng.normal(size=(3000, 5)) * np.sqrt([3.0, 1.0, 0.3, 0, 0])
        features = ((points[users] + rng.normal(size=(len(users), 5))) @ mix + 4).astype(np.float32)
        found = IdealPoints.fit(features, UserRows.of(Pairs(users, np.arange(len(users))), 3000), 3)
        np.testing.assert_allclose(found.variances, [3, 1, 0.3], rtol=0.12)
        z = (features - found.mean) @ found.directions
        truth = (features - features.mean(axis=0)) @ np.linalg.inv(mix)
        assert np.abs([np.corrcoef(z[:, d], truth[:, d])[0, 1] for d in range(3)]).min() > 0.95

    def test_users_who_cannot_be_told_apart_have_no_directions(self):
        features = np.random.default_rng(0).normal(size=(30, 3))
        alike = np.concatenate([features[:15], -features[:15]])
        for looks in (alike, np.zeros((30, 3))):
            found = IdealPoints.fit(looks, UserRows.of(Pairs(np.tile(np.arange(15), 2), np.arange(30)), 15), 2)
            assert found.dim == 0
            assert found.users(np.zeros((4, 0)), np.ones(4)).shape == (4, 0)

    def test_users_with_one_item_each_are_refused(self):
        features = np.random.default_rng(0).normal(size=(30, 3))
        with pytest.raises(DataError, match="at least two items"):
            IdealPoints.fit(features, UserRows.of(Pairs(np.arange(30), np.arange(30)), 30), 2)


class TestFoldIn:
    def test_it_finds_the_minimum_that_a_general_optimiser_finds(self):
        rng = np.random.default_rng(0)
        items = rng.normal(size=(60, 5)).astype(np.float32)
        penalty = np.array([np.inf, 0.1, 0.1, 0.2, 0.2])
        start = np.array([1, 0, 0, 0, 0], dtype=np.float32)
        seen = np.array([3, 8, 20, 41])
        found = fold_in_bpr(items, items[[3, 8]], items[[20, 41]], seen, regularisation=penalty, start=start).vector()
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

    def test_a_softmax_is_folded_in_by_its_own_loss(self):
        items = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
        liked, disliked, seen = items[[3, 8]], items[[20, 41]], np.array([3, 8, 20, 41])
        penalty, start = np.array([np.inf, 0.1, 0.2, 0.1, 0.1]), np.eye(5, dtype=np.float32)[0]
        others = items[np.setdiff1d(np.arange(60), seen)]
        more = [items[k] - d for k in [3, 8, *np.setdiff1d(np.arange(60), seen)] for d in disliked]

        def objective(v, push):
            whole = np.concatenate([[1], v])
            mass = np.exp(others @ whole).sum()
            parts = [np.mean([-np.log(np.exp(i @ whole) / (np.exp(i @ whole) + mass)) for i in liked])]
            if push:
                parts.append(np.mean([np.logaddexp(0, -d @ whole) for d in more]))
            return np.mean(parts) + (penalty[1:] * v * v).sum() / 2

        for push in (False, True):
            given = disliked if push else items[:0]
            found = fold_in_softmax(items, liked, given, seen, regularisation=penalty, start=start).vector()
            assert found[0] == 1
            np.testing.assert_allclose(found[1:], minimize(objective, np.zeros(4), (push,), tol=1e-10).x, atol=1e-4)

    def test_a_large_catalogue_is_drawn_from_and_weighed_up(self):
        rng = np.random.default_rng(0)
        items = rng.normal(size=(30_000, 3)).astype(np.float32)
        penalty = np.full(3, 0.05)
        problem = fold_in_softmax(items, items[:2], items[:0], np.arange(2), regularisation=penalty, start=np.zeros(3))
        drawn = problem.vector()
        others = items[2:].astype(np.float64)

        def objective(v):
            mass = np.exp(others @ v).sum()
            return np.mean([np.log(np.exp(i @ v) + mass) - i @ v for i in items[:2]]) + 0.025 * v @ v

        np.testing.assert_allclose(drawn, minimize(objective, np.zeros(3), tol=1e-10).x, atol=0.1)

    @pytest.mark.parametrize("fold_in", [fold_in_bpr, fold_in_softmax])
    def test_the_start_does_not_matter(self, fold_in):
        items = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
        penalty = np.full(6, 0.05)
        answers = [
            fold_in(items, items[:4], items[:0], np.arange(4), regularisation=penalty, start=start).vector()
            for start in (np.zeros(6, np.float32), np.full(6, 7, np.float32))
        ]
        np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)

    def test_without_regularisation_it_stays_finite(self):
        items = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
        start = np.zeros(6, np.float32)
        found = fold_in_bpr(items, items[:1], items[:0], np.arange(1), regularisation=np.zeros(6), start=start)
        assert np.isfinite(found.vector()).all()

    def test_pairs_have_the_terms_of_their_differences(self):
        rng = np.random.default_rng(2)
        better, worse = (rng.normal(50, 1, size=(count, 4)).astype(np.float32) for count in (7, 11))
        v, pairs = rng.normal(size=4), _Pairs.of(better, worse)
        differences = (better.astype(np.float64)[:, None] - worse).reshape(-1, 4)
        wrong = 1 / (1 + np.exp(differences @ v))
        value, gradient, curvature = pairs(v)
        assert value == pytest.approx(-np.log(1 - wrong).mean(), rel=1e-12)
        np.testing.assert_allclose(gradient, -wrong @ differences / 77, rtol=1e-10, atol=1e-12)
        bend = (differences * (wrong * (1 - wrong))[:, None]).T @ differences / 77
        np.testing.assert_allclose(curvature, bend, rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("part", ["pairs", "softmax"])
    def test_rows_make_up_their_mean(self, part):
        items, v = np.random.default_rng(3).normal(size=(40, 5)), np.random.default_rng(4).normal(size=5)
        of = _Pairs.of(items[:6], items[6:]) if part == "pairs" else _Softmax(items[:6], items[6:], 0.7)
        _, gradient, curvature = of(v)
        gradients, bend = of.rows(v)
        np.testing.assert_allclose(gradients.mean(axis=0), gradient, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(np.mean([bend(row) for row in range(6)], axis=0), curvature, rtol=1e-9, atol=1e-12)
        (_, left, _), rest = of.without(2)(v), np.delete(gradients, 2, axis=0)
        np.testing.assert_allclose(left, rest.mean(axis=0), rtol=1e-9, atol=1e-12)

    def test_a_long_history_needs_no_memory_for_differences(self):
        liked, wide = 1500, 64
        items = np.random.default_rng(5).normal(size=(3000, wide)).astype(np.float32)
        problem = fold_in_bpr(
            items, items[:liked], items[:0], np.arange(liked), regularisation=np.full(wide, 0.1), start=np.zeros(wide)
        )
        tracemalloc.start()
        try:
            problem.vector()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        pairs = liked * 512
        assert peak < 8 * 8 * pairs  # some doubles a pair, not `wide` of them

    @pytest.mark.parametrize("fold_in", [fold_in_bpr, fold_in_softmax])
    @pytest.mark.parametrize(("count", "near"), [(2, 1e-4), (9, 1e-4), (80, 0.05)])
    def test_contributions_are_what_leaving_out_changes(self, fold_in, count, near):
        items = np.random.default_rng(6).normal(size=(700, 6)).astype(np.float32)
        order = np.argsort(-items[:, 1] - 0.5 * items[:, 2])
        seen, disliked = order[: count + 3], items[order[count : count + 3]]
        penalty = np.array([np.inf, 0.03, 0.03, 0.03, 0.03, 0.03])
        start = np.eye(6, dtype=np.float32)[0]

        def problem(rows):
            return fold_in(items, items[rows], disliked, seen, regularisation=penalty, start=start)

        whole = problem(order[:count])
        true = whole.vector() - [problem(np.delete(order[:count], row)).vector() for row in range(count)]
        found = whole.contributions()
        assert np.abs(true).max() > 1e-3
        np.testing.assert_allclose(found, true, atol=near * np.abs(true).max())
