"""One network taught by several: whose logits are averaged, what the distance is, and that it has a least value."""

import keras
import numpy as np
import pytest

from detector.errors import ModelError
from detector.training.fit.distillation import TAUGHT, Teachers, distance, with_taught


class Constant:
    """A teacher that answers the mean of what it is shown, once for each logit, times its own factor."""

    def __init__(self, factor):
        self.factor = factor

    def predict_on_batch(self, inputs):
        mean = self.factor * inputs.mean(axis=(1, 2))
        return {"three_class": np.repeat(mean, 3, axis=1), "binary": -mean}


def test_logits_of_all_teachers_are_averaged_each_on_what_it_is_shown():
    lungs, whole = (np.full((2, 4, 4, 1), value, np.float32) for value in (1, 10))
    found = Teachers([Constant(1), Constant(3)], [Constant(1)]).logits(lungs, whole)
    mean = (1 + 3 + 10) / 3
    np.testing.assert_allclose(found, [[-mean, mean, mean, mean]] * 2, rtol=1e-6)


def test_distance_by_hand():
    taught, own = np.array([[2.0, 0, 2, 4]]), np.array([[0.0, 2, 0, 0]])
    binary = np.log(2)  # a student that does not know, whoever teaches
    chances = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    three = -(chances * np.log(np.exp([1, 0, 0]) / np.exp([1, 0, 0]).sum())).sum()
    found = keras.ops.convert_to_numpy(distance(keras.ops.array(taught), keras.ops.array(own)))
    assert found == pytest.approx([4 * (binary + three)])  # at a temperature of 2


def test_nothing_is_nearer_to_the_teachers_than_they_are_themselves():
    rng = np.random.default_rng(0)
    taught = keras.ops.array(rng.normal(size=(50, 4)).astype(np.float32))
    others = keras.ops.array(rng.normal(size=(50, 4)).astype(np.float32))
    assert (keras.ops.convert_to_numpy(distance(taught, others) - distance(taught, taught)) > 0).all()


def test_taught_logits_are_the_network_s_own_and_share_its_weights(one_unit):
    network, inputs = one_unit
    watched = with_taught(network)
    outputs = watched.predict_on_batch(inputs)
    np.testing.assert_array_equal(outputs[TAUGHT], np.concatenate([outputs["binary"], outputs["three_class"]], axis=1))
    assert {id(w) for w in watched.weights} == {id(w) for w in network.weights}


def test_teachers_are_loaded_from_their_files(one_unit, tmp_path):
    network, inputs = one_unit
    network.save(tmp_path / "one.keras")
    taught = Teachers.load([str(tmp_path / "one.keras")], []).logits(inputs, inputs)
    outputs = network.predict_on_batch(inputs)
    assert len(np.unique(taught)) == taught.size
    np.testing.assert_allclose(taught, np.concatenate([outputs["binary"], outputs["three_class"]], axis=1), rtol=1e-5)


@pytest.mark.parametrize("content", [None, b"no network"], ids=["missing", "something else"])
def test_a_file_that_is_no_network_is_named(tmp_path, content):
    if content:
        (tmp_path / "bad.keras").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.keras cannot teach"):
        Teachers.load([], [str(tmp_path / "bad.keras")])
