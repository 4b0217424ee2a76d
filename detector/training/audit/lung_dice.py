"""How well lungs are found in patients that the network has not seen: Dice of every mask, cross-validated.

    python -m detector.training.audit.lung_dice --manifest MANIFEST.csv --out RUN

The patients are dealt into parts. For each part a network is trained on all others, from random weights: the shipped
one, or what it went on from, may have seen the patient. The result is ``lung_dice.json``, for scripts/ship_results.py.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.errors import ManifestError
from detector.run.files import make_folder, write_json
from detector.training.data.manifest import read_manifest
from detector.training.fit.lungs import LungFitConfig, dice_by_group, dice_of, fit_lungs, with_masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

_PARTS = 2


def cross_validated_dice(examples: Sequence[Example], images: Path, config: LungFitConfig) -> dict[str, Any]:
    """Measure each picture by a network that saw no picture of its patient.

    Args:
        examples: those without a mask of the whole lung are left out.
        images: folder that their paths are relative to.
        config: of each training.

    Returns:
        ``config``, ``parts`` and ``dice``: by group, as `detector.training.fit.lungs.dice_by_group`.

    Raises:
        ManifestError: if no example has a mask, a picture can't be read, or there are fewer patients than parts.
    """
    examples = with_masks(examples)
    patients = sorted({e.patient_group for e in examples})
    if len(patients) < _PARTS:
        raise ManifestError(f"Masks of {_PARTS} patients are needed; there are those of {len(patients)}.")
    part_of = dict(zip(np.random.default_rng(config.seed).permutation(patients), cycle(range(_PARTS)), strict=False))
    scores = np.zeros(len(examples))
    for part in range(_PARTS):
        network = fit_lungs([e for e in examples if part_of[e.patient_group] != part], images, config)
        held_out = [number for number, e in enumerate(examples) if part_of[e.patient_group] == part]
        scores[held_out] = [dice_of(network, examples[number], images) for number in held_out]
        _LOG.info("part %d of %d: Dice %.3f in %d pictures", part + 1, _PARTS, scores[held_out].mean(), len(held_out))
    return {"config": asdict(config), "parts": _PARTS, "dice": dice_by_group(examples, scores)}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what its paths are relative to")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--batches", type=int, default=LungFitConfig.batches, metavar="N", help="of each training")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("detector.training").setLevel(logging.INFO)
    images = options.images or options.manifest.parent
    make_folder(options.out)
    found = cross_validated_dice(read_manifest(options.manifest), images, LungFitConfig(batches=options.batches))
    write_json(options.out / "lung_dice.json", found)


if __name__ == "__main__":
    main()
