"""Many files: find them, analyse one after the other, write each result before the next begins.

A run that is stopped loses nothing: a row is flushed as soon as it is known, a torn last line is cut off before the
next run appends to it, and `--resume` skips what is already there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np

from detector import overlay
from detector.errors import DetectorError, OutputError, UnreadablePathError
from detector.evidence import lung_share
from detector.image_io import MAX_DICOM_BYTES, name_warnings
from detector.pipeline import analyse
from detector.report import Request, analysed_row, failed_row
from detector.schema import task_by_mode

try:
    import fcntl
except ImportError:  # Windows has no such locks; two runs into one folder are then the user's to avoid
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from detector.classifier import Classifier
    from detector.schema import Analysis, LungShare, Prediction

_LOG = logging.getLogger(__name__)

RESULTS = "results.jsonl"
_OVERLAY_OPACITY = 0.6
_OVERLAY_ENDING, _HEATMAP_ENDING = ".overlay.png", ".heatmap.npy"
_LONGEST_STEM = 120  # bytes: with hash and ending it stays below every file system's 255
_READ_LIMIT = MAX_DICOM_BYTES + 1  # enough to see that a file is too large, whatever its size


class UnexpectedError(DetectorError):
    """Something failed that should not have; the log has the traceback."""

    code = "unexpected"
    user_message = "The analysis failed unexpectedly. The other files are not affected."


def find_files(paths: Sequence[Path], *, out: Path | None = None) -> Iterator[Path]:
    """Yield every regular file of the given files and folders once, folders recursively and in order.

    Links to folders are not followed, since they can lead in circles; pipes and devices are named and passed over, and
    so is what an earlier run has written to `out`.
    """
    seen = set()
    for path in _all_below(paths):
        absolute = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would make a link and its target one file
        if absolute in seen:
            continue
        seen.add(absolute)
        if out is not None and _is_own(Path(absolute), out):
            _LOG.warning("skipped, a result of this program: %s", path)
        elif _may_be_regular(path):
            yield path
        else:
            _LOG.warning("skipped, not a regular file: %s", path)


def _all_below(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for root, folders, names in os.walk(path, onerror=lambda error: _LOG.warning("skipped: %s", error)):
            folders.sort()
            yield from (Path(root, name) for name in sorted(names))


def _may_be_regular(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may be listed but not entered: reading it gives the reason
        return True


def _is_own(absolute: Path, out: Path) -> bool:
    written = absolute.name == RESULTS or absolute.name.endswith((_OVERLAY_ENDING, _HEATMAP_ENDING))
    return written and absolute.is_relative_to(os.path.abspath(out))  # noqa: PTH100


@dataclass(frozen=True)
class _File:
    """Bytes of a file, cut off where they exceed every limit, with the hash of all of them."""

    data: bytes
    sha256: str


def predict_files(
    files: Iterable[Path], classifier: Classifier, request: Request, *, results: Results | None = None
) -> Iterator[dict[str, Any]]:
    """Analyse files one by one.

    Args:
        files: what to analyse.
        classifier: the network.
        request: mode, operating point, and whether to explain.
        results: folder to write to; with it each row is on the disk before it is yielded.

    Yields:
        One row a file; see `detector.report`. Files that a resumed `results` already holds are passed over.

    Raises:
        OutputError: if a result can't be written.
    """
    for path in files:
        try:
            file = _read(path)
        except UnreadablePathError as error:
            file, failure = None, error
        if results is not None and results.holds(str(path), file.sha256 if file else None):
            continue
        if file is None:
            row = failed_row(str(path), failure, mode=request.mode, model=classifier.card.info, sha256=None)
        else:
            row = _row(path, file, classifier, request, results)
        if results is not None:
            results.append(row)
        yield row


class Results:
    """A folder of results: ``results.jsonl``, and with explanations an overlay and a heatmap an image.

    Args:
        folder: made if it does not exist.
        request: what is asked of every image.
        model: weights' SHA-256 of the network that answers.
        resume: pass over what is already there for the same file, content, model and options.

    Attributes:
        failed_before: whether a row that was passed over had failed unexpectedly.

    Raises:
        OutputError: if the folder can't be written, or another run is writing to it.
    """

    def __init__(self, folder: Path, request: Request, model: str, *, resume: bool) -> None:
        self.folder = folder
        self.failed_before = False
        self._request, self._model, self._resume = request, model, resume
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / RESULTS).open("ab", buffering=0)  # a buffer would write again what did not fit
            _lock(self._file)
            rows = _whole_rows(folder / RESULTS)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error}.") from error
        self._status = {self._key(row): row["status"] for row in rows}
        self._owners = {Path(o).name: _owner(row) for row in rows if (o := (row["saliency"] or {}).get("overlay"))}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # and with it goes the lock

    def holds(self, path: str, sha256: str | None) -> bool:
        """Whether a resumed run already has the row of this file."""
        if not self._resume:
            return False
        status = self._status.get((path, sha256, self._model, self._request))
        self.failed_before |= status == "error"
        return status is not None

    def append(self, row: dict[str, Any]) -> None:
        """Write one row and flush it to the disk, unless the same question already has its row.

        Raises:
            OutputError: if it can't be written; no part of the row stays.
        """
        if self._key(row) in self._status:
            return
        line = json.dumps(row).encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            while line:  # a nearly full disk takes a part first and refuses the rest
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise OutputError(f"{self.folder / RESULTS} cannot be written: {error}.") from error
        self._status[self._key(row)] = row["status"]

    def overlay_path(self, path: Path, owner: str) -> Path:
        """Where the overlay of one answer goes; no other answer gets the same place."""
        stem = path.stem.encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore") or "image"
        if self._owners.setdefault(stem + _OVERLAY_ENDING, owner) != owner:
            stem += "-" + hashlib.sha256(owner.encode("utf-8", "surrogateescape")).hexdigest()[:12]
            self._owners[stem + _OVERLAY_ENDING] = owner
        return self.folder / (stem + _OVERLAY_ENDING)

    def _key(self, row: dict[str, Any]) -> tuple[str, str | None, str, Request]:
        point = (row["operating_point"] or {}).get("name", self._request.operating_point)
        explained = row["saliency"] is not None if row["status"] == "ok" else self._request.explain
        return (row["path"], row["input"]["sha256"], row["model"]["sha256"], Request(row["mode"], point, explained))


def save_maps(path: Path, image: np.ndarray, heatmap: np.ndarray) -> None:
    """Write an overlay to ``NAME.overlay.png`` and its heatmap beside it to ``NAME.heatmap.npy``.

    Args:
        path: of the overlay.
        image: (H, W, 3) uint8 RGB.
        heatmap: (rows, columns) float32.

    Raises:
        OutputError: if they can't be written.
    """
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    try:
        path.write_bytes(encoded.tobytes())
        np.save(path.with_name(path.name.removesuffix(_OVERLAY_ENDING) + _HEATMAP_ENDING), heatmap)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error


def _lock(file: Any) -> None:
    """Keep a second run from repairing a row that this one is writing."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _whole_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows, and cut off a last line that an interrupted write left unfinished. Others stay as they are."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    rows = []
    for line in data[:whole].splitlines():
        try:
            row = json.loads(line)
            _owner(row), row["status"], row["operating_point"]
        except (ValueError, KeyError, TypeError):
            _LOG.warning("%s holds a line that is no result; it was left alone", path)
        else:
            rows.append(row)
    return rows


def _owner(row: dict[str, Any]) -> str:
    """What a saved map belongs to: one file's content, explained for one class by one model."""
    target = (row["saliency"] or {}).get("target_class")
    return "\n".join([row["path"], str(row["input"]["sha256"]), row["model"]["sha256"], row["mode"], str(target)])


def _row(path: Path, file: _File, classifier: Classifier, request: Request, results: Results | None) -> dict[str, Any]:
    try:
        return _answered(path, file, classifier, request, results)
    except OutputError:
        raise
    except DetectorError as error:
        failure = error
    except Exception:  # noqa: BLE001 - one file must not end the run; the log has the traceback
        _LOG.exception("unexpected failure on %s", path)
        failure = UnexpectedError()
    return failed_row(str(path), failure, mode=request.mode, model=classifier.card.info, sha256=file.sha256)


def _answered(
    path: Path, file: _File, classifier: Classifier, request: Request, results: Results | None
) -> dict[str, Any]:
    analysis = analyse(file.data, classifier)
    analysis = replace(analysis, warnings=analysis.warnings + name_warnings(path.name, analysis.radiograph.file_format))
    prediction = _predict(analysis, classifier, request)
    if not request.explain:
        return analysed_row(str(path), analysis, prediction)
    cam = target_cam(analysis, prediction)
    row = analysed_row(str(path), analysis, prediction, explained=True, lung_share=share_in_lungs(analysis, cam))
    if results is not None:
        overlay_path = results.overlay_path(path, _owner(row))
        save_maps(overlay_path, *_maps(analysis, cam, classifier.card.saliency_scale[prediction.task.name]))
        row["saliency"]["overlay"] = str(overlay_path)
    return row


def target_cam(analysis: Analysis, prediction: Prediction) -> np.ndarray:
    """Evidence for the prediction's target class, (h, w) on the network's grid."""
    task = prediction.task
    return analysis.cams[task.name][task.classes.index(prediction.target_class)]


def share_in_lungs(analysis: Analysis, cam: np.ndarray) -> LungShare | None:
    """How a map lies on the lungs of its image; None where no lung fields are known."""
    return None if analysis.lung_field is None else lung_share(cam, analysis.lung_field, analysis.geometry)


def _predict(analysis: Analysis, classifier: Classifier, request: Request) -> Prediction:
    task = task_by_mode(request.mode)
    calibration = classifier.card.calibration
    return calibration.predict(task, analysis.logits[task.name], operating_point=request.operating_point)


def _maps(analysis: Analysis, cam: np.ndarray, full_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Overlay (H, W, 3) uint8 at display size, and heatmap (rows, columns) on the image's own grid."""
    image = overlay.to_display(analysis.radiograph.pixels)
    shown = overlay.to_heatmap(cam, overlay.scaled(analysis.geometry, *image.shape))
    coloured = overlay.blend(image, shown, full_scale=full_scale, opacity=_OVERLAY_OPACITY)
    return coloured, overlay.to_heatmap(cam, analysis.geometry)


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            data = file.read(_READ_LIMIT)
            if len(data) < _READ_LIMIT:
                return _File(data, hashlib.sha256(data).hexdigest())
            file.seek(0)
            return _File(data, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise UnreadablePathError(f"{path}: {error}") from error
