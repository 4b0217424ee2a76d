"""What is measured of a cohort's answers: every figure by name, ready to be resampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from detector.answers.answer import decide_all
from detector.model.calibration import BALANCED, Calibration, margins, probabilities_of
from detector.schema import BINARY, COVID19, INDETERMINATE, NORMAL, THREE_CLASS, OperatingPoint, Task
from detector.statistics import merit
from detector.statistics.bootstrap import NO_IMAGES, Statistic
from detector.training.data.manifest import LABELS, PNEUMONIAS
from detector.training.measure.cohort import truth_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.training.measure.cohort import Answers

PREVALENCES = (0.01, 0.05, 0.20)  # of COVID-19 among those who are X-rayed: screening, clinic, ward in a wave
SPECIFICITIES = (0.90, 0.95)
COVERAGE = 0.80

_NO_POSITIVES, _NO_NEGATIVES = "no images with COVID-19", "no images without COVID-19"
_NO_ANSWER = "nothing was answered: every image lies in the indeterminate band"
_NO_FALSE_POSITIVE = "not finite: no image without COVID-19 was called COVID-19"
_ABSENT_CLASS = "not defined: one of the three classes is absent"
_SEPARATED = "not finite: one class only, or the classes are separated without an error"
_TINY = 1e-12  # keeps the logarithm of a probability of 0 finite


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """One task's answers on the images that it counts.

    Attributes:
        keep: (N,) bool among the cohort's images; the other arrays hold the kept ones only.
        truth: index of the true class in the task's classes.
        logits: (n, task.logits) as the network gave them.
        probabilities: (n, classes), calibrated.
        raw: (n, classes), before the temperature.
        chosen: index of the forced decision (binary: at the balanced point) in the task's classes.
        right: bool, whether the forced decision is right.
        margin: how far the decision is from turning, see `detector.model.calibration.margins`.
        answered: bool, whether the margin reaches beyond the indeterminate band and the other task does not contradict.
    """

    keep: np.ndarray
    truth: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    raw: np.ndarray
    chosen: np.ndarray
    right: np.ndarray
    margin: np.ndarray
    answered: np.ndarray


def task_answers(task: Task, answers: Answers, calibration: Calibration) -> TaskAnswers:
    """Answer one task for the images of a cohort that it is asked of."""
    truth = truth_index(task, answers.labels)
    keep = truth >= 0
    truth = truth[keep]
    decided = decide_all(answers.logits, calibration)[task.name]
    given, probabilities = np.asarray(answers.logits[task.name], float)[keep], decided.probabilities[keep]
    threshold = calibration.operating_points[BALANCED].threshold if task is BINARY else None
    chosen = np.array([task.classes.index(name) for name in decided.forced[keep]], int)
    return TaskAnswers(
        keep=keep,
        truth=truth,
        logits=given,
        probabilities=probabilities,
        raw=probabilities_of(task, given),
        chosen=chosen,
        right=chosen == truth,
        margin=margins(task, probabilities, threshold),
        answered=decided.decision[keep] != INDETERMINATE,
    )


def all_statistics(answers: Answers, calibration: Calibration) -> dict[str, Statistic]:
    """Every figure that each cohort gets, by name: ``binary_…`` and ``three_class_…``."""
    return {
        f"{task.name}_{name}": measure
        for task, measures in ((BINARY, _binary), (THREE_CLASS, _three_class))
        for name, measure in measures(answers, calibration).items()
    }


def original_form(answers: TaskAnswers, classes: Sequence[int], *, weighted: bool = False) -> dict[str, Statistic]:
    """Accuracy, precision, recall, F1 and AUC of forced decisions, averaged over classes.

    Args:
        answers: of a task.
        classes: indices of the classes to average over.
        weighted: each by how many images it has.
    """
    probability, truth, keep, chosen = answers.probabilities, answers.truth, answers.keep, answers.chosen
    parts = {
        "precision": lambda w, k: merit.precision(truth == k, chosen == k, w),
        "recall": lambda w, k: merit.share((chosen == k)[truth == k], w[:, truth == k]),
        "f1": lambda w, k: merit.f1(truth == k, chosen == k, w),
        "auc": lambda w, k: merit.auroc(truth == k, probability[:, k], w),
    }

    def average(part: str, w: np.ndarray) -> np.ndarray:
        values = np.stack([parts[part](w, k) for k in classes])
        sizes = np.stack([w[:, truth == k].sum(axis=1) if weighted else np.ones(len(w)) for k in classes])
        return np.asarray((values * sizes).sum(axis=0) / sizes.sum(axis=0))

    return {
        "accuracy": Statistic(lambda w: merit.share(answers.right, w), keep, share=True),
        **{part: Statistic(partial(average, part), keep, undefined=_ABSENT_CLASS) for part in parts},
    }


def confusion(task: Task, answers: Answers, calibration: Calibration) -> dict[str, list[int]]:
    """What the images of each label that occurs were called, forced: label to the number of each class."""
    counted = task_answers(task, answers, calibration)
    labels = answers.labels[counted.keep]
    return {
        label: np.bincount(counted.chosen[labels == label], minlength=len(task.classes)).tolist()
        for label in LABELS
        if (labels == label).any()
    }


def confidence_of(task: Task, probabilities: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability (n,) that calibration is judged by, and whether it came true (n,) bool: COVID-19, or the answer."""
    if task is BINARY:
        return probabilities[:, 0], truth == 0
    return probabilities.max(axis=1, initial=0), probabilities.argmax(axis=1) == truth


def _binary(cohort: Answers, calibration: Calibration) -> dict[str, Statistic]:
    answers, labels = task_answers(BINARY, cohort, calibration), cohort.labels
    covid, score = labels == COVID19, answers.probabilities[:, 0]
    pneumonia = np.isin(labels, PNEUMONIAS)
    against = covid | pneumonia
    measures = {
        "auroc": Statistic(partial(merit.auroc, covid, score)),
        "auprc": Statistic(partial(merit.average_precision, covid, score), undefined=_NO_POSITIVES),
        **{
            f"sensitivity_at_specificity_{least:.2f}": Statistic(
                partial(merit.sensitivity_at_specificity, covid, score, least_specificity=least)
            )
            for least in SPECIFICITIES
        },
        **_binary_calibration(covid, answers, calibration.temperatures[BINARY.name]),
        "calibration_slope": Statistic(
            partial(merit.calibration_slope, covid, answers.logits[:, 0] / calibration.temperatures[BINARY.name]),
            undefined=_SEPARATED,
        ),
    }
    for name, point in calibration.operating_points.items():
        called = score >= point.threshold
        measures[f"{name}_sensitivity"] = _share(called, covid, _NO_POSITIVES)
        measures[f"{name}_specificity"] = _share(~called, ~covid, _NO_NEGATIVES)
        measures[f"{name}_pneumonia_called_covid19"] = _share(called, pneumonia, "no images of another pneumonia")
    return {
        **measures,
        **_decisions(answers),
        "auroc_covid19_against_other_pneumonias": Statistic.on(against, merit.auroc, covid, score),
    }


def _three_class(cohort: Answers, calibration: Calibration) -> dict[str, Statistic]:
    answers, labels = task_answers(THREE_CLASS, cohort, calibration), cohort.labels
    truth, probability, keep, chosen = answers.truth, answers.probabilities, answers.keep, answers.chosen
    called = np.full(len(labels), -1)
    called[keep] = chosen
    recalls = {
        f"recall_{name}": _share(called == k, labels == name, f"no images labelled {name}")
        for k, name in enumerate(THREE_CLASS.classes)
    }
    pneumonia = np.isin(labels, PNEUMONIAS)
    sick_or_normal = pneumonia | (labels == NORMAL)
    every = calibration.probabilities(THREE_CLASS, cohort.logits[THREE_CLASS.name])
    not_normal = 1 - every[:, THREE_CLASS.classes.index(NORMAL)]
    return {
        "macro_auroc": Statistic(partial(merit.macro_auroc, truth, probability), keep, undefined=_ABSENT_CLASS),
        **_three_class_calibration(answers),
        "calibration_slope": Statistic(
            partial(merit.softmax_slope, truth, answers.logits / calibration.temperatures[THREE_CLASS.name]),
            keep,
            undefined=_SEPARATED,
        ),
        **recalls,
        "lowest_recall": Statistic(
            lambda w: merit.lowest_recall(truth, chosen, w, len(THREE_CLASS.classes)),
            keep,
            undefined=_ABSENT_CLASS,
            share=True,
            rests_on=_worst_recognised(labels, called),
        ),
        **_decisions(answers),
        "auroc_pneumonia_against_normal": Statistic.on(sick_or_normal, merit.auroc, pneumonia, not_normal),
    }


def _binary_calibration(covid: np.ndarray, answers: TaskAnswers, temperature: float) -> dict[str, Statistic]:
    raw_odds = answers.logits[:, 0]
    found: dict[str, Statistic] = {}
    for suffix, probabilities, odds in (
        ("", answers.probabilities[:, 0], raw_odds / temperature),
        ("_before_temperature", answers.raw[:, 0], raw_odds),
    ):
        found |= {
            f"brier_score{suffix}": Statistic(partial(merit.share, (probabilities - covid) ** 2)),
            f"log_loss{suffix}": Statistic(
                partial(merit.share, _cost(np.where(covid, probabilities, 1 - probabilities)))
            ),
            f"ece{suffix}": Statistic(partial(merit.expected_calibration_error, covid, probabilities)),
            f"calibration_intercept{suffix}": Statistic(
                partial(merit.calibration_intercept, covid, odds), undefined=_SEPARATED
            ),
        }
    return found


def _three_class_calibration(answers: TaskAnswers) -> dict[str, Statistic]:
    truth, rows = answers.truth, np.arange(len(answers.truth))
    found: dict[str, Statistic] = {}
    for suffix, probabilities in (("", answers.probabilities), ("_before_temperature", answers.raw)):
        distance = ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)
        top, right = confidence_of(THREE_CLASS, probabilities, truth)
        found |= {
            f"brier_score{suffix}": Statistic(partial(merit.share, distance), answers.keep),
            f"log_loss{suffix}": Statistic(partial(merit.share, _cost(probabilities[rows, truth])), answers.keep),
            f"ece{suffix}": Statistic(partial(merit.expected_calibration_error, right, top), answers.keep),
        }
    return found


def _decisions(answers: TaskAnswers) -> dict[str, Statistic]:
    """Accuracy of forced decisions; coverage and error with the indeterminate band, and at a fixed coverage."""
    kept = np.flatnonzero(answers.keep)
    answered = np.zeros(len(answers.keep), bool)
    answered[kept[answers.answered]] = True
    surest = np.zeros(len(answers.keep), bool)
    surest[kept[np.argsort(-answers.margin, kind="stable")[: math.ceil(COVERAGE * kept.size)]]] = True
    empty = _NO_ANSWER if kept.size else NO_IMAGES
    wrong = ~answers.right
    return {
        "accuracy": Statistic(partial(merit.share, answers.right), answers.keep, share=True),
        "coverage": Statistic(partial(merit.share, answers.answered), answers.keep, share=True),
        "error_when_answered": Statistic(
            partial(merit.share, wrong[answers.answered]), answered, empty=empty, share=True
        ),
        f"error_at_coverage_{COVERAGE:.2f}": Statistic(
            lambda w: merit.error_at_coverage(wrong, answers.margin, w, np.array([COVERAGE]))[:, 0],
            answers.keep,
            share=True,
            rests_on=surest,
        ),
    }


def operating_point_statistics(
    answers: Answers, calibration: Calibration, point: OperatingPoint
) -> dict[str, Statistic]:
    """Predictive values of an operating point at each of `PREVALENCES`, and its likelihood ratios."""
    covid = answers.labels == COVID19
    called = calibration.probabilities(BINARY, answers.logits[BINARY.name])[:, 0] >= point.threshold

    def rates(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return merit.share(called[covid], w[:, covid]), merit.share(called[~covid], w[:, ~covid])

    def ppv(prevalence: float, w: np.ndarray) -> np.ndarray:
        hit, false_alarm = rates(w)
        return hit * prevalence / (hit * prevalence + false_alarm * (1 - prevalence))

    def npv(prevalence: float, w: np.ndarray) -> np.ndarray:
        hit, false_alarm = rates(w)
        cleared, missed = (1 - false_alarm) * (1 - prevalence), (1 - hit) * prevalence
        return cleared / (cleared + missed)

    measures = {}
    for prevalence in PREVALENCES:
        measures[f"ppv_at_prevalence_{prevalence:.2f}"] = Statistic(partial(ppv, prevalence))
        measures[f"npv_at_prevalence_{prevalence:.2f}"] = Statistic(partial(npv, prevalence))
    both = covid.any() and not covid.all()
    finite = _NO_FALSE_POSITIVE if both else Statistic.undefined
    return {
        **measures,
        "likelihood_ratio_positive": Statistic(lambda w: np.divide(*rates(w)), undefined=finite),
        "likelihood_ratio_negative": Statistic(lambda w: np.divide(*(1 - rate for rate in rates(w)))),
    }


def _share(hits: np.ndarray, keep: np.ndarray, empty: str) -> Statistic:
    """Share of the kept images that are hits; both (N,) bool."""
    return Statistic.on(keep, merit.share, hits, empty=empty, share=True)


def _worst_recognised(labels: np.ndarray, called: np.ndarray) -> np.ndarray:
    """(N,) bool, the images of the class that is recognised least; `called` (N,) holds indices of classes."""
    members = [labels == name for name in THREE_CLASS.classes]
    recalls = [np.mean(called[mine] == k) if mine.any() else np.inf for k, mine in enumerate(members)]
    return np.asarray(members[int(np.argmin(recalls))])


def _cost(probability: np.ndarray) -> np.ndarray:
    return np.asarray(-np.log(np.maximum(probability, _TINY)))
