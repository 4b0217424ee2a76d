"""Networks to compare: the shipped one, one cut earlier, the plain EfficientNet-Lite0, and the one re-created here.

All have the same input and the same two heads behind a global average, so that one `fit` trains them and one
`evaluate` measures them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from detector.model.network import FEATURE_LAYER, LITE0_STAGES, POOLING_LAYER, Stage, build_network
from detector.schema import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

#: Lite0's units up to its sixth stage, cut after two units: enough for one kind of picture, and fast on a laptop.
STAGES: tuple[Stage, ...] = (*LITE0_STAGES[:5], Stage(kernel=5, stride=1, expansion=6, channels=192, repeats=2))

_ORIGINAL_WIDTHS = (32, 64, 128)  # its text gives none; these make the weights of such a network of its time
_DROPOUT = 0.2


def build(name: str, *, input_size: int) -> keras.Model:
    """Build a network of `ARCHITECTURES`.

    Raises:
        KeyError: if there is none of that name.
    """
    return ARCHITECTURES[name](input_size)


def _original(input_size: int) -> keras.Model:
    """Three units of convolution, depthwise convolution and convolution, each ending in a smaller grid."""
    x = image = keras.Input((input_size, input_size, 1), name="image")
    for number, width in enumerate(_ORIGINAL_WIDTHS):
        x = _normalised(layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"unit{number:02d}_first")(x))
        x = _normalised(
            layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"unit{number:02d}_depthwise")(x)
        )
        x = _normalised(layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"unit{number:02d}_last")(x))
        x = layers.MaxPooling2D(2, name=f"unit{number:02d}_pool")(x)
    x = layers.AveragePooling2D(2, name="coarsen")(x)  # to the grid of the others, so that lungs can be asked of it
    x = layers.Activation("linear", dtype="float32", name=FEATURE_LAYER)(x)
    x = layers.GlobalAveragePooling2D(name=POOLING_LAYER, dtype="float32")(x)
    x = layers.Dropout(_DROPOUT, name="dropout")(x)
    heads = {t.name: layers.Dense(t.logits, name=t.name, dtype="float32", kernel_initializer="zeros")(x) for t in TASKS}
    return keras.Model(image, heads, name="original")


def _normalised(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))


ARCHITECTURES: dict[str, Callable[[int], keras.Model]] = {
    "detector": lambda size: build_network(input_size=size, stages=STAGES),
    "earlier_tap": lambda size: build_network(input_size=size, stages=LITE0_STAGES[:5]),
    "lite0": lambda size: build_network(input_size=size, feature_channels=1280),
    "original": _original,
}
