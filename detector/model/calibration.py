"""Logits -> probabilities -> decisions, and how these are fitted on validation.

In that order: temperature, operating points, indeterminate bands. Everything here is NumPy; the fitted values are kept
in the model's card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detector.errors import NonFiniteError
from detector.schema import BINARY, COVID19, NOT_COVID19, OperatingPoint, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

BALANCED, SENSITIVE, SPECIFIC = "balanced", "sensitive", "specific"

_TARGET = 0.98  # validation sensitivity of the sensitive point, validation specificity of the specific one
_MEAN_ERROR = 0.02  # most error of the answers outside the indeterminate band, averaged over the groups
_WORST_ERROR = 0.06  # in any of the groups
_FEWEST = 17  # images of a group: with fewer, one error is more than 6 %
_LOWEST_COVERAGE = 0.5  # share of validation images that are answered if no band keeps the errors that low
_EQUAL = 1e-12  # sums of shares that differ by less are equal
_TEMPERATURES = np.geomspace(0.2, 5, 400)  # steps of 0.8 %: finer than a validation set can tell apart


@dataclass(frozen=True)
class Calibration:
    """What turns logits into decisions.

    Attributes:
        temperatures: task name to the number that its logits are divided by (Guo et al. 2017, arXiv:1706.04599).
        operating_points: name to threshold on the binary probability of COVID-19.
        bands: task name to the half-width of the indeterminate band, in units of the calibrated logit: a binary
            answer this close to the threshold, or two leading classes this close to each other, is indeterminate.
    """

    temperatures: Mapping[str, float]
    operating_points: Mapping[str, OperatingPoint]
    bands: Mapping[str, float]

    def probabilities(self, task: Task, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (..., classes) of logits (..., task.logits), in the order of the task's classes.

        Raises:
            NonFiniteError: if any logit is NaN or infinite.
        """
        logits = np.asarray(logits, np.float64)
        if not np.isfinite(logits).all():
            raise NonFiniteError(f"The {task.name} logits are not finite: {logits}.")
        return probabilities_of(task, logits / self.temperatures[task.name])


def decide(task: Task, probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """Forced decisions (N,) of probabilities (N, classes): the operating point's, or the largest probability's."""
    if task is BINARY:
        return np.where(probabilities[:, 0] >= threshold, COVID19, NOT_COVID19)
    named: np.ndarray = np.asarray(task.classes)[probabilities.argmax(axis=1)]
    return named


def margins(task: Task, probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """How far each answer is from changing, (N,), in units of the calibrated logit.

    Binary: distance of the log-odds from the threshold's. Otherwise: log-ratio of the two largest probabilities.
    """
    if task is BINARY:
        found: np.ndarray = np.abs(_log_odds(probabilities[:, 0]) - _log_odds(np.asarray(threshold, float)))
    else:
        ordered = np.sort(_log(probabilities), axis=1)
        found = ordered[:, -1] - ordered[:, -2]
    return found


def fit_temperature(task: Task, logits: np.ndarray, truth: np.ndarray) -> float:
    """Find the temperature with the least log loss on validation.

    Args:
        task: whose logits.
        logits: (N, task.logits).
        truth: (N,) index of the true class in the task's classes.
    """
    rows = np.arange(len(truth))
    losses = [-_log(probabilities_of(task, logits / t)[rows, truth]).mean() for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def fit_operating_points(labels: np.ndarray, probabilities: np.ndarray, cohort: str) -> dict[str, OperatingPoint]:
    """Choose the three thresholds on validation.

    Balanced has the largest Youden index (sensitivity + specificity - 1; Youden 1950), sensitive the best
    specificity at a sensitivity of 0.98 or more, specific the best sensitivity at a specificity of 0.98 or more. Among
    equally good gaps between scores, the threshold is the middle of the widest.

    Args:
        labels: (N,) bool, true for COVID-19.
        probabilities: (N,) calibrated probability of COVID-19.
        cohort: what they were measured on, for the record.

    Raises:
        ValueError: if all labels are the same.
    """
    labels = np.asarray(labels, bool)
    if labels.all() or not labels.any():
        raise ValueError("labels must hold both classes. Received one.")
    gaps = _gaps(np.unique(probabilities))
    called = probabilities[None, :] >= gaps.thresholds[:, None]
    sensitivities, specificities = called[:, labels].mean(axis=1), 1 - called[:, ~labels].mean(axis=1)
    merits = {
        BALANCED: sensitivities + specificities,
        SENSITIVE: np.where(sensitivities >= _TARGET, specificities, -1),
        SPECIFIC: np.where(specificities >= _TARGET, sensitivities, -1),
    }
    chosen = {name: gaps.widest(merit >= merit.max() - _EQUAL) for name, merit in merits.items()}
    return {
        name: OperatingPoint(name, float(gaps.thresholds[i]), float(sensitivities[i]), float(specificities[i]), cohort)
        for name, i in chosen.items()
    }


def fit_band(margin: np.ndarray, wrong: np.ndarray, groups: np.ndarray) -> float:
    """Choose the half-width of the indeterminate band on validation.

    It is the narrowest band, which answers most, that leaves an error of at most 2 % averaged over the groups and at
    most 6 % in each. Its edge lies midway between the last margin that it excludes and the first that it does not. If
    there is none, it is the band with the least mean error that answers half of the images.

    Args:
        margin: (N,) from `margins`.
        wrong: (N,) bool, whether the forced decision is wrong.
        groups: (N,) hospital and finding of each; groups of fewer than 17 images are ignored.
    """
    if len(margin) == 0:
        return 0.0
    order = np.argsort(margin, kind="stable")
    widths = np.asarray(margin, float)[order]
    names, sizes = np.unique(groups, return_counts=True)
    members = np.asarray(groups)[order] == names[sizes >= _FEWEST, None]  # (groups, N)
    answered = _left_after(members)
    mistakes = _left_after(members & np.asarray(wrong, bool)[order])
    errors = np.where(answered > 0, mistakes / np.maximum(answered, 1), np.nan)[:, :-1]  # of leaving out 0, 1, 2 …
    parted = np.append([True], widths[1:] > widths[:-1])  # no width separates equal margins
    mean = np.where(
        np.isnan(errors).all(axis=0), 0, np.nansum(errors, axis=0) / np.maximum(1, (answered > 0)[:, :-1].sum(axis=0))
    )
    good = parted & (mean <= _MEAN_ERROR) & (np.nan_to_num(errors).max(axis=0, initial=0) <= _WORST_ERROR)
    if good.any():
        left_out = int(np.argmax(good))
    else:
        most = len(widths) - int(np.ceil(len(widths) * _LOWEST_COVERAGE))
        left_out = int(np.argmin(np.where(parted, mean, np.inf)[: most + 1]))
    return float((widths[left_out - 1] + widths[left_out]) / 2) if left_out else 0.0


def _left_after(members: np.ndarray) -> np.ndarray:
    """How many of each row's true entries remain without the first 0, 1, … N columns: (rows, N + 1)."""
    passed = np.concatenate([np.zeros((len(members), 1), int), np.cumsum(members, axis=1)], axis=1)
    left: np.ndarray = passed[:, -1:] - passed
    return left


def probabilities_of(task: Task, logits: np.ndarray) -> np.ndarray:
    """Probabilities (..., classes) of logits (..., task.logits), without a temperature."""
    if task is BINARY:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)  # log-odds against a reference of 0
    exponent: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    exponent /= exponent.sum(axis=-1, keepdims=True)
    return exponent


@dataclass(frozen=True, eq=False)
class _Gaps:
    """Where a threshold can lie between neighbouring scores, and below and above all of them.

    Attributes:
        thresholds: (K,) probabilities, each in the middle of its gap in log-odds.
        sizes: (K,) of the gaps, in log-odds.
    """

    thresholds: np.ndarray
    sizes: np.ndarray

    def widest(self, among: np.ndarray) -> int:
        """Index of the widest gap where (K,) bool is true: there, rounding is least likely to change a decision."""
        return int(np.argmax(np.where(among, self.sizes, -1)))


def _gaps(values: np.ndarray) -> _Gaps:
    """The gaps of ascending probabilities (N,)."""
    odds = _log_odds(values)
    inner = (odds[1:] + odds[:-1]) / 2
    middle = np.exp(-np.logaddexp(0, -inner))
    above = max((values[-1] + 1) / 2, np.nextafter(values[-1], 2))  # a score of exactly 1 needs one above 1
    thresholds = np.concatenate([[values[0] / 2], middle, [above]])
    return _Gaps(thresholds, np.concatenate([[0.0], np.diff(odds), [0.0]]))  # the ends only if nothing else qualifies


def _log(probabilities: np.ndarray) -> np.ndarray:
    logarithms: np.ndarray = np.log(np.maximum(probabilities, np.finfo(float).tiny))
    return logarithms


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    odds: np.ndarray = _log(probabilities) - _log(1 - probabilities)
    return odds
