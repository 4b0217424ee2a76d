"""``evaluate``: measure the network on labelled X-rays."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.common import (
    EXIT_OK,
    EXIT_USAGE,
    Commands,
    add_manifest,
    add_model,
    add_site,
    existing_path,
    read_site_option,
)

if TYPE_CHECKING:
    import argparse

_LOG = logging.getLogger("detector")


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("evaluate", help="measure the network on labelled X-rays")
    parser.add_argument("folder", nargs="?", type=existing_path, metavar="FOLDER", help="with a sub-folder a label")
    add_manifest(parser, required=False)
    parser.add_argument("--split", help="rows of the manifest to use; all where it has no splits (default: test)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation"), metavar="DIR")
    add_site(parser)
    add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    if (options.folder is None) == (options.manifest is None):
        _LOG.error("Name either a FOLDER with a sub-folder for each label, or a --manifest.")
        return EXIT_USAGE
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.data.labelled import labelled_folder, labelled_manifest  # noqa: PLC0415
    from detector.training.measure.evaluate import evaluate  # noqa: PLC0415

    engine = Engine.load(options.model, options.models)
    site = read_site_option(options.site, engine.card)
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
    return EXIT_OK
