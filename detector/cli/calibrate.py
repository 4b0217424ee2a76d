"""``calibrate``: set thresholds and prediction sets on a hospital's own labelled X-rays."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from detector.cli import common

_LOG = logging.getLogger("detector")


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("calibrate", help="calibrate on a hospital's own labelled X-rays")
    common.add_cohort(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="SITE.json", help="the site file; SITE.html beside")
    parser.add_argument("--name", metavar="TEXT", help="of the hospital (default: the folder's)")
    parser.add_argument(
        "--coverage", type=_coverage, default=0.90, metavar="SHARE", help="of each class, that sets are to hold (0.90)"
    )
    common.add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    if not common.names_a_cohort(options):
        return common.EXIT_USAGE
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.training.data.labelled import labelled_folder, labelled_manifest  # noqa: PLC0415
    from detector.training.fit.site import collect, fit_site  # noqa: PLC0415
    from detector.training.report.site import site_sentences, write_site  # noqa: PLC0415

    if options.folder:
        cohort = labelled_folder(options.folder)
    else:
        cohort = labelled_manifest(options.manifest, None, options.images)
    engine = Engine.load(options.model, options.models)
    cases = collect(cohort.examples, cohort.images, engine)
    name = options.name or (options.folder or options.manifest.parent).resolve().name
    site = fit_site(cases, engine.card, name=name, coverage=options.coverage)
    sys.stdout.write("\n".join([*site_sentences(site), *cohort.notes]) + "\n")
    if all(task is None for task in site.tasks.values()):
        _LOG.error("No task could be set, so nothing was written.")
        return common.EXIT_NO_TASK
    for path in write_site(site, engine.card, options.out):
        _LOG.warning("Written: %s", path)
    return common.EXIT_OK


def _coverage(text: str) -> float:
    value = float(text)
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"a share between 0.5 and 1 is needed, not {text}")
    return value
