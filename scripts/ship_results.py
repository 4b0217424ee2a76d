"""Take what commands have written into models/: a trained classifier, and whatever was measured of it.

    python -m scripts.ship_results --run RUN --audit RUN --saliency RUN --external RUN --hospitals RUN
        --candidates RUN --longer RUN --lung-dice RUN

Each part may be left out. With other weights goes whatever was measured of those before, and measures of any but those
shipped are refused; nothing is written before everything has been looked at. What the audit of the maps, the external
test and the audit of hospitals found is noted in the card as well, because the page reads it there; its limits are in
today's words.
"""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector import words
from detector.answers.likeness import SUMMARY
from detector.errors import ModelError
from detector.model.card import DEFAULT_MODEL, MODELS, pin_cards

if TYPE_CHECKING:
    from collections.abc import Mapping

_CARD = f"{DEFAULT_MODEL}.json"
_NEEDED = {name: name for name in (_CARD, f"{DEFAULT_MODEL}.keras", f"{DEFAULT_MODEL}.tflite")}
_OPTIONAL = {
    **{name: name for name in ("gate.npz", "lungs.keras", "lungs.tflite", "lungs.json")},
    "training_log.jsonl": "evaluation/training_log.jsonl",
    "evaluation_val/metrics.json": "evaluation/val.json",
    "evaluation_test/metrics.json": "evaluation/test.json",
    "evaluation_test/plots": "evaluation/plots",
}
_MEASURED = {
    "audit": ("audit.json",),
    "external": ("metrics.json", "likelihood_ratios.json"),
    "saliency": ("saliency.json", "plots"),
    "candidates": ("candidates.json",),
    "longer": ("candidates.json",),
    "lung_dice": ("lung_dice.json",),
    "hospitals": ("sites.json", "compare.json", SUMMARY),
}
_RENAMED = {"external": {"metrics.json": "external_test.json"}, "longer": {"candidates.json": "longer_candidates.json"}}
_OF_NO_WEIGHTS = {"candidates.json", "likelihood_ratios.json", "lungs.json", "lung_dice.json"}  # or beside others
_HOSPITALS = ("sites", "compare")
_EXTERNAL = ("counts", "sensitivities", "adult_opacities", "within_one_hospital")  # of the external test, for the card
_BESIDE_THE_CARD = {SUMMARY}  # what the program needs to answer; the rest is read for the second page
_STALE = (
    "audit.json", "external_test.json", "likelihood_ratios.json", "saliency.json", "sites.json", "compare.json",
    "plots/saliency_*.json",
)  # fmt: skip


def ship(parts: Mapping[str, Path], models: Path = MODELS) -> None:
    """Take the named parts.

    Args:
        parts: ``run`` and the names of measures to the folders that hold them.
        models: folder to take them to.

    Raises:
        ModelError: if a file is missing, or was measured of other weights than those that will be shipped.
    """
    card = _read(parts.get("run", models) / _CARD)
    copies = {}
    if "run" in parts:
        wanted = _NEEDED | {name: place for name, place in _OPTIONAL.items() if (parts["run"] / name).exists()}
        copies = {parts["run"] / name: models / place for name, place in wanted.items()}
    for part in parts.keys() - {"run"}:
        renamed = _RENAMED.get(part, {})
        copies |= {
            parts[part] / name: (models if name in _BESIDE_THE_CARD else models / "evaluation")
            / renamed.get(name, name)
            for name in _MEASURED[part]
        }
    for path in copies:
        _check(path, card["sha256"])
    known = _read(models / _CARD) if (models / _CARD).exists() else {}
    if known.get("sha256") != card["sha256"]:
        for path in chain.from_iterable((models / "evaluation").glob(pattern) for pattern in _STALE):
            path.unlink()
        (models / SUMMARY).unlink(missing_ok=True)
        known = {}
    for path, place in copies.items():
        _take(path, place)
    maps = _read(parts["saliency"] / "saliency.json")["headline"] if "saliency" in parts else _maps_of(known)
    external = _external(_read(parts["external"] / "metrics.json")) if "external" in parts else _external_of(known)
    hospitals = _hospitals(parts["hospitals"]) if "hospitals" in parts else _known(known, _HOSPITALS)
    noted = {name: found for name, found in (("saliency", maps), ("external_test", external)) if found} | hospitals
    said = {"performance": card["performance"] | noted, "limits": list(words.LIMITS)}
    (models / _CARD).write_text(json.dumps(card | said, indent=2) + "\n", encoding="utf-8")


def _check(path: Path, sha256: str) -> None:
    """Whether a file is there and belongs to the weights."""
    if not path.exists():
        raise ModelError(f"{path} is missing.")
    if path.suffix == ".json" and path.name not in {_CARD, *_OF_NO_WEIGHTS}:
        of = _read(path).get("model", {}).get("sha256")
        if of != sha256:
            raise ModelError(f"{path} was measured of the weights {of}; those to be shipped are {sha256}.")


def _maps_of(card: Mapping[str, Any]) -> dict[str, Any] | None:
    return card.get("performance", {}).get("saliency")


def _external(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the card says about hospitals that no training saw."""
    return {
        "cohort": metrics["cohort"],
        **{name: metrics[name] for name in _EXTERNAL},
        "by_source": metrics["by_source"],
    }


def _external_of(card: Mapping[str, Any]) -> dict[str, Any] | None:
    return card.get("performance", {}).get("external_test")


def _hospitals(folder: Path) -> dict[str, Any]:
    """What the card says about a new hospital: what a calibration gives it, and how it is told apart."""
    sites, compared = (_read(folder / name) for name in ("sites.json", "compare.json"))
    return {
        "sites": sites["cohorts"],
        "compare": {name: compared[name] for name in ("false_alarms", "left_out", "external") if name in compared},
    }


def _known(card: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: found for name, found in card.get("performance", {}).items() if name in names}


def _take(path: Path, place: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, place, dirs_exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error


def main() -> None:
    """Read the command line and take the parts that it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for part in ("run", *_MEASURED):
        parser.add_argument(f"--{part.replace('_', '-')}", type=Path, metavar="DIR")
    ship({part: folder for part, folder in vars(parser.parse_args()).items() if folder})
    pin_cards()


if __name__ == "__main__":
    main()
