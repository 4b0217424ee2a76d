"""The network: names, shapes and the linear end that the maps rely on."""

import keras
import numpy as np
import pytest

from detector.model.network import (
    FEATURE_LAYER,
    LITE0_STAGES,
    POOLING_LAYER,
    Stage,
    build_network,
)
from detector.training.fit.architectures import STAGES

SMALL = (Stage(3, 1, 1, 16, 1), Stage(3, 2, 2, 16, 2), Stage(3, 2, 2, 16, 1), Stage(3, 2, 2, 16, 1))


@pytest.fixture(scope="module")
def small():
    """Four halvings like the shipped network, few channels, dense layers that say something."""
    keras.utils.set_random_seed(0)
    network = build_network(input_size=64, stages=SMALL, stem_channels=8, feature_channels=12)
    for name in ("binary", "three_class"):
        layer = network.get_layer(name)
        layer.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in layer.weights])
    return network


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(2).normal(size=(2, 64, 64, 1)).astype(np.float32)


class TestShapes:
    def test_one_array_of_logits_a_task(self, small, inputs):
        shapes = {name: tuple(logits.shape) for name, logits in small(inputs).items()}
        assert shapes == {"binary": (2, 1), "three_class": (2, 3)}

    @pytest.mark.parametrize("stages", [LITE0_STAGES, STAGES], ids=["lite0", "shipped"])
    @pytest.mark.parametrize("size", [16, 48])
    def test_the_grid_is_a_sixteenth_of_the_input(self, stages, size):
        network = build_network(input_size=size, stages=stages, feature_channels=4)
        assert network.get_layer(FEATURE_LAYER).output.shape == (None, size // 16, size // 16, 4)

    @pytest.mark.parametrize("size", [0, -16, 8, 100, 161])
    def test_a_size_that_is_no_multiple_of_sixteen_is_refused(self, size):
        with pytest.raises(ValueError, match=f"multiple of 16. Received {size}"):
            build_network(input_size=size)


class TestEnd:
    def test_a_fresh_network_gives_even_odds(self, inputs):
        network = build_network(input_size=64, stages=SMALL, stem_channels=8, feature_channels=12)
        assert not any(np.asarray(logits).any() for logits in network(inputs).values())

    def test_logits_are_the_dense_layer_of_the_features_mean(self, small, inputs):
        names = (FEATURE_LAYER, POOLING_LAYER)
        view = keras.Model(small.inputs, [*(small.get_layer(name).output for name in names), small.output])
        features, pooled, logits = view(inputs)
        np.testing.assert_allclose(np.mean(features, axis=(1, 2)), pooled, rtol=1e-4, atol=1e-6)
        for name, values in logits.items():
            kernel, bias = small.get_layer(name).get_weights()
            np.testing.assert_allclose(values, np.asarray(pooled) @ kernel + bias, rtol=1e-4, atol=1e-5)

    def test_dropout_acts_while_training_only(self, small, inputs):
        answers = [np.asarray(small(inputs, training=training)["binary"]) for training in (False, False, True)]
        np.testing.assert_array_equal(answers[0], answers[1])
        assert not np.array_equal(answers[0], answers[2])


class TestUnits:
    def test_a_shortcut_stands_only_where_width_and_grid_are_kept(self, small):
        names = {layer.name for layer in small.layers if layer.name.endswith("_add")}
        assert names == {"unit02_add"}  # unit00 widens 8 to 16; unit01, unit03 and unit04 halve the grid

    def test_an_expansion_of_one_has_no_first_convolution(self, small):
        names = {layer.name for layer in small.layers}
        assert "unit00_expand" not in names
        assert "unit01_expand" in names

    def test_only_the_first_unit_of_a_stage_halves_the_grid(self, small):
        strides = [small.get_layer(f"unit{i:02d}_depthwise").strides[0] for i in range(5)]
        assert strides == [1, 2, 1, 2, 2]
