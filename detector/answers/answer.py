"""Analysis + Question -> Answer: the one place where numbers become what a reader is told.

The page, the exports, the command line, DICOM and the cluster show this record; none of them composes it again.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from detector import words
from detector.answers.evidence import describe, summarise, warning
from detector.errors import DetectorError, RejectedError, UnexpectedError
from detector.model.calibration import BALANCED, Calibration, decide, margins
from detector.schema import (
    BINARY,
    COVID19,
    INDETERMINATE,
    NORMAL,
    NOT_COVID19,
    TASKS,
    THREE_CLASS,
    Correction,
    EvidenceSummary,
    OperatingPoint,
    Task,
    task_by_mode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.answers.pipeline import Analysis
    from detector.answers.site import Site, SiteTask

_LOG = logging.getLogger(__name__)

Reason = Literal["band", "disagreement", "prediction_set"]


@dataclass(frozen=True)
class Question:
    """What a reader asks about an image.

    Attributes:
        mode: ``"binary"`` or ``"three-class"``.
        operating_point: name of the threshold between COVID-19 and not.
        target_class: the class that the map explains; None for that of `default_target`.
        against: the class that its evidence is contrasted with; None for the class's own evidence.
        site: the hospital's own calibration; None for the network's.
    """

    mode: str = BINARY.mode
    operating_point: str = BALANCED
    target_class: str | None = None
    against: str | None = None
    site: Site | None = None

    @property
    def task(self) -> Task:
        """The task of the mode.

        Raises:
            ValueError: if there is no such mode.
        """
        return task_by_mode(self.mode)


@dataclass(frozen=True, eq=False)
class Decisions:
    """One task's decisions about N images; see `decide_all`.

    Attributes:
        probabilities: (N, classes), calibrated.
        forced: (N,) the class that would be named without a band or a disagreement.
        decision: (N,) a class, or ``"indeterminate"``.
        disagrees: (N,) bool, whether the two tasks' forced answers contradict each other.
        sets: (N, classes) bool, the site's prediction sets; None if no site decides.
    """

    probabilities: np.ndarray
    forced: np.ndarray
    decision: np.ndarray
    disagrees: np.ndarray
    sets: np.ndarray | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer to one task, before it is put into words.

    Attributes:
        task: the task.
        probabilities: class name to calibrated probability, in the task's order; they sum to 1.
        decision: a class name, or ``"indeterminate"``.
        forced: the class that would have been named without a band or a disagreement.
        operating_point: what turned the binary probability into a decision; None for three-class.
        band: probabilities of COVID-19 between which the binary answer is indeterminate; None for three-class.
        indeterminate_because: None if the decision is a class.
        prediction_set: the classes that the site does not exclude; None if no site decides.
    """

    task: Task
    probabilities: Mapping[str, float]
    decision: str
    forced: str
    operating_point: OperatingPoint | None = None
    band: tuple[float, float] | None = None
    indeterminate_because: Reason | None = None
    prediction_set: tuple[str, ...] | None = None

    @property
    def threshold(self) -> float | None:
        """On the probability of COVID-19; None if it has no effect: three-class, or a site's prediction set decides."""
        if self.operating_point is None or self.prediction_set is not None:
            return None
        return self.operating_point.threshold


@dataclass(frozen=True, eq=False)
class Answer:
    """Everything that a reader is told about one image.

    Attributes:
        analysis: of the image; its input, model, correction and time.
        question: as it was asked.
        verdict: the answer to the question's task.
        other: the answer to the other task, from the same pass.
        why_indeterminate: a sentence with the numbers; None if the decision is a class.
        target_class: the class that the map explains.
        cam: (h, w) float32 on the network's grid, evidence for it in logit units, minus that for `Question.against`.
        full_scale: evidence that is drawn in full colour, in logit units.
        warnings: what makes this answer less trustworthy, one sentence each, whichever class the map explains.
        marks: what the reader has decided about the image ("rotated", "inverted" …), as words that go with the answer.
    """

    analysis: Analysis
    question: Question
    verdict: Verdict
    other: Verdict
    why_indeterminate: str | None
    target_class: str
    cam: np.ndarray
    full_scale: float
    warnings: tuple[str, ...]
    marks: tuple[str, ...]

    @cached_property
    def evidence(self) -> EvidenceSummary:
        """Where the target class's own evidence lies on the lungs; measured on first use."""
        return _summary(self.analysis, self.task, self.target_class)

    @cached_property
    def evidence_sentence(self) -> str:
        """What the map shows, in words."""
        analysis, against = self.analysis, self.question.against
        return describe(
            self.cam, analysis.lung_field, analysis.geometry,
            full_scale=self.full_scale, target=self.target_class, against=against,
        )  # fmt: skip

    @property
    def task(self) -> Task:
        """The task that was asked about."""
        return self.verdict.task

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Class name to calibrated probability."""
        return self.verdict.probabilities

    @property
    def decision(self) -> str:
        """A class name, or ``"indeterminate"``."""
        return self.verdict.decision

    @property
    def operating_point(self) -> OperatingPoint | None:
        """What turned the binary probability into a decision; None for three-class."""
        return self.verdict.operating_point


@dataclass(frozen=True)
class NoAnswer:
    """What a reader is told about a file that has no answer.

    Attributes:
        status: ``"rejected"`` for a stated reason, or ``"error"`` if something failed.
        code: stable identifier of the reason.
        reason: what happened and what to do, for the reader.
        can_force: whether the reader may have it analysed anyway.
        suggested_correction: what might make it acceptable, where that is known.
    """

    status: Literal["rejected", "error"]
    code: str
    reason: str
    can_force: bool = False
    suggested_correction: Correction | None = None

    @classmethod
    def of(cls, error: Exception, *, name: str = "a file") -> NoAnswer:
        """Record why a file has no answer. An unexpected error goes into the log with its traceback.

        Args:
            error: what was raised.
            name: of the file, for the log.
        """
        if isinstance(error, RejectedError):
            return cls("rejected", error.code, error.user_message, error.can_force, error.suggested_correction)
        if not isinstance(error, DetectorError):
            _LOG.error("unexpected failure on %s", name, exc_info=error)
            error = UnexpectedError()
        return cls("error", error.code, error.user_message)


def answer(analysis: Analysis, question: Question) -> Answer:
    """Answer a question about an analysed image; no network runs.

    Raises:
        NonFiniteError: if a logit is NaN or infinite.
        ValueError: if the question names a mode, an operating point or a class that does not exist.
    """
    task = question.task
    verdicts = verdicts_of(analysis, question.operating_point, question.site)
    verdict, other = verdicts[task.name], verdicts[(THREE_CLASS if task is BINARY else BINARY).name]
    own_class = default_target(verdict.decision)
    target = question.target_class or own_class
    outside = warning(_summary(analysis, task, own_class)) if own_class == verdict.decision else None
    notes = (outside, _other_disagrees(verdict, other))
    return Answer(
        analysis=analysis,
        question=question,
        verdict=verdict,
        other=other,
        why_indeterminate=_why_indeterminate(verdict, other, analysis.card.calibration),
        target_class=target,
        cam=_cam(analysis, task, target, question.against),
        full_scale=analysis.card.saliency_scale[task.name],
        warnings=(*analysis.warnings, *(note for note in notes if note)),
        marks=marks_of(analysis),
    )


def decide_all(
    logits: Mapping[str, np.ndarray],
    calibration: Calibration,
    operating_point: str = BALANCED,
    site: Site | None = None,
) -> dict[str, Decisions]:
    """Decide about N images, by task name.

    In this order: if a site has set the task, its prediction set decides, and any set but a single class is
    indeterminate; if the binary task says COVID-19 and the other says normal, both are indeterminate; else an answer
    inside its band is indeterminate; else the operating point, or the largest probability, decides.

    Args:
        logits: task name to (N, task.logits), the same images in the same order.
        calibration: of the network.
        operating_point: name of the binary threshold.
        site: the hospital's own calibration.

    Raises:
        NonFiniteError: if a logit is NaN or infinite.
        ValueError: if there is no operating point of that name.
    """
    points = calibration.operating_points
    if operating_point not in points:
        msg = f"operating_point must be one of {sorted(points)}. Received {operating_point!r}."
        raise ValueError(msg)
    threshold = points[operating_point].threshold
    probabilities = {task.name: calibration.probabilities(task, logits[task.name]) for task in TASKS}
    forced = {task.name: decide(task, probabilities[task.name], threshold) for task in TASKS}
    disagrees = (forced[BINARY.name] == COVID19) & (forced[THREE_CLASS.name] == NORMAL)
    found = {}
    for task in TASKS:
        banded = margins(task, probabilities[task.name], threshold) < calibration.bands[task.name]
        decision = np.where(disagrees | banded, INDETERMINATE, forced[task.name])
        found[task.name] = Decisions(probabilities[task.name], forced[task.name], decision, disagrees)
        here = site.tasks[task.name] if site else None
        if here is not None:
            scaled = logits[task.name] / calibration.temperatures[task.name]
            found[task.name] = _decide_at(here, task, scaled, found[task.name], operating_point)
    return found


def _decide_at(here: SiteTask, task: Task, logits: np.ndarray, own: Decisions, operating_point: str) -> Decisions:
    """A site's decisions from calibrated logits (N, task.logits)."""
    sets = here.prediction_sets(task, own.probabilities)
    single = sets.sum(axis=1) == 1
    probabilities = here.probabilities(task, logits)
    point = here.operating_points.get(operating_point)
    decision = np.where(single, np.asarray(task.classes)[sets.argmax(axis=1)], INDETERMINATE)
    forced = decide(task, probabilities, point.threshold if point else None)
    return Decisions(probabilities, forced, decision, np.zeros(len(decision), bool), sets)


def verdicts_of(analysis: Analysis, operating_point: str = BALANCED, site: Site | None = None) -> dict[str, Verdict]:
    """The answers to both tasks, by task name; see `decide_all`."""
    calibration = analysis.card.calibration
    logits = {name: values[np.newaxis] for name, values in analysis.logits.items()}
    decided = decide_all(logits, calibration, operating_point, site)
    return {task.name: _verdict(task, decided[task.name], calibration, operating_point, site) for task in TASKS}


def default_target(decision: str) -> str:
    """The class that a map explains unless the reader chooses another: the decision if it is a class, else COVID-19."""
    return COVID19 if decision in {NOT_COVID19, INDETERMINATE} else decision


def marks_of(analysis: Analysis) -> tuple[str, ...]:
    """What the reader has decided about an image, as words."""
    correction = analysis.correction
    turned, inverted, forced = correction.quarter_turns % 4 != 0, correction.inverted, analysis.forced is not None
    marks = ((turned, words.TURNED), (inverted, words.INVERTED), (forced, words.FORCED))
    return tuple(mark for applies, mark in marks if applies)


def _verdict(
    task: Task, decided: Decisions, calibration: Calibration, operating_point: str, site: Site | None
) -> Verdict:
    """The first image's decisions as a record."""
    points, here = calibration.operating_points, site.tasks[task.name] if site else None
    point = (here.operating_points if here else points)[operating_point] if task is BINARY else None
    decision = str(decided.decision[0])
    reason: Reason = "prediction_set" if here else "disagreement" if decided.disagrees[0] else "band"
    sets = decided.sets
    return Verdict(
        task=task,
        probabilities=dict(zip(task.classes, map(float, decided.probabilities[0]), strict=True)),
        decision=decision,
        forced=str(decided.forced[0]),
        operating_point=point,
        band=_band(point.threshold, calibration.bands[task.name]) if point and not here else None,
        indeterminate_because=reason if decision == INDETERMINATE else None,
        prediction_set=None
        if sets is None
        else tuple(n for n, held in zip(task.classes, sets[0], strict=True) if held),
    )


def _band(threshold: float, half_width: float) -> tuple[float, float] | None:
    """Ends of the indeterminate band as probabilities; half_width in units of the calibrated logit."""
    if not 0 < threshold < 1:  # fitted on few images, it may lie beyond every score
        return None
    middle = math.log(threshold / (1 - threshold))
    low, high = (1 / (1 + math.exp(-(middle + side * half_width))) for side in (-1, 1))
    return low, high


def _why_indeterminate(verdict: Verdict, other: Verdict, calibration: Calibration) -> str | None:
    found = verdict.probabilities
    if verdict.indeterminate_because == "disagreement":
        binary, three = (verdict, other) if verdict.task is BINARY else (other, verdict)
        return words.INDETERMINATE_CONTRADICTION.format(
            covid19=words.percent(binary.probabilities[COVID19]), normal=words.percent(three.probabilities[NORMAL])
        )
    if verdict.indeterminate_because is None:
        return None
    if verdict.prediction_set is not None:
        names = [words.CLASSES[name] for name in verdict.prediction_set]
        return words.INDETERMINATE_SET.format(names=words.listed(names)) if names else words.INDETERMINATE_EMPTY_SET
    if verdict.operating_point is not None:
        low, high = verdict.band or (0.0, 1.0)
        return words.INDETERMINATE_NEAR.format(
            value=words.percent(found[COVID19]),
            low=words.percent(low),
            high=words.percent(high),
            threshold=words.percent(verdict.operating_point.threshold),
        )
    first, second = sorted(found, key=lambda name: -found[name])[:2]
    return words.INDETERMINATE_TWO.format(
        first=words.CLASSES[first],
        second=words.CLASSES[second],
        value=words.percent(found[first]),
        other=words.percent(found[second]),
        times=math.exp(calibration.bands[verdict.task.name]),
    )


def _other_disagrees(verdict: Verdict, other: Verdict) -> str | None:
    """A sentence if both tasks decide and only one of them says COVID-19."""
    if INDETERMINATE in {verdict.decision, other.decision}:
        return None
    if (verdict.decision == COVID19) == (other.decision == COVID19):
        return None
    return words.OTHER_DISAGREES.format(
        mode=words.MODES[other.task.mode], decision=words.headline(other.decision, other.probabilities)
    )


def _cam(analysis: Analysis, task: Task, target: str, against: str | None) -> np.ndarray:
    cams = analysis.cams[task.name]
    cam: np.ndarray = cams[task.classes.index(target)]
    return cam if against is None else cam - cams[task.classes.index(against)]


def _summary(analysis: Analysis, task: Task, target: str) -> EvidenceSummary:
    cam, full_scale = _cam(analysis, task, target, None), analysis.card.saliency_scale[task.name]
    return summarise(cam, analysis.lung_field, analysis.geometry, full_scale=full_scale)
