"""Are these X-rays like those that the network learnt from? For a folder without labels.

The network's features of them are compared with a summary of its collections (``models/collections.npz``, numbers
and no pictures; `detector.training.audit.collections` makes it). Signs of how they were taken are compared as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from scipy import stats

from detector import words
from detector.errors import ModelError
from detector.statistics.mixture import fourier_features, nearest_mixture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from detector.answers.traits import Traits

SUMMARY = "collections.npz"
LEAST = 20  # X-rays: with fewer, chance alone moves the answer
LARGEST = 100  # X-rays that are compared: with 200, even patients of the same collections differed
CHILD = 16  # years
EQUALISED = 0.06  # unevenness of grey values below which the histogram was equalised
_ARRAYS = ("centre", "projection", "frequencies", "phases", "means", "sizes", "limits")
_NAMED = 0.1  # least share of the nearest mixture for a collection to be named
_APART = 0.25  # difference of two shares that counts as a sign, if chance seldom gives it:
_SELDOM = 0.01
_SEED = 1


@dataclass(frozen=True, eq=False)
class Collections:
    """A summary of the network's collections, as the network sees them.

    Attributes:
        weights: SHA-256 of the network's weights.
        centre: (channels,) subtracted from the pooled features.
        projection: (channels, k), to whitened principal directions, in units of the kernel's width.
        frequencies: (k, D), see `detector.statistics.mixture`.
        phases: (D,).
        means: (G, D) of the groups.
        groups: collection of each group; a collection has one for each kind of finding.
        sizes: (S,) numbers of X-rays, ascending.
        limits: (S,) ratios that this many X-rays from the collections exceed in five of a hundred draws.
        signs: name of a sign to its 5th, 50th and 95th percentile in the collections; for a share, to hits and number.
        checked: results of the test on X-rays that took no part in it, as in ``compare.json``.
    """

    weights: str
    centre: np.ndarray
    projection: np.ndarray
    frequencies: np.ndarray
    phases: np.ndarray
    means: np.ndarray
    groups: tuple[str, ...]
    sizes: np.ndarray
    limits: np.ndarray
    signs: Mapping[str, tuple[float, ...]]
    checked: Mapping[str, Any]

    def embedded(self, features: np.ndarray) -> np.ndarray:
        """Pooled features (n, channels) as (n, D)."""
        return fourier_features((features - self.centre) @ self.projection, self.frequencies, self.phases)

    def limit(self, n: int) -> float:
        """The ratio that `n` X-rays from the collections exceed in five of a hundred draws."""
        return float(np.interp(n, self.sizes, self.limits))

    def to_bytes(self) -> bytes:
        """The summary as the bytes of its file."""
        about = {"weights": self.weights, "groups": self.groups, "signs": self.signs, "checked": self.checked}
        file = BytesIO()
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name), np.float32) for name in _ARRAYS}
        np.savez_compressed(file, about=json.dumps(about), **arrays)
        return file.getvalue()


@dataclass(frozen=True)
class Sign:
    """One sign of how X-rays were taken, here and in the collections.

    Attributes:
        said: both, in a sentence.
        differs: whether the two differ.
    """

    said: str
    differs: bool


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        images: number of X-rays.
        ratio: squared distance to the nearest mixture of the collections, in units of chance; None for too few images.
        limit: the ratio that X-rays from the collections themselves exceed in five of a hundred draws.
        nearest: collections of that mixture with their shares, the largest first.
        signs: of acquisition.
    """

    images: int
    ratio: float | None
    limit: float
    nearest: tuple[tuple[str, float], ...]
    signs: tuple[Sign, ...]

    @property
    def differs(self) -> bool:
        """Whether the X-rays differ from the collections in the network's features."""
        return self.ratio is not None and self.ratio > self.limit


def load_collections(folder: Path, weights: str) -> Collections:
    """Load the summary of a network's collections.

    Args:
        folder: of the network.
        weights: SHA-256 of the network's weights.

    Raises:
        ModelError: if it is missing, damaged, or was made for other weights.
    """
    path = folder / SUMMARY
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name], float) for name in _ARRAYS}
            about = json.loads(str(stored["about"]))
        found = Collections(
            weights=about["weights"],
            groups=tuple(about["groups"]),
            signs={name: tuple(values) for name, values in about["signs"].items()},
            checked=about["checked"],
            **arrays,
        )
        _check(found)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, BadZipFile) as error:
        raise ModelError(f"The summary of the collections {path} cannot be read: {error}.") from error
    if found.weights != weights:
        raise ModelError(f"{path} was made for the weights {found.weights}. The network's are {weights}.")
    return found


def compare(traits: Sequence[Traits], collections: Collections) -> Comparison:
    """Compare X-rays with the collections; the test uses at most `LARGEST` of them, chosen at random."""
    n = len(traits)
    signs = tuple(_signs(traits, collections.signs))
    if n < LEAST:
        return Comparison(n, None, collections.limit(LEAST), (), signs)
    chosen = np.random.default_rng(_SEED).permutation(n)[:LARGEST]
    features = np.array([traits[i].features for i in chosen], float)
    found = nearest_mixture(collections.embedded(features), collections.means)
    shares: dict[str, float] = {}
    for group, share in zip(collections.groups, found.shares, strict=True):
        shares[group] = shares.get(group, 0.0) + float(share)
    nearest = sorted(shares.items(), key=lambda one: -one[1])
    named = tuple((name, share) for name, share in nearest if share >= _NAMED)
    return Comparison(n, found.ratio, collections.limit(len(chosen)), named, signs)


def sentences(found: Comparison) -> list[str]:
    """The result in words; the answer first."""
    if found.ratio is None:
        said = [words.LIKENESS_TOO_FEW.format(images=found.images, least=LEAST)]
    else:
        nearest = words.listed([f"{name} ({words.percent(share)})" for name, share in found.nearest])
        whole = words.LIKENESS_DIFFERS if found.differs else words.LIKENESS_ALIKE
        said = [whole.format(images=found.images, ratio=found.ratio, limit=found.limit, nearest=nearest)]
    return said + [sign.said for sign in found.signs if sign.differs]


def _signs(traits: Sequence[Traits], known: Mapping[str, tuple[float, ...]]) -> list[Sign]:
    views, ages = [t.view for t in traits if t.view], [t.age for t in traits if t.age is not None]
    shares = {
        "ap": ([view.upper().startswith("AP") for view in views], "ap"),
        "children": ([age < CHILD for age in ages], "children"),
        "equalised": ([t.unevenness < EQUALISED for t in traits], "equalised"),
    }
    middles = {name: [float(getattr(t, name)) for t in traits] for name in ("longer_side", "grey", "spread")}
    found = [_share_sign(name, hits, known[name]) for name, (hits, _) in shares.items() if hits]
    return found + [_middle_sign(name, values, known[name]) for name, values in middles.items() if values]


def _share_sign(name: str, hits: Sequence[bool], there: tuple[float, ...]) -> Sign:
    n, count, others, all_others = len(hits), sum(hits), int(there[0]), int(there[1])
    apart = abs(count / n - others / all_others) >= _APART
    chance = stats.fisher_exact([[count, n - count], [others, all_others - others]]).pvalue
    said = words.LIKENESS_SHARES[name].format(
        here=words.percent(count / n), n=n, there=words.percent(others / all_others), others=all_others
    )
    return Sign(said, bool(apart and chance < _SELDOM))


def _middle_sign(name: str, values: Sequence[float], there: tuple[float, ...]) -> Sign:
    middle, (low, _, high) = float(np.median(values)), there
    said = words.LIKENESS_MIDDLES[name].format(here=middle, low=low, high=high)
    return Sign(said, not low <= middle <= high)


def _check(found: Collections) -> None:
    """Check that a file's values are consistent and possible.

    Raises:
        ValueError: if they are not.
    """
    channels, k = found.projection.shape
    groups, dimensions = found.means.shape
    shapes = {
        "centre": (channels,), "frequencies": (k, dimensions), "phases": (dimensions,),
        "limits": found.sizes.shape,
    }  # fmt: skip
    for name, shape in shapes.items():
        if getattr(found, name).shape != shape:
            raise ValueError(f"{name} must be {shape}. Received {getattr(found, name).shape}")
    if groups != len(found.groups) or not all(np.isfinite(getattr(found, name)).all() for name in _ARRAYS):
        raise ValueError("it holds another number of groups, or a number that is not finite")
    if not (found.sizes[0] <= LEAST and (np.diff(found.sizes) > 0).all() and (found.limits > 0).all()):
        raise ValueError("sizes must ascend from the least on, and limits be positive")
    expected = {"ap": 2, "children": 2, "equalised": 2, "longer_side": 3, "grey": 3, "spread": 3}
    if {name: len(values) for name, values in found.signs.items()} != expected:
        raise ValueError(f"signs must be {sorted(expected)}")
