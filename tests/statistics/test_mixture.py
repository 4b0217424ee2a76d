"""The nearest mixture of groups: by hand, against a general optimiser, and on samples that are, or are not, one."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.metrics.pairwise import rbf_kernel

from detector.statistics.mixture import fourier_features, nearest_mixture

RNG = np.random.default_rng(3)


def test_three_quarters_between_two_groups_by_hand():
    means = np.array([[0.0, 0.0], [4.0, 0.0]])
    found = nearest_mixture(np.array([[3.0, 1.0], [3.0, 3.0]]), means)
    assert found.shares == pytest.approx([0.25, 0.75], abs=1e-5)
    assert found.ratio == pytest.approx(2 * 4 / 2)  # n = 2, squared distance 4, variances 0 and 2


def test_beyond_the_last_group_its_share_is_all():
    found = nearest_mixture(np.array([[9.0, 0.0], [9.0, 1.0]]), np.array([[0.0, 0.0], [4.0, 0.0]]))
    assert found.shares == pytest.approx([0, 1], abs=1e-5)


def test_shares_are_those_of_a_general_optimiser():
    means, sample = RNG.normal(size=(4, 6)), RNG.normal(size=(30, 6)) + 0.3
    middle = sample.mean(axis=0)
    oracle = optimize.minimize(
        lambda w: ((middle - w @ means) ** 2).sum(), np.full(4, 0.25), bounds=[(0, 1)] * 4, tol=1e-12,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, method="SLSQP",
    )  # fmt: skip
    assert nearest_mixture(sample, means).shares == pytest.approx(oracle.x, abs=1e-3)


def test_inner_products_are_those_of_a_gaussian_kernel():
    points = RNG.normal(size=(20, 3))
    features = fourier_features(points, RNG.normal(size=(3, 20_000)), RNG.uniform(0, 2 * np.pi, 20_000))
    assert features @ features.T == pytest.approx(rbf_kernel(points, gamma=0.5), abs=0.03)


def test_a_mixture_is_near_one_in_any_shares_and_a_stranger_is_not():
    frequencies, phases = RNG.normal(size=(2, 300)), RNG.uniform(0, 2 * np.pi, 300)
    groups = [RNG.normal(size=(4000, 2)) * 0.3 + place for place in ((0, 0), (2, 0))]
    means = np.array([fourier_features(group, frequencies, phases).mean(axis=0) for group in groups])
    mixed = np.concatenate([groups[0][:10], groups[1][:50]])
    stranger = RNG.normal(size=(60, 2)) * 0.3 + (1, 0)  # in the middle of both: their mean, but none of their points
    ratios = [nearest_mixture(fourier_features(s, frequencies, phases), means).ratio for s in (mixed, stranger)]
    assert ratios[0] < 2
    assert ratios[1] > 10


@pytest.mark.parametrize("sample", [np.zeros((1, 2)), np.ones((5, 2))])
def test_one_point_has_no_spread(sample):
    with pytest.raises(ValueError, match="two different points"):
        nearest_mixture(sample, np.zeros((2, 2)))
