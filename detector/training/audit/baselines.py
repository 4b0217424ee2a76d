"""Baselines that can't see a disease: if one of them comes near the network, the images prove nothing about it.

Each learns by logistic regression from what says where a picture comes from: its source and the age of the patient,
its finest frequencies, its outermost pixels. A *fit* takes labelled examples and gives a *predictor*; the audit takes
any function of that form, the training of a network as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.schema import COVID19, THREE_CLASS
from detector.training.data.manifest import Example, read_image

if TYPE_CHECKING:
    from pathlib import Path

    from detector.schema import NetworkInput

BORDER = 10  # pixels

_SIDE = 224  # of the pictures that the features are taken from
_RINGS, _SECTORS = 16, 4
_FINE_FROM = 0.25  # cycles a pixel; the finest is 0.5, along the diagonals 0.71
_BORDER_CELLS = (28, 2)  # along each side and across it
_RIDGE = 1.0  # of standardised features, as if one more image spoke for no weight
_NEWTON_STEPS = 25
_SETTLED = 1e-6
_THREADS = 2
_EPSILON = 1e-8  # a feature that never varies stays zero, a silent frequency has a finite logarithm


@dataclass(frozen=True, eq=False)
class Scores:
    """What a predictor says about N images.

    Attributes:
        covid19: (N,), higher for COVID-19.
        three_class: (N, 3), higher for each class.
    """

    covid19: np.ndarray
    three_class: np.ndarray


Predictor = Callable[[Sequence[Example]], Scores]
Fit = Callable[[Sequence[Example]], Predictor]
Features = Callable[[Sequence[Example]], np.ndarray]


def standard_baselines(images: Path, prepare: Callable[[np.ndarray], NetworkInput]) -> dict[str, Fit]:
    """The baselines that need no network's training, by name.

    Spectrum and border are taken once from the picture as it lies in the file and once from what the network is given:
    the first says what the images give away, the second what the network could still see.

    Args:
        images: what the examples' paths are relative to.
        prepare: from (rows, columns) float32 in [0, 1] to the network's input; see `Engine.prepare`.
    """

    def of_input(features: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda image: features(prepare(image).pixels[..., 0])

    return {
        "source_and_age": lambda train: fit_logistic(train, _SourceAndAge(train)),
        "spectrum": partial(fit_logistic, features=_Cached(images, _file_spectrum)),
        "border": partial(fit_logistic, features=_Cached(images, _file_border)),
        "spectrum_of_the_input": partial(fit_logistic, features=_Cached(images, of_input(spectrum_features))),
        "border_of_the_input": partial(fit_logistic, features=_Cached(images, of_input(border_features))),
    }


def fit_logistic(train: Sequence[Example], features: Features) -> Predictor:
    """Learn each class against the rest from features alone.

    Args:
        train: labelled examples; those of none of the three classes teach the binary question only.
        features: of examples, (N, F).
    """
    values = features(train)
    mean, spread = values.mean(axis=0), values.std(axis=0)

    def standardised(x: np.ndarray) -> np.ndarray:
        return np.where(spread > _EPSILON, (x - mean) / np.maximum(spread, _EPSILON), 0.0)

    inputs = standardised(values)
    labels = np.array([example.label for example in train])
    three = np.isin(labels, THREE_CLASS.classes)
    covid = logistic_regression(inputs, labels == COVID19)
    by_class = [logistic_regression(inputs[three], labels[three] == name) for name in THREE_CLASS.classes]

    def predict(examples: Sequence[Example]) -> Scores:
        found = standardised(features(examples))
        return Scores(covid(found), np.stack([model(found) for model in by_class], axis=1))

    return predict


def logistic_regression(inputs: np.ndarray, outcomes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit log-odds linear in the inputs, with a ridge, by Newton's method (McCullagh and Nelder 1989, chapter 4).

    Args:
        inputs: (N, F), standardised.
        outcomes: (N,) bool.

    Returns:
        A function from inputs (M, F) to log-odds (M,). Outcomes that are all alike give a constant.
    """
    design = np.concatenate([np.ones((len(inputs), 1)), inputs], axis=1)
    penalty = np.full(design.shape[1], _RIDGE)
    weights = np.zeros(design.shape[1])
    outcomes = np.asarray(outcomes, float)
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (outcomes - chance) - penalty * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        weights = weights + step
        if np.abs(step).max() < _SETTLED:
            break
    return lambda x: weights[0] + x @ weights[1:]


def spectrum_features(image: np.ndarray) -> np.ndarray:
    """Logarithm of the mean power in rings and sectors of the fine frequencies.

    Args:
        image: (H, W) float32.

    Returns:
        (64,) float64: 16 rings from 0.25 cycles a pixel to the corner, 4 sectors each.
    """
    grid = _spectrum_grid(image.shape)
    power = np.abs(np.fft.fft2((image - image.mean()) * grid.window)).ravel()[grid.fine] ** 2
    return np.log(np.bincount(grid.cell, power, minlength=_RINGS * _SECTORS) / grid.counts + _EPSILON)


def border_features(image: np.ndarray) -> np.ndarray:
    """The outermost 10 pixels of each side, averaged to 28 cells along and 2 across it: (224,)."""
    strips = (image[:BORDER], image[-BORDER:], image[:, :BORDER].T, image[:, -BORDER:].T)
    cells = [cv2.resize(np.ascontiguousarray(strip), _BORDER_CELLS, interpolation=cv2.INTER_AREA) for strip in strips]
    return np.stack(cells).ravel().astype(float)


@dataclass(frozen=True, eq=False)
class _SpectrumGrid:
    """Which frequencies of a picture's spectrum belong to which ring and sector.

    Attributes:
        window: (H, W), falls to zero at the edges, which have all frequencies.
        fine: places of the fine frequencies in the flattened spectrum.
        cell: ring and sector of each of these.
        counts: (64,) frequencies in each cell, at least 1.
    """

    window: np.ndarray
    fine: np.ndarray
    cell: np.ndarray
    counts: np.ndarray


@lru_cache(maxsize=4)
def _spectrum_grid(shape: tuple[int, int]) -> _SpectrumGrid:
    down, across = np.meshgrid(*(np.fft.fftfreq(side) for side in shape), indexing="ij")
    radius, angle = np.hypot(down, across).ravel(), np.mod(np.arctan2(down, across), np.pi).ravel()
    fine = np.flatnonzero(radius >= _FINE_FROM)
    ring = ((radius[fine] - _FINE_FROM) / (np.sqrt(0.5) - _FINE_FROM + _EPSILON) * _RINGS).astype(int)
    cell = ring * _SECTORS + np.minimum((angle[fine] / np.pi * _SECTORS).astype(int), _SECTORS - 1)
    counts = np.maximum(np.bincount(cell, minlength=_RINGS * _SECTORS), 1)
    window = np.outer(np.hanning(shape[0]), np.hanning(shape[1])).astype(np.float32)
    return _SpectrumGrid(window, fine, cell, counts)


class _SourceAndAge:
    """One-hot source × age group, of those that the training examples have."""

    def __init__(self, train: Sequence[Example]) -> None:
        self._known = sorted({(e.source, e.age_group) for e in train})

    def __call__(self, examples: Sequence[Example]) -> np.ndarray:
        return np.array([[float((e.source, e.age_group) == key) for key in self._known] for e in examples])


class _Cached:
    """Features of pictures, computed once a picture: the same ones are asked for in many splits."""

    def __init__(self, images: Path, of: Callable[[np.ndarray], np.ndarray]) -> None:
        self._images, self._of = images, of
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, examples: Sequence[Example]) -> np.ndarray:
        missing = [e.image for e in examples if e.image not in self._known]
        with ThreadPoolExecutor(_THREADS) as pool:
            values = pool.map(lambda name: self._of(read_image(self._images / name)), missing)
            self._known.update(zip(missing, values, strict=True))
        return np.stack([self._known[e.image] for e in examples])


def _at_one_size(image: np.ndarray) -> np.ndarray:
    if image.shape == (_SIDE, _SIDE):
        return image
    return cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)


def _file_spectrum(image: np.ndarray) -> np.ndarray:
    return spectrum_features(_at_one_size(image))


def _file_border(image: np.ndarray) -> np.ndarray:
    return border_features(_at_one_size(image))
