"""What the files in models/ say about the network, as rows for a table. Nothing is computed here but the wording."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import plotly.io

from detector import words
from detector.answers.answer import Verdict
from detector.answers.pretest import EVALUATION, EXTERNAL, read_json, read_metrics, worth
from detector.model.calibration import BALANCED
from detector.report.likeness import checked
from detector.report.map_audit import map_audit_sentences
from detector.schema import BINARY, COVID19, THREE_CLASS, OperatingPoint
from detector.ui.forest import CHANCE, Line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_HOSPITAL = "50"  # X-rays of each class that a hospital has labelled
_LITTLE = 0.6  # AUROC: a network that does not do better is not to be used there
_FIGURES = ("accuracy", "precision", "recall", "f1", "auc")
#: Where to find our figure of the original's name when the evaluation did not write it in the original's form.
_OURS = {
    (BINARY.name, "accuracy"): "binary_accuracy",
    (BINARY.name, "auc"): "binary_auroc",
    (BINARY.name, "recall"): "binary_balanced_sensitivity",
    (THREE_CLASS.name, "accuracy"): "three_class_accuracy",
    (THREE_CLASS.name, "auc"): "three_class_macro_auroc",
}
#: The ways of averaging that the original's figures fit, as the evaluation names them.
_FITTING = {BINARY.name: "COVID-19 alone", THREE_CLASS.name: "plain mean of classes"}
_BY_SOURCE = (
    "binary_auroc",
    "binary_balanced_sensitivity",
    "binary_balanced_specificity",
    "three_class_macro_auroc",
    "three_class_accuracy",
    "binary_ece",
)


@dataclass(frozen=True)
class Plot:
    """A figure that the evaluation has drawn, with its title in words."""

    name: str
    title: str
    figure: go.Figure


def in_words(estimate: Mapping[str, Any] | None) -> str:
    """An estimate with its interval; a dash where there is none."""
    if not estimate or estimate.get("value") is None:
        return words.NOT_DEFINED
    if estimate.get("ci_low") is None or estimate.get("ci_high") is None:
        return f"{estimate['value']:.3f}"
    return words.ESTIMATE.format(value=estimate["value"], low=estimate["ci_low"], high=estimate["ci_high"])


def original_table(folder: Path = EVALUATION) -> dict[str, list[str]] | None:
    """The original's figures beside ours, a column each; None where the original's are not there."""
    original, metrics = read_json(folder / "original.json"), read_metrics("test", folder)
    if original is None or metrics is None:
        return None
    rows = [(task, figure) for task in (BINARY, THREE_CLASS) for figure in _FIGURES]
    return {
        words.COLUMN_FIGURE: [f"{words.TASKS[task.name]}: {words.FIGURES[figure]}" for task, figure in rows],
        words.COLUMN_ORIGINAL: [f"{original[task.name][figure]:.3f}" for task, figure in rows],
        **{
            column: [in_words(of(metrics, task.name, figure)) for task, figure in rows]
            for column, of in ((words.COLUMN_OURS_ON_ITS_MIX, _on_its_mix), (words.COLUMN_OURS, _ours))
        },
    }


def source_table(folder: Path = EVALUATION) -> dict[str, list[str]] | None:
    """Figures by source and overall, a column each; None where nothing has been measured."""
    metrics = read_metrics("test", folder)
    if metrics is None:
        return None
    parts = {words.ALL_SOURCES: metrics["overall"], **metrics.get("by_source", {})}
    table = {words.COLUMN_SOURCE: list(parts), words.COLUMN_IMAGES: [_largest_n(part) for part in parts.values()]}
    for name in _BY_SOURCE:
        table[words.MEASURES[name]] = [in_words(part.get(name)) for part in parts.values()]
    return table


def candidate_table(folder: Path = EVALUATION) -> dict[str, list[str]] | None:
    """The networks that were compared before one was chosen, a row each; None where none were."""
    found = read_json(folder / "candidates.json")
    if found is None:
        return None
    entries = list(found["candidates"].values())
    table = {words.COLUMN_CANDIDATE: [entry["words"] for entry in entries]}
    table |= _validation_columns(entries, words.CANDIDATE_MEASURES)
    for kind, heading in (("left_out", words.CANDIDATE_LEFT_OUT), ("own_source", words.CANDIDATE_OWN_SOURCE)):
        for pair in dict.fromkeys(pair for entry in entries for pair in entry.get(kind, {})):
            title = heading.format(pair=pair)
            table[title] = [in_words(entry.get(kind, {}).get(pair)) for entry in entries]
    return table | _validation_columns(entries, words.CANDIDATE_MORE_MEASURES)


def _validation_columns(entries: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> dict[str, list[str]]:
    """A column a figure; figures of further seeds of a training stand below its own."""
    runs = [[entry["validation"], *entry.get("other_seeds", {}).values()] for entry in entries]
    return {title: ["\n".join(in_words(run.get(name)) for run in of) for of in runs] for name, title in titles.items()}


def candidate_note(folder: Path = EVALUATION) -> str:
    """What the figures of `candidate_table` are."""
    found = read_json(folder / "candidates.json") or {}
    entries = found["candidates"].values()
    notes = [words.CANDIDATES_NOTE.format(batches=found["protocol"]["batches"])]
    notes += [words.CANDIDATES_SEEDS] if any(entry.get("other_seeds") for entry in entries) else []
    notes += [words.CANDIDATES_PAIRS] if any(entry.get("left_out") for entry in entries) else []
    return " ".join(notes)


def reasons(folder: Path = EVALUATION) -> list[str]:
    """Why some figures are not defined, each reason once."""
    metrics = read_metrics("test", folder) or {}
    found = {
        f"{source}: {estimate['reason']}": None
        for source, part in metrics.get("by_source", {}).items()
        for name, estimate in part.items()
        if name in _BY_SOURCE and estimate.get("reason")
    }
    return list(found)


def plots(folder: Path = EVALUATION) -> list[Plot]:
    """The figures that the evaluation has drawn, in order of name; what can't be read is left out."""
    found = []
    for path in sorted((folder / "plots").glob("*.json")):
        try:
            figure = plotly.io.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        found.append(Plot(path.stem, _plain(figure.layout.title.text or path.stem), figure))
    return found


def training_rows(folder: Path = EVALUATION) -> list[dict[str, Any]]:
    """The lines of the training log; empty where there is none."""
    try:
        lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError):
        return []


def headline_lines(folder: Path = EVALUATION) -> list[Line]:
    """The same collections, hospitals that the network has not seen, chance; what was not measured is left out."""
    test, audit = read_metrics("test", folder) or {}, read_json(folder / "audit.json") or {}
    found = [_line(words.SAME_COLLECTIONS, test.get("overall", {}).get("binary_auroc"), "main")]
    found += [
        _line(words.UNSEEN_HOSPITAL.format(name=name), part.get("binary_auroc"), "main")
        for name, part in (read_metrics(EXTERNAL, folder) or {}).get("by_hospital", {}).items()
    ]
    left_out = audit.get("leave_one_source_pair_out", {}).get("network")
    if left_out:
        ends = left_out["lowest_auroc"], left_out["highest_auroc"]
        found.append(Line(words.UNSEEN_COLLECTIONS, left_out["mean_auroc"], *ends, tone="main"))
    return [*filter(None, found), Line(words.CHANCE, CHANCE, CHANCE, CHANCE)]


def source_lines(folder: Path = EVALUATION) -> list[Line]:
    """The binary AUROC of every source and hospital of the test split, and of the external test."""
    found = []
    for split, kind in (("test", "source"), ("test", "hospital"), ("external_test", "hospital")):
        parts = (read_metrics(split, folder) or {}).get(f"by_{kind}", {})
        for name, part in parts.items():
            label = words.COHORTS[split, kind].format(name=name)
            found.append(_line(label, part.get("binary_auroc"), "main" if split != "test" else "quiet"))
    return list(filter(None, found))


def audit_lines(folder: Path = EVALUATION) -> list[Line]:
    """The network beside networks that see no lung, on the test split; red where one comes too near."""
    audit = read_json(folder / "audit.json") or {}
    part = audit.get("splits", {}).get("test", {}).get("overall", {})
    near = set(part.get("too_near", {}).get("binary_auroc", []))
    found = []
    for name, label in words.AUDIT_NETWORKS.items():
        tone = "bad" if name in near else "main" if name.startswith("shipped_network") else "quiet"
        found.append(_line(label, part.get("figures", {}).get(name, {}).get("binary_auroc"), tone))
    network = audit.get("leave_one_source_pair_out", {}).get("network", {})
    for pair in network.get("pairs", []):
        label = words.AUDIT_LEFT_OUT.format(**pair["pair"])
        found.append(_line(label, pair["auroc"], "bad" if pair["auroc"]["value"] < _LITTLE else "quiet"))
    return list(filter(None, found))


def calibration_lines(folder: Path = EVALUATION) -> dict[str, list[Line]]:
    """What a hospital's own calibration gives, drawn many times from each cohort: coverage, sensitivity, answers."""
    found = {}
    for cohort, figures in (read_json(folder / "sites.json") or {}).get("cohorts", {}).items():
        part = figures.get(_HOSPITAL) or figures.get("one_by_one") or {}
        lines = [
            _line(label, part.get(name), "main" if name in words.SITES_AFTER else "quiet", counted=False)
            for name, label in words.SITES_LINES.items()
        ]
        if any(lines):
            found[cohort] = list(filter(None, lines))
    return found


def compared(folder: Path = EVALUATION) -> list[str]:
    """How a new hospital is told apart, in sentences."""
    return checked(read_json(folder / "compare.json") or {})


def frequencies(folder: Path = EVALUATION) -> list[str]:
    """How many of a hundred people are called what, as sentences; empty where nothing has been measured."""
    overall = (read_metrics("test", folder) or {}).get("overall", {})
    found = [overall.get(f"binary_balanced_{name}", {}).get("value") for name in ("sensitivity", "specificity")]
    if None in found:
        return []
    flagged, cleared = (round(100 * share) for share in found)
    return [
        words.FREQUENCY_ILL.format(flagged=flagged, missed=100 - flagged),
        words.FREQUENCY_WELL.format(false=100 - cleared),
    ]


def worst_group(folder: Path = EVALUATION) -> str | None:
    """The source with the lowest binary AUROC, as a sentence; None where nothing has been measured."""
    worst = (read_metrics("test", folder) or {}).get("worst_source", {}).get("binary_auroc")
    if worst is None:
        return None
    line = _line("", worst, "quiet", counted=False)
    figure = words.NOT_DEFINED if line is None else line.text
    return words.WORST_GROUP.format(source=worst["source"], figure=figure, n=worst["n"])


def maps_trusted(folder: Path = EVALUATION) -> str | None:
    """How far the maps can be trusted, in a sentence; None where that was not measured."""
    found = (read_json(folder / "saliency.json") or {}).get("headline", {})
    try:
        inside, peak = found["covid19_in_lung_fraction"]["value"], found["covid19_peak_in_lung"]["value"]
        margin = found["deletion_margin_over_lung_prior"]
    except KeyError:
        return None
    better = margin["ci_low"] is not None and margin["ci_low"] > 0
    said = words.MAPS_BETTER if better else words.MAPS_NO_BETTER
    return words.MAPS_TRUSTED.format(inside=words.percent(inside), peak=words.percent(peak), said=said)


def new_hospital(folder: Path = EVALUATION) -> str:
    """What a positive answer is worth where the network has not been, in a sentence."""
    points = (read_metrics(EXTERNAL, folder) or {}).get("operating_points", {})
    chosen = points.get(BALANCED, {}).get("chosen_on")
    point = OperatingPoint(**chosen) if chosen else None
    return worth(Verdict(BINARY, {}, COVID19, COVID19, point), folder)


def _line(label: str, estimate: Mapping[str, Any] | None, tone: str, *, counted: bool = True) -> Line | None:
    if not estimate or estimate.get("value") is None:
        return None
    value = float(estimate["value"])
    low, high = (value if estimate.get(end) is None else float(estimate[end]) for end in ("ci_low", "ci_high"))
    return Line(label, value, low, high, estimate.get("n") if counted else None, tone)


def saliency_sentences(folder: Path = EVALUATION) -> list[str]:
    """What the audit of the maps found, in plain words; empty where none has been made."""
    found = read_json(folder / "saliency.json")
    try:
        return [] if found is None else map_audit_sentences(found)
    except (KeyError, TypeError):
        return []


def rejection_table(gate: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """What the gate rejects, from the card's entry, in four rows; None where no gate was fitted."""
    measured = gate.get("measured")
    if not measured:
        return None
    found = {
        label: [
            share
            for group, names in groups.items()
            for name, share in measured.get(group, {}).items()
            if names is None or name in names
        ]
        for label, groups in words.REJECTION_ROWS.items()
    }
    rows = [(label, *_pooled(shares)) for label, shares in found.items() if shares]
    return {
        words.REJECTED_WHAT: [label for label, *_ in rows],
        words.COLUMN_IMAGES: [str(n) for _, n, *_ in rows],
        words.REJECTED_SHARE: [words.percent(rejected) for *_, rejected, _ in rows],
        words.REJECTED_OR_WARNED: [words.percent(warned) for *_, warned in rows],
    }


def _pooled(shares: Sequence[Mapping[str, Any]]) -> tuple[int, float, float]:
    """Images in all, and the shares of all of them that were rejected, and rejected or warned of."""
    number = sum(share["n"] for share in shares)
    return (
        number,
        sum(share["n"] * share["refused"] for share in shares) / number,
        sum(share["n"] * share["refused_or_warned"] for share in shares) / number,
    )


def _on_its_mix(metrics: Mapping[str, Any], task: str, figure: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] = metrics.get("original_mix", {}).get(task, {}).get(_FITTING[task], {})
    return found.get(figure)


def _ours(metrics: Mapping[str, Any], task: str, figure: str) -> Mapping[str, Any] | None:
    written = metrics.get("original", {}).get(task, {}).get(_FITTING[task])
    name = _OURS.get((task, figure), "") if written is None else figure
    found: Mapping[str, Any] | None = (metrics["overall"] if written is None else written).get(name)
    return found


def _largest_n(part: Mapping[str, Any]) -> str:
    return str(max((estimate.get("n", 0) for estimate in part.values()), default=0))


def _plain(title: str) -> str:
    """A figure's title without the marks and second lines that Plotly understands."""
    first = title.partition("<br")[0]
    return first.replace("<b>", "").replace("</b>", "").strip()
