"""What shows where a picture comes from, kept with every analysis: the network's features, and signs of acquisition.

These are only numbers; no picture can be made from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detector.model.levels import counts_of, quantiles, share_below

if TYPE_CHECKING:
    from detector.schema import NetworkOutput, Radiograph

_SAMPLED = 224  # least number of lines and columns from which the tone is taken
_EVEN = np.arange(1, 64) / 64  # grey values that split a uniform distribution into equal parts


@dataclass(frozen=True, eq=False)
class Traits:
    """One picture's traits.

    Attributes:
        features: (channels,) float32, the input of the network's dense layers.
        view: view position if a header gives it, else `""`.
        age: in years, if a header gives it.
        longer_side: in pixels.
        grey: median grey value, 0 = black, 1 = white.
        spread: between the 5th and the 95th percentile of the grey values.
        unevenness: largest distance of the grey values' distribution from a uniform one (Kolmogorov): near 0 if the
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
    counts = counts_of(radiograph.grey[::step_down, ::step_right])
    low, middle, high = quantiles(counts, (0.05, 0.5, 0.95))
    return Traits(
        features=output.pooled_features,
        view=radiograph.view_position or "",
        age=radiograph.age,
        longer_side=max(radiograph.rows, radiograph.columns),
        grey=float(middle),
        spread=float(high - low),
        unevenness=float(np.abs(share_below(counts, _EVEN) - _EVEN).max()),
    )
