"""Weights -> flatbuffer: the same network for LiteRT, checked against TensorFlow, with both hashes in its card.

    python -m detector.training.fit.convert [FOLDER]

converts both networks of a models' folder (by default the shipped one). `train` does it by itself.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from detector.errors import ModelError
from detector.model.card import DEFAULT_MODEL, LUNG_MODEL, pin_cards
from detector.model.engine import FEATURES, KERNEL, POOLED, TEXTURE
from detector.model.flatbuffer import FLATBUFFER, WEIGHTS, Flatbuffer
from detector.model.lungs import LUNGS
from detector.model.network import FEATURE_LAYER, POOLING_LAYER, TEXTURE_LAYERS, load_network
from detector.paths import MODELS
from detector.schema import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    Outputs = dict[str, tf.Tensor]

_TOLERANCE = 1e-4  # of logits and features, in their own units
_CHECKED = 8  # made-up inputs


def convert(folder: Path, name: str) -> dict[str, str]:
    """Write ``<folder>/<name>.tflite`` from ``<name>.keras``.

    Returns:
        The card's entry ``tflite``: ``sha256`` of the flatbuffer, and ``weights``, that of the file it was made from.

    Raises:
        ModelError: if the weights can't be read, or LiteRT and TensorFlow answer differently.
    """
    weights = folder / f"{name}{WEIGHTS}"
    try:
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{weights} cannot be read: {error}.") from error
    network = load_network(weights, sha256)
    outputs = lung_outputs(network) if name == LUNG_MODEL else classifier_outputs(network)
    data = flatbuffer(outputs, network.input_shape[1:])
    weights.with_suffix(FLATBUFFER).write_bytes(data)
    return {"sha256": hashlib.sha256(data).hexdigest(), "weights": sha256}


def classifier_outputs(network: keras.Model) -> Callable[[tf.Tensor], Outputs]:
    """Everything that is read of the classifier: logits, features, their mean, texture, and the heads' kernels."""
    layers = [*TEXTURE_LAYERS, FEATURE_LAYER, POOLING_LAYER]
    answers = [network.output[task.name] for task in TASKS]
    view = constant(keras.Model(network.input, [*(network.get_layer(name).output for name in layers), *answers]))
    kernels = {f"{KERNEL}{t.name}": network.get_layer(t.name).get_weights()[0] for t in TASKS}

    def run(image: tf.Tensor) -> Outputs:
        *maps, features, pooled, binary, three_class = view(image)
        found = {FEATURES: features, POOLED: pooled, TEXTURE: tf.concat([_statistics(m) for m in maps], axis=1)}
        logits = dict(zip((task.name for task in TASKS), (binary, three_class), strict=True))
        return found | logits | {name: tf.constant(kernel) for name, kernel in kernels.items()}

    return run


def lung_outputs(network: keras.Model) -> Callable[[tf.Tensor], Outputs]:
    """The lung fields' logits, of the input's shape."""
    view = constant(network)
    return lambda image: {LUNGS: view(image)}


def flatbuffer(outputs: Callable[[tf.Tensor], Outputs], shape: tuple[int, ...]) -> bytes:
    """Convert a function of one image, and hold the result to what TensorFlow answers.

    Args:
        outputs: from (1, *shape) float32 to named tensors, without variables.
        shape: of an image.

    Raises:
        ModelError: if an answer differs by more than 1e-4, or is no number.
    """
    module = tf.Module()
    signature = tf.TensorSpec((1, *shape), tf.float32, name="image")
    module.run = tf.function(outputs, input_signature=[signature], autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.run.get_concrete_function()], module)
    data: bytes = converter.convert()
    served, rng = Flatbuffer(data), np.random.default_rng(0)
    for _ in range(_CHECKED):
        image = rng.uniform(-1, 1, shape).astype(np.float32)
        found = served(image)
        for name, expected in module.run(image[np.newaxis]).items():
            difference = np.abs(found[name] - expected.numpy()).max() / max(1, np.abs(expected).max())
            if not difference <= _TOLERANCE:  # so that NaN is refused
                raise ModelError(f"LiteRT's {name!r} is {difference:.1g} from TensorFlow's; {_TOLERANCE} are allowed.")
    return data


def constant(network: keras.Model) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """The network with its weights as constants.

    The converter finds none of the variables of a Keras 3 model, neither in its functions nor in a SavedModel of it:
    it writes a small file that answers NaN.
    """
    trainable, rest = (
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    )
    return lambda image: network.stateless_call(trainable, rest, image, training=False)[0]


def _statistics(maps: tf.Tensor) -> tf.Tensor:
    """Mean and standard deviation of each channel: (N, h, w, C) to (N, 2 C)."""
    mean, variance = tf.nn.moments(maps, axes=[1, 2])
    return tf.concat([mean, tf.sqrt(variance)], axis=1)


def main(folder: Path = MODELS) -> None:
    """Convert the networks of a folder, and note it in their cards."""
    for name in (DEFAULT_MODEL, LUNG_MODEL):
        path = folder / f"{name}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(card | {"tflite": convert(folder, name)}, indent=2) + "\n", encoding="utf-8")
    if folder.resolve() == MODELS:
        pin_cards()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
