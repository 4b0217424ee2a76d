"""Pairs within one hospital: a sick picture should score above one that is not, taken in the same place.

Between hospitals what names the place answers the question, too, so a batch's loss can be brought down without a look
at a lung. Within one hospital it can't. The loss is the logistic loss of each such pair's difference (RankNet; Burges
et al. 2005), in the two scores that a reader is told: COVID-19 or not, and normal or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from detector.schema import BINARY, COVID19, NORMAL, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.training.data.manifest import Example

PAIRS = "pairs"  # the extra output of the network while it trains

_NORMAL = THREE_CLASS.classes.index(NORMAL)


def with_pairs(network: keras.Model) -> keras.Model:
    """A second view of a network that also gives ``"pairs"`` (N, 2): log-odds of COVID-19, and of not being normal."""
    three = network.output[THREE_CLASS.name]
    sick = [three[:, k : k + 1] for k in range(len(THREE_CLASS.classes)) if k != _NORMAL]
    not_normal = ops.logaddexp(*sick) - three[:, _NORMAL : _NORMAL + 1]
    scores = ops.concatenate([network.output[BINARY.name], not_normal], axis=-1)
    return keras.Model(network.input, {**network.output, PAIRS: scores})


def pair_targets(examples: Sequence[Example]) -> np.ndarray:
    """Target of `pair_loss`, (N, 3) float32: COVID-19 or not, sick or normal, and a hospital's number."""
    _, hospital = np.unique([e.place for e in examples], return_inverse=True)
    rows = [(e.label == COVID19, e.label != NORMAL, number) for e, number in zip(examples, hospital, strict=True)]
    return np.array(rows, np.float32)


def pair_loss(truth: Any, scores: Any) -> Any:
    """Mean logistic loss of the pairs of one hospital, both scores added.

    Args:
        truth: (N, 3), see `pair_targets`.
        scores: (N, 2), see `with_pairs`.

    Returns:
        A scalar; 0 where no hospital of the batch has both.
    """
    hospital = truth[:, 2]
    same = ops.cast(ops.equal(hospital[:, None], hospital[None, :]), scores.dtype)
    total = 0.0
    for k in range(2):
        pairs = same * truth[:, None, k] * (1.0 - truth[None, :, k])
        loss = ops.softplus(scores[None, :, k] - scores[:, None, k])
        total += ops.sum(pairs * loss) / ops.maximum(ops.sum(pairs), 1.0)
    return total
