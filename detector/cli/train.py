"""``train``: train the network, the lung fields or the gate."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli import common

if TYPE_CHECKING:
    import argparse

_LOG = logging.getLogger("detector")
_GATE_SEED = 20261123  # of the shipped gate


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("train", help="train the network and write it with its card")
    common.add_manifest(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/latest"), metavar="DIR", help="checkpoints, log and model"
    )
    parser.add_argument("--resume", action="store_true", help="go on from DIR's checkpoint")
    parser.add_argument("--batches", type=int, help="length of the run")
    parser.add_argument("--peak-learning-rate", type=float, metavar="RATE", help="reached after the warm-up")
    parser.add_argument("--frozen-units", type=int, metavar="N", help="the stem and N units keep their first weights")
    parser.add_argument(
        "--initial", nargs="+", metavar="FILE.keras",
        help="go on from this network, or from the mean of several, instead of ImageNet's weights",
    )  # fmt: skip
    parser.add_argument("--lung-weight", type=float, metavar="W", help="cost of evidence outside the lungs (0: none)")
    parser.add_argument(
        "--swap-probability", type=float, metavar="P", help="chance that a picture's surroundings are exchanged"
    )
    parser.add_argument("--style", type=float, metavar="P", help="chance of a random filter and of a mixed spectrum")
    parser.add_argument("--seed", type=int, help="of everything random")
    parser.add_argument("--task", choices=["classifier", "lungs", "gate"], default="classifier", help="which part")
    parser.add_argument("--not-frontal", type=Path, metavar="FILE.csv", help="gate: side views, slices and limbs")
    parser.add_argument("--others", type=Path, metavar="DIR", help="gate: photographs and pages")
    parser.add_argument("--held-out", type=Path, metavar="DIR", help="gate: other photographs, to measure it by")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from detector.training.fit.commands import train_classifier, train_gate, train_lungs  # noqa: PLC0415

    images = options.images or options.manifest.parent
    if options.task == "gate":
        if not (options.not_frontal and options.others):
            _LOG.error("The gate needs --not-frontal and --others.")
            return common.EXIT_USAGE
        train_gate(
            options.manifest, images, options.out,
            not_frontal=options.not_frontal, others=options.others, held_out=options.held_out,
            seed=options.seed or _GATE_SEED,
        )  # fmt: skip
        return common.EXIT_OK

    names = ["batches", "peak_learning_rate", "seed"]
    if options.task == "classifier":
        names += ["frozen_units", "initial", "lung_weight", "style", "swap_probability"]
    settings = {name: value for name in names if (value := getattr(options, name)) is not None}
    train = train_lungs if options.task == "lungs" else train_classifier
    train(options.manifest, images, options.out, settings, resume=options.resume)
    return common.EXIT_OK
