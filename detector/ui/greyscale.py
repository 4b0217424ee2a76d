"""The display copy of a radiograph, and how its grey values are shown: level, window, inverted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.answers import overlay

_DEEPEST = np.iinfo(np.uint16).max
_NATIVE_SIDE = 4096  # pixels: a canvas of more is more than some browsers draw


@dataclass(frozen=True)
class Greyscale:
    """A linear grey scale over the decoded range, in percent of that range.

    Attributes:
        level: what is shown as middle grey, 0 to 100.
        window: width of the range between black and white, above 0.
        inverted: whether bone is shown black.
    """

    level: float = 50
    window: float = 100
    inverted: bool = False


def display_copy(grey: np.ndarray) -> np.ndarray:
    """Shrink a radiograph's grey values to display size.

    Args:
        grey: (rows, columns) uint8, 255 = white, or float32 in [0, 1].

    Returns:
        (H, W): uint8 of uint8, and uint16 of float32, so that a narrow window stays smooth where there is more to see.
    """
    return _integers(overlay.shrink(grey, longer_side=overlay.DISPLAY_SIDE))


def native_copy(grey: np.ndarray) -> np.ndarray:
    """A radiograph's grey values with all of their pixels, up to 4096 a side: as `display_copy`."""
    return _integers(overlay.shrink(grey, longer_side=_NATIVE_SIDE))


def shown(image: np.ndarray, greyscale: Greyscale) -> np.ndarray:
    """Apply a grey scale: (H, W) uint8 or uint16 to (H, W) uint8."""
    grey: np.ndarray = _table(greyscale, np.iinfo(image.dtype).max)[image]
    return grey


def _integers(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.rint(np.clip(image, 0, 1) * _DEEPEST).astype(np.uint16)


def _table(greyscale: Greyscale, deepest: int) -> np.ndarray:
    """Grey value shown for each of the stored ones, 0 to `deepest`; as in assets/viewer.js."""
    stored = np.linspace(0, 100, deepest + 1)
    share = (stored - greyscale.level) / greyscale.window + 0.5
    grey = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return 255 - grey if greyscale.inverted else grey
