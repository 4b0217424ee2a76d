"""What a new hospital can expect, measured on the collections: how it is compared, and what a calibration gives it.

    python -m detector.training.audit.hospitals --manifest MANIFEST.csv --external MANIFEST.csv --out RUN

The network looks at every picture once (RUN/*.npz; a run that was stopped goes on). Then ``collections.npz`` and
``compare.json`` are written for `compare`, and ``sites.json`` for the card; scripts/ship_results.py takes them.
"""

from __future__ import annotations

import argparse
import logging
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.answers.likeness import SUMMARY
from detector.model.card import DEFAULT_MODEL
from detector.model.engine import Engine
from detector.paths import MODELS
from detector.run.files import write_json, write_whole
from detector.training.audit.collections import check, group_of, signs_of, summarise, with_limits
from detector.training.audit.observed import observe
from detector.training.audit.sites import DRAWS, EXTERNAL, audit_external, audit_sites
from detector.training.data.manifest import Example, read_manifest
from detector.training.fit.site import COVERAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG = logging.getLogger(__name__)

_OF_A_GROUP = 200  # training pictures: the largest collection has five thousand of one kind
_SEED = 20261130


def audit_hospitals(
    manifest: Path, images: Path, engine: Engine, out: Path, *, external: Path | None = None
) -> dict[str, Any]:
    """Measure both and write the files.

    Args:
        manifest: of the collections, with splits.
        images: folder that its paths are relative to.
        engine: the network.
        out: folder to write to.
        external: manifest of hospitals that nothing was learnt from, its pictures beside it.

    Returns:
        What ``sites.json`` and ``compare.json`` hold.

    Raises:
        ManifestError: if a manifest or a picture can't be read.
        OutputError: if the folder can't be written.
    """
    examples = read_manifest(manifest)
    held_out = [example for example in examples if example.split in {"val", "test"}]
    later = observe(held_out, images, engine, out / "held_out.npz")
    train = observe(_some_of_each(examples), images, engine, out / "train.npz")
    val, test = (later.only(np.array([e.split == split for e in later.examples])) for split in ("val", "test"))
    beyond = None
    if external is not None:
        beyond = observe(read_manifest(external), external.parent, engine, out / "external.npz")
    model = {"model": asdict(engine.card.info)}
    cohorts = audit_sites(later.answers, engine.card)
    if beyond is not None:
        cohorts[EXTERNAL.name] = audit_external(beyond.answers, engine.card)
    sites = {**model, "coverage": COVERAGE, "draws": DRAWS, "cohorts": cohorts}
    write_json(out / "sites.json", sites)
    collections = with_limits(summarise(train, signs_of(train, manifest), engine.card.sha256), val)
    compared = {**model, **check(collections, train=train, val=val, test=test, external=beyond)}
    write_json(out / "compare.json", compared)
    write_whole(out / SUMMARY, replace(collections, checked=compared).to_bytes())
    return {"sites": sites, "compare": compared}


def _some_of_each(examples: Sequence[Example]) -> list[Example]:
    """Training pictures, at most so many of each collection and kind of finding."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        if example.split == "train":
            groups.setdefault(group_of(example), []).append(example)
    rng = random.Random(_SEED)
    return [example for group in groups.values() for example in rng.sample(group, min(len(group), _OF_A_GROUP))]


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--images", type=Path, metavar="DIR", help="what its paths are relative to")
    parser.add_argument("--external", type=Path, metavar="FILE.csv", help="hospitals that nothing was learnt from")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("detector.training").setLevel(logging.INFO)
    engine = Engine.load(options.model, options.models)
    images = options.images or options.manifest.parent
    audit_hospitals(options.manifest, images, engine, options.out, external=options.external)
    _LOG.info("written: %s", options.out)


if __name__ == "__main__":
    main()
