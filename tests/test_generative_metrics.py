"""Figures of generated pictures, by hand, by an independent library, or by a property that they must have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from recgan.encoders.perceptual import PerceptualDistance
from recgan.evaluation.generative.figures import Bootstrap, coverage_by_class, pairs_within, share_by_class
from recgan.metrics.generative import (
    frechet_distance,
    inception_score,
    kernel_distance,
    nearest_neighbours,
    neighbourhoods,
    resampled_inception_scores,
    resampled_kernel_distances,
)
from recgan.metrics.pictures import structural_similarity


def test_the_frechet_distance_by_hand() -> None:
    # Means 1 and 4, variances 2 and 8: (1 - 4)^2 + 2 + 8 - 2 sqrt(16)
    assert frechet_distance(np.array([[0.0], [2.0]]), np.array([[2.0], [6.0]])) == pytest.approx(11.0)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 50, 8), (6, 5, 8)])
def test_the_frechet_distance_is_that_of_its_definition(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(1, 2, size=(m, d))
    c1, c2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    # Where there are fewer rows than columns the product is singular; its root is still well defined in the limit.
    root = sqrtm((c1 + 1e-12 * np.eye(d)) @ (c2 + 1e-12 * np.eye(d))).real
    wanted = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * np.trace(root)
    assert frechet_distance(real, fake) == pytest.approx(wanted, rel=1e-4)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_the_interval_of_the_kernel_distance_is_as_wide_as_the_distance_varies() -> None:
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(80, 4)), rng.normal(0.4, 1, size=(80, 4))) for _ in range(60)]
    varies = np.std([kernel_distance(*pair) for pair in draws])
    replicates = [resampled_kernel_distances(*pair, resamples=100, seed=1) for pair in draws[:10]]
    assert np.mean([np.std(one) for one in replicates]) == pytest.approx(varies, rel=0.3)
    # Pairs of a row with itself would shift them by k(x, x) / n, many times their spread.
    shifts = [np.mean(one) - kernel_distance(*pair) for one, pair in zip(replicates, draws)]
    assert abs(np.mean(shifts)) < varies / 2


def test_resampling_repeats_by_its_seed() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 20, 3))
    one, same, other = (resampled_kernel_distances(real, fake, resamples=5, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_nearest_neighbours_in_blocks_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries, among = rng.normal(size=(23, 5)), rng.normal(size=(40, 5))
    wanted = NearestNeighbors(n_neighbors=3).fit(among).kneighbors(queries)
    monkeypatch.setattr("recgan.metrics.generative._BLOCK_VALUES", 200)  # five queries at a time
    distances, rows = nearest_neighbours(queries, among, 3)
    assert np.array_equal(rows, wanted[1])
    assert distances == pytest.approx(wanted[0])


def test_the_inception_score_by_hand() -> None:
    assert inception_score(np.eye(4)) == pytest.approx(4)  # sure of each, and all classes there
    assert inception_score(np.full((6, 4), 0.25)) == pytest.approx(1)
    assert inception_score(np.tile([1.0, 0.0], (5, 1))) == pytest.approx(1)  # sure, but of one class alone
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    mean = p.mean(axis=0)
    assert inception_score(p) == pytest.approx(np.exp((p * np.log(p / mean)).sum(axis=1).mean()))


def test_replicates_of_the_inception_score_are_those_of_resampled_rows() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=40)
    replicates = resampled_inception_scores(p, resamples=50, seed=7)
    rows = np.random.default_rng(7).integers(0, 40, size=(50, 40))
    assert replicates == pytest.approx([inception_score(p[row]) for row in rows])


# pictures


def test_structural_similarity_by_hand() -> None:
    flat = [np.full((1, 16, 16, 3), value, dtype=np.uint8) for value in (100, 150)]
    assert structural_similarity(flat[0], flat[0])[0] == pytest.approx(1)
    c1 = (0.01 * 255) ** 2
    wanted = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)  # variances are nought
    assert structural_similarity(flat[0], flat[1])[0] == pytest.approx(wanted)


def test_structural_similarity_window_by_window() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 256, size=(2, 1, 12, 13, 3), dtype=np.uint8)
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    x, y = (picture[0] @ np.array([0.299, 0.587, 0.114]) for picture in (left, right))
    found = []
    for top in range(2):
        for side in range(3):
            a, b = x[top : top + 11, side : side + 11], y[top : top + 11, side : side + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            variances = (window * (a - mean_a) ** 2).sum() + (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = 2.55**2, 7.65**2
            found.append(
                (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
            )
    assert structural_similarity(left, right)[0] == pytest.approx(np.mean(found))


def test_structural_similarity_needs_whole_windows() -> None:
    small = np.zeros((1, 10, 16, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="from 11 px"):
        structural_similarity(small, small)


def test_the_perceptual_distance_orders_changes_of_a_picture() -> None:
    rng = np.random.default_rng(0)
    square = np.full((32, 32, 3), 255, dtype=np.uint8)
    square[8:24, 8:24] = (180, 40, 40)
    darker = square.copy()
    darker[8:24, 8:24] = (170, 40, 40)
    disc = np.full((32, 32, 3), 255, dtype=np.uint8)
    rows, columns = np.mgrid[:32, :32] - 15.5
    disc[rows**2 + columns**2 < 80] = (40, 40, 180)
    noise = rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
    others = np.stack([square, darker, disc, noise])
    distance = PerceptualDistance("cpu")
    found = distance(np.stack([square] * 4), others)
    assert found[0] == 0
    assert np.all(np.diff(found) > 0)
    assert found == pytest.approx(distance(others, np.stack([square] * 4)))
    assert found[2] == pytest.approx(distance(square[None], disc[None])[0], rel=1e-4)  # whatever else is in the batch


# estimates


def test_estimates_and_ratios() -> None:
    bootstrap = Bootstrap(resamples=2000, seed=0)
    values = np.repeat([0.0, 1.0], 50)
    found = bootstrap.mean(values)
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.4, 0.6), abs=0.021)  # 1.96 standard errors of 0.05
    against = bootstrap.ratio(values, np.full(10, 0.8))
    assert (against.generated, against.real, against.ratio.value) == pytest.approx((0.5, 0.8, 0.625))
    assert against.ratio.low == pytest.approx(0.4 / 0.8, abs=0.03)
    paired = bootstrap.paired_ratio(values, values)
    assert (paired.ratio.low, paired.ratio.high) == (1, 1)  # the same photos: nothing is uncertain
    assert np.isnan(bootstrap.ratio(values, np.zeros(10)).ratio.value)


def test_memorised_samples_are_those_nearer_than_one_photo_in_a_hundred() -> None:
    bootstrap = Bootstrap(resamples=1000, seed=0)
    real = np.arange(1.0, 1002.0)  # 1% lie below 11
    share, threshold = bootstrap.memorised(np.r_[np.full(30, 5.0), np.full(70, 500.0)], real)
    assert threshold == pytest.approx(11)
    assert share.value == 0.3
    assert 0.15 < share.low < 0.3 < share.high < 0.45
    alike, _ = bootstrap.memorised(np.random.default_rng(1).choice(real, 1000), real)
    assert alike.low < 0.01 < alike.high


def test_coverage_of_a_class_counts_its_own_samples_alone() -> None:
    real = np.array([[0.0], [1.0], [10.0], [11.0]])
    near = neighbourhoods(real, np.array([[0.5], [10.5], [90.0]]), k=1)
    assert near.coverage == 1
    # The sample among class 1's photos was made as class 0.
    found = coverage_by_class(near, np.array([0, 0, 1, 1]), np.array([0, 0, 1]), 3)
    assert found[:2].tolist() == [1, 0]
    assert np.isnan(found[2])


def test_shares_and_pairs_by_class() -> None:
    classes = np.array([2, 0, 2, 2, 0, 1, 2, 2])
    assert share_by_class(np.arange(8), classes, 4)[:3].tolist() == pytest.approx([2.5, 5, 18 / 5])
    left, right = pairs_within(classes)
    assert sorted(zip(left.tolist(), right.tolist())) == [(0, 2), (1, 4), (3, 6)]  # no row twice; the odd one is left
