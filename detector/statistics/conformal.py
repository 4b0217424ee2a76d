"""Class-conditional conformal prediction: sets that contain the truth as often as promised, class by class."""

from __future__ import annotations

import math

import numpy as np


def conformal_quantile(scores: np.ndarray, coverage: float) -> float:
    """The largest nonconformity that still belongs to a class.

    It is the ceil((n + 1) coverage)-th smallest of the class's n scores (Vovk et al. 2005, split conformal): a new
    exchangeable case of the class lies at or below it with a probability of at least `coverage`.

    Example:
        >>> conformal_quantile(np.array([0.1, 0.4, 0.2, 0.3]), 0.75)
        0.4

    Args:
        scores: (n,) nonconformity of the calibration cases of one class.
        coverage: between 0 and 1, both excluded.

    Returns:
        The quantile; infinity if n is too small to promise that much, so that every case belongs.

    Raises:
        ValueError: if the coverage is out of range, or a score is not finite.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1. Received {coverage}.")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite.")
    place = math.ceil((len(scores) + 1) * coverage)
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else math.inf
