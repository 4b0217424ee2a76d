"""Figures of merit of a score, a decision or a probability, in many resamples at once.

Each takes ``weights (S, N)``, whole numbers that say how often each resample drew each image, and gives ``(S,)`` or
``(S, K)``, NaN where a resample does not define it (one class only). The cohort itself is one row of ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

_NEWTON_STEPS = 30
_NEWTON_LIMIT = 2.0  # largest step: from a flat start the first may overshoot
_NEWTON_DONE = 1e-5  # the next step would be about its square
_LARGEST_EXPONENT = 500.0
_NEWTON_SETTLED = 1e-3  # a last step above it means separated outcomes, which have no finite slope


def share(hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean (S,) of (N,) values."""
    return _ratio(weights @ np.asarray(hits, float), weights.sum(axis=1))


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted median (S,) of (N,) values, each counted as often as it was drawn."""
    order = np.argsort(values, kind="stable")
    mass = _cumulated(weights[:, order])
    total = mass[:, -1:]
    if not order.size:
        return np.full(len(weights), np.nan)
    middle = np.concatenate([(total - 1) // 2, total // 2], axis=1)
    places = np.clip(_search(mass, middle, side="right") - 1, 0, order.size - 1)
    return np.where(total[:, 0] > 0, np.asarray(values, float)[order][places].mean(axis=1), np.nan)


def kappa(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Agreement (S,) of two readers' classes (N,) beyond chance; NaN if both always name one class (Cohen 1960)."""
    names = np.unique(np.concatenate([first, second]))
    agreed = share(first == second, weights)
    by_chance = np.sum([share(first == name, weights) * share(second == name, weights) for name in names], axis=0)
    return _ratio(agreed - by_chance, 1 - by_chance)


def precision(labels: np.ndarray, decisions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share (S,) of positive calls that are right; 0 if nothing is called positive, as in scikit-learn."""
    called = np.asarray(decisions, bool)
    found = share(np.asarray(labels, bool)[called], weights[:, called])
    return np.where(np.isnan(found), 0.0, found)


def f1(labels: np.ndarray, decisions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Harmonic mean (S,) of precision and sensitivity."""
    labels, called = np.asarray(labels, bool), np.asarray(decisions, bool)
    hits = weights[:, labels & called].sum(axis=1)
    return _ratio(2 * hits, weights[:, labels].sum(axis=1) + weights[:, called].sum(axis=1))


def lowest_recall(truth: np.ndarray, chosen: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Smallest recall (S,) over the classes; NaN if a class is absent."""
    recalls = [share((chosen == k)[truth == k], weights[:, truth == k]) for k in range(classes)]
    return np.asarray(np.min(recalls, axis=0))


def auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties count half.

    Mann and Whitney (1947).
    """
    true, false = _counts_from_top(labels, scores, weights)
    area = np.sum(np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2, axis=1)
    return _ratio(area, true[:, -1] * false[:, -1])


def auroc_difference(labels: np.ndarray, first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of the first scores minus that of the second, (S,), on the same images: drawn together, so paired."""
    return np.asarray(auroc(labels, first, weights) - auroc(labels, second, weights))


def macro_auroc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of each class's AUROC against the rest; truth (N,) integers, probabilities (N, classes)."""
    areas = [auroc(truth == k, column, weights) for k, column in enumerate(probabilities.T)]
    return np.asarray(np.mean(areas, axis=0))


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the stepwise precision–recall curve, ties taken together."""
    true, false = _counts_from_top(labels, scores, weights)
    taken = np.maximum((true + false)[:, 1:], 1)  # nothing taken: no step either
    return _ratio(np.sum(np.diff(true, axis=1) * true[:, 1:] / taken, axis=1), true[:, -1])


def sensitivity_at_specificity(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, least_specificity: float
) -> np.ndarray:
    """Largest sensitivity (S,) of the thresholds with at least this specificity in the same resample."""
    true, false = _counts_from_top(labels, scores, weights)
    allowed = false <= (1 - least_specificity + 1e-12) * false[:, -1:]
    best = np.where(allowed, true, 0).max(axis=1)
    return np.where(false[:, -1] > 0, _ratio(best, true[:, -1]), np.nan)


def roc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Sensitivity (S, K) at false positive rates `places` (K,)."""
    true, false = _counts_from_top(labels, scores, weights)
    return _ratio(_read(false, true, places * false[:, -1:]), true[:, -1:])


def precision_at_recall(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Precision (S, K) at recalls `places` (K,): that of the first threshold that reaches the recall."""
    true, false = _counts_from_top(labels, scores, weights)
    reached = _first_reaching(true, places * true[:, -1:])
    rows = np.arange(len(true))[:, None]
    hits, misses = true[rows, reached], false[rows, reached]
    return np.where(true[:, -1:] > 0, _ratio(hits, hits + misses), np.nan)


def expected_calibration_error(
    outcomes: np.ndarray, confidences: np.ndarray, weights: np.ndarray, *, bins: int = 15
) -> np.ndarray:
    """ECE (S,) over bins of equal mass: mean over images of |mean confidence - accuracy| of their bin.

    Naeini et al. (2015); equal mass because equal width leaves most bins nearly empty (Nixon et al. 2019).
    """
    order = np.argsort(confidences, kind="stable")
    ordered = weights[:, order]
    gap = np.asarray(confidences, float)[order] - np.asarray(outcomes, float)[order]
    mass, sums = _cumulated(ordered), _cumulated(ordered * gap)
    edges = _equal_masses(mass[:, -1], bins)
    return _ratio(np.abs(np.diff(_read(mass, sums, edges), axis=1)).sum(axis=1), mass[:, -1])


def error_at_coverage(wrong: np.ndarray, margin: np.ndarray, weights: np.ndarray, coverages: np.ndarray) -> np.ndarray:
    """Error (S, K) when only the share `coverages` (K,) with the largest margins is answered; ties are divided."""
    false, true = _counts_from_top(~np.asarray(wrong, bool), margin, weights)[::-1]
    answered = true + false
    places = np.asarray(coverages) * answered[:, -1:]
    return _ratio(_read(answered, false, places), places)


def net_benefit(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Net benefit (S, K) of treating at or above each probability: true positives less the weighted false positives.

    Vickers and Elkin (2006): TP / n - FP / n × t / (1 - t).
    """
    labels = np.asarray(labels, bool)
    called = np.asarray(probabilities)[:, None] >= places
    worth = called * np.where(labels[:, None], 1.0, -(places / (1 - places)))
    return _ratio(weights @ worth, weights.sum(axis=1, keepdims=True))


def calibration_intercept(labels: np.ndarray, log_odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Calibration in the large (S,): what must be added to the log-odds so that their mean is right. 0 is perfect.

    Cox (1958); Steyerberg (2019), chapter 15.
    """
    return _recalibrated(labels, log_odds, weights, slope=False)[0]


def calibration_slope(labels: np.ndarray, log_odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Calibration slope (S,): factor that the log-odds need, with an intercept. 1 is perfect, below 1 overconfident."""
    return _recalibrated(labels, log_odds, weights, slope=True)[1]


def softmax_slope(truth: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The same factor (S,) for the logits (N, classes) of several classes: the inverse of the best temperature."""
    logits = np.asarray(logits, float)
    logits = logits - logits.max(axis=1, keepdims=True)  # at most 0, so that no exponential overflows
    true = logits[np.arange(len(logits)), truth]
    factor, step = np.zeros((2, len(weights)))  # from a flat start, where the curve is steepest, no step overshoots
    for _ in range(_NEWTON_STEPS):
        scaled = [np.exp(np.minimum(factor[:, None] * column, _LARGEST_EXPONENT)) for column in logits.T]
        total = np.sum(scaled, axis=0)
        mean = sum(part * column for part, column in zip(scaled, logits.T, strict=True)) / total
        variance = sum(part * column**2 for part, column in zip(scaled, logits.T, strict=True)) / total - mean**2
        step = _newton(np.sum(weights * (true - mean), axis=1), np.sum(weights * variance, axis=1))
        factor = factor + step
        if np.nanmax(np.abs(step), initial=0) < _NEWTON_DONE:
            break
    return np.where(np.abs(step) < _NEWTON_SETTLED, factor, np.nan)


def _recalibrated(
    labels: np.ndarray, log_odds: np.ndarray, weights: np.ndarray, *, slope: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope (S,) of a logistic regression on the log-odds, by Newton's method."""
    outcome, x = np.asarray(labels, float), np.asarray(log_odds, float)
    intercept, factor = np.zeros(len(weights)), np.full(len(weights), 0.0 if slope else 1.0)
    if outcome.size == 0 or outcome.min() == outcome.max():
        return np.full_like(intercept, np.nan), np.full_like(factor, np.nan)
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (
            1 + np.exp(-np.clip(intercept[:, None] + factor[:, None] * x, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
        )
        miss, spread = weights * (outcome - chance), weights * chance * (1 - chance)
        g0, h00 = miss.sum(axis=1), spread.sum(axis=1)
        if slope:
            g1, h01, h11 = miss @ x, spread @ x, spread @ x**2
            det = h00 * h11 - h01**2
            steps = _newton(h11 * g0 - h01 * g1, det), _newton(h00 * g1 - h01 * g0, det)
        else:
            steps = _newton(g0, h00), np.zeros(len(weights))
        intercept, factor = intercept + steps[0], factor + steps[1]
        if np.nanmax(np.abs(steps), initial=0) < _NEWTON_DONE:
            break
    positives, total = weights @ outcome, weights.sum(axis=1)
    sound = (positives > 0) & (positives < total) & (np.abs(steps).max(axis=0) < _NEWTON_SETTLED)
    return np.where(sound, intercept, np.nan), np.where(sound, factor, np.nan)


def _newton(gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(_ratio(gradient, curvature), -_NEWTON_LIMIT, _NEWTON_LIMIT))


def _counts_from_top(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and negatives (S, T + 1) at or above each threshold, from above the highest score downwards."""
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True] * bool(order.size)))
    ordered = weights[:, order]
    true = _cumulated(ordered * labels[order])
    false = _cumulated(ordered) - true
    kept = np.concatenate([[0], last_of_tie + 1])
    return true[:, kept], false[:, kept]


def _cumulated(values: np.ndarray) -> np.ndarray:
    """Running sums (S, N + 1) with a leading zero."""
    return np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))


def _equal_masses(totals: np.ndarray, bins: int) -> np.ndarray:
    """Edges (S, bins + 1) of bins with equally many images; the first bins take the remainder."""
    used = np.minimum(bins, np.maximum(totals, 1))[:, None]
    places = np.minimum(np.arange(bins + 1), used)
    return np.asarray(places * (totals[:, None] // used) + np.minimum(places, totals[:, None] % used))


def _read(x: np.ndarray, y: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Linear interpolation, row by row, of ascending x (S, T) and y (S, T) at places (S, K)."""
    above = np.clip(_search(x, places, side="right"), min(1, x.shape[1] - 1), x.shape[1] - 1)
    below = np.maximum(above - 1, 0)
    rows = np.arange(len(x))[:, None]
    part = np.clip(np.nan_to_num(_ratio(places - x[rows, below], x[rows, above] - x[rows, below]), nan=1.0), 0, 1)
    return np.asarray(y[rows, below] + part * (y[rows, above] - y[rows, below]))


def _first_reaching(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Index (S, K) of the first x (S, T) of the row that is not below the place."""
    return np.asarray(np.clip(_search(x, places - 1e-9, side="left"), 0, x.shape[1] - 1))


def _search(x: np.ndarray, places: np.ndarray, *, side: Literal["left", "right"]) -> np.ndarray:
    """`numpy.searchsorted` in every row: rows are lifted above one another and searched as one."""
    lift = np.arange(len(x))[:, None] * (x.max(initial=0) + 2)
    found = np.searchsorted((x + lift).ravel(), (places + lift).ravel(), side=side).reshape(places.shape)
    return np.asarray(found - np.arange(len(x))[:, None] * x.shape[1])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.asarray(above, float) / below)
