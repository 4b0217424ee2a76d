"""How far an answer and its map move when the picture changes no more than it would in another exposure.

Every step after decoding is repeated: the picture is shifted, rotated, exposed differently or made noisy, and passes
through preprocessing and network again. A wide range, or maps that don't agree, mean that the answer hangs on a trifle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.answers import overlay
from detector.answers.evidence import rank_correlation
from detector.model.gradcam import evidence_maps
from detector.model.preprocess import equalise
from detector.schema import TASKS, ClassStability, Geometry, Stability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.answers.pipeline import Analysis
    from detector.model.calibration import Calibration
    from detector.model.engine import Engine

_LONGER_SIDE = 448  # twice the grid that every picture passes through: more pixels cost time and change nothing
_SEED = 20261123
_STEP = 4  # every fourth row and column of the maps is compared: they are smooth, from cells of a hundred pixels


@dataclass(frozen=True)
class Perturbation:
    """A mild change of a picture.

    Attributes:
        words: what it is, for a reader.
        right: shift, as a share of the width.
        down: shift, as a share of the height.
        degrees: rotation about the centre, anticlockwise.
        gamma: exponent of the grey values.
        gain: factor of the grey values; what exceeds 1 is lost, as in an overexposed picture.
        offset: added to the grey values; what falls below 0 is lost.
        noise: standard deviation of Gaussian noise, where black to white is 1.
    """

    words: str
    right: float = 0.0
    down: float = 0.0
    degrees: float = 0.0
    gamma: float = 1.0
    gain: float = 1.0
    offset: float = 0.0
    noise: float = 0.0

    def matrix(self, rows: int, columns: int) -> np.ndarray:
        """The (2, 3) affine map from points (x, y) of the picture to those of the perturbed one, in pixels."""
        matrix: np.ndarray = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), self.degrees, 1.0)
        matrix[:, 2] += np.array([self.right * columns, self.down * rows])
        return matrix

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Perturb (rows, columns) float32 in [0, 1]; pixels that enter at an edge repeat it."""
        size = pixels.shape[::-1]
        moved = cv2.warpAffine(pixels, self.matrix(*pixels.shape), size, borderMode=cv2.BORDER_REPLICATE)
        exposed = np.clip(self.gain * moved**self.gamma + self.offset, 0, 1)
        noise = rng.normal(scale=self.noise, size=pixels.shape) if self.noise else 0.0
        perturbed: np.ndarray = np.clip(exposed + noise, 0, 1).astype(np.float32)
        return perturbed


#: Positioning differs by more than this between two pictures of a patient.
PERTURBATIONS = (
    Perturbation("shifted left and up", right=-0.02, down=-0.02),
    Perturbation("shifted right and down", right=0.02, down=0.02),
    Perturbation("turned left", degrees=3),
    Perturbation("turned right", degrees=-3),
    Perturbation("brighter", gamma=0.8, gain=1.1),
    Perturbation("darker", gamma=1.2, gain=1.05, offset=-0.05),
    Perturbation("noisy", noise=0.03),
    Perturbation("turned, darker and noisy", degrees=2, gamma=1.2, noise=0.02),
)


def measure_stability(
    analysis: Analysis, engine: Engine, *, perturbations: Sequence[Perturbation] = PERTURBATIONS
) -> Stability:
    """Analyse perturbed copies of a picture as it was analysed, including any rotation or inversion by the reader.

    The noise has a fixed seed: the same picture gives the same result.

    Args:
        analysis: of the picture.
        engine: the network that analysed it. It runs once for each perturbation.
        perturbations: what to do to the picture.

    Returns:
        Ranges that include the answer itself.

    Raises:
        NonFiniteError: if the network's output is not finite.
    """
    pixels, rng = _working_copy(equalise(analysis.radiograph.grey)), np.random.default_rng(_SEED)
    prepared = [engine.prepare(perturb(pixels, rng)) for perturb in perturbations]
    outputs = [engine(given) for given in prepared]
    still = Perturbation("unchanged").matrix(*pixels.shape)
    maps = [_in_one_frame(analysis.cams, overlay.scaled(analysis.geometry, *pixels.shape), still)]
    for output, given, perturbation in zip(outputs, prepared, perturbations, strict=True):
        cams = evidence_maps(output.features, engine.kernels)
        maps.append(_in_one_frame(cams, given.geometry, perturbation.matrix(*pixels.shape)))
    asked = [analysis.logits, *(output.logits for output in outputs)]
    logits = {task.name: np.stack([given[task.name] for given in asked]) for task in TASKS}
    return Stability(_by_class(logits, maps, analysis.card.calibration), tuple(p.words for p in perturbations))


def _working_copy(pixels: np.ndarray) -> np.ndarray:
    rows, columns = overlay.display_size(*pixels.shape, longer_side=_LONGER_SIDE)
    if (rows, columns) == pixels.shape:
        return pixels
    return cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)


def _in_one_frame(cams: Mapping[str, np.ndarray], geometry: Geometry, matrix: np.ndarray) -> np.ndarray:
    """Every class's map of every task on the unperturbed picture's grid, (maps, H, W); NaN outside the box."""
    maps = np.concatenate([cams[task.name] for task in TASKS])
    size = (geometry.columns, geometry.rows)

    def back(cam: np.ndarray) -> np.ndarray:
        heatmap = overlay.to_heatmap(cam, geometry)
        return cv2.warpAffine(heatmap, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)[::_STEP, ::_STEP]

    seen = back(np.ones_like(maps[0])) > 0.999  # less is mixed with the zeros around the box
    return np.where(seen, [back(cam) for cam in maps], np.nan)


def _by_class(
    logits: Mapping[str, np.ndarray], maps: Sequence[np.ndarray], calibration: Calibration
) -> dict[str, dict[str, ClassStability]]:
    found: dict[str, dict[str, ClassStability]] = {}
    index = 0
    for task in TASKS:
        probabilities = calibration.probabilities(task, logits[task.name])
        found[task.name] = {}
        for k, name in enumerate(task.classes):
            agreement = _agreement([m[index] for m in maps])
            low, high = float(probabilities[:, k].min()), float(probabilities[:, k].max())
            found[task.name][name] = ClassStability(low, high, agreement)
            index += 1
    return found


def _agreement(maps: Sequence[np.ndarray]) -> float | None:
    """Median rank correlation of the later maps with the first, where both cover the picture."""
    correlations = []
    for other in maps[1:]:
        both = np.isfinite(maps[0]) & np.isfinite(other)
        found = rank_correlation(maps[0][both], other[both]) if both.any() else None
        if found is None:
            return None
        correlations.append(found)
    return float(np.median(correlations)) if correlations else None
