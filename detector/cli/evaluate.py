"""``evaluate``: measure the network on labelled X-rays."""

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
    parser = commands.add_parser("evaluate", help="measure the network on labelled X-rays")
    common.add_cohort(parser)
    parser.add_argument("--split", help="rows of the manifest to use; all where it has no splits (default: test)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation"), metavar="DIR")
    common.add_site(parser)
    common.add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    if not common.names_a_cohort(options):
        return common.EXIT_USAGE
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.data.labelled import labelled_folder, labelled_manifest  # noqa: PLC0415
    from detector.training.measure.evaluate import evaluate  # noqa: PLC0415

    engine = Engine.load(options.model, options.models)
    site = common.read_site_option(options.site, engine.card)
    if options.folder:
        cohort = labelled_folder(options.folder)
    else:
        cohort = labelled_manifest(options.manifest, options.split, options.images)
    log = options.models / "evaluation" / "training_log.jsonl"
    metrics = evaluate(
        cohort.examples, cohort.images, engine, options.out, name=cohort.name, notes=cohort.notes, training_log=log,
        site=site,
    )  # fmt: skip
    _LOG.warning("The report: %s", options.out / "report.html")
    sys.stdout.write(json.dumps(metrics["overall"] | ({"site": metrics["site"]} if site else {}), indent=2) + "\n")
    return common.EXIT_OK
