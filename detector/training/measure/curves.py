"""Curves of a cohort's answers, each with its interval from resampled patients."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from detector.schema import BINARY, COVID19
from detector.statistics import merit
from detector.statistics.bootstrap import Curve, Resampling, Statistic
from detector.training.measure.figures import confidence_of, task_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.model.calibration import Calibration
    from detector.schema import Task
    from detector.training.measure.cohort import Answers

_RATES = np.linspace(0, 1, 101)
_COVERAGES = np.linspace(0.05, 1, 96)
_THRESHOLDS = np.linspace(0.01, 0.80, 80)  # of the decision to treat; beyond it nobody would wait for a network
_RELIABILITY_BINS = 10
_LEAST_IN_BIN = 10  # images: a share of fewer says nothing


def roc_curves(task: Task, answers: Answers, calibration: Calibration) -> dict[str, Curve]:
    """Sensitivity at each false positive rate, of COVID-19 (binary) or of each class against the rest.

    Returns:
        By class; one is left out where the cohort lacks it or its opposite.
    """
    return _class_curves(task, answers, calibration, merit.roc)


def precision_recall_curves(task: Task, answers: Answers, calibration: Calibration) -> dict[str, Curve]:
    """Precision at each recall, likewise."""
    return _class_curves(task, answers, calibration, merit.precision_at_recall)


def coverage_curve(task: Task, answers: Answers, calibration: Calibration) -> Curve:
    """Error of the forced decisions where only the surest share is answered."""
    counted = task_answers(task, answers, calibration)
    measure = Statistic(lambda w: merit.error_at_coverage(~counted.right, counted.margin, w, _COVERAGES), counted.keep)
    return Resampling(answers.groups).curve(measure, _COVERAGES)


def net_benefit_curve(answers: Answers, calibration: Calibration) -> Curve:
    """Net benefit of treating those whose calibrated probability of COVID-19 reaches each threshold."""
    covid = answers.labels == COVID19
    score = calibration.probabilities(BINARY, answers.logits[BINARY.name])[:, 0]
    measure = Statistic(lambda w: merit.net_benefit(covid, score, w, _THRESHOLDS))
    return Resampling(answers.groups).curve(measure, _THRESHOLDS)


def treat_all_benefit(prevalence: float, threshold: float) -> float:
    """Net benefit of treating everyone."""
    return prevalence - (1 - prevalence) * threshold / (1 - threshold)


def reliability_curve(task: Task, answers: Answers, calibration: Calibration, *, raw: bool = False) -> Curve:
    """Share that is right (binary: with COVID-19) in bins of equally many images, at each bin's mean probability.

    Args:
        task: which one.
        answers: of the cohort.
        calibration: of the network.
        raw: the probabilities before the temperature.
    """
    counted = task_answers(task, answers, calibration)
    probabilities = counted.raw if raw else counted.probabilities
    confidence, outcome = confidence_of(task, probabilities, counted.truth)
    order = np.argsort(confidence, kind="stable")
    count = min(_RELIABILITY_BINS, max(1, order.size // _LEAST_IN_BIN))
    bins = [part for part in np.array_split(order, count) if part.size]
    members = np.zeros((order.size, len(bins)))
    for column, part in enumerate(bins):
        members[part, column] = 1
    measure = Statistic(lambda w: (w @ (members * outcome[:, None])) / (w @ members), counted.keep)
    return Resampling(answers.groups).curve(measure, np.array([confidence[part].mean() for part in bins]))


def _class_curves(
    task: Task, answers: Answers, calibration: Calibration, of: Callable[..., np.ndarray]
) -> dict[str, Curve]:
    counted = task_answers(task, answers, calibration)
    found = {}
    for k, name in enumerate(task.classes[: task.logits]):
        positive = counted.truth == k
        if positive.any() and not positive.all():
            measure = Statistic(partial(of, positive, counted.probabilities[:, k], places=_RATES), counted.keep)
            found[name] = Resampling(answers.groups).curve(measure, _RATES)
    return found
