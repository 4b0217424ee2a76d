"""ImageNet weights: the one pinned file, and which layers it fills."""

import numpy as np
import pytest

from detector.model.network import LITE0_STAGES, Stage, build_network
from detector.training.fit import imagenet
from detector.training.fit.architectures import STAGES
from detector.training.fit.imagenet import ImageNetWeightsError, load_imagenet_weights


@pytest.fixture(scope="module")
def loaded():
    """A whole Lite0, its weights before, and the number of layers that were set."""
    network = build_network(input_size=32, stages=LITE0_STAGES)
    before = {layer.name: layer.get_weights() for layer in network.layers}
    return network, before, load_imagenet_weights(network)


def test_every_layer_of_stem_and_units_is_set(loaded):
    network, before, taken = loaded
    expected = [layer for layer in network.layers if layer.name.startswith(("stem", "unit")) and layer.weights]
    assert taken == len(expected) == 2 + 4 + 15 * 6  # the stem, the first unit without expansion, the others
    for layer in expected:
        for old, new in zip(before[layer.name], layer.get_weights(), strict=True):
            assert not np.array_equal(old, new), layer.name


def test_head_and_dense_layers_stay(loaded):
    network, before, _ = loaded
    for name in ("head", "head_bn", "binary", "three_class"):
        for old, new in zip(before[name], network.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_kernels_neighbours_are_alike_as_in_a_picture(loaded):
    # Learnt 5 x 5 filters are smooth; in a wrong order of axes neighbours would be unrelated.
    network, _, _ = loaded
    kernel = network.get_layer("unit03_depthwise").get_weights()[0][..., 0]
    neighbours = [
        np.corrcoef(kernel[1:].ravel(), kernel[:-1].ravel()),
        np.corrcoef(kernel[:, 1:].ravel(), kernel[:, :-1].ravel()),
    ]
    assert min(table[0, 1] for table in neighbours) > 0.2


def test_variances_stand_where_variances_belong(loaded):
    network, _, _ = loaded
    for layer in network.layers:
        if layer.name.endswith("_bn") and layer.name != "head_bn":
            assert layer.moving_variance.numpy().min() >= 0, layer.name
            assert layer.moving_mean.numpy().min() < 0, layer.name


def test_every_unit_of_the_shipped_network_has_lite0_shapes():
    network = build_network(input_size=32, stages=STAGES)
    expected = [layer for layer in network.layers if layer.name.startswith(("stem", "unit")) and layer.weights]
    assert load_imagenet_weights(network) == len(expected)


def test_units_beyond_lite0_and_of_other_shapes_stay():
    stages = (Stage(kernel=5, stride=1, expansion=6, channels=8, repeats=17),)
    network = build_network(input_size=16, stages=stages, stem_channels=4, feature_channels=4)
    before = network.get_weights()
    assert load_imagenet_weights(network) == 0
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("spoil", ["missing", "another file"])
def test_another_file_is_refused_before_it_is_read(tmp_path, monkeypatch, spoil):
    path = tmp_path / "imagenet.npz"
    if spoil == "another file":
        np.savez(path, stem=np.zeros(1))
    monkeypatch.setattr(imagenet, "_PATH", path)
    with pytest.raises(ImageNetWeightsError, match=r"cannot be read|must have the SHA-256"):
        load_imagenet_weights(build_network(input_size=16, stages=(), feature_channels=4))
