"""Is this one frontal chest X-ray, and is it good enough?

Before the network, `check_image` refuses pictures that can't be read at all and warns of what makes an answer less
trustworthy. After it, `check_features` applies a linear classifier to the features of the network's last layer, the
statistics of earlier layers, and the shape of the lung fields. Its classes are frontal views, rotated and inverted
ones, lateral views, CT slices and everything else. Such gates fail on near cases (Cao et al. 2020, arXiv:2001.05214),
so those have classes of their own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import cv2
import numpy as np

from detector import words
from detector.errors import (
    InvertedError,
    ModelError,
    NoContrastError,
    NotAChestXrayError,
    SideViewError,
    SliceError,
    TurnedError,
)
from detector.model.card import GATE
from detector.model.levels import counts_of, quantiles, share_below
from detector.schema import Correction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from detector.schema import Geometry, NetworkInput, NetworkOutput, Radiograph

FRONTAL, UPSIDE_DOWN, TURNED_LEFT, TURNED_RIGHT, INVERTED = (
    "frontal", "upside_down", "turned_left", "turned_right", "inverted",
)  # fmt: skip
SIDE_VIEW, SLICE, OTHER = "side_view", "slice", "other"
VIEWS = (FRONTAL, UPSIDE_DOWN, TURNED_LEFT, TURNED_RIGHT, INVERTED, SIDE_VIEW, SLICE, OTHER)

#: What would make a picture upright, with white bone, again.
CORRECTIONS: dict[str, Correction] = {
    UPSIDE_DOWN: Correction(quarter_turns=2),
    TURNED_LEFT: Correction(quarter_turns=3),
    TURNED_RIGHT: Correction(quarter_turns=1),
    INVERTED: Correction(inverted=True),
}
_ERRORS: dict[str, type[NotAChestXrayError]] = {
    UPSIDE_DOWN: TurnedError,
    TURNED_LEFT: TurnedError,
    TURNED_RIGHT: TurnedError,
    INVERTED: InvertedError,
    SIDE_VIEW: SideViewError,
    SLICE: SliceError,
}

_SIDE_VIEWS = frozenset({"LL", "RL", "LATERAL"})  # (0018,5101), PS3.3 C.8.11.5
_SATURATED = 1.001 / 255  # within one 8-bit step of an end of the range
_SATURATED_SHARE = 0.5  # of all pixels: half a picture at one end shows no lung
_LEAST_CONTRAST = 0.02  # between the 2nd and 98th percentile: five of 255 grey levels
_LOW_CONTRAST = 0.12  # thirty grey levels; radiographs in use have more than a hundred
_LARGEST_ASPECT = 1.6  # of the longer to the shorter side; a chest film is at most 43 x 35 cm (1.23)
_SMALLEST_SIDE = 224  # the size of the training pictures
_FIELD_CELLS = 8  # cells along a side of the grid that describes the lungs' shape
_CUT_OFF = 0.25  # of an edge of the picture that is lung: the film ends inside the chest
_NAMED = 2.2  # log-odds of a frontal view, 9 to 1: above it "may be upside down" was wrong for 30 of 30 X-rays
_EDGE = 2  # pixels of the picture's working grid of 224 within which a lung touches an edge


@dataclass(frozen=True, eq=False)
class Gate:
    """A fitted gate; see `detector.training.fit.gate`.

    Attributes:
        mean: (F,) subtracted from the features.
        scale: (F,) by which they are then divided.
        kernel: (F, 8) from features to the logits of `VIEWS`.
        bias: (8,).
        child_kernel: (F,) from features to the log-odds of a child.
        child_bias: of these log-odds.
        refuse_below: log-odds of a frontal view below which a picture is rejected.
        warn_below: log-odds below which it is answered with a warning.
    """

    mean: np.ndarray
    scale: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    child_kernel: np.ndarray
    child_bias: float
    refuse_below: float
    warn_below: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits of `VIEWS` (..., 8) of features (..., F)."""
        logits: np.ndarray = self._standardised(features) @ self.kernel + self.bias
        return logits

    def frontal_log_odds(self, features: np.ndarray) -> np.ndarray:
        """Log-odds (...) that features (..., F) are those of a frontal view."""
        logits = self.logits(features)
        log_odds: np.ndarray = logits[..., 0] - np.logaddexp.reduce(logits[..., 1:], axis=-1)
        return log_odds

    def child_log_odds(self, features: np.ndarray) -> np.ndarray:
        """Log-odds (...) that features (..., F) are those of a child."""
        log_odds: np.ndarray = self._standardised(features) @ self.child_kernel + self.child_bias
        return log_odds

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        standardised: np.ndarray = np.clip((features - self.mean) / self.scale, -_FAR, _FAR)
        return standardised


@dataclass(frozen=True)
class GateFinding:
    """What the gate says about a picture that it lets pass.

    Attributes:
        warnings: one sentence each.
        suggested_correction: what would make it upright, with white bone, if it seems not to be.
    """

    warnings: tuple[str, ...] = ()
    suggested_correction: Correction | None = None


def load_gate(folder: Path, entry: Mapping[str, Any]) -> Gate | None:
    """Load ``<folder>/gate.npz`` after checking it against the card's entry; None if the card has no gate.

    Raises:
        ModelError: if the file is missing, damaged or not the card's.
    """
    if not entry:
        return None
    path = folder / GATE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The gate {path} cannot be read: {error}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != entry.get("sha256"):
        raise ModelError(f"{path} is not the gate of the card: SHA-256 {found}, expected {entry.get('sha256')}.")
    try:
        with np.load(BytesIO(data), allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in ("mean", "scale", "kernel", "bias", "child_kernel")}
            child_bias = float(saved["child_bias"])
        refuse_below, warn_below = (float(entry[name]) for name in ("refuse_below", "warn_below"))
    except (KeyError, TypeError, ValueError, EOFError, BadZipFile) as error:
        raise ModelError(f"The gate {path} or its entry in the card lacks or misnames something: {error}.") from error
    return Gate(**arrays, child_bias=child_bias, refuse_below=refuse_below, warn_below=warn_below)


def gate_features(network_input: NetworkInput, output: NetworkOutput) -> np.ndarray:
    """Features that the gate judges by: (F,) float32.

    They are the averages of the last layer, the statistics of earlier layers, the lungs on an 8 x 8 grid, and where in
    the picture the network looked.
    """
    field = network_input.lung_field.astype(np.float32)
    cells = cv2.resize(field, (_FIELD_CELLS, _FIELD_CELLS), interpolation=cv2.INTER_AREA)
    g = network_input.geometry
    place = np.array([g.top / g.rows, g.left / g.columns, g.height / g.rows, g.width / g.columns], np.float32)
    return np.concatenate([output.pooled_features, output.texture, cells.ravel(), place]).astype(np.float32)


def correct(radiograph: Radiograph, correction: Correction) -> Radiograph:
    """Rotate and invert a picture as the reader asks; its hashes stay those of the original file."""
    if not (correction.quarter_turns % 4 or correction.inverted):
        return radiograph
    turned = np.rot90(radiograph.grey, correction.quarter_turns)
    white = np.uint8(255) if turned.dtype == np.uint8 else np.float32(1)
    grey = np.ascontiguousarray(white - turned if correction.inverted else turned)
    rotated = correction.quarter_turns % 4 != 0
    said = [words.ROTATED_ON_REQUEST] * rotated + [words.INVERTED_ON_REQUEST] * correction.inverted
    return replace(radiograph, grey=grey, warnings=(*radiograph.warnings, *said))


def check_features(features: np.ndarray, gate: Gate) -> GateFinding:
    """Judge a picture by the network's features.

    Args:
        features: (F,) from `gate_features`.
        gate: the fitted gate.

    Raises:
        NotAChestXrayError: or a subclass of it, if the gate knows what the picture is instead.
    """
    log_odds = float(gate.frontal_log_odds(features))
    if not log_odds >= gate.warn_below:  # written so that NaN is rejected
        likeliest = VIEWS[1 + int(np.argmax(gate.logits(features)[1:]))]
        correction = CORRECTIONS.get(likeliest)
        if not log_odds >= gate.refuse_below:
            error = _ERRORS.get(likeliest, NotAChestXrayError)
            raise error(f"Log-odds of a frontal view {log_odds:.2f}; {likeliest}.", suggested_correction=correction)
        if log_odds > _NAMED:  # far more often an unusual frontal view than what the classifier names next
            likeliest, correction = OTHER, None
        return GateFinding((_UNUSUAL.get(likeliest, _UNUSUAL[OTHER]), *_child(features, gate)), correction)
    return GateFinding(_child(features, gate))


def check_lungs(lung_field: np.ndarray, geometry: Geometry) -> tuple[str, ...]:
    """Warn if lungs are missing or cut off by the edge of the film.

    Args:
        lung_field: (size, size) bool on the network's input.
        geometry: of that input.
    """
    if not lung_field.any():
        return (words.NO_LUNGS_WARNING,)
    edges = {
        "top": (geometry.top, lung_field[0]),
        "left": (geometry.left, lung_field[:, 0]),
        "bottom": (geometry.rows - geometry.top - geometry.height, lung_field[-1]),
        "right": (geometry.columns - geometry.left - geometry.width, lung_field[:, -1]),
    }
    near = _EDGE / 224 * max(geometry.rows, geometry.columns)
    cut = [name for name, (distance, line) in edges.items() if distance <= near and line.mean() > _CUT_OFF]
    return tuple(words.CUT_OFF_WARNING.format(edge=name) for name in cut)


_FAR = 8.0  # standard deviations: no feature may weigh more than that, whatever the picture
_UNUSUAL = {
    UPSIDE_DOWN: words.UPSIDE_DOWN_WARNING,
    TURNED_LEFT: words.ON_ITS_SIDE_WARNING,
    TURNED_RIGHT: words.ON_ITS_SIDE_WARNING,
    INVERTED: words.INVERTED_WARNING,
    SIDE_VIEW: words.NOT_FRONTAL_WARNING,
    SLICE: words.NOT_PLAIN_WARNING,
    OTHER: words.UNUSUAL_WARNING,
}


def check_image(radiograph: Radiograph) -> tuple[str, ...]:
    """Check the pixels of a decoded image.

    Returns:
        Warnings, one sentence each; empty if nothing stands out.

    Raises:
        SideViewError: if the file says that it is a lateral view.
        NoContrastError: if the picture is blank except for a few pixels.
    """
    if radiograph.view_position in _SIDE_VIEWS:
        raise SideViewError(f"(0018,5101) View Position is {radiograph.view_position!r}.")
    sides = radiograph.rows, radiograph.columns
    counts = counts_of(radiograph.grey[:: _step(sides[0]), :: _step(sides[1])])
    low, high = quantiles(counts, (0.02, 0.98))
    if high - low < _LEAST_CONTRAST:
        raise NoContrastError(f"The pixels' 2nd and 98th percentile are {low:.3f} and {high:.3f}.")
    warnings = []
    if high - low < _LOW_CONTRAST:
        warnings.append(words.LOW_CONTRAST_WARNING)
    black, white = share_below(counts, np.array([_SATURATED, 1 - _SATURATED]))
    if black > _SATURATED_SHARE:
        warnings.append(words.BLACK_WARNING)
    if 1 - white > _SATURATED_SHARE:
        warnings.append(words.WHITE_WARNING)
    if max(sides) > _LARGEST_ASPECT * min(sides):
        warnings.append(words.LONG_WARNING)
    if min(sides) < _SMALLEST_SIDE:
        warnings.append(words.SMALL_WARNING)
    return tuple(warnings)


def _step(side: int) -> int:
    return max(1, side // 256)  # 65,000 pixels give shares to a percent, twenty times as fast


def _child(features: np.ndarray, gate: Gate) -> tuple[str, ...]:
    return (words.CHILD_WARNING,) if gate.child_log_odds(features) > 0 else ()
