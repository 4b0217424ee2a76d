"""What tells where a picture comes from, kept of every analysis: the network's features, and signs of how it was taken.

Numbers alone; no picture can be made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detector.schema import in_unit_range

if TYPE_CHECKING:
    from detector.schema import NetworkOutput, Radiograph

_SAMPLED = 224  # lines and columns, at least, that the tone is taken from
_LEVELS = 64  # grey levels in which its distribution is told


@dataclass(frozen=True, eq=False)
class Traits:
    """One picture's.

    Attributes:
        features: (channels,) float32, what the network's dense layers read.
        view: view position where a header says so, else `""`.
        age: in years, where a header says so.
        longer_side: in pixels.
        grey: median grey value, 0 = black, 1 = white.
        spread: between the 5th and the 95th percentile of the grey values.
        unevenness: largest distance of the grey values' distribution from an even one (Kolmogorov): near 0 where the
            histogram was equalised.
    """

    features: np.ndarray
    view: str
    age: float | None
    longer_side: int
    grey: float
    spread: float
    unevenness: float


def traits_of(radiograph: Radiograph, output: NetworkOutput) -> Traits:
    """The traits of an image that the network has seen."""
    step_down, step_right = (max(1, side // _SAMPLED) for side in radiograph.grey.shape)
    sampled = in_unit_range(radiograph.grey[::step_down, ::step_right])
    low, middle, high = np.quantile(sampled, [0.05, 0.5, 0.95])
    counts, _ = np.histogram(sampled, bins=_LEVELS, range=(0, 1))
    reached = np.cumsum(counts) / counts.sum()
    even = np.arange(1, _LEVELS + 1) / _LEVELS
    return Traits(
        features=output.pooled_features,
        view=radiograph.view_position or "",
        age=radiograph.age,
        longer_side=max(radiograph.rows, radiograph.columns),
        grey=float(middle),
        spread=float(high - low),
        unevenness=float(np.abs(reached - even).max()),
    )
