"""Loads the network and its card and runs it: logits, feature map and pooled features in one forward pass."""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from detector.errors import ModelError, NonFiniteError
from detector.model.card import DEFAULT_MODEL, ModelCard, read_card
from detector.model.flatbuffer import FLATBUFFER, WEIGHTS, Flatbuffer, load_flatbuffer
from detector.model.gate import load_gate
from detector.model.lungs import LungFields
from detector.model.preprocess import LUNG_PREPROCESSING_ID, PREPROCESSING_ID, frame_picture, lung_crop, lung_input
from detector.paths import MODELS
from detector.schema import TASKS, NetworkInput, NetworkOutput

if TYPE_CHECKING:
    from pathlib import Path

    from detector.model.gate import Gate
    from detector.model.network import Network

_LOG = logging.getLogger(__name__)

# Outputs of the flatbuffer, beside the logits, which are named after their tasks.
FEATURES, POOLED, TEXTURE = "features", "pooled", "texture"
KERNEL = "kernel_"  # then a task's name; constants that don't depend on the image


class Engine:
    """A loaded network. Thread-safe; see `Flatbuffer`.

    Attributes:
        card: what is recorded about the network.
        lung_fields: the segmentation that the picture is cropped by.
        gate: tells frontal chest X-rays from other pictures; None if none was fitted to this network.
        kernels: task name to (channels, logits), the dense layers that read the averaged features.

    Args:
        run: the network.
        card: see above.
        lung_fields: see above.
        gate: see above.
        weights: path of the ``.keras`` file that `run` was made from.
    """

    def __init__(
        self, run: Flatbuffer, card: ModelCard, lung_fields: LungFields, gate: Gate | None, *, weights: Path
    ) -> None:
        self.card = card
        self.lung_fields = lung_fields
        self.gate = gate
        self._run, self._weights = run, weights
        self._counting = threading.Lock()
        self._passes = 0
        try:
            outputs = run(np.zeros((card.input_size, card.input_size, 1), np.float32))
            self.kernels = {task.name: outputs[f"{KERNEL}{task.name}"] for task in TASKS}
        except (ValueError, KeyError) as error:
            raise ModelError(f"The flatbuffer of {card.name} is no classifier of this version: {error}.") from error

    @classmethod
    def load(cls, name: str = DEFAULT_MODEL, folder: Path = MODELS, *, card: ModelCard | None = None) -> Engine:
        """Load ``<folder>/<name>.tflite`` and ``<folder>/lungs.tflite``, after checking them against their cards.

        Args:
            name: of the classifier.
            folder: of the networks.
            card: instead of ``<folder>/<name>.json``, while a training run has not yet calibrated its network.

        Raises:
            ModelError: if a file is missing or not the card's, or the card names another preprocessing than this
                version's.
        """
        card = card or read_card(folder / f"{name}.json")
        if card.preprocessing != PREPROCESSING_ID:
            raise ModelError(f"{name} was trained with {card.preprocessing!r}. This is {PREPROCESSING_ID!r}.")
        path = folder / f"{name}{FLATBUFFER}"
        run = load_flatbuffer(path, card.tflite, weights=card.sha256)
        lung_fields = LungFields.load(folder, LUNG_PREPROCESSING_ID)
        return cls(run, card, lung_fields, load_gate(folder, card.gate), weights=path.with_suffix(WEIGHTS))

    @cached_property
    def network(self) -> Network:
        """The Keras model, from a standardised input to one logit array per task, for its gradients.

        Only this needs TensorFlow. Setting weights in it does not change the engine's answers.
        """
        from detector.model.network import load_network  # noqa: PLC0415 - takes seconds; not installed for serving

        return load_network(self._weights, self.card.sha256)

    @property
    def forward_passes(self) -> int:
        """Number of images that the network has run on since it was loaded."""
        return self._passes

    def prepare(self, grey: np.ndarray) -> NetworkInput:
        """Find the lungs and crop the picture to them.

        Args:
            grey: (rows, columns) uint8, 255 = white, or float32 in [0, 1].

        Returns:
            The classifier's input, with the lung field on it.
        """
        frame = frame_picture(grey)
        return lung_crop(frame, self.lung_fields(lung_input(frame)), size=self.card.input_size)

    def __call__(self, network_input: NetworkInput) -> NetworkOutput:
        """Run the network once; see `run`."""
        return self.run(network_input.pixels)

    def run(self, pixels: np.ndarray) -> NetworkOutput:
        """Run the network once.

        Args:
            pixels: (size, size, 1) float32, standardised.

        Raises:
            ValueError: if they have another shape.
            NonFiniteError: if they, or the outputs, hold NaN or infinity.
        """
        _check_finite(pixels)  # a convolution that is fused with its ReLU turns NaN into 0
        found = self._run(pixels)
        with self._counting:
            self._passes += 1
            _LOG.info("forward pass %d", self._passes)
        output = NetworkOutput(
            logits={task.name: found[task.name][0] for task in TASKS},
            features=found[FEATURES][0],
            pooled_features=found[POOLED][0],
            texture=found[TEXTURE][0],
        )
        _check_finite(*output.logits.values(), output.features, output.texture)
        return output


def _check_finite(*arrays: np.ndarray) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise NonFiniteError("The network's input or answer holds NaN or infinity.")
