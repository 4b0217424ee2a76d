"""Conformal quantiles, by hand and by drawing."""

import math

import numpy as np
import pytest

from detector.statistics.conformal import conformal_quantile


@pytest.mark.parametrize(
    ("scores", "coverage", "expected"),
    [
        ([0.1, 0.4, 0.2, 0.3], 0.75, 0.4),  # ceil(5 * 0.75) = 4
        ([0.1, 0.4, 0.2, 0.3], 0.6, 0.3),  # exactly 3
        ([0.1, 0.4, 0.2, 0.3], 0.9, math.inf),  # ceil(4.5) = 5: four cases can't promise that
        ([], 0.5, math.inf),
        ([0.2] * 9, 0.9, 0.2),  # ties; ceil(10 * 0.9) = 9
    ],
)
def test_quantile_by_hand(scores, coverage, expected):
    assert conformal_quantile(np.array(scores), coverage) == expected


@pytest.mark.parametrize("coverage", [0, 1, -0.5, math.nan])
def test_coverage_outside_is_no_coverage(coverage):
    with pytest.raises(ValueError, match="coverage"):
        conformal_quantile(np.array([0.5]), coverage)


def test_a_score_that_is_no_number_is_said():
    with pytest.raises(ValueError, match="finite"):
        conformal_quantile(np.array([0.5, np.nan]), 0.5)


@pytest.mark.parametrize("n", [20, 50])
def test_promised_share_is_kept_on_average(n):
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(4000, n + 1))
    kept = [row[-1] <= conformal_quantile(row[:-1], 0.9) for row in drawn]
    expected = math.ceil((n + 1) * 0.9) / (n + 1)
    assert np.mean(kept) == pytest.approx(expected, abs=0.015)
