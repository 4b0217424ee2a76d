"""What the network answered about a cohort of labelled X-rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detector.schema import THREE_CLASS

if TYPE_CHECKING:
    from detector.training.data.manifest import Example

UNKNOWN = "unknown"  # source, age group or view of images that have none


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network said about each analysed image of a cohort.

    Attributes:
        examples: the analysed images, in order.
        logits: task name to (N, logits) float64.
        peaks: task name to (N,), the strongest evidence of any class anywhere in the image, in logit units.
        rejected: path and code of every refused image; they count in no figure.
        rejected_examples: the same images' labels and sources, in the same order, where they are known.
    """

    examples: tuple[Example, ...]
    logits: dict[str, np.ndarray]
    peaks: dict[str, np.ndarray]
    rejected: tuple[tuple[str, str], ...]
    rejected_examples: tuple[Example, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """(N,) label of each image."""
        return np.array([example.label for example in self.examples])

    @property
    def groups(self) -> list[str]:
        """Patient group of each image: the unit of the bootstrap."""
        return [example.patient_group for example in self.examples]

    def only(self, keep: np.ndarray) -> Answers:
        """The images where `keep` (N,) is true."""
        index = np.flatnonzero(keep)
        return Answers(
            tuple(self.examples[i] for i in index),
            {name: values[index] for name, values in self.logits.items()},
            {name: values[index] for name, values in self.peaks.items()},
            self.rejected,
            self.rejected_examples,
        )


def truth_index(answers: Answers) -> np.ndarray:
    """(N,) index of the true class among the three."""
    return np.array([THREE_CLASS.classes.index(label) for label in answers.labels], int)
