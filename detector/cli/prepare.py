"""``prepare``: build a manifest from the public collections as downloaded."""

from __future__ import annotations

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
    parser = commands.add_parser("prepare", help="build a manifest from the public collections as downloaded")
    for name, words in (
        ("ieee8023", "covid-chestxray-dataset: metadata.csv and images/"),
        ("nih", "NIH ChestX-ray14: Data_Entry_2017*.csv and images*/images/"),
        ("kaggle", "Chest X-Ray Images (Pneumonia): train/, val/ and test/"),
        ("raddb", "COVID-19 Radiography Database: COVID/, Normal/ and more"),
    ):
        parser.add_argument(f"--{name}", type=common.existing_path, metavar="DIR", help=words)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="manifest.csv, images/; goes on there")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N pictures of each source and label")
    parser.add_argument("--tfrecord", action="store_true", help="also write TFRecord shards")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from detector.training.data.prepare import prepare  # noqa: PLC0415
    from detector.training.data.public_collections import COLLECTIONS  # noqa: PLC0415

    folders = {name: folder for name in COLLECTIONS if (folder := getattr(options, name)) is not None}
    if not folders:
        _LOG.error("Name at least one collection: %s.", ", ".join(f"--{name} DIR" for name in COLLECTIONS))
        return common.EXIT_USAGE
    prepared = prepare(folders, options.out, limit=options.limit, tfrecord=options.tfrecord)
    sys.stderr.write(prepared.summary() + "\n")
    return common.EXIT_OK
