"""Are these points drawn from a mixture of known groups, in any proportions? A kernel two-sample test from summaries.

A group is summarised by the mean of random Fourier features of its points (Rahimi and Recht 2007): the distance between
two such means is the maximum mean discrepancy of a Gaussian kernel (Gretton et al. 2012). A new sample is compared with
the nearest mixture of the groups, so that another mix of the same kinds of patients does not count as a difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

_SUM_WEIGHT = 1e3  # of "the shares sum to 1" beside distances, which are at most 2


@dataclass(frozen=True, eq=False)
class Nearest:
    """The mixture of groups that is nearest to a sample.

    Attributes:
        shares: (G,) of the groups; they sum to 1.
        ratio: squared distance, in units of that expected by chance from the sample's own spread and size.
    """

    shares: np.ndarray
    ratio: float


def fourier_features(points: np.ndarray, frequencies: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Features (n, D) of points (n, k); their inner product approximates exp(-|x - y|² / 2) for normal frequencies.

    Args:
        points: in units of the kernel's width.
        frequencies: (k, D), standard normal.
        phases: (D,), uniform in [0, 2π).
    """
    features: np.ndarray = np.sqrt(2 / len(phases)) * np.cos(points @ frequencies + phases)
    return features


def nearest_mixture(features: np.ndarray, means: np.ndarray) -> Nearest:
    """Compare a sample with the nearest mixture of groups.

    Args:
        features: (n, D) of the sample, n at least 2.
        means: (G, D) of the groups.

    Raises:
        ValueError: if the sample has fewer than two points, or all of them are the same.
    """
    n = len(features)
    spread = float(features.var(axis=0, ddof=1).sum()) if n > 1 else 0.0
    if not spread > 0:
        raise ValueError(f"A sample needs at least two different points. Received {n}.")
    mean = features.mean(axis=0)
    system = np.vstack([means.T, np.full(len(means), _SUM_WEIGHT)])
    shares, _ = optimize.nnls(system, np.append(mean, _SUM_WEIGHT))
    shares /= shares.sum()
    distance = float(((mean - shares @ means) ** 2).sum())
    return Nearest(shares, n * distance / spread)
