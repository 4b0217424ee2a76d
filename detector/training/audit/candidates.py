"""Candidates for the shipped network, and what each remedy of its training is worth: one table, by one small protocol.

Every candidate is trained for the same number of batches of the same pictures in the same order, and measured on the
validation split and on pairs of sources that a second training of it never saw. It is there to choose by; the
test split has no part in it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from detector.model.calibration import probabilities_of
from detector.run.files import write_json
from detector.schema import BINARY, COVID19, NORMAL, THREE_CLASS
from detector.statistics import merit
from detector.statistics.bootstrap import Resampling, Statistic
from detector.training.data.manifest import PNEUMONIAS, is_adult_opacity
from detector.training.fit.classifier import RANDOM, fit, load_inputs, predict_logits
from detector.training.fit.lung_focus import EVIDENCE, lung_cells, misleading_surroundings, outside_share, with_evidence
from detector.training.measure.cohort import truth_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras

    from detector.training.audit.leave_out import SourcePair, Trainings
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

_BATCH = 32
_PLAIN = {"lung_crop": False, "lung_weight": 0.0, "swap_probability": 0.0, "style": 0.0}


@dataclass(frozen=True)
class Candidate:
    """A network and its training.

    Attributes:
        words: what it is, for the table.
        changes: fields of `FitConfig`'s defaults, which are the shipped network's first training, that are different.
    """

    words: str
    changes: Mapping[str, Any] = field(default_factory=dict)


CANDIDATES: dict[str, Candidate] = {
    "original": Candidate(
        "The original's three units; whole picture",
        {"architecture": "original", "initial": RANDOM, "frozen_units": 0, **_PLAIN},
    ),
    "lite0": Candidate(
        "EfficientNet-Lite0 from ImageNet; whole picture", {"architecture": "lite0", "frozen_units": 0, **_PLAIN}
    ),
    "lite0_crop": Candidate(
        "EfficientNet-Lite0 from ImageNet; cut to the lungs",
        {"architecture": "lite0", "frozen_units": 0, **_PLAIN, "lung_crop": True},
    ),
    "detector": Candidate("The shipped network's first training: all remedies, three units frozen"),
    "without_lung_crop": Candidate("The first training, on whole pictures", {"lung_crop": False}),
    "without_lung_focus": Candidate(
        "The first training, evidence outside the lungs at no cost", {"lung_weight": 0.0, "swap_probability": 0.0}
    ),
    "without_style": Candidate("The first training, without random filters and mixed spectra", {"style": 0.0}),
    "nothing_frozen": Candidate("The first training, every unit trained", {"frozen_units": 0}),
    "earlier_tap": Candidate("The first training, features of unit 10 instead of 12", {"architecture": "earlier_tap"}),
    "hospital_offset": Candidate("The first training, offsets of hospitals dropped after it", {"hospital_offset": 0.1}),
    "without_pairs": Candidate("The first training, without pairs of one hospital", {"pair_weight": 0.0}),
    "more_pairs": Candidate("The first training, pairs of one hospital weighing three times", {"pair_weight": 1.5}),
    "without_average": Candidate("The first training, its last weights instead of their average", {"averaging": 0.0}),
    "crop_alone": Candidate(
        "The first training, every unit trained, no remedy but the cut to the lungs",
        {"frozen_units": 0, **_PLAIN, "lung_crop": True},
    ),
}


def compare_candidates(
    examples: Sequence[Example],
    trainings: Trainings,
    *,
    names: Sequence[str],
    pairs: Sequence[SourcePair],
    seeds: Sequence[int] = (),
) -> dict[str, Any]:
    """Train and measure candidates, and write ``candidates.json``; results of an earlier run are kept.

    Args:
        examples: with the splits ``train`` and ``val``.
        trainings: the protocol; each candidate gets a folder of its own below its folder.
        names: of `CANDIDATES`.
        pairs: of sources that a second training is made without.
        seeds: of further trainings on all sources: what differs less than they do is chance.

    Returns:
        What ``candidates.json`` holds: ``protocol``, and under ``candidates`` by name ``words``, ``changes``,
        ``weights`` (number), ``validation``, ``other_seeds`` (the same, by seed), ``left_out`` and ``own_source`` (each
        figure with its interval).

    Raises:
        KeyError: if there is no candidate of a name.
        OutputError: if the table can't be written.
    """
    path = trainings.out / "candidates.json"
    table = {"protocol": asdict(trainings.config), "candidates": {}}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        table["candidates"] = known["candidates"] if known["protocol"] == table["protocol"] else {}
    for name in names:
        candidate = CANDIDATES[name]
        own = replace(
            trainings,
            out=trainings.out / f"{name}-{trainings.config.batches}",
            config=replace(trainings.config, **candidate.changes),
        )
        table["candidates"][name] = {
            "words": candidate.words,
            "changes": dict(candidate.changes),
            **_on_validation(examples, own),
            "other_seeds": {str(seed): _on_validation(examples, _seeded(own, seed))["validation"] for seed in seeds},
            **_left_out({pair.name: own.run_pair(pair, examples) for pair in pairs}),
        }
        table["candidates"] = {
            known: table["candidates"][known] for known in CANDIDATES if known in table["candidates"]
        }
        write_json(path, table)
    return table


def comparison_figures(
    examples: Sequence[Example], logits: Mapping[str, np.ndarray], misled: np.ndarray, outside: np.ndarray
) -> dict[str, Statistic]:
    """What candidates are compared by.

    Args:
        examples: N pictures.
        logits: of both tasks, (N, 1) and (N, 3).
        misled: (N,) binary logit in misleading surroundings.
        outside: (N,) share of the squared evidence outside the lungs.
    """
    labels, sources = np.array([e.label for e in examples]), np.array([e.source for e in examples])
    covid = labels == COVID19
    opacity = np.array([is_adult_opacity(e) for e in examples])
    sick_of_nih = (sources == "nih") & (opacity | (labels == NORMAL))
    others_of_ieee = (sources == "ieee8023") & (covid | np.isin(labels, PNEUMONIAS))
    score = probabilities_of(BINARY, logits[BINARY.name].astype(float))[:, 0]
    against = covid | np.isin(labels, PNEUMONIAS)
    truth = truth_index(THREE_CLASS, labels)
    chances = probabilities_of(THREE_CLASS, logits[THREE_CLASS.name].astype(float))
    normal, right, three = chances[:, THREE_CLASS.classes.index(NORMAL)], chances.argmax(axis=1) == truth, truth >= 0
    return {
        "binary_auroc": Statistic(partial(merit.auroc, covid, score)),
        "auroc_covid19_against_other_pneumonias": Statistic.on(against, merit.auroc, covid, score),
        "auroc_covid19_against_adult_opacities": Statistic.on(covid | opacity, merit.auroc, covid, score),
        "auroc_opacity_against_normal_nih": Statistic.on(sick_of_nih, merit.auroc, opacity, 1 - normal),
        "auroc_covid19_against_other_pneumonias_ieee8023": Statistic.on(others_of_ieee, merit.auroc, covid, score),
        "three_class_macro_auroc": Statistic.on(three, merit.macro_auroc, truth, chances),
        "three_class_accuracy": Statistic.on(three, merit.share, right, share=True),
        "binary_auroc_in_misleading_surroundings": Statistic(partial(merit.auroc, covid, misled)),
        "evidence_in_lungs": Statistic.on(covid, merit.share, 1 - outside),
    }


def _seeded(trainings: Trainings, seed: int) -> Trainings:
    out = trainings.out.with_name(f"{trainings.out.name}-seed{seed}")
    return replace(trainings, out=out, config=replace(trainings.config, seed=seed))


def _on_validation(examples: Sequence[Example], trainings: Trainings) -> dict[str, Any]:
    """Train on all sources and measure; a result that is there already is read."""
    path = trainings.out / "result.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    train, validation = ([e for e in examples if e.split == split] for split in ("train", "val"))
    network = fit(
        train, validation, trainings.images, trainings.out, trainings.config, lungs=trainings.lungs, resume=True
    )
    inputs, fields = (
        load_inputs(validation, trainings.images, trainings.lungs, transform=part, cut=trainings.config.lung_crop)
        for part in (attrgetter("pixels"), attrgetter("lung_field"))
    )
    labels = np.array([e.label for e in validation])
    misled = misleading_surroundings(inputs, fields, labels == COVID19, np.random.default_rng(trainings.config.seed))
    measured = comparison_figures(
        validation,
        predict_logits(network, inputs),
        predict_logits(network, misled)[BINARY.name][:, 0],
        _outside(network, inputs, fields),
    )
    figures = Resampling([e.patient_group for e in validation]).records(measured)
    result = {"weights": network.count_params(), "validation": figures}
    write_json(path, result)
    _LOG.info("%s: %s", trainings.out.name, result["validation"])
    return result


def _outside(network: keras.Model, inputs: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Share of the squared evidence outside the lungs, (N,), of inputs (N, size, size, 1)."""
    both = with_evidence(network)
    parts = []
    for start in range(0, len(inputs), _BATCH):
        evidence = np.asarray(both.predict_on_batch(inputs[start : start + _BATCH])[EVIDENCE])
        cells = lung_cells(fields[start : start + _BATCH], evidence.shape[1])
        parts.append(ops.convert_to_numpy(outside_share(cells, evidence)))
    return np.concatenate(parts)


def _left_out(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """By pair: its AUROC, and that of its positive source's own pictures."""
    own = {name: result["own_source"] for name, result in results.items() if result.get("own_source")}
    return {
        "left_out": {name: _flat(result) for name, result in results.items()},
        "own_source": {name: _flat(result) for name, result in own.items()},
    }


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    return {**result["auroc"], "positives": result["positives"], "negatives": result["negatives"]}
