"""Many files: find them, analyse several side by side, hand out the rows in order.

A worker takes a file through all steps, from its bytes to its encoded overlay, so that every core is busy. A pass takes
one image on one core (`detector.model.engine`), so an answer has the bits that it has alone. What has an order, naming
and writing, stays in the calling thread: a row is flushed before the next is handed out.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from detector.answers.answer import NoAnswer, answer
from detector.answers.pipeline import analyse
from detector.errors import UnreadablePathError
from detector.read.image_io import MAX_DICOM_BYTES, name_warnings
from detector.report.maps import Maps, draw_maps
from detector.report.rows import Row, answer_row, no_answer_row
from detector.run.pool import in_order, never
from detector.run.results import Request, Results, is_result

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from detector.answers.answer import Answer
    from detector.model.engine import Engine

_LOG = logging.getLogger(__name__)

_READ_LIMIT = MAX_DICOM_BYTES + 1  # enough to see that a file is too large, whatever its size
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # no pipe holds up the open


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
            for folder in folders:
                if Path(root, folder).is_symlink():
                    _LOG.warning("skipped, a link to a folder: %s", Path(root, folder))
            yield from (Path(root, name) for name in sorted(names))


def _may_be_regular(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may be listed but not entered: reading it gives the reason
        return True


def _is_own(absolute: Path, out: Path) -> bool:
    return is_result(absolute.name) and absolute.is_relative_to(os.path.abspath(out))  # noqa: PTH100


@dataclass(frozen=True)
class _File:
    """Bytes of a file and their hash; cut off where they exceed every limit, and then without one.

    To hash a file is to read all of it: a disk image in the folder would hold up the run for minutes, for a refusal.
    """

    data: bytes
    sha256: str | None


@dataclass(frozen=True, eq=False)
class _Done:
    """What a worker makes of one file: its row, maps and DICOM, or no row where the folder holds it already."""

    path: str
    sha256: str | None
    row: Row | None
    maps: Maps | None = None
    dicom: Mapping[str, bytes] | None = None


def predict_files(
    files: Iterable[Path],
    engine: Engine,
    request: Request,
    *,
    results: Results | None = None,
    stop: Callable[[], bool] = never,
    on_finished: Callable[[], object] = lambda: None,
) -> Generator[Row]:
    """Analyse files, several side by side.

    Args:
        files: what to analyse.
        engine: the network.
        request: the question, and whether to explain.
        results: folder to write to; with it each row is on the disk before it is yielded.
        stop: asked again and again; once it says so, no further file is begun.
        on_finished: called after each file, also after those that a resumed `results` passes over.

    Yields:
        One row a file in the order of the files; see `detector.report.rows`. Those that `results` already holds
        have none.

    Raises:
        OutputError: if a result can't be written.
    """

    def work(path: Path) -> _Done:
        return _answered(path, engine, request, results)

    for done in in_order(work, files, stop=stop):
        if done.row is not None:
            if results is not None:
                _save(done, done.row, results)
            yield done.row
        elif results is not None:
            results.pass_over(done.path, done.sha256)
        on_finished()


def _answered(path: Path, engine: Engine, request: Request, results: Results | None) -> _Done:
    """Everything about one file that needs no order. The run goes on whatever happens."""
    name, sha256 = str(path), None
    try:
        file = _read(path)
        sha256 = file.sha256
        if results is not None and results.holds(name, sha256):
            return _Done(name, sha256, None)
        analysis = analyse(file.data, engine)
        misnamed = name_warnings(path.name, analysis.radiograph.file_format)
        told = answer(replace(analysis, warnings=analysis.warnings + misnamed), request.question)
        row = answer_row(name, told, explained=request.explain)
        maps = draw_maps(told) if request.explain and results is not None else None
        dicom = _as_dicom(told, file.data) if results is not None and results.dicom else None
        return _Done(name, sha256, row, maps, dicom)
    except Exception as error:  # noqa: BLE001 - one file must not end the run
        if results is not None and results.holds(name, sha256):
            return _Done(name, sha256, None)
        told_why, asked = NoAnswer.of(error, name=name), request.question
        row = no_answer_row(name, told_why, mode=asked.mode, model=engine.card.info, sha256=sha256, site=asked.site)
        return _Done(name, sha256, row)


def _as_dicom(told: Answer, data: bytes) -> Mapping[str, bytes] | None:
    """The answer for the study of its image; None where the image is not DICOM."""
    if told.analysis.radiograph.file_format != "DICOM":
        return None
    from detector.read.sandbox import read_source  # noqa: PLC0415 - highdicom takes a second that few runs need
    from detector.report.dicom import write_results  # noqa: PLC0415

    return write_results(told, read_source(data))


def _save(done: _Done, row: Row, results: Results) -> None:
    """Write the maps first: a row in the folder promises that its overlay is there."""
    if done.dicom is not None:
        results.save_dicom(row, done.dicom)
    elif results.dicom and row["status"] == "ok":
        _LOG.warning("%s is no DICOM file, so it has no DICOM results", done.path)
    if done.maps is not None and row["saliency"] is not None:
        row["saliency"]["overlay"] = str(results.save_maps(row, done.maps))
    results.append(row)


def _read(path: Path) -> _File:
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _OPEN_FLAGS)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was one when the folder was read
                raise UnreadablePathError(f"{path} is no regular file.")
            data = file.read(_READ_LIMIT)
            return _File(data, hashlib.sha256(data).hexdigest() if len(data) < _READ_LIMIT else None)
    except OSError as error:
        raise UnreadablePathError(f"{path}: {error}") from error
