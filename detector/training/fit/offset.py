"""A hospital's own mix of findings, absorbed by an offset of its own in training and dropped afterwards.

Where most X-rays of a hospital are normal, a network that knows the hospital answers "normal" before it has looked. A
free offset a hospital lets it say so at no cost to the features: the logits that it is served with are without it.
Only a hospital with both answers gets one. Where there is one answer alone, an offset would explain it all, and nothing
would be left to learn from its lungs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers, ops

from detector.schema import BINARY, COVID19, NORMAL, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.training.data.manifest import Example

HOSPITAL = "hospital"  # the extra input of the network while it trains

_NORMAL = THREE_CLASS.classes.index(NORMAL)


class Hospitals:
    """Those of a training set that have both answers to a question: COVID-19 or not, normal or not."""

    def __init__(self, examples: Sequence[Example]) -> None:
        answers: dict[tuple[str, int], set[bool]] = {}
        for example in examples:
            for question, is_positive in enumerate(_answers(example)):
                answers.setdefault((example.place, question), set()).add(is_positive)
        self.columns = {key: k for k, key in enumerate(sorted(key for key, found in answers.items() if len(found) > 1))}

    def rows(self, examples: Sequence[Example]) -> np.ndarray:
        """Which offsets count for each example, (N, offsets) float32 of 0 and 1."""
        rows = np.zeros((len(examples), len(self.columns)), np.float32)
        for row, example in zip(rows, examples, strict=True):
            for question in range(2):
                if (column := self.columns.get((example.place, question))) is not None:
                    row[column] = 1
        return rows

    def with_offsets(self, network: keras.Model, shrinking: float) -> keras.Model:
        """A second view of a network whose logits carry the offsets; its other outputs stay as they are.

        Args:
            network: with the outputs of both tasks.
            shrinking: weight of the squared offsets in the loss, which pulls them to zero.

        Returns:
            A model with the inputs ``"image"`` and ``"hospital"`` (N, offsets).
        """
        hospital = keras.Input((len(self.columns),), name=HOSPITAL)
        outputs = dict(network.output)
        for question, task in enumerate((BINARY, THREE_CLASS)):
            own = np.array([[float(of == question)] for _, of in self.columns], np.float32)
            offset = layers.Dense(
                1, use_bias=False, kernel_initializer="zeros", name=f"offset_{task.name}",
                kernel_regularizer=keras.regularizers.L2(shrinking),
            )(hospital * own[:, 0])  # fmt: skip
            place = np.eye(task.logits, dtype=np.float32)[_NORMAL if task is THREE_CLASS else 0]
            outputs[task.name] = outputs[task.name] + offset * ops.convert_to_tensor(place)
        return keras.Model({"image": network.input, HOSPITAL: hospital}, outputs)


def _answers(example: Example) -> tuple[bool, bool]:
    return example.label == COVID19, example.label == NORMAL
