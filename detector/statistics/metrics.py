"""Measures of a binary score and of a probability on one cohort, in numpy.

Each takes labels ``(N,)`` and scores ``(N,)`` and returns None where it is not defined (one class only), because a
number there would be an invention. `detector.statistics.weighted` holds the arithmetic, for all resamples at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.statistics import weighted
from detector.statistics.bootstrap import ONE_CLASS, RESAMPLES, Estimate
from detector.statistics.intervals import exact_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EPSILON = 1e-12  # a probability of exactly 0 or 1 costs 27.6 nats, not infinity


def auroc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties count half."""
    return _number(weighted.auroc(labels, scores, _once(scores)))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the precision–recall curve by steps, ties taken together."""
    return _number(weighted.average_precision(labels, scores, _once(scores)))


def macro_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Mean of each class's AUROC against the rest; labels (N,) integers, probabilities (N, classes)."""
    return _number(weighted.macro_auroc(labels, probabilities, _once(labels)))


def sensitivity(labels: np.ndarray, decisions: np.ndarray) -> float | None:
    """Share of the positives that are called positive."""
    labels = np.asarray(labels, bool)
    return float(np.asarray(decisions, bool)[labels].mean()) if labels.any() else None


def specificity(labels: np.ndarray, decisions: np.ndarray) -> float | None:
    """Share of the negatives that are called negative."""
    return sensitivity(~np.asarray(labels, bool), ~np.asarray(decisions, bool))


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared difference between probability and outcome (Brier 1950)."""
    return float(np.mean((np.asarray(probabilities) - np.asarray(labels, float)) ** 2))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood of binary outcomes, in nats."""
    labels = np.asarray(labels, bool)
    likelihood = np.where(labels, probabilities, 1 - np.asarray(probabilities))
    return float(-np.log(np.clip(likelihood, _EPSILON, 1)).mean())


def expected_calibration_error(outcomes: np.ndarray, confidences: np.ndarray, *, bins: int = 15) -> float:
    """ECE over bins of equal mass: mean over images of |mean confidence - share right| of their bin."""
    return float(weighted.expected_calibration_error(outcomes, confidences, _once(confidences), bins=bins)[0])


def bootstrap(
    measure: Callable[[np.ndarray], float | None],
    groups: Sequence[str],
    *,
    samples: int = RESAMPLES,
    seed: int = 0,
    undefined: str = ONE_CLASS,
    share: bool = False,
) -> Estimate:
    """Estimate a figure with a percentile bootstrap over patients (Efron 1979), not over images.

    Args:
        measure: takes indices of images (with repeats) and gives the figure, or None where it is not defined.
        groups: patient group of each image.
        samples: resamples.
        seed: of the resampling.
        undefined: the reason to give where there is no figure.
        share: the figure is a share of images, so that 0 and 1 have an exact interval.
    """
    _, membership = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    order = np.argsort(membership, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(membership))[:-1]) if order.size else []
    value = measure(np.arange(membership.size)) if members else None
    if value is None:
        reason = undefined if members else "no images"
        return Estimate(None, None, None, membership.size, reason)
    if share and value in {0.0, 1.0}:
        return Estimate(value, *exact_interval(round(value * len(members)), len(members)), membership.size)
    rng = np.random.default_rng(seed)
    drawn = [measure(_resample(members, rng)) for _ in range(samples)]
    defined = [x for x in drawn if x is not None]
    if len(defined) < samples / 2:
        return Estimate(value, None, None, membership.size, "too few patients for an interval")
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(value, float(low), float(high), membership.size)


def _resample(members: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])


def _once(images: np.ndarray) -> np.ndarray:
    """Weights of a cohort as it is."""
    return np.ones((1, len(images)))


def _number(values: np.ndarray) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None
