"""How often each grey level of a picture occurs, and what follows from that: much faster than sorting the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_FINE = 65536  # levels of a picture in floating point: as many as 16 bits have


def levels_of(grey: np.ndarray) -> np.ndarray:
    """Each pixel's grey level, an index of `counts_of`.

    Args:
        grey: uint8, returned as it is, or float32 in [0, 1], of any shape.
    """
    return grey if grey.dtype == np.uint8 else (grey * np.float32(_FINE - 1)).astype(np.intp)


def counts_of(grey: np.ndarray) -> np.ndarray:
    """Number of pixels at each level from black to white, (256,) for uint8 and (65536,) for float32 in [0, 1]."""
    return np.bincount(levels_of(grey).ravel(), minlength=256 if grey.dtype == np.uint8 else _FINE)


def quantiles(counts: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Grey values, 0 = black and 1 = white, below which these shares of the pixels lie; as `numpy.quantile` defines it.

    Args:
        counts: (levels,) of `counts_of`.
        shares: S numbers in [0, 1].

    Returns:
        (S,) float64.
    """
    upto = np.cumsum(counts)
    place = np.asarray(shares) * (upto[-1] - 1)
    low, high = (np.searchsorted(upto, end, side="right") for end in (np.floor(place), np.ceil(place)))
    found: np.ndarray = (low + (place % 1) * (high - low)) / (len(counts) - 1)
    return found


def share_below(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of the pixels that are darker than each grey value, (N,) float64.

    Args:
        counts: (levels,) of `counts_of`.
        values: (N,) float64, 0 = black and 1 = white.
    """
    upto = np.concatenate(([0], np.cumsum(counts)))
    found: np.ndarray = upto[np.ceil(values * (len(counts) - 1)).astype(int)] / upto[-1]
    return found
