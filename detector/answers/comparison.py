"""Are a hospital's X-rays like those that the network learnt from? A test of what the network sees, without labels.

The collections are summarised as numbers: a centre for each hospital and finding in a space in which they spread alike,
and how far their own pictures, which took no part in that, lie from the nearest centre. Of each new picture follows a
p-value, and of the batch one test of whether these are too small too often, whatever mix of findings it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from detector import words
from detector.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.answers.pipeline import Analysis

LEAST = 20  # images: with fewer, only gross differences could be told from chance
LEVEL = 0.05
_FEW = 0.05  # of the collections' pictures have a lower, or a more extreme, value
_REMARKABLE = 0.25  # of a batch that does so
_VIEWS_APART = 0.3  # difference of two shares of AP views


@dataclass(frozen=True, eq=False)
class Reference:
    """The collections as numbers.

    Attributes:
        weights: SHA-256 of the network whose features these are.
        mean: (channels,) of the pooled features.
        directions: (channels, k), which bring a centred feature vector into the space of the centres, where the
            pictures of a group spread alike in all directions.
        centres: (groups, k), of a hospital and a finding each.
        distances: (groups, q) ascending: quantiles of the distance of a group's held-out pictures from their nearest
            centre.
        smallest_side: (q,) ascending quantiles of the collections' shorter side before any resizing, in pixels.
        entropy: (q,) ascending quantiles of the grey values' entropy, in bits.
        ap_share: share of AP views where the collections say the view.
    """

    weights: str
    mean: np.ndarray
    directions: np.ndarray
    centres: np.ndarray
    distances: np.ndarray
    smallest_side: np.ndarray
    entropy: np.ndarray
    ap_share: float

    def p_values(self, features: np.ndarray) -> np.ndarray:
        """Share of a group's own pictures that lie farther out, (n,), of pooled features (n, channels)."""
        placed = (features - self.mean) @ self.directions
        apart = np.linalg.norm(placed[:, None] - self.centres[None], axis=2)
        nearest = apart.argmin(axis=1)
        farther = [np.mean(self.distances[g] >= apart[i, g]) for i, g in enumerate(nearest)]
        return np.asarray(farther)

    def save(self, path: Path) -> None:
        """Write the numbers as an ``.npz`` file."""
        with path.open("wb") as file:
            np.savez_compressed(file, **vars(self))


@dataclass(frozen=True)
class Comparison:
    """What the comparison found.

    Attributes:
        n: images.
        p_value: of the hypothesis that they come from the collections' hospitals.
        differs: whether it is below `LEVEL`.
        signs: what differs in how they were taken, as sentences.
    """

    n: int
    p_value: float
    differs: bool
    signs: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The finding in one or two sentences."""
        return (words.UNLIKE if self.differs else words.LIKE).format(n=self.n, p=self.p_value)


def load_reference(path: Path, weights: str) -> Reference:
    """Read the collections' summary.

    Raises:
        ModelError: if it is missing, damaged, or of another network.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = {name: file[name] for name in Reference.__dataclass_fields__}
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"The collections' summary {path} cannot be read: {error}.") from error
    reference = Reference(**{**found, "weights": str(found["weights"]), "ap_share": float(found["ap_share"])})
    if reference.weights != weights:
        raise ModelError(f"{path} was made with weights {reference.weights[:12]}. These are {weights[:12]}.")
    if not all(np.isfinite(found[name]).all() for name in ("mean", "directions", "centres", "distances")):
        raise ModelError(f"{path} holds numbers that are not finite.")
    return reference


def compare(analyses: Sequence[Analysis], reference: Reference) -> Comparison:
    """Compare a hospital's images with the collections.

    The p-values of pictures from the collections are uniform; a Kolmogorov-Smirnov test asks whether they are smaller.

    Raises:
        ValueError: if there are fewer than `LEAST` images.
    """
    n = len(analyses)
    if n < LEAST:
        raise ValueError(words.TOO_FEW_TO_COMPARE.format(least=LEAST, n=n))
    p_values = reference.p_values(np.stack([analysis.pooled_features for analysis in analyses]))
    tested = stats.kstest(p_values, "uniform", alternative="greater")
    return Comparison(n, float(tested.pvalue), bool(tested.pvalue < LEVEL), _signs(analyses, reference))


def _signs(analyses: Sequence[Analysis], reference: Reference) -> tuple[str, ...]:
    n, found = len(analyses), []
    smallest = float(np.quantile(reference.smallest_side, _FEW))
    small = sum(min(a.radiograph.rows, a.radiograph.columns) < smallest for a in analyses)
    if small > _REMARKABLE * n:
        found.append(words.SIGN_SIZE.format(count=small, n=n))
    low, high = np.quantile(reference.entropy, [_FEW / 2, 1 - _FEW / 2])
    odd = sum(not low <= a.grey_entropy <= high for a in analyses)
    if odd > _REMARKABLE * n:
        found.append(words.SIGN_TONE.format(count=odd, n=n))
    views = [a.radiograph.view_position for a in analyses if a.radiograph.view_position in {"AP", "PA"}]
    share = views.count("AP") / len(views) if views else reference.ap_share
    if len(views) >= LEAST and abs(share - reference.ap_share) > _VIEWS_APART:
        found.append(words.SIGN_VIEW.format(share=100 * share, other=100 * reference.ap_share))
    return tuple(found)
