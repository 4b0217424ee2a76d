"""The model card: what the app knows about its network, read from models/<name>.json and never typed into code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from detector.errors import ModelError
from detector.model.calibration import Calibration
from detector.paths import MODELS
from detector.schema import TASKS, ModelInfo, OperatingPoint

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_MODEL = "detector"
LUNG_MODEL = "lungs"


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
        limits: what it can't do, a sentence each.
        gate: thresholds of `detector.model.gate`; empty where none were fitted.
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
    """Read a card.

    Raises:
        ModelError: if it is missing, no JSON, or lacks an entry.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"The model card {path} cannot be read: {error}.") from error
    try:
        points = {name: OperatingPoint(**point) for name, point in values["calibration"]["operating_points"].items()}
        calibration = Calibration(**{**values["calibration"], "operating_points": points})
        known = {name: values[name] for name in ModelCard.__dataclass_fields__ if name != "tflite" or name in values}
        return ModelCard(**{**known, "calibration": calibration, "limits": tuple(values["limits"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The model card {path} lacks or misnames an entry: {error}.") from error


def model_names(folder: Path = MODELS) -> list[str]:
    """Names of the classifiers that have a card and weights; the lung fields come with each of them."""
    found = {path.stem for path in folder.glob("*.keras") if path.with_suffix(".json").exists()}
    return sorted(found - {LUNG_MODEL})
