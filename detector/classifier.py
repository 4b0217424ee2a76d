"""Loads the network and its card, and answers for one input: logits, maps and pooled features in one forward pass."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from detector.card import DEFAULT_MODEL, LUNG_MODEL, MODELS, ModelCard, read_card
from detector.errors import ModelError, NonFiniteError
from detector.lungs import LungFields
from detector.network import FEATURE_LAYER, PASSES_AT_ONCE, POOLING_LAYER, load_network
from detector.preprocess import PREPROCESSING_ID
from detector.schema import TASKS, NetworkInput, NetworkOutput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LOG = logging.getLogger(__name__)


class Classifier:
    """A loaded network.

    Attributes:
        card: what is recorded about the network.
        network: the Keras model, from a standardised input to one logit array a task.
        lung_fields: the segmentation that came with it, or None.
        kernels: task name to (channels, logits), the dense layers that read the averaged features.

    Thread-safe. A pass always takes one image, in one compiled function of one shape, so that the same input gives the
    same bits whatever else is being analysed. Threads that call together are answered side by side, each on one core.
    """

    def __init__(self, network: keras.Model, card: ModelCard, lung_fields: LungFields | None = None) -> None:
        self.card = card
        self.network = network
        self.lung_fields = lung_fields
        self.kernels = {t.name: network.get_layer(t.name).get_weights()[0] for t in TASKS}
        self._places = threading.Semaphore(PASSES_AT_ONCE)
        self._counting = threading.Lock()
        self._passes = 0
        self._run = _compile(network, card.input_size)
        self._run(tf.zeros((1, card.input_size, card.input_size, 1)))  # the first run compiles: seconds, once

    @classmethod
    def load(cls, name: str = DEFAULT_MODEL, folder: Path = MODELS) -> Classifier:
        """Load ``<folder>/<name>.keras``, after checking it against its card, and ``lungs.keras`` if it is there.

        Raises:
            ModelError: if a file is missing, the weights are not those of the card, or the card asks for another
                preprocessing than this version's.
        """
        _run_a_pass_on_one_core()
        card = read_card(folder / f"{name}.json")
        if card.preprocessing != PREPROCESSING_ID:
            raise ModelError(f"{name} was trained with {card.preprocessing!r}. This is {PREPROCESSING_ID!r}.")
        network = load_network(folder / f"{name}.keras", card.sha256)
        lungs = LungFields.load(folder, PREPROCESSING_ID) if (folder / f"{LUNG_MODEL}.keras").exists() else None
        return cls(network, card, lungs)

    @property
    def forward_passes(self) -> int:
        """How many images the network has run on since it was loaded."""
        return self._passes

    def __call__(self, network_input: NetworkInput) -> NetworkOutput:
        """Run the network once.

        Raises:
            NonFiniteError: if it answers with NaN or infinity.
        """
        batch = tf.convert_to_tensor(network_input.pixels[np.newaxis])
        with self._places:
            tensors = self._run(batch)
        with self._counting:
            self._passes += 1
            _LOG.info("forward pass %d", self._passes)
        features, pooled, *logits = (tensor.numpy()[0] for tensor in tensors)
        output = NetworkOutput(
            logits={task.name: values for task, values in zip(TASKS, logits, strict=True)},
            features=features,
            pooled_features=pooled,
        )
        _check_finite([*output.logits.values(), features])
        return output


def _run_a_pass_on_one_core() -> None:
    """Share the cores out between images and not within one; the bits are the same either way.

    The layers are so small that handing their parts around costs more than it gains: one pass on one of two cores is
    not slower than on both, and two passes at once take little longer than one.
    """
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already, in a training or a notebook: it stays as it is
        tf.config.threading.set_intra_op_parallelism_threads(1)


def _compile(network: keras.Model, size: int) -> tf.types.experimental.ConcreteFunction:
    layers = [network.get_layer(FEATURE_LAYER), network.get_layer(POOLING_LAYER)]
    view = keras.Model(network.input, [*(layer.output for layer in layers), *(network.output[t.name] for t in TASKS)])
    signature = tf.TensorSpec((1, size, size, 1), tf.float32)
    return tf.function(lambda x: view(x, training=False)).get_concrete_function(signature)


def _check_finite(arrays: Sequence[np.ndarray]) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise NonFiniteError("The network's answer holds NaN or infinity.")
