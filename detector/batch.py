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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detector import overlay
from detector.errors import DetectorError, OutputError, UnreadablePathError
from detector.evidence import lung_share
from detector.image_io import MAX_DICOM_BYTES
from detector.pipeline import analyse
from detector.report import Request, analysed_row, failed_row
from detector.schema import task_by_mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from detector.classifier import Classifier
    from detector.schema import Analysis, LungShare, Prediction

_LOG = logging.getLogger(__name__)

RESULTS = "results.jsonl"
_OVERLAY_OPACITY = 0.6
_LONGEST_STEM = 80  # characters: with the endings it stays below every file system's limit, also in UTF-8
_READ_LIMIT = MAX_DICOM_BYTES + 1  # enough to see that a file is too large, whatever its size


class UnexpectedError(DetectorError):
    """Something failed that should not have; the log has the traceback."""

    code = "unexpected"
    user_message = "The analysis failed unexpectedly. The other files are not affected."


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield every regular file of the given files and folders, folders recursively and in order.

    Links to folders are not followed, since they can lead in circles; pipes and devices are named and passed over.
    """
    for path in paths:
        if path.is_dir():
            yield from _files_below(path)
        elif path.is_file():
            yield path
        else:
            _LOG.warning("skipped, not a regular file: %s", path)


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=lambda error: _LOG.warning("skipped: %s", error)):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file():
                yield path
            else:
                _LOG.warning("skipped, not a regular file: %s", path)


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
            data = _read(path)
        except UnreadablePathError as error:
            row = failed_row(str(path), error, mode=request.mode, model=classifier.card.info, sha256=None)
        else:
            if results is not None and results.holds(str(path), hashlib.sha256(data).hexdigest()):
                continue
            row = _row(path, data, classifier, request, results)
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

    Raises:
        OutputError: if the folder can't be written.
    """

    def __init__(self, folder: Path, request: Request, model: str, *, resume: bool) -> None:
        self.folder = folder
        self._request, self._model = request, model
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / RESULTS).open("a+b", buffering=0)  # a buffer would write what did not fit once more
            rows = self._repair()
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error}.") from error
        self._done = {self._key(row) for row in rows} if resume else set()
        self._owners = {Path(o).name: row["path"] for row in rows if (o := (row["saliency"] or {}).get("overlay"))}

    def holds(self, path: str, sha256: str) -> bool:
        """Whether a resumed run already has the row of this file."""
        return (path, sha256, self._model, self._request) in self._done

    def append(self, row: dict[str, Any]) -> None:
        """Write one row and flush it to the disk.

        Raises:
            OutputError: if it can't be written; no part of the row stays.
        """
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            while line:  # a nearly full disk takes a part first and refuses the rest
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise OutputError(f"{self.folder / RESULTS} cannot be written: {error}.") from error

    def save_maps(self, path: Path, image: np.ndarray, heatmap: np.ndarray) -> str:
        """Write ``<name>.overlay.png`` and ``<name>.heatmap.npy``.

        Args:
            path: of the input; another input of the same name gets another name.
            image: (H, W, 3) uint8 RGB.
            heatmap: (rows, columns) float32.

        Returns:
            The overlay's path.

        Raises:
            OutputError: if they can't be written.
        """
        name = self._claim(path)
        overlay_path = self.folder / f"{name}.overlay.png"
        encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        try:
            overlay_path.write_bytes(encoded.tobytes())
            np.save(self.folder / f"{name}.heatmap.npy", heatmap)
        except OSError as error:
            raise OutputError(f"{overlay_path} cannot be written: {error}.") from error
        return str(overlay_path)

    def close(self) -> None:
        """Close the results' file."""
        self._file.close()

    def _repair(self) -> list[dict[str, Any]]:
        """Read the whole rows and cut off what follows the last of them, which an interrupted write left."""
        self._file.seek(0)
        rows, whole = [], 0
        for line in self._file:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
            if not line.endswith(b"\n"):
                rows.pop()
                break
            whole += len(line)
        self._file.truncate(whole)
        return rows

    def _key(self, row: dict[str, Any]) -> tuple[str, str | None, str, Request]:
        point = (row["operating_point"] or {}).get("name", self._request.operating_point)
        explained = row["saliency"] is not None if row["status"] == "ok" else self._request.explain
        return (row["path"], row["input"]["sha256"], row["model"]["sha256"], Request(row["mode"], point, explained))

    def _claim(self, path: Path) -> str:
        """A file name that belongs to this input alone."""
        stem = path.stem[:_LONGEST_STEM] or "image"
        if self._owners.setdefault(f"{stem}.overlay.png", str(path)) == str(path):
            return stem
        stem += "-" + hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        self._owners[f"{stem}.overlay.png"] = str(path)
        return stem


def _row(path: Path, data: bytes, classifier: Classifier, request: Request, results: Results | None) -> dict[str, Any]:
    try:
        analysis = analyse(data, classifier)
        prediction = _predict(analysis, classifier, request)
    except DetectorError as error:
        return _failure(path, data, error, classifier, request)
    except Exception:  # noqa: BLE001 - one file must not end the run; the log has the traceback
        _LOG.exception("unexpected failure on %s", path)
        return _failure(path, data, UnexpectedError(), classifier, request)
    if not request.explain:
        return analysed_row(str(path), analysis, prediction)
    cam = target_cam(analysis, prediction)
    saved = _save_maps(path, analysis, cam, classifier, prediction, results) if results else None
    share = share_in_lungs(analysis, cam)
    return analysed_row(str(path), analysis, prediction, explained=True, lung_share=share, overlay=saved)


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


def _failure(path: Path, data: bytes, error: DetectorError, classifier: Classifier, request: Request) -> dict[str, Any]:
    sha256 = hashlib.sha256(data).hexdigest()
    return failed_row(str(path), error, mode=request.mode, model=classifier.card.info, sha256=sha256)


def _save_maps(
    path: Path,
    analysis: Analysis,
    cam: np.ndarray,
    classifier: Classifier,
    prediction: Prediction,
    results: Results,
) -> str:
    image = overlay.to_display(analysis.radiograph.pixels)
    shown = overlay.to_heatmap(cam, overlay.scaled(analysis.geometry, *image.shape))
    full_scale = classifier.card.saliency_scale[prediction.task.name]
    coloured = overlay.blend(image, shown, full_scale=full_scale, opacity=_OVERLAY_OPACITY)
    return results.save_maps(path, coloured, overlay.to_heatmap(cam, analysis.geometry))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_READ_LIMIT)
    except OSError as error:
        raise UnreadablePathError(f"{path}: {error}") from error
