"""Measures the shipped program on labelled X-rays: the same `analyse` that a clinician's upload goes through."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.calibration import BALANCED, Calibration, decide, margins
from detector.errors import ManifestError, OutputError, RejectedError
from detector.pipeline import analyse
from detector.schema import BINARY, COVID19, TASKS, THREE_CLASS
from detector.training.manifest import LABELS, Example, read_manifest
from detector.training.metrics import (
    Estimate,
    auroc,
    average_precision,
    bootstrap,
    brier_score,
    expected_calibration_error,
    macro_auroc,
    sensitivity,
    specificity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from detector.classifier import Classifier
    from detector.schema import Analysis

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network said about each analysed image of a cohort.

    Attributes:
        examples: the analysed images, in order.
        logits: task name to (N, logits) float64.
        peaks: task name to (N,), the strongest evidence of any class anywhere in the image, in logit units.
        rejected: path and code of every refused image; they count in no figure.
    """

    examples: tuple[Example, ...]
    logits: dict[str, np.ndarray]
    peaks: dict[str, np.ndarray]
    rejected: tuple[tuple[str, str], ...]

    @property
    def labels(self) -> np.ndarray:
        """(N,) label of each image."""
        return np.array([example.label for example in self.examples])

    @property
    def groups(self) -> list[str]:
        """Patient group of each image: the unit of the bootstrap."""
        return [example.patient_group for example in self.examples]

    def only(self, keep: np.ndarray) -> Answers:
        """The images where `keep` (N,) is true."""
        index = np.flatnonzero(keep)
        return Answers(
            tuple(self.examples[i] for i in index),
            {name: values[index] for name, values in self.logits.items()},
            {name: values[index] for name, values in self.peaks.items()},
            self.rejected,
        )


def labelled_folder(folder: Path) -> list[Example]:
    """Examples of a folder that has a sub-folder for each label, e.g. ``covid19/`` and ``normal/``.

    Raises:
        ManifestError: if no sub-folder is named as a label.
    """
    found = [
        Example(image=str(path.relative_to(folder)), label=label, patient_group=str(path.relative_to(folder)))
        for label in LABELS
        for path in sorted((folder / label).rglob("*"))
        if path.is_file()
    ]
    if not found:
        raise ManifestError(f"{folder} has no images below a sub-folder named as a label: {', '.join(LABELS)}.")
    return found


def labelled_manifest(path: Path, split: str | None) -> list[Example]:
    """Rows of a manifest: those of `split`; by default the test split, or all where the manifest has no splits."""
    examples = read_manifest(path)
    if split is None:
        split = "test" if any(e.split for e in examples) else ""
    return read_manifest(path, split=split) if split else examples


def evaluate(examples: Sequence[Example], images: Path, classifier: Classifier, out: Path) -> dict[str, Any]:
    """Measure the network and write ``metrics.json`` and ``predictions.csv``.

    Args:
        examples: labelled images.
        images: folder that their paths are relative to.
        classifier: the network.
        out: folder to write to.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        OutputError: if the folder can't be written.
        ManifestError: if an image does not exist.
    """
    make_folder(out)  # before the hours that the images may take
    answers = answer_all(examples, images, classifier)
    metrics = {
        "model": asdict(classifier.card.info),
        "images": len(examples),
        "rejected": [{"image": image, "code": code} for image, code in answers.rejected],
        "overall": measure(answers, classifier.card.calibration),
        "by_source": {
            source: measure(answers.only(_sources(answers) == source), classifier.card.calibration)
            for source in sorted(set(_sources(answers)))
        },
    }
    try:
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        _write_predictions(answers, classifier.card.calibration, out / "predictions.csv")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
    return metrics


def answer_all(examples: Iterable[Example], images: Path, classifier: Classifier) -> Answers:
    """Analyse every image; the refused ones are kept apart.

    Raises:
        ManifestError: if an image does not exist.
    """
    analysed, outputs, rejected = [], [], []
    for number, example in enumerate(examples, start=1):
        try:
            outputs.append(_kept(analyse((images / example.image).read_bytes(), classifier)))
            analysed.append(example)
        except OSError as error:
            raise ManifestError(f"{images / example.image} cannot be read: {error}.") from error
        except RejectedError as error:
            rejected.append((example.image, error.code))
        if number % 200 == 0:
            _LOG.info("analysed %d images", number)
    return Answers(
        tuple(analysed),
        {t.name: np.array([logits[t.name] for logits, _ in outputs], float).reshape(-1, t.logits) for t in TASKS},
        {t.name: np.array([peaks[t.name] for _, peaks in outputs], float) for t in TASKS},
        tuple(rejected),
    )


def _kept(analysis: Analysis) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Logits, and the strongest evidence anywhere: the pixels of a thousand images would fill the memory."""
    return dict(analysis.logits), {name: float(np.abs(cams).max()) for name, cams in analysis.cams.items()}


def measure(answers: Answers, calibration: Calibration) -> dict[str, dict[str, Any]]:
    """Every figure of a cohort with its interval, by name; a figure that is not defined is null with the reason."""
    three = answers.only(np.isin(answers.labels, THREE_CLASS.classes))
    return {
        **_estimates("binary", answers, _binary_measures(answers, calibration)),
        **_estimates("three_class", three, _three_class_measures(three, calibration)),
    }


def truth_index(answers: Answers) -> np.ndarray:
    """(N,) index of the true class among the three."""
    return np.array([THREE_CLASS.classes.index(label) for label in answers.labels], int)


def _estimates(
    prefix: str, answers: Answers, measures: dict[str, Callable[[np.ndarray], float | None]]
) -> dict[str, dict[str, Any]]:
    if not answers.examples:
        nothing = asdict(Estimate(None, None, None, 0, "no images of these labels"))
        return {f"{prefix}_{name}": nothing for name in measures}
    return {f"{prefix}_{name}": asdict(bootstrap(figure, answers.groups)) for name, figure in measures.items()}


def _binary_measures(answers: Answers, calibration: Calibration) -> dict[str, Callable[[np.ndarray], float | None]]:
    covid = answers.labels == COVID19
    probability = calibration.probabilities(BINARY, answers.logits[BINARY.name])
    score = probability[:, 0]
    measures: dict[str, Callable[[np.ndarray], float | None]] = {
        "auroc": lambda i: auroc(covid[i], score[i]),
        "auprc": lambda i: average_precision(covid[i], score[i]),
        "brier_score": lambda i: brier_score(covid[i], score[i]),
        "ece": lambda i: expected_calibration_error(covid[i], score[i]),
    }
    for name, point in calibration.operating_points.items():
        called = score >= point.threshold
        measures[f"{name}_sensitivity"] = lambda i, called=called: sensitivity(covid[i], called[i])
        measures[f"{name}_specificity"] = lambda i, called=called: specificity(covid[i], called[i])
    threshold = calibration.operating_points[BALANCED].threshold
    right = (decide(BINARY, probability, threshold) == COVID19) == covid
    answered = margins(BINARY, probability, threshold) >= calibration.bands[BINARY.name]
    return {**measures, **_coverage_measures(right, answered)}


def _three_class_measures(
    answers: Answers, calibration: Calibration
) -> dict[str, Callable[[np.ndarray], float | None]]:
    truth = truth_index(answers)
    probability = calibration.probabilities(THREE_CLASS, answers.logits[THREE_CLASS.name])
    chosen = probability.argmax(axis=1)
    right = chosen == truth
    answered = margins(THREE_CLASS, probability, None) >= calibration.bands[THREE_CLASS.name]
    recalls = {
        f"recall_{name}": lambda i, k=k: sensitivity(truth[i] == k, chosen[i] == k)
        for k, name in enumerate(THREE_CLASS.classes)
    }
    return {
        "macro_auroc": lambda i: macro_auroc(truth[i], probability[i]),
        "ece": lambda i: expected_calibration_error(right[i], probability.max(axis=1)[i]),
        **recalls,
        **_coverage_measures(right, answered),
    }


def _coverage_measures(right: np.ndarray, answered: np.ndarray) -> dict[str, Callable[[np.ndarray], float | None]]:
    """Accuracy of forced decisions, and coverage and error where the indeterminate band is used."""
    return {
        "accuracy": lambda i: float(right[i].mean()),
        "coverage": lambda i: float(answered[i].mean()),
        "error_when_answered": lambda i: float(1 - right[i][answered[i]].mean()) if answered[i].any() else None,
    }


def make_folder(out: Path) -> None:
    """Make a folder for results before the work that fills it.

    Raises:
        OutputError: if it can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error}.") from error


def _sources(answers: Answers) -> np.ndarray:
    return np.array([example.source or "unknown" for example in answers.examples])


def _write_predictions(answers: Answers, calibration: Calibration, path: Path) -> None:
    columns = ["image", "label", "source"]
    values: list[np.ndarray] = []
    for task in TASKS:
        logits = answers.logits[task.name]
        columns += [f"{task.name}_logit{i}" for i in range(task.logits)]
        columns += [f"{task.name}_probability_{name}" for name in task.classes]
        values += [*logits.T, *calibration.probabilities(task, logits).T]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for example, *numbers in zip(answers.examples, *values, strict=True):
            writer.writerow([example.image, example.label, example.source, *(repr(float(x)) for x in numbers)])
