"""Logits -> probabilities -> decisions, and how these are fitted on validation.

In that order: temperature, operating points, indeterminate bands. Everything here is numpy; the fitted values travel
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
_LOWEST_COVERAGE = 0.8  # of validation images that must be answered
_TEMPERATURES = np.geomspace(0.2, 5, 400)  # steps of 0.8 %: finer than a validation set can tell apart


@dataclass(frozen=True)
class Calibration:
    """What turns logits into decisions.

    Attributes:
        temperatures: task name to the number that its logits are divided by (Guo et al. 2017, arXiv:1706.04599).
        operating_points: name to threshold on the binary probability of COVID-19.
        bands: task name to the half-width of the indeterminate band, in units of the calibrated logit: a binary
            answer within it of the threshold, or two leading classes within it of each other, is no answer.
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
    """How far each answer is from turning into another, (N,), in units of the calibrated logit.

    Binary: distance of the log-odds from the threshold's. Otherwise: log-ratio of the two largest probabilities.
    """
    if task is BINARY:
        found: np.ndarray = np.abs(_log_odds(probabilities[:, 0]) - _log_odds(np.asarray(threshold, float)))
    else:
        ordered = np.sort(_log(probabilities), axis=1)
        found = ordered[:, -1] - ordered[:, -2]
    return found


def fit_temperature(task: Task, logits: np.ndarray, truth: np.ndarray) -> float:
    """Find the temperature of least log-loss on validation.

    Args:
        task: which one.
        logits: (N, task.logits).
        truth: (N,) index of the true class in the task's classes.
    """
    rows = np.arange(len(truth))
    losses = [-_log(probabilities_of(task, logits / t)[rows, truth]).mean() for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def fit_operating_points(labels: np.ndarray, probabilities: np.ndarray, cohort: str) -> dict[str, OperatingPoint]:
    """Choose the three thresholds on validation.

    Balanced has the largest Youden index (sensitivity + specificity - 1; Youden 1950), sensitive the best
    specificity at a sensitivity of 0.98 or more, specific the best sensitivity at a specificity of 0.98 or more.

    Args:
        labels: (N,) bool, true for COVID-19.
        probabilities: (N,) calibrated probability of COVID-19.
        cohort: what they were measured on, for the record.

    Raises:
        ValueError: if the labels are all alike.
    """
    labels = np.asarray(labels, bool)
    if labels.all() or not labels.any():
        raise ValueError("labels must hold both classes. Received one.")
    thresholds = _between(np.unique(probabilities))
    called = probabilities[None, :] >= thresholds[:, None]
    sensitivities, specificities = called[:, labels].mean(axis=1), 1 - called[:, ~labels].mean(axis=1)
    chosen = {
        BALANCED: np.argmax(sensitivities + specificities),
        SENSITIVE: np.argmax(np.where(sensitivities >= _TARGET, specificities, -1)),
        SPECIFIC: np.argmax(np.where(specificities >= _TARGET, sensitivities, -1)),
    }
    return {
        name: OperatingPoint(name, float(thresholds[i]), float(sensitivities[i]), float(specificities[i]), cohort)
        for name, i in chosen.items()
    }


def fit_band(margin: np.ndarray, wrong: np.ndarray) -> float:
    """Choose the half-width of the indeterminate band on validation.

    Among the widths that leave at least 80 % of the images answered, those with the smallest error; among these the
    narrowest, since abstaining more would buy nothing.

    Args:
        margin: (N,) from `margins`.
        wrong: (N,) bool, whether the forced decision is wrong.
    """
    order = np.argsort(margin, kind="stable")
    ordered_wrong = np.asarray(wrong, float)[order]
    most_left_out = len(margin) - int(np.ceil(len(margin) * _LOWEST_COVERAGE))
    answered = len(margin) - np.arange(most_left_out + 1)
    errors = (ordered_wrong.sum() - np.concatenate([[0], np.cumsum(ordered_wrong)])[: most_left_out + 1]) / answered
    widths = np.asarray(margin)[order]
    tied = np.append([False], widths[1:] == widths[:-1])[: most_left_out + 1]  # no width parts equal margins
    left_out = int(np.argmin(np.where(tied, np.inf, errors)))
    return float(widths[left_out]) if left_out else 0.0


def probabilities_of(task: Task, logits: np.ndarray) -> np.ndarray:
    """Probabilities (..., classes) of logits (..., task.logits) as they are, without a temperature."""
    if task is BINARY:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)  # log-odds against a reference of 0
    exponent: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    exponent /= exponent.sum(axis=-1, keepdims=True)
    return exponent


def _between(values: np.ndarray) -> np.ndarray:
    """Thresholds midway between neighbouring scores, and one at each end; on a score it would sit on a case."""
    above = max((values[-1] + 1) / 2, np.nextafter(values[-1], 2))  # a score of exactly 1 needs one above 1
    return np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2, [above]])


def _log(probabilities: np.ndarray) -> np.ndarray:
    logarithms: np.ndarray = np.log(np.maximum(probabilities, np.finfo(float).tiny))
    return logarithms


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    odds: np.ndarray = _log(probabilities) - _log(1 - probabilities)
    return odds
