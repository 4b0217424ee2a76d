"""Curves of a cohort's answers, each with its interval from resampled patients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from detector.schema import BINARY, COVID19, THREE_CLASS
from detector.statistics import merit
from detector.statistics.bootstrap import Curve, Resampling, Statistic
from detector.training.measure.figures import task_answers

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


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """A curve of one class against the rest, with the area below it.

    Attributes:
        name: the class.
        curve: the curve, or None where the cohort lacks the class or its opposite.
    """

    name: str
    curve: Curve | None


def roc_curves(task: Task, answers: Answers, calibration: Calibration) -> list[ClassCurve]:
    """Sensitivity at each false positive rate, of COVID-19 (binary) or of each class against the rest."""
    return _class_curves(task, answers, calibration, merit.roc)


def precision_recall_curves(task: Task, answers: Answers, calibration: Calibration) -> list[ClassCurve]:
    """Precision at each recall, likewise."""
    return _class_curves(task, answers, calibration, merit.precision_at_recall)


def coverage_curve(task: Task, answers: Answers, calibration: Calibration) -> Curve:
    """Error of the forced decisions where only the surest share is answered."""
    counted = task_answers(task, answers.labels, answers.logits, calibration)
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
    counted = task_answers(task, answers.labels, answers.logits, calibration)
    probabilities = counted.raw if raw else counted.probabilities
    if task is BINARY:
        confidence, outcome = probabilities[:, 0], counted.truth == 0
    else:
        confidence = probabilities.max(axis=1, initial=0)
        outcome = probabilities.argmax(axis=1) == counted.truth
    order = np.argsort(confidence, kind="stable")
    bins = [part for part in np.array_split(order, _bins(order.size)) if part.size]
    members = np.zeros((order.size, len(bins)))
    for column, part in enumerate(bins):
        members[part, column] = 1
    measure = Statistic(lambda w: (w @ (members * outcome[:, None])) / (w @ members), counted.keep)
    return Resampling(answers.groups).curve(measure, np.array([confidence[part].mean() for part in bins]))


def _bins(images: int) -> int:
    return min(_RELIABILITY_BINS, max(1, images // _LEAST_IN_BIN))


def _class_curves(
    task: Task, answers: Answers, calibration: Calibration, of: Callable[..., np.ndarray]
) -> list[ClassCurve]:
    counted = task_answers(task, answers.labels, answers.logits, calibration)
    resampling = Resampling(answers.groups)
    classes = range(1) if task is BINARY else range(len(THREE_CLASS.classes))
    found = []
    for k in classes:
        positive = counted.truth == k
        if not positive.any() or positive.all():
            found.append(ClassCurve(task.classes[k], None))
            continue
        score = counted.probabilities[:, k]
        measure = Statistic(partial(of, positive, score, places=_RATES), counted.keep)
        found.append(ClassCurve(task.classes[k], resampling.curve(measure, _RATES)))
    return found
