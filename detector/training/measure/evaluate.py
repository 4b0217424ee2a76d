"""Measures the shipped program on labelled X-rays: the same `analyse` that a clinician's upload goes through."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.answers.pipeline import analyse
from detector.errors import ManifestError, RejectedError
from detector.model.calibration import BALANCED, Calibration
from detector.run.files import make_folder, write_json, write_whole
from detector.schema import BINARY, COVID19, TASKS, THREE_CLASS
from detector.statistics.bootstrap import RESAMPLES, Resampling
from detector.training.data.manifest import LABELS
from detector.training.measure import rows
from detector.training.measure.by_site import by_site
from detector.training.measure.cohort import UNKNOWN, Answers
from detector.training.measure.curves import coverage_curve, net_benefit_curve, treat_all_benefit
from detector.training.measure.figures import (
    all_statistics,
    confusion,
    operating_point_statistics,
    original_form,
    task_answers,
)
from detector.training.report.page import report_page
from detector.training.report.plots import evaluation_plots, write_plots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from detector.answers.pipeline import Analysis
    from detector.answers.site import Site
    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.schema import Task
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

#: What the earlier project of this name reported, on a small test set of the collections that it was trained on.
ORIGINAL_FIGURES = {
    "binary": {"accuracy": 0.9545, "precision": 0.9142, "recall": 0.9696, "f1": 0.9411, "auc": 0.9959},
    "three_class": {"accuracy": 0.8564, "precision": 0.8774, "recall": 0.8311, "f1": 0.8289, "auc": 0.9797},
}
ORIGINAL_NOTE = (
    "The original calls its figures weighted. Averaged by class size recall equals accuracy, and its recall does not, "
    "so how it averaged is not known; ours are given in each way. The two were measured on different images."
)

_PROGRESS_EVERY = 200  # images
_PARTS = ("source", "hospital", "age_group", "view")  # attributes that a cohort is parted by


def evaluate(
    examples: Sequence[Example],
    images: Path,
    engine: Engine,
    out: Path,
    *,
    name: str = "",
    notes: Sequence[str] = (),
    training_log: Path | None = None,
    site: Site | None = None,
) -> dict[str, Any]:
    """Measure the network and write ``metrics.json``, ``predictions.csv``, the plots and ``report.html``.

    Args:
        examples: labelled images.
        images: folder that their paths are relative to.
        engine: the network.
        out: folder to write to.
        name: what the cohort is, for the record.
        notes: what was left out of it, as sentences.
        training_log: ``training_log.jsonl`` of the network, for its curves.
        site: a hospital's own calibration, to be measured beside the network's.

    Returns:
        What ``metrics.json`` holds; see `summarise`.

    Raises:
        OutputError: if the folder can't be written.
        ManifestError: if an image does not exist.
    """
    make_folder(out)  # before the hours that the images may take
    answers = answer_all(examples, images, engine)
    metrics = summarise(answers, engine.card, name=name, notes=notes, site=site)
    figures = evaluation_plots(answers, engine.card.calibration, training_log=training_log)
    write_json(out / "metrics.json", metrics)
    write_json(out / "likelihood_ratios.json", likelihood_ratios(metrics))
    write_whole(out / "predictions.csv", _predictions(answers, engine.card.calibration).encode())
    write_plots(figures, out / "plots")
    write_whole(out / "report.html", report_page(metrics, engine.card, figures).encode())
    return metrics


def answer_all(examples: Sequence[Example], images: Path, engine: Engine) -> Answers:
    """Analyse every image; the refused ones are kept apart.

    Raises:
        ManifestError: if an image does not exist.
    """
    analysed, outputs, rejected, rejected_examples = [], [], [], []
    for example, found in each_analysed(examples, images, engine):
        if isinstance(found, RejectedError):
            rejected.append((example.image, found.code))
            rejected_examples.append(example)
        else:
            outputs.append(_kept(found))
            analysed.append(example)
    return Answers(
        tuple(analysed),
        {t.name: np.array([logits[t.name] for logits, _ in outputs], float).reshape(-1, t.logits) for t in TASKS},
        {t.name: np.array([peaks[t.name] for _, peaks in outputs], float) for t in TASKS},
        tuple(rejected),
        tuple(rejected_examples),
    )


def each_analysed(
    examples: Sequence[Example], images: Path, engine: Engine
) -> Iterator[tuple[Example, Analysis | RejectedError]]:
    """Yield each image with its analysis as the app makes it, or with why it was refused.

    Raises:
        ManifestError: if an image does not exist.
    """
    began = time.monotonic()
    for number, example in enumerate(examples, start=1):
        found: Analysis | RejectedError
        try:
            found = analyse((images / example.image).read_bytes(), engine)
        except OSError as error:
            raise ManifestError(f"{images / example.image} cannot be read: {error}.") from error
        except RejectedError as error:
            found = error
        yield example, found
        if number % _PROGRESS_EVERY == 0:
            left = (time.monotonic() - began) / number * (len(examples) - number)
            _LOG.info("analysed %d of %d images, %.0f s left", number, len(examples), left)


def _kept(analysis: Analysis) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Logits, and the strongest evidence anywhere: the pixels of a thousand images would fill the memory."""
    return dict(analysis.logits), {name: float(np.abs(cams).max()) for name, cams in analysis.cams.items()}


def measure(answers: Answers, calibration: Calibration) -> dict[str, dict[str, Any]]:
    """Every figure of a cohort with its interval, by name; a figure that is not defined is null with the reason."""
    found = Resampling(answers.groups).estimates(all_statistics(answers, calibration))
    for task in TASKS:  # slope and temperature only multiply each other, so this one need not be fitted again
        slope = found[f"{task.name}_calibration_slope"]
        found[f"{task.name}_calibration_slope_before_temperature"] = slope.times(
            1 / calibration.temperatures[task.name]
        )
    return {name: asdict(estimate) for name, estimate in found.items()}


def summarise(
    answers: Answers, card: ModelCard, *, name: str = "", notes: Sequence[str] = (), site: Site | None = None
) -> dict[str, Any]:
    """Everything that ``metrics.json`` holds.

    Each figure is ``{"value", "ci_low", "ci_high", "n", "reason"}``: 95 % intervals from patients drawn with
    replacement, `n` the images that it rests on, `reason` why there is none.

    Returns:
        ``model``, ``images``, ``rejected``; ``cohort`` and ``counts``; ``overall``, ``by_source``,
        ``by_hospital``, ``by_age_group`` and ``by_view``, each one set of figures; ``worst_source``;
        ``operating_points`` with predictive values and likelihood ratios; ``questions`` within one source;
        ``adult_opacities``, ``sensitivities``, ``within_one_hospital`` and, if the cohort has them,
        ``first_collections``, see `detector.training.measure.rows`; ``original`` for the earlier project's table and,
        if the cohort has it, ``original_mix`` for the same table on that project's own mix; ``confusion``;
        ``net_benefit`` and ``error_by_coverage`` as curves; with a site ``site``, see
        `detector.training.measure.by_site`: all other figures are those of the network's own calibration.
    """
    parts = {part: answers.parts(part) for part in _PARTS}
    by = {part: {key: measure(kept, card.calibration) for key, kept in kept.items()} for part, kept in parts.items()}
    overall = measure(answers, card.calibration)
    return {
        "model": asdict(card.info),
        "images": len(answers.examples) + len(answers.rejected),
        "rejected": [{"image": image, "code": code} for image, code in answers.rejected],
        "cohort": {
            "name": name,
            "notes": list(notes),
            "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "resamples": RESAMPLES,
        },
        "counts": {
            "overall": _counts(answers),
            "rejected_by_code": dict(sorted(Counter(code for _, code in answers.rejected).items())),
            "rejected_by_label": dict(sorted(Counter(e.label for e in answers.rejected_examples).items())),
            "rejected_by_source": dict(sorted(Counter(e.source or UNKNOWN for e in answers.rejected_examples).items())),
            **{f"by_{part}": {key: _counts(kept) for key, kept in kept.items()} for part, kept in parts.items()},
        },
        "overall": overall,
        **{f"by_{part}": figures for part, figures in by.items()},
        "worst_source": worst_source(by["source"]),
        "operating_points": _operating_points(answers, card.calibration),
        "questions": _questions(by["source"]),
        "adult_opacities": rows.adult_opacities(answers, card.calibration),
        "sensitivities": rows.sensitivities(answers, card.calibration),
        "within_one_hospital": rows.within_one_hospital(answers, card.calibration),
        **_parts_of_old(answers, card.calibration),
        "original": _original(answers, card.calibration),
        "confusion": {task.name: _confusion(task, answers, card.calibration) for task in TASKS},
        "net_benefit": _net_benefit(answers, card.calibration),
        "error_by_coverage": {
            task.name: coverage_curve(task, answers, card.calibration).to_json("coverage") for task in TASKS
        },
        **({"site": by_site(answers, card.calibration, site)} if site else {}),
    }


def _parts_of_old(answers: Answers, calibration: Calibration) -> dict[str, Any]:
    """What can be read beside earlier figures, where the cohort has it."""
    first, mix = rows.of_the_first_collections(answers), rows.of_the_originals_mix(answers)
    found: dict[str, Any] = {}
    if 0 < len(first.examples) < len(answers.examples):
        found["first_collections"] = {"counts": _counts(first), **measure(first, calibration)}
    if set(mix.labels) == set(THREE_CLASS.classes):
        found["original_mix"] = {"mix": rows.MIX, "counts": _counts(mix), **_original(mix, calibration)}
    return found


def worst_source(by_source: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The source that has the worst value of each figure that has a better and a worse, with that figure."""
    worst = {}
    for name in next(iter(by_source.values()), {}):
        sign = _direction(name)
        known = {source: figures[name] for source, figures in by_source.items() if figures[name]["value"] is not None}
        if sign and known:
            source = min(known, key=lambda key: sign * known[key]["value"])
            worst[name] = {"source": source, **known[source]}
    return worst


def likelihood_ratios(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The likelihood ratios as ``likelihood_ratios.json`` holds them, within one hospital where there is one."""
    pooled = metrics["within_one_hospital"]["pooled"]
    if len(pooled) == 1:
        ((hospital, found),) = pooled.items()
        points, images, covid = found["operating_points"], found["covid19"] + found["others"], found["covid19"]
        measured_on = f"{hospital}, compared within {' and '.join(found['views'])} views"
    else:
        points, counts = metrics["operating_points"], metrics["counts"]["overall"]
        images, covid = counts["images"], counts["labels"].get(COVID19, 0)
        measured_on = metrics["cohort"]["name"] or "labelled images"
    cohort = f"{measured_on}, n = {images}, {covid} with COVID-19"
    return {
        BINARY.name: {
            name: {
                "positive": _value_and_interval(point["likelihood_ratio_positive"]),
                "negative": _value_and_interval(point["likelihood_ratio_negative"]),
                "cohort": cohort,
            }
            for name, point in points.items()
        }
    }


def _operating_points(answers: Answers, calibration: Calibration) -> dict[str, Any]:
    """What each operating point is worth here, beside what it was chosen for on validation."""
    resampling = Resampling(answers.groups)
    return {
        name: {
            "threshold": point.threshold,
            "chosen_on": asdict(point),
            **resampling.records(operating_point_statistics(answers, calibration, point)),
        }
        for name, point in calibration.operating_points.items()
    }


def _questions(by_source: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Figures within one source, where knowing the source does not help."""
    names = {
        "covid19_against_other_pneumonias": "binary_auroc_covid19_against_other_pneumonias",
        "pneumonia_called_covid19": f"binary_{BALANCED}_pneumonia_called_covid19",
        "pneumonia_against_normal": "three_class_auroc_pneumonia_against_normal",
    }
    return {
        question: {source: figures[name] for source, figures in by_source.items() if figures[name]["value"] is not None}
        for question, name in names.items()
    }


def _original(answers: Answers, calibration: Calibration) -> dict[str, Any]:
    """The earlier project's figures beside ours in the same form, averaged in each way that it may have meant."""
    resampling, found = Resampling(answers.groups), {}
    for task in TASKS:
        counted = task_answers(task, answers, calibration)
        every = range(len(task.classes))
        ways = {
            "weighted by class size": original_form(counted, every, weighted=True),
            "plain mean of classes": original_form(counted, every),
        }
        if task is BINARY:
            ways["COVID-19 alone"] = original_form(counted, [0])
        ours = {way: resampling.records(measures) for way, measures in ways.items()}
        found[task.name] = {"original": ORIGINAL_FIGURES[task.name], **ours}
    return {**found, "note": ORIGINAL_NOTE}


def _confusion(task: Task, answers: Answers, calibration: Calibration) -> dict[str, Any]:
    found = confusion(task, answers, calibration)
    return {"labels": list(found), "decisions": list(task.classes), "counts": list(found.values())}


def _net_benefit(answers: Answers, calibration: Calibration) -> dict[str, Any]:
    curve = net_benefit_curve(answers, calibration)
    prevalence = float(np.mean(answers.labels == COVID19)) if answers.examples else None
    treat_all = [None if prevalence is None else round(treat_all_benefit(prevalence, t), 6) for t in curve.places]
    return {**curve.to_json("threshold"), "treat_all": treat_all, "treat_none": 0.0, "prevalence": prevalence}


def _counts(answers: Answers) -> dict[str, Any]:
    labels = Counter(answers.labels.tolist())
    return {
        "images": len(answers.examples),
        "patients": len(set(answers.groups)),
        "labels": {label: labels[label] for label in LABELS if labels[label]},
    }


def _direction(name: str) -> int:
    """1 where more is better, -1 where less is, 0 where neither is."""
    if any(word in name for word in ("slope", "intercept", "coverage", "before_temperature")):
        return -1 if "error_at_coverage" in name else 0
    less = ("brier", "log_loss", "ece", "error", "called_covid19")
    return -1 if any(word in name for word in less) else 1


def _value_and_interval(figure: Mapping[str, Any]) -> dict[str, float | None]:
    return {key: figure[key] for key in ("value", "ci_low", "ci_high")}


def _predictions(answers: Answers, calibration: Calibration) -> str:
    """The table of ``predictions.csv``."""
    columns = ["image", "label", "source"]
    values: list[np.ndarray] = []
    for task in TASKS:
        logits = answers.logits[task.name]
        columns += [f"{task.name}_logit{i}" for i in range(task.logits)]
        columns += [f"{task.name}_probability_{name}" for name in task.classes]
        values += [*logits.T, *calibration.probabilities(task, logits).T]
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(columns)
    for example, *numbers in zip(answers.examples, *values, strict=True):
        writer.writerow([example.image, example.label, example.source, *(repr(float(x)) for x in numbers)])
    return table.getvalue()
