"""Pairs of sources that are left out of a training together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from detector.schema import COVID19

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.training.data.manifest import Example

_FEWEST = 10  # images of each class that a source needs to be judged alone


@dataclass(frozen=True)
class SourcePair:
    """A positive and a negative source that are left out of training together, and tested on.

    Attributes:
        positive: its COVID-19 images are the positives.
        negative: its other images are the negatives.
    """

    positive: str
    negative: str

    @property
    def name(self) -> str:
        """Both, for the record."""
        return f"{self.positive} against {self.negative}"


def source_pairs(examples: Sequence[Example]) -> list[SourcePair]:
    """Pairs that leave both classes to train on, and have both to test on."""
    sources = sorted({e.source for e in examples})
    pairs = [SourcePair(*pair) for pair in product(sources, sources) if pair[0] != pair[1]]
    return [pair for pair in pairs if all(has_both(part) for part in parted(examples, pair))]


def parted(examples: Sequence[Example], pair: SourcePair) -> tuple[list[Example], list[Example]]:
    """Training and test examples of a pair."""
    train = [e for e in examples if e.source not in {pair.positive, pair.negative}]
    test = [
        e
        for e in examples
        if (e.source == pair.positive and e.label == COVID19) or (e.source == pair.negative and e.label != COVID19)
    ]
    return train, test


def has_both(examples: Sequence[Example]) -> bool:
    """Whether there are enough images of COVID-19 and of others to be judged by."""
    positives = sum(e.label == COVID19 for e in examples)
    return min(positives, len(examples) - positives) >= _FEWEST
