"""Fits the gate: a linear classifier on what the network saw, from frontal X-rays and everything else.

Frontal pictures come from the manifest, turned and inverted ones are made of them. Side views, CT slices and limbs come
from a table of their own, photographs and pages from a folder, noise and lettering from a generator. A picture is
refused halfway between the frontal pictures of the validation split and those that must not pass, none of them learnt
from: as far from a wrong refusal as from a wrong answer.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

from detector.errors import ManifestError
from detector.model.card import GATE
from detector.model.gate import (
    FRONTAL,
    INVERTED,
    OTHER,
    SIDE_VIEW,
    SLICE,
    TURNED_LEFT,
    TURNED_RIGHT,
    UPSIDE_DOWN,
    VIEWS,
    Gate,
    gate_features,
)
from detector.training.data.augmentation import augment
from detector.training.data.manifest import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from detector.model.engine import Engine
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

_KINDS = {"lateral": SIDE_VIEW, "ct_slice": SLICE, "limb": OTHER}  # in the table of pictures that are not frontal
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    UPSIDE_DOWN: lambda image: np.rot90(image, 2),
    TURNED_LEFT: lambda image: np.rot90(image, 1),
    TURNED_RIGHT: lambda image: np.rot90(image, 3),
    INVERTED: lambda image: 1 - image,
}
PER_GROUP = 120  # frontal pictures of a source × label; more say nothing new
PER_CHANGE = 180
_COPIES = 6  # of each picture that is not frontal, each augmented in its own way
_CUTS = 14  # of each photograph
_MADE_UP = 240
_REFUSED = 0.006  # of the frontal validation pictures of the worst source: what lies below is no guide to the threshold
_PASSED = 0.02  # of the worst kind of what is not frontal: higher values don't guide the threshold
_WARNED = 0.02  # of all validation pictures
_SMALLEST = 64  # pixels of a side of a photograph's part
_ITERATIONS = 400
_NEVER = -30.0  # log-odds of a view that nothing was learnt of
_DECAY = 3e-4  # weight of the squared weights in the loss


@dataclass(frozen=True, eq=False)
class Seen:
    """Features of pictures, what they show, and where they come from.

    Attributes:
        features: (N, F) float32.
        views: (N,) names from `detector.model.gate.VIEWS`.
        sources: (N,) collection, or file, so that copies of one picture stay together.
        child: (N,) 1 for children, 0 for adults, -1 where that is not known.
    """

    features: np.ndarray
    views: np.ndarray
    sources: np.ndarray
    child: np.ndarray

    def only(self, keep: np.ndarray) -> Seen:
        """The pictures where `keep` (N,) is true."""
        return Seen(self.features[keep], self.views[keep], self.sources[keep], self.child[keep])

    def __add__(self, other: Seen) -> Seen:
        """Both, one after the other."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Seen(*(np.concatenate(pair) for pair in pairs))


def fit_gate(train: Seen, validation: Seen, *, seed: int, strange: Mapping[str, np.ndarray]) -> Gate:
    """Fit the gate and its thresholds.

    Args:
        train: pictures of every view.
        validation: frontal pictures, and others made of them, that the thresholds come from.
        seed: of the first weights.
        strange: kind of picture that is not frontal to log-odds (N,) by gates that had not seen it; see `crossed_odds`.
    """
    gate = _fitted(train, seed=seed)
    odds = gate.frontal_log_odds(validation.features)
    frontal = validation.views == FRONTAL
    tails = [np.quantile(odds[frontal & (validation.sources == s)], _REFUSED) for s in _sources(validation)]
    made = {str(view): odds[validation.views == view] for view in np.unique(validation.views[~frontal])}
    far = [np.quantile(found, 1 - _PASSED) for found in (made | dict(strange)).values()]
    frontal_end, strange_end = float(min(tails)), float(max(far))
    refuse = min(frontal_end, (frontal_end + strange_end) / 2)  # where they overlap, no frontal picture is refused
    return replace(gate, refuse_below=refuse, warn_below=max(refuse, float(np.quantile(odds[frontal], _WARNED))))


def _sources(seen: Seen) -> np.ndarray:
    return np.unique(seen.sources[seen.views == FRONTAL])


def _fitted(train: Seen, *, seed: int) -> Gate:
    """A gate whose thresholds are still to be found."""
    mean, scale = train.features.mean(axis=0), train.features.std(axis=0) + 1e-3  # a feature that never moves
    standard = np.clip((train.features - mean) / scale, -8, 8)
    views = np.array([VIEWS.index(view) for view in train.views])
    kernel, bias = _linear(standard, views, classes=len(VIEWS), seed=seed)
    known = train.child >= 0
    child_kernel, child_bias = _linear(standard[known], train.child[known], classes=2, seed=seed)
    return Gate(
        mean=mean, scale=scale, kernel=kernel, bias=bias,
        child_kernel=child_kernel[:, 1] - child_kernel[:, 0], child_bias=float(child_bias[1] - child_bias[0]),
        refuse_below=0.0, warn_below=0.0,
    )  # fmt: skip


def save_gate(gate: Gate, folder: Path) -> dict[str, Any]:
    """Write ``gate.npz``; returns the card's entry."""
    path = folder / GATE
    names = ("mean", "scale", "kernel", "bias", "child_kernel", "child_bias")
    arrays: dict[str, Any] = {name: np.asarray(getattr(gate, name), np.float32) for name in names}
    np.savez_compressed(path, **arrays)
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "refuse_below": gate.refuse_below,
        "warn_below": gate.warn_below,
    }


def frontal_seen(examples: Sequence[Example], images: Path, engine: Engine, *, seed: int, changed: bool) -> Seen:
    """Frontal pictures; with `changed`, every second one is augmented."""
    rng = np.random.default_rng(seed)

    def pictures() -> Iterator[np.ndarray]:
        for number, example in enumerate(examples):
            image = read_image(images / example.image)
            yield augment(image, rng) if changed and number % 2 else image

    child = [{"paediatric": 1, "adult": 0}.get(e.age_group, -1) for e in examples]
    features = _features(pictures(), engine)
    return Seen(features, np.full(len(examples), VIEWS[0]), np.array([e.source for e in examples]), np.array(child))


def turned_seen(examples: Sequence[Example], images: Path, engine: Engine) -> Seen:
    """Each picture upside down, on either side, and inverted."""
    parts = []
    for view, change in _CHANGES.items():
        pictures = (np.ascontiguousarray(change(read_image(images / e.image))) for e in examples)
        parts.append(_strange(_features(pictures, engine), [view] * len(examples), [e.source for e in examples]))
    return parts[0] + parts[1] + parts[2] + parts[3]


def not_frontal_seen(table: Path, engine: Engine, *, seed: int, copies: int = _COPIES) -> Seen:
    """Side views, CT slices and limbs of a table with the columns ``image`` and ``kind``, each in several versions.

    Raises:
        ManifestError: if the table or a picture can't be read.
    """
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
        named = [(table.parent / row["image"], _KINDS[row["kind"]]) for row in rows]
    except (OSError, KeyError) as error:
        raise ManifestError(f"{table} cannot be read: {error!r}.") from error
    rng = np.random.default_rng(seed)
    chosen = [(path, view, copy) for path, view in named for copy in range(copies)]
    pictures = (augment(read_image(path), rng) if copy else read_image(path) for path, _, copy in chosen)
    features = _features(pictures, engine)
    return _strange(features, [view for _, view, _ in chosen], [path.name for path, _, _ in chosen])


def others_seen(folder: Path | None, engine: Engine, *, seed: int, cuts: int = _CUTS, made_up: int = _MADE_UP) -> Seen:
    """Photographs, screenshots and pages below a folder, cut at random, and made-up pictures; without one, these alone.

    The source of a picture is the name of its file, or what was made up.
    """
    rng = np.random.default_rng(seed)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES) if folder else []
    chosen = [(path, cut) for path in paths for cut in range(cuts)]
    kinds = list(_MAKERS) * (made_up // len(_MAKERS))
    photographs = (_part(read_image(path), rng) if cut else read_image(path) for path, cut in chosen)
    features = _features(itertools.chain(photographs, (_MAKERS[kind](rng) for kind in kinds)), engine)
    return _strange(features, [OTHER] * len(features), [path.name for path, _ in chosen] + kinds)


def held_out_rates(gate: Gate, folder: Path | None, engine: Engine, *, seed: int) -> dict[str, dict[str, float | int]]:
    """Refusals of photographs that nothing was learnt from, and of newly made-up pictures, by kind.

    Made-up pictures come from the generators that the gate has learnt from, with another seed.
    """
    seen = others_seen(folder, engine, seed=seed)
    return refusal_rates(gate, seen, by=kinds_of(seen))


def spread(examples: Sequence[Example], limit: int, *, seed: int) -> list[Example]:
    """At most `limit` examples of each source × label, chosen at random."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[Example]] = {}
    for example in examples:
        groups.setdefault((example.source, example.label), []).append(example)
    return [g[i] for g in groups.values() for i in rng.permutation(len(g))[:limit]]


def refusal_rates(gate: Gate, seen: Seen, *, by: np.ndarray) -> dict[str, dict[str, float | int]]:
    """Share refused, and refused or warned, of the pictures of each group in `by` (N,)."""
    return _shares(gate, gate.frontal_log_odds(seen.features), by=by)


def _shares(gate: Gate, odds: np.ndarray, *, by: np.ndarray) -> dict[str, dict[str, float | int]]:
    return {
        str(name): {
            "n": int(np.sum(by == name)),
            "refused": float(np.mean(odds[by == name] < gate.refuse_below)),
            "refused_or_warned": float(np.mean(odds[by == name] < gate.warn_below)),
        }
        for name in np.unique(by)
    }


def left_out_rates(
    train: Seen, validation: Seen, *, seed: int, strange: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | int]]:
    """False refusals of each source by a gate that was fitted, thresholds and all, without that source."""
    rates: dict[str, dict[str, float | int]] = {}
    sources = _sources(validation)
    if len(sources) == 1:
        return rates  # nothing would be left to fit the thresholds on
    for source in sources:
        own = train.sources == source  # turned ones as well: they would teach that it is not frontal
        left = validation.sources == source
        gate = fit_gate(train.only(~own), validation.only(~left), seed=seed, strange=strange)
        kept = validation.only(left & (validation.views == FRONTAL))
        rates |= refusal_rates(gate, kept, by=kept.sources)
    return rates


def crossed_odds(train: Seen, strange: Seen, *, seed: int, folds: int = 4) -> np.ndarray:
    """Log-odds of a frontal view of strange pictures (N,), each by a gate that has seen no version of it."""
    names = np.unique(strange.sources)
    odds = np.zeros(len(strange.sources))
    for fold in range(folds):
        left = np.isin(strange.sources, names[fold::folds])
        odds[left] = _fitted(train + strange.only(~left), seed=seed).frontal_log_odds(strange.only(left).features)
    return odds


def crossed_rates(gate: Gate, strange: Seen, odds: np.ndarray, *, by: np.ndarray) -> dict[str, dict[str, float | int]]:
    """Refusals of the pictures of `crossed_odds` in each group of `by` (N,); each picture as it came, once."""
    first = np.unique(strange.sources, return_index=True)[1]  # the first version is the picture as it came
    return _shares(gate, odds[first], by=by[first])


def kinds_of(others: Seen) -> np.ndarray:
    """What the pictures of `others_seen` are (N,): the name of what was made up, or a photograph."""
    return np.where(np.isin(others.sources, list(_MAKERS)), others.sources, "photograph")


def _linear(features: np.ndarray, truth: np.ndarray, *, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Softmax regression with weight decay, every class weighing alike: kernel (F, classes), bias (classes,)."""
    counts = np.bincount(truth, minlength=classes)
    weights = np.sqrt(len(truth) / (classes * np.maximum(counts, 1)))[truth]  # the root: rare classes, not all of it
    inverse_decay = 1 / (2 * _DECAY * len(truth))  # scikit-learn adds up what the decay was chosen for the mean of
    model = LogisticRegression(C=inverse_decay, max_iter=_ITERATIONS, random_state=seed)
    model.fit(features, truth, sample_weight=weights)
    kernel, bias = np.zeros((features.shape[1], classes)), np.full(classes, _NEVER)
    if len(model.classes_) == 2:  # one row of coefficients: the second class against the first
        sides = np.array([-0.5, 0.5])
        kernel[:, model.classes_], bias[model.classes_] = np.outer(model.coef_[0], sides), sides * model.intercept_[0]
    else:
        kernel[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return kernel.astype(np.float32), bias.astype(np.float32)


def _features(pictures: Iterable[np.ndarray], engine: Engine) -> np.ndarray:
    rows = []
    for pixels in pictures:
        network_input = engine.prepare(np.ascontiguousarray(pixels, np.float32))
        rows.append(gate_features(network_input, engine(network_input)))
        if len(rows) % 500 == 0:
            _LOG.info("gate: %d pictures seen", len(rows))
    return np.stack(rows)


def _strange(features: np.ndarray, views: Sequence[str], sources: Sequence[str]) -> Seen:
    return Seen(features, np.array(views), np.array(sources), np.full(len(features), -1))


def _part(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random part of a photograph, mirrored or made a negative now and then."""
    rows, columns = image.shape
    height, width = (int(rng.integers(min(_SMALLEST, side), side + 1)) for side in image.shape)
    top, left = int(rng.integers(0, rows - height + 1)), int(rng.integers(0, columns - width + 1))
    part = image[top : top + height, left : left + width]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    part = 1 - part if rng.random() < 0.15 else part
    return np.ascontiguousarray(part) ** np.float32(np.exp(rng.uniform(-0.5, 0.5)))


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Noise from white to cloudy."""
    white = rng.normal(size=(224, 224)).astype(np.float32)
    noise = cv2.GaussianBlur(white, (0, 0), float(np.exp(rng.uniform(-1, 4))))
    return np.asarray((noise - noise.min()) / max(float(np.ptp(noise)), 1e-6))


def _page(rng: np.random.Generator) -> np.ndarray:
    """Lines of letters, dark on light or light on dark."""
    page = np.full((320, 256), 235, np.uint8)
    size = float(rng.uniform(0.3, 0.9))
    for row in np.arange(12, 312, 30 * size):
        text = "".join(chr(int(c)) for c in rng.integers(33, 122, int(rng.integers(5, 60))))
        cv2.putText(
            page, text, (int(rng.integers(4, 30)), int(row)), cv2.FONT_HERSHEY_SIMPLEX, size, 20, 1, cv2.LINE_AA
        )
    page = page if rng.random() < 0.6 else 255 - page
    return page.astype(np.float32) / 255


def _window(rng: np.random.Generator) -> np.ndarray:
    """Boxes, bars and lettering, as on a screen."""
    screen = np.full((240, 360), int(rng.integers(0, 256)), np.uint8)
    for _ in range(int(rng.integers(5, 40))):
        corner = (int(rng.integers(0, 360)), int(rng.integers(0, 240)))
        other = (corner[0] + int(rng.integers(5, 160)), corner[1] + int(rng.integers(5, 60)))
        cv2.rectangle(screen, corner, other, int(rng.integers(0, 256)), -1 if rng.random() < 0.7 else 1)
        if rng.random() < 0.5:
            cv2.putText(screen, "File 12:40", corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, int(rng.integers(0, 256)), 1)
    return screen.astype(np.float32) / 255


def _shapes(rng: np.random.Generator) -> np.ndarray:
    """Soft ellipses on a gradient: dark ovals are not yet lungs."""
    first, last = rng.uniform(0, 1, 2)
    ramp = np.linspace(first, last, 224, dtype=np.float32)
    image = np.tile(ramp, (224, 1)) if rng.random() < 0.5 else np.tile(ramp[:, None], (1, 224))
    for _ in range(int(rng.integers(1, 6))):
        centre = tuple(int(v) for v in rng.integers(0, 224, 2))
        axes = tuple(int(v) for v in rng.integers(5, 100, 2))
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.random()), -1)
    return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 12)))


_MAKERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "noise": _noise,
    "page": _page,
    "window": _window,
    "shapes": _shapes,
}
