"""A folder of results: rows and maps that a stop, a kill or a full disk leaves whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np

from detector.answers import overlay
from detector.errors import OutputError
from detector.report.rows import Request

try:
    import fcntl
except ImportError:  # Windows has no such locks; two runs into one folder are then the user's to avoid
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    from detector.answers.pipeline import Analysis
    from detector.schema import Geometry

_LOG = logging.getLogger(__name__)

ROWS = "results.jsonl"
GALLERY = "gallery.html"
OVERLAY_ENDING, HEATMAP_ENDING, XRAY_ENDING = ".overlay.png", ".heatmap.npy", ".xray.jpg"
XRAY_SIDE = 768  # pixels of the longer side of an X-ray in the gallery: half of a wide screen
JPEG_QUALITY = 88

_PARTIAL = ".partial"  # what a name ends in until its file is whole
_MAP_ENDINGS = (OVERLAY_ENDING, HEATMAP_ENDING, XRAY_ENDING)
_OVERLAY_OPACITY = 0.6
_LONGEST_STEM = 120  # bytes: with hash and ending it stays below every file system's 255


@dataclass(frozen=True, eq=False)
class Maps:
    """What is saved of one explained image, small until it is written.

    Attributes:
        overlay: a PNG file's bytes, the evidence over the image at display size.
        xray: a JPEG file's bytes, the image alone for the gallery.
        cam: (h, w) float32 on the network's grid, evidence for the target class in logit units.
        geometry: of the image.
    """

    overlay: bytes
    xray: bytes
    cam: np.ndarray
    geometry: Geometry


def draw_maps(analysis: Analysis, cam: np.ndarray, *, full_scale: float) -> Maps:
    """Draw and encode what is saved of an explained image.

    Args:
        analysis: of the image.
        cam: (h, w) float32, evidence for the target class.
        full_scale: evidence in logit units that is drawn in full colour.
    """
    image = overlay.to_display(analysis.radiograph.grey)
    shown = overlay.to_heatmap(cam, overlay.scaled(analysis.geometry, *image.shape))
    coloured = overlay.blend(image, shown, full_scale=full_scale, opacity=_OVERLAY_OPACITY)
    return Maps(
        overlay=cv2.imencode(".png", cv2.cvtColor(coloured, cv2.COLOR_RGB2BGR))[1].tobytes(),
        xray=encode_jpeg(overlay.shrink(image, longer_side=XRAY_SIDE)),
        cam=cam,
        geometry=analysis.geometry,
    )


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encode (H, W) or BGR (H, W, 3) uint8."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def is_result(name: str) -> bool:
    """Whether a file of this name is one that a run writes into its folder."""
    name = name.removesuffix(_PARTIAL)
    return name in {ROWS, GALLERY} or name.endswith(_MAP_ENDINGS)


def write_whole(path: Path, pieces: Sequence[bytes | np.ndarray]) -> None:
    """Write a file under another name and give it its own when it is whole, so that no kill leaves half of it.

    Args:
        path: of the file; one that is there is replaced.
        pieces: bytes one after the other, or one array, which is written as ``.npy``.

    Raises:
        OutputError: if it can't be written; nothing of it stays.
    """
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            for piece in pieces:
                _write(file, piece)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}.") from error


def _write(file: IO[bytes], piece: bytes | np.ndarray) -> None:
    if isinstance(piece, np.ndarray):
        np.save(file, piece)
    else:
        file.write(piece)


class Results:
    """A folder of results: ``results.jsonl``, and with explanations three files an image.

    Args:
        folder: made if it does not exist.
        request: what is asked of every image.
        model: weights' SHA-256 of the network that answers.
        resume: pass over what is already there for the same file, content, model and options.

    Attributes:
        failed_before: whether a row that was passed over had failed unexpectedly.
        passed_over: how many files had their row already.

    Raises:
        OutputError: if the folder can't be written, or another run is writing to it.
    """

    def __init__(self, folder: Path, request: Request, model: str, *, resume: bool) -> None:
        self.folder = folder
        self.failed_before = False
        self.passed_over = 0
        self._request, self._model, self._resume = request, model, resume
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / ROWS).open("ab", buffering=0)  # a buffer would write again what did not fit
            _lock(self._file)
            rows = _whole_rows(folder / ROWS)
            _clear_partial_files(folder)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error}.") from error
        self._status = {self._key(row): row["status"] for row in rows}
        self._owners = {_name(o): owner_of(row) for row in rows if (o := (row["saliency"] or {}).get("overlay"))}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # and with it goes the lock

    def holds(self, path: str, sha256: str | None) -> bool:
        """Whether a resumed run already has the row of this file."""
        return self._resume and (path, sha256, self._model, self._request) in self._status

    def pass_over(self, path: str, sha256: str | None) -> None:
        """Note that a file is left out because its row is there."""
        self.passed_over += 1
        self.failed_before |= self._status[path, sha256, self._model, self._request] == "error"

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
            raise OutputError(f"{self.folder / ROWS} cannot be written: {error}.") from error
        self._status[self._key(row)] = row["status"]

    def save_maps(self, path: Path, owner: str, maps: Maps) -> Path:
        """Write ``NAME.overlay.png``, ``NAME.heatmap.npy`` (the image's rows and columns) and ``NAME.xray.jpg``.

        Args:
            path: of the input.
            owner: see `owner_of`.
            maps: what to write.

        Returns:
            Path of the overlay; no other answer gets the same.

        Raises:
            OutputError: if they can't be written.
        """
        stem = self._stem(path, owner)
        write_whole(self.folder / (stem + XRAY_ENDING), [maps.xray])
        write_whole(self.folder / (stem + HEATMAP_ENDING), [overlay.to_heatmap(maps.cam, maps.geometry)])
        write_whole(self.folder / (stem + OVERLAY_ENDING), [maps.overlay])
        return self.folder / (stem + OVERLAY_ENDING)

    def answers(self) -> list[dict[str, Any]]:
        """Rows of the folder that answer what this run asks, the latest of each path, in order of the paths' arrival.

        Raises:
            OutputError: if they can't be read.
        """
        try:
            rows = _whole_rows(self.folder / ROWS)
        except OSError as error:
            raise OutputError(f"{self.folder / ROWS} cannot be read: {error}.") from error
        asked = (self._model, self._request)
        return list({row["path"]: row for row in rows if self._key(row)[2:] == asked}.values())

    def _stem(self, path: Path, owner: str) -> str:
        stem = path.stem.encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore") or "image"
        if self._owners.setdefault(stem + OVERLAY_ENDING, owner) != owner:
            stem += "-" + hashlib.sha256(owner.encode("utf-8", "surrogateescape")).hexdigest()[:12]
            self._owners[stem + OVERLAY_ENDING] = owner
        return stem

    def _key(self, row: dict[str, Any]) -> tuple[str, str | None, str, Request]:
        point = (row["operating_point"] or {}).get("name", self._request.operating_point)
        explained = row["saliency"] is not None if row["status"] == "ok" else self._request.explain
        return (row["path"], row["input"]["sha256"], row["model"]["sha256"], Request(row["mode"], point, explained))


def owner_of(row: dict[str, Any]) -> str:
    """What saved maps belong to: one file's content, explained for one class by one model."""
    target = (row["saliency"] or {}).get("target_class")
    return "\n".join([row["path"], str(row["input"]["sha256"]), row["model"]["sha256"], row["mode"], str(target)])


def _name(overlay_path: str) -> str:
    return os.path.basename(overlay_path)  # noqa: PTH119 - a path that another system may have written


def _lock(file: Any) -> None:
    """Keep a second run from repairing a row that this one is writing."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _clear_partial_files(folder: Path) -> None:
    """Remove what a killed run had begun to write."""
    for path in folder.glob("*" + _PARTIAL):
        if is_result(path.name):
            path.unlink()


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
            owner_of(row), row["status"], row["operating_point"]
        except (ValueError, KeyError, TypeError):
            _LOG.warning("%s holds a line that is no result; it was left alone", path)
        else:
            rows.append(row)
    return rows
