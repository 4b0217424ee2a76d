"""Many files: analyse several side by side, hand out the rows in order.

A worker takes a file through all steps, from its bytes to its encoded overlay, so that every core is busy. A pass takes
one image on one core (`detector.model.engine`), so an answer has the bits that it has alone. What has an order, naming
and writing, stays in the calling thread: a row is flushed before the next is handed out.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from detector.answers.answer import NoAnswer, answer
from detector.answers.pipeline import analyse
from detector.read.image_io import name_warnings
from detector.report.maps import Maps, draw_maps
from detector.report.rows import Row, answer_row, no_answer_row
from detector.run.inputs import read_input
from detector.run.pool import in_order, never

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from pathlib import Path

    from detector.answers.answer import Answer
    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.run.results import Request, Results

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What is made of every file of a run.

    Attributes:
        request: the question, and whether to explain.
        maps: whether maps are drawn.
        dicom: whether DICOM images get DICOM results.
    """

    request: Request
    maps: bool
    dicom: bool

    @classmethod
    def of(cls, request: Request, results: Results | None) -> Task:
        """The task of a run; only a folder can take maps and DICOM results."""
        return cls(request, maps=request.explain and results is not None, dicom=results is not None and results.dicom)


@dataclass(frozen=True, eq=False)
class Done:
    """What a worker makes of one file: its row, maps and DICOM, or no row where the folder holds it already."""

    path: str
    sha256: str | None
    row: Row | None
    maps: Maps | None = None
    dicom: Mapping[str, bytes] | None = None


def predict_files(
    files: Iterable[Path | str],
    engine: Engine,
    request: Request,
    *,
    results: Results | None = None,
    stop: Callable[[], bool] = never,
    on_finished: Callable[[], object] = lambda: None,
) -> Generator[Row]:
    """Analyse files, several side by side.

    Args:
        files: what to analyse, see `detector.run.inputs`.
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
    task = Task.of(request, results)

    def work(file: Path | str) -> Done:
        name = str(file)
        held = partial(results.holds, name) if results is not None else lambda _: False
        return answer_file(name, name, engine, task, held=held)

    with contextlib.closing(in_order(work, files, stop=stop)) as done:
        yield from written(done, results, on_finished)


def answer_file(name: str, place: str, engine: Engine, task: Task, *, held: Callable[[str | None], bool]) -> Done:
    """Everything about one file that needs no order. Whatever happens, the run goes on.

    The row says `name`; the file is read at `place`. `held` tells by the SHA-256 of a content whether it has its row.
    """
    sha256 = None
    try:
        file = read_input(place)
        sha256 = file.sha256
        if held(sha256):
            return Done(name, sha256, None)
        analysis = analyse(file.data, engine)
        misnamed = name_warnings(os.path.basename(name), analysis.radiograph.file_format)  # noqa: PTH119 - or an address
        told = answer(replace(analysis, warnings=analysis.warnings + misnamed), task.request.question)
        row = answer_row(name, told, explained=task.request.explain)
        maps = draw_maps(told) if task.maps else None
        return Done(name, sha256, row, maps, _as_dicom(told, file.data) if task.dicom else None)
    except Exception as error:  # noqa: BLE001 - one file must not end the run
        return Done(name, sha256, None) if held(sha256) else failed(name, error, engine.card, task, sha256=sha256)


def failed(name: str, error: Exception, card: ModelCard, task: Task, *, sha256: str | None = None) -> Done:
    """The row of a file that has no answer."""
    told_why, asked = NoAnswer.of(error, name=name), task.request.question
    row = no_answer_row(name, told_why, mode=asked.mode, model=card.info, sha256=sha256, site=asked.site)
    return Done(name, sha256, row)


def written(done: Iterable[Done], results: Results | None, on_finished: Callable[[], object]) -> Generator[Row]:
    """Write what workers made of files, in order, and hand out the rows; see `predict_files`."""
    for one in done:
        if one.row is not None:
            if results is not None:
                _save(one, one.row, results)
            yield one.row
        elif results is not None:
            results.pass_over(one.path, one.sha256)
        on_finished()


def _as_dicom(told: Answer, data: bytes) -> Mapping[str, bytes] | None:
    """The answer for the study of its image; None where the image is not DICOM."""
    if told.analysis.radiograph.file_format != "DICOM":
        return None
    from detector.read.sandbox import read_source  # noqa: PLC0415 - highdicom takes a second that few runs need
    from detector.report.dicom import write_results  # noqa: PLC0415

    return write_results(told, read_source(data))


def _save(done: Done, row: Row, results: Results) -> None:
    """Write the maps first: a row in the folder promises that its overlay is there."""
    if done.dicom is not None:
        results.save_dicom(row, done.dicom)
    elif results.dicom and row["status"] == "ok":
        _LOG.warning("%s is no DICOM file, so it has no DICOM results", done.path)
    if done.maps is not None and row["saliency"] is not None:
        row["saliency"]["overlay"] = str(results.save_maps(row, done.maps))
    results.append(row)
