"""Teaching the network to look at the lungs: evidence outside them costs, and what lies outside them is shuffled.

Borders, shoulders and markers tell the collections apart, so a network that may use them will. Two remedies, both at
no cost when the network serves: the share of the squared evidence outside the lung fields is part of the loss (as in
ISNet; Bassi et al. 2024), and in a part of every batch the surroundings of the lungs come from another picture of the
batch, whose label they then say nothing about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import keras
import numpy as np
from keras import ops

from detector.model.network import FEATURE_LAYER
from detector.schema import BINARY, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable

EVIDENCE = "evidence"  # the extra output of the network while it trains

_LEAST_LUNG = 0.05  # of a picture: less means that the lungs were not found, and nothing is asked of it
_EPSILON = 1e-6  # a map without any evidence has nothing outside, not 0/0
_SOFT_EDGE = 4.0  # pixels at 160: the seam between lungs and foreign surroundings must not be a sign either


def with_evidence(network: keras.Model) -> keras.Model:
    """A second view of a network that also gives its maps, by its own dense layers on its own feature map.

    Returns:
        A model of the same weights with one output more, ``"evidence"`` (N, h, w, 4): the binary map and the
        three-class maps minus their mean.
    """
    features = network.get_layer(FEATURE_LAYER).output
    three = network.get_layer(THREE_CLASS.name)(features)
    maps = [network.get_layer(BINARY.name)(features), three - ops.mean(three, axis=-1, keepdims=True)]
    return keras.Model(network.input, {**network.output, EVIDENCE: ops.concatenate(maps, axis=-1)})


def outside_share(lung_share: Any, evidence: Any) -> Any:  # tensors of the backend
    """Share of the squared evidence that lies outside the lungs.

    Args:
        lung_share: (N, h, w, 1), how much of each cell is lung; ones where nothing is asked.
        evidence: (N, h, w, maps) in logit units.

    Returns:
        (N,) in [0, 1].
    """
    energy = ops.sum(ops.square(evidence), axis=-1, keepdims=True)
    outside = ops.sum((1.0 - lung_share) * energy, axis=(1, 2, 3))
    return outside / (ops.sum(energy, axis=(1, 2, 3)) + _EPSILON)


def lung_cells(fields: np.ndarray, cells: int) -> np.ndarray:
    """How much of each cell of the network's grid is lung.

    Args:
        fields: (N, size, size) bool.
        cells: cells along a side; divides the size.

    Returns:
        (N, cells, cells, 1) float32; ones where the picture has hardly any lung.
    """
    number, size, _ = fields.shape
    step = size // cells
    share = fields.reshape(number, cells, step, cells, step).mean(axis=(2, 4), dtype=np.float32)
    share[fields.mean(axis=(1, 2)) < _LEAST_LUNG] = 1
    return np.asarray(share[..., np.newaxis])


def swap_surroundings(
    inputs: np.ndarray, fields: np.ndarray, rng: np.random.Generator, *, probability: float
) -> np.ndarray:
    """Give pictures the surroundings of the lungs of another picture of the batch.

    Args:
        inputs: (N, size, size, 1) float32, standardised.
        fields: (N, size, size) bool, the lungs of each; a picture without lungs is left alone.
        rng: source of randomness.
        probability: of each picture to be changed.

    Returns:
        (N, size, size, 1) float32; the inputs are not changed.
    """
    others = inputs[rng.permutation(len(inputs))]
    found = fields.mean(axis=(1, 2)) >= _LEAST_LUNG
    changed = inputs.copy()
    for i in np.flatnonzero(found & (rng.random(len(inputs)) < probability)):
        changed[i] = _in_surroundings(inputs[i], fields[i], others[i])
    return changed


def misleading_surroundings(
    inputs: np.ndarray, fields: np.ndarray, positive: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Give every picture what lies around the lungs in a picture with the other answer.

    The lender's own lungs are not taken along: where they lie, the picture stays as it is, like its own lungs. What is
    exchanged tells the wrong answer then and nothing about a lung, so whoever goes by it is wrong.

    Args:
        inputs: (N, size, size, 1) float32, standardised.
        fields: (N, size, size) bool, the lungs of each; a picture without lungs is left alone, and lends nothing.
        positive: (N,) bool; where all are alike, nobody has surroundings to lend, and nothing changes.
        rng: source of randomness.

    Returns:
        (N, size, size, 1) float32; the inputs are not changed.
    """
    changed = inputs.copy()
    found = fields.mean(axis=(1, 2)) >= _LEAST_LUNG
    lenders = {answer: np.flatnonzero(found & (positive != answer)) for answer in (False, True)}
    for i in np.flatnonzero(found):
        if len(others := lenders[bool(positive[i])]):
            lender = rng.choice(others)
            changed[i] = _in_surroundings(inputs[i], fields[i] | fields[lender], inputs[lender])
    return changed


def _in_surroundings(picture: np.ndarray, kept: np.ndarray, other: np.ndarray) -> np.ndarray:
    soft = cv2.GaussianBlur(kept.astype(np.float32), (0, 0), _SOFT_EDGE)
    share = np.minimum(soft * 2, 1)[..., np.newaxis]  # the whole of it, fading outside its border
    return np.asarray(share * picture + (1 - share) * other)


def segmenter(lungs: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from inputs (N, size, size, 1) to lung fields (N, size, size) bool."""
    return lambda inputs: np.asarray(lungs.predict_on_batch(inputs))[..., 0] > 0
