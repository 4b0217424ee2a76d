"""Take what commands have written into models/: a trained classifier, and whatever was measured of it.

    python -m scripts.ship_results --run RUN --audit RUN --saliency RUN --finer RUN --candidates RUN

Each part may be left out, and stays as it is then. What the audit of the maps found is noted in the card as well,
because the page reads it there. Measures of other weights than those shipped are refused.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from detector.card import DEFAULT_MODEL, MODELS
from detector.errors import ModelError

_CARD = f"{DEFAULT_MODEL}.json"
_RUN = {
    **{name: name for name in ("detector.keras", "detector.json", "detector.graph.pb", "gate.npz")},
    "training_log.jsonl": "evaluation/training_log.jsonl",
    "evaluation_val/metrics.json": "evaluation/val.json",
    "evaluation_test/metrics.json": "evaluation/test.json",
    "evaluation_test/plots": "evaluation/plots",
}
_MEASURED = {
    "audit": ("audit.json", "likelihood_ratios.json"),
    "saliency": ("saliency.json", "plots"),
    "finer": ("finer_maps.json",),
    "candidates": ("candidates.json",),
}


def ship_run(run: Path, models: Path = MODELS) -> None:
    """Take a training's folder: weights, card, gate, log, and its evaluation of validation and test."""
    known = _read(models / _CARD) if (models / _CARD).exists() else {"sha256": None}
    for name, place in _RUN.items():
        if (run / name).exists():
            _take(run / name, models / place)
    if known["sha256"] == _read(models / _CARD)["sha256"] and "saliency" in known["performance"]:
        _note_saliency(known["performance"]["saliency"], models)


def ship_measured(part: str, folder: Path, models: Path = MODELS) -> None:
    """Take what was measured of the shipped weights.

    Raises:
        ModelError: if it was measured of others.
    """
    for name in _MEASURED[part]:
        path = folder / name
        if path.suffix == ".json":
            of = _read(path).get("model", {}).get("sha256")
            shipped = _read(models / _CARD)["sha256"]
            if of not in {None, shipped}:
                raise ModelError(f"{path} was measured of the weights {of}; those shipped are {shipped}.")
        _take(path, models / "evaluation" / name)
    if part == "saliency":
        _note_saliency(_read(folder / "saliency.json")["headline"], models)


def _note_saliency(figures: dict, models: Path) -> None:
    card = _read(models / _CARD)
    card["performance"]["saliency"] = figures
    (models / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _take(path: Path, place: Path) -> None:
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        for file in path.iterdir():
            shutil.copy(file, place)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Read the command line and take the parts that it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, metavar="DIR")
    for part in _MEASURED:
        parser.add_argument(f"--{part}", type=Path, metavar="DIR")
    options = parser.parse_args()
    if options.run:
        ship_run(options.run)
    for part in _MEASURED:
        if folder := getattr(options, part):
            ship_measured(part, folder)


if __name__ == "__main__":
    main()
