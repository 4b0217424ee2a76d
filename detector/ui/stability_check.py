"""What a stability check says of one question: whiskers for the bars, and how far they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.schema import Stability, Task


def whiskers(stability: Stability, task: Task) -> dict[str, tuple[float, float]]:
    """Class name to its lowest and highest probability over the changes."""
    return {name: (measured.low, measured.high) for name, measured in stability.classes[task.name].items()}


def widest(stability: Stability, task: Task) -> float:
    """The largest distance between the lowest and the highest probability of any class."""
    return max(high - low for low, high in whiskers(stability, task).values())
