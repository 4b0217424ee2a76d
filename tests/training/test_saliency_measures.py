"""What a grid can keep, what is exchanged, areas and log-odds: each by hand."""

import numpy as np
import pytest

from detector.model.calibration import Calibration
from detector.schema import BINARY, THREE_CLASS
from detector.training.measure.saliency import (
    FRACTIONS,
    area_under,
    blurred,
    class_scores,
    exchanged,
    grid_ceiling,
    lung_prior,
    own_lungs,
)

HALF = np.array([[True, True, False, False]] * 4)
CALIBRATION = Calibration({"binary": 2.0, "three_class": 1.0}, {}, {})


@pytest.mark.parametrize(
    ("field", "grid", "expected"),
    [
        # Two cells a row, 1 and 0, become 1, 3/4, 1/4, 0: of 2 in all, 7/4 lie in the lung.
        pytest.param(HALF, (2, 2), 7 / 8, id="half a picture on two cells"),
        pytest.param(HALF, (4, 4), 1, id="a grid as fine as the field"),
        pytest.param(HALF, (1, 1), 1 / 2, id="one cell"),
        pytest.param(np.ones((4, 4), bool), (2, 2), 1, id="lung everywhere"),
        pytest.param(np.zeros((4, 4), bool), (2, 2), None, id="no lung"),
    ],
)
def test_ceiling_of_a_grid(field, grid, expected):
    assert grid_ceiling(field, grid) == (None if expected is None else pytest.approx(expected))


def test_prior_is_the_mean_lung_on_the_grid():
    np.testing.assert_allclose(lung_prior([HALF, ~HALF, HALF], (2, 2)), [[2 / 3, 1 / 3]] * 2)


def test_own_lungs_are_strongest_in_their_middle():
    field = np.zeros((40, 40), bool)
    field[5:35, 10:30] = True
    depth = own_lungs(field, (8, 8))
    assert depth[3:5, 3:5].min() > depth[3:5, [2, 5]].max() > 0
    assert depth[0].max() == 0


def test_the_strongest_parts_go_first_and_come_first():
    cam = np.arange(100.0).reshape(10, 10)  # the last row is the strongest
    pixels, donor = np.ones((10, 10, 1), np.float32), np.zeros((10, 10, 1), np.float32)
    taken = exchanged(pixels, donor, cam, insert=False)[..., 0]
    given = exchanged(pixels, donor, cam, insert=True)[..., 0]
    assert taken.shape == (11, 10, 10)
    for step in range(11):
        np.testing.assert_array_equal(taken[step], np.repeat(np.arange(10) < 10 - step, 10).reshape(10, 10))
        np.testing.assert_array_equal(taken[step] + given[step], 1)


def test_constant_map_exchanges_in_a_fixed_order_and_as_much():
    pixels = np.ones((10, 10, 1), np.float32)
    taken = exchanged(pixels, 0 * pixels, np.zeros((2, 2)), insert=False)
    np.testing.assert_allclose(taken.mean(axis=(1, 2, 3)), 1 - FRACTIONS)


def test_ends_are_the_picture_and_the_donor():
    pixels, donor = np.random.default_rng(0).random((2, 20, 20, 1)).astype(np.float32)
    before = pixels.copy(), donor.copy()
    taken, given = (exchanged(pixels, donor, np.eye(4), insert=insert) for insert in (False, True))
    for steps, (first, last) in ((taken, (pixels, donor)), (given, (donor, pixels))):
        np.testing.assert_array_equal(steps[0], first)
        np.testing.assert_array_equal(steps[-1], last)
    np.testing.assert_array_equal((pixels, donor), before)


def test_blur_leaves_no_ribs():
    ribs = np.tile(np.sin(np.arange(160) * 2 * np.pi / 16), (160, 1)).astype(np.float32)[..., None]
    assert np.abs(blurred(ribs)[40:120, 40:120]).max() < 0.01
    assert np.abs(ribs).max() > 0.9


@pytest.mark.parametrize(
    ("curve", "expected"),
    [(np.full(11, 0.3), 0.3), (1 - FRACTIONS, 0.5), (np.eye(11)[0], 0.05)],
    ids=["constant", "straight", "gone at the first step"],
)
def test_area(curve, expected):
    assert area_under(curve) == pytest.approx(expected)


def test_binary_scores_by_hand():
    probability, log_odds = class_scores(BINARY, 0, np.array([[2.0]]), CALIBRATION)
    assert (probability[0], log_odds[0]) == (pytest.approx(1 / (1 + np.exp(-1))), 1)
    probability, log_odds = class_scores(BINARY, 1, np.array([[2.0]]), CALIBRATION)
    assert (probability[0], log_odds[0]) == (pytest.approx(1 / (1 + np.exp(1))), -1)


@pytest.mark.parametrize("target", [0, 1, 2])
def test_three_class_log_odds_are_those_of_the_probability(target):
    logits = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    probability, log_odds = class_scores(THREE_CLASS, target, logits, CALIBRATION)
    np.testing.assert_allclose(log_odds, np.log(probability / (1 - probability)))


def test_log_odds_stay_numbers_where_the_probability_is_one():
    probability, log_odds = class_scores(THREE_CLASS, 0, np.array([[900.0, 0.0, 0.0]]), CALIBRATION)
    assert probability[0] == 1
    assert log_odds[0] == pytest.approx(900 - np.log(2))
