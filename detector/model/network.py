"""The network: depthwise-separable units, global average pooling, one dense layer per task.

Every unit is a convolution, a depthwise convolution and a convolution, which is the idea of the project
that this one re-creates (cheap features, then each channel looks at its neighbourhood, then features again)
in the form that has since become standard: the inverted residual of MobileNetV2 (Sandler et al., 2018,
arXiv:1801.04381). Widths and kernels of the units are EfficientNet-Lite0's, so that ImageNet weights fit;
what differs is the end. The last stage keeps its resolution (stride 1), because the saliency map is drawn on
its grid, and the 1,280-channel ImageNet head is a free width.

Keras 3, backend-neutral: the same network trains with TensorFlow, JAX or torch. It is served with TensorFlow, and what
is there for serving alone, the compiled form (`Graph`), imports it when it is called.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from detector.errors import ModelError
from detector.schema import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

_LOG = logging.getLogger(__name__)

FEATURE_LAYER = "features"  # (N, h, w, C): the layer whose spatial mean the dense layers read
GRID_STEP = 16  # pixels of the input along a side of one cell of the feature map
POOLING_LAYER = "pooled_features"
TEXTURE_LAYERS = ("unit02_project_bn", "unit04_project_bn", "unit07_project_bn")  # at 1/4, 1/8 and 1/16 of the input
PASSES_AT_ONCE = os.cpu_count() or 1  # each of them on one core, see detector.model.engine

GRAPHS = ".graph.pb"  # a file beside a .keras file, which holds the same weights compiled

_BATCH_NORM_EPSILON = 1e-3  # EfficientNet's; the ImageNet weights were trained with it
_BATCH_NORM_MOMENTUM = 0.97  # 0.99 lags hundreds of batches behind at our learning rate
_RELU_MAX = 6.0  # ReLU6, as in MobileNetV2 and EfficientNet-Lite


@dataclass(frozen=True)
class Stage:
    """Several units of one width; the first one may halve the grid."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int


#: EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946, and its "lite" release), last stage at stride 1.
LITE0_STAGES = (
    Stage(kernel=3, stride=1, expansion=1, channels=16, repeats=1),
    Stage(kernel=3, stride=2, expansion=6, channels=24, repeats=2),
    Stage(kernel=5, stride=2, expansion=6, channels=40, repeats=2),
    Stage(kernel=3, stride=2, expansion=6, channels=80, repeats=3),
    Stage(kernel=5, stride=1, expansion=6, channels=112, repeats=3),
    Stage(kernel=5, stride=1, expansion=6, channels=192, repeats=4),
    Stage(kernel=3, stride=1, expansion=6, channels=320, repeats=1),
)


def checked_bytes(path: Path, sha256: str | None) -> bytes:
    """Read a file whose bytes must be those that its card names.

    Raises:
        ModelError: if the file is missing or has another SHA-256.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(f"The bytes of {path} are not those of the card: SHA-256 {found}, expected {sha256}.")
    return data


def load_network(path: Path, sha256: str | None) -> keras.Model:
    """Load a ``.keras`` file, after checking that its bytes are those that its card names.

    Raises:
        ModelError: if the file is missing, has another SHA-256, or can't be loaded.
    """
    checked_bytes(path, sha256)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ModelError(f"{path} cannot be loaded: {error}.") from error


def with_constant_weights(network: keras.Model) -> Callable[[Any], Any]:
    """The network as a function of its input, its weights written into the graph that this is traced in.

    TensorFlow's optimiser then folds the batch normalisations into the convolutions before them: a pass takes a
    quarter less time, and logits differ by 1e-6. Weights that are set afterwards change nothing.
    """
    trainable, rest = (
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    )
    return lambda x: network.stateless_call(trainable, rest, x, training=False)[0]


def save_graph(function: Any, path: Path, *, weights: str) -> dict[str, str]:
    """Write a compiled function with the weights in it, so that a start need not build the network from its layers.

    Args:
        function: a concrete function of TensorFlow.
        path: of the file, a serialised ``GraphDef``.
        weights: SHA-256 of the ``.keras`` file that it was compiled from.

    Returns:
        The card's entry: SHA-256 of what was written, and `weights`.
    """
    data = function.graph.as_graph_def().SerializeToString(deterministic=True)
    path.write_bytes(data)
    return {"sha256": hashlib.sha256(data).hexdigest(), "weights": weights}


def load_graph(path: Path, entry: Mapping[str, str] | None, *, weights: str | None) -> Graph | None:
    """Load what `save_graph` wrote.

    Args:
        path: of the file.
        entry: of the card.
        weights: SHA-256 of the weights in use.

    Returns:
        None where there is none of these weights, so that the network must be built.

    Raises:
        ModelError: if the file is not the one that the card names.
    """
    if not entry or entry.get("weights") != weights or not path.exists():
        return None
    data = checked_bytes(path, entry.get("sha256"))
    import tensorflow as tf  # noqa: PLC0415 - training runs on other backends too

    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(data)
    return Graph(definition)


class Graph:
    """A compiled network as it was written.

    Args:
        definition: TensorFlow's ``GraphDef``.
    """

    def __init__(self, definition: Any) -> None:
        self._definition = definition

    def function(self, image: str, answers: Sequence[str], *, batch: int = 1) -> Any | None:
        """The concrete function from so many images, fed to the placeholder of that name, to a list of named tensors.

        None where this TensorFlow does not know an operation of the graph, or the graph a name: then the network must
        be built.

        Raises:
            ModelError: if there is no placeholder of that name.
        """
        import tensorflow as tf  # noqa: PLC0415

        def run(x: Any) -> list[Any]:
            names = [f"{name}:0" for name in answers]
            return tf.graph_util.import_graph_def(self._definition, {f"{image}:0": x}, names, name="")

        placeholder = self._node(image).attr
        shape = [batch, *(size.size for size in placeholder["shape"].shape.dim[1:])]
        try:
            return tf.function(run, autograph=False).get_concrete_function(
                tf.TensorSpec(shape, placeholder["dtype"].type)
            )
        except (ValueError, tf.errors.OpError) as error:
            _LOG.warning("The compiled network cannot be used, and is built from its layers: %s", error)
            return None

    def constant(self, name: str) -> np.ndarray:
        """The constant of that name.

        Raises:
            ModelError: if there is none.
        """
        import tensorflow as tf  # noqa: PLC0415

        return tf.make_ndarray(self._node(name).attr["value"].tensor)

    def _node(self, name: str) -> Any:
        for node in self._definition.node:
            if node.name == name:
                return node
        raise ModelError(f"The compiled network has no {name!r}.")


def build_network(
    *,
    input_size: int,
    stages: Sequence[Stage] = LITE0_STAGES,
    stem_channels: int = 32,
    feature_channels: int = 640,
    dropout: float = 0.2,
    name: str = "detector",
) -> keras.Model:
    """Build the classifier.

    Args:
        input_size: side of the square input in pixels; a multiple of 16.
        stages: the units, in order.
        stem_channels: channels of the first convolution, which halves the grid.
        feature_channels: channels of the last feature map, and so of the pooled features.
        dropout: rate on the pooled features while training.
        name: name of the model.

    Returns:
        A functional model. Input ``(N, input_size, input_size, 1)`` float32, standardised by
        `detector.model.preprocess`. Output a dict: one logit array per task of `detector.schema.TASKS`,
        ``"binary": (N, 1)`` and ``"three_class": (N, 3)``.

    Raises:
        ValueError: if `input_size` is not a multiple of 16.
    """
    if input_size <= 0 or input_size % GRID_STEP:
        msg = f"input_size must be a positive multiple of 16. Received {input_size}."
        raise ValueError(msg)
    image = keras.Input((input_size, input_size, 1), name="image")
    x = _convolution(image, stem_channels, kernel=3, stride=2, name="stem")
    index = 0
    for stage in stages:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = _unit(x, stage, stride=stride, name=f"unit{index:02d}")
            index += 1
    x = _convolution(x, feature_channels, kernel=1, name="head")
    x = layers.Activation("linear", dtype="float32", name=FEATURE_LAYER)(x)
    x = layers.GlobalAveragePooling2D(name=POOLING_LAYER, dtype="float32")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = {
        task.name: layers.Dense(task.logits, name=task.name, dtype="float32", kernel_initializer="zeros")(x)
        for task in TASKS
    }
    return keras.Model(image, logits, name=name)


def _unit(x, stage: Stage, *, stride: int, name: str):  # noqa: ANN001, ANN202 - Keras tensors
    """Convolution, depthwise convolution, convolution; a shortcut around them where shapes allow."""
    shortcut = x
    in_channels = x.shape[-1]
    if stage.expansion != 1:
        x = _convolution(x, in_channels * stage.expansion, kernel=1, name=f"{name}_expand")
    x = layers.DepthwiseConv2D(stage.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(
        x
    )
    x = _normalise(x, name=f"{name}_depthwise")
    x = layers.ReLU(max_value=_RELU_MAX, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(stage.channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = _normalise(x, name=f"{name}_project")
    if stride == 1 and in_channels == stage.channels:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _convolution(x, channels: int, *, kernel: int, name: str, stride: int = 1):  # noqa: ANN001, ANN202
    x = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = _normalise(x, name=name)
    return layers.ReLU(max_value=_RELU_MAX, name=f"{name}_relu")(x)


def _normalise(x, *, name: str):  # noqa: ANN001, ANN202
    return layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, momentum=_BATCH_NORM_MOMENTUM, name=f"{name}_bn")(x)
