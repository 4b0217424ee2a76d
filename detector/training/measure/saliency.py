"""Measures of a map that need no network: what a grid can keep, maps to compare with, what to hide from the network.

Deletion and insertion: Petsiuk et al. 2018 (RISE, arXiv:1806.07421). A map that found what the network uses makes the
probability fall fast when its strongest parts are taken away, and rise fast when they alone are given. What is taken
away is exchanged for the same place of a picture of another class, or blurred as in the paper. The former counts: a
chest that is blurred looks hazy, which is a finding, and on the validation split the first network took blurred, grey
and empty pictures for COVID-19 (0.6 to 0.99), so that hiding the evidence did not take it away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.answers.evidence import positive_on_input
from detector.model.calibration import probabilities_of
from detector.schema import BINARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model.calibration import Calibration
    from detector.schema import Task

_BLUR = 0.1  # of the side: ribs and consolidations go, the outline of a chest stays
FRACTIONS = np.linspace(0, 1, 11)  # of the picture that is deleted or inserted


def grid_ceiling(lung_field: np.ndarray, grid: tuple[int, int]) -> float | None:
    """Share in the lungs that a map equal to the lungs keeps on a coarse grid, after interpolation; None without lungs.

    What the grid lets through, for comparison; a map that keeps to the middle of the lungs can exceed it.

    Args:
        lung_field: (size, size) bool.
        grid: rows and columns of the map.
    """
    fine = positive_on_input(on_grid(lung_field, grid), len(lung_field))
    total = float(fine.sum())
    return float(fine[lung_field].sum()) / total if total > 0 else None


def on_grid(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Mean of (size, size) over each cell, (h, w) float32."""
    return cv2.resize(np.asarray(values, np.float32), grid[::-1], interpolation=cv2.INTER_AREA)


def lung_prior(fields: Sequence[np.ndarray], grid: tuple[int, int]) -> np.ndarray:
    """A map that knows lungs and no picture: the mean lung field of a cohort, (h, w); strongest in their middle."""
    return on_grid(np.mean(fields, axis=0), grid)


def own_lungs(lung_field: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """A map that knows where the lungs of this picture are and nothing else: the depth inside them, (h, w)."""
    return on_grid(cv2.distanceTransform(lung_field.astype(np.uint8), cv2.DIST_L2, 5), grid)


def blurred(pixels: np.ndarray) -> np.ndarray:
    """A picture (size, size, 1), blurred until its details are gone."""
    sigma = _BLUR * len(pixels)
    return cv2.GaussianBlur(pixels[..., 0], (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)[..., np.newaxis]


def exchanged(pixels: np.ndarray, donor: np.ndarray, cam: np.ndarray, *, insert: bool) -> np.ndarray:
    """Pictures between one picture and another, by a map's order.

    Args:
        pixels: (size, size, 1) float32, the picture that the map explains.
        donor: what its parts are exchanged for, of the same shape.
        cam: (h, w), the largest first; brought to the picture bilinearly.
        insert: put the first parts of the picture into the donor, rather than take them out of the picture.

    Returns:
        (len(FRACTIONS), size, size, 1) float32; with 0, 10 … 100 % of the pixels exchanged.
    """
    size = len(pixels)
    fine = cv2.resize(np.asarray(cam, np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    place = np.empty(fine.size, int)
    place[np.argsort(-fine, axis=None, kind="stable")] = np.arange(fine.size)
    first = place.reshape(1, size, size, 1) < (FRACTIONS * fine.size).round()[:, np.newaxis, np.newaxis, np.newaxis]
    return np.where(first == insert, pixels, donor)


def area_under(curve: np.ndarray) -> np.ndarray:
    """Area under (…, len(FRACTIONS)) values along the fractions, by trapezia; of a constant it is the constant."""
    return np.asarray(np.trapezoid(curve, FRACTIONS, axis=-1))


def class_scores(
    task: Task, target: int, logits: np.ndarray, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probability (N,) of a class and its log-odds (N,), from logits (N, task.logits).

    The log-odds, too, because a probability near 1 hardly moves while half of the evidence goes.
    """
    scaled = np.asarray(logits, float) / calibration.temperatures[task.name]
    probability = probabilities_of(task, scaled)[:, target]
    if task is BINARY:
        return probability, scaled[:, 0] if target == 0 else -scaled[:, 0]
    others = np.delete(scaled, target, axis=1)
    top = others.max(axis=1)
    return probability, scaled[:, target] - top - np.log(np.exp(others - top[:, np.newaxis]).sum(axis=1))
