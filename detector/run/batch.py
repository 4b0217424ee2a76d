"""Many files: find them, analyse several side by side, hand out the results in order.

A worker thread takes a file through all steps, from its bytes to its encoded overlay, so that every core is busy: while
one waits for the disk or decodes, the network runs on another's image. A pass takes one image on one core
(`detector.model.engine`), so an answer has the bits that it has alone. What has an order, naming and writing, stays in
the calling thread: a row is flushed before the next is handed out.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import queue
import stat
import threading
import time
from collections import deque
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from detector.answers.evidence import summarise
from detector.answers.pipeline import analyse
from detector.errors import DetectorError, UnreadablePathError
from detector.read.image_io import MAX_DICOM_BYTES, name_warnings
from detector.report.rows import Request, analysed_row, failed_row
from detector.run.results import draw_maps, is_result, owner_of
from detector.schema import task_by_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np

    from detector.answers.pipeline import Analysis
    from detector.model.engine import Engine
    from detector.run.results import Maps, Results
    from detector.schema import EvidenceSummary, Prediction

_LOG = logging.getLogger(__name__)

_Item, _Result = TypeVar("_Item"), TypeVar("_Result")

# Two more than the cores, of six at most: while one waits for its decoder, others run. Of the largest images each needs
# half a gigabyte.
WORKERS = min(os.cpu_count() or 1, 6) + 2
_AHEAD = 2  # files a worker that may wait, begun or finished, for their turn
_READ_LIMIT = MAX_DICOM_BYTES + 1  # enough to see that a file is too large, whatever its size
_POLL = 0.1  # seconds between looks at whether to stop
_FINISH = 1.0  # seconds that images under way have after a stop: one takes a tenth of that, but the disk may be busy
_LEAVE = 0.5  # seconds that the threads then have to come to an end
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # no pipe holds up the open


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
class _Answer:
    """What a worker makes of one file: its row and its maps, or no row where the folder holds it already."""

    path: Path
    sha256: str | None
    row: dict[str, Any] | None
    maps: Maps | None = None


def predict_files(
    files: Iterable[Path],
    engine: Engine,
    request: Request,
    *,
    results: Results | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_finished: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """Analyse files, several side by side.

    Args:
        files: what to analyse.
        engine: the network.
        request: mode, operating point, and whether to explain.
        results: folder to write to; with it each row is on the disk before it is yielded.
        stop: asked again and again; once it says so, no further file is begun.
        on_finished: called after each file, also after those that a resumed `results` passes over.

    Yields:
        One row a file in the order of the files; see `detector.report.rows`. Those that `results` already holds
        have none.

    Raises:
        OutputError: if a result can't be written.
    """

    def work(path: Path) -> _Answer:
        return _answer(path, engine, request, results)

    for answer in in_order(work, files, workers=WORKERS, stop=stop):
        if answer.row is None:
            results.pass_over(str(answer.path), answer.sha256)
        else:
            if results is not None:
                _save(answer, results)
            yield answer.row
        on_finished()


def in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int, stop: Callable[[], bool]
) -> Iterator[_Result]:
    """Map items in threads, a few ahead of the reader, and yield in their order.

    The threads are daemons of our own: those of an executor hold up the end of the program for as long as one of them
    waits for a disk that does not answer.

    Args:
        work: what to do; its error is raised where its result would be yielded.
        items: taken as there is room for them.
        workers: number of threads.
        stop: once true, what is under way is finished, if it is within seconds, and the rest is left.
    """
    todo: queue.SimpleQueue[tuple[Future[_Result], _Item] | None] = queue.SimpleQueue()
    threads = [threading.Thread(target=_serve, args=(work, todo), daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    waiting: deque[Future[_Result]] = deque()
    remaining = iter(items)
    try:
        while not stop():
            for item in itertools.islice(remaining, workers * _AHEAD - len(waiting)):
                waiting.append(Future())
                todo.put((waiting[-1], item))
            if not waiting:
                return
            if _is_finished(waiting[0], _POLL):
                yield waiting.popleft().result()
        yield from _begun(waiting, time.monotonic() + _FINISH)
    finally:
        _dismiss(threads, waiting, todo)


def _serve(work: Callable[[_Item], _Result], todo: queue.SimpleQueue[tuple[Future[_Result], _Item] | None]) -> None:
    while (job := todo.get()) is not None:
        future, item = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = work(item)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)


def _is_finished(future: Future, seconds: float) -> bool:
    return bool(wait([future], max(0, seconds)).done)


def _begun(waiting: Iterable[Future[_Result]], deadline: float) -> Iterator[_Result]:
    """Results of what had been begun when the stop came, in order, as far as they come, and are taken, in time."""
    under_way = [future for future in waiting if not future.cancel()]
    for future in under_way:
        left = deadline - time.monotonic()
        if left <= 0 or not _is_finished(future, left):
            return
        yield future.result()


def _dismiss(threads: Sequence[threading.Thread], waiting: Iterable[Future], todo: queue.SimpleQueue) -> None:
    for future in waiting:
        future.cancel()
    for _ in threads:
        todo.put(None)
    deadline = time.monotonic() + _LEAVE
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))


def _answer(path: Path, engine: Engine, request: Request, results: Results | None) -> _Answer:
    """Everything about one file that needs no order."""
    try:
        file = _read(path)
    except UnreadablePathError as error:
        file, failure = None, error
    sha256 = file.sha256 if file else None
    if results is not None and results.holds(str(path), sha256):
        return _Answer(path, sha256, None)
    if file is not None:
        try:
            return _analysed(path, file, engine, request, draw=results is not None)
        except DetectorError as error:
            failure = error
        except Exception:  # noqa: BLE001 - one file must not end the run; the log has the traceback
            _LOG.exception("unexpected failure on %s", path)
            failure = UnexpectedError()
    row = failed_row(str(path), failure, mode=request.mode, model=engine.card.info, sha256=sha256)
    return _Answer(path, sha256, row)


def _analysed(path: Path, file: _File, engine: Engine, request: Request, *, draw: bool) -> _Answer:
    analysis = analyse(file.data, engine)
    analysis = replace(analysis, warnings=analysis.warnings + name_warnings(path.name, analysis.radiograph.file_format))
    prediction = _predict(analysis, engine, request)
    if not request.explain:
        return _Answer(path, file.sha256, analysed_row(str(path), analysis, prediction))
    cam, full_scale = target_cam(analysis, prediction), engine.card.saliency_scale[prediction.task.name]
    summary = evidence_summary(analysis, cam, full_scale)
    row = analysed_row(str(path), analysis, prediction, explained=True, summary=summary)
    return _Answer(path, file.sha256, row, draw_maps(analysis, cam, full_scale=full_scale) if draw else None)


def _save(answer: _Answer, results: Results) -> None:
    """Write the maps first: a row in the folder promises that its overlay is there."""
    if answer.maps is not None:
        answer.row["saliency"]["overlay"] = str(results.save_maps(answer.path, owner_of(answer.row), answer.maps))
    results.append(answer.row)


def target_cam(analysis: Analysis, prediction: Prediction) -> np.ndarray:
    """Evidence for the prediction's target class, (h, w) on the network's grid."""
    task = prediction.task
    return analysis.cams[task.name][task.classes.index(prediction.target_class)]


def evidence_summary(analysis: Analysis, cam: np.ndarray, full_scale: float) -> EvidenceSummary | None:
    """How a map lies on the lungs of its image; None where no lung fields are known."""
    if analysis.lung_field is None:
        return None
    return summarise(cam, analysis.lung_field, analysis.geometry, full_scale=full_scale)


def _predict(analysis: Analysis, engine: Engine, request: Request) -> Prediction:
    task = task_by_mode(request.mode)
    calibration = engine.card.calibration
    return calibration.predict(task, analysis.logits[task.name], operating_point=request.operating_point)


def _read(path: Path) -> _File:
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _OPEN_FLAGS)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was one when the folder was read
                raise UnreadablePathError(f"{path} is no regular file.")
            data = file.read(_READ_LIMIT)
            return _File(data, hashlib.sha256(data).hexdigest() if len(data) < _READ_LIMIT else None)
    except OSError as error:
        raise UnreadablePathError(f"{path}: {error}") from error
