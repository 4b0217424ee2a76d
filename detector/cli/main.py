"""The command line: one file a command beside this one.

Standard output carries results and nothing else; progress and messages go to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from detector import __version__
from detector.cli import (
    app,
    audit,
    audit_saliency,
    calibrate,
    candidates,
    compare,
    evaluate,
    models,
    node,
    pacs,
    predict,
    prepare,
    train,
)
from detector.cli.common import EXIT_FAILED, EXIT_MODEL, EXIT_OUTPUT, EXIT_USAGE, SIGNAL_BASE
from detector.errors import DetectorError, ManifestError, ModelError, OutputError, SiteError
from detector.schema import NOTICE

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG = logging.getLogger("detector")
_STATUSES = {
    ModelError: EXIT_MODEL,
    SiteError: EXIT_MODEL,
    OutputError: EXIT_OUTPUT,
    ManifestError: EXIT_USAGE,
    DetectorError: EXIT_FAILED,
}
_EXTRAS = {  # a package's name to the extra that has it
    "tensorflow": "train", "keras": "train", "sklearn": "train", "ray": "cluster", "pyarrow": "cluster",
    "fsspec": "cluster",
}  # fmt: skip
_COMMANDS = (
    app, predict, pacs, node, evaluate, calibrate, compare, train, audit, audit_saliency, candidates, prepare, models,
)  # fmt: skip


def run() -> NoReturn:
    """The program: run the command that the process was started with, and end with its status."""
    status = main()
    if status > SIGNAL_BASE:
        os._exit(status)  # everything is written; a thread that still decodes, or waits for a disk, is not waited for
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; the process's own where None.

    Returns:
        The exit status: 0 every file was analysed or rejected for a stated reason, 1 some file failed unexpectedly,
        2 usage, 3 the model or the site file is missing or fails its check, 4 the output cannot be written, 5 no task
        could be calibrated, 143 after SIGTERM.
    """
    options = make_parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s"
    )
    logging.getLogger("detector.training").setLevel(logging.INFO)
    try:
        status: int = options.run(options)
    except DetectorError as error:
        _LOG.error("%s\n(%s)", error.user_message, error)
        if isinstance(error, OutputError):
            _silence_stdout()
        return next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        _LOG.error("This command needs %s: pip install 'chest-xray-detector[%s]'", package, _EXTRAS[package])
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of a pipe went away: nothing more can be written
        _silence_stdout()
        return EXIT_OUTPUT
    return status


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    program = "cxr-detector" if Path(sys.argv[0]).stem == "cxr-detector" else "python -m detector"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").partition("\n\n")[2], epilog=NOTICE)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="say more on standard error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


def _silence_stdout() -> None:
    """Let what could not be written go, so that the interpreter's last flush doesn't fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
