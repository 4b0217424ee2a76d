"""``predict``: analyse files and folders of chest X-rays."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.contrib.logging import logging_redirect_tqdm

from detector.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    SIGNAL_BASE,
    Commands,
    add_model,
    add_question,
    add_site,
    existing_path,
    read_site_option,
    stop_on_signals,
)
from detector.errors import OutputError
from detector.model.card import read_card
from detector.read import sandbox
from detector.report.rows import Row, Tally, csv_line, table_line
from detector.run.progress import progress_bar
from detector.schema import NOTICE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from detector.model.engine import Engine
    from detector.run.results import Request, Results

_LOG = logging.getLogger("detector")


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("predict", help="analyse files and folders of chest X-rays", epilog=NOTICE)
    parser.add_argument(
        "paths", nargs="+", type=existing_path, metavar="PATH", help="a file, or a folder with all below it"
    )
    add_question(parser)
    parser.add_argument(
        "--explain", action="store_true", help="say where the evidence lies; with --out, save maps and a gallery"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="append results to DIR/results.jsonl")
    parser.add_argument(
        "--dicom", action="store_true", help="DICOM images get DICOM results, with maps, for their study; needs --out"
    )
    parser.add_argument("--format", choices=["table", "jsonl", "csv"], default="table")
    parser.add_argument("--resume", action="store_true", help="pass over what DIR already holds")
    add_site(parser)
    add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    if options.resume and options.out is None:
        _LOG.error("--resume needs --out: it passes over what that folder already holds.")
        return EXIT_USAGE
    if options.dicom and options.out is None:
        _LOG.error("--dicom needs --out: the DICOM results are files.")
        return EXIT_USAGE
    _end_at_once_on_signals()
    read_card(options.models / f"{options.model}.json")
    sandbox.warm_up()
    # Imported here, while the decoder starts; a wrong option or a missing model is said before.
    from detector.answers.answer import Question  # noqa: PLC0415
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.run.predict import find_files  # noqa: PLC0415
    from detector.run.results import Request, Results  # noqa: PLC0415

    engine = Engine.load(options.model, options.models)
    site = read_site_option(options.site, engine.card)
    question = Question(options.mode, options.operating_point, site=site)
    request = Request(question, options.explain or options.dicom)
    files = list(find_files(options.paths, out=options.out))
    stop = stop_on_signals()
    if options.out is None:
        failed = _answer_all(files, engine, request, options.format, stop)
    else:
        with Results(options.out, request, engine.card.sha256, resume=options.resume, dicom=options.dicom) as results:
            failed = _answer_all(files, engine, request, options.format, stop, results)
            _show_gallery(results, engine, request, stop)
    if stop():
        return SIGNAL_BASE + stop()
    return EXIT_FAILED if failed else EXIT_OK


def _answer_all(
    files: Sequence[Path],
    engine: Engine,
    request: Request,
    form: str,
    stop: Callable[[], int],
    results: Results | None = None,
) -> bool:
    """Analyse, write rows, show progress, sum up; returns whether a file failed unexpectedly, now or before."""
    from detector.run.predict import predict_files  # noqa: PLC0415

    write, tally, shared = _writer(form), Tally(), sys.stdout.isatty()
    with (
        progress_bar(len(files)) as bar,
        logging_redirect_tqdm(),
        contextlib.closing(
            predict_files(files, engine, request, results=results, stop=lambda: bool(stop()), on_finished=bar.update)
        ) as rows,
    ):
        for row in rows:
            tally.add(row)
            with bar.external_write_mode() if shared else contextlib.nullcontext():
                write(row)
    _sum_up(tally, len(files), results)
    return tally.failed or (results is not None and results.failed_before)


def _sum_up(tally: Tally, files: int, results: Results | None) -> None:
    """What came of the run, on standard error; the row of a single file says it all."""
    passed_over = results.passed_over if results else 0
    left = files - tally.files - passed_over
    lines = tally.lines()
    lines += [f"  {passed_over} more have their row in {results.folder} already"] if results and passed_over else []
    lines += [f"  stopped: {left} of {files} are left"] if left else []
    if files != 1 or left:
        sys.stderr.write("\n".join(lines) + "\n")


def _show_gallery(results: Results, engine: Engine, request: Request, stop: Callable[[], int]) -> None:
    """Write the gallery of a finished run; a stopped one has seconds to end."""
    if not request.explain:
        return
    if stop():
        sys.stderr.write("The gallery is made when the run is finished: the same command with --resume.\n")
        return
    from detector.report.gallery import gallery_page  # noqa: PLC0415
    from detector.run.files import write_whole  # noqa: PLC0415
    from detector.run.results import GALLERY  # noqa: PLC0415

    path = results.folder / GALLERY
    write_whole(path, gallery_page(results.folder, results.answers(), engine.card).encode())
    sys.stderr.write(f"Gallery: {path}\n")


def _end_at_once_on_signals() -> None:
    """While the network loads, nothing is half done and nothing has to be waited for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: os._exit(SIGNAL_BASE + signum))


def _writer(form: str) -> Callable[[Row], None]:
    """Write rows to standard output, flushed one by one."""
    first = True

    def write(row: Row) -> None:
        nonlocal first
        if form == "jsonl":
            text = json.dumps(row) + "\n"
        elif form == "csv":
            text = csv_line(row, header=first)
        else:
            text = table_line(row) + "\n" + (f"{NOTICE}\n" if first else "")
        try:
            sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"Standard output cannot be written: {error}.") from error
        first = False

    return write
