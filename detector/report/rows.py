"""Results as they leave the program: JSON lines, CSV, and the table on the terminal. The fields are a contract."""

from __future__ import annotations

import csv
import io
import platform
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from detector import __version__
from detector.answers.evidence import sentence, warning
from detector.errors import RejectedError
from detector.model.preprocess import PREPROCESSING_ID
from detector.schema import NOTICE, task_by_mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.answers.pipeline import Analysis
    from detector.errors import DetectorError
    from detector.schema import EvidenceSummary, ModelInfo, Prediction

_SALIENCY_COLUMNS = ("target_class", "in_lung_fraction", "lung_area_fraction", "peak_in_lung", "sentence", "overlay")
_SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Request:
    """What was asked of every image of a run.

    Attributes:
        mode: ``"binary"`` or ``"three-class"``.
        operating_point: name of the binary operating point.
        explain: whether saliency was asked for.
    """

    mode: str
    operating_point: str
    explain: bool


def analysed_row(
    path: str,
    analysis: Analysis,
    prediction: Prediction,
    *,
    summary: EvidenceSummary | None = None,
    overlay: str | None = None,
    explained: bool = False,
) -> dict[str, Any]:
    """The result of one analysed image.

    Args:
        path: as it was given.
        analysis: of the image.
        prediction: answer to the task that was asked.
        summary: of the target class's map; None where no lung fields are known. Evidence that lies mostly outside the
            lungs adds a warning to the row.
        overlay: path of the saved overlay.
        explained: whether saliency was asked for; without it the row's ``saliency`` is null.
    """
    radiograph, point = analysis.radiograph, prediction.operating_point
    outside = warning(summary, answered=prediction.explains_the_answer) if explained and summary else None
    return {
        "path": path,
        "status": "ok",
        "reason": None,
        "code": None,
        "mode": prediction.task.mode,
        "probabilities": dict(prediction.probabilities),
        "decision": prediction.decision,
        "operating_point": {"name": point.name, "threshold": point.threshold} if point else None,
        "warnings": [*analysis.warnings, *([outside] if outside else [])],
        "saliency": _saliency(prediction, summary, overlay) if explained else None,
        "input": {
            "sha256": radiograph.sha256,
            "pixel_sha256": radiograph.pixel_sha256,
            "format": radiograph.file_format,
            "rows": radiograph.rows,
            "columns": radiograph.columns,
        },
        **_provenance(analysis.model, analysis.analysed_at),
    }


def failed_row(path: str, error: DetectorError, *, mode: str, model: ModelInfo, sha256: str | None) -> dict[str, Any]:
    """The result of one image that has no answer: rejected for a stated reason, or an error of ours.

    `sha256` is None where the file could not be read, or is so large that it was not read to its end.
    """
    return {
        "path": path,
        "status": "rejected" if isinstance(error, RejectedError) else "error",
        "reason": error.user_message,
        "code": error.code,
        "mode": mode,
        "probabilities": None,
        "decision": None,
        "operating_point": None,
        "warnings": [],
        "saliency": None,
        "input": {"sha256": sha256, "pixel_sha256": None, "format": None, "rows": None, "columns": None},
        **_provenance(model, datetime.now(UTC).isoformat(timespec="milliseconds")),
    }


def csv_line(row: Mapping[str, Any], *, header: bool = False) -> str:
    """One CSV line of a row, flat; text that a spreadsheet would run as a formula is neutralised."""
    flat = _flat(row)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(flat), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerow({name: _neutral(value) for name, value in flat.items()})
    return buffer.getvalue()


def table_line(row: Mapping[str, Any]) -> str:
    """One line for a reader: decision, probabilities, file, warnings or reason."""
    path = printable(row["path"])
    if row["status"] != "ok":
        return f"{row['status']:<20}  {'':<44}  {path}\n{'':<22}{row['reason']}"
    shares = "  ".join(f"{name} {value:.3f}" for name, value in row["probabilities"].items())
    lines = [f"{row['decision']:<20}  {shares:<44}  {path}"]
    return "\n".join(lines + [f"{'':<22}warning: {warning}" for warning in row["warnings"]])


def printable(path: str) -> str:
    """A path as one line of visible text: control and direction marks are spelled out."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()


class Tally:
    """Counts the rows of a run: decisions, warnings, and what had no answer by its code."""

    def __init__(self) -> None:
        self.files = 0
        self._decisions: Counter[str] = Counter()
        self._codes: dict[str, Counter[str]] = {"rejected": Counter(), "error": Counter()}
        self._warned = 0
        self._warnings: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row."""
        self.files += 1
        if row["status"] == "ok":
            self._decisions[row["decision"]] += 1
        else:
            self._codes[row["status"]][row["code"]] += 1
        self._warned += bool(row["warnings"])
        self._warnings.update(row["warnings"])

    @property
    def failed(self) -> bool:
        """Whether a file failed unexpectedly."""
        return bool(self._codes["error"])

    def lines(self) -> list[str]:
        """The counts as lines of text; what did not happen has none."""
        answered, rejected, failed = self._decisions, self._codes["rejected"], self._codes["error"]
        return [
            f"{self.files} files: {answered.total()} analysed, {rejected.total()} refused, {failed.total()} failed",
            *_counted("decisions", answered),
            *_counted("refused", rejected),
            *_counted("failed", failed),
            *([f"  with warnings: {self._warned}"] if self._warned else []),
            *(f"    {count} × {warning}" for warning, count in self._warnings.most_common()),
        ]


def _counted(title: str, counts: Counter[str]) -> list[str]:
    return [f"  {title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common())] if counts else []


def _saliency(prediction: Prediction, summary: EvidenceSummary | None, overlay: str | None) -> dict[str, Any]:
    return {
        "target_class": prediction.target_class,
        "in_lung_fraction": summary.in_lung_fraction if summary else None,
        "lung_area_fraction": summary.lung_area_fraction if summary else None,
        "peak_in_lung": summary.peak_in_lung if summary else None,
        "zones": dict(summary.zones) if summary else None,
        "sentence": sentence(summary) if summary else None,
        "overlay": overlay,
    }


def _provenance(model: ModelInfo, analysed_at: str) -> dict[str, Any]:
    return {
        "model": {"name": model.name, "sha256": model.sha256, "version": model.version},
        "versions": dict(versions()),
        "analysed_at": analysed_at,
        "notice": NOTICE,
    }


@cache
def versions() -> Mapping[str, str | None]:
    """Versions of everything that a number may depend on."""
    packages = ("tensorflow", "keras", "numpy", "opencv-python-headless", "pydicom")
    return {
        "detector": __version__,
        "preprocessing": PREPROCESSING_ID,
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
    }


def _version(package: str) -> str | None:
    """None where the same module comes from a package of another name, such as ``tensorflow-cpu``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns are the same for every row of a mode, whatever its status."""
    probabilities = row["probabilities"] or {}
    saliency = row["saliency"] or {}
    point = row["operating_point"] or {}
    return {
        **{name: row[name] for name in ("path", "status", "code", "reason", "mode", "decision")},
        **{f"probability_{name}": probabilities.get(name) for name in task_by_mode(row["mode"]).classes},
        "operating_point": point.get("name"),
        "threshold": point.get("threshold"),
        "warnings": " | ".join(row["warnings"]),
        **{name: saliency.get(name) for name in _SALIENCY_COLUMNS},
        **{f"input_{name}": value for name, value in row["input"].items()},
        **{f"model_{name}": value for name, value in row["model"].items()},
        "analysed_at": row["analysed_at"],
        "notice": row["notice"],
    }


def _neutral(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_SPREADSHEET_FORMULA) else value
