"""Measures of a binary score and of a probability, in numpy; see VALIDITY in models/README.md for their use.

Each takes labels ``(N,)`` and scores ``(N,)`` and returns None where it is not defined (one class only), because a
number there would be an invention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EPSILON = 1e-12  # a probability of exactly 0 or 1 costs 27.6 nats, not infinity
BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: the figure on all images; None if it is not defined there.
        ci_low: 2.5 % quantile of the bootstrap; None if most resamples don't define it.
        ci_high: 97.5 % quantile.
        n: images that it rests on.
        reason: why `value` is None.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    reason: str | None = None


def auroc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties count half.

    Mann and Whitney (1947), through mid-ranks.
    """
    labels = np.asarray(labels, bool)
    positives = int(labels.sum())
    negatives = labels.size - positives
    if positives == 0 or negatives == 0:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mid_rank = (2 * last - counts + 1) / 2
    rank_sum = float(mid_rank[place][labels].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the precision–recall curve by steps, ties taken together."""
    labels = np.asarray(labels, bool)
    if not labels.any():
        return None
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.cumsum(labels[order])
    last_of_tie = np.append(np.diff(np.asarray(scores)[order]) != 0, [True])
    true_positives, taken = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    recall = true_positives / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0) * true_positives / taken))


def macro_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Mean of each class's AUROC against the rest; labels (N,) integers, probabilities (N, classes)."""
    parts = [auroc(labels == index, probabilities[:, index]) for index in range(probabilities.shape[1])]
    return None if None in parts else float(np.mean(parts))


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
    """ECE over bins of equal mass: mean over images of |mean confidence - share right| of their bin.

    Naeini et al. (2015); equal mass because equal width leaves most bins nearly empty (Nixon et al. 2019).
    """
    order = np.argsort(confidences, kind="stable")
    parts = np.array_split(order, min(bins, order.size))
    gaps = [abs(np.mean(confidences[part]) - np.mean(outcomes[part])) * part.size for part in parts]
    return float(sum(gaps) / order.size)


def bootstrap(
    measure: Callable[[np.ndarray], float | None],
    groups: Sequence[str],
    *,
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> Estimate:
    """Estimate a figure with a percentile bootstrap over patients (Efron 1979), not over images.

    Args:
        measure: takes indices of images (with repeats) and gives the figure, or None where it is not defined.
        groups: patient group of each image.
        samples: resamples.
        seed: of the resampling.
    """
    _, membership = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    order = np.argsort(membership, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(membership))[:-1]) if order.size else []
    value = measure(np.arange(membership.size)) if members else None
    if value is None:
        reason = "no images" if not members else "not defined: the images are all of one class"
        return Estimate(None, None, None, membership.size, reason)
    rng = np.random.default_rng(seed)
    drawn = [measure(_resample(members, rng)) for _ in range(samples)]
    defined = [x for x in drawn if x is not None]
    if len(defined) < samples / 2:
        return Estimate(value, None, None, membership.size, "too few patients for an interval")
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(value, float(low), float(high), membership.size)


def _resample(members: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
