"""ImageNet weights: the one pinned file, torch's first format by hand, and nothing but arrays out of a pickle."""

import os
import pickle
import sys
from collections import OrderedDict
from io import BytesIO
from types import ModuleType

import numpy as np
import pytest

from detector.model.network import LITE0_STAGES, Stage, build_network
from detector.training.fit import imagenet
from detector.training.fit.architectures import STAGES
from detector.training.fit.imagenet import ImageNetWeightsError, load_imagenet_weights, torch_arrays


class Tensor:
    """A window on the storage `key` that pickles as torch's tensors do."""

    def __init__(self, key, size, shape, stride, offset=0):
        self.storage = Storage(key, size)
        self.view = (offset, shape, stride, False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, *self.view)


class Storage:
    def __init__(self, key, size):
        self.key, self.size = key, size


class Command:
    """Asks whoever unpickles it to run a command."""

    def __init__(self, line):
        self.line = line

    def __reduce__(self):
        return os.system, (self.line,)


class TorchPickler(pickle.Pickler):
    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        kind = "LongStorage" if obj.key.startswith("long") else "FloatStorage"
        return ("storage", getattr(sys.modules["torch"], kind), obj.key, "cpu", obj.size, None)


@pytest.fixture(autouse=True)
def torch_names(monkeypatch):
    """Names that a pickle of torch refers to, without torch."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        raise NotImplementedError

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def torch_file(state, storages):
    """Torch's first file format: four pickles, the storages' keys, then each storage's length and values."""
    file = BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, sorted(storages)):
        TorchPickler(file, protocol=2).dump(part)
    for key in sorted(storages):
        file.write(len(storages[key]).to_bytes(8, "little") + storages[key].tobytes())
    return file.getvalue()


class TestTorchArrays:
    def test_two_windows_on_one_storage_and_a_scalar(self):
        state = OrderedDict(
            matrix=Tensor("float", 8, (2, 3), (3, 1)),
            tail=Tensor("float", 8, (2,), (1,), offset=6),
            count=Tensor("long", 1, (), ()),
        )
        values = {"float": np.arange(8, dtype=np.float32) / 2, "long": np.array([41])}
        arrays = torch_arrays(torch_file(state, values))
        np.testing.assert_array_equal(arrays["matrix"], [[0, 0.5, 1], [1.5, 2, 2.5]])
        np.testing.assert_array_equal(arrays["tail"], [3, 3.5])
        assert arrays["matrix"].dtype == np.float32
        assert arrays["count"] == 41
        assert arrays["count"].dtype == np.int64

    def test_strides_decide_which_axis_runs_fastest(self):
        state = {"matrix": Tensor("float", 6, (2, 3), (1, 2))}
        arrays = torch_arrays(torch_file(state, {"float": np.arange(6, dtype=np.float32)}))
        np.testing.assert_array_equal(arrays["matrix"], [[0, 2, 4], [1, 3, 5]])

    def test_a_pickle_that_asks_for_a_command_is_refused_before_it_runs(self, tmp_path):
        ran = tmp_path / "ran"
        with pytest.raises(KeyError, match="system"):
            torch_arrays(torch_file(Command(f"touch {ran}"), {}))
        assert not ran.exists()


@pytest.fixture(scope="module")
def loaded():
    """A whole Lite0, its weights before, and the number of layers that were set."""
    network = build_network(input_size=32, stages=LITE0_STAGES)
    before = {layer.name: layer.get_weights() for layer in network.layers}
    return network, before, load_imagenet_weights(network)


class TestLoadImagenetWeights:
    def test_every_layer_of_stem_and_units_is_set(self, loaded):
        network, before, taken = loaded
        expected = [layer for layer in network.layers if layer.name.startswith(("stem", "unit")) and layer.weights]
        assert taken == len(expected) == 2 + 4 + 15 * 6  # the stem, the first unit without expansion, the others
        for layer in expected:
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True):
                assert not np.array_equal(old, new), layer.name

    def test_head_and_dense_layers_stay(self, loaded):
        network, before, _ = loaded
        for name in ("head", "head_bn", "binary", "three_class"):
            for old, new in zip(before[name], network.get_layer(name).get_weights(), strict=True):
                np.testing.assert_array_equal(old, new)

    def test_kernels_are_turned_to_keras_order(self, loaded):
        network, _, _ = loaded
        arrays = torch_arrays(imagenet._weights())
        stem = network.get_layer("stem").get_weights()[0]
        depthwise = network.get_layer("unit03_depthwise").get_weights()[0]
        project = network.get_layer("unit03_project").get_weights()[0]
        assert stem[2, 1, 0, 5] == pytest.approx(arrays["_conv_stem.weight"][5, :, 2, 1].sum(), rel=1e-5)
        assert depthwise[4, 1, 7, 0] == arrays["_blocks.3._depthwise_conv.weight"][7, 0, 4, 1]
        assert project[0, 0, 9, 3] == arrays["_blocks.3._project_conv.weight"][3, 9, 0, 0]

    def test_a_kernels_neighbours_are_alike_as_in_a_picture(self, loaded):
        # Learnt 5 x 5 filters are smooth; in a wrong order of axes neighbours would be unrelated.
        network, _, _ = loaded
        kernel = network.get_layer("unit03_depthwise").get_weights()[0][..., 0]
        neighbours = [
            np.corrcoef(kernel[1:].ravel(), kernel[:-1].ravel()),
            np.corrcoef(kernel[:, 1:].ravel(), kernel[:, :-1].ravel()),
        ]
        assert min(table[0, 1] for table in neighbours) > 0.2

    def test_every_unit_of_the_shipped_network_has_lite0_shapes(self):
        network = build_network(input_size=32, stages=STAGES)
        expected = [layer for layer in network.layers if layer.name.startswith(("stem", "unit")) and layer.weights]
        assert load_imagenet_weights(network) == len(expected)

    def test_units_beyond_lite0_and_of_other_shapes_stay(self):
        stages = (Stage(kernel=5, stride=1, expansion=6, channels=8, repeats=17),)
        network = build_network(input_size=16, stages=stages, stem_channels=4, feature_channels=4)
        before = network.get_weights()
        assert load_imagenet_weights(network) == 0
        for old, new in zip(before, network.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_a_missing_package_names_the_cure(self, monkeypatch):
        monkeypatch.setattr(imagenet, "_PACKAGE", "no_such_package")
        with pytest.raises(ImageNetWeightsError, match="no_such_package") as caught:
            load_imagenet_weights(build_network(input_size=16, stages=(), feature_channels=4))
        assert "requirements-dev.txt" in caught.value.user_message

    @pytest.mark.parametrize("spoil", ["missing", "another file"])
    def test_another_file_is_refused_before_anything_is_unpickled(self, tmp_path, monkeypatch, spoil):
        package = tmp_path / "weights_of_another"
        (package / "models").mkdir(parents=True)
        (package / "__init__.py").touch()
        if spoil == "another file":
            (package / imagenet._FILE).write_bytes(torch_file(Command(f"touch {tmp_path / 'ran'}"), {}))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(imagenet, "_PACKAGE", "weights_of_another")
        with pytest.raises(ImageNetWeightsError, match=r"cannot be read|must have the SHA-256"):
            imagenet._weights()
        assert not (tmp_path / "ran").exists()
