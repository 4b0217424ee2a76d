"""``audit``: measure how near baselines that see no lung come to the network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli import common

if TYPE_CHECKING:
    import argparse


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("audit", help="measure how near baselines that see no lung come to the network")
    common.add_manifest(parser)
    parser.add_argument("--out", type=Path, default=Path("out/audit"), metavar="DIR")
    parser.add_argument(
        "--batches", type=int, default=0, metavar="N",
        help="also train networks of N batches: on blacked-out lungs, and without each pair of sources; goes on in DIR",
    )  # fmt: skip
    parser.add_argument("--no-pairs", action="store_true", help="of these, only the one on blacked-out lungs")
    common.add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.audit.contenders import audit  # noqa: PLC0415

    images = options.images or options.manifest.parent
    trainings = None
    if options.batches:
        from detector.training.fit.commands import audit_trainings  # noqa: PLC0415

        trainings = audit_trainings(options.manifest, images, options.out, batches=options.batches)
    engine = Engine.load(options.model, options.models)
    found = audit(options.manifest, images, engine, options.out, trainings=trainings, without_pairs=options.no_pairs)
    sys.stdout.write(json.dumps(found["splits"], indent=2) + "\n")
    return common.EXIT_OK
