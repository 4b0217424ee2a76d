"""The collections in numbers, for `detector.answers.likeness`: made of the training split, tried on the others.

The limits come from the validation split, the false alarms and what is said of a collection that was left out from the
test split, whose patients took part in neither.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.answers.likeness import EQUALISED, LARGEST, LEAST, Collections
from detector.schema import COVID19, NORMAL
from detector.statistics.intervals import exact_share
from detector.statistics.mixture import fourier_features, nearest_mixture
from detector.training.measure.cohort import one_a_patient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.training.audit.observed import Observed
    from detector.training.data.manifest import Example

SIZES = (LEAST, 30, 50, LARGEST)
DRAWS = 400
LEVEL = 0.05  # of false alarms
_DIRECTIONS = 24  # main directions of the features that are kept
_FEATURES = 512  # random Fourier features
_LEAST_OF_A_GROUP = 20  # pictures that a group's mean rests on
_LEAST_OF_AN_ORIGIN = 40  # patients that batches can be drawn from
_ROOM = 1.5  # times a batch that an origin must have, or every batch would be nearly the same
_PAIRS = 2000  # of pictures, for the kernel's width
_SEED = 20261130
_MIX = "a mix of all"


def group_of(example: Example) -> str:
    """Collection and kind of finding: patients of one kind are compared with their like."""
    kind = example.label if example.label in {NORMAL, COVID19} else "pneumonia"
    return f"{example.source}, {kind}"


def summarise(train: Observed, signs: dict[str, tuple[float, ...]], weights: str) -> Collections:
    """Sum up the collections; `limits` are still infinite.

    Args:
        train: what the network saw of training pictures, about as many of each group.
        signs: of the collections, see `signs_of`.
        weights: SHA-256 of the network.
    """
    rng = np.random.default_rng(_SEED)
    names = np.array([group_of(example) for example in train.examples])
    groups = [str(name) for name in np.unique(names) if (names == name).sum() >= _LEAST_OF_A_GROUP]
    features = train.features[np.isin(names, groups)].astype(float)
    names = names[np.isin(names, groups)]
    centre = features.mean(axis=0)
    _, spread, directions = np.linalg.svd(features - centre, full_matrices=False)
    whitened = directions[:_DIRECTIONS].T / (spread[:_DIRECTIONS] / np.sqrt(len(features)))
    points = (features - centre) @ whitened
    first, second = rng.integers(0, len(points), (2, _PAIRS))
    width = float(np.median(np.linalg.norm(points[first] - points[second], axis=1)))
    frequencies = rng.normal(size=(_DIRECTIONS, _FEATURES))
    phases = rng.uniform(0, 2 * np.pi, _FEATURES)
    embedded = fourier_features(points / width, frequencies, phases)
    return Collections(
        weights=weights,
        centre=centre,
        projection=whitened / width,
        frequencies=frequencies,
        phases=phases,
        means=np.array([embedded[names == name].mean(axis=0) for name in groups]),
        groups=tuple(name.partition(",")[0] for name in groups),
        sizes=np.array(SIZES, float),
        limits=np.full(len(SIZES), np.inf),
        signs=signs,
        checked={},
    )


def with_limits(collections: Collections, held_out: Observed) -> Collections:
    """Set the limits, of each size the highest that any origin of batches asks for at it or at a smaller one.

    Fewer origins have enough pictures for a larger batch, which is no reason to expect less of it.
    """
    batches = Batches(collections, held_out)
    limits = []
    for size in SIZES:
        ratios = [batches.ratios(origin, size) for origin in batches.origins(size)]
        limits.append(max(float(np.quantile(found, 1 - LEVEL)) for found in ratios))
    return replace(collections, limits=np.maximum.accumulate(limits))


class Batches:
    """Hospitals that might be: batches of one collection, with its findings in any shares, or of a mix of all.

    Args:
        collections: to compare them with.
        observed: whose pictures they are made of; one a patient takes part.
    """

    def __init__(self, collections: Collections, observed: Observed) -> None:
        self._collections = collections
        self._rng = np.random.default_rng(_SEED)
        one = observed.only(one_a_patient([e.patient_group for e in observed.examples], self._rng))
        self._embedded = collections.embedded(one.features.astype(float))
        self._sources = np.array([example.source for example in one.examples])
        self._kinds = np.array([group_of(example) for example in one.examples])

    def origins(self, size: int) -> list[str]:
        """Collections that a batch can be drawn from, and the mix."""
        counts = {str(name): int((self._sources == name).sum()) for name in np.unique(self._sources)}
        enough = max(_LEAST_OF_AN_ORIGIN, _ROOM * size)
        return [*(name for name, count in counts.items() if count >= enough), _MIX]

    def ratios(self, origin: str, size: int) -> np.ndarray:
        """Ratios (DRAWS,) of batches of one origin."""
        members = np.flatnonzero((self._sources == origin) | (origin == _MIX))
        means = self._collections.means
        batches = (self._embedded[self._drawn(members, size)] for _ in range(DRAWS))
        return np.array([nearest_mixture(batch, means).ratio for batch in batches])

    def _drawn(self, members: np.ndarray, size: int) -> np.ndarray:
        """A batch whose kinds of findings have random shares in every other draw."""
        names, kinds = np.unique(self._kinds[members], return_inverse=True)
        shares = np.bincount(kinds) / len(kinds)
        if self._rng.random() < 0.5:
            shares = 0.5 * shares + 0.5 * self._rng.dirichlet(np.ones(len(names)))
        weights = (shares / np.bincount(kinds))[kinds]
        return self._rng.choice(members, size, replace=False, p=weights / weights.sum())


def check(
    collections: Collections, *, train: Observed, val: Observed, test: Observed, external: Observed | None = None
) -> dict[str, Any]:
    """What the test says of batches that took no part in it.

    Returns:
        ``false_alarms``: size to origin to the share of batches that are called different, and ``all`` of them;
        ``left_out``: collection to size to the share, by a summary without that collection, of its batches;
        ``external``: the same for hospitals that nothing was learnt from.
    """
    found: dict[str, Any] = {"level": LEVEL, "draws": DRAWS, "false_alarms": _flagged(collections, test)}
    found["left_out"] = {}
    for name in dict.fromkeys(collections.groups):
        others = train.only(np.array([example.source != name for example in train.examples]))
        rest = val.only(np.array([example.source != name for example in val.examples]))
        without = with_limits(summarise(others, dict(collections.signs), collections.weights), rest)
        of_it = [part.only(np.array([e.source == name for e in part.examples])) for part in (val, test)]
        found["left_out"][name] = _flagged(without, *of_it, mixed=False)
    if external is not None:
        found["external"] = _flagged(collections, external, mixed=False)
    return found


def _flagged(collections: Collections, *observed: Observed, mixed: bool = True) -> dict[str, Any]:
    batches = Batches(collections, _joined(observed))
    found: dict[str, Any] = {}
    for size in SIZES:
        origins = [origin for origin in batches.origins(size) if mixed or origin != _MIX]
        calls = {origin: batches.ratios(origin, size) > collections.limit(size) for origin in origins}
        if calls:
            calls["all"] = np.concatenate(list(calls.values()))
        found[str(size)] = {origin: exact_share(hits) for origin, hits in calls.items()}
    return found


def _joined(parts: Sequence[Observed]) -> Observed:
    first = parts[0]
    return type(first)(
        tuple(example for part in parts for example in part.examples),
        {name: np.concatenate([part.logits[name] for part in parts]) for name in first.logits},
        np.concatenate([part.features for part in parts]),
        {name: np.concatenate([part.signs[name] for part in parts]) for name in first.signs},
    )


def signs_of(train: Observed, manifest: Path) -> dict[str, tuple[float, ...]]:
    """Signs of acquisition in the collections, each collection counted alike.

    View, age and original size are those of the manifest, whose pictures came without headers and reduced.
    """
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    known = [rows[example.image] for example in train.examples]
    views = [row["view"] for row in known if row.get("view")]
    ages = [row["age_group"] for row in known if row.get("age_group")]
    sides = [max(int(row["original_height"]), int(row["original_width"])) for row in known if row.get("original_width")]
    found: dict[str, tuple[float, ...]] = {
        "ap": (sum(view.upper().startswith("AP") for view in views), len(views)),
        "children": (ages.count("paediatric"), len(ages)),
        "equalised": (int((train.signs["unevenness"] < EQUALISED).sum()), len(train.examples)),
        "longer_side": _middle(np.array(sides)),
    }
    return found | {name: _middle(train.signs[name]) for name in ("grey", "spread")}


def _middle(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, [0.05, 0.5, 0.95]))
