"""The command line: ``python -m detector predict | train | evaluate | audit-saliency | models``.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector import __version__, garbage
from detector.errors import DetectorError, ManifestError, ModelError, OutputError
from detector.model.calibration import BALANCED, SENSITIVE, SPECIFIC
from detector.model.card import DEFAULT_MODEL, MODELS, model_names, read_card
from detector.read import sandbox
from detector.report.rows import Request, Tally, csv_line, table_line
from detector.run.progress import Progress
from detector.schema import BINARY, NOTICE, TASKS, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detector.model.engine import Engine
    from detector.run.results import Results

_LOG = logging.getLogger("detector")

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_MODEL, EXIT_OUTPUT = 0, 1, 2, 3, 4
_SIGNAL_BASE = 128  # a shell's convention: 128 + 15 = 143 after SIGTERM
_GATE_SEED = 20261123  # of the shipped gate


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


def stopped_by_signal(status: int) -> bool:
    """Whether an exit status says that a signal ended the run."""
    return status > _SIGNAL_BASE


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
    _add_audit_saliency(commands)
    _add_prepare(commands)
    _add_audit(commands)
    _add_candidates(commands)
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
    parser.add_argument(
        "--explain", action="store_true", help="say where the evidence lies; with --out, save maps and a gallery"
    )
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
    parser.add_argument(
        "--initial", nargs="+", metavar="FILE.keras",
        help="go on from this network, or from the mean of several, instead of ImageNet's weights",
    )  # fmt: skip
    parser.add_argument(
        "--teachers", nargs="+", metavar="FILE.keras", help="hold the run to the mean logits of these networks as well"
    )
    parser.add_argument(
        "--teachers-of-whole", nargs="+", metavar="FILE.keras", help="the same, of networks that see whole pictures"
    )
    parser.add_argument(
        "--whole-pictures", dest="lung_crop", action="store_const", const=False,
        help="don't cut to the lungs: a network for --teachers-of-whole",
    )  # fmt: skip
    parser.add_argument("--lung-weight", type=float, metavar="W", help="cost of evidence outside the lungs (0: none)")
    parser.add_argument(
        "--swap-probability", type=float, metavar="P", help="chance that a picture's surroundings are exchanged"
    )
    parser.add_argument("--style", type=float, metavar="P", help="chance of a random filter and of a mixed spectrum")
    parser.add_argument("--seed", type=int, help="of everything random")
    parser.add_argument("--task", choices=["classifier", "lungs", "gate"], default="classifier", help="which part")
    parser.add_argument("--not-frontal", type=Path, metavar="FILE.csv", help="gate: side views, slices and limbs")
    parser.add_argument("--others", type=Path, metavar="DIR", help="gate: photographs and pages")
    parser.add_argument("--held-out", type=Path, metavar="DIR", help="gate: other photographs, to measure it by")
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


def _add_audit_saliency(commands: Any) -> None:
    parser = commands.add_parser("audit-saliency", help="measure how far the maps can be trusted")
    parser.add_argument("--manifest", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what the manifest's paths are relative to")
    parser.add_argument("--split", help="rows of the manifest to use; all where it has no splits (default: test)")
    parser.add_argument("--out", type=Path, default=Path("out/saliency"), metavar="DIR")
    parser.add_argument("--limit", type=int, metavar="N", help="images a label (default: 400)")
    parser.add_argument(
        "--finer",
        action="store_true",
        help="compare finer maps instead; choose by the validation split, not by the test",
    )
    _add_model(parser)
    parser.set_defaults(run=_audit_saliency)


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
    parser.add_argument(
        "--batches", type=int, default=0, metavar="N",
        help="also train networks of N batches: on blacked-out lungs, and without each pair of sources; goes on in DIR",
    )  # fmt: skip
    _add_model(parser)
    parser.set_defaults(run=_audit)


def _add_candidates(commands: Any) -> None:
    parser = commands.add_parser("candidates", help="train networks by one small protocol and compare them")
    parser.add_argument("--manifest", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what the manifest's paths are relative to")
    parser.add_argument("--out", type=Path, default=Path("out/candidates"), metavar="DIR", help="goes on there")
    parser.add_argument("--batches", type=int, required=True, metavar="N", help="length of each training")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="which ones (all)")
    parser.add_argument(
        "--pair", nargs=2, action="append", metavar=("POSITIVE", "NEGATIVE"),
        help="sources to leave out of a second training; may be repeated (every pair that can be)",
    )  # fmt: skip
    parser.add_argument("--no-pairs", dest="pair", action="store_const", const=[], help="no second training")
    parser.set_defaults(run=_candidates)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", type=Path, default=MODELS, metavar="DIR", help="the folder with the networks and their cards"
    )
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
    _end_at_once_on_signals()
    read_card(options.models / f"{options.model}.json")
    sandbox.warm_up()
    with garbage.paused():
        # Imported here: TensorFlow takes seconds, and a wrong option or a missing model should be said at once.
        from detector.model.engine import Engine  # noqa: PLC0415
        from detector.run.batch import find_files  # noqa: PLC0415
        from detector.run.results import Results  # noqa: PLC0415

        engine = Engine.load(options.model, options.models)
    request = Request(options.mode, options.operating_point, options.explain)
    files = list(find_files(options.paths, out=options.out))
    stop = _stop_on_signals()
    if options.out is None:
        failed = _answer_all(files, engine, request, options.format, stop)
    else:
        with Results(options.out, request, engine.card.sha256, resume=options.resume) as results:
            failed = _answer_all(files, engine, request, options.format, stop, results)
            _show_gallery(results, engine, request, stop)
    if stop():
        return _SIGNAL_BASE + stop()
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
    from detector.run.batch import predict_files  # noqa: PLC0415

    write, tally, progress = _writer(form), Tally(), Progress(len(files))
    rows = predict_files(files, engine, request, results=results, stop=lambda: bool(stop()), on_finished=progress.step)
    with contextlib.closing(rows), _kept_apart(progress):
        for row in rows:
            tally.add(row)
            if sys.stdout.isatty():
                progress.clear()
            write(row)
    _sum_up(tally, len(files), results)
    return tally.failed or (results is not None and results.failed_before)


@contextlib.contextmanager
def _kept_apart(progress: Progress) -> Iterator[None]:
    """Take the progress line away before a message, and at the end."""

    def clear(_record: logging.LogRecord) -> bool:
        progress.clear()
        return True

    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(clear)
    try:
        yield
    finally:
        progress.clear()
        for handler in handlers:
            handler.removeFilter(clear)


def _sum_up(tally: Tally, files: int, results: Results | None) -> None:
    """What came of the run, on standard error; the row of a single file says it all."""
    passed_over = results.passed_over if results else 0
    left = files - tally.files - passed_over
    lines = tally.lines()
    lines += [f"  {passed_over} more have their row in {results.folder} already"] if passed_over else []
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
    from detector.report.gallery import write_gallery  # noqa: PLC0415

    path = write_gallery(results.folder, results.answers(), engine.card)
    sys.stderr.write(f"Gallery: {path}\n")


def _end_at_once_on_signals() -> None:
    """While the network is loaded nothing is half done, and TensorFlow is not to be waited for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: os._exit(_SIGNAL_BASE + signum))


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
    from detector.training.fit.commands import train_classifier, train_gate, train_lungs  # noqa: PLC0415

    images = options.images or options.manifest.parent
    if options.task == "gate":
        if not (options.not_frontal and options.others):
            _LOG.error("The gate needs --not-frontal and --others.")
            return EXIT_USAGE
        train_gate(
            options.manifest, images, options.out,
            not_frontal=options.not_frontal, others=options.others, held_out=options.held_out,
            seed=options.seed or _GATE_SEED,
        )  # fmt: skip
        return EXIT_OK

    names = ["batches", "peak_learning_rate", "seed"]
    if options.task == "classifier":
        names += ["frozen_units", "initial", "lung_crop", "lung_weight", "style", "swap_probability"]
        names += ["teachers", "teachers_of_whole"]
    settings = {name: value for name in names if (value := getattr(options, name)) is not None}
    train = train_lungs if options.task == "lungs" else train_classifier
    train(options.manifest, images, options.out, settings, resume=options.resume)
    return EXIT_OK


def _evaluate(options: argparse.Namespace) -> int:
    if (options.folder is None) == (options.manifest is None):
        _LOG.error("Name either a FOLDER with a sub-folder for each label, or a --manifest.")
        return EXIT_USAGE
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.data.labelled import labelled_folder, labelled_manifest  # noqa: PLC0415
    from detector.training.measure.evaluate import evaluate  # noqa: PLC0415

    if options.folder:
        cohort = labelled_folder(options.folder)
    else:
        cohort = labelled_manifest(options.manifest, options.split, options.images)
    engine = Engine.load(options.model, options.models)
    log = options.models / "evaluation" / "training_log.jsonl"
    metrics = evaluate(
        cohort.examples, cohort.images, engine, options.out, name=cohort.name, notes=cohort.notes, training_log=log
    )
    _LOG.warning("The report: %s", options.out / "report.html")
    sys.stdout.write(json.dumps(metrics["overall"], indent=2) + "\n")
    return EXIT_OK


def _audit_saliency(options: argparse.Namespace) -> int:
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.audit.finer_maps import compare_finer_maps  # noqa: PLC0415
    from detector.training.audit.saliency import LIMIT, audit_saliency  # noqa: PLC0415
    from detector.training.data.labelled import labelled_manifest  # noqa: PLC0415

    run = compare_finer_maps if options.finer else audit_saliency
    cohort = labelled_manifest(options.manifest, options.split, options.images)
    engine = Engine.load(options.model, options.models)
    found = run(cohort.examples, cohort.images, engine, options.out, limit=options.limit or LIMIT)
    sys.stdout.write(json.dumps(found["headline"], indent=2) + "\n")
    return EXIT_OK


def _prepare(options: argparse.Namespace) -> int:
    from detector.training.data.prepare import prepare  # noqa: PLC0415
    from detector.training.data.public_collections import COLLECTIONS  # noqa: PLC0415

    folders = {name: folder for name in COLLECTIONS if (folder := getattr(options, name)) is not None}
    if not folders:
        _LOG.error("Name at least one collection: %s.", ", ".join(f"--{name} DIR" for name in COLLECTIONS))
        return EXIT_USAGE
    prepared = prepare(folders, options.out, limit=options.limit, tfrecord=options.tfrecord)
    sys.stderr.write(prepared.summary() + "\n")
    return EXIT_OK


def _audit(options: argparse.Namespace) -> int:
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.audit.contenders import audit  # noqa: PLC0415

    images = options.images or options.manifest.parent
    trainings = None
    if options.batches:
        from detector.training.fit.commands import audit_trainings  # noqa: PLC0415

        trainings = audit_trainings(options.manifest, images, options.out, batches=options.batches)
    engine = Engine.load(options.model, options.models)
    found = audit(options.manifest, images, engine, options.out, trainings=trainings)
    sys.stdout.write(json.dumps(found["splits"], indent=2) + "\n")
    return EXIT_OK


def _candidates(options: argparse.Namespace) -> int:
    from detector.training.audit.candidates import CANDIDATES  # noqa: PLC0415
    from detector.training.fit.commands import candidates  # noqa: PLC0415

    if unknown := sorted(set(options.names or ()) - set(CANDIDATES)):
        _LOG.error("There is no candidate %s; there are %s.", ", ".join(unknown), ", ".join(CANDIDATES))
        return EXIT_USAGE
    images = options.images or options.manifest.parent
    table = candidates(
        options.manifest,
        images,
        options.out,
        batches=options.batches,
        names=options.names or list(CANDIDATES),
        pairs=options.pair,
    )
    sys.stdout.write(json.dumps(table, indent=2) + "\n")
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
