"""``audit-saliency``: measure how far the maps can be trusted."""

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
    parser = commands.add_parser("audit-saliency", help="measure how far the maps can be trusted")
    common.add_manifest(parser)
    parser.add_argument("--split", help="rows of the manifest to use; all where it has no splits (default: test)")
    parser.add_argument("--out", type=Path, default=Path("out/saliency"), metavar="DIR")
    parser.add_argument("--limit", type=int, metavar="N", help="images a label (default: 400)")
    common.add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.audit.saliency import LIMIT, audit_saliency  # noqa: PLC0415
    from detector.training.data.labelled import labelled_manifest  # noqa: PLC0415

    cohort = labelled_manifest(options.manifest, options.split, options.images)
    engine = Engine.load(options.model, options.models)
    found = audit_saliency(cohort.examples, cohort.images, engine, options.out, limit=options.limit or LIMIT)
    sys.stdout.write(json.dumps(found["headline"], indent=2) + "\n")
    return common.EXIT_OK
