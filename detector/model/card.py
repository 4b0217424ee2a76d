"""The model card: what the app knows about its network, read from models/<name>.json and never typed into code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detector.errors import ModelError
from detector.model import checked
from detector.model.calibration import BALANCED, SENSITIVE, SPECIFIC, Calibration
from detector.paths import MODELS
from detector.schema import TASKS, ModelInfo

DEFAULT_MODEL = "detector"
LUNG_MODEL = "lungs"
GATE = "gate.npz"  # beside the card of the classifier that it was fitted to
PINS = Path(__file__).with_name("pins.json")  # hashes of the shipped cards, in the package, not beside the cards

_TFLITE = ("sha256", "weights")


@dataclass(frozen=True)
class ModelCard:
    """Everything that is recorded about one network.

    Attributes:
        name: of the files ``<name>.keras`` and ``<name>.json``.
        version: of the weights.
        sha256: of the weights' file.
        input_size: side of the network's square input in pixels.
        preprocessing: identifier of `detector.model.preprocess` that it was trained with.
        calibration: temperatures, operating points and indeterminate bands.
        saliency_scale: task name to the evidence, in logit units, that is drawn in full colour.
        training: data, settings, seed and time of the training.
        performance: measured figures, each with its interval and the number of images.
        licence: of the weights.
        limits: what it can't do, one sentence each.
        gate: thresholds of `detector.model.gate`; empty if none were fitted.
        tflite: SHA-256 of the flatbuffer that serves, and of the weights that it was made from.
    """

    name: str
    version: str
    sha256: str
    input_size: int
    preprocessing: str
    calibration: Calibration
    saliency_scale: dict[str, float]
    training: dict[str, Any]
    performance: dict[str, Any]
    licence: str
    limits: tuple[str, ...]
    gate: dict[str, Any] = field(default_factory=dict)
    tflite: dict[str, str] = field(default_factory=dict)

    @property
    def info(self) -> ModelInfo:
        """The part of the card that goes into every result."""
        return ModelInfo(self.name, self.sha256, self.version)

    def to_json(self) -> str:
        """The card as the text of its file."""
        values = asdict(self)
        values["classes"] = {task.name: list(task.classes) for task in TASKS}
        return json.dumps(values, indent=2) + "\n"


def read_card(path: Path) -> ModelCard:
    """Read a card and check every value in it.

    Raises:
        ModelError: if it is missing or not JSON, lacks an entry, holds a value out of range, does not mention a gate
            that lies beside it, or is not the one that this version was shipped with.
    """
    try:
        return _card_of(load_card(path), path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"The model card {path} lacks an entry or holds a wrong one: {error}") from error


def load_card(path: Path) -> dict[str, Any]:
    """The entries of the card of a classifier or of the lung network, as in the file.

    Raises:
        ModelError: if it is missing, not a JSON object, or not the one that this version was shipped with.
    """
    try:
        data = path.read_bytes()
        values = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"The model card {path} cannot be read: {error}.") from error
    if path.parent.resolve() == MODELS and hashlib.sha256(data).hexdigest() != _pins().get(path.name):
        raise ModelError(f"The model card {path} is not the one that was shipped.")
    if not isinstance(values, dict):
        raise ModelError(f"The model card {path} must hold an object. Received {type(values).__name__}.")
    return values


def pin_cards(models: Path = MODELS, pins: Path = PINS) -> None:
    """Write the current hashes of the shipped cards into the package: the last step of shipping."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(models.glob("*.json"))}
    pins.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _pins() -> dict[str, str]:
    pins: dict[str, str] = json.loads(PINS.read_text(encoding="utf-8"))
    return pins


def _card_of(values: dict[str, Any], path: Path) -> ModelCard:
    if values["classes"] != {task.name: list(task.classes) for task in TASKS}:
        raise ValueError(f"classes must be this version's. Received {values['classes']!r}.")
    sha256, tflite = checked.sha256(values["sha256"], "sha256"), checked.entries(values["tflite"], _TFLITE, "tflite")
    if not isinstance(values["limits"], list):
        raise TypeError("limits must be a list.")
    return ModelCard(
        name=checked.text(values["name"], "name"),
        version=checked.text(values["version"], "version"),
        sha256=sha256,
        input_size=int(checked.number(values["input_size"], "input_size", above=0)),
        preprocessing=checked.text(values["preprocessing"], "preprocessing"),
        calibration=_calibration_of(values["calibration"]),
        saliency_scale=checked.of_tasks(values["saliency_scale"], "saliency_scale", above=0),
        training=dict(values["training"]),
        performance=dict(values["performance"]),
        licence=checked.text(values["licence"], "licence"),
        limits=tuple(checked.text(limit, "a limit") for limit in values["limits"]),
        gate=_gate_of(values["gate"], path.with_name(GATE)),
        tflite={name: checked.sha256(value, f"tflite: {name}") for name, value in tflite.items()},
    )


def _calibration_of(values: Any) -> Calibration:
    found = checked.entries(values, Calibration.__dataclass_fields__, "calibration")
    return Calibration(
        temperatures=checked.of_tasks(found["temperatures"], "temperatures", above=0),
        operating_points=checked.operating_points(found["operating_points"], (BALANCED, SENSITIVE, SPECIFIC)),
        bands=checked.of_tasks(found["bands"], "bands", least=0),
    )


def _gate_of(values: Any, path: Path) -> dict[str, Any]:
    """The entry of a gate; empty only if there is no gate."""
    if values == {} and not path.exists():
        return {}
    refuse, warn = (checked.number(values[name], f"gate: {name}") for name in ("refuse_below", "warn_below"))
    if refuse > warn:
        raise ValueError(f"gate: refuse_below must not exceed warn_below. Received {refuse} and {warn}.")
    return {**values, "sha256": checked.sha256(values["sha256"], "gate: sha256")}


def model_names(folder: Path = MODELS) -> list[str]:
    """Names of the classifiers that have a card and weights, without the lung network."""
    found = {path.stem for path in folder.glob("*.keras") if path.with_suffix(".json").exists()}
    return sorted(found - {LUNG_MODEL})
