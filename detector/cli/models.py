"""``models``: list the networks with their hashes and what was measured of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from detector.cli import common
from detector.model.card import model_names, read_card
from detector.paths import MODELS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("models", help="list the models with hash and measured performance")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    del options
    for name in model_names():
        card = read_card(MODELS / f"{name}.json")
        sys.stdout.write(f"{card.name} {card.version}\n  sha256 {card.sha256}\n")
        for cohort, figures in card.performance.items():
            for figure, estimate in _estimates(figures):
                sys.stdout.write(f"  {cohort}: {figure} {_estimate(estimate)}\n")
    return common.EXIT_OK


def _estimates(figures: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each figure with its name, those of groups under the group's."""
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from [(name + key, value)] if "value" in value else _estimates(value, f"{name}{key} ")


def _estimate(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return f"not measured ({estimate['reason']})"
    low, high = ("…" if estimate[end] is None else f"{estimate[end]:.3f}" for end in ("ci_low", "ci_high"))
    interval = "" if low == high == "…" else f" (95 % {low} to {high})"
    return f"{estimate['value']:.3f}{interval}, n = {estimate['n']}"
