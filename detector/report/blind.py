"""A blind read in figures: the reader beside the program on the same X-rays, and what seeing its answer changed.

Sensitivity and specificity are those for COVID-19, with exact intervals; areas under the ROC curve, their difference
and kappa have bootstrapped ones, the X-rays drawn together, so that the comparison is paired.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from detector import words
from detector.schema import BINARY, COVID19, INDETERMINATE, NOT_COVID19
from detector.statistics import merit
from detector.statistics.bootstrap import Estimate, Resampling, Statistic
from detector.statistics.intervals import exact_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.schema import Task

SURENESS = (1, 2, 3)  # how sure a reader is, from a guess on


@dataclass(frozen=True)
class Read:
    """One X-ray that was read.

    Attributes:
        case: SHA-256 of the file.
        first: class that the reader named before they saw the program's answer.
        first_sure: one of `SURENESS`.
        program: the program's decision, a class or ``"indeterminate"``.
        forced: the class that the program would have named without its "can't tell".
        covid19: the program's probability of COVID-19.
        second: class that the reader named afterwards; None before they did.
        second_sure: how sure they were then.
        label: truth; None where it is not known.
    """

    case: str
    first: str
    first_sure: int
    program: str
    forced: str
    covid19: float
    second: str | None = None
    second_sure: int | None = None
    label: str | None = None

    @property
    def rating(self) -> int:
        """The first answer on one scale, from surely no COVID-19, -3, to surely COVID-19, 3."""
        return self.first_sure if self.first == COVID19 else -self.first_sure


@dataclass(frozen=True)
class Changes:
    """What seeing the program's answer changed.

    Attributes:
        changed: X-rays whose second answer is another class than the first.
        right_to_wrong: of those with a label, right before and wrong afterwards.
        wrong_to_right: the other way round.
        cannot_tell: X-rays of which the program said that it can't tell.
    """

    changed: int
    right_to_wrong: int
    wrong_to_right: int
    cannot_tell: int


def figures(reads: Sequence[Read], task: Task) -> dict[str, Estimate]:
    """The reader's and the program's figures, by the names of `words.BLIND_FIGURES`.

    The program is taken by its forced answer, so that both are measured on every X-ray. Without labels only the
    agreement of the two is left.
    """
    known = [read for read in reads if _truth(read, task) is not None]
    positive = np.array([_truth(read, task) == COVID19 for read in known], bool)
    found: dict[str, Estimate] = {}
    named = {
        "reader": [read.first for read in known],
        "reader_after": [read.second or read.first for read in known],
        "program": [read.forced for read in known],
    }
    for who, classes in named.items():
        called = np.array([name == COVID19 for name in classes], bool)
        found[f"{who}_sensitivity"] = _share(called[positive])
        found[f"{who}_specificity"] = _share(~called[~positive])
    ratings = np.array([read.rating for read in known], float)
    scores = np.array([read.covid19 for read in known], float)
    found |= Resampling([read.case for read in known]).estimates({
        "reader_auroc": Statistic(partial(merit.auroc, positive, ratings)),
        "program_auroc": Statistic(partial(merit.auroc, positive, scores)),
        "auroc_difference": Statistic(partial(merit.auroc_difference, positive, ratings, scores)),
    })  # fmt: skip
    first, forced = (np.array(names, str) for names in ([r.first for r in reads], [r.forced for r in reads]))
    found["agreement"] = _share(first == forced)
    found["kappa"] = Resampling([read.case for read in reads]).estimate(
        Statistic(partial(merit.kappa, first, forced), undefined=words.BLIND_NO_KAPPA)
    )
    return found


def changes(reads: Sequence[Read], task: Task) -> Changes:
    """Count what seeing the program's answer changed."""
    seen = [read for read in reads if read.second is not None]
    known = [(read, _truth(read, task)) for read in seen if _truth(read, task) is not None]
    return Changes(
        changed=sum(read.first != read.second for read in seen),
        right_to_wrong=sum(read.first == truth != read.second for read, truth in known),
        wrong_to_right=sum(read.first != truth == read.second for read, truth in known),
        cannot_tell=sum(read.program == INDETERMINATE for read in reads),
    )


def rows(reads: Sequence[Read], task: Task) -> list[tuple[str, str, str]]:
    """The table at the end of a read: what, how much with its interval, of how many X-rays."""
    found, counted = figures(reads, task), changes(reads, task)
    table = [
        (words.BLIND_FIGURES[name], _in_words(name, figure), str(figure.n))
        for name, figure in found.items()
        if figure.value is not None
    ]
    labelled = sum(_truth(read, task) is not None for read in reads)
    of = {"changed": len(reads), "cannot_tell": len(reads)}
    counts = {name: value for name, value in asdict(counted).items() if name in of or labelled}
    return [*table, *((words.BLIND_COUNTS[n], str(value), str(of.get(n, labelled))) for n, value in counts.items())]


def as_csv(reads: Sequence[Read]) -> bytes:
    """A line an X-ray, in the order of reading; the mark at the start tells spreadsheets that it is UTF-8."""
    file = io.StringIO()
    writer = csv.DictWriter(file, ["number", *(one.name for one in fields(Read))])
    writer.writeheader()
    writer.writerows({"number": place, **asdict(read)} for place, read in enumerate(reads, start=1))
    return file.getvalue().encode("utf-8-sig")


def roc_points(reads: Sequence[Read], task: Task, *, reader: bool) -> list[tuple[float, float]]:
    """False and true positive rates at each threshold of the reader's rating, or of the program's probability."""
    known = [read for read in reads if _truth(read, task) is not None]
    positive = np.array([_truth(read, task) == COVID19 for read in known], bool)
    if not known or positive.all() or not positive.any():
        return []
    scores = np.array([read.rating if reader else read.covid19 for read in known], float)
    thresholds = [np.inf, *sorted(set(scores.tolist()), reverse=True)]
    return [(float((scores[~positive] >= t).mean()), float((scores[positive] >= t).mean())) for t in thresholds]


def _truth(read: Read, task: Task) -> str | None:
    """The class that the label means for a task; None for none, and for a pneumonia that is none of three classes."""
    if read.label is None:
        return None
    if task is BINARY:
        return COVID19 if read.label == COVID19 else NOT_COVID19
    return read.label if read.label in task.classes else None


def _share(hits: np.ndarray) -> Estimate:
    n = len(hits)
    if not n:
        return Estimate(None, None, None, 0, words.BLIND_NO_LABELS)
    return Estimate(float(hits.mean()), *exact_interval(int(hits.sum()), n), n)


def _in_words(name: str, figure: Estimate) -> str:
    values = [figure.value, figure.ci_low, figure.ci_high]
    if name.endswith(("auroc", "difference", "kappa")):
        told = ["–" if value is None else f"{value:.2f}" for value in values]
    else:
        told = ["–" if value is None else words.percent(value) for value in values]
    return f"{told[0]} ({told[1]} to {told[2]})" if figure.ci_low is not None else told[0]
