"""What ``python -m detector train`` does: fit, calibrate on validation, measure, write weights and card."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from detector import words
from detector.answers.answer import decide_all
from detector.errors import ManifestError, ModelError
from detector.model.calibration import BALANCED, Calibration, fit_band, fit_operating_points, fit_temperature, margins
from detector.model.card import DEFAULT_MODEL, GATE, LUNG_MODEL, ModelCard, load_card, read_card
from detector.model.engine import Engine
from detector.model.network import load_network
from detector.model.preprocess import INPUT_SIZE, LUNG_PREPROCESSING_ID, PREPROCESSING_ID
from detector.paths import MODELS
from detector.run.files import make_folder, write_json, write_whole
from detector.schema import BINARY, COVID19, NOT_COVID19, TASKS, THREE_CLASS
from detector.training.audit.candidates import compare_candidates
from detector.training.audit.leave_out import SourcePair, Trainings, protocol, source_pairs
from detector.training.data.manifest import read_manifest
from detector.training.data.views import LungMasks, find_lung_masks
from detector.training.fit.classifier import IMAGENET, RANDOM, FitConfig, fit, hospital_findings, make_repeatable
from detector.training.fit.convert import convert
from detector.training.fit.gate import (
    PER_CHANGE,
    PER_GROUP,
    crossed_odds,
    crossed_rates,
    fit_gate,
    frontal_seen,
    held_out_rates,
    kinds_of,
    left_out_rates,
    not_frontal_seen,
    others_seen,
    refusal_rates,
    save_gate,
    spread,
    turned_seen,
)
from detector.training.fit.lung_focus import segmenter
from detector.training.fit.lungs import (
    LungFitConfig,
    fit_lungs,
    measure_cover,
    measure_dice,
    with_masks,
)
from detector.training.measure.cohort import Answers, truth_index
from detector.training.measure.evaluate import answer_all, evaluate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

VERSION = "5"
_FIRST_WEIGHTS = {IMAGENET: "EfficientNet-Lite0, ImageNet", RANDOM: "random"}

LICENCE = (
    "For research only, non-commercial: the weights learnt from images whose licences include CC BY-NC-SA 4.0, "
    "and inherit the strictest of them."
)
_SCALE_QUANTILE = 0.5  # every second image reaches full colour somewhere; the others stay paler, as they should


def train_classifier(manifest: Path, images: Path, out: Path, settings: dict[str, Any], *, resume: bool) -> ModelCard:
    """Train the classifier and write ``detector.keras``, ``detector.tflite`` and ``detector.json`` to `out`.

    Calibration sees the validation split alone. The test split, where the manifest has one, is measured once, at the
    end, for the card.

    Raises:
        ManifestError: if the manifest can't be used, or its validation split lacks a class.
        OutputError: if `out` can't be written.
        ModelError: if `resume` finds the checkpoint of another run, or a network that the settings name can't be read.
    """
    make_repeatable()
    train, validation = (read_manifest(manifest, split=split) for split in ("train", "val"))
    if missing := set(THREE_CLASS.classes) - {example.label for example in validation}:
        raise ManifestError(f"The validation split has no images labelled {sorted(missing)}.")
    make_folder(out)
    config = FitConfig(**settings)
    pedigree = _pedigree(config)  # of the files as they are now: hours later they may be others
    lungs = _lung_masks([*train, *validation], images, out)
    network = fit(train, validation, images, out, config, lungs=lungs, resume=resume)
    network.compile()  # leaves the optimizer's state out of the file
    network.save(out / f"{DEFAULT_MODEL}.keras")
    (out / GATE).unlink(missing_ok=True)  # it was fitted to other weights
    for path in MODELS.glob(f"{LUNG_MODEL}.*"):  # the classifier is shown what the shipped lung fields find
        shutil.copy(path, out)
    card = _draft_card(out, config, {"images": _cohort(train), **pedigree})
    answers = answer_all(validation, images, Engine.load(folder=out, card=card))
    calibration = calibrate(answers)
    scale = {name: float(np.quantile(peaks, _SCALE_QUANTILE)) for name, peaks in answers.peaks.items()}
    return measure_card(replace(card, calibration=calibration, saliency_scale=scale), manifest, images, out)


def measure_card(card: ModelCard, manifest: Path, images: Path, folder: Path) -> ModelCard:
    """Evaluate the network in `folder` as the app will run it, and write its card with the figures.

    What else was measured of it, such as its maps, stays in the card.

    Raises:
        ManifestError: if an image can't be read.
        OutputError: if `folder` can't be written.
    """
    _write_card(card, folder)
    engine = Engine.load(folder=folder, card=card)
    cohorts = {split: [e for e in read_manifest(manifest) if e.split == split] for split in ("val", "test")}
    log = folder / "training_log.jsonl"
    performance = {
        split: evaluate(
            examples, images, engine, folder / f"evaluation_{split}",
            name=f"{split} split", training_log=log if log.exists() else None,
        )["overall"]
        for split, examples in cohorts.items()
        if examples
    }  # fmt: skip
    other = {name: figures for name, figures in card.performance.items() if name not in cohorts}
    card = replace(card, performance=performance | other)
    _write_card(card, folder)
    return card


def train_lungs(manifest: Path, images: Path, out: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Train the lung segmentation and write ``lungs.*``; a run takes minutes, so none resumes.

    The test split's masks are left out of the training and measured, by source and age group.

    Raises:
        ManifestError: if no row has a mask of the whole lung.
    """
    del resume
    make_repeatable()
    examples = read_manifest(manifest)
    make_folder(out)
    config = LungFitConfig(**settings)
    train, test = ([e for e in examples if (e.split == "test") is held_out] for held_out in (False, True))
    network = fit_lungs(train, images, config)
    network.compile()  # leaves the optimizer's state out of the file
    network.save(out / f"{LUNG_MODEL}.keras")
    described = asdict(config)
    if config.initial != RANDOM:
        described["initial"] = [_earlier(Path(config.initial))]
    card = {
        "name": LUNG_MODEL,
        "version": VERSION,
        "sha256": hashlib.sha256((out / f"{LUNG_MODEL}.keras").read_bytes()).hexdigest(),
        "tflite": convert(out, LUNG_MODEL),
        "preprocessing": LUNG_PREPROCESSING_ID,
        "weights": network.count_params(),
        "definition": "the whole lung, with what lies behind the heart and the diaphragm",
        "training": {"config": described, "images": len(with_masks(train)), "keras": keras.__version__},
        "dice": {"test": measure_dice(network, test, images)},
        "visible_lung_covered": asdict(measure_cover(network, examples, images)),
        "licence": LICENCE,
        "limits": list(words.LUNG_LIMITS),
    }
    write_json(out / f"{LUNG_MODEL}.json", card)


def train_gate(
    manifest: Path,
    images: Path,
    folder: Path,
    *,
    not_frontal: Path,
    others: Path,
    seed: int,
    held_out: Path | None = None,
) -> None:
    """Fit the gate of the classifier in `folder`, and measure that again with its gate.

    Writes ``gate.npz`` and the card beside the network.

    Args:
        manifest: frontal pictures; the training split is learnt from, the validation split sets the thresholds.
        images: folder that its paths are relative to.
        folder: of both networks and their cards.
        not_frontal: table of side views, CT slices and limbs, with the columns ``image`` and ``kind``.
        others: folder of photographs and pages.
        seed: of all that is random.
        held_out: folder of other photographs, to measure by alone.

    Raises:
        ManifestError: if a table or a picture can't be read.
        ModelError: if the folder holds no classifier.
    """
    card = replace(read_card(folder / f"{DEFAULT_MODEL}.json"), gate={})
    engine = Engine.load(folder=folder, card=card)
    splits = {split: read_manifest(manifest, split=split) for split in ("train", "val")}
    frontal = spread(splits["train"], PER_GROUP, seed=seed)
    turned = spread(splits["train"], PER_CHANGE // 6, seed=seed + 1)
    train = frontal_seen(frontal, images, engine, seed=seed, changed=True) + turned_seen(turned, images, engine)
    views, pictures = not_frontal_seen(not_frontal, engine, seed=seed), others_seen(others, engine, seed=seed)
    strange, kinds = views + pictures, np.concatenate([views.views, kinds_of(pictures)])
    frontal_val = frontal_seen(splits["val"], images, engine, seed=seed, changed=False)
    turned_val = turned_seen(spread(splits["val"], PER_CHANGE // 12, seed=seed), images, engine)
    validation = frontal_val + turned_val
    odds = crossed_odds(train, strange, seed=seed)
    by_kind = {str(kind): odds[kinds == kind] for kind in np.unique(kinds)}
    gate = fit_gate(train + strange, validation, seed=seed, strange=by_kind)
    entry = save_gate(gate, folder)
    entry["measured"] = {
        "false_refusals": refusal_rates(gate, frontal_val, by=frontal_val.sources),
        "false_refusals_of_a_source_left_out": left_out_rates(train + strange, validation, seed=seed, strange=by_kind),
        "turned_and_inverted": refusal_rates(gate, turned_val, by=turned_val.views),
        "not_frontal_cross_validated": crossed_rates(gate, strange, odds, by=kinds),
        "held_out": held_out_rates(gate, held_out, engine, seed=seed + 2),
    }
    measure_card(replace(card, gate=entry), manifest, images, folder)


def audit_trainings(manifest: Path, images: Path, out: Path, *, batches: int) -> Trainings:
    """The trainings of an audit: the shipped network's first training, shorter.

    Raises:
        ManifestError: if the manifest or a picture can't be read.
        OutputError: if `out` can't be written.
    """
    return _trainings(read_manifest(manifest), images, out, batches=batches)


def candidates(
    manifest: Path,
    images: Path,
    out: Path,
    *,
    batches: int,
    names: Sequence[str],
    pairs: Sequence[tuple[str, str]] | None = None,
    seeds: Sequence[int] = (),
) -> dict[str, Any]:
    """Train candidates for the shipped network by one small protocol and compare them; the test split stays unread.

    Args:
        manifest: with the splits ``train`` and ``val``.
        images: folder that its paths are relative to.
        out: folder of ``candidates.json`` and the runs, which are gone on from.
        batches: length of each training.
        names: of `CANDIDATES`.
        pairs: of sources that a second training is made without; all where None.
        seeds: of further trainings of each on all sources.

    Raises:
        ManifestError: if the manifest or a picture can't be read, or a pair can't be left out of it.
        OutputError: if `out` can't be written.
    """
    examples = [e for e in read_manifest(manifest) if e.split in {"train", "val"}]
    possible = source_pairs(examples)
    chosen = possible if pairs is None else [SourcePair(*pair) for pair in pairs]
    if impossible := [pair.name for pair in chosen if pair not in possible]:
        raise ManifestError(f"{impossible} can't be left out; what can: {[pair.name for pair in possible]}.")
    trainings = _trainings(examples, images, out, batches=batches)
    return compare_candidates(examples, trainings, names=names, pairs=chosen, seeds=seeds)


def _trainings(examples: Sequence[Example], images: Path, out: Path, *, batches: int) -> Trainings:
    make_repeatable()
    make_folder(out)
    return Trainings(images, out, protocol(FitConfig(), batches=batches), _lung_masks(examples, images, out))


def _lung_masks(examples: Sequence[Example], images: Path, out: Path) -> LungMasks:
    """The shipped lung fields of pictures, kept in `out`."""
    path = MODELS / f"{LUNG_MODEL}.keras"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    segment = segmenter(load_network(path, sha256))
    return find_lung_masks(examples, images, segment, cache=out / "lung_masks.npz", lung_model=sha256)


def calibrate(answers: Answers) -> Calibration:
    """Fit temperatures, operating points and indeterminate bands, in that order, on the validation split.

    Both bands by one rule (`fit_band`), each on the rows that its question counts, among the images on which the tasks
    do not contradict each other.
    """
    three = answers.only(np.isin(answers.labels, THREE_CLASS.classes))
    covid = answers.labels == COVID19
    truths = {BINARY.name: np.where(covid, 0, 1), THREE_CLASS.name: truth_index(THREE_CLASS, three.labels)}
    logits = {BINARY.name: answers.logits[BINARY.name], THREE_CLASS.name: three.logits[THREE_CLASS.name]}
    temperatures = {t.name: fit_temperature(t, logits[t.name], truths[t.name]) for t in TASKS}
    scaled = Calibration(temperatures, {}, dict.fromkeys(temperatures, 0.0))
    score = scaled.probabilities(BINARY, answers.logits[BINARY.name])[:, 0]
    points = fit_operating_points(covid, score, cohort=f"validation, n = {covid.size}")
    return Calibration(temperatures, points, _bands(answers, replace(scaled, operating_points=points)))


def _bands(answers: Answers, calibration: Calibration) -> dict[str, float]:
    decided = decide_all(answers.logits, calibration)
    agree = ~decided[BINARY.name].disagrees
    truth = {BINARY.name: np.where(answers.labels == COVID19, COVID19, NOT_COVID19), THREE_CLASS.name: answers.labels}
    groups, bands = hospital_findings(answers.examples), {}
    for task in TASKS:
        found = decided[task.name]
        threshold = calibration.operating_points[BALANCED].threshold if task is BINARY else None
        counted = agree & np.isin(truth[task.name], task.classes)
        margin, wrong = margins(task, found.probabilities, threshold), found.forced != truth[task.name]
        bands[task.name] = fit_band(margin[counted], wrong[counted], groups[counted])
    return bands


def _pedigree(config: FitConfig) -> dict[str, Any]:
    """The networks that a run goes on from, each described the first time that it is named.

    Raises:
        ModelError: if one of them can't be read.
    """
    first = _FIRST_WEIGHTS.get(config.initial) if isinstance(config.initial, str) else None
    earlier = [] if first else [_earlier(Path(path)) for path in np.atleast_1d(config.initial)]
    return _each_told_once({"initial_weights": first or earlier})


def _draft_card(out: Path, config: FitConfig, origin: dict[str, Any]) -> ModelCard:
    """A card that lets the network be loaded before anything is measured."""
    went_on = isinstance(origin["initial_weights"], list)
    card = ModelCard(
        name=DEFAULT_MODEL,
        version=VERSION,
        sha256=hashlib.sha256((out / f"{DEFAULT_MODEL}.keras").read_bytes()).hexdigest(),
        input_size=INPUT_SIZE,
        preprocessing=PREPROCESSING_ID,
        calibration=Calibration({t.name: 1.0 for t in TASKS}, {}, {t.name: 0.0 for t in TASKS}),
        saliency_scale={t.name: 1.0 for t in TASKS},
        training={
            "config": asdict(config) | ({"initial": "earlier networks"} if went_on else {}),
            **origin,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        performance={},
        licence=LICENCE,
        limits=words.LIMITS,
        tflite=convert(out, DEFAULT_MODEL),
    )
    _write_card(card, out)
    return card


def _earlier(path: Path) -> dict[str, Any]:
    """Which network a run went on from, and how that was trained, if its card says it."""
    try:
        found = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
    card = path.with_suffix(".json")
    return found | ({"training": load_card(card)["training"]} if card.exists() else {})


def _each_told_once(training: dict[str, Any], told: set[str] | None = None) -> dict[str, Any]:
    """The same record, where a network is described the first time that it is named: one may be in many pedigrees."""
    told = set() if told is None else told

    def tell(network: dict[str, Any]) -> dict[str, Any]:
        if "training" not in network or network["sha256"] in told:
            return {"sha256": network["sha256"]}
        told.add(network["sha256"])
        return network | {"training": _each_told_once(network["training"], told)}

    return {
        name: [tell(network) for network in value] if isinstance(value, list) else value
        for name, value in training.items()
    }


def _write_card(card: ModelCard, out: Path) -> None:
    write_whole(out / f"{card.name}.json", card.to_json().encode())


def _cohort(examples: Sequence[Example]) -> dict[str, int]:
    names, counts = np.unique([f"{e.source}/{e.label}" for e in examples], return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
