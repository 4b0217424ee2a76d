"""Patient-level bootstrap, all resamples at once: a resample is a row of weights, how often it drew each image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.statistics.intervals import exact_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

RESAMPLES = 2000
NO_SPREAD = "no interval: every resample gives this figure"
ONE_CLASS = "not defined: the images are all of one class"
NO_IMAGES = "no images of these labels"

_ENDS = (0.025, 0.975)  # of a 95 % interval
_LEAST_DEFINED = 0.5  # of the resamples: with fewer, the interval would describe those that happened to work
_LARGEST = np.finfo(float).max
_CELLS = 400_000  # weights at a time: they stay in the processor's cache


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: the figure on all images; None if it is not defined there.
        ci_low: 2.5 % quantile of the bootstrap; None if most resamples don't define it, or if it is infinite.
        ci_high: 97.5 % quantile.
        n: number of images that it is based on.
        reason: why `value` or its interval is None.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    reason: str | None = None

    def times(self, factor: float) -> Estimate:
        """The same figure in another unit; the factor is positive."""
        low, value, high = (x if x is None else x * factor for x in (self.ci_low, self.value, self.ci_high))
        return Estimate(value, low, high, self.n, self.reason)


@dataclass(frozen=True, eq=False)
class Curve:
    """A figure along an axis, each array (K,); NaN where it is not defined.

    Attributes:
        places: points on the axis.
        values: on all images.
        ci_low: 2.5 % quantile of the bootstrap.
        ci_high: 97.5 % quantile.
        n: number of images that it is based on.
    """

    places: np.ndarray
    values: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    n: int

    def to_json(self, axis: str) -> dict[str, Any]:
        """Lists by name, rounded to six digits, null where there is none."""
        columns = {axis: self.places, "value": self.values, "ci_low": self.ci_low, "ci_high": self.ci_high}
        return {name: [_rounded(x) for x in column] for name, column in columns.items()} | {"n": self.n}


@dataclass(frozen=True, eq=False)
class Statistic:
    """A figure that can be resampled.

    Attributes:
        of: takes weights (S, n) of the kept images and gives (S,), or (S, K) for a curve.
        keep: (N,) bool, the images that it is computed from; None for all.
        undefined: reason to give if the figure is not defined.
        empty: reason to give if no image is kept.
        share: whether the figure is a share of images, so that 0 and 1 have an exact interval.
        rests_on: (N,) bool, the images that decide it, if they are fewer than the kept ones.
    """

    of: Callable[[np.ndarray], np.ndarray]
    keep: np.ndarray | None = None
    undefined: str = ONE_CLASS
    empty: str = NO_IMAGES
    share: bool = False
    rests_on: np.ndarray | None = None

    @classmethod
    def on(cls, keep: np.ndarray, measure: Callable[..., np.ndarray], *values: np.ndarray, **said: Any) -> Statistic:
        """A figure of merit of values (N, ...) of all images, reckoned on the kept ones; `said`: other attributes."""
        return cls(partial(measure, *(np.asarray(column)[keep] for column in values)), keep, **said)


class Resampling:
    """Draws of a cohort's patients, with replacement (Efron 1979).

    Args:
        groups: patient group of each image; images of one group are drawn together.
        samples: number of draws; None for `RESAMPLES`.
        seed: of the draws.
    """

    def __init__(self, groups: Sequence[str], *, samples: int | None = None, seed: int = 0) -> None:
        names, self._membership = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        self.patients = len(names)
        self.images = len(self._membership)
        self._samples, self._seed = RESAMPLES if samples is None else samples, seed

    def estimates(self, statistics: Mapping[str, Statistic]) -> dict[str, Estimate]:
        """Estimate figures, each with the 95 % percentile interval of its resamples."""
        drawn = self._drawn(statistics)
        return {name: self._estimate(statistic, drawn[name]) for name, statistic in statistics.items()}

    def estimate(self, statistic: Statistic) -> Estimate:
        """Estimate one figure."""
        return self.estimates({"": statistic})[""]

    def records(self, statistics: Mapping[str, Statistic]) -> dict[str, dict[str, Any]]:
        """The same as JSON has them: name to the attributes of `Estimate`."""
        return {name: asdict(estimate) for name, estimate in self.estimates(statistics).items()}

    def curve(self, statistic: Statistic, places: np.ndarray) -> Curve:
        """Estimate a statistic that gives (S, K), at `places` (K,), with the interval of each."""
        whole, *drawn = self._drawn({"curve": statistic})["curve"]
        low, high = _interval(np.array(drawn))
        return Curve(np.asarray(places, float), whole, low, high, len(self._deciding(statistic)))

    def _drawn(self, statistics: Mapping[str, Statistic]) -> dict[str, np.ndarray]:
        """Name to (1 + samples, ...): the value for the whole cohort first, then for each resample."""
        parts: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for weights in self._weights():
                for name, statistic in statistics.items():
                    parts[name].append(statistic.of(weights if statistic.keep is None else weights[:, statistic.keep]))
        return {name: np.concatenate(found) for name, found in parts.items()}

    def _weights(self) -> Iterator[np.ndarray]:
        yield np.ones((1, self.images))
        rng = np.random.default_rng(self._seed)
        rows = max(1, _CELLS // max(1, self.images))
        for start in range(0, self._samples, rows):
            count = min(rows, self._samples - start)
            drawn = (
                rng.integers(0, self.patients, (count, self.patients)) if self.patients else np.zeros((count, 0), int)
            )
            cells = drawn + np.arange(count)[:, None] * self.patients
            times = np.bincount(cells.ravel(), minlength=count * self.patients).reshape(count, self.patients)
            yield times[:, self._membership].astype(float)

    def _deciding(self, statistic: Statistic) -> np.ndarray:
        """Patient of each image that decides a figure."""
        mask = statistic.keep if statistic.rests_on is None else statistic.rests_on
        return self._membership if mask is None else self._membership[mask]

    def _estimate(self, statistic: Statistic, found: np.ndarray) -> Estimate:
        value, drawn = float(found[0]), found[1:]
        deciding = self._deciding(statistic)
        count = len(deciding)
        if not np.isfinite(value):
            return Estimate(None, None, None, count, statistic.undefined if count else statistic.empty)
        if np.isnan(drawn).mean() > 1 - _LEAST_DEFINED:
            return Estimate(value, None, None, count, "too few patients for an interval")
        if statistic.share and value in {0.0, 1.0}:
            patients = len(np.unique(deciding))  # resampling would give no interval
            return Estimate(value, *exact_interval(round(value * patients), patients), count)
        low, high = (float(end) for end in _interval(drawn))
        if low == high and self.patients > 1:
            return Estimate(value, None, None, count, NO_SPREAD)
        return Estimate(value, low if np.isfinite(low) else None, high if np.isfinite(high) else None, count)


def _interval(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval along the first axis; NaN is left out, infinity counts as the largest value."""
    columns = drawn.reshape(len(drawn), -1)
    ends = np.full((2, columns.shape[1]), np.nan)
    known = ~np.isnan(columns).all(axis=0)
    if known.any():
        finite = np.clip(columns[:, known], -_LARGEST, _LARGEST)
        within = np.isinf(columns).any()  # no interpolation between a number and infinity
        ends[:, known] = np.nanquantile(finite, _ENDS, axis=0, method="lower" if within else "linear")
    ends[np.abs(ends) >= _LARGEST] = np.inf
    low, high = ends.reshape(2, *drawn.shape[1:])
    return low, high


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
