"""Results as they leave the program: JSON lines, CSV, and the table on the terminal. The fields are a contract."""

from __future__ import annotations

import csv
import io
import json
import platform
import types
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypedDict,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from detector import __version__
from detector.model.preprocess import PREPROCESSING_ID
from detector.schema import INDETERMINATE, NOTICE, ModelInfo, task_by_mode

if TYPE_CHECKING:
    from detector.answers.answer import Answer, NoAnswer
    from detector.answers.site import Site

_SALIENCY_COLUMNS = ("target_class", "in_lung_fraction", "lung_area_fraction", "peak_in_lung", "sentence", "overlay")
_SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class PointRow(TypedDict):
    """Where the line between COVID-19 and not was drawn."""

    name: str
    threshold: float


class SaliencyRow(TypedDict):
    """Where the evidence for a class lies; its share in them is null without any, or without lungs."""

    target_class: str
    in_lung_fraction: float | None
    lung_area_fraction: float
    peak_in_lung: bool | None
    zones: dict[str, float]
    sentence: str
    overlay: str | None


class InputRow(TypedDict):
    """The file. The hash is null where it could not be read, or is so large that it was not read to its end."""

    sha256: str | None
    pixel_sha256: str | None
    format: str | None
    rows: int | None
    columns: int | None


class ModelRow(TypedDict):
    """The network."""

    name: str
    sha256: str
    version: str


class SiteRow(TypedDict):
    """The site file that the decision went by."""

    name: str
    sha256: str


class Row(TypedDict):
    """One file's result, in the order in which it is written."""

    path: str
    status: Literal["ok", "rejected", "error"]
    reason: str | None
    code: str | None
    mode: Literal["binary", "three-class"]
    probabilities: dict[str, float] | None
    decision: str | None
    operating_point: PointRow | None
    warnings: list[str]
    saliency: SaliencyRow | None
    input: InputRow
    prediction_set: list[str] | None
    model: ModelRow
    site: SiteRow | None
    versions: dict[str, str | None]
    analysed_at: str
    notice: str


def answer_row(path: str, told: Answer, *, explained: bool = False, overlay: str | None = None) -> Row:
    """The row of an analysed image; its ``saliency`` is null unless `explained`, and names the saved overlay."""
    radiograph, point = told.analysis.radiograph, told.operating_point
    row = _empty_row(path, told.task.mode, told.analysis.model, told.question.site, told.analysis.analysed_at)
    row["probabilities"] = dict(told.probabilities)
    row["decision"] = told.decision
    if point is not None:
        row["operating_point"] = {"name": point.name, "threshold": point.threshold}
    row["warnings"] = list(told.warnings)
    if explained:
        row["saliency"] = _saliency(told, overlay)
    row["input"] = {
        "sha256": radiograph.sha256,
        "pixel_sha256": radiograph.pixel_sha256,
        "format": radiograph.file_format,
        "rows": radiograph.rows,
        "columns": radiograph.columns,
    }
    if told.verdict.prediction_set is not None:
        row["prediction_set"] = list(told.verdict.prediction_set)
    return row


def no_answer_row(
    path: str, told: NoAnswer, *, mode: str, model: ModelInfo, sha256: str | None, site: Site | None = None
) -> Row:
    """The row of a file that has no answer. Its SHA-256 is None where it was not read to its end."""
    row = _empty_row(path, mode, model, site, datetime.now(UTC).isoformat(timespec="milliseconds"))
    row["status"], row["reason"], row["code"] = told.status, told.reason, told.code
    row["input"]["sha256"] = sha256
    return row


def read_row(line: bytes) -> Row:
    """Read one JSON line and hold it against the contract: an edited file must not surprise whoever reads it.

    Raises:
        ValueError: if it is no row; the message says where.
    """
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _check(value, Row, "the row")
    row = cast("Row", value)
    if row["status"] == "ok":
        classes = task_by_mode(row["mode"]).classes
        if tuple(row["probabilities"] or ()) != classes:
            raise ValueError(f"probabilities must be those of {classes}. Received {row['probabilities']}.")
        if row["decision"] not in {*classes, INDETERMINATE}:
            raise ValueError(f"decision must be one of {classes}, or indeterminate. Received {row['decision']!r}.")
    elif row["code"] is None or row["reason"] is None:
        raise ValueError("a row without an answer must say why.")
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number.")


def _check(value: Any, kind: Any, name: str) -> None:  # noqa: C901 - one branch for each kind of type
    """Hold a JSON value against a type: a `TypedDict`, a union, a literal, a list, a dict, or a plain type."""
    if is_typeddict(kind):
        if not isinstance(value, dict) or value.keys() != kind.__annotations__.keys():
            raise ValueError(f"{name} must hold {', '.join(kind.__annotations__)}.")
        for key, part in get_type_hints(kind).items():
            _check(value[key], part, key)
    elif get_origin(kind) in {Union, types.UnionType}:
        if value is not None:
            _check(value, get_args(kind)[0], name)  # every union here is a type or None
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {get_args(kind)}. Received {value!r}.")
    elif get_origin(kind) in {list, dict}:
        if not isinstance(value, get_origin(kind)):
            raise ValueError(f"{name} must be a {get_origin(kind).__name__}. Received {value!r}.")
        for part in value.values() if isinstance(value, dict) else value:
            _check(part, get_args(kind)[-1], name)
    elif type(value) is not kind and not (kind is float and type(value) is int):  # a bool is no number here
        raise ValueError(f"{name} must be {kind.__name__}. Received {value!r}.")


def csv_line(row: Row, *, header: bool = False) -> str:
    """One CSV line of a row, flat. No text in it starts a spreadsheet's formula or drives a terminal."""
    columns = flat(row)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerow({name: _neutral(value) for name, value in columns.items()})
    return buffer.getvalue()


def table_line(row: Row) -> str:
    """One line for a reader: decision, probabilities, file, warnings or reason."""
    path, indent = printable(row["path"]), " " * 22
    if row["decision"] is None or row["probabilities"] is None:
        return f"{row['status']:<20}  {'':<44}  {path}\n{indent}{printable(row['reason'] or '')}"
    shares = "  ".join(f"{name} {value:.3f}" for name, value in row["probabilities"].items())
    lines = [f"{row['decision']:<20}  {shares:<44}  {path}"]
    return "\n".join(lines + [f"{indent}warning: {printable(warning)}" for warning in row["warnings"]])


def printable(text: str) -> str:
    """Text as one line that can be seen: control and direction marks are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Tally:
    """Counts the rows of a run: decisions, warnings, and what had no answer by its code."""

    def __init__(self) -> None:
        self.files = 0
        self._decisions: Counter[str] = Counter()
        self._codes: dict[str, Counter[str]] = {"rejected": Counter(), "error": Counter()}
        self._warned = 0
        self._warnings: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Count one row."""
        self.files += 1
        if row["status"] == "ok":
            self._decisions[str(row["decision"])] += 1
        else:
            self._codes[row["status"]][str(row["code"])] += 1
        self._warned += bool(row["warnings"])
        self._warnings.update(row["warnings"])

    @property
    def failed(self) -> bool:
        """Whether a file failed unexpectedly."""
        return bool(self._codes["error"])

    def lines(self) -> list[str]:
        """The counts as lines of text; a count of zero gives none."""
        answered, rejected, failed = self._decisions, self._codes["rejected"], self._codes["error"]
        return [
            f"{self.files} files: {answered.total()} analysed, {rejected.total()} rejected, {failed.total()} failed",
            *_counted("decisions", answered),
            *_counted("rejected", rejected),
            *_counted("failed", failed),
            *([f"  with warnings: {self._warned}"] if self._warned else []),
            *(f"    {count} × {warning}" for warning, count in self._warnings.most_common()),
        ]


@cache
def versions() -> dict[str, str | None]:
    """Versions of everything that a number may depend on."""
    packages = ("ai-edge-litert", "numpy", "opencv-python-headless", "pydicom")
    return {
        "detector": __version__,
        "preprocessing": PREPROCESSING_ID,
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
    }


def _version(package: str) -> str | None:
    """None where the same module comes from a package of another name, such as ``opencv-python``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _counted(title: str, counts: Counter[str]) -> list[str]:
    return [f"  {title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common())] if counts else []


def _empty_row(path: str, mode: str, model: ModelInfo, site: Site | None, analysed_at: str) -> Row:
    """A row with what is known without an answer; its keys have the order of the contract."""
    return {
        "path": path,
        "status": "ok",
        "reason": None,
        "code": None,
        "mode": cast('Literal["binary", "three-class"]', task_by_mode(mode).mode),
        "probabilities": None,
        "decision": None,
        "operating_point": None,
        "warnings": [],
        "saliency": None,
        "input": {"sha256": None, "pixel_sha256": None, "format": None, "rows": None, "columns": None},
        "prediction_set": None,
        "model": {"name": model.name, "sha256": model.sha256, "version": model.version},
        "site": {"name": site.name, "sha256": site.sha256} if site else None,
        "versions": dict(versions()),
        "analysed_at": analysed_at,
        "notice": NOTICE,
    }


def _saliency(told: Answer, overlay: str | None) -> SaliencyRow:
    found = told.evidence
    return {
        "target_class": told.target_class,
        "in_lung_fraction": found.in_lung_fraction,
        "lung_area_fraction": found.lung_area_fraction,
        "peak_in_lung": found.peak_in_lung,
        "zones": dict(found.zones),
        "sentence": told.evidence_sentence,
        "overlay": overlay,
    }


def flat(row: Row) -> dict[str, Any]:
    """A row as columns, which are the same for every row of a mode, whatever its status."""
    probabilities = row["probabilities"] or {}
    saliency: dict[str, Any] = dict(row["saliency"] or {})
    point: dict[str, Any] = dict(row["operating_point"] or {})
    site: dict[str, Any] = dict(row["site"] or {})
    members = row["prediction_set"]
    return {
        "path": row["path"],
        "status": row["status"],
        "code": row["code"],
        "reason": row["reason"],
        "mode": row["mode"],
        "decision": row["decision"],
        **{f"probability_{name}": probabilities.get(name) for name in task_by_mode(row["mode"]).classes},
        "operating_point": point.get("name"),
        "threshold": point.get("threshold"),
        "prediction_set": None if members is None else " ".join(members),
        "warnings": " | ".join(row["warnings"]),
        **{name: saliency.get(name) for name in _SALIENCY_COLUMNS},
        **{f"input_{name}": value for name, value in row["input"].items()},
        **{f"model_{name}": value for name, value in row["model"].items()},
        "site_name": site.get("name"),
        "site_sha256": site.get("sha256"),
        "analysed_at": row["analysed_at"],
        "notice": row["notice"],
    }


def _neutral(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if value.startswith(_SPREADSHEET_FORMULA) else text
