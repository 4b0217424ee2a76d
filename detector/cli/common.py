"""What several commands share: exit statuses, options, the types of their arguments."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from detector.answers.site import read_site
from detector.errors import SiteError
from detector.model.calibration import BALANCED, SENSITIVE, SPECIFIC
from detector.model.card import DEFAULT_MODEL
from detector.paths import MODELS
from detector.schema import BINARY, TASKS, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.answers.site import Site
    from detector.model.card import ModelCard

_LOG = logging.getLogger("detector")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_MODEL, EXIT_OUTPUT, EXIT_NO_TASK = range(6)
SIGNAL_BASE = 128  # a shell's convention: 128 + 15 = 143 after SIGTERM


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a network."""
    parser.add_argument(
        "--models", type=Path, default=MODELS, metavar="DIR", help="the folder with the networks and their cards"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help="which network (see: models)")


def add_site(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a hospital's own calibration."""
    parser.add_argument("--site", type=Path, metavar="FILE", help="answer by this hospital's calibration")


def read_site_option(path: Path | None, card: ModelCard) -> Site | None:
    """The calibration that the option names; None where it names none.

    Raises:
        SiteError: if it can't be read, is damaged, or was made for other weights.
    """
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SiteError(f"{path} cannot be read: {error}.") from error
    return read_site(data, card)


def add_question(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is asked of every image."""
    parser.add_argument("--mode", type=_mode, choices=[task.mode for task in TASKS], default=BINARY.mode)
    parser.add_argument("--operating-point", type=word, choices=[BALANCED, SENSITIVE, SPECIFIC], default=BALANCED)


def stop_on_signals() -> Callable[[], int]:
    """Note SIGTERM and SIGINT instead of dying of them; the returned function gives the signal's number, or 0."""
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: received.append(signum))
    return lambda: received[0] if received else 0


def add_manifest(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options that name labelled images."""
    parser.add_argument("--manifest", type=Path, required=required, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what the manifest's paths are relative to")


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add the options that name labelled images, as a folder or by a manifest."""
    parser.add_argument("folder", nargs="?", type=existing_path, metavar="FOLDER", help="with a sub-folder a label")
    add_manifest(parser, required=False)


def names_a_cohort(options: argparse.Namespace) -> bool:
    """Whether the options name labelled images in one of both ways; says so where they don't."""
    is_named = (options.folder is None) != (options.manifest is None)
    if not is_named:
        _LOG.error("Name either a FOLDER with a sub-folder for each label, or a --manifest.")
    return is_named


def word(text: str) -> str:
    """An option's value without regard to case or surrounding space."""
    return text.strip().lower()


def existing_path(text: str) -> Path:
    """A path that exists.

    Raises:
        ArgumentTypeError: if it does not.
    """
    path = Path(text)
    if not os.path.lexists(path):  # unlike Path.exists it says no, not OSError, to a name that is too long
        raise argparse.ArgumentTypeError(f"there is no file or folder {text!r}")
    return path


def _mode(text: str) -> str:
    """A mode in any case, also by the names that the earlier project gave them: "Binary", "Multi-Label"."""
    mode = word(text)
    return THREE_CLASS.mode if mode == "multi-label" else mode
