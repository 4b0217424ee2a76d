"""The trainings that an audit asks for, by a small protocol: on blacked-out lungs, and without a pair of sources.

Leave-one-source-pair-out: a network is trained without a source of COVID-19 and a source of other pictures, thresholds
are fixed on the validation pictures that remain, and the pair that was left out is measured: the sick of the one, the
others of the other. What was learnt about collections and not about lungs fails here.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.model.calibration import fit_operating_points, probabilities_of
from detector.run.files import write_json
from detector.schema import BINARY, COVID19
from detector.statistics import merit
from detector.statistics.bootstrap import Resampling, Statistic
from detector.training.audit.baselines import Scores
from detector.training.fit.classifier import FitConfig, fit, load_inputs, predict_logits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras

    from detector.schema import NetworkInput
    from detector.training.audit.baselines import Predictor
    from detector.training.data.manifest import Example
    from detector.training.data.views import LungMasks

_LOG = logging.getLogger(__name__)

_FEWEST = 10  # images of each class that a source needs to be judged alone
_MOST = 500  # pictures of one side that are measured: more would only take time


@dataclass(frozen=True)
class SourcePair:
    """A positive and a negative source that are left out of training together, and tested on.

    Attributes:
        positive: its COVID-19 images are the positives.
        negative: its other images are the negatives.
    """

    positive: str
    negative: str

    @property
    def name(self) -> str:
        """Both, for the record."""
        return f"{self.positive} against {self.negative}"


def source_pairs(examples: Sequence[Example]) -> list[SourcePair]:
    """Pairs that leave both classes to train on, and have both to test on."""
    sources = sorted({e.source for e in examples})
    pairs = [SourcePair(*pair) for pair in product(sources, sources) if pair[0] != pair[1]]
    return [pair for pair in pairs if all(has_both(part) for part in parted(examples, pair))]


def parted(examples: Sequence[Example], pair: SourcePair) -> tuple[list[Example], list[Example]]:
    """Training and test examples of a pair."""
    train = [e for e in examples if e.source not in {pair.positive, pair.negative}]
    test = [
        e
        for e in examples
        if (e.source == pair.positive and e.label == COVID19) or (e.source == pair.negative and e.label != COVID19)
    ]
    return train, test


def has_both(examples: Sequence[Example]) -> bool:
    """Whether there are enough images of COVID-19 and of others to be judged by."""
    positives = sum(e.label == COVID19 for e in examples)
    return min(positives, len(examples) - positives) >= _FEWEST


@dataclass(frozen=True, eq=False)
class Trainings:
    """How networks are trained for an audit.

    Attributes:
        images: folder that the examples' paths are relative to.
        out: folder of the runs; a finished run is read and not made again.
        config: the protocol, see `protocol`.
        lungs: the lung fields of all pictures.
    """

    images: Path
    out: Path
    config: FitConfig
    lungs: LungMasks

    def without_lungs(self, examples: Sequence[Example], change: Callable[[NetworkInput], NetworkInput]) -> Predictor:
        """Train on changed inputs of the splits ``train`` and ``val``; the predictor changes what it is asked alike."""

        def pixels(view: NetworkInput) -> np.ndarray:
            return change(view).pixels

        train, validation = ([e for e in examples if e.split == split] for split in ("train", "val"))
        config = replace(self.config, lung_weight=0.0)  # where there are no lungs, nothing can be asked of them
        network = fit(
            train, validation, self.images, self.out / "lungs_blacked_out", config,
            lungs=self.lungs, resume=True, transform=pixels,
        )  # fmt: skip
        return lambda tested: Scores.of_logits(
            predict_logits(network, load_inputs(tested, self.images, self.lungs, transform=pixels))
        )

    def _read_plain(self, examples: Sequence[Example]) -> np.ndarray:
        return load_inputs(examples, self.images, self.lungs, cut=self.config.lung_crop)

    def left_out(self, pairs: Sequence[SourcePair], examples: Sequence[Example]) -> dict[str, Any]:
        """Train without each pair and sum up; see `summary`."""
        return summary([self.run_pair(pair, examples) for pair in pairs])

    def run_pair(self, pair: SourcePair, examples: Sequence[Example]) -> dict[str, Any]:
        """Train without a pair and measure it; a result that is there already is read.

        Returns:
            AUROC with its interval, sensitivity and specificity at the operating points of the remaining validation
            pictures, and the numbers that they rest on. Under ``own_source`` the AUROC of the positive source's own
            pictures: sick and others of two collections can be told apart by the collection, these can't.
        """
        folder = self.out / f"{pair.positive}-{pair.negative}"
        path = folder / "result.json"
        if path.exists() and "own_source" in (known := json.loads(path.read_text(encoding="utf-8"))):
            return known  # type: ignore[no-any-return]
        kept, tested = parted(examples, pair)
        train, validation = ([e for e in kept if e.split == split] for split in ("train", "val"))
        network = fit(train, validation, self.images, folder, self.config, lungs=self.lungs, resume=True)
        left_out = _sample(tested, np.random.default_rng(self.config.seed))
        own = _sample([e for e in examples if e.source == pair.positive], np.random.default_rng(self.config.seed))
        result = {
            "pair": asdict(pair),
            **measure_left_out(network, validation, left_out, self._read_plain),
            "own_source": measure_own(network, own, self._read_plain),
        }
        write_json(path, result)
        _LOG.info("%s: AUROC %s", pair.name, result["auroc"])
        return result


def measure_left_out(
    network: keras.Model,
    validation: Sequence[Example],
    left_out: Sequence[Example],
    read: Callable[[Sequence[Example]], np.ndarray],
) -> dict[str, Any]:
    """Fix the operating points on `validation` and report `left_out`, both as `read` gives them to the network."""
    known, unknown = (_scores(network, read(part)) for part in (validation, left_out))
    points = fit_operating_points(_covid(validation), known, cohort=f"validation, n = {len(validation)}")
    labels = _covid(left_out)
    return {
        **_area(left_out, unknown),
        "operating_points": {name: _at(point.threshold, labels, unknown) for name, point in points.items()},
    }


def measure_own(
    network: keras.Model, own: Sequence[Example], read: Callable[[Sequence[Example]], np.ndarray]
) -> dict[str, Any] | None:
    """AUROC among the pictures of one source that the network has never seen; None where they have one class."""
    labels = _covid(own)
    if labels.all() or not labels.any():
        return None
    return _area(own, _scores(network, read(own)))


def _area(examples: Sequence[Example], scores: np.ndarray) -> dict[str, Any]:
    labels = _covid(examples)
    area = Statistic(partial(merit.auroc, labels, scores))
    estimate = Resampling([e.patient_group for e in examples]).estimate(area)
    return {"auroc": asdict(estimate), "positives": int(labels.sum()), "negatives": int((~labels).sum())}


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean AUROC of the pairs with the lowest and highest, and the likelihood ratios of all pairs taken together."""
    values = [result["auroc"]["value"] for result in results]
    names = results[0]["operating_points"]
    cohort = f"leave-one-source-pair-out, {len(results)} pairs, networks of the small protocol"
    return {
        "mean_auroc": float(np.mean(values)),
        "lowest_auroc": min(values),
        "highest_auroc": max(values),
        "pairs": list(results),
        "likelihood_ratios": {
            name: {**_likelihood_ratios([r["operating_points"][name] for r in results]), "cohort": cohort}
            for name in names
        },
    }


def protocol(config: FitConfig, *, batches: int) -> FitConfig:
    """The small protocol: the same training, shorter, with its end as its one checkpoint."""
    return replace(config, batches=batches, validate_every=batches)


def _likelihood_ratios(counts: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Positive and negative likelihood ratio with 95 % intervals, each pair weighing alike.

    The interval is that of a mean of log-ratios over the pairs: it tells how much hospitals differ, which is more than
    how much patients do.
    """
    rows = np.array(
        [[c["true_positives"], c["false_negatives"], c["false_positives"], c["true_negatives"]] for c in counts]
    )
    tp, fn, fp, tn = (rows + 0.5).T  # Haldane's half: a pair without an error has no infinite ratio
    sensitivity, fall_out = tp / (tp + fn), fp / (fp + tn)
    logs = {"positive": np.log(sensitivity / fall_out), "negative": np.log((1 - sensitivity) / (1 - fall_out))}
    return {name: _mean_ratio(values) for name, values in logs.items()}


def _mean_ratio(logs: np.ndarray) -> dict[str, float | None]:
    found: dict[str, float | None] = {"value": float(np.exp(logs.mean())), "ci_low": None, "ci_high": None}
    if len(logs) > 1:
        spread = 1.96 * logs.std(ddof=1) / np.sqrt(len(logs))
        found |= {"ci_low": float(np.exp(logs.mean() - spread)), "ci_high": float(np.exp(logs.mean() + spread))}
    return found


def _at(threshold: float, labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    called = scores >= threshold
    return {
        "threshold": threshold,
        "sensitivity": float(called[labels].mean()),
        "specificity": float(1 - called[~labels].mean()),
        "true_positives": int((called & labels).sum()),
        "false_negatives": int((~called & labels).sum()),
        "false_positives": int((called & ~labels).sum()),
        "true_negatives": int((~called & ~labels).sum()),
    }


def _scores(network: keras.Model, inputs: np.ndarray) -> np.ndarray:
    logits = predict_logits(network, inputs)[BINARY.name]
    return probabilities_of(BINARY, logits.astype(float))[:, 0]


def _covid(examples: Sequence[Example]) -> np.ndarray:
    return np.array([e.label == COVID19 for e in examples])


def _sample(examples: Sequence[Example], rng: np.random.Generator) -> list[Example]:
    """At most `_MOST` pictures of COVID-19 and as many others."""
    sides = ([e for e in examples if (e.label == COVID19) is kind] for kind in (True, False))
    return [side[i] for side in sides for i in rng.permutation(len(side))[:_MOST]]
