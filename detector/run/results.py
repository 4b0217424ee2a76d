"""A folder of results: rows and maps that a stop, a kill or a full disk leaves whole."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from detector.answers.answer import Question
from detector.errors import OutputError
from detector.report.maps import HEATMAP_ENDING, OVERLAY_ENDING, XRAY_ENDING, Maps
from detector.report.rows import Row, read_row
from detector.run.files import PARTIAL, LineLog, make_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LOG = logging.getLogger(__name__)

ROWS, TABLE, GALLERY = "results.jsonl", "results.parquet", "gallery.html"

DICOM_ENDINGS = (".sr.dcm", ".sc.dcm", ".pr.dcm")  # see `detector.report.dicom`
_ENDINGS = (OVERLAY_ENDING, HEATMAP_ENDING, XRAY_ENDING, *DICOM_ENDINGS)
_LONGEST_STEM = 120  # bytes: with hash and ending it stays below every file system's 255
_KEY_BYTES = 16  # of a hash that stands for a row: a tenth of what it stands for, and no two rows share one

# What `json.dumps` writes, as far as it got: whole tokens, then at most one that is cut off.
_JSON_BEGUN = re.compile(
    r'(?:"(?:[^"\\]|\\.)*"|[\[\]{}:, ]|-?\d[\d.eE+-]*|null|true|false)*'
    r'(?:"(?:[^"\\]|\\.)*\\?|-|n(?:ul?)?|t(?:ru?)?|f(?:a(?:ls?)?)?)?',
    re.ASCII,
)


@dataclass(frozen=True)
class Request:
    """What was asked of every image of a run.

    Attributes:
        question: mode and operating point.
        explain: whether saliency was asked for.
    """

    question: Question
    explain: bool


class Results:
    """A folder of results: ``results.jsonl``, and with explanations three files an image.

    What the file holds besides rows is left alone and said; of a last line without an end, only the beginning of a row
    is cut off.

    Args:
        folder: made if it does not exist.
        request: what is asked of every image.
        model: weights' SHA-256 of the network that answers.
        resume: pass over what is already there for the same file, content, model and options.
        dicom: whether DICOM images get DICOM results; those that lack them are not passed over.

    Attributes:
        dicom: as it was given.
        failed_before: whether a row that was passed over had failed unexpectedly.
        passed_over: how many files had their row already.

    Raises:
        OutputError: if the folder can't be written, or another run is writing to it.
    """

    def __init__(self, folder: Path, request: Request, model: str, *, resume: bool, dicom: bool = False) -> None:
        self.folder, self.dicom = folder, dicom
        self.failed_before = False
        self.passed_over = 0
        self._request, self._model, self._resume = request, model, resume
        self._status: dict[bytes, str] = {}
        self._hashes: dict[str, tuple[str | None, ...]] = {}
        self._lacking: set[bytes] = set()
        self._owners: dict[str, str] = {}
        make_folder(folder)
        self._log = LineLog(folder / ROWS)
        try:
            last = self._log.unfinished()
            if last and begins_a_row(last):  # what an interrupted write has left
                self._log.cut(last)
            for row in self._rows(say=True):
                self._learn(row)
            _clear_partial_files(folder)
        except OutputError:
            self._log.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()  # and with it goes the lock

    def holds(self, path: str, sha256: str | None) -> bool:
        """Whether a resumed run already has the row of this file."""
        key = self._key(path, sha256)
        return self._resume and key in self._status and key not in self._lacking

    def hashes(self, path: str) -> tuple[str | None, ...]:
        """Contents of a path that a resumed run passes over, by their SHA-256; for those who can't ask `holds`."""
        return self._hashes.get(path, ())

    def pass_over(self, path: str, sha256: str | None) -> None:
        """Note that a file is left out because its row is there."""
        self.passed_over += 1
        self.failed_before |= self._status[self._key(path, sha256)] == "error"

    def append(self, row: Row) -> None:
        """Write one row and flush it to the disk, unless the same question already has its row.

        Raises:
            OutputError: if it can't be written; no part of the row stays.
        """
        key = self._key_of(row)
        if key not in self._status:
            self._log.add(json.dumps(row).encode())
            self._status[key] = row["status"]

    def save_maps(self, row: Row, maps: Maps) -> Path:
        """Write ``NAME.overlay.png``, ``NAME.heatmap.npy`` (the image's rows and columns) and ``NAME.xray.jpg``.

        Returns:
            Path of the overlay; no other answer gets the same.

        Raises:
            OutputError: if they can't be written.
        """
        stem = self._stem(row)
        write_whole(self.folder / (stem + XRAY_ENDING), maps.xray)
        write_whole(self.folder / (stem + HEATMAP_ENDING), maps.heatmap)
        write_whole(self.folder / (stem + OVERLAY_ENDING), maps.overlay)
        return self.folder / (stem + OVERLAY_ENDING)

    def save_dicom(self, row: Row, files: Mapping[str, bytes]) -> None:
        """Write ``NAME.sr.dcm``, ``NAME.sc.dcm`` and ``NAME.pr.dcm``, as `detector.report.dicom` makes them.

        Raises:
            OutputError: if they can't be written.
        """
        stem = self._stem(row)
        for kind, content in files.items():
            write_whole(self.folder / f"{stem}.{kind}.dcm", content)

    def asked(self) -> Iterator[Row]:
        """Rows of the folder that answer what this run asks, one by one.

        Raises:
            OutputError: if they can't be read.
        """
        return (row for row in self._rows() if self._key_of(row) == self._key(row["path"], row["input"]["sha256"]))

    def answers(self) -> list[Row]:
        """The latest of `asked` of each path, in order of the paths' arrival.

        Raises:
            OutputError: if they can't be read.
        """
        return list({row["path"]: row for row in self.asked()}.values())

    def _rows(self, *, say: bool = False) -> Iterator[Row]:
        for number, line in enumerate(self._log.lines(), start=1):
            try:
                if line:
                    yield read_row(line)
            except ValueError as error:
                if say:
                    _LOG.warning("%s, line %d is no result, so it was left alone: %s", self._log.path, number, error)

    def _lacks_dicom(self, row: Row) -> bool:
        overlay = row["saliency"] and row["saliency"]["overlay"]
        if row["status"] != "ok" or row["input"]["format"] != "DICOM" or not overlay:
            return False
        stem = _name(overlay).removesuffix(OVERLAY_ENDING)
        return not all((self.folder / (stem + ending)).exists() for ending in DICOM_ENDINGS)

    def _learn(self, row: Row) -> None:
        """Take note of a row that the folder holds already."""
        key, path, sha256 = self._key_of(row), row["path"], row["input"]["sha256"]
        self._status[key] = row["status"]
        if self.dicom and self._lacks_dicom(row):
            self._lacking.add(key)
        elif self._resume and key == self._key(path, sha256):
            self._hashes[path] = (*self._hashes.get(path, ()), sha256)
        if row["saliency"] and row["saliency"]["overlay"]:
            self._owners[_name(row["saliency"]["overlay"])] = owner_of(row)

    def _key(self, path: str, sha256: str | None) -> bytes:
        question = self._request.question
        request = replace(self._request, question=replace(question, site=None))  # two files of one site are one site
        return _hashed(path, sha256, self._model, question.site.sha256 if question.site else None, request)

    def _key_of(self, row: Row) -> bytes:
        """What a row answers. What it does not say is taken to be as this run asks it."""
        point, site = row["operating_point"], row["site"]
        name = point["name"] if point else self._request.question.operating_point
        explain = row["saliency"] is not None if row["status"] == "ok" else self._request.explain
        request = Request(Question(row["mode"], name), explain)
        model = row["model"]["sha256"]
        return _hashed(row["path"], row["input"]["sha256"], model, site["sha256"] if site else None, request)

    def _stem(self, row: Row) -> str:
        owner = owner_of(row)
        stem = Path(row["path"]).stem.encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore") or "image"
        if self._owners.setdefault(stem + OVERLAY_ENDING, owner) != owner:
            stem += "-" + hashlib.sha256(owner.encode("utf-8", "surrogateescape")).hexdigest()[:12]
            self._owners[stem + OVERLAY_ENDING] = owner
        return stem


def is_result(name: str) -> bool:
    """Whether a file of this name is one that a run writes into its folder."""
    name = name.removesuffix(PARTIAL)
    return name in {ROWS, TABLE, GALLERY} or name.endswith(_ENDINGS)


def owner_of(row: Row) -> str:
    """What saved maps belong to: one file's content, explained for one class by one model."""
    target = row["saliency"]["target_class"] if row["saliency"] else None
    return "\n".join([row["path"], str(row["input"]["sha256"]), row["model"]["sha256"], row["mode"], str(target)])


def _hashed(path: str, sha256: str | None, model: str, site: str | None, request: Request) -> bytes:
    """What stands for a row: its path and content, the hashes of model and site, and what was asked."""
    asked = ascii((path, sha256, model, site, request.question.mode, request.question.operating_point, request.explain))
    return hashlib.blake2b(asked.encode(), digest_size=_KEY_BYTES).digest()


def begins_a_row(line: bytes) -> bool:
    """Whether a line is what an interrupted write leaves of a row: its first bytes, but not all of them."""
    try:
        text, place = line.decode("ascii"), 0
    except UnicodeDecodeError:
        return False
    for number, name in enumerate(Row.__annotations__):
        head = f"{', ' if number else '{'}{json.dumps(name)}: "
        if not text.startswith(head, place):
            return head.startswith(text[place:])
        place += len(head)
        try:
            place = json.JSONDecoder().raw_decode(text, place)[1]
        except ValueError:
            return _is_begun(text[place:])
    return place == len(text)  # only its brace is missing


def _is_begun(value: str) -> bool:
    """Whether text is the beginning of a JSON value."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", value)
    closed = sum(outside.count(c) for c in "[{") <= sum(outside.count(c) for c in "]}")
    return _JSON_BEGUN.fullmatch(value) is not None and not (closed and value[:1] in {"[", "{"})


def _name(overlay_path: str) -> str:
    return os.path.basename(overlay_path)  # noqa: PTH119 - a path that another system may have written


def _clear_partial_files(folder: Path) -> None:
    """Remove what a killed run had begun to write."""
    try:
        for path in folder.glob("*" + PARTIAL):
            if is_result(path.name):
                path.unlink()
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}.") from error
