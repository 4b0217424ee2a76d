"""Pairs of one hospital by hand."""

import keras
import numpy as np
import pytest

from detector.training.data.manifest import Example
from detector.training.fit.within import PAIRS, pair_loss, pair_targets, with_pairs


def soft(difference):
    return np.log1p(np.exp(difference))


class TestPairTargets:
    def test_covid_sick_and_the_hospitals_number(self):
        examples = [
            Example("1", "covid19", "raddb", hospital="several"),
            Example("2", "normal", "raddb", hospital="nih"),
            Example("3", "pneumonia_unspecified", "rsna", hospital="nih"),
        ]
        targets = pair_targets(examples)
        np.testing.assert_array_equal(targets[:, :2], [[1, 1], [0, 0], [0, 1]])
        assert targets[1, 2] == targets[2, 2] != targets[0, 2]
        assert targets.dtype == np.float32


class TestPairLoss:
    def loss(self, truth, scores):
        return float(pair_loss(np.array(truth, np.float32), np.array(scores, np.float32)))

    def test_by_hand(self):
        # In hospital 0 one sick picture and two normal ones, for the second score alone; hospital 1 has no pair.
        truth = [(0, 1, 0), (0, 0, 0), (0, 0, 0), (1, 1, 1)]
        scores = [(9, 2.0), (-9, 1.0), (5, 4.0), (0, -7.0)]
        assert self.loss(truth, scores) == pytest.approx((soft(1 - 2) + soft(4 - 2)) / 2)

    def test_both_scores_are_added(self):
        truth = [(1, 1, 0), (0, 0, 0)]
        assert self.loss(truth, [(1.0, 3.0), (0.0, 0.0)]) == pytest.approx(soft(-1) + soft(-3))

    def test_pairs_of_two_hospitals_cost_nothing(self):
        assert self.loss([(1, 1, 0), (0, 0, 1)], [(-50.0, -50.0), (50.0, 50.0)]) == 0


def test_the_second_view_gives_the_two_log_odds():
    image = keras.Input((1,))
    logits = {
        "binary": keras.layers.Dense(1, kernel_initializer="ones")(image),
        "three_class": keras.layers.Dense(3, bias_initializer=keras.initializers.Constant(0.0))(image),
    }
    view = with_pairs(keras.Model(image, logits))
    found = {name: np.asarray(value) for name, value in view(np.array([[2.0]], np.float32)).items()}
    three = found["three_class"][0]
    expected = [found["binary"][0, 0], np.log(np.exp(three[1]) + np.exp(three[2])) - three[0]]
    np.testing.assert_allclose(found[PAIRS][0], expected, rtol=1e-5)
