"""Weight randomisation (Adebayo et al. 2018, arXiv:1810.03292): a map that stays as it was explains no network."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import keras
import numpy as np

from detector.schema import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = "dense layers"

_HE = 2.0  # over the fan-in: variance that keeps a ReLU network's scale (He et al. 2015, arXiv:1502.01852)
_START_AT_ONE = ("gamma", "moving_variance")


def stages_from_the_top(network: keras.Model) -> list[tuple[str, list[keras.Layer]]]:
    """The network's layers with weights, from the answer to the picture, in the steps in which they lose their weights.

    Layers of one unit go together: those whose names agree up to the first underscore. The tasks' dense layers are one
    step, the first.
    """
    stages: dict[str, list[keras.Layer]] = {TOP: [network.get_layer(task.name) for task in TASKS]}
    for layer in reversed(network.layers):
        if layer.weights and layer not in stages[TOP]:
            stages.setdefault(layer.name.split("_")[0], []).append(layer)
    return list(stages.items())


def randomise(layer: keras.Layer, rng: np.random.Generator) -> None:
    """Give a layer the weights of an untrained one: normal kernels after He, batch statistics of a standard normal."""
    each_channel_alone = isinstance(layer, keras.layers.DepthwiseConv2D)
    inputs = slice(0, 2 if each_channel_alone else -1)  # axes of a kernel that one output sums over
    layer.set_weights([_untrained(weight.name, tuple(weight.shape), inputs, rng) for weight in layer.weights])


@contextlib.contextmanager
def weights_restored(network: keras.Model) -> Iterator[None]:
    """Whatever happens inside, the network has its weights again afterwards."""
    weights = network.get_weights()
    try:
        yield
    finally:
        network.set_weights(weights)


def _untrained(name: str, shape: tuple[int, ...], inputs: slice, rng: np.random.Generator) -> np.ndarray:
    if len(shape) < 2:
        return np.full(shape, 1.0 if name in _START_AT_ONE else 0.0, np.float32)
    return rng.normal(scale=np.sqrt(_HE / np.prod(shape[inputs])), size=shape).astype(np.float32)
