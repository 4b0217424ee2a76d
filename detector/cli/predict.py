"""``predict``: analyse files and folders of chest X-rays."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

from tqdm.contrib.logging import logging_redirect_tqdm

from detector.cli import common
from detector.errors import OutputError
from detector.model.card import read_card
from detector.read import sandbox
from detector.report.rows import Row, Tally, csv_line, table_line
from detector.run.progress import progress_bar
from detector.schema import NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from detector.model.card import ModelCard
    from detector.run.results import Request, Results

_LOG = logging.getLogger("detector")


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("predict", help="analyse files and folders of chest X-rays", epilog=NOTICE)
    parser.add_argument(
        "paths", nargs="*", type=_place, metavar="PATH", help="a file, a folder with all below it, or an address"
    )
    parser.add_argument("--manifest", type=Path, metavar="FILE.csv", help="a list with a column `image`")
    parser.add_argument("--images", metavar="DIR", help="what the list's paths are relative to; also an address")
    common.add_question(parser)
    parser.add_argument(
        "--explain", action="store_true", help="say where the evidence lies; with --out, save maps and a gallery"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="append results to DIR/results.jsonl")
    parser.add_argument(
        "--dicom", action="store_true", help="DICOM images get DICOM results, with maps, for their study; needs --out"
    )
    parser.add_argument("--format", choices=["table", "jsonl", "csv"], default="table")
    parser.add_argument("--resume", action="store_true", help="pass over what DIR already holds")
    parser.add_argument(
        "--engine", choices=["local", "ray"], default="local", help="who does the work; ray needs the extra `cluster`"
    )
    parser.add_argument(
        "--ray-address", metavar="HOST:PORT", help="a Ray cluster that is there; without it, one on this computer"
    )
    common.add_site(parser)
    common.add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    if (wrong := _contradiction(options)) is not None:
        _LOG.error(wrong)
        return common.EXIT_USAGE
    _end_at_once_on_signals()
    card, out = read_card(options.models / f"{options.model}.json"), sys.stdout
    with _engine(options, card) as predict:
        site = common.read_site_option(options.site, card)
        # Imported here, while the decoder starts; a wrong option or a missing model is said before.
        from detector.answers.answer import Question  # noqa: PLC0415
        from detector.run.inputs import find_inputs  # noqa: PLC0415
        from detector.run.results import Request, Results  # noqa: PLC0415

        question = Question(options.mode, options.operating_point, site=site)
        request = Request(question, options.explain or options.dicom)
        files: Iterable[str] = find_inputs(
            options.paths, manifest=options.manifest, images=options.images, out=options.out
        )
        job = _Job(predict, card, request, options.format, out, common.stop_on_signals())
        if options.engine == "local":
            files = list(files)  # so that the time left is known; of a cluster's millions only the rate is
        if options.out is None:
            failed = _answer_all(files, job)
        else:
            with Results(options.out, request, card.sha256, resume=options.resume, dicom=options.dicom) as results:
                failed = _answer_all(files, job, results)
                _show_gallery(results, job)
                if options.engine == "ray":
                    _write_table(results, job)
    if job.stop():
        return common.SIGNAL_BASE + job.stop()
    return common.EXIT_FAILED if failed else common.EXIT_OK


@dataclass(frozen=True)
class _Job:
    """What the steps of a run share; `predict` is `predict_files` or `predict_on_cluster`, which take the same."""

    predict: Callable[..., Generator[Row]]
    card: ModelCard
    request: Request
    form: str
    out: TextIO
    stop: Callable[[], int]


def _contradiction(options: argparse.Namespace) -> str | None:
    """What is wrong with the options, if anything is."""
    if not options.paths and options.manifest is None:
        return "There is nothing to analyse: name a file, a folder or an address, or a --manifest."
    if options.resume and options.out is None:
        return "--resume needs --out: it passes over what that folder already holds."
    if options.dicom and options.out is None:
        return "--dicom needs --out: the DICOM results are files."
    if options.ray_address is not None and options.engine != "ray":
        return "--ray-address needs --engine ray."
    return None


def _place(text: str) -> Path | str:
    """A path that exists, or an address.

    Raises:
        ArgumentTypeError: if the path does not exist, or the address holds a password, which would be in every row.
    """
    if "://" not in text:
        return common.existing_path(text)
    if urlsplit(text).password is not None:
        raise argparse.ArgumentTypeError("an address must not hold a password; stores take theirs from the environment")
    return text


@contextlib.contextmanager
def _engine(options: argparse.Namespace, card: ModelCard) -> Iterator[Callable[..., Generator[Row]]]:
    """The engine that the options name, ready to work."""
    if options.engine == "ray":
        from detector.run.cluster import Network, cluster, predict_on_cluster  # noqa: PLC0415 - it takes a while

        with cluster(options.ray_address):
            yield partial(predict_on_cluster, network=Network(options.models.resolve(), card))
    else:
        sandbox.warm_up()
        from detector.model.engine import Engine  # noqa: PLC0415 - while the decoder starts
        from detector.run.predict import predict_files  # noqa: PLC0415

        yield partial(predict_files, engine=Engine.load(options.model, options.models))


def _answer_all(files: Iterable[str], job: _Job, results: Results | None = None) -> bool:
    """Analyse, write rows, show progress, sum up; returns whether a file failed unexpectedly, now or before."""
    write, tally, shared = _writer(job.form, job.out), Tally(), job.out.isatty()
    total = len(files) if isinstance(files, list) else None
    with (
        progress_bar(total) as bar,
        logging_redirect_tqdm(),
        contextlib.closing(
            job.predict(
                files, request=job.request, results=results, stop=lambda: bool(job.stop()), on_finished=bar.update
            )
        ) as rows,
    ):
        for row in rows:
            tally.add(row)
            with bar.external_write_mode() if shared else contextlib.nullcontext():
                write(row)
    _sum_up(tally, total, results, stopped=bool(job.stop()))
    return tally.failed or (results is not None and results.failed_before)


def _sum_up(tally: Tally, files: int | None, results: Results | None, *, stopped: bool) -> None:
    """What came of the run, on standard error; the row of a single file says it all."""
    passed_over = results.passed_over if results else 0
    left = files - tally.files - passed_over if files is not None else 0
    lines = tally.lines()
    lines += [f"  {passed_over} more have their row in {results.folder} already"] if results and passed_over else []
    lines += [f"  stopped: {left} of {files} are left"] if left else []
    lines += ["  stopped before the end"] if stopped and files is None else []
    if files != 1 or left:
        sys.stderr.write("\n".join(lines) + "\n")


def _write_table(results: Results, job: _Job) -> None:
    """Write the rows of a finished run as Parquet, too."""
    if job.stop():
        return
    from detector.run.results import TABLE  # noqa: PLC0415
    from detector.run.table import write_table  # noqa: PLC0415

    write_table(results.folder / TABLE, results.asked())


def _show_gallery(results: Results, job: _Job) -> None:
    """Write the gallery of a finished run; a stopped one has seconds to end."""
    if not job.request.explain:
        return
    if job.stop():
        sys.stderr.write("The gallery is made when the run is finished: the same command with --resume.\n")
        return
    from detector.report.gallery import gallery_page  # noqa: PLC0415
    from detector.run.files import write_whole  # noqa: PLC0415
    from detector.run.results import GALLERY  # noqa: PLC0415

    path = results.folder / GALLERY
    write_whole(path, gallery_page(results.folder, results.answers(), job.card).encode())
    sys.stderr.write(f"Gallery: {path}\n")


def _end_at_once_on_signals() -> None:
    """While the network loads, nothing is half done and nothing has to be waited for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: os._exit(common.SIGNAL_BASE + signum))


def _writer(form: str, out: TextIO) -> Callable[[Row], None]:
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
            out.buffer.write(text.encode("utf-8", "backslashreplace"))
            out.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"Standard output cannot be written: {error}.") from error
        first = False

    return write
