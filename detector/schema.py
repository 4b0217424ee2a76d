"""The records that flow through the program, from a file's pixels to an analysis.

All of them are frozen; arrays in them must not be written to. Three spaces have three names:
``cam`` is the network's own grid, ``heatmap`` the grid of the uploaded image, ``overlay`` colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

NOTICE = "Research demonstration. Not for diagnosis."

COVID19 = "covid19"
NOT_COVID19 = "not_covid19"
NORMAL = "normal"
BACTERIAL_PNEUMONIA = "bacterial_pneumonia"
INDETERMINATE = "indeterminate"


@dataclass(frozen=True)
class Task:
    """One question to the network.

    Attributes:
        name: key of the network's output and of the card's entries.
        mode: its name on the command line and in JSON.
        classes: class names, in the order of the probabilities.
        logits: width of the dense layer. The binary task has one logit, the log-odds of COVID-19.
    """

    name: str
    mode: str
    classes: tuple[str, ...]
    logits: int


BINARY = Task("binary", "binary", (COVID19, NOT_COVID19), 1)
THREE_CLASS = Task("three_class", "three-class", (NORMAL, BACTERIAL_PNEUMONIA, COVID19), 3)
TASKS = (BINARY, THREE_CLASS)


def task_by_mode(mode: str) -> Task:
    """Return the task of a mode: ``"binary"`` or ``"three-class"``.

    Raises:
        ValueError: for any other mode.
    """
    for task in TASKS:
        if task.mode == mode:
            return task
    msg = f"mode must be one of {[task.mode for task in TASKS]}. Received {mode!r}."
    raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One decoded image, whatever file it came from.

    Attributes:
        grey: (rows, columns), 0 = black, bone white: uint8 with 255 = white if every grey level is a multiple of
            1/255, and float32 in [0, 1] otherwise. 8 bits stay 8 bits, because a large picture is mostly copied.
        file_format: ``"PNG"``, ``"JPEG"`` or ``"DICOM"``.
        sha256: of the file's bytes, hexadecimal.
        pixel_sha256: of `grey` with its shape, so that one picture in two files can be recognised.
        view_position: ``"PA"``, ``"AP"`` … if a DICOM header gives it.
        warnings: what was assumed or repaired while decoding, one sentence each.
        age: of the patient in years, if a DICOM header gives it.
    """

    grey: np.ndarray
    file_format: str
    sha256: str
    pixel_sha256: str
    view_position: str | None = None
    warnings: tuple[str, ...] = ()
    age: float | None = None

    @property
    def pixels(self) -> np.ndarray:
        """(rows, columns) float32 in [0, 1]; 0 = black, 1 = white, bone white. Computed anew if `grey` is uint8."""
        return in_unit_range(self.grey)

    @property
    def rows(self) -> int:
        """Height in pixels, as displayed (orientation applied)."""
        return int(self.grey.shape[0])

    @property
    def columns(self) -> int:
        """Width in pixels, as displayed (orientation applied)."""
        return int(self.grey.shape[1])


def in_unit_range(grey: np.ndarray) -> np.ndarray:
    """Scale uint8 of any shape to float32 in [0, 1]; float32 is returned as it is."""
    import numpy as np  # noqa: PLC0415 - the page needs classes and modes before it needs an array

    return np.divide(grey, np.float32(255), dtype=np.float32) if grey.dtype == np.uint8 else grey


@dataclass(frozen=True)
class Correction:
    """What a reader asks to be done to a picture before it is analysed.

    Attributes:
        quarter_turns: anticlockwise turns of 90 degrees, 0 to 3.
        inverted: whether black and white are exchanged, after the turn.
    """

    quarter_turns: int = 0
    inverted: bool = False

    def __bool__(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.quarter_turns or self.inverted)

    def then(self, other: Correction) -> Correction:
        """Both, one after the other; the order of rotation and inversion makes no difference."""
        return Correction((self.quarter_turns + other.quarter_turns) % 4, self.inverted != other.inverted)


@dataclass(frozen=True)
class Geometry:
    """Where the network's square input lies in the image: a box, stretched to a square.

    Attributes:
        rows: height of the image in pixels.
        columns: width of the image in pixels.
        top: first row of the box; may be fractional.
        left: first column of the box.
        height: of the box, in pixels of the image.
        width: of the box, in pixels of the image.
        size: side of the network's input in pixels.
    """

    rows: int
    columns: int
    top: float
    left: float
    height: float
    width: float
    size: int

    def to_network(self, row: float, column: float) -> tuple[float, float]:
        """Map a point of the image to the network's input; both in pixels, edges at integers."""
        return ((row - self.top) / self.height * self.size, (column - self.left) / self.width * self.size)

    def to_image(self, row: float, column: float) -> tuple[float, float]:
        """Map a point of the network's input to the image; the inverse of `to_network`."""
        return (row / self.size * self.height + self.top, column / self.size * self.width + self.left)


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """The network's input.

    Attributes:
        pixels: (size, size, 1) float32, standardised.
        geometry: where that square lies in the image.
        lung_field: (size, size) bool on the same square, true in a lung; all false if none was found or sought.
    """

    pixels: np.ndarray
    geometry: Geometry
    lung_field: np.ndarray


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """Everything that one forward pass gives for one image.

    Attributes:
        logits: task name to (logits,) float32.
        features: (h, w, channels) float32, the feature map that is averaged.
        pooled_features: (channels,) float32, what the dense layers read.
        texture: (statistics,) float32, mean and standard deviation of each channel of earlier feature maps, which
            reflect edges and grain but not disease; `detector.model.gate` reads them.
    """

    logits: Mapping[str, np.ndarray]
    features: np.ndarray
    pooled_features: np.ndarray
    texture: np.ndarray


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the binary probability, with its sensitivity and specificity on the cohort it was chosen on."""

    name: str
    threshold: float
    sensitivity: float
    specificity: float
    cohort: str


#: The six zones that radiologists name; right and left are the patient's, so right is the left side of the picture.
ZONES = tuple(f"{side} {height} zone" for side in ("right", "left") for height in ("upper", "middle", "lower"))


@dataclass(frozen=True)
class EvidenceSummary:
    """Where a map's evidence for its class lies; see `detector.answers.evidence`.

    Attributes:
        in_lung_fraction: share of the positive evidence that lies in a lung, in [0, 1]; None if there is no positive
            evidence, or the lungs were not found.
        lung_area_fraction: share of the whole picture that is lung.
        lung_box_fraction: share of the network's box that is lung, which is the share that a uniform map has in the
            lungs: the network sees nothing outside its box.
        ratio: `in_lung_fraction` over `lung_area_fraction`; None if the former is.
        peak_in_lung: whether the cell with most evidence has its centre in a lung; None if `in_lung_fraction` is.
        zones: each of `ZONES` to the share of the positive evidence that lies in it; they sum to `in_lung_fraction`,
            and are all 0 if that is None.
        faint: whether the strongest evidence for the class is too weak to be visible when it is drawn.
        opposed: whether evidence against it is visible.
    """

    in_lung_fraction: float | None
    lung_area_fraction: float
    lung_box_fraction: float
    ratio: float | None
    peak_in_lung: bool | None
    zones: Mapping[str, float]
    faint: bool
    opposed: bool = False


@dataclass(frozen=True)
class ClassStability:
    """How much one class's answer moves under mild perturbations of the picture.

    Attributes:
        low: smallest calibrated probability among the picture itself and the perturbed ones.
        high: largest of them.
        map_agreement: median rank correlation (Spearman) of the perturbed pictures' maps with the picture's own, in
            [-1, 1], aligned; None if a map is constant.
    """

    low: float
    high: float
    map_agreement: float | None


@dataclass(frozen=True)
class Stability:
    """How much the answers and maps of one image move under mild perturbations; see `detector.answers.stability`.

    Attributes:
        classes: task name to class name to what was measured.
        perturbations: what was done to the picture, in a few words each.
    """

    classes: Mapping[str, Mapping[str, ClassStability]]
    perturbations: tuple[str, ...]


@dataclass(frozen=True)
class ModelInfo:
    """Which network answered."""

    name: str
    sha256: str
    version: str
