"""The network: depthwise-separable units, global average pooling, one dense layer per task.

Every unit is a convolution, a depthwise convolution and a convolution. That is the idea of the project that this
one re-creates, in the form that has since become standard: the inverted residual of MobileNetV2 (Sandler et al.,
2018, arXiv:1801.04381). Widths and kernels of the units are EfficientNet-Lite0's, so that ImageNet weights fit;
only the end differs. The last stage keeps its resolution (stride 1), because the saliency map is drawn on its grid,
and the width of the head, 1,280 channels in the ImageNet network, can be chosen.

Keras 3, backend-neutral: the same network trains with TensorFlow, JAX or torch. `Flatbuffer` serves it.

The U-Net that finds the lung fields is here too (Ronneberger et al. 2015, arXiv:1505.04597).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from detector.errors import ModelError
from detector.model.card import LUNG_MODEL
from detector.model.flatbuffer import checked_bytes
from detector.schema import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FEATURE_LAYER = "features"  # (N, h, w, C): the layer whose spatial mean the dense layers read
GRID_STEP = 16  # input pixels along a side of one cell of the feature map
POOLING_LAYER = "pooled_features"
TEXTURE_LAYERS = ("unit02_project_bn", "unit04_project_bn", "unit07_project_bn")  # at 1/4, 1/8 and 1/16 of the input

Network = keras.Model

_LUNG_WIDTHS = (24, 40, 64, 96)  # channels at a half, a quarter, an eighth and a sixteenth of the input
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


def load_network(path: Path, sha256: str | None) -> keras.Model:
    """Load a ``.keras`` file, after checking its SHA-256.

    Raises:
        ModelError: if the file is missing, has another SHA-256, or can't be loaded.
    """
    checked_bytes(path, sha256)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ModelError(f"{path} cannot be loaded: {error}.") from error


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
        feature_channels: channels of the last feature map and of the pooled features.
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


def _unit(x: Any, stage: Stage, *, stride: int, name: str) -> Any:
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


def _convolution(x: Any, channels: int, *, kernel: int, name: str, stride: int = 1) -> Any:
    x = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = _normalise(x, name=name)
    return layers.ReLU(max_value=_RELU_MAX, name=f"{name}_relu")(x)


def _normalise(x: Any, *, name: str) -> Any:
    return layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, momentum=_BATCH_NORM_MOMENTUM, name=f"{name}_bn")(x)


def build_lung_network(input_size: int) -> keras.Model:
    """Build a U-Net of depthwise-separable convolutions.

    Returns:
        A functional model from (N, input_size, input_size, 1) float32, standardised, to logits of the same shape.
    """
    image = keras.Input((input_size, input_size, 1), name="image")
    x, kept = image, []
    for depth, width in enumerate(_LUNG_WIDTHS):
        x = _block(x, width, stride=2, name=f"down{depth}")
        x = _block(x, width, stride=1, name=f"same{depth}")
        kept.append(x)
    for depth, width in reversed(list(enumerate(_LUNG_WIDTHS[:-1]))):
        x = layers.UpSampling2D(interpolation="bilinear", name=f"up{depth}")(x)
        x = layers.Concatenate(name=f"join{depth}")([x, kept[depth]])
        x = _block(x, width, stride=1, name=f"merge{depth}")
    x = layers.Conv2D(1, 1, name="lung", dtype="float32")(x)
    return keras.Model(image, layers.UpSampling2D(interpolation="bilinear", name="logits")(x), name=LUNG_MODEL)


def _block(x: Any, width: int, *, stride: int, name: str) -> Any:
    x = layers.SeparableConv2D(width, 3, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)  # a run of hundreds of batches, not thousands
    return layers.ReLU(name=f"{name}_relu")(x)
