"""Exact intervals of shares and of their ratios, from counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy import stats

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95


def exact_interval(hits: int, n: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share of `n` cases (Clopper and Pearson 1934).

    Raises:
        ValueError: if there are no cases, or more hits than cases.
    """
    interval = stats.binomtest(hits, n).proportion_ci(confidence_level=level, method="exact")
    return float(interval.low), float(interval.high)


def exact_share(hits: np.ndarray) -> dict[str, float | int]:
    """Share of hits (n,) bool with its exact interval, as JSON has it: ``value``, ``ci_low``, ``ci_high`` and ``n``."""
    low, high = exact_interval(int(hits.sum()), len(hits))
    return {"value": float(hits.mean()), "ci_low": low, "ci_high": high, "n": len(hits)}


def likelihood_ratio_interval(hits: int, n: int, other_hits: int, other_n: int) -> tuple[float, float]:
    """95 % interval of the ratio of two independent shares, hits / n over other_hits / other_n.

    Each share has its exact interval at 97.5 %, and the ratio's ends are quotients of their ends: it holds the truth at
    least 95 times of 100 (Bonferroni), and is wide where either group is small.

    Returns:
        Both ends; the upper is infinite where the lower end of the other share is 0.
    """
    level = 1 - (1 - LEVEL) / 2
    low, high = exact_interval(hits, n, level=level)
    other_low, other_high = exact_interval(other_hits, other_n, level=level)
    return low / other_high, high / other_low if other_low > 0 else math.inf


def half_width(share: float, n: int) -> float:
    """Half the width of the exact interval of a share that was seen in `n` cases, as near as counts allow."""
    low, high = exact_interval(round(share * n), n)
    return (high - low) / 2


def more_to_halve(share: float, n: int) -> int:
    """How many further cases would halve the interval's width, if the share stays."""
    wanted, total = half_width(share, n) / 2, 2 * n
    while half_width(share, total) > wanted:
        total += max(1, n // 10)
    return total - n
