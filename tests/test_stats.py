"""Bootstrap and Holm's correction, by hand, by theory and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recgan.metrics.stats import bootstrap_means, holm, interval, paired_p_value


def test_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=400)
    ours = interval(bootstrap_means(values[:, None], resamples=4000, seed=1)[:, 0])
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bootstrap_spread_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=(500, 1))
    means = bootstrap_means(values, resamples=5000)
    assert means.mean() == pytest.approx(values.mean(), abs=0.005)
    assert means.std() == pytest.approx(values.std() / np.sqrt(500), rel=0.05)


def test_columns_are_resampled_together():
    base = np.random.default_rng(0).normal(size=300)
    means = bootstrap_means(np.stack([base, base + 0.25], axis=1), resamples=500)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 0.25, atol=1e-12)


def test_chunks_change_nothing_but_the_seed_does(monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 2))
    whole = bootstrap_means(values, resamples=64, seed=3)
    monkeypatch.setattr("recgan.metrics.stats._CHUNK_DRAWS", 200)
    np.testing.assert_array_equal(bootstrap_means(values, resamples=64, seed=3), whole)
    assert (bootstrap_means(values, resamples=64, seed=4) != whole).any()


def test_p_values_are_uniform_when_there_is_no_difference():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 400))  # 400 paired differences whose true mean is 0
    means = bootstrap_means(values, resamples=1000)
    p = np.array([paired_p_value(means[:, column]) for column in range(400)])
    assert 0.02 < (p < 0.05).mean() < 0.09
    assert 0.42 < (p < 0.5).mean() < 0.58


def test_p_value_of_a_plain_difference_is_the_smallest_there_is():
    assert paired_p_value(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert paired_p_value(np.zeros(999)) == 1


def test_holm_by_hand():
    # Sorted: .01 x 4 = .04; .02 x 3 = .06; .03 x 2 = .06; .5 x 1 = .5. Never falling, in the order given.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.5, 0.02]), [0.06, 0.04, 0.5, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([]).shape == (0,)
