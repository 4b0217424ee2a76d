"""The command line: ``python -m detector predict | train | evaluate | models``.

Standard output carries results and nothing else; progress and messages go to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector import __version__
from detector.calibration import BALANCED, SENSITIVE, SPECIFIC
from detector.card import DEFAULT_MODEL, MODELS, model_names, read_card
from detector.errors import DetectorError, ManifestError, ModelError, OutputError
from detector.report import Request, csv_line, table_line
from detector.schema import BINARY, NOTICE, TASKS, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LOG = logging.getLogger("detector")

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_MODEL, EXIT_OUTPUT = 0, 1, 2, 3, 4
_SIGNAL_BASE = 128  # a shell's convention: 128 + 15 = 143 after SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; the process's own where None.

    Returns:
        The exit status: 0 every file was analysed or refused for a stated reason, 1 some file failed unexpectedly,
        2 usage, 3 the model is missing or fails its check, 4 the output cannot be written, 143 after SIGTERM.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s"
    )
    logging.getLogger("detector.training").setLevel(logging.INFO)
    try:
        return options.run(options)
    except ModelError as error:
        return _fail(error, EXIT_MODEL)
    except OutputError as error:
        _silence_stdout()
        return _fail(error, EXIT_OUTPUT)
    except ManifestError as error:
        return _fail(error, EXIT_USAGE)
    except DetectorError as error:
        return _fail(error, EXIT_FAILED)
    except BrokenPipeError:  # the reader of a pipe went away: nothing more can be written
        _silence_stdout()
        return EXIT_OUTPUT


def _silence_stdout() -> None:
    """Let what could not be written go, so that the interpreter's last flush doesn't fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: DetectorError, status: int) -> int:
    _LOG.error("%s\n(%s)", error.user_message, error)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m detector", description=__doc__, epilog=NOTICE)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="say more on standard error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_prepare(commands)
    _add_audit(commands)
    models = commands.add_parser("models", help="list the models with hash and measured performance")
    models.set_defaults(run=_models)
    return parser


def _add_predict(commands: Any) -> None:
    parser = commands.add_parser("predict", help="analyse files and folders of chest X-rays", epilog=NOTICE)
    parser.add_argument(
        "paths", nargs="+", type=_existing_path, metavar="PATH", help="a file, or a folder with all below it"
    )
    parser.add_argument("--mode", type=_mode, choices=[task.mode for task in TASKS], default=BINARY.mode)
    parser.add_argument("--operating-point", type=_word, choices=[BALANCED, SENSITIVE, SPECIFIC], default=BALANCED)
    parser.add_argument("--explain", action="store_true", help="say where the evidence lies; with --out, save it")
    parser.add_argument("--out", type=Path, metavar="DIR", help="append results to DIR/results.jsonl")
    parser.add_argument("--format", choices=["table", "jsonl", "csv"], default="table")
    parser.add_argument("--resume", action="store_true", help="pass over what DIR already holds")
    _add_model(parser)
    parser.set_defaults(run=_predict)


def _add_train(commands: Any) -> None:
    parser = commands.add_parser("train", help="train the network and write it with its card")
    parser.add_argument("--manifest", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what the manifest's paths are relative to")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/latest"), metavar="DIR", help="checkpoints, log and model"
    )
    parser.add_argument("--resume", action="store_true", help="go on from DIR's checkpoint")
    parser.add_argument("--batches", type=int, help="length of the run")
    parser.add_argument("--peak-learning-rate", type=float, metavar="RATE", help="reached after the warm-up")
    parser.add_argument("--frozen-units", type=int, metavar="N", help="the stem and N units keep their first weights")
    parser.add_argument("--initial", metavar="FILE.keras", help="go on from this network instead of ImageNet's weights")
    parser.add_argument("--lung-weight", type=float, metavar="W", help="cost of evidence outside the lungs (0: none)")
    parser.add_argument("--seed", type=int, help="of everything random")
    parser.add_argument("--task", choices=["classifier", "lungs"], default="classifier", help="which network")
    parser.set_defaults(run=_train)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="measure the network on labelled X-rays")
    parser.add_argument("folder", nargs="?", type=_existing_path, metavar="FOLDER", help="with a sub-folder a label")
    parser.add_argument("--manifest", type=Path, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what the manifest's paths are relative to")
    parser.add_argument("--split", help="rows of the manifest to use; all where it has no splits (default: test)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation"), metavar="DIR")
    _add_model(parser)
    parser.set_defaults(run=_evaluate)


def _add_prepare(commands: Any) -> None:
    parser = commands.add_parser("prepare", help="build a manifest from the public collections as downloaded")
    for name, words in (
        ("ieee8023", "covid-chestxray-dataset: metadata.csv and images/"),
        ("nih", "NIH ChestX-ray14: Data_Entry_2017*.csv and images*/images/"),
        ("kaggle", "Chest X-Ray Images (Pneumonia): train/, val/ and test/"),
        ("raddb", "COVID-19 Radiography Database: COVID/, Normal/ and more"),
    ):
        parser.add_argument(f"--{name}", type=_existing_path, metavar="DIR", help=words)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="manifest.csv, images/; goes on there")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N pictures of each source and label")
    parser.add_argument("--tfrecord", action="store_true", help="also write TFRecord shards")
    parser.set_defaults(run=_prepare)


def _add_audit(commands: Any) -> None:
    parser = commands.add_parser("audit", help="measure how near baselines that see no lung come to the network")
    parser.add_argument("--manifest", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what the manifest's paths are relative to")
    parser.add_argument("--out", type=Path, default=Path("out/audit"), metavar="DIR")
    _add_model(parser)
    parser.set_defaults(run=_audit)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help="which network (see: models)")


def _mode(text: str) -> str:
    """A mode in any case, also by the names that the earlier project gave them: "Binary", "Multi-Label"."""
    word = _word(text)
    return THREE_CLASS.mode if word == "multi-label" else word


def _word(text: str) -> str:
    return text.strip().lower()


def _existing_path(text: str) -> Path:
    path = Path(text)
    if not os.path.lexists(path):  # unlike Path.exists it says no, not OSError, to a name that is too long
        raise argparse.ArgumentTypeError(f"there is no file or folder {text!r}")
    return path


def _predict(options: argparse.Namespace) -> int:
    if options.resume and options.out is None:
        _LOG.error("--resume needs --out: it passes over what that folder already holds.")
        return EXIT_USAGE
    # Imported here: TensorFlow takes seconds, and a wrong option should be said at once.
    from detector.batch import Results, find_files, predict_files  # noqa: PLC0415
    from detector.classifier import Classifier  # noqa: PLC0415

    request = Request(options.mode, options.operating_point, options.explain)
    stop = _stop_on_signals()
    classifier = Classifier.load(options.model, options.models)
    files = _Progress(list(find_files(options.paths, out=options.out)), stop)
    write, failed = _writer(options.format), False
    out = (
        Results(options.out, request, classifier.card.sha256, resume=options.resume)
        if options.out
        else contextlib.nullcontext()
    )
    with out as results:
        for row in predict_files(files, classifier, request, results=results):
            write(row)
            failed |= row["status"] == "error"
        failed |= results is not None and results.failed_before
    if stop():
        return _SIGNAL_BASE + stop()
    return EXIT_FAILED if failed else EXIT_OK


class _Progress:
    """Hands out files until a signal comes, with rate and time left on a terminal."""

    def __init__(self, files: Sequence[Path], stop: Callable[[], int]) -> None:
        self._files, self._stop = files, stop

    def __iter__(self) -> Iterator[Path]:
        began = time.monotonic()
        for done, path in enumerate(self._files):
            if self._stop():
                return
            self._show(done, time.monotonic() - began)
            yield path
        self._show(len(self._files), time.monotonic() - began)

    def _show(self, done: int, seconds: float) -> None:
        if done and sys.stderr.isatty():
            left = seconds / done * (len(self._files) - done)
            end = "\n" if done == len(self._files) else ""
            sys.stderr.write(f"\r{done}/{len(self._files)}  {done / seconds:.1f} a second, {left:.0f} s left {end}")


def _stop_on_signals() -> Callable[[], int]:
    """Note SIGTERM and SIGINT instead of dying of them; the returned function gives the signal's number, or 0."""
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: received.append(signum))
    return lambda: received[0] if received else 0


def _writer(form: str) -> Callable[[dict[str, Any]], None]:
    """Write rows to standard output, flushed one by one."""
    first = True

    def write(row: dict[str, Any]) -> None:
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


def _train(options: argparse.Namespace) -> int:
    from detector.training.commands import train_classifier, train_lungs  # noqa: PLC0415

    names = ["batches", "peak_learning_rate", "seed"]
    if options.task == "classifier":
        names += ["frozen_units", "initial", "lung_weight"]
    settings = {name: value for name in names if (value := getattr(options, name)) is not None}
    train = train_lungs if options.task == "lungs" else train_classifier
    train(options.manifest, options.images or options.manifest.parent, options.out, settings, resume=options.resume)
    return EXIT_OK


def _evaluate(options: argparse.Namespace) -> int:
    if (options.folder is None) == (options.manifest is None):
        _LOG.error("Name either a FOLDER with a sub-folder for each label, or a --manifest.")
        return EXIT_USAGE
    from detector.classifier import Classifier  # noqa: PLC0415
    from detector.training.evaluate import evaluate  # noqa: PLC0415
    from detector.training.labelled import labelled_folder, labelled_manifest  # noqa: PLC0415

    if options.folder:
        cohort = labelled_folder(options.folder)
    else:
        cohort = labelled_manifest(options.manifest, options.split, options.images)
    classifier = Classifier.load(options.model, options.models)
    log = options.models / "evaluation" / "training_log.jsonl"
    metrics = evaluate(
        cohort.examples, cohort.images, classifier, options.out, name=cohort.name, notes=cohort.notes, training_log=log
    )
    _LOG.warning("The report: %s", options.out / "report.html")
    sys.stdout.write(json.dumps(metrics["overall"], indent=2) + "\n")
    return EXIT_OK


def _prepare(options: argparse.Namespace) -> int:
    from detector.training.prepare import prepare  # noqa: PLC0415
    from detector.training.public_collections import COLLECTIONS  # noqa: PLC0415

    folders = {name: folder for name in COLLECTIONS if (folder := getattr(options, name)) is not None}
    if not folders:
        _LOG.error("Name at least one collection: %s.", ", ".join(f"--{name} DIR" for name in COLLECTIONS))
        return EXIT_USAGE
    prepared = prepare(folders, options.out, limit=options.limit, tfrecord=options.tfrecord)
    sys.stderr.write(prepared.summary() + "\n")
    return EXIT_OK


def _audit(options: argparse.Namespace) -> int:
    from detector.classifier import Classifier  # noqa: PLC0415
    from detector.training.audit import audit  # noqa: PLC0415

    classifier = Classifier.load(options.model, options.models)
    found = audit(options.manifest, options.images or options.manifest.parent, classifier, options.out)
    sys.stdout.write(json.dumps(found["splits"], indent=2) + "\n")
    return EXIT_OK


def _models(options: argparse.Namespace) -> int:
    del options
    for name in model_names():
        card = read_card(MODELS / f"{name}.json")
        sys.stdout.write(f"{card.name} {card.version}\n  sha256 {card.sha256}\n")
        for cohort, figures in card.performance.items():
            for figure, estimate in figures.items():
                sys.stdout.write(f"  {cohort}: {figure} {_estimate(estimate)}\n")
    return EXIT_OK


def _estimate(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return f"not measured ({estimate['reason']})"
    interval = "" if estimate["ci_low"] is None else f" (95 % {estimate['ci_low']:.3f} to {estimate['ci_high']:.3f})"
    return f"{estimate['value']:.3f}{interval}, n = {estimate['n']}"
