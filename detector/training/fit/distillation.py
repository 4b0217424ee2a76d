"""Several networks into one: a run is held to the mean logits of its teachers as well as to the labels.

An ensemble errs less than its members, and one network can be taught most of what it knows (Hinton et al. 2015,
arXiv:1503.02531). Teachers and student look at one changed picture (Beyer et al. 2022, arXiv:2106.05237), but only the
student's has another picture's surroundings, a mixed spectrum and boxes cut out: it is to answer as if they were not
there. Some teachers may be shown the whole picture where the student gets the lungs alone; it then learns of what they
saw what the lungs show too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from detector.errors import ModelError
from detector.schema import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

TAUGHT = "taught"  # the extra output of the network while it trains: the logits of all tasks side by side

_TEMPERATURE = 2.0  # by which both sides' logits are divided, so that a sure teacher still says what else it might be


class Teachers:
    """Trained networks whose logits are averaged.

    Args:
        of_lungs: networks that are shown what the student is shown, before it is spoilt.
        of_whole: networks that are shown the whole picture.
    """

    def __init__(self, of_lungs: Sequence[keras.Model], of_whole: Sequence[keras.Model]) -> None:
        self._of_lungs, self._of_whole = of_lungs, of_whole

    @classmethod
    def load(cls, of_lungs: Sequence[str], of_whole: Sequence[str]) -> Teachers:
        """Load the teachers from ``.keras`` files.

        Raises:
            ModelError: if a file can't be loaded.
        """
        return cls(*([_load(path) for path in paths] for paths in (of_lungs, of_whole)))

    def logits(self, lungs: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Mean logits of the teachers, (N, logits of all tasks) float32.

        Args:
            lungs: (N, size, size, 1), what the student is shown, before it is spoilt.
            whole: (N, size, size, 1), the whole pictures.
        """
        shown = [(network, lungs) for network in self._of_lungs] + [(network, whole) for network in self._of_whole]
        logits = [_side_by_side(network.predict_on_batch(inputs)) for network, inputs in shown]
        return np.asarray(np.mean(logits, axis=0))


def with_taught(network: keras.Model) -> keras.Model:
    """A second view of a network that also gives its logits side by side, for the distance from its teachers."""
    logits = ops.concatenate([network.output[task.name] for task in TASKS], axis=-1)
    return keras.Model(network.input, {**network.output, TAUGHT: logits})


def distance(taught: Any, logits: Any) -> Any:  # tensors of the backend
    """Cross-entropy of the student's probabilities under its teachers', all tasks added.

    Args:
        taught: (N, logits of all tasks), the teachers'.
        logits: (N, logits of all tasks), the student's.

    Returns:
        (N,) in nats, times the squared temperature, which keeps the gradient's size.
    """
    total, start = 0.0, 0
    for task in TASKS:
        theirs, own = (x[:, start : start + task.logits] / _TEMPERATURE for x in (taught, logits))
        if task.logits == 1:  # a logit of its own against nothing
            theirs, own = (ops.concatenate([x, ops.zeros_like(x)], axis=-1) for x in (theirs, own))
        total += -ops.sum(ops.softmax(theirs, axis=-1) * ops.log_softmax(own, axis=-1), axis=-1)
        start += task.logits
    return total * _TEMPERATURE**2


def _side_by_side(outputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([ops.convert_to_numpy(outputs[task.name]) for task in TASKS], axis=-1)


def _load(path: str) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot teach: {error}") from error
