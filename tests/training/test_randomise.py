"""Random weights: in which order, of what size, and gone again."""

import numpy as np
import pytest

from detector.model.network import Stage, build_network
from detector.training.audit.randomise import TOP, randomise, stages_from_the_top, weights_restored

STAGES = (Stage(3, 1, 1, 8, 1), Stage(5, 2, 6, 48, 2))


@pytest.fixture
def network():
    return build_network(input_size=32, stages=STAGES, stem_channels=8, feature_channels=16)


def test_steps_lead_from_the_answer_to_the_picture(network):
    assert [name for name, _ in stages_from_the_top(network)] == [TOP, "head", "unit02", "unit01", "unit00", "stem"]


def test_every_layer_with_weights_is_in_one_step(network):
    layers = [layer.name for _, stage in stages_from_the_top(network) for layer in stage]
    assert sorted(layers) == sorted(layer.name for layer in network.layers if layer.weights)


@pytest.mark.parametrize(
    ("name", "variance"),
    [("unit02_expand", 2 / 48), ("unit02_depthwise", 2 / 25), ("head", 2 / 48), ("binary", 2 / 16)],
)
def test_kernels_keep_the_scale_of_their_inputs(network, name, variance):
    layer = network.get_layer(name)
    kernels = []
    for seed in range(20):
        randomise(layer, np.random.default_rng(seed))
        kernels.append(layer.get_weights()[0].ravel())
    assert np.var(np.concatenate(kernels)) == pytest.approx(variance, rel=0.2)
    assert abs(np.mean(np.concatenate(kernels))) < np.sqrt(variance) / 5


def test_normalisation_and_biases_start_anew(network):
    normalisation, dense = network.get_layer("head_bn"), network.get_layer("binary")
    normalisation.set_weights([np.full(16, 7.0)] * 4)
    dense.set_weights([np.zeros((16, 1)), np.full(1, 7.0)])
    for layer in (normalisation, dense):
        randomise(layer, np.random.default_rng(0))
    gamma, beta, mean, variance = (weight[0] for weight in normalisation.get_weights())
    assert (gamma, beta, mean, variance) == (1, 0, 0, 1)
    assert dense.get_weights()[1][0] == 0


def test_weights_come_back_also_after_an_exception(network):
    before = [weight.copy() for weight in network.get_weights()]

    def lose():
        randomise(network.get_layer("stem"), np.random.default_rng(0))
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"), weights_restored(network):
        lose()
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
