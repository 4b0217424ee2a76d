"""Loads the network and its card, and answers for one input: logits, maps and pooled features in one forward pass."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from detector.errors import ModelError, NonFiniteError
from detector.model.card import DEFAULT_MODEL, MODELS, ModelCard, read_card
from detector.model.gate import load_gate
from detector.model.lungs import LungFields
from detector.model.network import (
    FEATURE_LAYER,
    GRAPHS,
    PASSES_AT_ONCE,
    POOLING_LAYER,
    TEXTURE_LAYERS,
    checked_bytes,
    load_graph,
    load_network,
    with_constant_weights,
)
from detector.model.preprocess import LUNG_PREPROCESSING_ID, PREPROCESSING_ID, frame_picture, lung_crop, lung_input
from detector.schema import TASKS, NetworkInput, NetworkOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detector.model.gate import Gate
    from detector.model.network import Graph

_LOG = logging.getLogger(__name__)

# Tensors of the compiled network. The kernels are constants beside the pass; nothing of it depends on them.
_IMAGE = "image"
_OUTPUTS = tuple(f"answer_{name}" for name in ("features", "pooled", "texture", *(task.name for task in TASKS)))
_KERNEL = "kernel_"

BATCH = 8  # images of `Engine.run_batch`: what one stability measurement needs


@dataclass(frozen=True)
class Compiled:
    """A network as compiled functions, each from standardised inputs to the tensors that are read of it.

    Attributes:
        run: for one input.
        compile_batch: gives the function for `BATCH` inputs.
        kernels: task name to (channels, logits).
    """

    run: Callable[[tf.Tensor], Sequence[tf.Tensor]]
    compile_batch: Callable[[], Callable[[tf.Tensor], Sequence[tf.Tensor]]]
    kernels: dict[str, np.ndarray]


class Engine:
    """A loaded network.

    Attributes:
        card: what is recorded about the network.
        lung_fields: the segmentation that finds what the network is shown.
        gate: what tells frontal chest X-rays from other pictures; None where none was fitted to this network.
        kernels: task name to (channels, logits), the dense layers that read the averaged features.

    Thread-safe. A pass always takes one image, in one compiled function of one shape, so that the same input gives the
    same bits whatever else is being analysed. Threads that call together are answered side by side, each on one core.
    Measurements that need no bits run in batches: `run_batch`. Weights that are set in `network` change no answer.

    Args:
        compiled: the network.
        card: see above.
        lung_fields: see above.
        gate: see above.
        load: gives the Keras model, for those who need its layers.
    """

    def __init__(
        self,
        compiled: Compiled,
        card: ModelCard,
        lung_fields: LungFields,
        gate: Gate | None,
        *,
        load: Callable[[], keras.Model],
    ) -> None:
        self.card = card
        self.lung_fields = lung_fields
        self.gate = gate
        self.kernels = compiled.kernels
        self._run, self._load = compiled.run, load
        self._places = threading.Semaphore(PASSES_AT_ONCE)
        self._counting = threading.Lock()
        self._passes = 0
        self._compile_batch, self._run_eight = compiled.compile_batch, None
        self._run(tf.zeros((1, card.input_size, card.input_size, 1)))  # the first run is slow: no image should pay

    @classmethod
    def load(cls, name: str = DEFAULT_MODEL, folder: Path = MODELS) -> Engine:
        """Load ``<folder>/<name>.keras`` and ``<folder>/lungs.keras``, after checking them against their cards.

        What `detector.model.network.save_graph` has compiled of these weights is used where it is there: it is ready
        a second sooner, and gives the same bits.

        Raises:
            ModelError: if a file is missing, the weights are not those of the card, or the card asks for another
                preprocessing than this version's.
        """
        _run_a_pass_on_one_core()
        card = read_card(folder / f"{name}.json")
        if card.preprocessing != PREPROCESSING_ID:
            raise ModelError(f"{name} was trained with {card.preprocessing!r}. This is {PREPROCESSING_ID!r}.")
        path = folder / f"{name}.keras"
        checked_bytes(path, card.sha256)
        graph = load_graph(path.with_suffix(GRAPHS), card.graph, weights=card.sha256)
        network = cache(lambda: load_network(path, card.sha256))
        compiled = (graph and _from_graph(graph, network)) or _from_layers(network())
        lung_fields = LungFields.load(folder, LUNG_PREPROCESSING_ID)
        return cls(compiled, card, lung_fields, load_gate(folder, card.gate), load=network)

    @property
    def network(self) -> keras.Model:
        """The Keras model, from a standardised input to one logit array a task; built when it is first asked for."""
        return self._load()

    @property
    def forward_passes(self) -> int:
        """How many images the network has run on since it was loaded."""
        return self._passes

    def prepare(self, grey: np.ndarray) -> NetworkInput:
        """Find the lungs and cut the picture to them.

        Args:
            grey: (rows, columns) uint8, 255 = white, or float32 in [0, 1].

        Returns:
            The classifier's input, with the lung field on it.
        """
        frame = frame_picture(grey)
        return lung_crop(frame, self.lung_fields(lung_input(frame)), size=self.card.input_size)

    def __call__(self, network_input: NetworkInput) -> NetworkOutput:
        """Run the network once.

        Raises:
            NonFiniteError: if it is given NaN or infinity, or answers with them.
        """
        _check_finite([network_input.pixels])  # a convolution that is fused with its ReLU turns NaN into 0
        batch = tf.convert_to_tensor(network_input.pixels[np.newaxis])
        with self._places:
            tensors = self._run(batch)
        with self._counting:
            self._passes += 1
            _LOG.info("forward pass %d", self._passes)
        return _outputs(tensors, 1)[0]

    def run_batch(self, pixels: np.ndarray) -> list[NetworkOutput]:
        """Run the network on several inputs, eight at a time, for measurements rather than for answers.

        The sums of a batch are ordered otherwise than those of a single image: logits agree within 1e-4, not in bits.

        Args:
            pixels: (N, size, size, 1) float32, standardised; N need not be a multiple of eight.

        Raises:
            ValueError: if the inputs have another shape.
            NonFiniteError: if they hold NaN or infinity, or the answers do.
        """
        size = self.card.input_size
        if pixels.shape[1:] != (size, size, 1):
            msg = f"pixels must be (N, {size}, {size}, 1). Received shape {pixels.shape}."
            raise ValueError(msg)
        _check_finite([pixels])
        parts = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
        return [output for part in parts for output in self._run_part(part)]

    def _run_part(self, part: np.ndarray) -> list[NetworkOutput]:
        """Run on at most eight inputs; zeros fill the batch."""
        batch = np.zeros((BATCH, *part.shape[1:]), np.float32)
        batch[: len(part)] = part
        with self._counting:
            if self._run_eight is None:
                self._run_eight = self._compile_batch()
            self._passes += len(part)
        with self._places:
            tensors = self._run_eight(tf.convert_to_tensor(batch))
        return _outputs(tensors, len(part))


def _from_graph(graph: Graph, network: Callable[[], keras.Model]) -> Compiled | None:
    """What was compiled before; None where it can't be used. `network` is built where it serves no batch."""
    run = graph.function(_IMAGE, _OUTPUTS)
    if run is None:
        return None

    def compile_batch() -> Callable[[tf.Tensor], Sequence[tf.Tensor]]:
        return graph.function(_IMAGE, _OUTPUTS, batch=BATCH) or compile_classifier(network(), batch=BATCH)

    kernels = {task.name: graph.constant(f"{_KERNEL}{task.name}") for task in TASKS}
    return Compiled(run, compile_batch, kernels)


def _from_layers(network: keras.Model) -> Compiled:
    return Compiled(compile_classifier(network), partial(compile_classifier, network, batch=BATCH), _kernels(network))


def compile_classifier(network: keras.Model, *, batch: int = 1) -> tf.types.experimental.ConcreteFunction:
    """The pass of so many images as a compiled function, with the network's weights and the heads' kernels in it."""
    view, kernels = with_constant_weights(_view(network)), _kernels(network)

    def run(image: tf.Tensor) -> list[tf.Tensor]:
        for task, kernel in kernels.items():
            tf.constant(kernel, name=f"{_KERNEL}{task}")
        return view(image)

    return _compile(run, network.input_shape[1], batch=batch)


def _kernels(network: keras.Model) -> dict[str, np.ndarray]:
    return {task.name: network.get_layer(task.name).get_weights()[0] for task in TASKS}


def _run_a_pass_on_one_core() -> None:
    """Share the cores out between images and not within one; the bits are the same either way.

    The layers are so small that handing their parts around costs more than it gains: one pass on one of two cores is
    not slower than on both, and two passes at once take little longer than one.
    """
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already, in a training or a notebook: it stays as it is
        tf.config.threading.set_intra_op_parallelism_threads(1)


def _view(network: keras.Model) -> keras.Model:
    """The network with everything that is read of it as its outputs."""
    layers = [network.get_layer(FEATURE_LAYER), network.get_layer(POOLING_LAYER)]
    early = [network.get_layer(name).output for name in TEXTURE_LAYERS]
    answers = [network.output[task.name] for task in TASKS]
    return keras.Model(network.input, [*early, *(layer.output for layer in layers), *answers])


def _compile(
    view: Callable[[tf.Tensor], list[tf.Tensor]], size: int, *, batch: int
) -> tf.types.experimental.ConcreteFunction:
    def run(batch: tf.Tensor) -> list[tf.Tensor]:
        *maps, features, pooled, binary, three_class = view(batch)
        tensors = [features, pooled, tf.concat([_statistics(m) for m in maps], axis=1), binary, three_class]
        return [tf.identity(tensor, name=name) for tensor, name in zip(tensors, _OUTPUTS, strict=True)]

    spec = tf.TensorSpec((batch, size, size, 1), tf.float32, name=_IMAGE)
    return tf.function(run, autograph=False).get_concrete_function(spec)  # autograph would write a file into /tmp


def _statistics(maps: tf.Tensor) -> tf.Tensor:
    """Mean and standard deviation of each channel: (N, h, w, C) to (N, 2 C)."""
    mean, variance = tf.nn.moments(maps, axes=[1, 2])
    return tf.concat([mean, tf.sqrt(variance)], axis=1)


def _outputs(tensors: Sequence[tf.Tensor], count: int) -> list[NetworkOutput]:
    """The first `count` images of a batch, one by one."""
    features, pooled, texture, *logits = (tensor.numpy()[:count] for tensor in tensors)
    _check_finite([*logits, features, texture])
    return [
        NetworkOutput(
            logits={task.name: values[i] for task, values in zip(TASKS, logits, strict=True)},
            features=features[i],
            pooled_features=pooled[i],
            texture=texture[i],
        )
        for i in range(count)
    ]


def _check_finite(arrays: Sequence[np.ndarray]) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise NonFiniteError("The network's input or answer holds NaN or infinity.")
