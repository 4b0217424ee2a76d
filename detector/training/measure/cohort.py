"""What the network answered about a cohort of labelled X-rays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from detector.schema import BINARY, COVID19

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.schema import Task
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
        return replace(
            self,
            examples=tuple(self.examples[i] for i in index),
            logits={name: values[index] for name, values in self.logits.items()},
            peaks={name: values[index] for name, values in self.peaks.items()},
        )

    def parts(self, attribute: str) -> dict[str, Answers]:
        """The cohort parted by an attribute of its examples, in order of name."""
        values = np.array([getattr(example, attribute) or UNKNOWN for example in self.examples], dtype=str)
        return {str(value): self.only(values == value) for value in np.unique(values)}


def truth_index(task: Task, labels: np.ndarray) -> np.ndarray:
    """Index (N,) of the true class of labels (N,) in the task's classes; -1 for a label that it is not asked of."""
    if task is BINARY:
        return np.where(labels == COVID19, 0, 1)
    return np.array([task.classes.index(label) if label in task.classes else -1 for label in labels], int)


def one_a_patient(groups: Sequence[str], rng: np.random.Generator, keep: np.ndarray | None = None) -> np.ndarray:
    """One image of each patient, at random, (N,) bool; of those where `keep` (N,) is true."""
    order = rng.permutation(len(groups) if keep is None else np.flatnonzero(keep))
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    chosen = np.zeros(len(groups), bool)
    chosen[order[first]] = True
    return chosen
