"""The display copy of a radiograph, and how its grey values are shown: level, window, inverted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detector.overlay import display_size

_DEEPEST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Greyscale:
    """A linear grey scale over the decoded range, in percent of that range.

    Attributes:
        level: what is shown as middle grey, 0 to 100.
        window: width of the range between black and white, above 0.
        inverted: whether bone is shown black.
    """

    level: int = 50
    window: int = 100
    inverted: bool = False


def display_copy(pixels: np.ndarray) -> np.ndarray:
    """Shrink (rows, columns) float32 in [0, 1] to display size, (H, W) uint16, so that a narrow window stays smooth."""
    rows, columns = display_size(*pixels.shape)
    if (rows, columns) != pixels.shape:
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.rint(np.clip(pixels, 0, 1) * _DEEPEST).astype(np.uint16)


def shown(image: np.ndarray, greyscale: Greyscale) -> np.ndarray:
    """Apply a grey scale: (H, W) uint16 to (H, W) uint8."""
    return _table(greyscale)[image]


def _table(greyscale: Greyscale) -> np.ndarray:
    """Grey value shown for each of the 65,536 stored ones."""
    stored = np.linspace(0, 100, _DEEPEST + 1)
    share = (stored - greyscale.level) / greyscale.window + 0.5
    grey = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return 255 - grey if greyscale.inverted else grey
