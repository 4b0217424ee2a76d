"""Exact intervals from counts."""

import math

import numpy as np
import pytest

from detector.statistics.intervals import exact_interval, half_width, likelihood_ratio_interval, more_to_halve


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129)],  # Clopper and Pearson's own table
)
def test_share(hits, n, low, high):
    assert exact_interval(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_no_cases_have_no_share():
    with pytest.raises(ValueError, match="n"):
        exact_interval(0, 0)


def test_ratio_lies_in_its_interval_and_may_be_open():
    low, high = likelihood_ratio_interval(45, 50, 5, 50)
    assert low < 9 < high
    assert likelihood_ratio_interval(45, 50, 0, 50)[1] == math.inf
    assert likelihood_ratio_interval(0, 50, 5, 50)[0] == 0


def test_ratio_holds_the_truth_at_least_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(400):
        a, b = rng.binomial(30, 0.8), rng.binomial(30, 0.3)
        low, high = likelihood_ratio_interval(int(a), 30, int(b), 30)
        held.append(low <= 0.8 / 0.3 <= high)
    assert np.mean(held) >= 0.95


def test_halving_takes_about_four_times_as_many():
    more = more_to_halve(0.8, 20)
    assert 40 <= more <= 70
    assert half_width(0.8, 20 + more) <= half_width(0.8, 20) / 2
