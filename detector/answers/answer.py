"""Analysis + Question -> Answer: the one place where numbers become what a reader is told.

The page, the exports, the command line, DICOM and the cluster show this record; none of them composes it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector import words
from detector.answers.evidence import sentence, summarise, warning
from detector.model.calibration import BALANCED, decide, margins
from detector.schema import BINARY, COVID19, INDETERMINATE, NORMAL, NOT_COVID19, THREE_CLASS, task_by_mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from detector.answers.pipeline import Analysis
    from detector.schema import EvidenceSummary, OperatingPoint, Task

#: Why an answer is indeterminate.
BAND, DISAGREEMENT = "band", "disagreement"


@dataclass(frozen=True)
class Question:
    """What a reader asks of an image.

    Attributes:
        mode: ``"binary"`` or ``"three-class"``.
        operating_point: name of the threshold between COVID-19 and not.
        target_class: the class that the map explains; None for the decision's own (see `Answer.target_class`).
        against: the class that its evidence is contrasted with; None for evidence for the class as such.
    """

    mode: str = BINARY.mode
    operating_point: str = BALANCED
    target_class: str | None = None
    against: str | None = None

    @property
    def task(self) -> Task:
        """The task of the mode.

        Raises:
            ValueError: if there is no such mode.
        """
        return task_by_mode(self.mode)


@dataclass(frozen=True)
class Verdict:
    """The answer to one task, before anything is said about it.

    Attributes:
        task: which one.
        probabilities: class name to calibrated probability, in the task's order; they sum to 1.
        decision: a class name, or ``"indeterminate"``.
        forced: the class that would have been named without a band or a contradiction.
        operating_point: what turned the binary probability into a decision; None for three-class.
        indeterminate_because: `BAND` or `DISAGREEMENT` where the decision is ``"indeterminate"``, else None.
    """

    task: Task
    probabilities: Mapping[str, float]
    decision: str
    forced: str
    operating_point: OperatingPoint | None
    indeterminate_because: str | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """Everything that a reader is told about one image.

    Attributes:
        analysis: of the image; its input, model, correction and time.
        question: as it was asked.
        verdict: the answer to the question's task.
        other: the answer to the other task, which the same pass gives.
        target_class: the class that the map explains.
        cam: (h, w) float32 on the network's grid, evidence for it in logit units; less that for `Question.against`.
        full_scale: evidence that is drawn in full colour, in logit units.
        evidence: how the target class's own evidence lies on the lungs; None where no lungs were found.
        evidence_sentence: the same in words.
        warnings: what makes this answer less trustworthy, as sentences, whatever is explained.
        marks: what the reader has decided about the image ("rotated", "inverted" …), as words that go with the answer.
    """

    analysis: Analysis
    question: Question
    verdict: Verdict
    other: Verdict
    target_class: str
    cam: np.ndarray
    full_scale: float
    evidence: EvidenceSummary | None
    evidence_sentence: str
    warnings: tuple[str, ...]
    marks: tuple[str, ...]

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


def answer(analysis: Analysis, question: Question) -> Answer:
    """Answer a question about an analysed image; no network runs.

    Raises:
        NonFiniteError: if a logit is NaN or infinite.
        ValueError: if the question names a mode, an operating point or a class that there is not.
    """
    task = question.task
    verdicts = verdicts_of(analysis, question.operating_point)
    verdict, other = verdicts[task.name], verdicts[(THREE_CLASS if task is BINARY else BINARY).name]
    own_class = default_target(verdict.decision)
    target = question.target_class or own_class
    full_scale = analysis.card.saliency_scale[task.name]
    own = _summary(analysis, task, own_class, full_scale)
    evidence = own if target == own_class else _summary(analysis, task, target, full_scale)
    outside = None if own is None else warning(own, answered=own_class == verdict.decision)
    return Answer(
        analysis=analysis,
        question=question,
        verdict=verdict,
        other=other,
        target_class=target,
        cam=_cam(analysis, task, target, question.against),
        full_scale=full_scale,
        evidence=evidence,
        evidence_sentence=words.NOT_MEASURED if evidence is None else f"{sentence(evidence)}.",
        warnings=(*analysis.warnings, *([outside] if outside else [])),
        marks=marks_of(analysis),
    )


def verdicts_of(analysis: Analysis, operating_point: str = BALANCED) -> dict[str, Verdict]:
    """The answers to both tasks, by task name.

    In this order: where the binary task calls COVID-19 what the other calls normal, both are indeterminate; else an
    answer inside its band is; else the operating point, or the largest probability, decides.
    """
    calibration = analysis.card.calibration
    points = calibration.operating_points
    if operating_point not in points:
        msg = f"operating_point must be one of {sorted(points)}. Received {operating_point!r}."
        raise ValueError(msg)
    found = {}
    for task in (BINARY, THREE_CLASS):
        point = points[operating_point] if task is BINARY else None
        threshold = point.threshold if point else None
        probabilities = calibration.probabilities(task, analysis.logits[task.name])
        forced = str(decide(task, probabilities[None], threshold)[0])
        banded = margins(task, probabilities[None], threshold)[0] < calibration.bands[task.name]
        by_class = dict(zip(task.classes, map(float, probabilities), strict=True))
        found[task.name] = (task, by_class, forced, point, bool(banded))
    contradicts = found[BINARY.name][2] == COVID19 and found[THREE_CLASS.name][2] == NORMAL
    return {
        name: Verdict(
            task,
            by_class,
            INDETERMINATE if contradicts or banded else forced,
            forced,
            point,
            DISAGREEMENT if contradicts else BAND if banded else None,
        )
        for name, (task, by_class, forced, point, banded) in found.items()
    }


def default_target(decision: str) -> str:
    """The class that a map explains unless the reader chooses another: the decision, or else COVID-19."""
    return COVID19 if decision in {NOT_COVID19, INDETERMINATE} else decision


def marks_of(analysis: Analysis) -> tuple[str, ...]:
    """What the reader has decided about an image, as words."""
    correction = analysis.correction
    turned, inverted, forced = correction.quarter_turns % 4 != 0, correction.inverted, analysis.forced is not None
    marks = ((turned, words.TURNED), (inverted, words.INVERTED), (forced, words.FORCED))
    return tuple(mark for applies, mark in marks if applies)


def _cam(analysis: Analysis, task: Task, target: str, against: str | None) -> np.ndarray:
    cams = analysis.cams[task.name]
    cam = cams[task.classes.index(target)]
    return cam if against is None else cam - cams[task.classes.index(against)]


def _summary(analysis: Analysis, task: Task, target: str, full_scale: float) -> EvidenceSummary | None:
    if analysis.lung_field is None:
        return None
    cam = _cam(analysis, task, target, None)
    return summarise(cam, analysis.lung_field, analysis.geometry, full_scale=full_scale)
