"""The stability check, on demand: does the answer hold when the picture changes a little?

The check itself belongs to `detector.answers.stability`; everything that the page knows of it is in this file.
"""

from __future__ import annotations

from importlib import util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.model.engine import Engine
    from detector.schema import Stability, Task


def is_available() -> bool:
    """Whether this installation can check stability."""
    return util.find_spec("detector.answers.stability") is not None


def measure(data: bytes, engine: Engine) -> Stability:
    """Check the file of these bytes; the network runs once for each change of the picture.

    Raises:
        RejectedError: if the bytes are no sound picture.
    """
    from detector.answers.stability import measure_stability  # noqa: PLC0415
    from detector.read.image_io import read_radiograph  # noqa: PLC0415

    return measure_stability(read_radiograph(data), engine)


def whiskers(stability: Stability, task: Task) -> dict[str, tuple[float, float]]:
    """Class name to its lowest and highest probability over the changes."""
    return {name: (measured.low, measured.high) for name, measured in stability.classes[task.name].items()}


def widest(stability: Stability, task: Task) -> float:
    """The largest distance between the lowest and the highest probability of any class."""
    return max(high - low for low, high in whiskers(stability, task).values())
