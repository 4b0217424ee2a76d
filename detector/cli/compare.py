"""``compare``: are a folder's X-rays like those that the network learnt from? No labels are needed."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from detector.cli import common

if TYPE_CHECKING:
    import argparse

_LOG = logging.getLogger("detector")


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("compare", help="are a folder's X-rays like those that the network learnt from?")
    parser.add_argument(
        "folder", type=common.existing_path, metavar="FOLDER", help="at least 20 X-rays, without labels"
    )
    common.add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from detector.answers.likeness import compare, load_collections, sentences  # noqa: PLC0415
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.report.likeness import checked, not_compared  # noqa: PLC0415
    from detector.run.compare import traits_of_files  # noqa: PLC0415
    from detector.run.inputs import find_files  # noqa: PLC0415

    engine = Engine.load(options.model, options.models)
    collections = load_collections(options.models, engine.card.sha256)
    found = traits_of_files(find_files([options.folder]), engine)
    comparison = compare(found.traits, collections)
    said = [*sentences(comparison), *not_compared(found.left_out), *checked(collections.checked)]
    sys.stdout.write("\n".join(said) + "\n")
    return common.EXIT_FAILED if found.failed else common.EXIT_OK
