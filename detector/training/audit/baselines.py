"""Baselines that can't see a disease: if one of them comes near the network, the images prove nothing about it.

Each learns by logistic regression from what says where a picture comes from: its source and the age of the patient,
its finest frequencies, its outermost pixels. A *fit* takes labelled examples and gives a *predictor*; the audit takes
any function of that form, the training of a network as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detector.model.calibration import probabilities_of
from detector.schema import BINARY, COVID19, THREE_CLASS
from detector.training.data.manifest import Example, read_image

if TYPE_CHECKING:
    from pathlib import Path

    from detector.schema import NetworkInput

BORDER = 10  # pixels

_SIDE = 224  # of the pictures that the features are taken from
_RINGS, _SECTORS = 16, 4
_FINE_FROM = 0.25  # cycles a pixel; the finest is 0.5, along the diagonals 0.71
_BORDER_CELLS = (28, 2)  # along each side and across it
_STEPS = 1000
_THREADS = 2
_EPSILON = 1e-8  # a silent frequency has a finite logarithm


@dataclass(frozen=True, eq=False)
class Scores:
    """What a predictor says about N images.

    Attributes:
        covid19: (N,), higher for COVID-19.
        three_class: (N, 3), higher for each class.
    """

    covid19: np.ndarray
    three_class: np.ndarray

    @classmethod
    def of_logits(cls, logits: Mapping[str, np.ndarray]) -> Scores:
        """What a network says, of its logits by task: (N, 1) and (N, 3)."""
        three = probabilities_of(THREE_CLASS, np.asarray(logits[THREE_CLASS.name], float))
        return cls(np.asarray(logits[BINARY.name], float)[:, 0], three)


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
    found: dict[str, Fit] = {"source_and_age": lambda train: fit_logistic(train, _source_and_age(train))}
    seen: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "": partial(cv2.resize, dsize=(_SIDE, _SIDE), interpolation=cv2.INTER_AREA),
        "_of_the_input": lambda image: prepare(image).pixels[..., 0],
    }
    for where, see in seen.items():
        features = _features_of(images, see)
        found |= {f"{name}{where}": partial(fit_logistic, features=of) for name, of in features.items()}
    return found


def fit_logistic(train: Sequence[Example], features: Features) -> Predictor:
    """Learn each class against the rest from features alone.

    Args:
        train: labelled examples; those of none of the three classes teach the binary question only.
        features: of examples, (N, F).
    """
    values = features(train)
    labels = np.array([example.label for example in train])
    three = np.isin(labels, THREE_CLASS.classes)
    covid = _log_odds(values, labels == COVID19)
    by_class = [_log_odds(values[three], labels[three] == name) for name in THREE_CLASS.classes]

    def predict(examples: Sequence[Example]) -> Scores:
        found = features(examples)
        return Scores(covid(found), np.stack([of_class(found) for of_class in by_class], axis=1))

    return predict


def _log_odds(values: np.ndarray, outcome: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """From features (M, F) to log-odds (M,) of an outcome; 0 where training knows one answer alone."""
    if outcome.all() or not outcome.any():
        return lambda found: np.zeros(len(found))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_STEPS)).fit(values, outcome)
    return lambda found: np.asarray(model.decision_function(found))


def spectrum_features(image: np.ndarray) -> np.ndarray:
    """Logarithm of the mean power in rings and sectors of the fine frequencies.

    Args:
        image: (H, W) float32.

    Returns:
        (64,) float64: 16 rings from 0.25 cycles a pixel to the corner, 4 sectors each.
    """
    grid = _spectrum_grid(image.shape)
    power = np.abs(np.fft.fft2((image - image.mean()) * grid.window)).ravel()[grid.fine] ** 2
    mean = np.bincount(grid.cell, power, minlength=_RINGS * _SECTORS) / grid.counts
    return np.asarray(np.log(mean + _EPSILON))


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


def _source_and_age(train: Sequence[Example]) -> Features:
    """One-hot source × age group, of those that the training examples have."""
    known = sorted({(e.source, e.age_group) for e in train})
    return lambda examples: np.array([[float((e.source, e.age_group) == key) for key in known] for e in examples])


def _features_of(images: Path, see: Callable[[np.ndarray], np.ndarray]) -> dict[str, Features]:
    """Features of pictures, each seen once: the same ones are asked for in many splits, and one look gives them all."""

    @cache
    def look(image: str) -> dict[str, np.ndarray]:
        picture = see(read_image(images / image))
        return {"spectrum": spectrum_features(picture), "border": border_features(picture)}

    def features(name: str, examples: Sequence[Example]) -> np.ndarray:
        with ThreadPoolExecutor(_THREADS) as pool:
            return np.stack([seen[name] for seen in pool.map(look, [e.image for e in examples])])

    return {name: partial(features, name) for name in ("spectrum", "border")}
