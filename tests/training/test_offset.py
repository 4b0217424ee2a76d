"""Offsets of hospitals: who gets one, what they do while training, and that they are gone afterwards."""

import keras
import numpy as np
import pytest

from detector.training.data.manifest import Example
from detector.training.fit.offset import HOSPITAL, Hospitals

TRAIN = [
    Example("1", "normal", "rsna", hospital="nih"),
    Example("2", "pneumonia_unspecified", "rsna", hospital="nih"),
    Example("3", "covid19", "ieee8023", hospital="several"),
    Example("4", "other_pneumonia", "ieee8023", hospital="several"),
    Example("5", "covid19", "hannover"),
]


def test_only_a_hospital_with_both_answers_to_a_question_has_an_offset():
    assert list(Hospitals(TRAIN).columns) == [("ieee8023", 0), ("nih", 1)]


def test_rows_name_the_offsets_that_count():
    found = Hospitals(TRAIN).rows([TRAIN[4], TRAIN[0], TRAIN[3], Example("6", "normal", "new")])
    np.testing.assert_array_equal(found, [[0, 0], [0, 1], [1, 0], [0, 0]])
    assert found.dtype == np.float32


@pytest.fixture
def network():
    image = keras.Input((1,), name="image")
    dense = keras.layers.Dense
    return keras.Model(image, {"binary": dense(1)(image), "three_class": dense(3)(image), "evidence": image})


def test_an_offset_moves_its_own_logit_and_no_other_output(network):
    view = Hospitals(TRAIN).with_offsets(network, 0.1)
    image = np.ones((2, 1), np.float32)
    plain = network(image)
    own = {id(weight) for weight in network.weights}
    binary, three = (weight for weight in view.weights if id(weight) not in own)
    asked = {"image": image, HOSPITAL: np.array([[1, 0], [0, 1]], np.float32)}
    for name, value in view(asked).items():
        np.testing.assert_array_equal(value, plain[name])  # they begin at nothing
    binary.assign([[5.0], [5.0]])
    three.assign([[7.0], [7.0]])
    moved = {name: np.asarray(value) - np.asarray(plain[name]) for name, value in view(asked).items()}
    np.testing.assert_allclose(moved["binary"], [[5], [0]], atol=1e-5)
    np.testing.assert_allclose(moved["three_class"], [[0, 0, 0], [7, 0, 0]], atol=1e-5)
    np.testing.assert_array_equal(moved["evidence"], 0)


def test_large_offsets_cost(network):
    view = Hospitals(TRAIN).with_offsets(network, 0.1)
    own = {id(weight) for weight in network.weights}
    binary, _ = (weight for weight in view.weights if id(weight) not in own)
    binary.assign([[2.0], [0.0]])
    assert float(sum(view.losses)) == pytest.approx(0.1 * 4)
