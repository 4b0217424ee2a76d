"""What a hospital's own labelled X-rays allow to be set: recalibration, thresholds, prediction sets, or why not.

Prediction sets use the network's own probabilities, on which nothing was fitted here, so that their coverage holds on
exchangeable pictures (class-conditional split conformal; Vovk et al. 2005, Sadinle et al. 2019).
"""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from detector import words
from detector.answers.pipeline import analyse
from detector.answers.site import LARGEST_RATIO, Figure, Site, SiteTask
from detector.errors import RejectedError
from detector.model.calibration import BALANCED, SENSITIVE, SPECIFIC, probabilities_of
from detector.schema import BINARY, COVID19, TASKS, OperatingPoint
from detector.statistics.bootstrap import Resampling, Statistic
from detector.statistics.conformal import conformal_quantile
from detector.statistics.intervals import exact_interval, likelihood_ratio_interval, more_to_halve
from detector.statistics.merit import auroc
from detector.training.measure.cohort import truth_index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.schema import Task
    from detector.training.data.manifest import Example

LEAST = 20  # X-rays of each class: with fewer, a set that promises 0.95 would have to hold everything
COVERAGE = 0.90
_ASKED = 0.95  # sensitivity of the sensitive point, specificity of the specific one
_READERS = 4
_NORMAL_QUANTILE = 1.959964  # of 0.975


@dataclass(frozen=True, eq=False)
class SiteCases:
    """A hospital's labelled X-rays as the network sees them.

    Attributes:
        labels: (N,) label of each.
        logits: task name to (N, task.logits) calibrated logits.
        left_out: reason to count.
    """

    labels: np.ndarray
    logits: dict[str, np.ndarray]
    left_out: dict[str, int]

    def of(self, task: Task) -> tuple[np.ndarray, np.ndarray]:
        """Index of the true class (n,) and calibrated logits (n, task.logits) of the cases that a task is asked of."""
        truth = truth_index(task, self.labels)
        return truth[truth >= 0], self.logits[task.name][truth >= 0]


def collect(examples: Sequence[Example], images: Path, engine: Engine) -> SiteCases:
    """Analyse labelled X-rays; one picture a patient, each picture once.

    Raises:
        OSError: if a file can't be read.
    """
    calibration = engine.card.calibration

    def look(example: Example) -> tuple[str, dict[str, np.ndarray]] | None:
        try:
            analysis = analyse((images / example.image).read_bytes(), engine)
        except RejectedError:
            return None
        logits = {t.name: np.asarray(analysis.logits[t.name]) / calibration.temperatures[t.name] for t in TASKS}
        return analysis.radiograph.pixel_sha256, logits

    with ThreadPoolExecutor(_READERS) as pool:
        seen = list(pool.map(look, examples))
    left_out: Counter[str] = Counter()
    pictures, patients = set[str](), set[str]()
    kept = []
    for example, found in zip(examples, seen, strict=True):
        if found is None:
            left_out[words.LEFT_OUT_REJECTED] += 1
        elif found[0] in pictures:
            left_out[words.LEFT_OUT_REPEATS] += 1
        elif example.patient_group in patients:
            left_out[words.LEFT_OUT_PATIENTS] += 1
        else:
            pictures.add(found[0])
            patients.add(example.patient_group)
            kept.append((example.label, found[1]))
    logits = {t.name: np.array([one[t.name] for _, one in kept], float).reshape(-1, t.logits) for t in TASKS}
    return SiteCases(np.array([label for label, _ in kept], dtype=object), logits, dict(left_out))


def fit_site(
    cases: SiteCases, card: ModelCard, *, name: str, coverage: float = COVERAGE, created: date | None = None
) -> Site:
    """Set what the X-rays allow.

    Args:
        cases: of the hospital.
        card: of the network that saw them.
        name: what the hospital is called.
        coverage: share of each class whose prediction set is promised to hold the truth.
        created: the day; today where None.

    Returns:
        The site, whose tasks are None where a class has fewer than `LEAST` X-rays; `reasons` says how many are missing.
    """
    tasks: dict[str, SiteTask | None] = {}
    reasons: dict[str, str] = {}
    for task in TASKS:
        truth, logits = cases.of(task)
        counts = {name: int((truth == k).sum()) for k, name in enumerate(task.classes)}
        missing = {name: LEAST - count for name, count in counts.items() if count < LEAST}
        tasks[task.name] = None if missing else fit_task(task, truth, logits, coverage=coverage)
        if missing:
            wanted = words.listed([f"{count} × {words.CLASSES[name]}" for name, count in missing.items()])
            reasons[task.name] = words.SITE_TOO_FEW.format(least=LEAST, wanted=wanted)
    return Site(
        name=name,
        created=created or datetime.now(UTC).date(),
        model_sha256=card.sha256,
        preprocessing=card.preprocessing,
        coverage=coverage,
        images=len(cases.labels),
        left_out=cases.left_out,
        tasks=tasks,
        reasons=reasons,
    )


def fit_task(
    task: Task, truth: np.ndarray, logits: np.ndarray, *, coverage: float = COVERAGE, measured: bool = True
) -> SiteTask:
    """Set one task.

    Args:
        task: which one.
        truth: (n,) index of the true class.
        logits: (n, task.logits), calibrated by the network's own temperature.
        coverage: see `fit_site`.
        measured: whether figures are wanted too.
    """
    own = probabilities_of(task, logits)
    slope, offsets = recalibrate(task, truth, logits)
    scores = [1 - own[truth == k, k] for k in range(len(task.classes))]
    quantiles = {name: conformal_quantile(s, coverage) for name, s in zip(task.classes, scores, strict=True)}
    here = probabilities_of(task, slope * logits + offsets)
    points = _operating_points(truth == 0, here[:, 0]) if task is BINARY else {}
    return SiteTask(
        counts={name: int((truth == k).sum()) for k, name in enumerate(task.classes)},
        slope=slope,
        offsets=dict(zip(task.classes, map(float, offsets), strict=False)),  # the binary task has one
        quantiles=quantiles,
        operating_points=points,
        figures=_figures(task, truth, logits, own, here, coverage) if measured else {},
    )


def recalibrate(task: Task, truth: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit one slope and an offset a logit by logistic regression (for two classes: Platt 1999).

    The targets are Platt's, (n + 1) / (n + 2) instead of 1, so that classes which don't overlap give finite numbers.

    Returns:
        The slope, kept positive, and (task.logits,) offsets; those of three classes sum to 0.
    """
    classes = len(task.classes)
    counts = np.bincount(truth, minlength=classes)
    hit = (counts + 1) / (counts + classes)
    target = np.where(
        np.eye(classes, dtype=bool)[truth], hit[truth][:, None], ((1 - hit) / (classes - 1))[truth][:, None]
    )

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope = math.exp(parameters[0])
        probabilities = probabilities_of(task, slope * logits + parameters[1:])
        excess = (probabilities - target)[:, : task.logits]
        value = -(target * np.log(np.maximum(probabilities, np.finfo(float).tiny))).sum(axis=1).mean()
        return float(value), np.append((excess * logits).sum(axis=1).mean() * slope, excess.mean(axis=0))

    found = optimize.minimize(loss, np.zeros(1 + task.logits), jac=True, method="BFGS").x
    offsets = found[1:] if task is BINARY else found[1:] - found[1:].mean()
    return float(np.clip(math.exp(found[0]), 1e-3, 1e3)), offsets


def asked_threshold(scores: np.ndarray, share: float) -> float:
    """The highest threshold that a further exchangeable case reaches with a probability of at least `share`.

    It lies below the floor((n + 1)(1 - share))-th smallest score, midway to the next smaller one.
    """
    ordered = np.sort(scores)
    place = math.floor((len(ordered) + 1) * (1 - share))
    below = ordered[place - 2] if place >= 2 else 0.0
    return float((below + ordered[max(place - 1, 0)]) / 2)


def _operating_points(positive: np.ndarray, probability: np.ndarray) -> dict[str, OperatingPoint]:
    thresholds = {
        BALANCED: _youden(positive, probability),
        SENSITIVE: asked_threshold(probability[positive], _ASKED),
        SPECIFIC: 1 - asked_threshold(1 - probability[~positive], _ASKED),
    }
    return {
        name: OperatingPoint(
            name,
            float(np.clip(threshold, 1e-9, 1 - 1e-9)),
            float((probability[positive] >= threshold).mean()),
            float((probability[~positive] < threshold).mean()),
            "site",
        )
        for name, threshold in thresholds.items()
    }


def _youden(positive: np.ndarray, probability: np.ndarray) -> float:
    """Threshold of the largest sensitivity + specificity, in the middle of its widest gap."""
    values = np.unique(probability)
    between = (values[1:] + values[:-1]) / 2
    called = probability[None, :] >= between[:, None]
    index = called[:, positive].mean(axis=1) - called[:, ~positive].mean(axis=1)
    best = np.flatnonzero(index >= index.max() - 1e-12)
    return float(between[best[np.argmax(np.diff(values)[best])]])


def _figures(
    task: Task, truth: np.ndarray, logits: np.ndarray, own: np.ndarray, here: np.ndarray, coverage: float
) -> dict[str, Figure]:
    n = len(truth)
    sets = left_out_sets(truth, own, coverage)
    single = sets.sum(axis=1) == 1
    named = np.where(single, sets.argmax(axis=1), -1)
    figures = {"coverage": _share(sets[np.arange(n), truth]), "answered": _share(single)}
    for k, name in enumerate(task.classes):
        members = truth == k
        figures[f"coverage_{name}"] = _share(sets[members, k])
        figures[f"recall_{name}"] = _share(named[members] == k)
    figures |= _fitted(task, truth, logits)
    if task is BINARY:
        positive = truth == 0
        for side, k in (("positive", 0), ("negative", 1)):
            figures[f"likelihood_ratio_{side}"] = _ratio(named[positive] == k, named[~positive] == k)
        for name, point in _operating_points(positive, here[:, 0]).items():
            called = here[:, 0] >= point.threshold
            figures[f"{name}_sensitivity"] = _share(called[positive])
            figures[f"{name}_specificity"] = _share(~called[~positive])
    return figures


def left_out_sets(truth: np.ndarray, own: np.ndarray, coverage: float) -> np.ndarray:
    """Prediction sets (n, classes) bool of each case, with quantiles that it takes no part in."""
    sets = np.empty(own.shape, bool)
    for k in range(own.shape[1]):
        members = truth == k
        scores = 1 - own[members, k]
        sets[~members, k] = 1 - own[~members, k] <= conformal_quantile(scores, coverage)
        without = [conformal_quantile(np.delete(scores, i), coverage) for i in range(len(scores))]
        sets[members, k] = scores <= np.array(without)
    return sets


def _fitted(task: Task, truth: np.ndarray, logits: np.ndarray) -> dict[str, Figure]:
    """The recalibration; that of the binary task with Wald intervals, and its AUROC with a bootstrapped one."""
    n = len(truth)
    slope, offsets = recalibrate(task, truth, logits)
    if task is not BINARY:
        named = zip(task.classes, offsets, strict=True)
        return {
            "slope": Figure(slope, None, None, n),
            **{f"offset_{c}": Figure(float(o), None, None, n) for c, o in named},
        }
    probability = probabilities_of(task, slope * logits + offsets)[:, 0]
    design = np.column_stack([logits[:, 0], np.ones(n)])
    information = design.T @ (design * (probability * (1 - probability))[:, None])
    errors = _NORMAL_QUANTILE * np.sqrt(np.diag(np.linalg.pinv(information)))
    values = {"slope": slope, f"offset_{COVID19}": float(offsets[0])}
    found = {
        name: Figure(value, float(value - e), float(value + e), n)
        for (name, value), e in zip(values.items(), errors, strict=True)
    }
    positive = truth == 0
    estimate = Resampling([str(i) for i in range(n)]).estimate(Statistic(partial(auroc, positive, logits[:, 0])))
    return {**found, "auroc": Figure(estimate.value or 0.0, estimate.ci_low, estimate.ci_high, n)}


def _share(hits: np.ndarray) -> Figure:
    return Figure(float(hits.mean()), *exact_interval(int(hits.sum()), len(hits)), len(hits))


def _ratio(hits: np.ndarray, others: np.ndarray) -> Figure:
    """How often the one (n,) bool over how often the other (m,) bool."""
    low, high = likelihood_ratio_interval(int(hits.sum()), len(hits), int(others.sum()), len(others))
    value = float(hits.mean() / others.mean()) if others.any() else LARGEST_RATIO
    return Figure(value, low, min(high, LARGEST_RATIO), len(hits) + len(others))


def allows(figure: Figure, what: str) -> str:
    """What the number of X-rays allows to be said of a share, e.g. "specificity is known to ± 19 points …"."""
    if figure.ci_low is None or figure.ci_high is None:
        return ""
    points = 100 * (figure.ci_high - figure.ci_low) / 2
    return words.SITE_ALLOWS.format(n=figure.n, what=what, points=points, more=more_to_halve(figure.value, figure.n))
