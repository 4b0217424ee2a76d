"""Does a hospital's calibration keep its promise? Drawn many times from cohorts with known truth.

Each draw takes as many X-rays of each class as a hospital might label, one a patient, sets the binary task on them, and
measures on the cohort's other patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.model.calibration import BALANCED, SENSITIVE, probabilities_of
from detector.schema import BINARY, COVID19
from detector.statistics.intervals import exact_share
from detector.training.fit.site import COVERAGE, asked_threshold, fit_task, left_out_sets
from detector.training.measure.cohort import one_a_patient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.model.card import ModelCard
    from detector.training.measure.cohort import Answers

SIZES = (20, 50, 100)
DRAWS = 200
_ASKED = 0.95
_SEED = 20261130
_LEAST_LEFT = 9  # patients of each class to measure on


@dataclass(frozen=True)
class SiteCohort:
    """A hospital, as far as the collections have one with both classes.

    Attributes:
        name: of the cohort.
        positives: sources whose COVID-19 pictures it has.
        negatives: sources whose other pictures it has.
        own: whether the network learnt from these collections.
    """

    name: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    own: bool = True


COHORTS = (
    SiteCohort("raddb", ("raddb",), ("raddb",)),
    SiteCohort("cxnet and ieee8023 against rsna, covidqu and nih", ("cxnet", "ieee8023"), ("rsna", "covidqu", "nih")),
)
EXTERNAL = SiteCohort("Hannover and Actualmed", ("hannover", "actualmed"), ("actualmed",), own=False)


def audit_sites(
    answers: Answers, card: ModelCard, cohorts: Sequence[SiteCohort] = COHORTS, *, sizes: Sequence[int] = SIZES
) -> dict[str, Any]:
    """Draw calibrations from each cohort.

    Args:
        answers: logits of the cohorts' images, none of which the network was trained on.
        card: of the network.
        cohorts: which hospitals.
        sizes: X-rays of each class.

    Returns:
        Cohort to size to figures: mean over the draws with the 2.5 % and 97.5 % quantiles, or why there are none.
    """
    return {cohort.name: {"own": cohort.own, **_cohort(answers, card, cohort, sizes)} for cohort in cohorts}


def audit_external(answers: Answers, card: ModelCard) -> dict[str, Any]:
    """A hospital that nothing was learnt from, but with fewer normals than `calibrate` takes: no draws, one by one.

    Returns:
        Patients, and figures with exact intervals: before calibration, and of prediction sets with each patient left
        out of the quantiles that judge them.
    """
    logits, members = _members(answers, card, EXTERNAL, np.random.default_rng(_SEED))
    kept = np.concatenate(members)
    positive = np.repeat([True, False], [len(group) for group in members])
    own = probabilities_of(BINARY, logits[kept])
    truth = np.where(positive, 0, 1)
    sets = left_out_sets(truth, own, COVERAGE)
    single = sets.sum(axis=1) == 1
    holds = sets[np.arange(len(truth)), truth]
    points = card.calibration.operating_points
    figures = {
        "coverage_covid19": holds[positive],
        "coverage_not_covid19": holds[~positive],
        "answered": single,
        "wrong_of_answered": ~holds[single],
        "sensitivity_before": own[positive, 0] >= points[SENSITIVE].threshold,
        "specificity_before": own[~positive, 0] < points[SENSITIVE].threshold,
        "cannot_tell_before": _in_the_band(logits[kept], card),
    }
    return {
        "own": EXTERNAL.own,
        "patients": dict(zip(BINARY.classes, map(len, members), strict=True)),
        "one_by_one": {name: exact_share(hits) for name, hits in figures.items()},
    }


def _cohort(answers: Answers, card: ModelCard, cohort: SiteCohort, sizes: Sequence[int]) -> dict[str, Any]:
    rng = np.random.default_rng(_SEED)
    logits, members = _members(answers, card, cohort, rng)
    found: dict[str, Any] = {"patients": dict(zip(BINARY.classes, map(len, members), strict=True))}
    for size in sizes:
        if min(map(len, members)) < size + _LEAST_LEFT:
            found[str(size)] = {"reason": f"{min(map(len, members))} patients of one class are too few"}
            continue
        drawn = [_draw(logits, members, size, card, rng) for _ in range(DRAWS)]
        found[str(size)] = {name: _summary([d[name] for d in drawn]) for name in drawn[0]}
    return found


def _members(
    answers: Answers, card: ModelCard, cohort: SiteCohort, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Calibrated logits (N, 1) of all images, and which of them are the cohort's with COVID-19 and without."""
    labels, sources = answers.labels, np.array([example.source for example in answers.examples])
    positive = (labels == COVID19) & np.isin(sources, cohort.positives)
    negative = (labels != COVID19) & np.isin(sources, cohort.negatives)
    first = one_a_patient(answers.groups, rng, positive | negative)
    logits = answers.logits[BINARY.name] / card.calibration.temperatures[BINARY.name]
    return logits, [np.flatnonzero(first & group) for group in (positive, negative)]


def _draw(
    logits: np.ndarray, members: Sequence[np.ndarray], size: int, card: ModelCard, rng: np.random.Generator
) -> Mapping[str, float]:
    """One hospital's calibration, measured on the rest of its patients."""
    shuffled = [rng.permutation(group) for group in members]
    chosen, rest = (np.concatenate([group[part] for group in shuffled]) for part in (slice(size), slice(size, None)))
    counts = [len(group) - size for group in members]
    positive = np.repeat([True, False], counts)
    task = fit_task(BINARY, np.repeat([0, 1], size), logits[chosen], coverage=COVERAGE, measured=False)
    own = probabilities_of(BINARY, logits[rest])
    sets = task.prediction_sets(BINARY, own)
    single = sets.sum(axis=1) == 1
    holds = np.where(positive, sets[:, 0], sets[:, 1])
    here = task.probabilities(BINARY, logits[rest])[:, 0]
    asked = asked_threshold(task.probabilities(BINARY, logits[chosen[:size]])[:, 0], _ASKED)
    points = card.calibration.operating_points
    return {
        "coverage_covid19": float(holds[positive].mean()),
        "coverage_not_covid19": float(holds[~positive].mean()),
        "coverage": float((holds[positive].mean() + holds[~positive].mean()) / 2),
        "answered": float(single.mean()),
        "wrong_of_answered": float((single & ~holds).sum() / max(1, single.sum())),
        "sensitivity_asked": _ASKED,
        "sensitivity_reached": float((here[positive] >= asked).mean()),
        "sensitivity_before": float((own[positive, 0] >= points[SENSITIVE].threshold).mean()),
        "specificity_reached": float((here[~positive] < asked).mean()),
        "specificity_before": float((own[~positive, 0] < points[SENSITIVE].threshold).mean()),
        "cannot_tell_before": float(_in_the_band(logits[rest], card).mean()),
    }


def _in_the_band(logits: np.ndarray, card: ModelCard) -> np.ndarray:
    """Whether the network by itself can't tell, (N,) bool, of calibrated logits (N, 1)."""
    threshold = card.calibration.operating_points[BALANCED].threshold
    distance = np.abs(logits[:, 0] - np.log(threshold / (1 - threshold)))
    inside: np.ndarray = distance < card.calibration.bands[BINARY.name]
    return inside


def _summary(values: Sequence[float]) -> dict[str, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {"value": float(np.mean(values)), "ci_low": float(low), "ci_high": float(high), "n": len(values)}
