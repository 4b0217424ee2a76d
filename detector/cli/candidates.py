"""``candidates``: train networks by one small protocol and compare them."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli import common

if TYPE_CHECKING:
    import argparse

_LOG = logging.getLogger("detector")


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("candidates", help="train networks by one small protocol and compare them")
    common.add_manifest(parser)
    parser.add_argument("--out", type=Path, default=Path("out/candidates"), metavar="DIR", help="goes on there")
    parser.add_argument("--batches", type=int, required=True, metavar="N", help="length of each training")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="which ones (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="of further trainings of each")
    parser.add_argument(
        "--pair", nargs=2, action="append", metavar=("POSITIVE", "NEGATIVE"),
        help="sources to leave out of a second training; may be repeated (every pair that can be)",
    )  # fmt: skip
    parser.add_argument("--no-pairs", dest="pair", action="store_const", const=[], help="no second training")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from detector.training.audit.candidates import CANDIDATES  # noqa: PLC0415
    from detector.training.fit.commands import candidates  # noqa: PLC0415

    if unknown := sorted(set(options.names or ()) - set(CANDIDATES)):
        _LOG.error("There is no candidate %s; there are %s.", ", ".join(unknown), ", ".join(CANDIDATES))
        return common.EXIT_USAGE
    images = options.images or options.manifest.parent
    table = candidates(
        options.manifest,
        images,
        options.out,
        batches=options.batches,
        names=options.names or list(CANDIDATES),
        pairs=options.pair,
        seeds=options.seeds,
    )
    sys.stdout.write(json.dumps(table, indent=2) + "\n")
    return common.EXIT_OK
