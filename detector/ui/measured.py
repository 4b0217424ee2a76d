"""What the files in models/ say about the network, as rows for a table. Nothing is computed here but the wording."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import plotly.io

from detector import words
from detector.answers.pretest import EVALUATION, read_json, read_metrics
from detector.report.map_audit import map_audit_sentences
from detector.schema import BINARY, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FIGURES = ("accuracy", "precision", "recall", "f1", "auc")
#: Where our figure of the original's name stands when the evaluation has not written the original's form itself.
_OURS = {
    (BINARY.name, "accuracy"): "binary_accuracy",
    (BINARY.name, "auc"): "binary_auroc",
    (BINARY.name, "recall"): "binary_balanced_sensitivity",
    (THREE_CLASS.name, "accuracy"): "three_class_accuracy",
    (THREE_CLASS.name, "auc"): "three_class_macro_auroc",
}
#: The ways of averaging, as the evaluation names them: the one that the original's figures fit, and the one it names.
_FITTING = {BINARY.name: "COVID-19 alone", THREE_CLASS.name: "plain mean of classes"}
_WEIGHTED = dict.fromkeys(_FITTING, "weighted by class size")
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
            column: [in_words(_ours(metrics, task.name, figure, ways[task.name])) for task, figure in rows]
            for column, ways in ((words.COLUMN_OURS, _FITTING), (words.COLUMN_OURS_WEIGHTED, _WEIGHTED))
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
    return {title: [in_words(entry["validation"].get(name)) for entry in entries] for name, title in titles.items()}


def candidate_batches(folder: Path = EVALUATION) -> int:
    """Batches of each training of `candidate_table`."""
    return int((read_json(folder / "candidates.json") or {})["protocol"]["batches"])


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


def audit_sentences(folder: Path = EVALUATION) -> list[str]:
    """The audit in plain words; empty where none has been made."""
    audit = read_json(folder / "audit.json")
    if audit is None:
        return []
    if isinstance(audit.get("sentences"), list):
        return [str(sentence) for sentence in audit["sentences"]]
    return [words.AUDIT_LINE.format(name=name, value=value) for name, value in _estimates("", audit)]


def saliency_sentences(folder: Path = EVALUATION) -> list[str]:
    """What the audit of the maps found, in plain words; empty where none has been made."""
    found = read_json(folder / "saliency.json")
    try:
        return [] if found is None else map_audit_sentences(found)
    except (KeyError, TypeError):
        return []


def gate_table(gate: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """What the gate refuses, from the card's entry; None where no gate was fitted."""
    measured = gate.get("measured")
    if not measured:
        return None
    rows = [
        (words.PASSING_GROUPS[group].format(name=name.replace("_", " ")), share)
        for group in words.PASSING_GROUPS
        for name, share in measured.get(group, {}).items()
    ]
    return {
        words.PASSING_WHAT: [name for name, _ in rows],
        words.COLUMN_IMAGES: [str(share["n"]) for _, share in rows],
        words.PASSING_REFUSED: [f"{100 * share['refused']:.1f} %" for _, share in rows],
        words.PASSING_WARNED: [f"{100 * share['refused_or_warned']:.1f} %" for _, share in rows],
    }


def _estimates(prefix: str, part: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every figure of a nested record, with the way that leads to it."""
    found = []
    for name, value in part.items():
        way = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, dict) and "value" in value:
            found.append((way, in_words(value)))
        elif isinstance(value, dict):
            found += _estimates(f"{way}, ", value)
    return found


def _ours(metrics: Mapping[str, Any], task: str, figure: str, way: str) -> Mapping[str, Any] | None:
    written = metrics.get("original", {}).get(task, {}).get(way)
    if written is not None:
        return written.get(figure)
    return metrics["overall"].get(_OURS.get((task, figure), ""))


def _largest_n(part: Mapping[str, Any]) -> str:
    return str(max((estimate.get("n", 0) for estimate in part.values()), default=0))


def _plain(title: str) -> str:
    """A figure's title without the marks and second lines that Plotly understands."""
    first = title.partition("<br")[0]
    return first.replace("<b>", "").replace("</b>", "").strip()
