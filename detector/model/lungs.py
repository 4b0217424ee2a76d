"""Lung fields: a small segmentation network on the classifier's own input.

It tells how much of the evidence lies in a lung. Like the classifier it is trained through `detector.model.preprocess`,
so one preprocessed picture serves both.
"""

from __future__ import annotations

import json
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from detector.errors import ModelError
from detector.model.card import LUNG_MODEL
from detector.model.network import (
    GRAPHS,
    PASSES_AT_ONCE,
    checked_bytes,
    load_graph,
    load_network,
    with_constant_weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detector.schema import NetworkInput

_IMAGE, _ANSWER = "image", "answer"  # tensors of the compiled network
_WIDTHS = (24, 40, 64, 96)  # channels at a half, a quarter, an eighth and a sixteenth of the input


class LungFields:
    """A loaded segmentation network. Thread-safe; always one image a pass, in one compiled function.

    Args:
        run: the compiled function, from (1, size, size, 1) to one tensor, logits of that shape.
        load: gives the Keras model, for those who need its layers.
    """

    def __init__(self, run: Callable[[tf.Tensor], Sequence[tf.Tensor]], load: Callable[[], keras.Model]) -> None:
        self._run, self._load = run, load
        self._places = threading.Semaphore(PASSES_AT_ONCE)

    @classmethod
    def load(cls, folder: Path, preprocessing: str) -> LungFields:
        """Load ``<folder>/lungs.keras``, after checking it against ``lungs.json`` and the preprocessing in use.

        Raises:
            ModelError: if a file is missing or damaged, or asks for another preprocessing.
        """
        path = folder / f"{LUNG_MODEL}.keras"
        try:
            card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"The lung model's card in {folder} cannot be read: {error}.") from error
        _check_card(card, preprocessing, path)
        sha256 = card.get("sha256")
        checked_bytes(path, sha256)
        graph = load_graph(path.with_suffix(GRAPHS), card.get("graph"), weights=sha256)
        network = cache(lambda: load_network(path, sha256))
        run = None if graph is None else graph.function(_IMAGE, [_ANSWER])
        run = run or compile_lungs(network())
        run(tf.zeros(run.inputs[0].shape))  # the first run is slow; no image should pay for it
        return cls(run, network)

    @property
    def network(self) -> keras.Model:
        """The Keras model, from a standardised input to logits of its shape; built when it is first asked for."""
        return self._load()

    def __call__(self, network_input: NetworkInput) -> np.ndarray:
        """Segment one image: (size, size) bool on the network's input, true in a lung."""
        with self._places:
            (logits,) = self._run(tf.convert_to_tensor(network_input.pixels[np.newaxis]))
        return logits.numpy()[0, ..., 0] > 0  # a probability of one half


def compile_lungs(network: keras.Model) -> tf.types.experimental.ConcreteFunction:
    """The network as one compiled function of one image, (1, size, size, 1) to logits of that shape."""
    run = with_constant_weights(network)
    signature = tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name=_IMAGE)
    answer = tf.function(lambda image: [tf.identity(run(image), name=_ANSWER)], autograph=False)
    return answer.get_concrete_function(signature)


def build_lung_network(input_size: int) -> keras.Model:
    """Build a U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of depthwise-separable convolutions.

    Returns:
        A functional model from (N, input_size, input_size, 1) float32, standardised, to logits of the same shape.
    """
    image = keras.Input((input_size, input_size, 1), name="image")
    x, kept = image, []
    for depth, width in enumerate(_WIDTHS):
        x = _block(x, width, stride=2, name=f"down{depth}")
        x = _block(x, width, stride=1, name=f"same{depth}")
        kept.append(x)
    for depth, width in reversed(list(enumerate(_WIDTHS[:-1]))):
        x = layers.UpSampling2D(interpolation="bilinear", name=f"up{depth}")(x)
        x = layers.Concatenate(name=f"join{depth}")([x, kept[depth]])
        x = _block(x, width, stride=1, name=f"merge{depth}")
    x = layers.Conv2D(1, 1, name="lung", dtype="float32")(x)
    return keras.Model(image, layers.UpSampling2D(interpolation="bilinear", name="logits")(x), name=LUNG_MODEL)


def _block(x: Any, width: int, *, stride: int, name: str) -> Any:
    x = layers.SeparableConv2D(width, 3, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)  # a run of hundreds of batches, not thousands
    return layers.ReLU(name=f"{name}_relu")(x)


def _check_card(card: dict[str, Any], preprocessing: str, path: Path) -> None:
    if not isinstance(card, dict):
        raise ModelError(f"{path.with_suffix('.json')} must hold an object. Received {type(card).__name__}.")
    if card.get("preprocessing") != preprocessing:
        raise ModelError(f"{path} was trained with {card.get('preprocessing')!r}. This is {preprocessing!r}.")
